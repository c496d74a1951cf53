"""Bodies lowered for a region: the guest's registers are variables, flags are put off, and slow paths lead out.

`Slot`s (library.py) stand for the registers. A call of a Guest.deferred function (flags) waits until something asks for
what it writes; as a rule the next such call comes first, and it is never made. What still waits where a block ends,
or at a way out, is kept as a number for the function and its arguments (`later`); only beyond a way out of the region
it is made (threaded.make_up).
"""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.cpu import ALL_32, ALL_ONES, SLOW
from guesthouse.engine.threaded import ARGUMENTS, kinds_of
from guesthouse.errors import DefinitionError
from guesthouse.engine.hot.job import MAKE_UP
from guesthouse.engine.hot.library import CPU, INVALIDATIONS, Library, Slot
from guesthouse.engine.hot.native import INTRINSICS
from guesthouse.engine.hot.pages import ACCESSES, Pages
from guesthouse.engine.hot.stack import Stack
from guesthouse.typed.emit import HOUSE, OFTEN, Emitter, Unit
from guesthouse.typed.lower import Lower, result_type
from guesthouse.typed.machine import has
from guesthouse.typed.source import source_of
from guesthouse.typed.struct import BoolKind, Kind, PointerKind, ScalarKind
from guesthouse.typed.values import ArrayRef, PointerTo, Ref, Scalar, is_known, llvm_type

GATHER, CLEAR = "; the host's flags are added to the guest's", "; the host's flags are cleared"


@dataclass(eq=False)
class Deferred:
    """A call that has been put off: its function, its arguments, and the slots that it writes. Without a function: what
    `later` tells, put off in a block before."""

    function: Any
    args: list[Any]
    writes: frozenset[Slot]


class Asked(Exception):
    """A block needs what blocks before it have put off: this slot, or all that they would write."""

    def __init__(self, slot: Slot | None = None) -> None:
        self.slot = slot


class Lowered(Lower):
    """Lowers bodies so that slots are variables and deferred calls wait."""

    def __init__(self, library: Library, unit: Unit, table: str = "",
                 way_out: Callable[[], str] = lambda: "abandoned", settled: dict[str, int] | None = None,
                 home: int | None = None) -> None:
        super().__init__(unit, Emitter())
        self.table = table
        self.way_out = way_out  # the label that leads out of the region from here, as before this instruction
        self.library, self.guest = library, library.guest
        self.slots = library.slots
        self.pc, self.start = self.slots[self.guest.state.offset("pc")], self.guest.state.offset("start")
        self.tlb = self.slots[self.guest.state.offset("tlb")]
        self.home, self.at = home, 0  # the origin, if it is known; and where the running block lies from there
        self.distances: dict[str, int] = {}  # of values: how far they are from the origin
        self.cut: set[int] = set()  # distances of addresses that are cut to 32 bits; the way in sees that they are less
        self.targets: set[int] | None = set()  # where the running block may lead to, as distances; None: anywhere
        self.fixed = {self.guest.state.offset(name): value for name, value in (settled or {}).items()}
        self.cpu = Ref(self.guest.state, CPU)
        self.used: set[Slot] = set()
        self.written: set[Slot] = set()
        self.deferred: list[Deferred] = []
        self.materialised = True
        self.depth = 0
        self.disturbed = False  # what has been put off has been asked for where ways have parted
        self.may_retire = False
        self.host = self.guest.instructions.unit if has("avx") else None
        self.instead = dict(self.host.instead) if self.host else {}
        self.natively = True  # what the host may do instead of a body is tried
        self.stack: Stack | None = None
        self.pages = Pages(self)
        self.sure: set[Any] = set()  # of which host.be_sure() has been said: slots as they are, and values
        self.came_from: dict[str, Slot] = {}  # values, and what they were read from and still is as it was
        self.needs_unit = self.gathers = False  # the unit must be as HostUnit.control says; MXCSR is used
        unit.intrinsics.update(INTRINSICS)
        self.plain = False  # while a deferred call is being made
        self.numbers = {kind: n for n, kind in enumerate(kinds_of(self.guest), 1)}
        self.given: frozenset[Slot] = frozenset()  # what has its value, although `before` waits, which would write it
        self.before = Deferred(None, [], frozenset(s for f in self.guest.deferred for s in library.writes(f)))

    def use_stack(self) -> None:
        """This region has instructions of the register stack."""
        form = self.guest.instructions.stack
        assert form is not None
        self.stack = Stack(self, self.library, form)
        self.instead |= form.instead

    # Slots instead of fields.

    def slot_at(self, kind: Kind, place: Any) -> Slot | None:
        if place.base != CPU or not isinstance(kind, (ScalarKind, BoolKind, PointerKind)):
            return None
        self.guard(place.offset)
        slot = self.slots.get(place.offset)
        if slot is not self.slots.get(place.offset + kind.size - 1):
            raise DefinitionError("part of a register together with something else")
        return slot

    def guard(self, offset: int) -> None:
        if self.stack and offset in self.library.guarded:
            raise DefinitionError("part of the register stack, which is elsewhere")

    def read(self, kind: Kind, place: Any, tag: str = HOUSE, align: int = 0) -> Any:
        slot = self.slot_at(kind, place)
        if slot is None:
            if place.base == CPU and place.offset == self.start:
                return u64(self.home + self.at) if self.home is not None else self.near(self.at)
            if isinstance(kind, ScalarKind) and place.base == CPU and place.offset in self.fixed:
                return kind.type(self.fixed[place.offset])
            if self.host and place.base == CPU and place.offset in self.library.raised:
                raise DefinitionError("flags that the host may still have")
            return super().read(kind, place, tag, align)
        if isinstance(kind, ScalarKind) and place.offset in self.fixed:
            return kind.type(self.fixed[place.offset])
        self.used.add(slot)
        if slot is self.pc:
            return Scalar(u64, self.address(self.e.op(f"load i64, ptr {slot.name}")))
        if not self.materialised and not self.plain and any(slot in d.writes for d in self.deferred):
            if self.deferred != [self.before]:
                self.materialise()
            elif slot not in self.given:
                raise Asked(slot)
        value = self.part(slot, kind, place.offset - slot.start)
        half = slot.type == "i64" and kind.size == 4 and place.offset == slot.start
        if isinstance(value, Scalar) and (half or kind.size == slot.size):
            self.pages.read(slot, value, half)
        if isinstance(value, Scalar) and kind.size == slot.size:
            self.came_from[value.text] = slot
            self.sure.update([value.text] if slot in self.sure else [])
        return value

    def part(self, slot: Slot, kind: Kind, at: int) -> Any:
        """The value of a kind at an offset in a slot. The slot is read whole, or LLVM would keep it in pieces."""
        whole = self.e.op(f"load {slot.type}, ptr {slot.name}")
        bits = 8 * kind.size
        if slot.floats:
            whole = self.e.op(f"bitcast {slot.type} {whole} to i64")
        if slot.size > 8 and kind.size < slot.size:
            lanes = f"<{slot.size // kind.size} x i{bits}>"
            vector = self.e.op(f"bitcast {slot.type} {whole} to {lanes}")
            text = self.e.op(f"extractelement {lanes} {vector}, i64 {at // kind.size}")
        elif slot.size > 8:
            text = self.e.op(f"bitcast {slot.type} {whole} to i{bits}")
        else:
            moved = self.e.op(f"lshr i{8 * slot.size} {whole}, {8 * at}") if at else whole
            text = self.e.op(f"trunc i{8 * slot.size} {moved} to i{bits}") if kind.size < slot.size else moved
        if isinstance(kind, BoolKind):
            return Scalar(bool, self.e.op(f"icmp ne i8 {text}, 0"))
        if isinstance(kind, PointerKind):
            return PointerTo(kind.spec, text)
        assert isinstance(kind, ScalarKind)
        wanted = llvm_type(kind.type)
        return Scalar(kind.type, text if wanted[0] == "i" else self.e.op(f"bitcast i{bits} {text} to {wanted}"))

    def write(self, kind: Kind, place: Any, value: Any, tag: str = HOUSE, align: int = 0) -> None:
        slot = self.slot_at(kind, place)
        if slot is None:
            if place.base == CPU and place.offset in self.fixed:
                raise DefinitionError("a change of the mode")
            if self.host and place.base == CPU and place.offset in self.library.modes | self.library.raised:
                raise DefinitionError("modes of the unit, which the region has taken over")
            super().write(kind, place, value, tag, align)
            return
        self.settle_before_write(slot)
        self.pages.wrote(slot, value, kind.size == slot.size and self.certain())
        text = self.raw(kind, value)
        if slot is self.pc:
            self.leads_to(self.distances.get(text))
            text = self.distance(text)
        self.put_part(slot, 8 * kind.size, text, place.offset - slot.start)
        if isinstance(value, Scalar) and value.text in self.sure and kind.size == slot.size and self.certain():
            self.sure.add(slot)

    # Addresses of code, which count from the origin of the region. So does what the slot of pc holds.

    @property
    def origin(self) -> str:
        return "%origin" if self.home is None else str(self.home)

    def address(self, distance: int | str) -> str:
        return self.e.op(f"add i64 {self.origin}, {distance}")

    def near(self, distance: int) -> Scalar:
        """The address at a distance that is known, and stays known when constants are added."""
        text = self.address(distance)
        self.distances[text] = distance & (1 << 64) - 1
        return Scalar(u64, text)

    def leads_to(self, distance: int | None) -> None:
        """The block may go on there; None: anywhere."""
        if distance is None or self.targets is None:
            self.targets = None
        else:
            self.targets.add(distance & (1 << 64) - 1)

    def distance(self, text: str) -> str:
        """How far an address is from the origin."""
        if text in self.distances:
            return str(self.distances[text])
        return self.e.op(f"sub i64 {text}, {self.origin}")

    def binary(self, node: ast.AST, op: ast.operator, a: Any, b: Any) -> Any:
        if isinstance(op, ast.Add):
            for one, other in ((a, b), (b, a)):
                if isinstance(one, Scalar) and one.text in self.distances and is_known(other):
                    return self.near(self.distances[one.text] + int(other))
        if isinstance(op, ast.BitAnd) and is_known(b) and isinstance(a, Scalar) and a.type is u64:
            if int(b) == ALL_ONES:
                return a
            if a.text in self.distances and int(b) == ALL_32:
                self.cut.add(self.distances[a.text])
                return a
        value = super().binary(node, op, a, b)
        if isinstance(op, (ast.Add, ast.Sub)):
            self.pages.derived(value, a, b, 1 if isinstance(op, ast.Add) else -1)
        if isinstance(op, ast.LShift) and is_known(b):
            self.pages.shifted(value, a, int(b))
        if isinstance(op, ast.BitAnd) and is_known(b) and int(b) == ALL_32:
            self.pages.cut(value, a)
        return value

    def make(self, kind: type, args: list[Any], named: dict[str, Any]) -> Any:
        value = super().make(kind, args, named)
        if kind is u64:
            self.pages.widened(value, args[0])
        return value

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
            whole = text if slot.type[0] == "i" else self.e.op(f"bitcast i{bits} {text} to {slot.type}")
        elif slot.floats:
            raise DefinitionError("part of a register of floats")
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
        if slot is self.tlb:
            self.pages.forget()
        self.used.add(slot)
        self.written.add(slot)
        self.sure.discard(slot)
        self.came_from = {}
        if not self.plain and any(slot in d.writes for d in self.deferred):
            self.materialise()
            self.deferred = []
            self.disturbed = True

    def element(self, base: Any, index: Any) -> Any:
        if isinstance(base, ArrayRef) and base.base == CPU and base.offset in self.slots and not is_known(index):
            raise DefinitionError("a register whose number is not known")
        return super().element(base, index)

    def pointer(self, ref: Any) -> str:
        if ref.base == CPU and ref.offset in self.slots and ref.type is not self.guest.state:
            raise DefinitionError("the address of a register")
        if ref.base == CPU and ref.type is not self.guest.state:
            self.guard(ref.offset)
        return super().pointer(ref)

    # Deferred calls.

    @property
    def pending(self) -> tuple[Deferred, ...]:
        """What a way out from here has to make, as far as it is not made already."""
        return () if self.materialised and len(self.deferred) > 1 else tuple(self.deferred)

    def materialise(self) -> None:
        """Make the deferred calls here; they can still be made elsewhere instead."""
        if not self.materialised:
            self.materialised = self.disturbed = True
            self.perform(self.deferred)

    def perform(self, calls: Iterable[Deferred]) -> None:
        for call in calls:
            if call.function is None:
                raise Asked
            before, self.plain, self.natively = (self.plain, self.natively), True, True
            super().inline(call.function, call.args, {})
            self.plain, self.natively = before

    def put_off(self, pending: Iterable[Deferred]) -> bool:
        """Keep in `later` what is put off: one call as it is; of several, all are made. Whether it is still put off."""
        e, waiting = self.e, list(pending)
        if waiting == [self.before]:
            return True
        if len(waiting) == 1 and (number := self.number_of(waiting[0])):
            e.do(f"store i64 {number}, ptr %later")
            for n, value in enumerate(waiting[0].args[1:]):
                kind = llvm_type(value.type if isinstance(value, Scalar) else type(value))
                text = value.text if isinstance(value, Scalar) else self.constant(value)
                wide = text if kind == "i64" else e.op(f"zext {kind} {text} to i64")
                e.do(f"store i64 {wide}, ptr %later.{n}")
            for slot in waiting[0].writes:
                e.do(f"store {slot.type} undef, ptr {slot.name}")
            return True
        if waiting and waiting[0] is self.before:
            self.make_up()
            del waiting[0]
        self.perform(waiting)
        e.do("store i64 0, ptr %later")
        return False

    def number_of(self, call: Deferred) -> int:
        """The number in `later` that stands for this function with arguments of their type. 0: there is none, or it
        does not write all slots (rotations), which whoever finds a number in `later` takes for waiting."""
        types = {value.type if isinstance(value, Scalar) else type(value) for value in call.args[1:]}
        return self.numbers.get((call.function, *types), 0) if call.writes == self.before.writes else 0

    def make_up(self) -> None:
        """Make what `later` tells, if anything."""
        e, more, made = self.e, self.e.new_label("more"), self.e.new_label("made")
        number = e.op("load i64, ptr %later")
        e.branch_if(e.op(f"icmp eq i64 {number}, 0"), made, more)
        e.start(more)
        self.call_make_up(number)
        for slot in sorted(self.before.writes, key=lambda s: s.start):
            self.settle_before_write(slot)
            self.load_slot(slot)
        e.do("store i64 0, ptr %later")
        e.branch(made)
        e.start(made)

    def call_make_up(self, number: str) -> None:
        values = "".join(f", i64 {self.e.op(f'load i64, ptr %later.{n}')}" for n in range(ARGUMENTS))
        place = self.e.op(f"inttoptr i64 {self.told(MAKE_UP)} to ptr")
        self.e.do(f"call void {place}(ptr %cpu, i64 {number}{values})")

    def told(self, n: int | str) -> str:
        """A word of the region's table."""
        place = self.e.op(f"getelementptr i64, ptr @{self.table}, i64 {n}")
        return self.e.op(f"load i64, ptr {place}, !tbaa !1")

    def certain(self) -> bool:
        """Whether what is emitted now is executed whenever the instruction is."""
        return not self.depth and not any(frame.returns for frame in self.frames) and len(self.handlers) == 1

    def inline(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if function in self.guest.instructions.rare:
            self.raise_abandon()
            return None
        if self.natively:
            function = self.instead.get(function, function)
        if function in ACCESSES and (spring := self.pages.spring(args)):
            return self.pages.access(spring, function, args)
        if len(self.deferred) == 1 and not self.plain and not named:
            shortcut = self.guest.shortcuts.get((function, self.deferred[0].function))
            if shortcut:
                if self.natively:
                    shortcut = self.instead.get(shortcut, shortcut)
                return super().inline(shortcut, args + self.deferred[0].args[1:], {})
        if self.plain or named or function not in self.guest.deferred or not self.certain():
            return super().inline(function, args, named)
        writes = self.library.writes(function)
        kept = [d for d in self.deferred if not d.writes <= writes]
        self.deferred = [*kept, Deferred(function, args, writes)]
        self.materialised = False
        self.written |= writes
        self.used |= writes
        return None

    def part_ways(self, s: Any, test: Scalar) -> None:
        """What has been put off waits on both ways, unless one of them asks: then it is made before they part."""
        if self.plain or self.materialised:
            self.apart(super().part_ways, s, test)
            return
        e, frame = self.e, self.frame
        lines, slots, label, names = len(e.lines), len(e.slots), e.label, dict(frame.names)
        local, returns = dict(frame.locals), len(frame.returns)
        loops = [(loop, len(loop.left), len(loop.continued)) for loop in frame.loops]
        deferred, before = self.deferred, self.disturbed
        self.disturbed = False
        self.apart(super().part_ways, s, test)
        if self.disturbed:
            del e.lines[lines:], e.slots[slots:], frame.returns[returns:]
            e.label, e.open, frame.names, frame.locals = label, True, names, local
            for loop, left, continued in loops:
                del loop.left[left:], loop.continued[continued:]
            self.deferred, self.materialised = deferred, False
            self.materialise()
            self.apart(super().part_ways, s, test)
        self.disturbed = self.disturbed or before

    def do_While(self, s: Any) -> None:
        """A loop may ask at any turn, and may have written by then."""
        if not self.plain:
            self.materialise()
            self.deferred = []
        self.pages.lose()
        self.apart(super().do_While, s)
        self.pages.lose()

    def apart(self, lower: Callable[..., None], *what: Any) -> None:
        self.depth += 1
        lower(*what)
        self.depth -= 1

    # Ways out of an instruction.

    def abandon_unless(self, condition: str) -> None:
        if len(self.handlers) > 1:
            super().abandon_unless(condition)
            return
        on = self.e.new_label("on")
        self.e.branch_if(condition, on, self.way_out(), OFTEN)
        self.e.start(on)

    def raise_abandon(self) -> None:
        if len(self.handlers) > 1:
            super().raise_abandon()
        elif self.e.open:
            self.e.branch(self.way_out())

    # Calls of functions that are machine code.

    def call_compiled(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if function in SLOW or function in self.guest.instructions.rare:
            self.raise_abandon()
            return Scalar(u64, "0")
        if self.natively and function in self.instead:
            return self.inline(function, args, named)
        source = source_of(function.__code__)
        given = self.bind(function, source, args, named)
        leaves: list[Any] = []
        pattern = {n: self.flatten(v, function.__annotations__.get(n), leaves) for n, v in given.items()}
        callee, effects = self.library.get(function, pattern)
        if self.library.fields_written(callee.name[1:]) & self.fixed.keys():
            raise DefinitionError("a change of the mode")
        touched = [effects.reads, effects.writes]
        if self.stack and any(text == CPU for _, text in leaves) and any(
                octets is None or octets & self.library.guarded for octets in touched):
            raise DefinitionError("part of the register stack, which is elsewhere")
        kinds = ", ".join(kind for kind, _ in leaves)
        self.unit.declare(f"{result_type(callee)} {callee.name}({kinds}) nounwind")
        whole = any(text == CPU for _, text in leaves)
        reads, writes = (self.touched(effects.reads), self.touched(effects.writes)) if whole else (set(), set())
        if any(slot in d.writes for d in self.deferred for slot in reads | writes):
            self.materialise()
        for slot in sorted(reads | writes, key=lambda s: s.start):
            self.used.add(slot)
            self.store_slot(slot)
        self.mark(GATHER)
        result = self.emit_call(callee, leaves)
        self.pages.forget()
        self.mark(CLEAR)
        if effects.writes is None or effects.writes & self.library.modes:
            self.may_retire = True
            self.e.do("store i1 true, ptr %retired")
        elif INVALIDATIONS in effects.writes:
            now = self.e.op(f"load i64, ptr {super().pointer(Ref(None, CPU, INVALIDATIONS))}")
            self.may_retire = True
            self.e.do(f"store i1 {self.e.op(f'icmp ne i64 {now}, %invalidations')}, ptr %retired")
        for slot in sorted(writes, key=lambda s: s.start):
            self.settle_before_write(slot)
            self.load_slot(slot)
            self.pages.moved(slot)
        return result

    # The host's floating point.

    def mark(self, what: str) -> None:
        """Here the host's flags are added to the guest's, or cleared, if they are used at all (Region.text)."""
        if self.e.open:
            self.e.lines.append(what)

    def float_operation(self, name: str, kind: Any, a: str, b: str) -> str:
        self.refuse_floats()
        return super().float_operation(name, kind, a, b)

    def float_test(self, name: str, kind: Any, a: str, b: str) -> str:
        self.refuse_floats()
        return super().float_test(name, kind, a, b)

    def refuse_floats(self) -> None:
        """Arithmetic that the guest does not have would raise flags that it has."""
        if self.host:
            raise DefinitionError("arithmetic of our own beside the guest's")

    def touched(self, octets: frozenset[int] | None) -> set[Slot]:
        if octets is None:
            return set(self.slots.values())
        return {self.slots[at] for at in octets if at in self.slots}

    def store_slot(self, slot: Slot) -> None:
        """A slot's value goes into the state."""
        kind = slot.type
        value = self.e.op(f"load {kind}, ptr {slot.name}")
        if slot is self.pc:
            value = self.address(value)
        place = super().pointer(Ref(None, CPU, slot.start))
        self.e.do(f"store {kind} {value}, ptr {place}, align {min(slot.size, 8)}, !tbaa !1")

    def load_slot(self, slot: Slot) -> None:
        kind = slot.type
        place = super().pointer(Ref(None, CPU, slot.start))
        value = self.e.op(f"load {kind}, ptr {place}, align {min(slot.size, 8)}, !tbaa !1")
        if slot is self.pc:
            value = self.distance(value)
            self.leads_to(None)
        self.e.do(f"store {kind} {value}, ptr {slot.name}")
