"""The hot way against the threaded way: the same state after the same number of instructions, wherever that is."""

import inspect
import time

import pytest

from guesthouse.bits import u64
from guesthouse.engine.hot import compiler as compiler_module
from guesthouse.engine.hot import lowered, regions, workshop
from guesthouse.engine.hot.compiler import Compiler, spare_processors
from guesthouse.engine.hot.job import LINKED, LINKS, Job
from guesthouse.engine.hot.later import Later
from guesthouse.engine.hot.workshop import Inside
from guesthouse.engine.hot.native import FEATURES
from guesthouse.engine.hot.library import Library
from guesthouse.engine.hot.regions import Regions
from guesthouse.engine.hot.shelf import Shelf
from guesthouse.engine.stitching import Link
from guesthouse.system.cpu.x86.definitions import definitions
from guesthouse.system.cpu.x86.guest import X86, X86_GUEST
from guesthouse.typed.values import Ref, Scalar
from guesthouse.system.cpu.x86 import (
    aes, pclmul, sha, sse_convert, sse_float, sse_host, sse_integer, sse_moves, sse_shuffle,
)
from guesthouse.typed.machine import has
from tests.x86.assembler import assemble
from tests.x86.floats import FloatOurs, cases
from tests.x86.host import CODE, DATA, START, WINDOW, WINDOW_SIZE, Situation
from tests.x86.legacy import Legacy
from tests.x86.ours import TABLES, Ours

PROGRAMS = {
    "registers": "add rax, rbx; xor rbx, rax; rol rax, 7; lea rdx, [rax+rbx*2+5]; sub rbx, rdx; shr rdx, 3; "
                 "and edx, 0xffff; imul rsi, rbx; adc rdx, rax; dec ecx; jnz next",
    "memory": "mov rdx, rax; and rdx, 0xff8; add rax, [rdx+room]; add rax, 17; mov [rdx+room], rax; push rax; "
              "pop rsi; mov byte [rdx+room], bl; movzx edi, byte [rdx+room]; sub rax, rdi; dec rcx; jnz next",
    # Groups of accesses that lie now in one page, now in two, aligned or not, with an index or without.
    "near": "lea edx, [rcx+rcx*4]; shl edx, 3; and edx, 0xfff; lea rdi, [rdx+room]; mov esi, ecx; and esi, 0x1ff; "
            "add rax, [rdi+rsi*4]; mov [rdi+rsi*4+12], eax; add [rdi+rsi*4+8], ecx; add eax, [rdi+rsi*4+2]; "
            "add rdi, 24; mov [rdi+rsi*4-7], rax; xor rbx, [rdi+rsi*4]; add rsi, 3; add rbx, [rdi+rsi*4-12]; "
            "movzx edx, byte [rdi]; add eax, edx; mov byte [rdi+1], al; add rax, [rdi+5]; dec ecx; jnz next; jmp next",
    # Addresses that are known, in one page and the next, and over its end.
    "known": "add rax, [room+0xff0]; mov [room+0xff8], rax; add [room+0x1008], eax; mov [room+0xffc], rax; "
             "lea edi, [room+0xfe0]; xor rbx, [rdi+16]; mov [rdi+28], rbx; add [rdi+36], ecx; add edi, 8; "
             "add rbx, [rdi+28]; mov esi, ecx; and esi, 0x1ff; add rbx, [rdi+rsi*8-0x10]; mov [rdi+rsi*8-8], eax; "
             "dec ecx; jnz next; jmp next",
    "calls": "call inner; add rax, rsi; test rax, rbx; jz inner; dec rcx; jnz next; jmp next; inner: inc rsi; ret",
    # The carry alone is asked for, and behind that what a rotation leaves as it was.
    "rotations": "add rax, rbx; jz one; one: rol rax, 7; jmp two; two: jb three; three: jb four; jl over; "
                 "add rbx, 5; jmp over; four: jl over; add rbx, 3; over: dec ecx; jnz next; jmp next",
    "floats": "cvtsi2sd xmm1, rcx; addsd xmm0, xmm1; mulsd xmm0, xmm1; sqrtsd xmm0, xmm0; ucomisd xmm0, xmm1; "
              "ja next; movapd xmm2, xmm0; divsd xmm1, xmm2; dec rcx; jnz next",
    "numbers": "cvtsi2sd xmm1, rcx; movapd xmm3, xmm1; mulsd xmm3, xmm1; divsd xmm3, xmm0; subsd xmm3, xmm1; "
               "addpd xmm2, xmm3; mulps xmm4, xmm3; divps xmm4, xmm1; sqrtsd xmm5, xmm3; minsd xmm5, xmm1; "
               "maxsd xmm3, xmm5; sqrtps xmm6, xmm2; addsd xmm0, xmm6; dec rcx; jnz next",
    "faults": "add rax, rcx; cmp rax, rbx; mov rdx, [rcx+room]; add rcx, 8; jmp next",
}
ELSEWHERE = 0x3F_0000


def prepared(code, native, bits=64, data="flat"):
    made, registers = Ours(native) if bits == 64 else Legacy(native, data), [0] * 16
    registers[0], registers[1], registers[3], registers[4] = 1, 3_000_000, 0x9E37_79B9_7F4A_7C15, WINDOW + 0x800
    made.prepare(code, Situation(registers, 2, bytes(WINDOW_SIZE)), bits)
    return made


def apart(machine):
    """The second page of the data gets other RAM, which is not beside the first one's."""
    machine.memory.write(TABLES + 0x4008, (ELSEWHERE | 7 | 1 << 63).to_bytes(8, "little"))
    machine.cpu.forget_translations()
    return machine


def state_of(machine):
    cpu = machine.cpu
    return ([int(cpu.r[n]) for n in range(16)], [int(cpu.xmm[n]) for n in range(16)], int(cpu.pc), int(cpu.rflags()),
            int(cpu.cr2), int(cpu.sse.flags), machine.vcpu.count, machine.memory.read(0, 0x40_0000))


def agree(cold, hot, way, budgets):
    """Both machines are in the same state after each of these; then hot code looks for what it may do."""
    for budget in budgets:
        for machine in (cold, hot):
            machine.vcpu.run(budget)
        assert state_of(cold) == state_of(hot)
        way.look()


VALUES = [0x3FF0_0000_0000_0000, 0x7FF0_0000_0000_0000, 0x7FF4_0000_0000_0001, 1, 0x8000_0000_0000_0000,
          0x3FF0_0000_0000_0001, 0x7FEF_FFFF_FFFF_FFFF, 0x0010_0000_0000_0000, 0xFFF8_0000_0000_1234,
          0x4008_0000_0000_0000]


@pytest.mark.parametrize("mxcsr", [0x1F80, 0x3F80, 0x9FC0, 0x1F00])
def test_the_host_raises_what_the_guest_would(threaded, mxcsr, monkeypatch):
    """Special numbers in turn, as operands of hot floating point: results and flags are those of the threaded way."""
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    native = threaded.vcpu.engine
    code = assemble("next: movapd xmm4, xmm0; addsd xmm4, xmm1; movapd xmm5, xmm0; mulsd xmm5, xmm1; "
                    "movapd xmm6, xmm0; divsd xmm6, xmm1; movapd xmm7, xmm0; sqrtsd xmm7, xmm1; "
                    "movapd xmm8, xmm0; addpd xmm8, xmm1; movapd xmm9, xmm0; divps xmm9, xmm1; dec rcx; jnz next", {})
    cold, hot = prepared(code, native), prepared(code, native)
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    for machine in (cold, hot):
        machine.vcpu.run(4000)
    for _ in range(3):
        way.look()
        for machine in (cold, hot):
            machine.vcpu.run(4000)
    assert way.installed
    for a in VALUES:
        for b in VALUES:
            for machine in (cold, hot):
                cpu = machine.cpu
                cpu.set_mxcsr(type(cpu.pc)(mxcsr))
                cpu.xmm[0], cpu.xmm[1] = (type(cpu.xmm[0])(v << 64 | v) for v in (a, b))
                machine.vcpu.run(140)
            assert state_of(cold)[1:] == state_of(hot)[1:], (hex(a), hex(b))


class Looping(FloatOurs):
    """Runs one instruction again and again, from situations that leave the code alone."""

    def __init__(self, native):
        super().__init__(native)
        self.code = b""

    def prepare(self, code, before, bits):
        if code != self.code:
            super().prepare(code, before, bits)
            self.code = code
        write, self.memory.write = self.memory.write, lambda at, octets: None
        super().prepare(code, before, bits)
        self.memory.write = write


@pytest.mark.skipif(not has("avx"), reason="the host has no AVX")
@pytest.mark.parametrize("module", [aes, pclmul, sha, sse_convert, sse_float, sse_integer, sse_moves, sse_shuffle],
                         ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_host_does_what_the_bodies_of_sse_do(threaded, module):
    """In hot code, with all modes, special numbers and flags; whatever the host does not do is done threaded."""
    native, wrong, done = threaded.vcpu.engine, [], set()
    situations = [cases((module,), 1, seed=8, masked=masked)[:10] for masked in (True, False)]
    machines = [Looping(native), Looping(native)]
    for n, first in enumerate(cases((module,), 3, seed=7, masked=True)):
        if any(machine.cpu.faults for machine in machines):
            machines = [Looping(native), Looping(native)]
        code = first.code + b"\xe9" + (-5 - len(first.code)).to_bytes(4, "little", signed=True)
        for machine in machines:
            machine.prepare(code, first.before, 64)
            machine.vcpu.run(200)
        way = Regions(native, machines[1].cpu, Inside(X86_GUEST))
        way.want(way.last(START), START)
        way.look()
        if not way.installed or machines[1].cpu.faults:
            continue
        done.add(first.definition.name)
        for other in situations[n % 3 == 2]:
            situation = Situation(first.before.registers, first.before.flags, other.before.window, other.before.fx)
            made = []
            for machine in machines:
                machine.prepare(code, situation, 64)
                machine.vcpu.run(2)
                made.append(machine.outcome(situation))
            if made[0] != made[1]:
                wrong.append(f"{first.definition.name} {code.hex(' ')}: {made[0]} {made[1]}")
            if any(machine.cpu.faults for machine in machines):
                break
    assert not wrong
    expected = {name for name, _ in sse_host.bodies()} & {d.name for d in definitions(module)}
    expected &= {name for name in expected if has(FEATURES.get(name[:3], "avx"))}
    assert not expected - done


@pytest.mark.parametrize(("name", "host"), [
    *((name, True) for name in PROGRAMS), ("floats", False), ("numbers", False)])
def test_hot_code_is_as_exact_as_threaded_code(threaded, name, host, monkeypatch):
    """With the host's vector unit, and as on a host whose unit is none of ours."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    if not host:
        monkeypatch.setattr(lowered, "has", lambda feature: False)
    native = threaded.vcpu.engine
    code = assemble(f"next: {PROGRAMS[name]}", {"room": DATA})
    cold, hot = apart(prepared(code, native)), apart(prepared(code, native))
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    agree(cold, hot, way, (20_000, 20_000, 20_000, 1, 7, 4096, 99_991, 2, 3, 5, 250_000))
    assert way.installed


def test_an_access_that_never_succeeds_is_a_way_out(threaded):
    """MOVAPS from an address that is known not to be aligned."""
    native = threaded.vcpu.engine
    code = bytes.fromhex("FFC0 0F280425") + (DATA + 4).to_bytes(4, "little") + bytes.fromhex("EBF4")
    cold, hot = prepared(code, native), prepared(code, native)
    for machine in (cold, hot):
        machine.vcpu.run(200)
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    way.want(way.last(START), START)
    way.look()
    for machine in (cold, hot):
        machine.cpu.pc = u64(START)
        machine.vcpu.run(500)
    assert way.installed and cold.cpu.faults and state_of(cold) == state_of(hot)


def test_what_is_put_off_before_an_instruction_for_the_threaded_way_is_made_by_the_host(threaded, monkeypatch):
    """A comparison waits where a block ends; the last block ends at MOVD to MM0 in a region with the x87 stack."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    native = threaded.vcpu.engine
    code = bytes.fromhex("D9E8 DDD8")  # FLD1; FSTP ST(0)
    code += assemble("addsd xmm0, xmm1; ucomisd xmm0, xmm1; jmp one; one: jb two; inc eax; two: dec ecx", {})
    code += bytes.fromhex("0F6EC0 E9") + (-8 - len(code)).to_bytes(4, "little", signed=True)
    cold, hot = prepared(code, native), prepared(code, native)
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    agree(cold, hot, way, (20_000, 20_000, 20_000, 1, 7, 4096, 99_991))
    assert way.installed


@pytest.mark.parametrize("bits", [64, 32])
def test_what_goes_on_with_a_loop_is_exact(threaded, bits, monkeypatch):
    """Groups through two pages that are not beside one another: unaligned, by sums of two, and backwards."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    texts, machine_code = [], workshop.machine_code
    monkeypatch.setattr(workshop, "machine_code", lambda text: texts.append(text) or machine_code(text))
    native = threaded.vcpu.engine
    code = assemble("next: xor edi, edi; mov edx, edi; add edx, 13; lea esi, [room+0x1f85]; "
                    "again: add eax, [rdx+room]; movups xmm0, [rdx+room+3]; mov [rdx+room+5], ecx; "
                    "add ebx, [rdx+room+16]; movups [rdx+room+11], xmm0; xor ebx, [rsi]; mov [rsi+9], eax; "
                    "sub esi, 24; add eax, [rdi+rdx+room]; inc edi; add edx, 24; cmp edx, 0x1e00; jb again; "
                    "dec ecx; jnz next; jmp next", {"room": DATA})
    cold, hot = apart(prepared(code, native, bits)), apart(prepared(code, native, bits))
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    agree(cold, hot, way, (20_000, 20_000, 20_000, 1, 7, 4096, 99_991, 250_000))
    assert way.installed and not cold.cpu.faults and any("%cells = alloca" in text for text in texts)


@pytest.mark.parametrize(("bits", "data"), [(64, "flat"), (32, "flat"), (32, "checked")])
def test_a_region_goes_on_by_links(threaded, bits, data, monkeypatch):
    """Each block is a region of its own here. A block that ends is led to no more. Where data has segments with
    limits, nothing is put together from stencils."""
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    monkeypatch.setattr(regions, "MOST", (1, 128))
    monkeypatch.setattr(regions, "MOST_OF_LOOP", (1, 128))
    monkeypatch.setattr(regions, "LEFT_SOON", 0)
    native = threaded.vcpu.engine
    if not native.stencils:
        pytest.skip("where no stencils are there is no room for links")
    code = assemble("next: add eax, ecx; cmp eax, ebx; jb over; xor ebx, eax; over: dec ecx; jnz next; jmp next", {})
    cold, hot = prepared(code, native, bits, data), prepared(code, native, bits, data)
    hot.vcpu.put_together(native)
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    agree(cold, hot, way, (4000, 4000, 4000, 4000, 4000, 3, 4001, 250_000))
    links = [Link.at(words[LINKS] + n * Link.size) for _, _, words in way.counts for n in range(words[LINKED])]
    assert way.installed >= 3 and sum(int(link.record) != 0 for link in links) >= 3
    for machine in (cold, hot):
        machine.vcpu.outdate(int(machine.cpu.host_to_write(u64(START))))
    assert not any(int(link.record) for link in links)
    for machine in (cold, hot):
        machine.vcpu.run(4000)
    assert state_of(cold) == state_of(hot)


def test_addresses_that_count_from_the_region_are_exact(threaded, monkeypatch):
    """Relative to RIP, of which nobody knows where it is: in a page, over its end, and in the next."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    native, code = threaded.vcpu.engine, b""
    for opcode, to in (("4803", 0x10), ("4889", 0x18), ("4831", 0x1C), ("4803", 0xFFC), ("4889", 0xFF4),
                       ("4831", 0x1000), ("4803", 0x1008), ("4889", 0x14)):
        code += bytes.fromhex(opcode)[:2] + b"\x05" + (DATA + to - START - len(code) - 7).to_bytes(4, "little")
    code += b"\xe9" + (-5 - len(code)).to_bytes(4, "little", signed=True)
    cold, hot = apart(prepared(code, native)), apart(prepared(code, native))
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    agree(cold, hot, way, (20_000, 20_000, 20_000, 1, 7, 5, 250_000))
    assert way.installed and not cold.cpu.faults


def test_the_low_half_of_a_stack_pointer_is_not_its_page(threaded, monkeypatch):
    """A stack beyond 4 GiB, and what lies 4 GiB below it."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    native, high = threaded.vcpu.engine, 1 << 32
    code = assemble("mov [rsp+8], rax; mov [rsp+24], rbx; mov edi, esp; xor rax, rcx", {})
    code += bytes.fromhex("6748890F 6748894710")  # mov [edi], rcx; mov [edi+16], rax
    code += assemble("add rbx, [rsp]; add rbx, [rsp+8]; dec ecx", {})
    code += b"\xe9" + (-5 - len(code)).to_bytes(4, "little", signed=True)
    machines = [prepared(code, native), prepared(code, native)]
    for machine in machines:
        for at, entry in ((TABLES + 0x1020, ELSEWHERE + 0x1007), (ELSEWHERE + 0x1008, ELSEWHERE + 0x2007),
                          (ELSEWHERE + 0x2000, ELSEWHERE + 7)):  # 2 MiB beyond 4 GiB, where the data are below
            machine.memory.write(at, entry.to_bytes(8, "little"))
        machine.cpu.r[4] = u64(high + DATA + 0x800)
    cold, hot = machines
    way = Regions(native, hot.cpu, Inside(X86_GUEST))
    agree(cold, hot, way, (20_000, 20_000, 20_000, 7, 99_991))
    assert way.installed and not cold.cpu.faults


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


def test_what_follows_from_the_mode_is_no_question_in_a_region(threaded, monkeypatch):
    """Nor are base and index registers that an operand does not have."""
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    texts, machine_code = [], workshop.machine_code
    monkeypatch.setattr(workshop, "machine_code", lambda text: texts.append(text) or machine_code(text))
    made = prepared(assemble("next: push rax; mov rdx, [rsp]; call inner; pop rcx; jmp next; inner: ret", {}),
                    threaded.vcpu.engine)
    way = Regions(made.vcpu.engine, made.cpu, Inside(X86_GUEST))
    for _ in range(3):
        made.vcpu.run(4000)
        way.look()
    assert way.installed and texts
    for field in ("code_bits", "stack_bits", "cpl", "flat", "nothing"):
        place = f"ptr %cpu, i64 {X86_GUEST.state.offset(field)}\n"
        assert not [text for text in texts if place in text], field


@pytest.mark.parametrize("lives", [1, 4])
def test_a_compiler_that_was_killed_leaves_the_guest_to_the_threaded_way(threaded, monkeypatch, tmp_path, lives):
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    monkeypatch.setattr(compiler_module, "LIVES", lives)
    native = threaded.vcpu.engine
    cold, hot = (prepared(assemble(f"next: {PROGRAMS['memory']}", {"room": DATA}), native) for _ in range(2))
    compiler, inbox = Compiler(X86_GUEST, tmp_path / "x86.regions"), []
    way = Regions(native, hot.cpu, compiler)
    for turn in range(30):
        for machine in (cold, hot):
            machine.vcpu.run(20_000)
        way.look()
        if turn == 4:
            process = compiler._process
            assert process is not None and process.poll() is None
            process.kill()
            process.wait()
            way.look()
            assert not way.wanted
            compiler.send(Job("later", 0, []), inbox)
            assert bool(inbox) == (lives == 1) and (compiler._process is None) == (lives == 1)
    assert state_of(cold) == state_of(hot)


@pytest.mark.parametrize(("stays", "made"), [(3, False), (2, True)])
def test_what_is_left_at_once_stays_in_copies(threaded, monkeypatch, stays, made):
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", stays)
    for limits in ("MOST", "MOST_OF_LOOP"):
        monkeypatch.setattr(regions, limits, (1, 100))  # blocks, of two instructions
    machine = prepared(assemble("next: add rax, rbx; jmp other; other: xor rbx, rax; jmp next", {}),
                       threaded.vcpu.engine)
    way = Regions(machine.vcpu.engine, machine.cpu, Inside(X86_GUEST))
    for _ in range(20):
        machine.vcpu.run(20_000)
        way.look()
    assert bool(way.installed) == made == (not way.brief)


@pytest.mark.parametrize(("stays", "taken"), [(3, False), (2, True)])
def test_what_is_on_the_shelf_comes_in_only_where_it_stays(threaded, monkeypatch, stays, taken):
    """Another run has made a region of each of two blocks."""
    for limits in ("MOST", "MOST_OF_LOOP"):
        monkeypatch.setattr(regions, limits, (1, 100))
    source, shelf = assemble("next: add rax, rbx; jmp other; other: xor rbx, rax; jmp next", {}), Shelf(None)
    for enough, asked in ((2, 0), (1 << 60, stays)):
        monkeypatch.setattr(regions, "ENOUGH", enough)
        monkeypatch.setattr(regions, "FEW", 2)
        monkeypatch.setattr(regions, "STAYS", asked)
        machine = prepared(source, threaded.vcpu.engine)
        way = Regions(machine.vcpu.engine, machine.cpu, Inside(X86_GUEST, shelf))
        for _ in range(20):
            machine.vcpu.run(20_000)
            way.look()
        assert len(shelf.parts) == 2 and way.installed == (2 if enough == 2 or taken else 0)


@pytest.mark.parametrize(("soon", "left"), [(1, True), (0, False)])
def test_a_region_that_is_left_at_once_gives_its_blocks_back(threaded, monkeypatch, soon, left):
    """It has one of two blocks, each of two instructions, and is not made again."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    monkeypatch.setattr(regions, "LEFT_SOON", soon)
    for limits in ("MOST", "MOST_OF_LOOP"):
        monkeypatch.setattr(regions, limits, (1, 100))
    source = assemble("next: add rax, rbx; jmp other; other: xor rbx, rax; jmp next", {})
    cold, hot = (prepared(source, threaded.vcpu.engine) for _ in range(2))
    way = Regions(hot.vcpu.engine, hot.cpu, Inside(X86_GUEST))
    for _ in range(40):
        for machine in (cold, hot):
            machine.vcpu.run(20_000)
        way.look()
    assert way.installed == 2 and len(way.left) == (2 if left else 0)
    assert bool(way.heads) is not left and len(way.counts) == (0 if left else 2)
    assert state_of(cold) == state_of(hot)


def test_how_long_a_block_has_run_counts_half_each_epoch(threaded, monkeypatch):
    monkeypatch.setattr(regions, "ENOUGH", 1 << 60)
    machine = prepared(assemble("next: add rax, rbx; jmp next", {}), threaded.vcpu.engine)
    way = Regions(machine.vcpu.engine, machine.cpu, Inside(X86_GUEST))
    way.raw.weight = 1 << 30
    machine.vcpu.run(20_000)
    block = way.last(START)
    ran, way.raw.weight = way.ran(block), 0
    assert ran >= 1 << 30
    for ages in (0, 1, 2, 70):
        way.raw.epoch += ages
        way.look()
        machine.vcpu.run(20_000)
        ran >>= ages
        assert way.ran(block) == ran


@pytest.mark.skipif(not spare_processors(), reason="this host has one processor, and compiles nothing unasked")
def test_what_a_run_had_no_time_for_is_made_by_the_next_one(threaded, monkeypatch, tmp_path):
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    native, path = threaded.vcpu.engine, tmp_path / "x86.regions"
    first, second = (prepared(assemble(f"next: {PROGRAMS['memory']}", {"room": DATA}), native) for _ in range(2))
    slow = Compiler(X86_GUEST, path)
    monkeypatch.setattr(slow, "send", lambda job, inbox: None)
    way = Regions(native, first.cpu, slow)
    for _ in range(20):
        first.vcpu.run(20_000)
        way.look()
    wanted = [wanted.job for wanted in way.wanted.values()]
    way.leave()
    assert wanted and Later(path.with_suffix(".later")).jobs()[:len(wanted)] == wanted
    idle = Compiler(X86_GUEST, path)
    until = time.monotonic() + 60
    while not idle.shelf.parts.keys() >= {job.name for job in wanted} and time.monotonic() < until:
        time.sleep(0.01)
        idle.hear()
    monkeypatch.setattr(idle, "send", lambda job, inbox: pytest.fail("it was made already"))
    way = Regions(native, second.cpu, idle)
    monkeypatch.setattr(regions, "FEW", 2)
    way.raw.enough = 2
    for _ in range(20):
        second.vcpu.run(20_000)
        if not way.installed:
            way.look()
    assert way.installed
    for machine in (first, second):
        machine.vcpu.run(1000)
    assert state_of(first) == state_of(second)
    idle.leave([])
    assert not {job.name for job in Later(path.with_suffix(".later")).jobs()} & {job.name for job in wanted}


def test_a_function_of_the_library_has_the_same_name_whatever_was_made_before_it():
    """Regions on the shelf ask for it by that name, in every process."""
    functions = [X86.walk, X86.page_fault, X86.forget]
    names = []
    for order in (functions, functions[::-1]):
        library = Library(X86_GUEST)
        for function in order:
            pattern = {name: Ref(X86_GUEST.state, "%a0") if n == 0 else Scalar(u64, f"%a{n}")
                       for n, name in enumerate(inspect.signature(function).parameters)}
            library.get(function, pattern)
        names.append(set(library.texts))
    assert names[0] == names[1]


def test_a_region_that_cannot_be_made_stops_nothing(threaded, monkeypatch):
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    native = threaded.vcpu.engine
    cold, hot = (prepared(assemble(f"next: {PROGRAMS['memory']}", {"room": DATA}), native) for _ in range(2))
    inside = Inside(X86_GUEST)
    monkeypatch.setattr(inside, "send", lambda job, inbox: inbox.append((job.name, [])))
    way = Regions(native, hot.cpu, inside)
    for _ in range(20):
        for machine in (cold, hot):
            machine.vcpu.run(20_000)
        way.look()
    assert state_of(cold) == state_of(hot) and not way.installed and not way.wanted
