"""Makes small ELF files."""

import struct


def executable(machine, address, code, *, symbols=None, notes=b"", entry=None, wide=True):
    """One segment at `address`, perhaps a note segment, perhaps a symbol table."""
    segments = [(1, code, address)] + ([(4, notes, 0)] if notes else [])
    header, row = (64, 56) if wide else (52, 32)
    at = header + row * len(segments)
    programs, content = b"", b""
    for kind, data, where in segments:
        place = at + len(content)
        if wide:
            programs += struct.pack("<IIQQQQQQ", kind, 7, place, where, where, len(data), len(data), 4)
        else:
            programs += struct.pack("<IIIIIIII", kind, place, where, where, len(data), len(data), 7, 4)
        content += data
    table, names = bytes(24), b"\0"
    for name, value in (symbols or {}).items():
        table += struct.pack("<IBBHQQ", len(names), 1, 0, 1, value, 8)
        names += name.encode() + b"\0"
    sections = b""
    if symbols:
        first = at + len(content)
        sections = bytes(64) + struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, first, len(table), 2, 1, 8, 24)
        sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, first + len(table), len(names), 0, 0, 1, 0)
        content += table + names
    ident = b"\x7fELF" + bytes((2 if wide else 1, 1, 1)) + bytes(9)
    body = struct.pack("<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH", 2, machine, 1, entry or address, header,
                       at + len(content) if sections else 0, 0, header, row, len(segments), 64, len(sections) // 64, 0)
    return ident + body + programs + content + sections
