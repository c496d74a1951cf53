"""The protected-mode interface of VBE (VBE 3.0, 4F0Ah): 32-bit routines that a program copies and calls near, so that
they go to the display interface's ports themselves; EDID for 4F15h (VESA E-EDID 1.4).
"""

from __future__ import annotations

import struct

SET_WINDOW = bytes.fromhex(  # BH=0: DX is the bank; 1: DX becomes it
    "84FF 7518 89D1 BACE010000 B805000000 66EF 42 89C8 66EF 66B84F00 C3"
    "BACE010000 B805000000 66EF 42 66ED 89C2 66B84F00 C3")
SET_START = bytes.fromhex(  # DX:CX, in units of four bytes, becomes a pixel of a line
    "C1E210 6689CA C1E202 89D6"  # esi: bytes
    "BACE010000 B803000000 66EF 42 66ED 0FB7C8 83C107 C1E903 4A"  # ecx: bytes of a pixel
    "B806000000 66EF 42 66ED 0FB7C0 0FAFC1"  # eax: bytes of a line
    "96 31D2 F7F6 89C6 89D0 31D2 F7F1 89C1"  # esi: the line, ecx: the pixel in it
    "BACE010000 B808000000 66EF 42 89C8 66EF 4A B809000000 66EF 42 89F0 66EF 66B84F00 C3")
SET_PALETTE = bytes.fromhex(  # CX entries of blue, green, red, 0 at ES:EDI, from number DL on
    "0FB7C9 89D0 BAC8030000 EE 42 E314 268A4702 EE 268A4701 EE 268A07 EE 83C704 49 EBEA 66B84F00 C3")
PORTS = struct.pack("<5H", 0x1CE, 0x1CF, 0x3C8, 0x3C9, 0xFFFF) + struct.pack("<H", 0xFFFF)  # and no memory


def interface() -> bytes:
    """Offsets of the three routines and of the list of ports, then these. The list is words, which Linux reads as such
    from the table's beginning on."""
    at, offsets, parts = 8, [], []
    for part in (SET_WINDOW, SET_START, SET_PALETTE, PORTS):
        parts.append(part + bytes(len(part) & 1))
        offsets.append(at)
        at += len(parts[-1])
    return struct.pack("<4H", *offsets) + b"".join(parts)


def edid() -> bytes:
    """A monitor that takes every mode up to 1280x1024 and prefers 1024x768."""
    made = b"\0\xFF\xFF\xFF\xFF\xFF\xFF\0" + _maker("GST") + struct.pack("<HIBB", 1, 1, 48, 36)  # week 48 of 2026
    made += bytes([1, 4, 0xA5, 32, 24, 120, 0x06])  # 1.4; digital, 8 bits; 32 by 24 cm; gamma 2.2; sRGB, preferred mode
    made += bytes.fromhex("EE 91 A3 54 4C 99 26 0F 50 54")  # chromaticity of sRGB
    made += bytes([0x21, 0x08, 0x00])  # 640x480, 800x600 and 1024x768 at 60 Hz
    made += bytes([(1280 // 8) - 31, 2 << 6]) + b"\x01\x01" * 7  # 1280x1024 at 60 Hz
    made += _timing(65_000, (1024, 320, 24, 136), (768, 38, 3, 6))
    made += _descriptor(0xFC, b"guesthouse") + _descriptor(0xFD, bytes([50, 75, 30, 82, 14, 0, 10]) + b" " * 6)
    made += _descriptor(0x10, bytes(13)) + b"\0"
    return made + bytes([-sum(made) & 0xFF])


def _maker(name: str) -> bytes:
    a, b, c = (ord(letter) - 0x40 for letter in name)
    return (a << 10 | b << 5 | c).to_bytes(2, "big")


def _descriptor(kind: int, content: bytes) -> bytes:
    text = content if kind != 0xFC else (content + b"\n").ljust(13)
    return b"\0\0\0" + bytes([kind, 0]) + text


def _timing(khz: int, across: tuple[int, int, int, int], down: tuple[int, int, int, int]) -> bytes:
    """3.10.2: shown, blank, front porch and sync, in both directions."""
    width, blank, porch, sync = across
    height, blank_down, porch_down, sync_down = down
    return struct.pack("<H8B", khz // 10, width & 0xFF, blank & 0xFF, width >> 8 << 4 | blank >> 8, height & 0xFF,
                       blank_down & 0xFF, height >> 8 << 4 | blank_down >> 8, porch, sync) + bytes([
                           (porch_down & 15) << 4 | sync_down & 15, 0, 320 & 0xFF, 240, 320 >> 8 << 4, 0, 0, 0x18])
