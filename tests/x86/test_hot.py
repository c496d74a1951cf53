"""The hot way against the threaded way: the same state after the same number of instructions, wherever that is."""

import pytest

from guesthouse.bits import u64
from guesthouse.engine.hot import regions
from guesthouse.engine.hot.compiler import Inside
from guesthouse.engine.hot.regions import Regions
from guesthouse.system.cpu.x86.guest import X86_GUEST
from tests.x86.assembler import assemble
from tests.x86.host import CODE, DATA, WINDOW, WINDOW_SIZE, Situation
from tests.x86.ours import TABLES, Ours

PROGRAMS = {
    "registers": "add rax, rbx; xor rbx, rax; rol rax, 7; lea rdx, [rax+rbx*2+5]; sub rbx, rdx; shr rdx, 3; "
                 "and edx, 0xffff; imul rsi, rbx; adc rdx, rax; dec ecx; jnz next",
    "memory": "mov rdx, rax; and rdx, 0xff8; add rax, [rdx+room]; add rax, 17; mov [rdx+room], rax; push rax; "
              "pop rsi; mov byte [rdx+room], bl; movzx edi, byte [rdx+room]; sub rax, rdi; dec rcx; jnz next",
    "calls": "call inner; add rax, rsi; test rax, rbx; jz inner; dec rcx; jnz next; jmp next; inner: inc rsi; ret",
    "floats": "cvtsi2sd xmm1, rcx; addsd xmm0, xmm1; mulsd xmm0, xmm1; sqrtsd xmm0, xmm0; ucomisd xmm0, xmm1; "
              "ja next; movapd xmm2, xmm0; divsd xmm1, xmm2; dec rcx; jnz next",
    "faults": "add rax, rcx; cmp rax, rbx; mov rdx, [rcx+room]; add rcx, 8; jmp next",
}


def prepared(code, native):
    made, registers = Ours(native), [0] * 16
    registers[0], registers[1], registers[3], registers[4] = 1, 3_000_000, 0x9E37_79B9_7F4A_7C15, WINDOW + 0x800
    made.prepare(code, Situation(registers, 2, bytes(WINDOW_SIZE)), 64)
    return made


def state_of(machine):
    cpu = machine.cpu
    return ([int(cpu.r[n]) for n in range(16)], [int(cpu.xmm[n]) for n in range(16)], int(cpu.pc), int(cpu.rflags()),
            int(cpu.cr2), machine.vcpu.count, machine.memory.read(0, 0x40_0000))


@pytest.mark.parametrize("name", PROGRAMS)
def test_hot_code_is_as_exact_as_threaded_code(threaded, name, monkeypatch):
    monkeypatch.setattr(regions, "ENOUGH", 2)
    native = threaded.vcpu.engine
    code = assemble(f"next: {PROGRAMS[name]}", {"room": DATA})
    cold, hot = prepared(code, native), prepared(code, native)
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    for budget in (20_000, 20_000, 20_000, 1, 7, 4096, 99_991, 2, 3, 5, 250_000):
        for machine in (cold, hot):
            machine.vcpu.run(budget)
        assert state_of(cold) == state_of(hot)
        way.look()
    assert way.installed


def test_code_that_changes_under_a_region_is_seen_at_once(threaded):
    native = threaded.vcpu.engine
    code = assemble("next: add rax, 1; dec rcx; mov rdx, rcx; and edx, 0x3fff; jnz next; inc r8; call changes; "
                    "jmp next; changes: mov [rdi], r9; ret", {})
    made = []
    for hot in (False, True):
        machine = prepared(code, native)
        at = machine.cpu.pc
        other = code[:3] + b"\x02" + code[4:8]  # add rax, 2
        machine.cpu.r[7], machine.cpu.r[9] = at, type(at)(int.from_bytes(other, "little"))
        way = Regions(native, machine.cpu, Inside(X86_GUEST)) if hot else None
        for _ in range(40):
            machine.vcpu.run(20_000)
            if way:
                way.look()
        made.append(state_of(machine))
        assert way is None or way.installed
    assert made[0] == made[1]


@pytest.mark.parametrize("address", [0, (1 << 64) - 1])
def test_code_at_either_end_of_the_address_space_is_found_though_it_was_never_decoded(machine_code, address):
    machine = Ours(machine_code)
    machine.prepare(b"\x90", Situation([0] * 16, 2, bytes(WINDOW_SIZE)), 64)
    for table in range(TABLES, TABLES + 0x3000, 0x1000):
        machine.memory.write(table + 511 * 8, (table + 0x1007).to_bytes(8, "little"))
    for n in (0, 511):
        machine.memory.write(TABLES + 0x3000 + 8 * n, (CODE | 7).to_bytes(8, "little"))
    machine.memory.write(CODE, b"\x90\x90")
    machine.memory.write(CODE + 0xFFF, b"\x90")
    machine.cpu.pc = u64(address)
    machine.vcpu.run(2)
    assert int(machine.cpu.pc) == address + 2 & (1 << 64) - 1
