"""Hot and threaded code in flat 32-bit segments: addresses and branches that wrap at 4 GiB, segments with a base for
thread-local data, and blocks that run wherever their bytes are mapped."""

from __future__ import annotations

from typing import Any

import pytest

from guesthouse.bits import u16, u32, u64
from guesthouse.engine.build import Engine
from guesthouse.engine.hot import regions
from guesthouse.engine.hot.workshop import Inside
from guesthouse.engine.hot.regions import Regions
from guesthouse.engine.processor import NEVER
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.cpu.x86.state import CS, FS, GS
from tests.x86.assembler import assemble
from tests.x86.host import DATA, WINDOW, WINDOW_SIZE, Situation
from tests.x86.legacy import DIRECTORY, Legacy
from tests.x86.ours import TABLES

M32 = 0xFFFF_FFFF
LOCAL = DATA + 0x400  # where GS begins
FIRST, LAST = 0x3F_0000, 0x3F_1000  # RAM for the pages at either end of the linear addresses
TOP = 0xFFFF_F000
LOOPS = {
    "stack": assemble("next: push rax; push rsi; add eax, ecx; call inner; pop rbx; pop rdx; xor esi, edx; dec ecx; "
                      "jnz next; jmp next; inner: mov edi, [rsp+4]; add esi, edi; ret", {}),
    "addresses": assemble("next: mov edx, -8; mov ebx, ecx; and ebx, 7; sub edx, ebx; add eax, [rdx+rbp]; "
                          "mov [rbp+rdx*4], eax; add [rdx+room], ecx; mov edi, -256; lea esi, [rdi+rdi*2+7]; "
                          "add eax, [rdi+room]; dec ecx; jnz next; jmp next", {"room": DATA + 0x180}),
    "near": assemble("next: lea edx, [rcx+rcx*4]; shl edx, 3; and edx, 0x6ff; lea edi, [rdx+room]; mov esi, ecx; "
                     "and esi, 0x1ff; add eax, [rdi+rsi*4]; mov [rdi+rsi*4+12], eax; add [rdi+rsi*4+8], ecx; "
                     "add eax, [rdi+rsi*4+2]; add edi, 24; mov [rdi+rsi*4-7], eax; xor ebx, [rdi+rsi*4]; "
                     "movzx edx, byte [rdi]; add eax, edx; mov byte [rdi+1], al; dec ecx; jnz next; jmp next",
                     {"room": DATA}),
    # What is remembered of the stack's pages by ESP and EBP: beyond the end of a page, and parts of a register written.
    # PUSH EAX; SUB ESP, 7F0h; MOV [ESP + 7ECh], ECX; ADD EAX, [ESP + 7F0h]; ADD ESP, 7F0h; MOV EBP, ESP; MOV BP, CX;
    # AND BP, 0FF0h; OR BP, 800h; MOV [EBP + 2], EAX; ADD EAX, [EBP + 4]; POP EDX; ADD EAX, EDX; DEC ECX; JNZ and JMP to
    # the beginning
    "pages": bytes.fromhex(
        "50 81 ec f0 07 00 00 89 8c 24 ec 07 00 00 03 84 24 f0 07 00 00 81 c4 f0 07 00 00 89 e5 66 89 cd 66 81 e5 f0 0f"
        "66 81 cd 00 08 89 45 02 03 45 04 5a 01 d0 49 75 ca eb c8"),
    # MOV EAX, GS:[EBX + EDX*4 - 8]; ADD GS:[40h], EAX; LEA EBX, [EAX]; AND EBX, 0FCh; MOV ESI, 200800h; MOV EDI,
    # 200900h; LODSB; STOSB; MOVSD; ADD EDX, EAX; AND EDX, 7; ADD EAX, [EBP + EDX]; CMPSB; JZ and JMP to the beginning
    "strings and thread-local data": bytes.fromhex(
        "65 8b 44 93 f8 65 01 05 40 00 00 00 8d 18 81 e3 fc 00 00 00 be 00 08 20 00 bf 00 09 20 00 ac aa a5 01 c2 83 e2"
        "07 03 44 15 00 a6 74 d3 eb d1"),
}


def made(code: bytes, engine: Engine) -> Legacy:
    """At CPL 3; GS has a base, and memory is full of numbers."""
    machine, registers, places = Legacy(engine), [0] * 16, range(DATA, DATA + 0x1000, 256)
    registers[0], registers[1], registers[3], registers[4], registers[5] = 1, 3_000_000, 8, WINDOW + 0x800, DATA + 0x100
    machine.prepare(code, Situation(registers, 2, bytes(WINDOW_SIZE)), 32)
    segment = machine.cpu.segments[GS]
    segment.base, segment.limit, segment.selector, segment.access = u64(LOCAL), u32(M32), u16(0x33), u16(0xC0F3)
    for place in places:
        machine.memory.write(place, bytes(range(256)))
    return machine


def seen(machine: Any) -> tuple[Any, ...]:
    cpu = machine.cpu
    return ([int(cpu.r[n]) for n in range(8)], int(cpu.pc), int(cpu.rflags()), int(cpu.cr2), machine.vcpu.count,
            machine.memory.read(0, 0x40_0000))


@pytest.mark.parametrize("name", LOOPS)
def test_flat_code_is_as_exact_when_hot(name: str, machine_code: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it never leaves the fast path."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    cold, hot = made(LOOPS[name], machine_code), made(LOOPS[name], machine_code)
    way = Regions(machine_code, hot.cpu, Inside(X86_GUEST))
    for budget in (20_000, 20_000, 20_000, 1, 7, 4096, 2, 3, 5, 100_000):
        for machine in (cold, hot):
            machine.vcpu.run(budget)
        assert seen(cold) == seen(hot)
        way.look()
    fills = hot.vcpu.counters()["fills"], cold.vcpu.counters()["fills"]
    assert way.installed and not int(hot.cpu.faults) and max(fills) < 20


def ends_of_memory(machine: Legacy, last: bytes, first: bytes) -> None:
    """Map code to both ends of the linear addresses: `last` ends with the last byte of the last page."""
    memory = machine.memory
    memory.write(DIRECTORY + 24, (0x3F_2000 | 1).to_bytes(8, "little"))
    memory.write(0x3F_2000 + 511 * 8, (0x3F_3000 | 7).to_bytes(8, "little"))
    memory.write(0x3F_3000 + 511 * 8, (LAST | 7).to_bytes(8, "little"))
    memory.write(TABLES + 0x3000, (FIRST | 7).to_bytes(8, "little"))
    memory.write(LAST + 0x1000 - len(last), last)
    memory.write(FIRST, first)
    machine.cpu.forget_translations()
    machine.cpu.pc = u64((1 << 32) - len(last))


OVER_THE_END = {  # the last instructions, the first, and what EAX is after a hundred turns
    "falls": ("83 c0 05", "01 d8 49 e9 f5 ff ff ff", 100 * 13),  # ADD EAX, 5 | ADD EAX, EBX; DEC ECX; JMP back
    "jumps": ("83 c0 05 e9 00 00 00 00", "01 d8 49 e9 f0 ff ff ff", 100 * 13),
    # CALL 5, whose return address is 0 | JMP SHORT 7; NOP three times; RET; ADD EAX, EBX; DEC ECX; JMP back
    "calls": ("e8 05 00 00 00", "eb 05 90 90 90 c3 90 01 d8 49 e9 ec ff ff ff", 100 * 8),
}


@pytest.mark.parametrize("name", OVER_THE_END)
@pytest.mark.parametrize("way", ["plain", "threaded", "hot"])
def test_code_goes_on_at_zero_after_the_last_byte(name: str, way: str, machine_code: Engine,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    last, first, expected = OVER_THE_END[name]
    length = {"falls": 4, "jumps": 5, "calls": 6}[name]
    machine = made(b"\x90", None if way == "plain" else machine_code)
    ends_of_memory(machine, bytes.fromhex(last), bytes.fromhex(first))
    machine.cpu.r[0] = u64(0)
    hot = Regions(machine_code, machine.cpu, Inside(X86_GUEST)) if way == "hot" else None
    for _ in range(20 if hot else 1):
        machine.vcpu.run(100 * length)
        if hot:
            hot.look()
    assert (int(machine.cpu.r[0]), int(machine.cpu.faults)) == (expected * (20 if hot else 1), 0)
    assert int(machine.cpu.pc) == (1 << 32) - len(bytes.fromhex(last)) and (hot is None or hot.installed)


def test_an_instruction_over_the_end_of_a_flat_segment_faults(machine_code: Engine) -> None:
    """Its last byte is beyond the limit (SDM 3A, 5.3)."""
    for way in (machine_code, None):
        machine = made(b"\x90", way)
        ends_of_memory(machine, bytes.fromhex("83 c0"), bytes.fromhex("05 90"))
        machine.vcpu.run(1)
        assert machine.outcome(Situation([0] * 16, 2, b"")).trap == 13


def test_the_same_page_of_32_bit_code_is_decoded_once_wherever_it_is_mapped(
        machine_code: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    machine = made(b"\x90", machine_code)
    code = assemble("next: add eax, ebx; call inner; dec ecx; jnz next; jmp next; inner: push rcx; pop rdx; ret", {})
    machine.memory.write(FIRST, code)
    for page in (0x140, 0x153):
        machine.memory.write(TABLES + 0x3000 + 8 * page, (FIRST | 7).to_bytes(8, "little"))
    way, builds, lookups = Regions(machine_code, machine.cpu, Inside(X86_GUEST)), [], []
    for page in (0x140, 0x153):
        machine.cpu.pc, machine.cpu.pause = u64(page << 12), u64(NEVER)  # what a sample looks up is not counted
        before = machine.vcpu.counters()
        for _ in range(8):
            machine.vcpu.run(4000)
            way.look()
        after = machine.vcpu.counters()
        builds.append(after["builds"] - before["builds"])
        lookups.append(after["lookups"] - before["lookups"])
    assert builds[0] and not builds[1] and way.installed
    assert lookups[1] < lookups[0]


def test_a_segment_that_is_not_whole_is_checked_when_hot(machine_code: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """MOV EAX, FS:[EBX]; ADD EBX, 4; JMP back: until FS ends."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    machine = made(bytes.fromhex("64 8b 03 83 c3 04 eb f8"), machine_code)
    segment = machine.cpu.segments[FS]
    segment.base, segment.limit, machine.cpu.r[3] = u64(LOCAL), u32(0x6FF), u64(0)
    way = Regions(machine_code, machine.cpu, Inside(X86_GUEST))
    for _ in range(40):
        machine.vcpu.run(600)
        machine.cpu.r[3] = u64(0)
        way.look()
    assert way.installed and not int(machine.cpu.faults)
    machine.vcpu.run(1345)
    outcome = machine.outcome(Situation([0] * 16, 2, b""))
    assert (outcome.trap, outcome.registers[3]) == (13, 0x700)


def test_code_segments_with_a_base_have_blocks_of_their_own(machine_code: Engine) -> None:
    """The same bytes at the same address, told apart by where CS begins: CALL pushes an offset."""
    machine = made(bytes.fromhex("e8 00 00 00 00"), machine_code)
    cpu = machine.cpu
    start, pushed = int(cpu.pc), []
    for base in (0, 0x1000, 0x10, 0):
        cpu.segments[CS].base = u64(base)
        cpu.settle_mode()
        cpu.pc = u64(start)
        machine.vcpu.run(1)
        pushed.append(int.from_bytes(machine.memory.read(int(cpu.r[4]), 4), "little"))
    assert pushed == [start + 5, start + 5 - 0x1000, start + 5 - 0x10, start + 5]
