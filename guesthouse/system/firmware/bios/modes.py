"""The video modes: register values and palettes, after the IBM VGA XGA technical reference manual (1992),
and where the screen's memory is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

TEXT, CGA, PLANAR, LINEAR = "text", "cga", "planar", "linear"


@dataclass(frozen=True)
class Mode:
    """A mode as INT 10h, AH=00h sets it. Register values in the order of their indexes."""

    number: int
    kind: str
    columns: int
    rows: int
    height: int  # of a character
    base: int
    page_bytes: int
    misc: int
    sequencer: bytes  # from index 1 on
    crtc: bytes
    graphics: bytes
    attribute: bytes
    palette: str
    bits: int = 4  # of a pixel

    @property
    def pages(self) -> int:
        return max(1, min(8, (0x8000 if self.kind in (TEXT, CGA) else 0x1_0000) // self.page_bytes))


EGA = "00 01 02 03 04 05 14 07 38 39 3A 3B 3C 3D 3E 3F"
RGBI = "00 01 02 03 04 05 06 07 10 11 12 13 14 15 16 17"
FOUR = "00 13 15 17 02 04 06 07 10 11 12 13 14 15 16 17"
TEXT_SYNC = "00 4F 0D 0E 00 00 00 00 9C 8E 8F"
SYNC = {200: "9C 8E 8F", 350: "83 85 5D", 480: "EA 8C DF"}
BEGIN = {200: "BF 1F", 350: "BF 1F", 480: "0B 3E"}
BLANK = {200: "96 B9", 350: "63 BA", 480: "E7 04"}
WIDE, NARROW = "5F 4F 50 82 54 80", "2D 27 28 90 2B 80"


def _crtc(lines: int, horizontal: str, scan: str, pitch: str, control: str, underline: str = "00") -> str:
    return (f"{horizontal} {BEGIN[lines]} 00 {scan} 00 00 00 00 00 00 {SYNC[lines]} {pitch} {underline} "
            f"{BLANK[lines]} {control} FF")


def _text(number: int, columns: int) -> Mode:
    wide, mono = columns == 80, number == 7
    horizontal, pitch = ("5F 4F 50 82 55 81", "28") if wide else ("2D 27 28 90 2B A0", "14")
    crtc = f"{horizontal} BF 1F {TEXT_SYNC} {pitch} {'0F' if mono else '1F'} 96 B9 A3 FF"
    attribute = "00 08 08 08 08 08 08 08 10 18 18 18 18 18 18 18 0E 00 0F 08" if mono else f"{EGA} 0C 00 0F 08"
    return _mode(number, TEXT, columns, 25, 16, 0xB0000 if mono else 0xB8000, 0x1000 if wide else 0x800,
                 0x66 if mono else 0x67, "00 03 00 02" if wide else "08 03 00 02", crtc,
                 f"00 00 00 00 00 10 {'0A' if mono else '0E'} 00 FF", attribute, "mono" if mono else "ega")


def _mode(number: int, kind: str, columns: int, rows: int, height: int, base: int, page_bytes: int, misc: int,
          sequencer: str, crtc: str, graphics: str, attribute: str, palette: str, bits: int = 4) -> Mode:
    return Mode(number, kind, columns, rows, height, base, page_bytes, misc, bytes.fromhex(sequencer),
                bytes.fromhex(crtc), bytes.fromhex(graphics), bytes.fromhex(attribute), palette, bits)


def _cga(number: int) -> Mode:
    if number == 6:
        return _mode(6, CGA, 80, 25, 8, 0xB8000, 0x4000, 0x63, "01 01 00 06", _crtc(200, WIDE, "C1", "28", "C2"),
                     "00 00 00 00 00 00 0D 00 FF", "00" + " 17" * 15 + " 01 00 01 00", "rgbi", 1)
    return _mode(number, CGA, 40, 25, 8, 0xB8000, 0x4000, 0x63, "09 03 00 02", _crtc(200, NARROW, "C1", "14", "A2"),
                 "00 00 00 00 00 30 0F 00 FF", f"{FOUR} 01 00 03 00", "rgbi", 2)


def _planar(number: int, columns: int, lines: int, height: int, page: int, misc: int, attribute: str,
            palette: str) -> Mode:
    wide = columns == 80
    scan = {200: "C0", 350: "40", 480: "40"}[lines]
    control = "C3" if number == 0x11 else "E3"
    graphics = f"00 00 00 00 00 00 05 {'05' if number == 0x0F else '01' if number == 0x11 else '0F'} FF"
    crtc = _crtc(lines, WIDE if wide else NARROW, scan, "28" if wide else "14", control)
    return _mode(number, PLANAR, columns, lines // height, height, 0xA0000, page, misc,
                 "01 0F 00 06" if wide else "09 0F 00 06", crtc, graphics, attribute, palette)


MODES = {mode.number: mode for mode in (
    _text(0, 40), _text(1, 40), _text(2, 80), _text(3, 80), _cga(4), _cga(5), _cga(6), _text(7, 80),
    _planar(0x0D, 40, 200, 8, 0x2000, 0x63, f"{RGBI} 01 00 0F 00", "rgbi"),
    _planar(0x0E, 80, 200, 8, 0x4000, 0x63, f"{RGBI} 01 00 0F 00", "rgbi"),
    _planar(0x0F, 80, 350, 14, 0x8000, 0xA2, "00 08 00 00 18 18 00 00 00 08 00 00 00 18 00 00 0B 00 05 00", "mono"),
    _planar(0x10, 80, 350, 14, 0x8000, 0xA3, f"{EGA} 01 00 0F 00", "ega"),
    _planar(0x11, 80, 480, 16, 0x1_0000, 0xE3, "00" + " 3F" * 15 + " 01 00 0F 00", "ega"),
    _planar(0x12, 80, 480, 16, 0x1_0000, 0xE3, f"{EGA} 01 00 0F 00", "ega"),
    _mode(0x13, LINEAR, 40, 25, 8, 0xA0000, 0x1_0000, 0x63, "01 0F 00 0E", _crtc(200, WIDE, "41", "28", "A3", "40"),
          "00 00 00 00 00 40 05 0F FF", " ".join(f"{n:02X}" for n in range(16)) + " 41 00 0F 00", "256", 8))}


@cache
def palette(name: str) -> bytes:
    """The DAC's contents, three bytes of six bits for each colour."""
    if name == "ega":
        return bytes(level for n in range(64) for level in _six(n)) + bytes(192 * 3)
    if name == "mono":
        return bytes(63 if n & 0x18 == 0x18 else 42 if n & 8 else 21 if n & 0x10 else 0
                     for n in range(64) for _ in range(3)) + bytes(192 * 3)
    sixteen = [_rgbi(n) for n in range(16)]
    if name == "rgbi":
        return bytes(level for n in range(64) for level in sixteen[n & 7 | n >> 1 & 8]) + bytes(192 * 3)
    greys = [(g, g, g) for g in (0, 5, 8, 11, 14, 17, 20, 24, 28, 32, 36, 40, 45, 50, 56, 63)]
    colours = sixteen + greys + [c for high in (63, 28, 16) for low in (0, high // 2, high * 5 // 7)
                                 for c in _wheel(low, high)]
    return bytes(level for colour in colours for level in colour).ljust(768, b"\0")


def _six(n: int) -> tuple[int, int, int]:
    """An EGA colour, rgbRGB: the small letters a third of the light."""
    red, green, blue = ((n >> bit & 1) * 42 + (n >> bit + 3 & 1) * 21 for bit in (2, 1, 0))
    return red, green, blue


def _rgbi(n: int) -> tuple[int, int, int]:
    return _six(0x14 if n == 6 else n & 7 | (0x38 if n & 8 else 0))


def _wheel(low: int, high: int) -> list[tuple[int, int, int]]:
    """24 hues from blue over red and green back."""
    steps = [low + (high - low) * n // 4 for n in range(5)]
    made = [(s, low, high) for s in steps[:4]] + [(high, low, s) for s in steps[:0:-1]]
    made += [(high, s, low) for s in steps[:4]] + [(s, high, low) for s in steps[:0:-1]]
    return made + [(low, high, s) for s in steps[:4]] + [(low, s, high) for s in steps[:0:-1]]
