"""An assembler for the few 16-bit instructions that the ROM is made of, after the opcode map of SDM 2D.

A template is an instruction with holes: {b} a byte, {w} a word, {r} a label within 127 bytes, {n} a
label anywhere, {f} a far address. Nothing else of the language exists.
"""

from __future__ import annotations

import re

TEMPLATES = {
    "add sp, {b}": "83C4", "call far [{w}]": "FF1E", "cld": "FC", "cli": "FA", "cmp al, {b}": "3C",
    "cmp word [{w}], word {w}": "813E", "cmp word [{w}], {b}": "833E", "dec byte [{w}]": "FE0E",
    "hlt": "F4", "in al, {b}": "E4", "inc byte [{w}]": "FE06", "inc word [{w}]": "FF06", "int {b}": "CD",
    "iret": "CF", "jb {r}": "72", "jc {r}": "72", "jmp far {f}": "EA", "jmp {n}": "E9",
    "jmp short {r}": "EB", "jnc {r}": "73", "jne {r}": "75", "jnz {r}": "75", "jz {r}": "74",
    "mov ah, {b}": "B4", "mov al, {b}": "B0", "mov ax, {w}": "B8", "mov byte [{w}], {b}": "C606",
    "mov ds, ax": "8ED8", "mov es, ax": "8EC0", "mov sp, {w}": "BC", "mov ss, ax": "8ED0",
    "mov word [{w}], {w}": "C706", "or byte [{w}], {b}": "800E", "out {b}, al": "E6", "pop ax": "58",
    "pop ds": "1F", "pop es": "07", "popa": "61", "push ax": "50", "push bx": "53", "push cx": "51",
    "push ds": "1E", "push dx": "52", "push es": "06", "pusha": "60", "retf": "CB", "stc": "F9",
    "sti": "FB", "xor ax, ax": "31C0",
}
HOLE = re.compile(r"\\\{([bwrnf])\\\}")
SIZES = {"b": 1, "w": 2, "r": 1, "n": 2, "f": 4}


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(HOLE.sub(r"([\\w:]+)", re.escape(template)))


PATTERNS = [(_pattern(text), bytes.fromhex(code), re.findall(r"\{(.)\}", text)) for text, code in TEMPLATES.items()]


class Assembler:
    """Puts code and data into an image. Labels may be used before they are set; `finish` fills them in."""

    def __init__(self, size: int, fill: int = 0) -> None:
        self.image, self.at = bytearray([fill]) * size, 0
        self.labels: dict[str, int] = {}
        self._open: list[tuple[int, str, str]] = []

    def org(self, at: int) -> None:
        self.at = at

    def label(self, name: str) -> int:
        if name in self.labels:
            raise ValueError(f"two labels {name}")
        self.labels[name] = self.at
        return self.at

    def data(self, content: bytes) -> int:
        """Bytes as they are; returns where they lie."""
        at, self.at = self.at, self.at + len(content)
        if self.at > len(self.image):
            raise ValueError(f"the image is full at {at:#x}")
        self.image[at:self.at] = content
        return at

    def code(self, text: str) -> None:
        """Instructions, one a line; `name:` is a label."""
        for line in filter(None, (part.strip() for part in text.splitlines())):
            if line.endswith(":"):
                self.label(line[:-1])
            else:
                self._instruction(line)

    def _instruction(self, line: str) -> None:
        for pattern, opcode, holes in PATTERNS:
            found = pattern.fullmatch(line)
            if found:
                self.data(opcode)
                for hole, operand in zip(holes, found.groups(), strict=True):
                    self._operand(hole, operand)
                return
        raise ValueError(f"no such instruction: {line}")

    def _operand(self, hole: str, operand: str) -> None:
        if hole in "rn" or not operand[0].isdigit():
            self._open.append((self.at, hole, operand))
            self.data(bytes(SIZES[hole]))
        elif hole == "f":
            segment, offset = (int(part, 0) for part in operand.split(":"))
            self.data(offset.to_bytes(2, "little") + segment.to_bytes(2, "little"))
        else:
            self.data(int(operand, 0).to_bytes(SIZES[hole], "little"))

    def finish(self) -> bytes:
        for at, hole, name in self._open:
            target, size = self.labels[name], SIZES[hole]
            if hole in "rn":
                target -= at + size
            self.image[at:at + size] = target.to_bytes(size, "little", signed=hole in "rn")
        self._open.clear()
        return bytes(self.image)
