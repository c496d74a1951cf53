"""The quick compiler's patterns: each handler once more, as machine code with holes, to be copied into blocks.

Copy-and-patch (Xu and Kjolstad, "Copy-and-Patch Compilation", OOPSLA 2021): LLVM compiles a body for operands that it
takes for the addresses of symbols that nobody defines, and leaves a relocation for each place where one is needed
(System V ABI, AMD64 supplement, 4.4). A block that is met again is put together from copies (stitching.py). What a
processor pays for a handler, an indirect jump that the host foresees badly and loads from the record, is gone.

A stencil is the fast path alone. A page that the address cache does not have, a function that is machine code of its
own, an exception: it goes to the handler, as before this instruction. For that nothing may have changed yet: bodies
change nothing before their last access that can fault, and of other calls it is looked at here. What follows from the
mode (Guest.dialects) is constant.

Not here: operations that need the exact budget or look at exits, and bodies whose code needs data of its own: their
records keep their handlers. Hosts other than x86-64 with ELF objects have no stencils.
"""

import ast
import ctypes
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.cpu import ALL_32, SLOW, Cpu
from guesthouse.engine.host import condition_of, flags_of, standing
from guesthouse.engine.op import FALLS, LEAVES, Guest, Handler
from guesthouse.engine.stitching import (
    ASIDE, AT, BY_ADDRESS, BY_HANDLER, BY_NUMBER, BY_NUMBER_IS, BY_RECORD, BY_RECORD_IS, CODE, CONTEXT, COUNT, FIELD_8,
    FIELD_32, FIELD_64, IN_CONTEXT, LAND, LANDING, LANDING_FAR, LOOK_AGAIN, NEAR, NEXT, NUMBER, RECORD,
    TO_HANDLER, TO_LINK, UNMADE, Hole, Stencil, Stitching,
)
from guesthouse.engine.threaded import (
    ADVANCE, SIGNATURE, TYPES, Handling, Threaded, go_on, host_condition, host_flags, host_standing, word_of,
)
from guesthouse.engine.tight import KIND, TIGHT, TIGHTEST, still, tight
from guesthouse.errors import DefinitionError
from guesthouse.typed.elf import R_8, R_32, R_32S, R_64, R_PC32, R_PLT32, Function, Relocation, functions
from guesthouse.typed.emit import HOUSE, OFTEN, Emitter, Unit
from guesthouse.typed.intrinsics import difference, opaque
from guesthouse.typed.lower import Lower
from guesthouse.typed.machine import assemble_static
from guesthouse.typed.struct import ScalarKind, kind_of
from guesthouse.typed.values import Made, PointerTo, Ref, Scalar, is_known

HOLE = "%hole."
OF_LINKS = {"unmade": UNMADE, "count": COUNT, "code": CODE, "at": AT, "context": CONTEXT}
ELSEWHERE = 2  # in %way: pc has been stored
ON_STACK = {Cpu.entry: Cpu.stack_entry, Cpu.page: Cpu.stack_page}
JMP, NOP = 0xE9, b"\x90"
STANDING, STANDS = ".standing", "; the host's flags stand: "
BRANCH = re.compile(rb"[\x70-\x7F]|\x0F[\x80-\x8F]")  # Jcc, short or near
OURS = {"next": NEXT, "aside": ASIDE, "record": RECORD, "number": NUMBER, "land": LAND, "by_record": BY_RECORD_IS,
        "by_number": BY_NUMBER_IS}
TAKES = dict.fromkeys((NEXT, ASIDE, UNMADE, CODE, BY_RECORD_IS, BY_NUMBER_IS), (R_PC32, R_PLT32)) | {AT: (R_64,)} | \
    dict.fromkeys((RECORD, NUMBER, CONTEXT, LAND), (R_32, R_32S)) | {COUNT: (R_8,)}  # for which relocations
FIELDS = {R_8: u8(FIELD_8), R_32: u8(FIELD_32), R_32S: u8(FIELD_32), R_64: u8(FIELD_64)}


def settled(guest: Guest, mask: int, value: int) -> dict[str, int]:
    """The fields of the state that follow from what a dialect's modes have in common."""
    others = guest.settled(value | ~mask & 0xFFFF)
    return {name: number for name, number in guest.settled(value).items() if others[name] == number}


class Fast(Handling):
    """Lowers a body's fast path; what is not is the block `handler`. A value for pc that is a known distance from where
    the block starts is not stored: the number of its link is, in %way."""

    def __init__(self, unit: Unit, guest: Guest, fixed: dict[int, int]) -> None:
        super().__init__(unit, Emitter(), guest)
        self.fixed, self.slow = fixed, (*SLOW, *guest.instructions.rare)
        self.pc, self.start = guest.state.offset("pc"), guest.state.offset("start")
        self.pinned = {guest.state.offset(name): f"%{name}" for name in ("tlb", "stack")}
        self.leaves = self.stored = False
        self.starts: set[str] = set()
        self.distances: dict[str, str] = {}  # by values: the fields of the record that tell them
        self.cut: set[str] = set()  # those whose addresses are cut to 32 bits
        self.links: list[str] = []
        self.called_at: Any = None  # where the stack has the address that a call, or a return, is about
        self.returned_at: Any = None
        self.stacked = guest.stacked.addresses  # what tells addresses on the stack, and those that it has told
        self.on_stack: set[str] = set()
        self.standing: dict[Any, Any] = {}  # what is lowered as what, if the host's flags stand
        self.looks = 0  # how often that was; more than once, if anything has been done before

    def call(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if function is Stitching.note_call:
            self.called_at = args[1]
        elif function is Stitching.note_return:
            self.returned_at = args[1]
        else:
            return super().call(function, args, named)

    def read(self, kind: Any, place: Any, tag: str = HOUSE, align: int = 0) -> Any:
        if place.base != "%cpu":
            return super().read(kind, place, tag, align)
        if place.offset in self.fixed and isinstance(kind, ScalarKind):
            return kind.type(self.fixed[place.offset])
        if place.offset == self.pc and self.links:
            if len(self.links) > 1 or self.stored:
                raise DefinitionError("one of several values of pc")
            return self.target(self.links[0])
        if place.offset in self.pinned:
            return PointerTo(kind.spec, self.pinned[place.offset])
        value = super().read(kind, place, tag, align)
        if place.offset == self.start:
            self.starts.add(value.text)
        return value

    def move_on(self, field: str) -> None:
        """`start` becomes the address at this distance from where the block starts, by one instruction: LLVM would
        fetch it long before, and put it back here."""
        bits, size, name = (32, "l", f"cut.{field}") if field in self.cut else (64, "q", field)
        place = f"ptr elementtype(i{bits}) {self.e.op(f'getelementptr i8, ptr %cpu, i64 {self.start}')}"
        self.e.do(f'call void asm sideeffect "add{size} $1, $0", "=*m,i,*m,~{{flags}}"'
                  f"({place}, i64 ptrtoint (ptr @hole.{name} to i64), {place})")

    def target(self, field: str) -> Scalar:
        """The address at a distance from where the block starts."""
        start = super().read(kind_of(u64), Ref(None, "%cpu", self.start))
        address = self.e.op(f"add i64 {start.text}, {HOLE}{field}")
        return Scalar(u64, self.e.op(f"and i64 {address}, {ALL_32}") if field in self.cut else address)

    def binary(self, node: ast.AST, op: ast.operator, a: Any, b: Any) -> Any:
        value = super().binary(node, op, a, b)
        if isinstance(op, ast.Add) and isinstance(a, Scalar) and a.text in self.starts and isinstance(b, Scalar):
            if b.text.startswith(HOLE):
                self.distances[value.text] = b.text.removeprefix(HOLE)
        if isinstance(op, ast.BitAnd) and isinstance(a, Scalar) and a.text in self.distances and is_known(b):
            if int(b) == ALL_32:
                self.distances[value.text] = self.distances[a.text]
                self.cut.add(self.distances[a.text])
        return value

    def write(self, kind: Any, place: Any, value: Any, tag: str = HOUSE, align: int = 0) -> None:
        if place.base == "%cpu" and (place.offset in self.fixed or place.offset in self.pinned):
            raise DefinitionError("a change of the mode, or of who is looked for in the address cache")
        self.changed = self.changed or self.e.open
        if place.base == "%cpu" and place.offset == self.pc:
            field = self.distances.get(value.text)
            if field is not None:
                self.links += [field] if field not in self.links else []
                self.e.do(f"store i64 {self.links.index(field)}, ptr %way")
                return
            self.stored = True
            self.e.do(f"store i64 {ELSEWHERE}, ptr %way")
        super().write(kind, place, value, tag, align)

    def inline(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if function in self.slow:
            self.raise_abandon()
            return None
        if function in ON_STACK and args[-1].text in self.on_stack:
            function = ON_STACK[function]
        if function in self.standing:
            self.looks += 2 if self.leaves or self.changed else 1
        value = super().inline(self.standing.get(function, function), args, named)
        if function in self.stacked:
            self.on_stack.add(value.text)
        return value

    def call_compiled(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if self.e.open and self.changed and function not in self.slow:
            raise DefinitionError("something has changed before this call")
        self.raise_abandon()
        return Scalar(u64, "0")

    def abandon_unless(self, condition: str) -> None:
        if len(self.handlers) > 1:
            super().abandon_unless(condition)
        elif self.e.open:
            on, self.leaves = self.e.new_label("on"), True
            self.e.branch_if(condition, on, "handler", OFTEN)
            self.e.start(on)

    def raise_abandon(self) -> None:
        if len(self.handlers) > 1:
            super().raise_abandon()
        elif self.e.open:
            self.leaves = True
            self.e.branch("handler")


class Stencils(Threaded):
    """Writes the stencils of some handlers into a unit."""

    def __init__(self, guest: Guest, mask: int, value: int) -> None:
        self.guest, self.known = guest, {}
        self.unit = Unit(intrinsics={flags_of: host_flags, condition_of: host_condition, standing: host_standing})
        self.fixed = {guest.state.offset(name): number for name, number in settled(guest, mask, value).items()}
        for name, what in guest.record.fields.items():
            bits = 8 * what.kind.size
            self.hole(name, *((-1 << 31, 1 << 31) if bits == 64 else (0, 1 << bits)))
            self.hole(f"cut.{name}", 0, 1 << 32)
        for name in ("record", "number", "land"):
            self.hole(name, 0, 1 << 31)
        for name in ("next", "aside", "by_record"):
            self.unit.declare(f"preserve_nonecc i64 @{name}{TYPES}")

    def pinned(self, lower: Lower) -> tuple[str, ...]:
        return "%page_mask", "%place_mask", "%tlb", "%stack"

    def hole(self, name: str, low: int, high: int) -> None:
        """A symbol whose address will be a value from `low` to below `high`, as LLVM is told."""
        self.unit.define(f"@hole.{name} = external global i8, !absolute_symbol !{{i64 {low}, i64 {high}}}")

    def begin(self) -> tuple[Fast, Any, Any, Any]:
        lower = Fast(self.unit, self.guest, self.fixed)
        if self.known.keys() > {field for field, _ in self.guest.usual}:
            lower.stacked = (*lower.stacked, self.guest.stacked.operand)
        fields = {name: Scalar(u64, HOLE + name) for name in self.guest.record.fields} | self.known
        for name in (*self.guest.record.fields, "record", "number"):
            lower.e.slots.append(f"  {HOLE}{name} = add i64 ptrtoint (ptr @hole.{name} to i64), 0")
        return lower, Ref(self.guest.state, "%cpu"), Made(self.guest.record, fields), Scalar(u64, "%left")

    def handler(self, name: str, handler: Handler, branches: bool = False) -> None:
        """A handler's stencils, if there can be one that does anything: for a branch to blocks in its own page, and in
        others; for operands as they come, as they mostly are (Guest.usual), and on the stack."""
        if handler.op.ends != LEAVES and not handler.op.counts and (text := self.stencil(name, handler, branches)):
            ways = choices(re.findall(r"@code\.(\w+)", text))
            for far in ways:
                self.stencil(f"{name}.far.{'.'.join(far)}", handler, branches, far)
            for far in ((), *ways) if ways and self.guest.standing else ():
                end = f".far.{'.'.join(far)}" if far else ""
                self.stencil(f"{name}{STANDING}{end}", handler, branches, far, standing=True)
            if any(text.count(f"{HOLE}{field}") > 1 for field, _ in self.guest.usual):
                self.known = {field: u64(value) for field, value in self.guest.usual}
                self.stencil(f"{name}.usual", handler, branches)
                self.known |= {field: u64(value) for field, value in self.guest.stacked.fields}
                self.stencil(f"{name}.on_stack", handler, branches)
                self.known = {}

    def stencil(self, name: str, handler: Handler, branches: bool, far: Sequence[str] = (),
                standing: bool = False) -> str:
        """Write one, and return its text; none if there cannot be one. `far`: the links that may lead to another
        page. `standing`: for a branch that asks for the host's flags as they stand, and for nothing else."""
        lower, state, record, left = self.begin()
        lower.standing = self.guest.standing if standing else {}
        lower.e.slots.append("  %way = alloca i64")
        try:
            if handler.op.ends != FALLS:
                lower.call(go_on, [state, record], {})
                lower.changed = False  # handlers begin with this, too
            arguments = [record] if branches else [lower.call(b, [state, record], {}) for b in handler.binds]
            lower.call(handler.op.run, [state, *arguments], {})
        except DefinitionError:
            return ""
        if not lower.e.open or standing and lower.looks != 1:
            return ""
        if handler.op.ends == FALLS and not branches:
            self.tail(lower, "@next", "poison", "%left")
        else:
            self.part(lower, state, left, far)
        if lower.leaves:
            lower.e.start("handler")
            self.tail(lower, "@aside", "poison", "%left")
        return self.add(name, lower)

    def part(self, lower: Fast, state: Any, left: Any, far: Sequence[str]) -> None:
        """Go on with the next block."""
        e, plain = lower.e, self.plainly(lower)
        if lower.called_at is not None:
            landing = Scalar(u64, "ptrtoint (ptr @hole.land to i64)")
            plain.call(self.guest.state.promise, [state, lower.called_at, lower.target("after"), landing], {})
        cases = " ".join(f"i64 {n}, label %link{n}" for n in range(len(lower.links)))
        e.end(f"switch i64 {e.op('load i64, ptr %way')}, label %elsewhere [ {cases} ]")
        for n, field in enumerate(lower.links):
            e.start(f"link{n}")
            lower.move_on(field)
            self.by_link(lower, plain, state, left, field, BY_ADDRESS if field in far else NEAR)
        e.start("elsewhere")
        if lower.returned_at is not None:
            kept, code = plain.call(self.guest.state.promised, [state, lower.returned_at], {}).items
            e.branch_if(kept.text, "kept", "broken", OFTEN)
            e.start("kept")
            self.tail(lower, e.op(f"inttoptr i64 {code.text} to ptr"), "poison", "%left")
            e.start("broken")
        elif lower.stored:
            self.go_to(plain, plain.call(self.guest.state.next_known, [state, left], {}))
        e.branch("again")
        self.look_again(lower)

    def plainly(self, lower: Lower) -> Lower:
        """For what is no instruction's body, with look_again() at its end."""
        plain = Lower(self.unit, lower.e)
        plain.handlers = ["again"]
        return plain

    def look_again(self, lower: Lower) -> None:
        """The block at pc is not known, as far as one sees."""
        lower.e.start("again")
        self.tail(lower, self.word(lower, "again"), "poison", "%left")

    def by_link(self, lower: Lower, plain: Lower, state: Any, left: Any, field: str, reach: int) -> None:
        """Go to the block at `start`, by a link of that name if it is made."""
        e = lower.e
        count = self.told_later(f"count.{field}", 1 << 7)
        rest, below = difference(lower, left.text, count)
        short = Scalar(bool, below)
        rest = e.op(opaque(rest))  # else LLVM does the subtraction once more on each way
        at, context = Scalar(u64, "0"), Scalar(u32, "0")
        if reach == BY_ADDRESS:  # 64 bits, in a register: LLVM would take it for an address that has 32
            self.hole(f"at.{field}", -1, -1)
            at = Scalar(u64, e.op(opaque(f"ptrtoint (ptr @hole.at.{field} to i64)")))
        if reach != NEAR:
            context = Scalar(u32, f"trunc (i64 {self.told_later(f'context.{field}', 1 << 32)} to i32)")
        found = plain.call(self.guest.state.follow, [state, short, at, context, reach], {})
        e.branch_if(found.text, f"made.{field}", f"not.made.{field}", OFTEN)
        for name, start in (("code", "made"), ("unmade", "not.made")):
            e.start(f"{start}.{field}")
            self.unit.declare(f"preserve_nonecc i64 @{name}.{field}{TYPES}")
            self.tail(lower, f"@{name}.{field}", "poison", rest)

    def told_later(self, name: str, limit: int) -> str:
        """A number below the limit that is known when a link is made."""
        self.hole(name, 0, limit)
        return f"ptrtoint (ptr @hole.{name} to i64)"

    def core(self) -> None:
        """Those that are no instruction's."""
        count = len(self.guest.handlers)
        self.handler(f"@h{count}", ADVANCE, branches=True)
        for n, reach in ((LANDING, IN_CONTEXT), (LANDING_FAR, BY_ADDRESS)):
            lower, state, _, left = self.begin()
            plain = self.plainly(lower)
            plain.call(start_at_pc, [state], {})
            self.by_link(lower, plain, state, left, "landing", reach)
            self.add(f"@h{count + n}", lower)
        for n in (BY_HANDLER, TO_HANDLER, TO_LINK, BY_RECORD, BY_NUMBER, LOOK_AGAIN):
            lower, state, *_ = self.begin()
            if n == BY_NUMBER:  # perhaps because it is in another page
                self.plainly(lower).call(self.guest.state.find_stack, [state], {})
            self.go(n, lower)
            self.add(f"@h{count + n}", lower)

    def go(self, n: int, lower: Lower) -> None:
        """To somewhere else. Records are told by their distance from the first."""
        record, number = f"inttoptr (i64 {self.told_later('record', 1 << 31)} to ptr)", f"{HOLE}number"
        whole = lower.e.op(f"getelementptr i8, ptr {self.word(lower, 'room_start')}, i64 "
                           f"{lower.e.op('ptrtoint ptr %record to i64')}")
        if n == BY_HANDLER:
            self.tail(lower, "@by_record", record, "%left")
        elif n == TO_HANDLER:
            self.unit.declare(f"preserve_nonecc i64 @by_number{TYPES}")
            self.tail(lower, "@by_number", record, "%left", number)
        elif n == TO_LINK:
            number = lower.e.op(f"inttoptr i64 {number} to ptr")
            self.tail(lower, self.word(lower, "unlinked"), number, "%left")
        elif n == LOOK_AGAIN:
            self.tail(lower, self.word(lower, "again"), "poison", "%left")
        else:
            table = self.word(lower, "handlers")
            place = lower.e.op(f"getelementptr ptr, ptr {table}, i64 %more") if n == BY_NUMBER else whole
            self.tail(lower, lower.e.op(f"load ptr, ptr {place}, !tbaa !1"), whole, "%left")

    def word(self, lower: Lower, name: str) -> str:
        """A pointer in the state."""
        return word_of(lower, "%cpu", self.guest.state, name, "ptr")

    def add(self, name: str, lower: Lower) -> str:
        # optsize: a branch to where a jump aside is all that follows becomes that jump: slow paths take no room.
        text = lower.e.text(f"define preserve_nonecc i64 {name}{SIGNATURE} nounwind optsize")
        self.unit.functions.append(text + (f"\n{STANDS}{name[1:]}" if lower.stands else ""))
        return text


def start_at_pc(cpu):
    cpu.start = cpu.pc


def choices(links: Iterable[str]) -> list[tuple[str, ...]]:
    """Some of these links, or all: in the order of Stencil.far."""
    names = sorted(set(links))
    return [tuple(one for k, one in enumerate(names) if n >> k & 1) for n in range(1, 1 << len(names))]


@dataclass
class Finished:
    """A stencil, as it goes into the table."""

    code: bytes
    holes: list[Hole]
    narrow: int
    links: list[str]  # the fields that tell how far they lead
    stands: bool = False


def patterns(text: str) -> bytes:
    """The functions of a module, with their tight kinds, and whether they leave the guest's flags in the host's."""
    octets, assembly = assemble_static(text)
    stand = set(re.findall(f"^{STANDS}(.*)", text, re.MULTILINE)) & still(assembly)
    return json.dumps([(f.name, f.code.hex(), [astuple(r) for r in f.relocations], KIND.sub("", f.name) in stand)
                       for f in (*functions(octets), *tight(assembly))]).encode()


def table(guest: Guest, parts: Iterable[bytes]) -> bytes:
    """What Dialect.table leads to: a Stencil for each number, those to be taken instead, then holes and code."""
    found = {}
    for name, code, relocations, stands in (told for part in parts for told in json.loads(part)):
        if made := finished(guest, Function(name, bytes.fromhex(code), tuple(Relocation(*r) for r in relocations))):
            found[name] = replace(made, stands=stands)
    handlers = {f"h{n}" for n in range(len(guest.handlers) + 1)}
    for name in [n for n, made in found.items() if n in handlers and
                 any(f"{n}.far.{'.'.join(far)}" not in found for far in choices(made.links))]:
        del found[name]
    names = [f"h{n}" for n in range(len(guest.handlers) + LOOK_AGAIN + 1)]
    names += [name for name in found if "." in name]
    place = {name: n for n, name in enumerate(names)}
    heads, holes, codes = ctypes.create_string_buffer(len(names) * Stencil.size), b"", b""
    code_at = len(heads) + Hole.size * sum(len(made.holes) for made in found.values())
    for number, name in enumerate(names):
        if made := found.get(name):
            head = Stencil.at(ctypes.addressof(heads) + number * Stencil.size)
            head.code, head.holes = u32(code_at + len(codes)), u32(len(heads) + len(holes))
            head.length, head.count, head.narrow = u16(len(made.code)), u16(len(made.holes)), u16(made.narrow)
            head.slow = u8(any(int(one.kind) == ASIDE for one in made.holes))
            head.stays = u8(number in (len(guest.handlers) + BY_HANDLER, len(guest.handlers) + TO_HANDLER) or
                            STANDING in name)  # whoever comes from elsewhere has other flags
            head.stands, head.standing = u8(made.stands), u16(place.get(f"{name}{STANDING}", 0))
            head.links, head.usual = u8(len(made.links)), u16(place.get(f"{name}.usual", 0))
            head.on_stack = u16(place.get(f"{name}.on_stack", 0))
            for n, kind in enumerate((TIGHTEST, TIGHT)):
                head.tight[n] = u16(place.get(f"{name}.{kind}", 0))
            for n, far in enumerate(choices(made.links)):
                head.far[n] = u16(place.get(f"{name}.far.{'.'.join(far)}", 0))
            head.lands = u8(any(int(one.kind) == LAND for one in made.holes))
            for n, field in enumerate(guest.record.fields[link] for link in made.links if link != "landing"):
                head.link_place[n], head.link_octets[n] = u8(field.offset), u8(field.kind.size)
            holes += b"".join(ctypes.string_at(one.where, Hole.size) for one in made.holes)
            codes += made.code
    return heads.raw + holes + codes


def finished(guest: Guest, function: Function) -> Finished | None:
    """A stencil's code and holes; None if it needs more than can be filled in."""
    code, relocations = function.code, function.relocations
    if STANDING in function.name and not BRANCH.match(code):
        return None
    if relocations and relocations[-1].symbol == "next" and code[-5] == JMP and relocations[-1].at == len(code) - 4:
        code, relocations = code[:-5] or NOP, relocations[:-1]  # the next copy stands there
    links = sorted({r.symbol.removeprefix("code.") for r in relocations if r.symbol.startswith("code.")})
    made = [hole_of(guest, relocation, links) for relocation in relocations]
    holes = [one for one in made if one is not None]
    if len(holes) < len(made):
        return None
    narrow = [one for one, r in zip(holes, relocations, strict=True)
              if int(one.kind) == FIELD_8 or r.kind == R_32S and int(one.octets) == 8]
    return Finished(code, narrow + [one for one in holes if one not in narrow], len(narrow), links)


def hole_of(guest: Guest, relocation: Relocation, links: list[str]) -> Hole | None:
    """What has to be filled in for a relocation; None if nobody knows."""
    made, name = Hole.new(), relocation.symbol.removeprefix("hole.")
    made.place, made.addend = u16(relocation.at), u64(relocation.addend & (1 << 64) - 1)
    known = OURS | {f"{what}.{field}": kind + n for n, field in enumerate(links) for what, kind in OF_LINKS.items()}
    kind, cut = known.get(name), name.startswith("cut.")
    name = name.removeprefix("cut.")
    if kind is not None and relocation.kind in TAKES.get(kind, TAKES.get(kind & ~1, ())):
        made.kind = u8(kind)
    elif relocation.kind in FIELDS and name in guest.record.fields:
        field = guest.record.fields[name]
        if relocation.kind == R_32 and field.kind.size == 8 and not cut:
            return None  # without a sign
        made.kind, made.field, made.octets = FIELDS[relocation.kind], u8(field.offset), u8(field.kind.size)
    else:
        return None
    return made
