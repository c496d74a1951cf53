"""Blocks put together from stencils: what they do, and that they are what runs."""

from __future__ import annotations

import ctypes
from collections import Counter

import pytest

from guesthouse.bits import u8, u64
from guesthouse.engine.build import Engine
from guesthouse.engine.processor import FOLLOWING, JUMPS, NEVER, SAMPLE, Block, Jump
from guesthouse.engine.room import LARGE_PAGE, Room
from guesthouse.engine.stitching import AT, Hole, Link, Stencil
from guesthouse.system.cpu.x86.definitions import Definition
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.typed import fill
from guesthouse.typed.elf import R_32S, R_PLT32, functions
from guesthouse.typed.machine import assemble_static
from tests.x86.assembler import assemble
from tests.x86.cases import Maker, modes
from tests.x86.compare import asked, differences
from tests.x86.host import DATA, START, WINDOW, WINDOW_SIZE, Host, Situation
from tests.x86.ours import TABLES, Ours, Stitched
from tests.x86.test_integer import DEFINITIONS

BEFORE = Situation([1, 1000, 0, 0x9E37_79B9_7F4A_7C15, WINDOW + 0x800, *[0] * 11], 2, bytes(WINDOW_SIZE))


@pytest.fixture(scope="module")
def stitched(machine_code: Engine) -> Stitched:
    if not machine_code.stencils:
        pytest.skip("stencils are for hosts that are x86-64 and have ELF objects")
    return Stitched(machine_code)


def begun(source: str, ours: Ours) -> int:
    """A program that is about to run; the stitched blocks so far."""
    ours.prepare(assemble(source, {"room": WINDOW}), BEFORE, 64)
    return int(ours.cpu.stitched)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_put_together_it_does_what_the_host_does(definition: Definition, stitched: Stitched, host: Host) -> None:
    for n, encoding in enumerate(definition.encodings):
        maker = Maker((definition.name, definition.run.__module__, n))
        for _ in range(8 if 64 in modes(encoding) else 0):
            case = maker.case(definition, encoding, 64)
            theirs = host.run(asked(case), case.before, 64)
            found = differences(case, stitched.run(case.code, case.before, 64), theirs)
            assert not found, f"{encoding.text}, {case.code.hex(' ')}: {'; '.join(found)}"


def test_a_loop_runs_in_copies_alone_and_looks_nothing_up(stitched: Stitched) -> None:
    before = begun("next: add rax, rbx; mov rdx, rax; and rdx, 0x7f8; mov [rdx+room], rax; dec rcx; jnz next; jmp next",
                   stitched)
    stitched.vcpu.run(600)
    lookups = int(stitched.cpu.lookups)
    stitched.vcpu.run(600 * 1000)
    assert int(stitched.cpu.stitched) - before == 1 and int(stitched.cpu.lookups) - lookups < 10
    records = stitched.block.where + Block.size
    copies = [int(X86_GUEST.record.at(records + n * X86_GUEST.record.size).handler) for n in range(6)]
    assert all(int(stitched.cpu.forge_start) <= at < int(stitched.cpu.forge) for at in copies)
    assert copies == sorted(copies)  # one behind the other


@pytest.mark.parametrize("setter", ["cmp rdx, rbx", "test rdx, rbx", "add rdx, rbx", "sub edx, ebx", "dec rdx",
                                    "inc rdx", "shl rdx, 1", "cmp rdx, [rsi]", "sar edx, 1", "imul rdx, rbx"])
def test_a_branch_right_behind_what_sets_the_flags(setter: str, stitched: Stitched, threaded: Ours) -> None:
    """It asks the host's flags where these are the guest's, and whoever comes to it from elsewhere the guest's."""
    skipped, code = assemble("inc rax", {}), b""
    for cc in range(16):
        code += assemble(f"mov rdx, rdi; {setter}", {}) + bytes([0x70 + cc, len(skipped)]) + skipped
        code += assemble("add rax, rax", {})
    code += assemble("rol rdi, 3; xor rbx, rdi; mov [rsi], rbx", {})
    code += b"\xE9" + (-len(code) - 5).to_bytes(4, "little", signed=True)
    found = []
    for ours in (stitched, threaded):
        ours.prepare(code, BEFORE, 64)
        ours.cpu.r[6], ours.cpu.r[7] = u64(WINDOW + 0x100), u64(0x9E37_79B9_7F4A_7C15)
        found.append([])
        for budget in (10_000, 1, 2, 3, 4, 5, 6, 7, 1000):
            ours.vcpu.run(budget)
            found[-1].append([int(ours.cpu.r[n]) for n in range(16)] + [int(ours.cpu.pc), int(ours.cpu.rflags())])
    assert found[0] == found[1]


@pytest.mark.parametrize("place", [DATA + 0x1010, DATA + 0x1003, DATA + 0xC00, START + 0x400])
def test_what_is_on_the_stack(place: int, stitched: Stitched, threaded: Ours) -> None:
    """From one page to another and back, over the edge between them, in one page, and in that of the code."""
    source = "next: push rax; call f; mov rdx, [rsp]; add rax, rdx; mov [rsp], rbx; pop rbx; sub rsp, 24; " \
             "mov [rsp+8], rax; add rsp, 24; xor rsi, [rdi]; dec rcx; jnz next; jmp next; " \
             "f: mov rsi, [rsp+8]; push rsi; rol rax, 7; pop rdx; xor rax, rcx; ret"
    entry, found = TABLES + 0x4000 + 8, []  # of the second page, which lies elsewhere
    for ours in (stitched, threaded):
        before = ours.memory.read(entry, 8)
        ours.memory.write(entry, (0x38_0007 | 1 << 63).to_bytes(8, "little"))
        ours.memory.write(0x38_0000, bytes(0x1000))
        begun(source, ours)
        ours.cpu.flush()
        ours.cpu.r[4], ours.cpu.r[7] = u64(place), u64(WINDOW + 8)
        found.append([])
        for budget in (10_000, 1, 2, 3, 4, 5, 6, 7, 1000):
            ours.vcpu.run(budget)
            ours.cpu.flush()
            found[-1].append([int(ours.cpu.r[n]) for n in range(16)] + [int(ours.cpu.pc)])
        found[-1] += [ours.memory.read(at, 0x1000) for at in (DATA, DATA + 0x1000, 0x38_0000)]
        ours.memory.write(entry, before)
        ours.cpu.flush()
    assert found[0] == found[1]


def test_a_push_into_the_running_code_is_seen(stitched: Stitched, threaded: Ours) -> None:
    """It makes INC RBX a DEC in each second turn. A page with code is written by no fast path, the stack's neither."""
    source = "next: push rax; xor rax, rsi; add rsp, 8; there: inc rbx; mov rdx, rdx; mov rdx, rdx; dec rcx; " \
             "jnz next; jmp next"
    at = len(assemble(source.split("there:")[0], {}))
    found = []
    for ours in (stitched, threaded):
        begun(source, ours)
        octets = assemble(source, {})[at:at + 8]
        other = octets.replace(bytes.fromhex("48ffc3"), bytes.fromhex("48ffcb"))
        one, two = (int.from_bytes(it, "little") for it in (octets, other))
        ours.cpu.r[4], ours.cpu.r[0], ours.cpu.r[6] = u64(START + at + 8), u64(two), u64(one ^ two)
        found.append([])
        for budget in (1000, 1, 2, 3, 4, 5, 6, 7, 1000):
            ours.vcpu.run(budget)
            found[-1].append([int(ours.cpu.r[n]) for n in range(16)] + [int(ours.cpu.pc)])
    assert found[0] == found[1] and found[0][0][0] != found[0][-1][0]


def test_flags_stand_where_a_copy_leaves_them_to_the_host(stitched: Stitched) -> None:
    """Not behind INC, which leaves the carry, and not where another has been put in between."""
    for source, stands in (("next: cmp rax, rbx; jb next; jmp next", True), ("next: inc rax; jb next; jmp next", False),
                           ("next: cmp rax, rbx; mov rdx, rax; jb next; jmp next", False),
                           ("next: sar rax, 1; jb next; jmp next", False)):
        begun(source, stitched)
        stitched.vcpu.run(1000)
        records = stitched.block.where + Block.size
        last = int(stitched.block.records) - 1
        branch = int(X86_GUEST.record.at(records + last * X86_GUEST.record.size).handler)
        assert (int(stitched.cpu.forge_start) <= branch < int(stitched.cpu.forge)) is not stands, source


def test_a_block_that_changes_is_reached_by_no_link(stitched: Stitched) -> None:
    begun("next: inc rax; jmp there; inc rdx; there: inc rbx; dec rcx; jnz next; jmp next", stitched)
    stitched.vcpu.run(1000)
    a, b = int(stitched.cpu.r[0]), int(stitched.cpu.r[3])
    there = START + len(assemble("inc rax; jmp there; inc rdx; there: ", {}))
    stitched.memory.write(there, assemble("dec rbx", {}))
    stitched.vcpu.run(1000)
    assert int(stitched.cpu.r[0]) - a == 200 and b - int(stitched.cpu.r[3]) == 200


def test_a_return_to_where_a_call_has_promised_asks_no_cache(stitched: Stitched) -> None:
    begun("next: call f; inc rax; call f; inc rdx; jmp next; f: inc rbx; ret", stitched)
    stitched.cpu.r[4] = u64(WINDOW + 0x400)
    stitched.vcpu.run(1000)
    fill(stitched.cpu.jumps.address, u8(0xFF), u64(JUMPS * Jump.size))
    lookups = int(stitched.cpu.lookups)
    stitched.vcpu.run(9000)
    assert int(stitched.cpu.lookups) - lookups < 10
    a, d, b = (int(stitched.cpu.r[n]) - BEFORE.registers[n] for n in (0, 2, 3))
    assert a > 1000 and 0 <= b - (a + d) <= 1


def test_a_return_elsewhere_and_one_to_code_that_has_changed_go_there(stitched: Stitched, threaded: Ours) -> None:
    """Each second return skips an instruction; then the one it comes back to becomes another."""
    source = "next: call f; inc rax; inc rdx; jmp next; f: xor rbx, rsi; add [rsp], rbx; ret"
    after = START + len(assemble("call f; f: ", {}))
    found = []
    for ours in (stitched, threaded):
        begun(source, ours)
        ours.cpu.r[3], ours.cpu.r[4], ours.cpu.r[6] = u64(0), u64(WINDOW + 0x400), u64(3)
        found.append([])
        for budget in (100, 333, 64, 1000, 7, 65):
            ours.vcpu.run(budget)
            found[-1].append([int(ours.cpu.r[n]) for n in range(16)] + [int(ours.cpu.pc)])
            ours.memory.write(after, assemble("dec rax" if len(found[-1]) & 1 else "inc rax", {}))
    assert found[0] == found[1]


def test_a_store_into_the_running_block_is_seen_by_the_next_instruction(stitched: Stitched, threaded: Ours) -> None:
    """It makes INC RSI a DEC and back in each turn."""
    at = START + len(assemble("mov byte [rdi], bl; inc rsi", {})) - 1
    found = []
    for ours in (stitched, threaded):
        begun("next: mov byte [rdi], bl; inc rsi; xor rbx, rax; dec rcx; jnz next; jmp next", ours)
        ours.cpu.r[7], ours.cpu.r[3], ours.cpu.r[0] = u64(at), u64(0xCE), u64(8)
        found.append([])
        for budget in (100, 333, 64, 1000, 7, 65):
            ours.vcpu.run(budget)
            found[-1].append([int(ours.cpu.r[n]) for n in range(16)] + [int(ours.cpu.pc)])
    assert found[0] == found[1]


def test_a_link_to_another_page_is_made_for_one_address(stitched: Stitched) -> None:
    """Of two, the one that leads there: the stencils that are taken then look at the pc, the others do not."""
    engine = stitched.vcpu.engine
    for table in engine.stencils:
        base, linked = ctypes.addressof(table), 0
        for n in range(engine.count + 1):
            near = Stencil.at(base + n * Stencil.size)
            for far in range(1 << int(near.links)):
                taken = near if far == 0 else Stencil.at(base + int(near.far[far - 1]) * Stencil.size)
                holes = [Hole.at(base + int(taken.holes) + k * Hole.size) for k in range(int(taken.count))]
                kinds = [int(hole.kind) for hole in holes]
                assert [AT + which in kinds for which in range(2)] == [far >> which & 1 == 1 for which in range(2)]
                linked += int(near.links)
        assert linked > 50


def test_a_sample_tells_what_ran_one_after_the_other_and_changes_nothing(stitched: Stitched, threaded: Ours) -> None:
    """The time that RDTSC tells included."""
    source = "next: call f; inc rax; mov rsi, rax; and rsi, 3; jnz next; inc rcx; jmp next; " \
             "f: add rbx, rax; mov rdi, rax; rdtsc; mov rbp, rax; mov rax, rdi; ret"
    found = []
    for ours, pause in ((stitched, 0), (stitched, NEVER), (threaded, NEVER)):
        begun(source, ours)
        ours.cpu.r[4], ours.cpu.ticks = u64(WINDOW + 0x400), u64(0)
        ours.vcpu.run(777)
        ours.cpu.pause, ours.cpu.met_count, ours.cpu.uncovered = u64(pause), u64(0), u64(0)
        ours.vcpu.run(777)
        found.append([int(ours.cpu.r[n]) for n in (0, 1, 3, 4, 5)] + [int(ours.cpu.pc)])
        if not pause:
            cpu = ours.cpu
            assert int(cpu.pause) > 1 << 32 and int(cpu.withheld) == int(cpu.sampled) == 0
            where = {int(cpu.met[n]): int(cpu.met_at[n]) for n in range(int(cpu.met_count))}
            following: Counter[tuple[int, int]] = Counter()
            for block, pc in where.items():
                note = cpu.notes[Block.at(block).note]
                assert int(note.block) == block
                for n in range(FOLLOWING):
                    after = where[int(cpu.room_start) + int(note.following[n])] if int(note.often[n]) else 0
                    assert not after or after - pc & 0xFFFF_FFFF == int(note.distances[n])
                    following[pc, after] += int(note.often[n])
            inner, back = START + len(assemble(source.split("f:")[0] + "f: ", {})), START + 5
            calls = following[START, inner]
            assert calls > 9 and abs(following[inner, back] - calls) <= 1, following
            assert sum(following.values()) == int(cpu.uncovered) - 1 == SAMPLE - 1, following
            assert {before for before, after in following if after == inner} == {START}
    assert found[0] == found[1] == found[2]


def test_a_link_knows_its_block_as_soon_as_that_is_put_together(stitched: Stitched) -> None:
    """Four blocks, each found twice: for the second time when it is put together, and never again."""
    begun("next: inc rax; jmp a; inc rax; a: inc rbx; jmp b; inc rax; b: inc rdx; jmp c; inc rax; c: jmp next",
          stitched)
    stitched.cpu.pause = u64(NEVER)
    lookups = int(stitched.cpu.lookups)
    stitched.vcpu.run(7 * 100)
    assert int(stitched.cpu.lookups) - lookups <= 2 * 4 + 2


def test_a_link_whose_context_is_over_is_made_anew_when_it_is_met(stitched: Stitched) -> None:
    """The one behind a call holds for a context. Not the eighth time, as for one that several share."""
    begun("next: call f; inc rax; jmp next; f: ret", stitched)
    stitched.cpu.pause = u64(NEVER)
    stitched.vcpu.run(1000)
    stitched.cpu.end_contexts()
    stitched.vcpu.run(4 * 4)
    cpu = stitched.cpu
    links = [Link.at(at) for at in range(int(cpu.forge_end), int(cpu.forge_limit), Link.size)]
    assert [int(one.strange) for one in links if one.generation == cpu.context >> 16 and int(one.strange)] == [1]


def test_links_are_forgotten_before_the_contexts_that_they_tell_apart_come_again(stitched: Stitched) -> None:
    begun("next: inc rax; jmp next", stitched)
    stitched.vcpu.run(1000)
    builds, newest = int(stitched.cpu.builds), int(stitched.cpu.newest)
    stitched.cpu.newest = u64((newest >> 31) + 1 << 31)
    stitched.vcpu.run(1000)
    assert int(stitched.cpu.builds) > builds and int(stitched.cpu.r[0]) == BEFORE.registers[0] + 1000


def test_no_flag_is_loaded_from_where_another_was_stored_last() -> None:
    """See flags.py: each in eight bytes of its own, but those that are stored and loaded together."""
    overflow, outcome, carry = (X86_GUEST.state.offset(name) for name in ("overflow", "outcome", "carry"))
    assert outcome == overflow + 1 and overflow % 2 == 0 and overflow // 8 != carry // 8


def test_an_object_tells_its_functions_and_what_they_need() -> None:
    octets, assembly = assemble_static(
        "@far = external global i8, !absolute_symbol !{i64 -2147483648, i64 2147483648}\n"
        "declare i64 @other(i64)\n"
        "define i64 @f(ptr %p) {\n %q = getelementptr i8, ptr %p, i64 ptrtoint (ptr @far to i64)\n"
        " %v = load i64, ptr %q\n %r = tail call i64 @other(i64 %v)\n ret i64 %r }\n")
    made, = functions(octets)
    assert made.name == "f" and "jmp\tother" in assembly
    found = [(one.kind, one.symbol, one.addend) for one in made.relocations]
    assert found == [(R_32S, "far", 0), (R_PLT32, "other", -4)]
    assert all(made.code[one.at:one.at + 4] == bytes(4) for one in made.relocations)


def test_a_touch_changes_nothing(machine_code: Engine) -> None:
    it = Room(machine_code.touch)
    it._octets[0] = 7
    for place in range(it.start, it.start + 4 * LARGE_PAGE, LARGE_PAGE):
        machine_code.touch(place)
    assert it._octets[0] == 7 and not any(it._octets[1:8])
