"""A processor as it is when nothing has run on it yet: after RESET# (SDM 3A, table 9-1), with what a board
gives it.

Boards then enter a program as a boot protocol wants it, or leave it to the code at the reset vector.
"""

from __future__ import annotations

from typing import Any

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.processor import JUMPS, Jump, Processor
from guesthouse.system.cpu.x86.cpuid import SIGNATURE
from guesthouse.system.cpu.x86.debug import DR6_FIXED, DR7_FIXED
from guesthouse.system.cpu.x86.held import HELD
from guesthouse.system.cpu.x86.state import CS, RDX
from guesthouse.system.cpu.x86.system_state import CR0_CD, CR0_ET, CR0_NW
from guesthouse.typed import fill

BRAND = "guesthouse virtual processor"
RESET_PAT = 0x0007_0406_0007_0406
WRITE_BACK_EVERYWHERE = 0xC06  # MTRRs on, fixed ranges on, default type write-back: what firmware would set up
FAST_STRINGS, NO_BTS, NO_PEBS = 1 << 0, 1 << 11, 1 << 12
BETWEEN_INSTRUCTIONS = (
    "dead", "nmi", "smi", "smm", "nmi_blocked", "shadow", "shadow_armed", "stepping", "earned", "resuming", "stray",
    "halted", "register_refused", "replies_known",  # the last: what the instruction under way had asked for
)
REAL_CODE, REAL_DATA, LDT, BUSY_TSS = 0x9B, 0x93, 0x82, 0x8B
RESET_VECTOR, RESET_BASE, RESET_SMBASE = 0xFFFF_FFF0, 0xFFFF_0000, 0x3_0000


def reset(state: Any, *, apic_id: int = 0, processors: int = 1, brand: str = BRAND, seed: bytes = bytes(32)) -> None:
    """Bring a state, new or not, into the condition after RESET#. `seed`: 32 bytes for RDRAND."""
    if state.smm:
        state.exchange_memory()
    fill(state.jumps.address, u8(0xFF), u64(JUMPS * Jump.size))  # zeros would be an entry for address 0
    for at, size in type(state).beyond(Processor).values():
        fill(state.where + at, u8(0), u64(size))
    state.cr0, state.xcr0, state.a20_mask = u64(CR0_CD | CR0_NW), u64(1), ~u64(0)
    state.smbase = u64(RESET_SMBASE)
    state.pat, state.mtrr_def_type = u64(RESET_PAT), u64(WRITE_BACK_EVERYWHERE)
    state.misc_enable = u64(FAST_STRINGS | NO_BTS | NO_PEBS)
    for n, (value, _) in enumerate(HELD.values()):
        state.held[n] = u64(value)
    state.reset_float()
    introduce(state, apic_id, processors, brand, seed)
    init(state)


def init(state: Any) -> None:
    """The condition after INIT#: as after RESET#, but for caches, x87 and SSE, MTRRs and other MSRs, the time. In
    system-management mode, too: a board that wants it to wait for RSM has to wait."""
    if state.smm:
        state.exchange_memory()
    state.cr0 = u64(int(state.cr0) & (CR0_CD | CR0_NW) | CR0_ET)
    state.cr2 = state.cr3 = state.cr4 = state.efer = u64(0)
    for n in range(4):
        state.dr[n] = u64(0)
    state.dr[6] = u64(DR6_FIXED)
    state.set_dr7(u64(DR7_FIXED))
    for n in range(16):
        state.r[n] = u64(0)
    state.r[RDX] = u64(SIGNATURE)
    for n in range(6):
        set_segment(state.segments[n], 0, REAL_DATA)
    set_segment(state.segments[CS], 0xF000, REAL_CODE)
    state.segments[CS].base = u64(RESET_BASE)
    set_segment(state.ldtr, 0, LDT)
    set_segment(state.tr, 0, BUSY_TSS)
    for table in (state.gdtr, state.idtr):
        table.base, table.limit = u64(0), u32(0xFFFF)
    state.pc, state.cpl = u64(RESET_VECTOR), u8(0)
    state.set_rflags(u64(0))
    for name in BETWEEN_INSTRUCTIONS:
        setattr(state, name, u64(0))
    state.settle_mode()
    state.forget_translations()


def start_at(state: Any, vector: int) -> None:
    """SIPI: on from the page with this number (SDM 3A, 10.4.3)."""
    set_segment(state.segments[CS], vector << 8, REAL_CODE)
    state.pc = u64(vector << 12)
    state.settle_mode()


def set_segment(place: Any, selector: int, access: int) -> None:
    """A segment of 64 KiB, as in real mode."""
    place.base, place.limit = u64(selector << 4), u32(0xFFFF)
    place.selector, place.access = u16(selector), u16(access)


def introduce(state: Any, apic_id: int, processors: int, brand: str, seed: bytes) -> None:
    """What CPUID and RDRAND tell."""
    state.apic_off = u64(0)
    state.apic_id, state.processors = u64(apic_id), u64(processors)
    text = brand.encode("ascii", "replace")[:47].ljust(48, b"\0")
    for n in range(6):
        state.brand[n] = u64(int.from_bytes(text[8 * n:8 * n + 8], "little"))
    for n in range(4):
        state.random[n] = u64(int.from_bytes(seed[8 * n:8 * n + 8], "little") or n + 1)
