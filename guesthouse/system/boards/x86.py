"""An x86 processor as a board sees it: how it enters a program, what is told when it has died (SDM 3A, 3.4 and 4.5)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.system.boards.report import guarded, rows
from guesthouse.system.firmware.linux_x86 import X86Entry
from guesthouse.system.memory import PAGE, Memory

IF = 0x200
SHOWN, LONGEST = 8, 15
GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
CR0_LONG, CR0_PROTECTED = 0x8000_0033, 0x0000_0033  # PG, NE, ET, MP, PE
CR4_PAE = 0x20
FRAME = 0xF_FFFF_FFFF_F000
WIDE = (39, "PML4E"), (30, "PDPTE"), (21, "PDE"), (12, "PTE")  # levels of 64-bit entries
NARROW = (22, "PDE"), (12, "PTE")
EFER_LONG = 0x500  # LME, LMA
CODE_64, CODE_32, DATA, TASK = 0xA09B, 0xC09B, 0xC093, 0x008B  # bits 8 to 23 of a descriptor's upper half
SELECTOR_CODE_64, SELECTOR_DATA, SELECTOR_CODE_32 = 0x10, 0x18, 0x20


def enter(state: Any, entry: X86Entry) -> None:
    """Put the processor where a boot protocol wants it: flat segments, interrupts off. An instruction that waits for
    its device is given up."""
    state.replies_known = u64(0)
    state.cr0 = u64(CR0_LONG if entry.long_mode else CR0_PROTECTED)
    state.cr3, state.cr4 = u64(entry.page_table), u64(CR4_PAE if entry.long_mode else 0)
    state.efer = u64(EFER_LONG if entry.long_mode else 0)
    for n, name in enumerate(SEGMENTS):
        code = name == "cs"
        access = (CODE_64 if entry.long_mode else CODE_32) if code else DATA
        usual = SELECTOR_CODE_64 if entry.long_mode else SELECTOR_CODE_32
        selector = (entry.code or usual) if code else SELECTOR_DATA
        set_segment(state.segments[n], selector, 0xFFFF_FFFF, access)
    set_segment(state.tr, 0, 0xFFFF, TASK)
    state.gdtr.base, state.gdtr.limit = u64(entry.gdt), u32(39)
    state.idtr.base, state.idtr.limit = u64(0), u32(0)
    for n, name in enumerate(GENERAL):
        state.r[n] = u64(entry.registers.get(name, 0))
    state.pc, state.flags, state.cpl = u64(entry.pc), u64(2), u8(0)
    state.settle_mode()


def set_segment(segment: Any, selector: int, limit: int, access: int) -> None:
    segment.base, segment.limit = u64(0), u32(limit)
    segment.access, segment.selector = u16(access), u16(selector)


def describe(state: Any, memory: Memory) -> list[str]:
    """Everything that helps to see why it died."""
    lines = guarded(lambda: registers(state))
    lines += ["", "page walk of rip:"] + guarded(lambda: walk(state, memory, int(state.pc)))
    if int(state.cr2) != int(state.pc):
        lines += ["page walk of cr2:"] + guarded(lambda: walk(state, memory, int(state.cr2)))
    return lines + ["", "code at rip:"] + guarded(lambda: code(state, memory))


def registers(state: Any) -> list[str]:
    values = [(name, int(state.r[n])) for n, name in enumerate(GENERAL)]
    values += [("rip", int(state.pc)), ("rflags", int(image())) if (image := getattr(state, "rflags", None))
               else ("flags", int(state.flags))]
    values += [(name, int(getattr(state, name))) for name in ("cr0", "cr2", "cr3", "cr4", "efer")]
    values += [("fault", int(state.fault)), ("code", int(state.fault_code)), ("cpl", int(state.cpl))]
    lines = rows(values)
    for n, name in enumerate(SEGMENTS):
        lines.append(segment_row(name, state.segments[n]))
    lines += [segment_row("tr", state.tr), segment_row("ldtr", state.ldtr)]
    return lines + [f"  {name:>8}      base {int(t.base):016x} limit {int(t.limit):08x}"
                    for name, t in (("gdtr", state.gdtr), ("idtr", state.idtr))]


def segment_row(name: str, s: Any) -> str:
    return (f"  {name:>8} {int(s.selector):04x} base {int(s.base):016x} limit {int(s.limit):08x} "
            f"access {int(s.access):04x}")


def entries(state: Any, memory: Memory, address: int) -> Iterator[tuple[str, int, int, int]]:
    """What translates a linear address (SDM 3A, 4.3 to 4.5): names, places and contents of the entries, and how many of
    the address's bits each leaves to what it refers to."""
    long, wide = int(state.efer) >> 10 & 1, int(state.cr4) >> 5 & 1
    levels, size = (WIDE[1 - long:], 8) if long or wide else (NARROW, 4)
    table = int(state.cr3) & (FRAME if long else 0xFFFF_FFE0 if wide else 0xFFFF_F000)
    for shift, name in levels:
        place = table + (address >> shift & (PAGE // size - 1)) * size
        entry = int.from_bytes(memory.read(place, size), "little")
        yield name, place, entry, shift
        large = entry & 0x80 and (shift in (30, 21) or shift == 22 and int(state.cr4) >> 4 & 1)
        if not entry & 1 or large:
            return
        table = entry & FRAME


def walk(state: Any, memory: Memory, address: int) -> Iterator[str]:
    """The entries that translate a linear address."""
    if not int(state.cr0) >> 31:
        yield f"  {address:016x}: paging is off"
        return
    for name, place, entry, _ in entries(state, memory, address):
        yield f"  {address:016x} {name:>5} at {place:012x}: {entry:016x} {bits(entry)}"


def bits(entry: int) -> str:
    names = ((0, "P"), (1, "W"), (2, "U"), (5, "A"), (6, "D"), (7, "PS"), (8, "G"), (63, "XD"))
    return " ".join(name for bit, name in names if entry >> bit & 1) or "not present"


def translate(state: Any, memory: Memory, address: int) -> int | None:
    """The guest-physical address, without any change to the guest; None: not mapped."""
    if not int(state.cr0) >> 31:
        return address
    *_, (_, _, entry, shift) = entries(state, memory, address)
    if not entry & 1:
        return None
    inside = (1 << shift) - 1
    above = (entry >> 13 & 0xFF) << 32 if shift == 22 else 0  # of 4 MiB pages (4.3, PSE-36)
    return entry & FRAME & ~inside | above | address & inside


def code(state: Any, memory: Memory) -> Iterator[str]:
    """The instructions at rip, as far as their page goes."""
    from guesthouse.system.cpu.x86.disassemble import Disassembler  # a processor that never dies needs none

    pc = int(state.pc)  # linear
    at = translate(state, memory, pc)
    if at is None or not memory.contains(at, 1):
        yield "  not mapped"
        return
    found = memory.read(at, min(SHOWN * LONGEST, PAGE - at % PAGE))
    lines = Disassembler(int(state.code_bits)).lines(found, pc)
    for address, octets, text in itertools.islice(lines, SHOWN):
        yield f"  {address:016x}  {octets.hex(' '):<45} {text}"
