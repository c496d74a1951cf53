"""A region: blocks that run often, as one machine-code function made from the same bodies (the hot way).

The operands of each instruction are constants here, and the guest's registers (Guest.registers) live in variables of
the function from its entry to its exits; LLVM does the rest. A region has a handler's signature and stands in the first
record of each of its blocks, so that whatever forgets a block forgets that way in.

Addresses in it count from its origin, the page of its first block, which as a rule is known only when it is run: a
library is at another place in each process. Its blocks may lie in several pages. At the way in, and wherever it comes
to another page, it looks whether any block of that page has ended since it was made, and, in the second case, whether
the address cache still has the page where it was: then all its blocks there are as they were decoded.

A region holds the fast paths alone. Whatever needs more (a page that the address cache does not have, a device, a
fault) is left to the threaded way, at the record of that instruction, as before it. The other ways out: a budget that
does not allow the next block, a target that is not in the region, an instruction that only the threaded way runs, or a
store that has changed decoded code.

A block as a rule asks for nothing that the one before has put off (lowered.py). One that does is told to `ask`: ways
from other blocks make it before they come. Not done: guesses about addresses.
"""

import inspect
from dataclasses import dataclass
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.cpu import PAGE, PAGE_BITS, TLB_SIZE
from guesthouse.engine.op import BRANCHES, FALLS, LEAVES, Guest, Handler
from guesthouse.engine import processor
from guesthouse.engine.processor import ANYWHERE, PAGE_MASK
from guesthouse.engine.stitching import BY_ADDRESS, INSTRUCTION, NEAR, Link
from guesthouse.engine.threaded import ARGUMENTS, HEADER, MASKS, Threaded, banks, word_of
from guesthouse.errors import DefinitionError
from guesthouse.engine.hot.job import BLOCKS, DISPATCH, LINKED, LINKS, STAYED, VISITS
from guesthouse.engine.hot.library import CPU, INVALIDATIONS, Library, Slot
from guesthouse.engine.hot.lowered import CLEAR, GATHER, Asked, Deferred, Lowered
from guesthouse.engine.hot.pages import FORGET
from guesthouse.engine.hot.stack import Known
from guesthouse.typed.emit import OFTEN, RARELY, Emitter, Unit
from guesthouse.typed.intrinsics import difference, opaque
from guesthouse.typed.lower import Lower
from guesthouse.typed.struct import signed
from guesthouse.typed.values import Ref, Scalar

MXCSR = 0x1F80  # of the host, outside of regions: nearest, and all exceptions masked
# What the table tells of a block: where its first record is, the handler that the region stands in for there, where its
# page's count of ended blocks is, and that count; the host address of the page; how far it is from the origin.
RECORD, ORIGINAL, ENDED, COUNT, HOST, AT = range(6)
WORDS = 6
TURNS = 7  # of a loop, at least, for what it goes through to be remembered: each time it begins, the host is surprised
WAY = processor.Block.offset("way") - processor.Block.size  # from its first record
PASSES = ("sroa", "jump_threading", "instruction_combine", "simplify_cfg", "sinking", "simplify_cfg")


@dataclass
class Instruction:
    """One decoded record: who handles it, its operands, and where it stands in its block."""

    handler: Handler
    record: Any
    after: int


@dataclass
class Block:
    """`count` guest instructions from `at` on; the last one branches, or the block falls through to `end`. Addresses
    count from the region's origin."""

    at: int
    count: int
    instructions: list[Instruction]
    falls: bool

    @property
    def end(self) -> int:
        return self.at + self.instructions[-1].after


class Region(Threaded):
    """Writes one region into a unit of its own. Its origin is the page of its first block: `home`, or wherever that
    is when the region is run."""

    def __init__(self, guest: Guest, library: Library, blocks: list[Block], name: str, home: int = ANYWHERE,
                 settled: dict[str, int] | None = None, comes: list[int] | None = None,
                 ways: list[list[tuple[int, int]]] | None = None) -> None:
        self.guest, self.blocks, self.name = guest, blocks, name
        self.comes = comes or [0] * len(blocks)  # for each block, one before it that was seen to lead to it
        self.ways = ways or []  # and where it was seen to lead, and how often
        self.unit = Unit()
        self.lower = Lowered(library, self.unit, f"{name}.table", self.way_out, settled,
                             None if home == ANYWHERE else home)
        self.numbers = {block.at: n for n, block in enumerate(blocks)}
        self.pages = list(dict.fromkeys(block.at & PAGE_MASK for block in blocks))
        self.page_of = [self.pages.index(block.at & PAGE_MASK) for block in blocks]
        self.at = 0, 0  # the block and the record that are being lowered
        self.barren = False  # the first instruction already is one for the threaded way
        self.edges: dict[tuple[int, int], None] = {}
        self.ends: list[tuple[int, str, list[Deferred]]] = []  # of blocks: the next pc, and what is put off
        self.tops = [0] * len(blocks)  # of the register stack, where each block begins
        self.last_tops = [0] * len(blocks)  # and ends
        self.targets: dict[int, set[int] | None] = {}  # where blocks may lead to, as far as that is known
        self.links: dict[tuple[int, int], int] = {}  # for ways out: where they lead, for what they are made; numbers
        self.asking: dict[int, frozenset[Slot]] = {}  # what blocks ask for of what has been put off before them
        self.exits: dict[tuple[int, int, tuple[Deferred, ...], Known | None], str] = {}
        self.pc = self.lower.pc
        self.lower.used.add(self.pc)
        stack = guest.instructions.stack
        if stack and any(module_of(what) in stack.modules for b in blocks for what in b.instructions):
            self.lower.use_stack()

    @property
    def e(self) -> Emitter:
        return self.lower.e

    def text(self) -> str:
        """The module: the function, and its table, which whoever installs it fills in: the words that
        job.py names, and for each block those that are named above."""
        for n, block in enumerate(self.blocks):
            self.tops[n] = self.last_tops[self.comes[n]]
            self.start_block(n, block)
        for n, pc, pending in self.ends:
            self.switch(n, pc, pending)
        for come, n in list(self.edges):
            self.edge(come, n)
        self.write_exits()
        self.leave()
        self.lower.pages.settle(self.e.lines, self.turn)
        body, self.lower.e.lines = self.e.lines, []
        self.lower.e.open = True
        self.prologue()
        self.lower.e.lines += body
        if self.lower.stack:
            self.lower.stack.settle()
        self.put_in()
        words = [0] * (BLOCKS + WORDS * len(self.blocks))
        words[LINKED] = len(self.links)
        told = ", ".join(f"i64 {word}" for word in words)
        self.unit.define(f"@{self.name}.table = global [{len(words)} x i64] [{told}]")
        header = HEADER.format("@" + self.name).replace("internal ", "")
        self.unit.functions.append(self.e.text(header))
        return self.unit.text()

    def pinned(self, lower: Lower) -> tuple[str, ...]:
        return *MASKS, *banks(lower, CPU, self.guest.state)  # a region keeps other things in registers

    def prologue(self) -> None:
        """Fetch the registers, and go to the block whose first record this is, if its page is as it was."""
        e, count = self.e, len(self.blocks)
        for slot in sorted(self.lower.used, key=lambda s: s.start):
            e.slots.append(f"  {slot.name} = alloca {slot.type}")
            if slot is not self.pc:  # each way in has its own
                self.lower.load_slot(slot)
        e.slots += [f"  %{name} = alloca i64" for name in ("budget", "exit.a", "exit.b", "control", "link")]
        e.slots += ["  %retired = alloca i1", "  %mxcsr = alloca i32"]
        e.do("store i64 %left, ptr %budget")
        e.slots += [f"  %later{part} = alloca i64" for part in ("", *(f".{n}" for n in range(ARGUMENTS)))]
        for name in ("exit.b", "link", "later"):
            e.do(f"store i64 0, ptr %{name}")
        e.do("store i1 false, ptr %retired")
        self.lower.pages.prologue()
        place = Lower.pointer(self.lower, Ref(None, CPU, INVALIDATIONS))
        e.lines.append(f"  %invalidations = load i64, ptr {place}")
        way = e.op(f"load i64, ptr {e.op(f'getelementptr i8, ptr %record, i64 {WAY}')}, !tbaa !1")
        words, yes = e.op(f"add i64 {e.op(f'mul i64 {way}, {WORDS}')}, {BLOCKS}"), e.new_label("same")
        fits = self.same_blocks(words)
        if self.lower.home is None:
            start = e.op(f"load i64, ptr {Lower.pointer(self.lower, Ref(None, CPU, self.lower.start))}")
            at = self.lower.told(e.op(f"add i64 {words}, {AT}"))
            e.do(f"%origin = sub i64 {start}, {at}")
        if self.lower.cut:
            fits = e.op(f"and i1 {fits}, {self.below_4_gib()}")
        if self.lower.needs_unit:
            assert self.lower.host is not None
            control = self.outside(self.lower.host.control, [self.lower.cpu]).text
            e.do(f"store i64 {control}, ptr %control")
            fits = e.op(f"and i1 {fits}, {e.op(f'icmp ne i64 {control}, 0')}")
        if self.lower.stack:
            fits = e.op(f"and i1 {fits}, {self.outside(self.lower.stack.form.usable, [self.lower.cpu]).text}")
        e.branch_if(fits, yes, "stale", OFTEN)
        e.start("stale")
        original = e.op(f"inttoptr i64 {self.lower.told(e.op(f'add i64 {words}, {ORIGINAL}'))} to ptr")
        self.tail(self.lower, original, "%record", "%left")
        e.start(yes)
        self.count(VISITS, "1")
        if self.lower.stack:
            self.lower.stack.enter(way, self.tops)
        self.lower.mark(CLEAR)
        e.end(f"switch i64 {way}, label %b0 [ {' '.join(f'i64 {n}, label %b{n}' for n in range(1, count))} ]")

    def count(self, n: int, more: str) -> None:
        """Add to a word of the table."""
        place = self.e.op(f"getelementptr i64, ptr @{self.name}.table, i64 {n}")
        before = self.e.op(f"load i64, ptr {place}, !tbaa !1")
        self.e.do(f"store i64 {self.e.op(f'add i64 {before}, {more}')}, ptr {place}, !tbaa !1")

    def same_blocks(self, words: int | str) -> str:
        """Whether no block has ended of the page of the block with these words."""
        e, told = self.e, self.lower.told
        places = [words + n if isinstance(words, int) else e.op(f"add i64 {words}, {n}") for n in (ENDED, COUNT)]
        ended, was = map(told, places)
        place = e.op(f"inttoptr i64 {ended} to ptr")
        return e.op(f"icmp eq i64 {e.op(f'load i64, ptr {place}, !tbaa !1')}, {was}")

    def below_4_gib(self) -> str:
        """Whether the addresses that are cut to 32 bits have no more, with the region where it is."""
        ahead = [signed(distance) for distance in self.lower.cut]
        first = self.e.op(f"add i64 %origin, {min(ahead)}")
        return self.e.op(f"icmp ult i64 {first}, {(1 << 32) - (max(ahead) - min(ahead))}")

    def start_block(self, n: int, block: Block) -> None:
        """One block: so that it needs nothing of what has been put off before it, else so that it asks for some of
        that, else for all."""
        e, lower = self.e, self.lower
        lines, exits = len(e.lines), list(self.exits)
        while True:
            try:
                lower.given = self.asking.get(n, frozenset())
                self.block(n, block, [lower.before] if lower.given < lower.before.writes else [])
                return
            except Asked as asked:
                del e.lines[lines:]
                self.exits = {key: self.exits[key] for key in exits}
                lower.may_retire = lower.plain = False
                more = lower.before.writes if asked.slot is None or len(lower.given) else {asked.slot}
                self.asking[n] = lower.given | more

    def block(self, n: int, block: Block, deferred: list[Deferred]) -> None:
        e, lower = self.e, self.lower
        e.start(f"b{n}")
        lower.at, lower.targets, lower.sure = block.at, set(), set()
        lower.deferred, lower.materialised = deferred, not deferred
        if lower.stack:
            lower.stack.known = self.tops[n], None
        for k, instruction in enumerate(block.instructions):
            self.at = n, k
            lower.pages.begin(self.at)
            if not self.instruction(block, instruction):
                return
        if block.falls:
            self.set_pc(block.end)
        if lower.before in lower.deferred and len(lower.deferred) > 1:
            raise Asked
        pending = list(lower.pending)
        if not lower.put_off(pending):
            pending = []
        if lower.stack:
            self.last_tops[n] = lower.stack.top
            lower.stack.depart(lower.stack.known)
        pc = e.op(f"load i64, ptr {self.pc.name}")
        self.ends.append((n, pc, pending))
        self.targets[n] = lower.targets
        e.branch(f"end{n}")

    def instruction(self, block: Block, what: Instruction) -> bool:
        """Lower one; False if the region ends here."""
        lower, e, op = self.lower, self.e, what.handler.op
        if op.ends == LEAVES or op.counts or not self.body(block, what):
            self.barren = self.barren or self.at == (0, 0)
            e.branch(self.way_out())
            return False
        if lower.may_retire:
            lower.may_retire = False
            if e.open:
                retired, on = e.op("load i1, ptr %retired"), e.new_label("on")
                if op.ends == FALLS:
                    e.branch_if(retired, self.way_out(1), on, RARELY)
                else:
                    lower.put_off(lower.pending)
                    if lower.stack:
                        lower.stack.depart(lower.stack.known)
                    e.branch_if(retired, "leave", on, RARELY)
                e.start(on)
        return e.open

    def body(self, block: Block, what: Instruction) -> bool:
        """The instruction's text, by what the host has for it if possible, else its own; False if there is neither."""
        self.lower.natively = True
        if self.written(block, what):
            return True
        self.lower.natively = False
        return self.written(block, what)

    def written(self, block: Block, what: Instruction) -> bool:
        """Lower an instruction; False, and nothing written, if it cannot be lowered so."""
        lower, e = self.lower, self.e
        lines, slots, opened, label = len(e.lines), len(e.slots), e.open, e.label
        deferred, materialised, exits = list(lower.deferred), lower.materialised, list(self.exits)
        needs = lower.needs_unit, lower.gathers
        known, groups = lower.stack.known if lower.stack else None, dict(lower.pages.groups)
        held = dict(lower.pages.held)
        sure = set(lower.sure)
        lower.handlers, lower.frames, lower.depth = ["nowhere"], [], 0
        try:
            if what.handler.op.ends == BRANCHES:
                self.set_pc(block.at + what.after)
            arguments = [lower.call(bind, [lower.cpu, what.record], {}) for bind in what.handler.binds]
            lower.call(what.handler.op.run, [lower.cpu, *arguments], {})
        except DefinitionError:
            del e.lines[lines:], e.slots[slots:]
            e.open, e.label = opened, label
            lower.handlers, lower.frames, lower.depth = ["nowhere"], [], 0  # it may have failed deep inside
            lower.deferred, lower.materialised, lower.may_retire, lower.plain = deferred, materialised, False, False
            lower.needs_unit, lower.gathers = needs
            if lower.stack and known:
                lower.stack.known = known
            lower.pages.groups, lower.pages.held, lower.sure, lower.came_from = groups, held, sure, {}
            self.exits = {key: self.exits[key] for key in exits}
            return False
        return True

    def set_pc(self, at: int) -> None:
        self.lower.used.add(self.pc)
        self.lower.written.add(self.pc)
        self.lower.leads_to(at)
        self.e.do(f"store i64 {at}, ptr {self.pc.name}")

    def turn(self, n: int) -> list[int]:
        """The blocks of a loop that block n is in: on from each to where it mostly led; none if that does not come back
        to n, or if there are only a few turns."""
        blocks, after, stays = [], n, 1.0
        while after not in blocks and after < len(self.ways) and self.ways[after]:
            blocks.append(after)
            target, times = max(self.ways[after], key=lambda way: way[1])
            stays *= times / sum(times for _, times in self.ways[after])
            after = self.numbers.get(target, len(self.blocks))
        return blocks if blocks and after == n and 1 - stays < 1 / TURNS else []

    # From block to block.

    def switch(self, n: int, pc: str, pending: list[Deferred]) -> None:
        """From the end of block n to the block at pc, if the region has it. Each way has a place of its own: LLVM does
        not thread a branch through the switch to where a loop begins (JumpThreading)."""
        e, known = self.e, self.targets[n]
        cases = [(target, other) for target, other in self.numbers.items()
                 if self.tops[other] == self.last_tops[n] and (known is None or target in known)]
        away = {target: self.link(n, target) for target in sorted(known or ())
                if target not in self.numbers and self.lower.home is None}
        e.start(f"end{n}")
        e.end(f"switch i64 {pc}, label %leave [ "
              f"{' '.join(f'i64 {target}, label %from{n}.{other}' for target, other in cases)} "
              f"{' '.join(f'i64 {target}, label %away{n}.{link}' for target, link in away.items())} ]")
        for link in away.values():
            e.start(f"away{n}.{link}")
            e.do(f"store i64 {link}, ptr %link")
            e.branch("leave")
        for _, other in cases:
            come = -1 if self.page_of[n] == self.page_of[other] else self.page_of[other]
            self.edges[come, other] = None
            e.start(f"from{n}.{other}")
            if other in self.asking and pending and not (
                    pending == [self.lower.before] and self.asking[other] <= self.asking.get(n, frozenset())):
                self.give(self.asking[other], pending)
            e.branch(edge_label(come, other))

    def link(self, n: int, target: int) -> int:
        """The number, from 1 on, of the link from block n to one that the region does not have. Inside a page it holds
        wherever that is mapped, as those of copies do (stitching.py)."""
        near = target & PAGE_MASK == self.pages[self.page_of[n]] and target & ~PAGE_MASK <= PAGE - INSTRUCTION
        return self.links.setdefault((target, NEAR if near else BY_ADDRESS), len(self.links) + 1)

    def give(self, asked: frozenset[Slot], pending: list[Deferred]) -> None:
        """Make what the next block asks for of what is put off."""
        lower = self.lower
        lower.deferred, lower.materialised = [], True
        if pending == [lower.before]:
            lower.make_up()
            return
        lower.perform(pending)
        rest = lower.before.writes - asked
        for slot in sorted(rest, key=lambda s: s.start):  # `later` has them
            self.e.do(f"store {slot.type} undef, ptr {slot.name}")
        if not rest:
            self.e.do("store i64 0, ptr %later")

    def edge(self, come: int, n: int) -> None:
        """Into block n, from its own page (-1) or from another: take its instructions off the budget; without enough of
        it, go back to the run loop."""
        e = self.e
        e.start(edge_label(come, n))
        if come >= 0:
            words = BLOCKS + WORDS * n
            host, page = self.lower.told(words + HOST), self.lower.address(self.pages[come])
            there = self.outside(page_is_at, [self.lower.cpu, Scalar(u64, page), Scalar(u64, host)]).text
            same, yes = e.new_label("same"), e.new_label("there")
            e.branch_if(there, same, "leave", OFTEN)
            e.start(same)
            e.branch_if(self.same_blocks(words), yes, "leave", OFTEN)
            e.start(yes)
        count, yes, short = self.blocks[n].count, e.new_label("go"), e.new_label("short")
        rest, below = difference(self.lower, e.op("load i64, ptr %budget"), count)
        e.branch_if(below, short, yes, RARELY)
        e.start(short)
        e.do(f"store i64 {e.op(f'add i64 {e.op(opaque(rest))}, {count}')}, ptr %budget")
        e.branch("leave")
        e.start(yes)
        e.do(f"store i64 {rest}, ptr %budget")
        e.branch(f"b{n}")

    def outside(self, function: Any, args: list[Any]) -> Any:
        """The value of a function that knows nothing of slots."""
        return Lower(self.unit, self.e).call(function, args, {})

    # Ways out: each tells its record, and has the rest in common with others.

    def way_out(self, later: int = 0) -> str:
        """A label that leads to this record, or one so much later, in the threaded way."""
        (n, k), lower = self.at, self.lower
        known = lower.stack.known if lower.stack else None
        return self.exits.setdefault((n, k + later, lower.pending, known), self.e.new_label("exit"))

    def apart(self) -> None:
        """Here a way out begins: else LLVM would fetch what tells it from others before it knows that it is taken."""
        self.e.do('call void asm sideeffect "", ""()')

    def write_exits(self) -> None:
        lower, e = self.lower, self.e
        lower.frames, lower.depth = [], 0
        made: dict[tuple[int, tuple[Deferred, ...], Known | None], str] = {}
        for (n, k, pending, known), label in self.exits.items():
            e.start(label)
            self.apart()
            e.do(f"store i64 {k * self.guest.record.size}, ptr %exit.b")
            e.branch(made.setdefault((n, pending, known), f"made{len(made)}"))
        for (n, pending, known), label in made.items():
            e.start(label)
            lower.deferred, lower.materialised = [], True
            lower.put_off(pending)
            if lower.stack and known:
                lower.stack.depart(known)
            e.do(f"store i64 {BLOCKS + WORDS * n}, ptr %exit.a")
            e.do(f"store i64 {self.blocks[n].at}, ptr {self.pc.name}")
            e.branch("threaded")

    def put_in(self) -> None:
        """Put in what marks stand for, now that it is known whether that is anything."""
        e = self.e
        lines, e.lines, e.open = e.lines, [], True
        for line in lines:
            if line == FORGET or line in self.lower.pages.marks:
                self.lower.pages.put_in(line)
            elif line in (CLEAR, GATHER):
                if self.lower.gathers:
                    self.gather(line)
            else:
                e.lines.append(line)

    def gather(self, mark: str) -> None:
        """Change MXCSR to the guest's, or back, and add what was raised to the flags."""
        e, unit = self.e, self.lower.host
        assert unit is not None
        for name in ("ldmxcsr", "stmxcsr"):
            self.unit.declare(f"void @llvm.x86.sse.{name}(ptr)")
        if mark == CLEAR:
            control = self.read("control")
            self.set_mxcsr(e.op(f"trunc i64 {control} to i32"))
        else:
            e.do("call void @llvm.x86.sse.stmxcsr(ptr %mxcsr)")
            found = e.op("load i32, ptr %mxcsr")
            flags = e.op(f"zext i32 {e.op(f'and i32 {found}, 63')} to i64")
            self.outside(unit.raised, [self.lower.cpu, Scalar(u64, flags)])
            self.set_mxcsr(str(MXCSR))

    def set_mxcsr(self, value: str) -> None:
        self.e.do(f"store i32 {value}, ptr %mxcsr")
        self.e.do("call void @llvm.x86.sse.ldmxcsr(ptr %mxcsr)")

    def read(self, name: str) -> str:
        return self.e.op(f"load i64, ptr %{name}")

    def put(self, name: str, text: str) -> None:
        place = Lower.pointer(self.lower, Ref(None, CPU, self.guest.state.offset(name)))
        self.e.do(f"store i64 {text}, ptr {place}, align 8, !tbaa !1")

    def leave(self) -> None:
        """The registers go into the state; then on with a record, or with the block at pc: each region looks for that
        itself, for the host foresees the jumps of one place better than those of all regions together. `start` is pc:
        of the record's block, and else of no meaning."""
        e = self.e
        e.start("leave")
        e.branch("out")
        e.start("threaded")
        block = self.read("exit.a")
        at = e.op(f"add i64 {self.lower.told(block)}, {self.read('exit.b')}")
        target = e.op(f"load i64, ptr {e.op(f'inttoptr i64 {at} to ptr')}, !tbaa !1")
        own = e.op(f"icmp eq i64 {target}, ptrtoint (ptr @{self.name} to i64)")  # the first record leads to us
        before = self.lower.told(e.op(f"add i64 {block}, {ORIGINAL}"))
        e.do(f"store i64 {at}, ptr %exit.b")
        e.do(f"store i64 {e.op(f'select i1 {own}, i64 {before}, i64 {target}')}, ptr %exit.a")
        e.branch("out")
        e.start("out")
        if self.lower.stack:
            self.lower.stack.leave()
        self.lower.mark(GATHER)
        for slot in sorted(self.lower.written | {self.pc}, key=lambda s: s.start):
            self.lower.store_slot(slot)
        self.put("start", self.lower.address(self.read(self.pc.name[1:])))
        self.count(STAYED, e.op(f"sub i64 %left, {self.read('budget')}"))
        late, on, number = e.new_label("late"), e.new_label("on"), self.read("later")
        e.branch_if(e.op(f"icmp eq i64 {number}, 0"), on, late)
        e.start(late)
        self.lower.call_make_up(number)
        e.branch(on)
        e.start(on)
        told, to_record, to_block = self.read("exit.b"), e.new_label("record"), e.new_label("block")
        budget, record = self.read("budget"), e.op(f"inttoptr i64 {told} to ptr")
        e.branch_if(e.op(f"icmp eq i64 {told}, 0"), to_block, to_record)
        e.start(to_record)
        self.tail(self.lower, e.op(f"inttoptr i64 {self.read('exit.a')} to ptr"), record, budget)
        e.start(to_block)
        look = Lower(self.unit, e)
        self.by_link(look, budget)
        self.go_to(look, look.call(self.guest.state.next_block, [self.lower.cpu, Scalar(u64, budget)], {}))
        e.branch("abandoned")
        e.start("abandoned")
        again = e.op(f"inttoptr i64 {self.lower.told(DISPATCH)} to ptr")
        self.tail(self.lower, again, record, budget)

    def by_link(self, look: Lower, budget: str) -> None:
        """Go on by the link that a way out has told, if it has told one, and there was room for links."""
        e, links, state = self.e, self.lower.told(LINKS), self.guest.state
        number = e.op(f"select i1 {e.op(f'icmp eq i64 {links}, 0')}, i64 0, i64 {self.read('link')}")
        place = e.op(f"add i64 {links}, {e.op(f'mul i64 {number}, {Link.size}')}")
        link = Scalar(u64, e.op(f"sub i64 {place}, {Link.size}"))
        by_reach = {reach: [n for (_, one), n in self.links.items() if one == reach] for reach in (NEAR, BY_ADDRESS)}
        cases = " ".join(f"i64 {n}, label %link{reach}" for reach, numbers in by_reach.items() for n in numbers)
        e.end(f"switch i64 {number}, label %look [ {cases} ]")
        for reach in [reach for reach, numbers in by_reach.items() if numbers]:
            e.start(f"link{reach}")
            followed = look.call(state.next_by_link, [self.lower.cpu, link, Scalar(u64, budget), reach], {})
            self.go_to(look, followed)
            base = word_of(look, CPU, state, "forge_start")
            other = e.op(f"inttoptr i64 {e.op(f'sub i64 {link.text}, {base}')} to ptr")
            self.tail(self.lower, word_of(look, CPU, state, "unlinked", "ptr"), other, followed.items[2].text)
        e.start("look")


def module_of(what: Instruction) -> str:
    return str(inspect.unwrap(what.handler.op.run).__module__)


def edge_label(come: int, n: int) -> str:
    return f"edge{n}" if come < 0 else f"come{n}"


def page_is_at(cpu: Any, page: Any, host: Any) -> Any:
    """Whether the address cache has the code of a page at this host address."""
    entry = cpu.tlb[page >> PAGE_BITS & (TLB_SIZE - 1)]
    return (entry.execute == page) & (page + entry.addend == host)
