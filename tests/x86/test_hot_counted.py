"""What hot code is worth, counted and not timed: what is left of loops after LLVM, and how often they are left.

A region's text is optimised as the compiler does it. Of its blocks those are looked at that lie on a cycle: the loop.
"""

import itertools
import re
from collections import Counter
from typing import Any

import pytest

from guesthouse.engine.hot import regions, workshop
from guesthouse.engine.hot.workshop import Inside
from guesthouse.engine.hot.region import PASSES
from guesthouse.engine.hot.regions import Regions
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.typed.machine import optimise
from tests.x86.assembler import assemble
from tests.x86.host import DATA
from tests.x86.test_hot import prepared

LABEL, TARGET = re.compile(r"^([\w.]+):"), re.compile(r"label %([\w.]+)")
TO, CELL = re.compile(r"  store .*, ptr (%[\w.]+)"), re.compile(r"(%[\w.]+) = getelementptr .*ptr %cells\b")
NOTHING = ' asm "", "=r,0"('  # a value as it is, of which LLVM shall know nothing
BUDGET = "@llvm.usub.with.overflow"  # what is left, and whether there is enough: a comparison for the host
KIND = re.compile(r"^  (?:%[\w.]+ = )?(?:tail |musttail )?(\w+)")


def counted(native: Any, source: str, monkeypatch: pytest.MonkeyPatch,
            bits: int = 64) -> tuple[Counter[str], Any, Regions]:
    """How many instructions of each kind the loop in the largest region of this program has (stores to what it
    remembers of pages apart); the machine, which has run it for a while, and its hot way."""
    texts: list[str] = []
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    real = workshop.machine_code
    monkeypatch.setattr(workshop, "machine_code", lambda text, *more: (texts.append(text), real(text, *more))[1])
    machine = prepared(assemble(source, {"room": DATA}), native, bits)
    way = Regions(native, machine.cpu, Inside(X86_GUEST))
    for _ in range(6):
        machine.vcpu.run(4000)
        way.look()
    module, _ = optimise(max(texts, key=len), passes=PASSES)
    blocks: dict[str, list[str]] = {}
    name = "entry"
    for line in str(module).partition("define ")[2].splitlines()[1:]:
        if found := LABEL.match(line):
            name = found[1]
        blocks.setdefault(name, []).append(line)
    reached = {name: reachable(blocks, name) for name in blocks}
    cells = {"%cells", *CELL.findall(str(module))}
    kinds: Counter[str] = Counter()
    for name, lines in blocks.items():
        if name in reached[name]:
            kinds.update("remember" if (to := TO.match(line)) and to[1] in cells else
                         "icmp" if BUDGET in line else found[1]
                         for line in lines if (found := KIND.match(line)) and NOTHING not in line)
    return kinds, machine, way


def reachable(blocks: dict[str, list[str]], name: str) -> set[str]:
    """The blocks that this one leads to, by one step or more."""
    found: set[str] = set()
    ways = [name]
    while ways:
        for other in TARGET.findall("\n".join(blocks.get(ways.pop(), ()))):
            if other not in found:
                found.add(other)
                ways.append(other)
    return found


def test_a_loop_of_arithmetic_touches_no_memory_and_computes_no_flag(threaded: Any,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    loop, _, _ = counted(threaded.vcpu.engine, "next: add rax, rbx; xor rbx, rax; lea rdx, [rax+rbx*2+5]; "
                         "sub rbx, rdx; and edx, 0xffff; cmp rdx, rax; jb over; add rsi, rdx; over: dec rcx; "
                         "jnz next", monkeypatch)
    assert loop.keys().isdisjoint(("load", "store", "call", "switch"))
    assert loop["icmp"] + loop["zext"] + loop["sext"] <= 5, loop  # two conditions, two budgets; RDX is wide


def test_an_access_to_memory_looks_once_into_the_address_cache(threaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, _, _ = counted(threaded.vcpu.engine, "next: mov rdx, rax; and rdx, 0xff8; mov rbx, [rdx+room]; add rax, rbx; "
                         "mov [rdx+room], rax; dec rcx; jnz next", monkeypatch)
    assert (loop["load"], loop["store"], loop["call"]) == (2 * 2 + 1, 1, 0), loop  # tag and addend of each; a value


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize(("first", "second", "loads"), [
    ("add ebx, [rdx+rdi*4+room]", "add ebx, [rdx+rdi*4+room]", 0),  # LLVM has the value
    ("add [rdx+room], ebx", "add ebx, [rdx+room]", 0),
    ("add [rdx+rdi*4+room], ebx", "mov [rdx+rdi*4+room], ecx", 0),
    ("add ebx, [rdx+rdi*4+room]", "lea esi, [rdx+8]; add ebx, [rsi+rdi*4+room]", 3),  # and what another page needs
    ("mov [rdx+rdi*4+room], ecx", "lea esi, [rdx+8]; add ebx, [rsi+rdi*4+room]", 3),
    ("add ebx, [room+8]", "add ebx, [room+0xff8]", 1),  # of a page that is known, all
    ("mov [room], ecx", "mov ebx, [room+16]", 1),
    ("lea esi, [room]; mov [rsi+8], ecx", "mov ebx, [rsi+64]", 1)])
def test_an_access_near_another_looks_only_where_it_is_in_another_page(
        threaded: Any, bits: int, first: str, second: str, loads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not at all if it is to the same bytes."""
    source = "next: mov edx, eax; and edx, 0xff8; {}; dec ecx; jnz next; jmp next"
    one, both = (counted(threaded.vcpu.engine, source.format(what), monkeypatch, bits)[0]
                 for what in (first, f"{first}; {second}"))
    assert both["load"] - one["load"] == loads and both["icmp"] - one["icmp"] <= max(loads - 1, 0), (one, both)


def test_a_call_comes_back_inside_its_region(threaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, machine, way = counted(threaded.vcpu.engine, "next: call inner; dec rcx; jnz next; jmp next; "
                                 "inner: add rsi, rcx; ret", monkeypatch)
    assert loop["call"] == 0 and loop["store"] == 1, loop  # the return address
    before = machine.vcpu.counters()["lookups"]
    machine.vcpu.run(400_000)
    assert machine.vcpu.counters()["lookups"] - before < 20 and way.installed


@pytest.mark.parametrize("source", [
    "next: add eax, ebx; xor ebx, eax; lea edx, [rax+rbx*2+5]; sub ebx, edx; dec ecx; jnz next; jmp next",
    "next: mov edx, eax; and edx, 0x78; mov ebx, [rdx+room]; mov [rdx+rdx*4+room], eax; dec ecx; jnz next; jmp next",
    "next: push rax; call inner; pop rbx; dec ecx; jnz next; jmp next; inner: mov edx, [rsp+4]; add esi, edx; ret",
    "next: cvtsi2sd xmm1, ecx; addsd xmm0, xmm1; movsd [rsp-8], xmm0; dec ecx; jnz next; jmp next"])
def test_flat_32_bit_code_does_no_more_than_64_bit_code(threaded: Any, source: str,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same bytes: addresses and branches are cut to 32 bits, and that is all."""
    wide, _, _ = counted(threaded.vcpu.engine, source, monkeypatch)
    flat, machine, way = counted(threaded.vcpu.engine, source, monkeypatch, 32)
    assert way.installed and not int(machine.cpu.faults)
    for kind in ("load", "store", "call", "icmp", "switch"):
        assert flat[kind] <= wide[kind], (kind, wide, flat)
    assert sum(flat.values()) <= 1.1 * sum(wide.values()), (wide, flat)


@pytest.mark.parametrize("source", [
    "next: add rax, rbx; dec rcx; jnz next; jmp next", "next: inc r8; cmp r8, rcx; jne next; jmp next",
    "next: mov rdx, [room]; add [room], rdx; sub rcx, 1; jnz next; jmp next"])
def test_a_loop_is_left_only_when_its_budget_ends(threaded: Any, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, machine, way = counted(threaded.vcpu.engine, source, monkeypatch)
    before = machine.vcpu.counters()["lookups"]
    assert way.installed and machine.vcpu.run(1_000_000) is not None
    assert machine.vcpu.counters()["lookups"] - before < 20


@pytest.mark.parametrize("cost", [10_000, 100_000, 400_000])
@pytest.mark.parametrize("pace", [0.1, 1, 8])  # instructions a nanosecond
def test_looks_that_bring_nothing_take_a_share_of_the_time_which_is_saved_until_something_begins(
        threaded: Any, cost: int, pace: float, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, way = counted(threaded.vcpu.engine, "next: dec rcx; jnz next; jmp next", monkeypatch)
    now, executed, installs = 0, 0, 0
    looks: list[int] = []

    def look() -> None:
        nonlocal now
        looks.append(now)
        now += cost
        way.installed += installs

    def run(met: int) -> None:
        nonlocal now, executed
        way.raw.uncovered = met
        pause = way.attend(executed)
        executed, now = executed + pause, now + int(pause / pace)

    way.clock = lambda: now
    monkeypatch.setattr(way, "look", look)
    wait = max(regions.LOOK, regions.SHARE * cost)
    while len(looks) < 1000:
        run(regions.WORTH)
    between = [b - a - cost for a, b in itertools.pairwise(looks)]
    assert all(regions.LOOK <= it <= 4 * regions.CLOCK for it in between[:regions.SAVED // cost]), between
    assert wait <= sum(between[-100:]) / 100 * 1.02 <= wait + 4 * regions.CLOCK, between[-100:]
    stride = way.raw.stride / pace  # in nanoseconds
    assert stride == pytest.approx(max(regions.STRIDE, wait / regions.SAMPLES, regions.FEWEST / pace), rel=0.2)
    looks.clear()
    for _ in range(100):  # all that is met leads into regions
        run(0)
    assert not looks
    installs = 1
    while len(looks) < 50:
        run(regions.WORTH)
    assert all(b - a <= cost + regions.LOOK + 4 * regions.CLOCK for a, b in itertools.pairwise(looks)), looks


def test_a_larger_region_takes_the_place_of_smaller_ones_and_keeps_it(
        threaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "MOST", (1, 100))
    limits = regions.MOST_OF_LOOP
    monkeypatch.setattr(regions, "MOST_OF_LOOP", (1, 100))
    _, machine, way = counted(threaded.vcpu.engine, "next: add rax, rbx; jmp on; on: dec rcx; jnz next; jmp next",
                              monkeypatch)
    small = dict(way.heads)
    assert len(small) > 1 and len({address for address, _ in small.values()}) == len(small)
    monkeypatch.setattr(regions, "MOST_OF_LOOP", limits)
    first, pc = next((block, pc) for block, pc in zip(way._met, way._met_at, strict=True) if block in small)
    blocks, job = way.gather(first, pc)
    way.compiler.send(job, way.inbox)
    assert way.load(job.name)
    way.install(job.name, blocks)
    large = way.code.address(job.name)
    assert len(blocks) > 1 and {way.heads[block][0] for block in blocks} == {large}
    for name, part in way.shelf.parts.items():
        if len(part.blocks) == 1 and way.code.address(name) == small[first][0]:
            way.install(name, [first])
    assert way.heads[first][0] == large and way.leads(first)
    before = machine.vcpu.counters()["lookups"]
    way.inbox.clear()
    machine.vcpu.run(400_000)
    assert machine.vcpu.counters()["lookups"] - before < 20


def test_what_tells_a_block_is_made_once(threaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although a block is looked for on the shelf again and again: three blocks, each the first of a region or not."""
    monkeypatch.setattr(regions, "ENOUGH", 1 << 60)
    machine = prepared(assemble("next: cmp rax, rbx; je on; inc rdx; on: dec rcx; jmp next", {}), threaded.vcpu.engine)
    way, asked = Regions(threaded.vcpu.engine, machine.cpu, Inside(X86_GUEST)), []
    way.shelf.places.update(itertools.product(range(4096), range(65)))
    block = way.block
    monkeypatch.setattr(way, "block", lambda *of: (asked.append(of), block(*of))[1])
    for _ in range(40):
        machine.vcpu.run(4000)
        way.look()
    assert max(way.ran(block) for block, _ in way.digests) > regions.FEW
    assert 0 < len(asked) == len(set(asked)) <= 4, asked
