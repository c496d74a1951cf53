"""Code page 437 in 8x8, 8x14 and 8x16 dots, drawn by us: letters from a 5x8 grid, lines and boxes by rule,
accented letters from a letter and its mark. Plain rather than pretty. Symbols that have no drawing are
shown as a near letter.
"""

from __future__ import annotations

import unicodedata
from functools import cache

# Each character: eight rows of five dots as hexadecimal pairs, the leftmost dot is 10h; the last row is below the line.
DRAWN = {
    " ": "0000000000000000", "!": "0404040404000400", '"': "0A0A0A0000000000", "#": "0A0A1F0A1F0A0A00",
    "$": "040F140E051E0400", "%": "1819020408130300", "&": "0C12140815120D00", "'": "0404080000000000",
    "(": "0204080808040200", ")": "0804020202040800", "*": "00040E1F0E040000", "+": "0004041F04040000",
    ",": "0000000000040408", "-": "0000001F00000000", ".": "00000000000C0C00", "/": "0001020408100000",
    "0": "0E11131519110E00", "1": "040C040404040E00", "2": "0E11010204081F00", "3": "1F02040201110E00",
    "4": "02060A121F020200", "5": "1F101E0101110E00", "6": "0608101E11110E00", "7": "1F01020408080800",
    "8": "0E11110E11110E00", "9": "0E11110F01020C00", ":": "000C0C000C0C0000", ";": "000C0C000C040800",
    "<": "0204081008040200", "=": "00001F001F000000", ">": "0804020102040800", "?": "0E11010204000400",
    "@": "0E11010D15150E00", "A": "0E1111111F111100", "B": "1E11111E11111E00", "C": "0E11101010110E00",
    "D": "1C12111111121C00", "E": "1F10101E10101F00", "F": "1F10101E10101000", "G": "0E11101711110F00",
    "H": "1111111F11111100", "I": "0E04040404040E00", "J": "0702020202120C00", "K": "1112141814121100",
    "L": "1010101010101F00", "M": "111B151511111100", "N": "1111191513111100", "O": "0E11111111110E00",
    "P": "1E11111E10101000", "Q": "0E11111115120D00", "R": "1E11111E14121100", "S": "0F10100E01011E00",
    "T": "1F04040404040400", "U": "1111111111110E00", "V": "11111111110A0400", "W": "11111115151B1100",
    "X": "11110A040A111100", "Y": "1111110A04040400", "Z": "1F01020408101F00", "[": "0E08080808080E00",
    "\\": "0010080402010000", "]": "0E02020202020E00", "^": "040A110000000000", "_": "000000000000001F",
    "`": "0804020000000000", "a": "00000E010F110F00", "b": "1010161911111E00", "c": "00000E1010110E00",
    "d": "01010D1311110F00", "e": "00000E111F100E00", "f": "0609081C08080800", "g": "00000F11110F010E",
    "h": "1010161911111100", "i": "04000C0404040E00", "j": "020006020202120C", "k": "1010121418141200",
    "l": "0C04040404040E00", "m": "00001A1515151500", "n": "0000161911111100", "o": "00000E1111110E00",
    "p": "00001E11111E1010", "q": "00000F11110F0101", "r": "0000161910101000", "s": "00000E100E011E00",
    "t": "08081C0808090600", "u": "0000111111130D00", "v": "00001111110A0400", "w": "0000111115150A00",
    "x": "0000110A040A1100", "y": "00001111110F010E", "z": "00001F0204081F00", "{": "0204040804040200",
    "|": "0404040404040404", "}": "0804040204040800", "~": "0000081502000000", "⌂": "00040A11111F0000",
    "☺": "0E1B1F1B150E0000", "☻": "0E151F1B110E0000", "♥": "000A1F1F0E040000", "♦": "00040E1F0E040000",
    "♣": "040E041F1F040E00", "♠": "040E1F1F15040E00", "•": "00000E0E0E000000", "◘": "1F1F1111111F1F1F",
    "○": "00000E110E000000", "◙": "1F1F110E111F1F1F", "♂": "0703050C12120C00", "♀": "0E110E040E040000",
    "♪": "0605040404181800", "♫": "0F09090909121A00", "☼": "15040E1B0E041500", "►": "10181C1F1C181000",
    "◄": "0103071F07030100", "↕": "040E15041504040E", "‼": "0A0A0A0A0A000A00", "¶": "0F15150D05050500",
    "§": "0E10180E03010E00", "▬": "000000001F1F1F00", "↨": "040E15150E041F00", "↑": "040E150404040400",
    "↓": "04040404150E0400", "→": "0004021F02040000", "←": "0004081F08040000", "∟": "00101010101F0000",
    "↔": "000A111F110A0000", "▲": "00040E0E1F1F0000", "▼": "001F1F0E0E040000", "¢": "040E1514150E0400",
    "£": "0609081C08081F00", "¥": "110A1F041F040400", "¿": "0400040810110E00", "¡": "0400040404040400",
    "ß": "0E11121412111610", "æ": "00001A050F141B00", "Æ": "0F14141E14141700", "½": "111214081602040E",
    "¼": "1112140A16020F02", "«": "0005140A14050000", "»": "00140A050A140000", "°": "0C12120C00000000",
    "±": "04041F0404001F00", "÷": "0004001F00040000", "≥": "0804020408001F00", "≤": "0204080402001F00",
    "≡": "001F001F001F0000", "≈": "0815020815020000", "∙": "0000000C0C000000", "·": "0000000400000000",
    "√": "0704040414140C04", "²": "0C0204080E000000", "ⁿ": "1C12121200000000", "■": "00001E1E1E1E0000",
    "∞": "00000A15150A0000", "π": "00001F0A0A0A0A00", "Σ": "1F08040204081F00", "µ": "0000121212151810",
    "¬": "0000001F01010000", "⌐": "0000001F10100000", "Ω": "0E1111110A0A1B00", "α": "00000D1212120D00",
    "ε": "000E101E100E0000", "δ": "0E080E1111110E00", "φ": "04040E15150E0404", "∩": "0E11111111111100",
    "Γ": "1F10101010101000", "ƒ": "03040E0404040418",
}
NEAR = {"Θ": "0", "Φ": "0", "σ": "o", "τ": "t", "₧": "P", "ª": "a", "º": "o", "⌠": "|", "⌡": "|"}
LOW = "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"  # the glyphs of 00h to 1Fh
MARKS = {"\u0300": "0804", "\u0301": "0204", "\u0302": "040A", "\u0308": "0A00", "\u0303": "0D16", "\u030a": "0404",
         "\u0327": ""}
# Arms of each line character from B3h on: up, right, down, left; 1 single, 2 double.
ARMS = ("1010 1011 1012 2021 0021 0012 2022 2020 0022 2002 2001 1002 0011 1100 1101 0111 1110 0101 1111 1210 2120 2200 "
        "0220 2202 0222 2220 0202 2222 1202 2101 0212 0121 2100 1200 0210 0120 2121 1212 1001 0110").split()
FIRST_LINE = 0xB3
SHADES = {0xB0: (0x88, 0x22), 0xB1: (0xAA, 0x55), 0xB2: (0xDD, 0x77)}
ROWS = {8: (0, (1,) * 8), 14: (1, (1, 2, 2, 1, 2, 2, 1, 2)), 16: (2, (1, 2, 2, 1, 2, 2, 1, 2))}  # blank, repeats


@cache
def glyphs(height: int) -> bytes:
    """256 characters of 8 dots and `height` rows."""
    return b"".join(_glyph(code, height) for code in range(256))


def _glyph(code: int, height: int) -> bytes:
    if FIRST_LINE <= code < FIRST_LINE + len(ARMS):
        return _line(ARMS[code - FIRST_LINE], height)
    if code in SHADES:
        return bytes(SHADES[code][row & 1] for row in range(height))
    if 0xDB <= code <= 0xDF:
        return _block(code, height)
    blank, repeats = ROWS[height]
    rows = [dots << 2 for dots, times in zip(_dots(code), repeats) for _ in range(times)]
    return bytes(([0] * blank + rows + [0] * height)[:height])


def _dots(code: int) -> bytes:
    """The eight rows of a character."""
    text = LOW[code] if code < 32 else bytes([code]).decode("cp437") if code != 127 else "⌂"
    if text in "\0\xa0":
        text = " "
    if text in DRAWN or text in NEAR:
        return bytes.fromhex(DRAWN[NEAR.get(text, text)])
    parts = unicodedata.normalize("NFD", text)
    rows = bytes.fromhex(DRAWN[parts[0]])
    mark = bytes.fromhex(MARKS[parts[1]])
    if not mark:
        return rows[:7] + b"\x04"  # the cedilla
    body = rows[2:7] if parts[0].islower() else bytes(rows[n] for n in (0, 1, 3, 4, 6))
    return mark + body + rows[7:]


def _block(code: int, height: int) -> bytes:
    half = height // 2
    return {0xDB: b"\xFF" * height, 0xDC: bytes(half) + b"\xFF" * (height - half), 0xDD: b"\xF0" * height,
            0xDE: b"\x0F" * height, 0xDF: b"\xFF" * half + bytes(height - half)}[code]


def _line(arms: str, height: int) -> bytes:
    """Lines from the edges to the middle; double ones run two dots beside it, and leave the space between open."""
    up, right, down, left = (int(arm) for arm in arms)
    middle = height // 2 - 1
    rows = [0] * height
    beside = {0: (), 1: (0,), 2: (-1, 1)}
    thick, thin = max(up, down), max(left, right)
    for column in (3 + n for n in beside[up]):
        for row in range(0, middle + (1 if thin == 2 and not (left and right) else 0) + 1):
            rows[row] |= 0x80 >> column
    for column in (3 + n for n in beside[down]):
        for row in range(middle - (1 if thin == 2 and not (left and right) else 0), height):
            rows[row] |= 0x80 >> column
    overlap = 1 if thick == 2 and not (up and down) else 0
    for row in (middle + n for n in beside[left]):
        rows[row] |= sum(0x80 >> column for column in range(0, 3 + overlap + 1))
    for row in (middle + n for n in beside[right]):
        rows[row] |= sum(0x80 >> column for column in range(3 - overlap, 8))
    return bytes(rows)
