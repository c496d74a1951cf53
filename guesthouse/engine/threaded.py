"""The threaded way: each handler is a machine-code function that ends by jumping to the next one.

A handler takes state, record, and budget left in registers, by LLVM's preserve_none convention, and tail-calls its
successor: nothing is pushed, and nothing returns until there is something that code in a block cannot do: find a block
that the jump cache does not know (LOOKUP), look for exits and interrupts (LEFT), or give up a faulting instruction
(ABANDONED).
"""

from typing import Any

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.cpu import FAULT, NONE, PAGE, TLB_SIZE, TlbEntry
from guesthouse.engine.host import condition_of, flags_of
from guesthouse.engine.op import FALLS, LEAVES, Guest, Handler, Op
from guesthouse.engine.processor import ABANDONED, LEFT, LOOKUP, enter
from guesthouse.typed import Abandon, compare_exchange
from guesthouse.typed.emit import Emitter, Unit
from guesthouse.typed.lower import Lower, compile_function
from guesthouse.typed.machine import has, host_is
from guesthouse.typed.values import Ref, Scalar

# What stencils find in registers (the two masks: MASKS; `tlb` and `stack`: the fields), and in which: on x86-64 the
# fifth of these is in RDI, and an instruction that touches the state is a byte or two shorter by it than by R12, where
# the first is. C functions keep the first four. `more` is for BY_NUMBER alone (stencils.py), and `free` keeps RCX for
# their work.
SIGNATURE = "(ptr %record, i64 %left, i64 %page_mask, i64 %place_mask, ptr %cpu, i64 %tlb, i64 %more, i64 %free, " \
            "i64 %stack)"
TYPES = "(ptr, i64, i64, i64, ptr, i64, i64, i64, i64)"
MASKS = str(-PAGE), str((TLB_SIZE - 1) * TlbEntry.size)  # of an address's page, and of its entry in the address cache
CONDITIONS = "o", "b", "e", "be", "s", "p", "l", "le"  # of the host, as x86 numbers them: each second
HEADER = f"define internal preserve_nonecc i64 {{}}{SIGNATURE} nounwind"


class Handling(Lower):
    """Lowers the bodies of handlers: some functions as others that the host does better."""

    def __init__(self, unit: Unit, emitter: Emitter, guest: Guest) -> None:
        super().__init__(unit, emitter)
        self.hosted = guest.hosted if host_is("x86_64 elf") and has("sahf") else {}  # the first had no LAHF
        self.changed = False  # something that the guest can see
        self.stands = False  # the guest's flags were the host's when they were told last

    def inline(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        return super().inline(self.hosted.get(function, function), args, named)


class Threaded:
    """Writes the handlers of one guest, or a share of them, into a unit."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.unit = Unit(intrinsics={enter: call_handler, flags_of: host_flags, condition_of: host_condition})
        self.emit("@abandon", abandon, end=ABANDONED)
        self.again()

    def addresses(self, numbers: list[int]) -> None:
        """The table `handlersN`, where N is the first: the addresses of handlers @hN, … in this order."""
        addresses = ", ".join(f"ptr @h{n}" for n in numbers)
        self.unit.functions.append(f"@handlers{numbers[0]} = constant [{len(numbers)} x ptr] [{addresses}]")

    def core(self) -> None:
        """What exists once: the run loop and the handlers that stand at the edges of blocks."""
        self.handler("@advance", ADVANCE, branches=True)
        self.emit("@resync", resync, end=LOOKUP)
        lower, state, _, left = self.begin()
        self.dispatch(lower, state, left)
        lower.e.start("abandoned")
        self.tail(lower, "@again", "%record", "%left")
        self.unit.functions.append(lower.e.text(HEADER.format("@dispatch")))
        lower, state, _, left = self.begin()
        link = Scalar(u64, lower.e.op("ptrtoint ptr %record to i64"))
        block = lower.call(self.guest.state.make_link, [state, link, left], {})
        self.go_to(lower, block)
        self.tail(lower, "@again", "%record", block.items[2].text)
        lower.e.start("abandoned")
        self.tail(lower, "@again", "%record", "%left")
        self.unit.functions.append(lower.e.text(HEADER.format("@unlinked")))
        pattern = {"cpu": Ref(self.guest.state, "%a0"), "kinds": tuple(enumerate(kinds_of(self.guest), 1)),
                   "number": Scalar(u64, "%a1")}
        pattern |= {f"value{n}": Scalar(u64, f"%a{n + 2}") for n in range(ARGUMENTS)}
        compile_function(self.unit, make_up, pattern, "@make_up")
        self.unit.functions.append(f"@edges = constant [{len(EDGES)} x ptr] [{', '.join(f'ptr @{e}' for e in EDGES)}]")
        pattern = {"cpu": Ref(self.guest.state, "%a0"), "guest": self.guest}
        compile_function(self.unit, run, pattern, "@run")
        compile_function(self.unit, prepare, pattern | {"pc": Scalar(u64, "%a1")}, "@prepare")
        compile_function(self.unit, redirect, {"cpu": pattern["cpu"], "block": Scalar(u64, "%a1")}, "@redirect")
        compile_function(self.unit, touch, {"address": Scalar(u64, "%a0")}, "@touch")
        for name in self.guest.calls:
            pattern = {"cpu": pattern["cpu"], "method": getattr(self.guest.state, name), "argument": Scalar(u64, "%a1")}
            compile_function(self.unit, call, pattern, f"@call_{name}")

    def begin(self) -> tuple[Lower, Any, Any, Any]:
        lower = Handling(self.unit, Emitter(), self.guest)
        state, record = Ref(self.guest.state, "%cpu"), Ref(self.guest.record, "%record")
        return lower, state, record, Scalar(u64, "%left")

    def emit(self, name: str, body: Any, end: int) -> None:
        """A function with a handler's signature that goes back to the run loop."""
        lower, state, record, left = self.begin()
        lower.call(body, [state, record, left], {})
        lower.e.end(f"ret i64 {end}")
        self.unit.functions.append(lower.e.text(HEADER.format(name)))

    def handler(self, name: str, handler: Handler, branches: bool = False) -> None:
        """One handler: its body, then the way on; the way out if it can be abandoned."""
        lower, state, record, left = self.begin()
        if handler.op.ends != FALLS:
            lower.call(go_on, [state, record], {})
        if handler.op.counts:
            lower.call(count, [state, record, left], {})
        arguments = [record] if branches else [lower.call(b, [state, record], {}) for b in handler.binds]
        lower.call(handler.op.run, [state, *arguments], {})
        if lower.e.open:
            if handler.op.ends == LEAVES:
                lower.e.branch_if(lower.call(goes_on, [state], {}).text, "on", "off")
                lower.e.start("on")
                self.dispatch(lower, state, left)
                lower.e.start("off")
                lower.call(leave, [state, left], {})
                lower.e.end(f"ret i64 {LEFT}")
            elif handler.op.ends == FALLS and not branches:
                following = lower.e.op(f"getelementptr i8, ptr %record, i64 {self.guest.record.size}")
                self.jump(lower, following, "%left")
            else:
                self.dispatch(lower, state, left)
        if lower.raised:
            lower.e.start("abandoned")
            self.tail(lower, "@abandon", "%record", "%left")
        self.unit.functions.append(lower.e.text(HEADER.format(name)))

    def dispatch(self, lower: Lower, state: Any, left: Any) -> None:
        """Go on at state.pc: straight to its block if the jump cache knows it."""
        self.go_to(lower, lower.call(self.guest.state.next_block, [state, left], {}))
        self.tail(lower, "@again", "%record", left.text)

    def go_to(self, lower: Lower, block: Any) -> None:
        """Go on with a block, if it has been found; the way on if it has not is still to be written."""
        found, record, rest = block.items
        known, unknown = lower.e.new_label("known"), lower.e.new_label("unknown")
        lower.e.branch_if(found.text, known, unknown)
        lower.e.start(known)
        self.jump(lower, lower.e.op(f"inttoptr i64 {record.text} to ptr"), rest.text)
        lower.e.start(unknown)

    def again(self) -> None:
        """Where the jump cache does not know the block at state.pc as it is."""
        lower, state, _, left = self.begin()
        self.go_to(lower, lower.call(self.guest.state.block_again, [state, left], {}))
        lower.e.branch("abandoned")
        lower.e.start("abandoned")
        lower.call(leave, [state, left], {})
        lower.e.end(f"ret i64 {LOOKUP}")
        self.unit.functions.append(lower.e.text(HEADER.format("@again")))

    def jump(self, lower: Lower, record: str, left: str) -> None:
        target = lower.e.op(f"load ptr, ptr {record}, !tbaa !1")
        self.tail(lower, target, record, left)

    def pinned(self, lower: Lower) -> tuple[str, ...]:
        """What the next handler is given of what stencils find in registers."""
        return "%page_mask", "%place_mask", *banks(lower, "%cpu", self.guest.state)

    def tail(self, lower: Lower, target: str, record: str, left: str, more: str = "poison") -> None:
        given = arguments("%cpu", record, left, self.pinned(lower), more)
        done = lower.e.op(f"musttail call preserve_nonecc i64 {target}{given}")
        lower.e.end(f"ret i64 {done}")


def host_flags(lower: "Handling", name: str, a: Any, b: Any, carry: Any = None) -> Any:
    """flags_of(). One piece of assembly: LLVM would put others' work between two that look at the same flags."""
    lower.changed, lower.stands = True, carry is not None
    given = a.type if isinstance(a, Scalar) else type(a)
    size = {8: "b", 16: "w", 32: "l", 64: "q"}[given.bits]
    values = [f"i{given.bits} {lower.lift(value, given).text}" for value in (a, b)]
    places = [] if carry is None else [f"ptr elementtype(i8) {lower.e.op(f'inttoptr i64 {carry.text} to ptr')}"]
    changes, first = name == "add", 1 + len(places)
    outputs = ["={ax}", *["=*m"] * len(places), *["=r"] * changes]
    inputs = ["r", str(first)] if changes else ["r", "r"]
    source, to = first + changes, first if changes else first + 1
    result = f"{{ i16, i{given.bits} }}" if changes else "i16"
    tells = ("movb $$0, $1", "movb $$0, %al") if name == "test" else ("setc $1", "seto %al")  # CF and OF
    text = "; ".join([f"{name}{size} ${source}, ${to}", *tells[:len(places)], "lahf", tells[1]])
    constraints = ",".join([*outputs, *inputs, "~{flags}"])
    made = lower.e.op(f'call {result} asm "{text}", "{constraints}"({", ".join([*places, values[1], values[0]])})')
    return Scalar(u16, lower.e.op(f"extractvalue {result} {made}, 0") if changes else made)


def host_condition(lower: "Handling", number: int, flags: Any) -> Any:
    """condition_of(): OF comes back by an addition that overflows if it was one, and the others by SAHF."""
    told = lower.e.op(f'call {{ i16, i8 }} asm "addb $$127, %al; sahf", "={{ax}},={{@cc{CONDITIONS[number // 2]}}},0,'
                      f'~{{flags}}"(i16 {flags.text})')
    holds = lower.e.op(f"extractvalue {{ i16, i8 }} {told}, 1")
    return Scalar(bool, lower.e.op(f"icmp ne i8 {holds}, 0"))


def host_standing(lower: "Handling", number: int) -> Any:
    """standing(). Assembly without an instruction, which LLVM takes for what has left the flags."""
    holds = lower.e.op(f'call i8 asm sideeffect "", "={{@cc{CONDITIONS[number // 2]}}},~{{flags}}"()')
    return Scalar(bool, lower.e.op(f"icmp ne i8 {holds}, 0"))


def call_handler(lower: Lower, cpu: Any, record: Any, left: Any) -> Any:
    """enter(): the one place where ordinary code calls a handler."""
    place = lower.e.op(f"inttoptr i64 {record.text} to ptr")
    target = lower.e.op(f"load ptr, ptr {place}, !tbaa !1")
    state = lower.pointer(cpu)
    given = arguments(state, place, left.text, (*MASKS, *banks(lower, state, cpu.type)))
    return Scalar(u64, lower.e.op(f"call preserve_nonecc i64 {target}{given}"))


def arguments(cpu: str, record: str, left: str, pinned: tuple[str, ...], more: str = "poison") -> str:
    """What a handler is given, in the order of SIGNATURE."""
    pages, places, tlb, stack = pinned
    return f"(ptr {record}, i64 {left}, i64 {pages}, i64 {places}, ptr {cpu}, i64 {tlb}, i64 {more}, i64 poison, " \
           f"i64 {stack})"


def banks(lower: Lower, cpu: str, state: Any) -> tuple[str, str]:
    """Where the address cache's bank is, and the stack's entry."""
    return word_of(lower, cpu, state, "tlb"), word_of(lower, cpu, state, "stack")


def word_of(lower: Lower, cpu: str, state: Any, name: str, kind: str = "i64") -> str:
    """A field of the state, at its address in `cpu`."""
    place = lower.e.op(f"getelementptr i8, ptr {cpu}, i64 {state.offset(name)}")
    return lower.e.op(f"load {kind}, ptr {place}, !tbaa !1")


EDGES = ("advance", "resync", "dispatch", "make_up", "again", "unlinked")  # handlers that no instruction has
ARGUMENTS = 4  # of a deferred function, at most


def kinds_of(guest: Guest) -> list[tuple[Any, Any]]:
    """The deferred functions of a guest, each with the types that its arguments can have, all the same."""
    return [(function, kind) for function in guest.deferred for kind in (u8, u16, u32, u64)]


def make_up(cpu, kinds, number, value0, value1, value2, value3) -> None:
    """Call a deferred function, which the number tells (kinds_of, from 1 on)."""
    for n, (function, kind) in kinds:
        if number == n:
            count = function.__code__.co_argcount - 1
            if count == 1:
                function(cpu, kind(value0))
            elif count == 2:
                function(cpu, kind(value0), kind(value1))
            elif count == 3:
                function(cpu, kind(value0), kind(value1), kind(value2))
            else:
                assert count == 4
                function(cpu, kind(value0), kind(value1), kind(value2), kind(value3))


# What handlers do besides their bodies, in typed Python. `cpu.start` is the pc of the block's first instruction.


def run(cpu, guest):
    """The entry for Python."""
    cpu.run(guest)


def prepare(cpu, guest, pc) -> None:
    """Have the block at pc decoded, in a page that the address cache has for execution."""
    host = cpu.fetch(pc)
    if cpu.known(pc, host) == 0:
        cpu.build(guest, pc, host)


def redirect(cpu, block) -> None:
    """The first record of a block has got another handler."""
    cpu.redirect(block)


def touch(address) -> None:
    """A store that changes nothing, whoever else writes there (room.py)."""
    compare_exchange(u64, address, u64(0), u64(0))


def call(cpu, method, argument) -> None:
    """The entry for a method that the board calls."""
    try:
        method(cpu, argument)
    except Abandon:
        if cpu.exit == FAULT:
            cpu.exit = u64(NONE)
            cpu.deliver()


def go_on(cpu, record) -> None:
    """An instruction that ends its block begins with pc behind it."""
    cpu.pc = cpu.start + u64(record.after)


def count(cpu, record, left) -> None:
    """The exact budget for an instruction that asks for the time: what its block has not yet executed is given back."""
    cpu.left = left + u64(record.left)


def goes_on(cpu):
    """Whether nobody would do anything between this instruction and the next."""
    return (cpu.exit | cpu.replies_known | cpu.parallel == 0) & cpu.quiet()


def leave(cpu, left) -> None:
    cpu.left = left


def abandon(cpu, record, left) -> None:
    """As if this instruction had not begun."""
    cpu.pc = cpu.start + u64(record.after) - u64(record.length)
    cpu.left = left + u64(record.left)


resync = abandon


def advance(cpu, record) -> None:
    """The end of a block that did not branch."""
    cpu.pc = cpu.start + u64(record.after)


ADVANCE = Handler("advance", Op("advance", advance, ends=FALLS))
