"""The ROM: an entry for each interrupt at the address where programs of the 1980s expect it (IBM PC/AT
technical reference, BIOS listing), the reset vector, and the tables that vectors point to.

An entry is an OUT to the firmware's port, which Python answers, and an IRET; while Python sets carry it
waits for the next interrupt and asks again. Which service is meant follows from the address of the OUT.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from guesthouse.system.firmware.bios import font
from guesthouse.system.firmware.bios.assembler import Assembler
from guesthouse.system.firmware.bios.guest import PORT
from guesthouse.system.firmware.bios.vbe_protected import interface

SIZE, SEGMENT = 0x1_0000, 0xF000
TABLES, CODE, FONT_16, FONT_14, FONT_8_HIGH, FONT_8 = 0x0400, 0xA000, 0xB000, 0xC000, 0xCE00, 0xFA6E
EBDA, STACK = 0x9FC0, 0x03FA  # the segment of the EBDA, and the stack of POST in it: room for one IRET frame
POST, BOOT, CONFIGURATION, FLOPPY_TABLE, DISK_TABLE, RESET = 0xE05B, 0xE6F2, 0xE6F5, 0xEFC7, 0xE401, 0xFFF0
ENTRIES = {0x10: 0xF065, 0x11: 0xF84D, 0x12: 0xF841, 0x13: 0xE3FE, 0x14: 0xE739, 0x15: 0xF859, 0x16: 0xE82E,
           0x17: 0xEFD2, 0x1A: 0xFE6E, 0x40: 0xEC59}
TICK, KEYBOARD, FLOPPY_IRQ, IGNORE, PRINT_SCREEN = 0xFEA5, 0xE987, 0xEF57, 0xFF53, 0xFF54
MODEL, SUBMODEL, REVISION = 0xFC, 0x01, 0x00  # PC/AT
# 74h: RTC present, second 8259, keyboard intercept (INT 15h, 4Fh), extended BIOS data area
FEATURES = 0x74
FLOPPY_PARAMETERS = bytes.fromhex("AF 02 25 02 12 1B FF 6C F6 0F 08")  # 1.44 MB
DATE = b"11/22/26"
FUNCTIONALITY = 0xD600  # the static table of INT 10h, 1Bh: modes, 200, 350 and 400 lines, two of eight fonts
VBE_INTERFACE = 0xD700
BIOS_32, PCI_32, APM_16, APM_32 = "bios32", "pci32", "apm16", "apm32"  # far entries: an OUT and a far return
FUNCTIONS = bytes.fromhex("FF E0 0F 00 00 00 00 07 02 08 E5 0C 00 00 00 00")


@dataclass(frozen=True)
class Rom:
    image: bytes
    services: dict[int, str]  # the offset of an OUT -> who is meant
    labels: dict[str, int]
    placed: tuple[int, ...]  # physical addresses of the tables that were given


def build(tables: tuple[bytes, ...] = ()) -> Rom:
    made = _Builder()
    made.entries()
    made.interrupts()
    made.far_entries()
    made.start()
    made.constants()
    placed = tuple(made.table(content) for content in tables)
    return Rom(made.finish(), made.services, made.labels, placed)


class _Builder(Assembler):
    def __init__(self) -> None:
        super().__init__(SIZE)
        self.services: dict[int, str] = {}
        self.room = TABLES

    def table(self, content: bytes) -> int:
        self.org(-(-self.room // 16) * 16)
        at = self.data(content)
        self.room = self.at
        if self.room > CODE:
            raise ValueError("the tables do not fit in the ROM")
        return SEGMENT << 4 | at

    def call(self, service: str) -> None:
        self.services[self.at] = service
        self.code(f"out {PORT}, al")

    def waiting(self, service: str) -> None:
        """Call a service until it is done, with interrupts between; then the caller goes on with `done_…`."""
        name = f"{service}_{self.at:x}"
        self.label(f"again_{name}")
        self.call(service)
        self.code(f"""jnc done_{name}
            sti
            hlt
            cli
            jmp short again_{name}
            done_{name}:""")

    def entries(self) -> None:
        self.org(CODE)
        for vector, at in ENTRIES.items():
            end = self.at
            self.org(at)
            self.code(f"jmp int{vector:02x}")
            self.org(end)
            self.label(f"int{vector:02x}")
            self.waiting(f"int{0x13 if vector == 0x40 else vector:02x}")
            self.code("iret")
        end = self.at
        self.org(IGNORE)
        self.code("""ignore:
            iret
            print_screen:
            iret""")
        self.org(end)

    def interrupts(self) -> None:
        self._tick()
        self._keyboard()
        self._floppy_and_disk()
        self._slave()
        self._mouse()
        for name, at in (("tick", TICK), ("keyboard", KEYBOARD), ("floppy_irq", FLOPPY_IRQ)):
            end = self.at
            self.org(at)
            self.code(f"jmp {name}")
            self.org(end)

    def _tick(self) -> None:
        """INT 08h: the count of 18.2 Hz ticks, midnight, the floppy motor's count, INT 1Ch."""
        self.code("""tick:
            push ds
            push ax
            mov ax, 0x40
            mov ds, ax
            inc word [0x6C]
            jnz tick_day
            inc word [0x6E]
            tick_day:
            cmp word [0x6E], 0x18
            jne tick_motor
            cmp word [0x6C], word 0xB0
            jb tick_motor
            mov word [0x6C], 0
            mov word [0x6E], 0
            inc byte [0x70]
            tick_motor:
            dec byte [0x40]
            int 0x1C
            cli
            mov al, 0x20
            out 0x20, al
            pop ax
            pop ds
            iret""")

    def _keyboard(self) -> None:
        """INT 09h: the scan code goes through INT 15h, 4Fh; afterwards AL says what else is to be called."""
        self.code("""keyboard:
            push ax
            in al, 0x60
            mov ah, 0x4F
            stc
            int 0x15
            jnc keyboard_done""")
        self.call("key")
        self.code("""cmp al, 1
            jne keyboard_print
            mov al, 0x20
            out 0x20, al
            int 0x1B
            pop ax
            iret
            keyboard_print:
            cmp al, 2
            jne keyboard_done
            mov al, 0x20
            out 0x20, al
            int 0x05
            pop ax
            iret
            keyboard_done:
            cli
            mov al, 0x20
            out 0x20, al
            pop ax
            iret""")

    def _floppy_and_disk(self) -> None:
        """INT 0Eh and 76h: remember that the controller has interrupted (BDA 3Eh and 8Eh)."""
        self.code("""floppy_irq:
            push ds
            push ax
            mov ax, 0x40
            mov ds, ax
            or byte [0x3E], 0x80
            mov al, 0x20
            out 0x20, al
            pop ax
            pop ds
            iret
            disk_irq:
            push ds
            push ax
            mov ax, 0x40
            mov ds, ax
            mov byte [0x8E], 0xFF
            pop ax
            pop ds
            slave_irq:
            push ax
            mov al, 0x20
            out 0xA0, al
            out 0x20, al
            pop ax
            iret
            master_irq:
            push ax
            mov al, 0x20
            out 0x20, al
            pop ax
            iret""")

    def _slave(self) -> None:
        """INT 70h, the clock; INT 71h, which stands for the old IRQ2; INT 75h, the x87's error line."""
        self.code("""clock_irq:
            push ax""")
        self.call("clock")
        self.code("""jnc clock_done
            sti
            int 0x4A
            cli
            clock_done:
            mov al, 0x20
            out 0xA0, al
            out 0x20, al
            pop ax
            iret
            redirect_irq:
            push ax
            mov al, 0x20
            out 0xA0, al
            pop ax
            int 0x0A
            iret
            x87_irq:
            push ax
            xor ax, ax
            out 0xF0, al
            mov al, 0x20
            out 0xA0, al
            out 0x20, al
            pop ax
            int 0x02
            iret""")

    def _mouse(self) -> None:
        """INT 74h: a whole packet goes to the routine that INT 15h, C207h has set: status, X, Y and 0 on the stack."""
        self.code("""mouse_irq:
            pusha
            push ds
            push es
            in al, 0x60""")
        self.call("mouse")
        self.code(f"""jnc mouse_done
            push ax
            push bx
            push cx
            push dx
            mov ax, {EBDA}
            mov ds, ax
            sti
            call far [0x22]
            cli
            add sp, 8
            mouse_done:
            mov al, 0x20
            out 0xA0, al
            out 0x20, al
            pop es
            pop ds
            popa
            iret""")

    def start(self) -> None:
        """POST leaves with an IRET into INT 19h or to where a reset was to go on; INT 19h with one into a boot
        sector."""
        self.code(f"""post:
            cli
            cld
            mov ax, {EBDA}
            mov ss, ax
            mov sp, {STACK}""")
        self.call("post")
        self.code("""iret
            boot:
            cli
            xor ax, ax
            mov ds, ax
            mov es, ax
            mov ss, ax
            mov sp, 0x7BFA""")
        self.waiting("int19")
        self.code("""iret
            int18:""")
        self.waiting("int18")
        self.code("jmp boot")
        for at, name in ((POST, "post"), (BOOT, "boot")):
            self.org(at)
            self.code(f"jmp {name}")
        self.org(RESET)
        self.code(f"jmp far {SEGMENT}:{POST}")

    def far_entries(self) -> None:
        """For callers in protected mode, of 16 or 32 bits: these two instructions have the same bytes in both. The
        directory that says where to ask for them lies at a multiple of 16."""
        for name in (BIOS_32, PCI_32, APM_16, APM_32):
            self.label(name)
            self.call(name)
            self.code("retf")
        directory = bytearray(struct.pack("<4sIBBB5s", b"_32_", SEGMENT << 4 | self.labels[BIOS_32], 0, 1, 0, b""))
        directory[10] = -sum(directory) & 0xFF
        self.at = -(-self.at // 16) * 16
        self.data(bytes(directory))

    def constants(self) -> None:
        for at, content in (
                (FONT_16, font.glyphs(16)), (FONT_14, font.glyphs(14)), (FONT_8, font.glyphs(8)[:1024]),
                (FONT_8_HIGH, font.glyphs(8)[1024:]), (FLOPPY_TABLE, FLOPPY_PARAMETERS), (RESET + 5, DATE),
                (FUNCTIONALITY, FUNCTIONS), (VBE_INTERFACE, interface()),
                (0xFFFE, bytes([MODEL])), (0xE729, struct.pack("<8H", 1047, 768, 384, 192, 96, 48, 24, 12)),
                (CONFIGURATION, struct.pack("<HBBBBBBBB", 8, MODEL, SUBMODEL, REVISION, FEATURES, 0x40, 0, 0, 0))):
            self.org(at)
            self.data(content)
