"""A region: blocks that run often, as one machine-code function made from the same bodies (the hot way).

The operands of each instruction are constants here, and the guest's registers (Guest.registers) live in variables of
the function from its entry to its exits; LLVM does the rest. A region has a handler's signature and stands in the first
record of its first block, so that whatever forgets the block forgets the region. All its blocks lie in one page: what
remaps the page ends them together, and at its entry a region looks whether any block of the page has ended.

Ways out: a fault or a device (the state is as before the instruction, as in the threaded way), a budget that does not
allow the next block, a target that is not in the region, an instruction that only the threaded way runs, or a store
that has changed decoded code.

What is only needed at a way out is computed there: calls of Guest.deferred functions (flags) are put off, and made
where something asks for what they write. Not done: regions over several pages, guesses about addresses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.cpu import Cpu
from guesthouse.engine.library import INVALIDATIONS, Library, Slot
from guesthouse.engine.op import BRANCHES, FALLS, LEAVES, Guest, Handler
from guesthouse.engine.processor import ABANDONED, LOOKUP
from guesthouse.engine.threaded import HEADER, Threaded
from guesthouse.errors import DefinitionError
from guesthouse.typed.emit import RARELY, Emitter, Unit
from guesthouse.typed.lower import Lower, result_type
from guesthouse.typed.struct import BoolKind, Kind, PointerKind, ScalarKind
from guesthouse.typed.source import source_of
from guesthouse.typed.values import ArrayRef, PointerTo, Ref, Scalar, is_known, llvm_type

CPU = "%cpu"
LOADS: Any = Cpu.load_bytes
PASSES = ("sroa", "simplify_cfg", "instruction_combine", "jump_threading", "dead_store_elimination", "sinking",
          "simplify_cfg")


@dataclass
class Instruction:
    """One decoded record: who handles it, its operands, and where it stands in its block."""

    handler: Handler
    record: Any
    after: int
    left: int
    length: int


@dataclass
class Block:
    """`count` guest instructions from `pc` on; the last one branches, or the block falls through to `end`."""

    pc: int
    count: int
    instructions: list[Instruction]
    falls: bool

    @property
    def end(self) -> int:
        return self.pc + self.instructions[-1].after


@dataclass
class Deferred:
    """A call that has been put off: its function, its arguments, and the slots that it writes."""

    function: Any
    args: list[Any]
    writes: frozenset[Slot]


class Lowered(Lower):
    """Lowers bodies so that slots are variables and deferred calls wait."""

    def __init__(self, library: Library, unit: Unit) -> None:
        super().__init__(unit, Emitter())
        self.library, self.guest = library, library.guest
        self.slots = library.slots
        self.cpu = Ref(self.guest.state, CPU)
        self.used: set[Slot] = set()
        self.written: set[Slot] = set()
        self.deferred: list[Deferred] = []
        self.materialised = True
        self.depth = 0
        self.may_retire = False
        self.plain = False  # while a deferred call is being made
        self._writes_of: dict[Any, frozenset[Slot]] = {}

    # Slots instead of fields.

    def slot_at(self, kind: Kind, place: Any) -> Slot | None:
        if place.base != CPU or not isinstance(kind, (ScalarKind, BoolKind, PointerKind)):
            return None
        slot = self.slots.get(place.offset)
        if slot is not self.slots.get(place.offset + kind.size - 1):
            raise DefinitionError("part of a register together with something else")
        return slot

    def read(self, kind: Kind, place: Any, tag: str = "", align: int = 0) -> Any:
        slot = self.slot_at(kind, place)
        if slot is None:
            return super().read(kind, place, *([tag] if tag else []), align=align)
        self.used.add(slot)
        if not self.materialised and not self.plain and any(slot in d.writes for d in self.deferred):
            self.materialise()
        return self.part(slot, kind, place.offset - slot.start)

    def part(self, slot: Slot, kind: Kind, at: int) -> Any:
        """The value of a kind at an offset in a slot. The slot is read whole, or LLVM would keep it in pieces."""
        whole = self.e.op(f"load {slot.type}, ptr {slot.name}")
        bits = 8 * kind.size
        if slot.size > 8 and kind.size < slot.size:
            lanes = f"<{slot.size // kind.size} x i{bits}>"
            vector = self.e.op(f"bitcast {slot.type} {whole} to {lanes}")
            text = self.e.op(f"extractelement {lanes} {vector}, i64 {at // kind.size}")
        elif slot.size > 8:
            text = self.e.op(f"bitcast {slot.type} {whole} to i{bits}")
        else:
            moved = self.e.op(f"lshr {slot.type} {whole}, {8 * at}") if at else whole
            text = self.e.op(f"trunc {slot.type} {moved} to i{bits}") if kind.size < slot.size else moved
        if isinstance(kind, BoolKind):
            return Scalar(bool, self.e.op(f"icmp ne i8 {text}, 0"))
        if isinstance(kind, PointerKind):
            return PointerTo(kind.spec, text)
        assert isinstance(kind, ScalarKind)
        wanted = llvm_type(kind.type)
        return Scalar(kind.type, text if wanted[0] == "i" else self.e.op(f"bitcast i{bits} {text} to {wanted}"))

    def write(self, kind: Kind, place: Any, value: Any, tag: str = "", align: int = 0) -> None:
        slot = self.slot_at(kind, place)
        if slot is None:
            super().write(kind, place, value, *([tag] if tag else []), align=align)
            return
        self.settle_before_write(slot)
        self.put_part(slot, 8 * kind.size, self.raw(kind, value), place.offset - slot.start)

    def raw(self, kind: Kind, value: Any) -> str:
        """The bits of a value that is to be written as this kind."""
        if isinstance(kind, BoolKind):
            return self.e.op(f"zext i1 {self.lift(value, bool).text} to i8")
        if isinstance(kind, PointerKind):
            return str(value.text)
        assert isinstance(kind, ScalarKind)
        text, given = self.lift(value, kind.type).text, llvm_type(kind.type)
        return text if given[0] == "i" else self.e.op(f"bitcast {given} {text} to i{8 * kind.size}")

    def put_part(self, slot: Slot, bits: int, text: str, at: int) -> None:
        size = bits // 8
        if size == slot.size:
            whole = text if size <= 8 else self.e.op(f"bitcast i{bits} {text} to {slot.type}")
        elif slot.size > 8:
            lanes = f"<{slot.size // size} x i{bits}>"
            vector = self.e.op(f"bitcast {slot.type} {self.e.op(f'load {slot.type}, ptr {slot.name}')} to {lanes}")
            vector = self.e.op(f"insertelement {lanes} {vector}, i{bits} {text}, i64 {at // size}")
            whole = self.e.op(f"bitcast {lanes} {vector} to {slot.type}")
        else:
            old = self.e.op(f"load {slot.type}, ptr {slot.name}")
            rest = self.e.op(f"and {slot.type} {old}, {~((1 << bits) - 1 << 8 * at)}")
            wide = self.e.op(f"zext i{bits} {text} to {slot.type}")
            moved = self.e.op(f"shl {slot.type} {wide}, {8 * at}") if at else wide
            whole = self.e.op(f"or {slot.type} {rest}, {moved}")
        self.e.do(f"store {slot.type} {whole}, ptr {slot.name}")

    def settle_before_write(self, slot: Slot) -> None:
        self.used.add(slot)
        self.written.add(slot)
        if not self.plain and any(slot in d.writes for d in self.deferred):
            self.materialise()
            self.deferred = []

    def element(self, base: Any, index: Any) -> Any:
        if isinstance(base, ArrayRef) and base.base == CPU and base.offset in self.slots and not is_known(index):
            raise DefinitionError("a register whose number is not known")
        return super().element(base, index)

    def pointer(self, ref: Any) -> str:
        if ref.base == CPU and ref.offset in self.slots and ref.type is not self.guest.state:
            raise DefinitionError("the address of a register")
        return super().pointer(ref)

    # Deferred calls.

    def materialise(self) -> None:
        """Make the deferred calls here; they can still be made elsewhere instead."""
        if not self.materialised:
            self.materialised = True
            self.perform(self.deferred)

    def perform(self, calls: list[Deferred]) -> None:
        plain, self.plain = self.plain, True
        for call in calls:
            super().inline(call.function, call.args, {})
        self.plain = plain

    def certain(self) -> bool:
        """Whether what is emitted now is executed whenever the instruction is."""
        return not self.depth and not any(frame.returns for frame in self.frames) and len(self.handlers) == 1

    def inline(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if self.plain or named or function not in self.guest.deferred or not self.certain():
            return super().inline(function, args, named)
        writes = self.writes_of(function, args)
        kept = [d for d in self.deferred if not d.writes <= writes]
        self.deferred = [*kept, Deferred(function, args, writes)]
        self.materialised = False
        self.written |= writes
        self.used |= writes
        return None

    def writes_of(self, function: Any, args: list[Any]) -> frozenset[Slot]:
        """The slots that a deferred function writes: all of them, in any case."""
        key = (function, tuple(getattr(a, "type", None) for a in args))
        if key not in self._writes_of:
            trial = Lowered(self.library, Unit())
            trial.plain = True
            Lower.inline(trial, function, args, {})
            self._writes_of[key] = frozenset(trial.written)
        return self._writes_of[key]

    def do_If(self, s: Any) -> None:
        self.fork(super().do_If, s)

    def do_While(self, s: Any) -> None:
        self.fork(super().do_While, s)

    def fork(self, lower: Callable[[Any], None], s: Any) -> None:
        """Where ways part, what has been put off is made before they do: one of them may ask."""
        if self.plain:
            lower(s)
            return
        self.depth += 1
        self.materialise()
        lower(s)
        self.depth -= 1

    # Calls of functions that are machine code.

    def call_compiled(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        source = source_of(function.__code__)
        given = self.bind(function, source, args, named)
        leaves: list[Any] = []
        pattern = {n: self.flatten(v, function.__annotations__.get(n), leaves) for n, v in given.items()}
        callee, effects = self.library.get(function, pattern)
        kinds = ", ".join(kind for kind, _ in leaves)
        self.unit.declare(f"{result_type(callee)} {callee.name}({kinds}) nounwind")
        whole = any(text == CPU for _, text in leaves)
        reads, writes = (self.touched(effects.reads), self.touched(effects.writes)) if whole else (set(), set())
        if any(slot in d.writes for d in self.deferred for slot in reads | writes):
            self.materialise()
        for slot in sorted(reads | writes, key=lambda s: s.start):
            self.used.add(slot)
            self.store_slot(slot)
        result = self.emit_call(callee, leaves)
        if effects.writes is None or INVALIDATIONS in effects.writes:
            now = self.e.op(f"load i64, ptr {super().pointer(Ref(None, CPU, INVALIDATIONS))}")
            if function is LOADS:  # nothing has happened yet: the instruction can begin anew
                self.abandon_unless(self.e.op(f"icmp eq i64 {now}, %invalidations"))
            else:
                self.may_retire = True
                self.e.do(f"store i1 {self.e.op(f'icmp ne i64 {now}, %invalidations')}, ptr %retired")
        for slot in sorted(writes, key=lambda s: s.start):
            self.settle_before_write(slot)
            self.load_slot(slot)
        return result

    def touched(self, octets: frozenset[int] | None) -> set[Slot]:
        if octets is None:
            return set(self.slots.values())
        return {self.slots[at] for at in octets if at in self.slots}

    def store_slot(self, slot: Slot) -> None:
        """A slot's value goes into the state."""
        kind = slot.type
        value = self.e.op(f"load {kind}, ptr {slot.name}")
        place = super().pointer(Ref(None, CPU, slot.start))
        self.e.do(f"store {kind} {value}, ptr {place}, align {min(slot.size, 8)}, !tbaa !1")

    def load_slot(self, slot: Slot) -> None:
        kind = slot.type
        place = super().pointer(Ref(None, CPU, slot.start))
        value = self.e.op(f"load {kind}, ptr {place}, align {min(slot.size, 8)}, !tbaa !1")
        self.e.do(f"store {kind} {value}, ptr {slot.name}")


@dataclass
class Exit:
    """A way out that is written at the end: its label, what is still deferred there, and what tells it from others."""

    label: str
    deferred: list[Deferred]
    kind: str
    values: tuple[str, ...] = ()


class Region(Threaded):
    """Writes one region into a unit of its own."""

    def __init__(self, guest: Guest, library: Library, blocks: list[Block], name: str) -> None:
        self.guest, self.blocks, self.name = guest, blocks, name
        self.unit = Unit()
        self.lower = Lowered(library, self.unit)
        self.numbers = {block.pc: n for n, block in enumerate(blocks)}
        self.exits: list[Exit] = []
        self.pc = self.lower.slots[guest.state.offset("pc")]
        self.lower.used.add(self.pc)

    @property
    def e(self) -> Emitter:
        return self.lower.e

    def text(self) -> str:
        """The module: the function, and a table: the addresses of the blocks' records, the address of the page's
        count of ended blocks, what it was, and the handler whose place the region takes."""
        for n, block in enumerate(self.blocks):
            self.e.start(f"b{n}")
            self.block(n, block)
        for n in range(len(self.blocks)):
            self.e.start(f"edge{n}")
            self.enter(n)
        for exit in self.exits:
            self.write_exit(exit)
        for finish in (self.abandoned, self.spent, self.leave, self.threaded):
            self.e.start(finish.__name__)
            for slot in sorted(self.lower.written - {self.pc}, key=lambda s: s.start):
                self.lower.store_slot(slot)
            finish()
        body, self.lower.e.lines = self.e.lines, []
        self.lower.e.open = True
        self.prologue()
        self.lower.e.lines += body
        self.unit.define(f"@{self.name}.table = global [{len(self.blocks) + 3} x i64] zeroinitializer")
        header = HEADER.format("@" + self.name).replace("internal ", "")
        self.unit.functions.append(self.e.text(header))
        return self.unit.text()

    def prologue(self) -> None:
        e = self.e
        for slot in sorted(self.lower.used, key=lambda s: s.start):
            e.slots.append(f"  {slot.name} = alloca {slot.type}")
            self.lower.load_slot(slot)
        e.slots += [f"  %{name} = alloca i64" for name in ("budget", "exit.a", "exit.b")] + ["  %retired = alloca i1"]
        e.do("store i64 %left, ptr %budget")
        e.do("store i1 false, ptr %retired")
        place = Lower.pointer(self.lower, Ref(None, CPU, INVALIDATIONS))
        e.lines.append(f"  %invalidations = load i64, ptr {place}")
        at = len(self.blocks)
        ended = e.op(f"load i64, ptr {self.pointed(at)}")
        e.branch_if(e.op(f"icmp eq i64 {ended}, {self.told(at + 1)}"), "b0", "stale")
        e.start("stale")
        original = e.op(f"inttoptr i64 {self.told(at + 2)} to ptr")
        e.end(f"ret i64 {e.op(f'musttail call preserve_nonecc i64 {original}(ptr %cpu, ptr %record, i64 %left)')}")

    def told(self, n: int) -> str:
        """A word of the table that install() has filled in."""
        place = self.e.op(f"getelementptr i64, ptr @{self.name}.table, i64 {n}")
        return self.e.op(f"load i64, ptr {place}")

    def pointed(self, n: int) -> str:
        return self.e.op(f"inttoptr i64 {self.told(n)} to ptr")

    def block(self, n: int, block: Block) -> None:
        lower = self.lower
        lower.deferred, lower.materialised = [], True
        for k, instruction in enumerate(block.instructions):
            if not self.instruction(n, block, k, instruction):
                return
        if block.falls:
            lower.materialise()
            self.set_pc(block.end)
        self.go_on(block)

    def instruction(self, n: int, block: Block, k: int, what: Instruction) -> bool:
        """Lower one; False if the region ends here."""
        lower, e, op = self.lower, self.e, what.handler.op
        if op.ends == LEAVES or op.counts or not self.body(n, block, k, what):
            self.e.branch(self.to_threaded(n, block, k))
            return False
        if lower.may_retire:
            lower.may_retire = False
            if e.open:
                retired, on = e.op("load i1, ptr %retired"), e.new_label("on")
                if op.ends == FALLS:
                    e.branch_if(retired, self.to_threaded(n, block, k + 1), on, RARELY)
                else:
                    lower.materialise()
                    e.branch_if(retired, "leave", on, RARELY)
                e.start(on)
        return e.open

    def body(self, n: int, block: Block, k: int, what: Instruction) -> bool:
        """The instruction's own text; False, and nothing written, if it cannot be lowered here."""
        lower, e = self.lower, self.e
        lines, slots, opened, label = len(e.lines), len(e.slots), e.open, e.label
        deferred, materialised = list(lower.deferred), lower.materialised
        stub = e.new_label("stub")
        lower.handlers, lower.raised, lower.frames, lower.depth = [stub], False, [], 0
        try:
            if what.handler.op.ends == BRANCHES:
                self.set_pc(block.pc + what.after)
            arguments = [lower.call(bind, [lower.cpu, what.record], {}) for bind in what.handler.binds]
            lower.call(what.handler.op.run, [lower.cpu, *arguments], {})
        except DefinitionError:
            del e.lines[lines:], e.slots[slots:]
            e.open, e.label = opened, label
            lower.deferred, lower.materialised, lower.may_retire = deferred, materialised, False
            return False
        if lower.raised:
            pc = block.pc + what.after - what.length
            self.exits.append(Exit(stub, deferred, "abandoned", (str(pc), str(what.left))))
        return True

    def set_pc(self, address: int) -> None:
        self.lower.used.add(self.pc)
        self.lower.written.add(self.pc)
        self.e.do(f"store i64 {address}, ptr {self.pc.name}")

    def go_on(self, block: Block) -> None:
        """To the block at pc, if the region has it."""
        e = self.e
        if not e.open:
            return
        self.lower.materialise()
        pc = e.op(f"load i64, ptr {self.pc.name}")
        cases = " ".join(f"i64 {target}, label %edge{n}" for target, n in self.numbers.items())
        e.end(f"switch i64 {pc}, label %leave [ {cases} ]")

    def enter(self, n: int) -> None:
        """Take block n's instructions off the budget; without enough of it, go back to the run loop."""
        e = self.e
        left = e.op("load i64, ptr %budget")
        enough, yes = e.op(f"icmp uge i64 {left}, {self.blocks[n].count}"), e.new_label("go")
        e.branch_if(enough, yes, "spent")
        e.start(yes)
        e.do(f"store i64 {e.op(f'sub i64 {left}, {self.blocks[n].count}')}, ptr %budget")
        e.branch(f"b{n}")

    # Ways out: each is made ready where it is special, and has the rest in common with its kind.

    def to_threaded(self, n: int, block: Block, k: int) -> str:
        """A way out to record k of block n, in the threaded way; returns its label."""
        label = self.e.new_label("threaded")
        at = f"add (i64 ptrtoint (ptr @{self.name}.table to i64), i64 {8 * n})"
        self.exits.append(Exit(label, list(self.lower.deferred), "threaded", (str(block.pc), at, str(k))))
        return label

    def write_exit(self, exit: Exit) -> None:
        lower, e = self.lower, self.e
        lower.deferred, lower.frames, lower.depth = [], [], 0
        e.start(exit.label)
        lower.perform(exit.deferred)
        if exit.kind == "threaded":
            start, table, k = exit.values
            records = e.op(f"load i64, ptr inttoptr (i64 {table} to ptr)")
            e.do(f"store i64 {e.op(f'add i64 {records}, {int(k) * self.guest.record.size}')}, ptr %exit.b")
        else:
            start, left = exit.values
            e.do(f"store i64 {left}, ptr %exit.b")
        e.do(f"store i64 {start}, ptr %exit.a")
        e.branch(exit.kind)

    def read(self, name: str) -> str:
        return self.e.op(f"load i64, ptr %{name}")

    def put(self, name: str, text: str) -> None:
        place = Lower.pointer(self.lower, Ref(None, CPU, self.guest.state.offset(name)))
        self.e.do(f"store i64 {text}, ptr {place}, align 8, !tbaa !1")

    def abandoned(self) -> None:
        self.put("pc", self.read("exit.a"))
        left = self.read("budget")
        self.put("left", self.e.op(f"add i64 {left}, {self.read('exit.b')}"))
        self.e.end(f"ret i64 {ABANDONED}")

    def spent(self) -> None:
        self.lower.store_slot(self.pc)
        self.put("left", self.read("budget"))
        self.e.end(f"ret i64 {LOOKUP}")

    def leave(self) -> None:
        """To a block that the region does not have, as Threaded.dispatch finds it."""
        self.lower.store_slot(self.pc)
        outside = Lower(self.unit, self.e)
        outside.handlers = ["nowhere"]
        self.dispatch(outside, Ref(self.guest.state, CPU), Scalar(u64, self.read("budget")))
        self.e.start("nowhere")  # for an index that LLVM will see to be right
        self.e.end("unreachable")

    def threaded(self) -> None:
        self.put("start", self.read("exit.a"))
        record = self.e.op(f"inttoptr i64 {self.read('exit.b')} to ptr")
        self.jump(self.lower, record, self.read("budget"))
