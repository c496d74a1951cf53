"""The pages that a region has met: an access to the page of the one before it does without the address cache.

A loop goes through memory page by page, and a function's variables lie in one. So what goes a little way on with each
turn of a loop has a cell, which holds the page last found, where that is in the host, and how far into it an access may
begin; and some registers (Guest.pages) have them always, one for each place that writes them. What the address cache
holds changes only outside of regions, and where FORGET stands.

Accesses of one block to known distances from one sum of registers (Guest.bases) are a group: the first asks its cell,
for all of them, or the address cache, and whether all that the group touches is in one page, which the others only look
at. One to bytes that the first has had asks nothing; nor does one to its page, where the address is known but for the
region's origin.

What goes on with a loop, and how far a group reaches, is known when all blocks have been lowered. So marks stand in the
text for each group, and what they mean is put in then.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guesthouse.bits import u32, u64, unlikely
from guesthouse.engine.cpu import PAGE, PAGE_BITS, READ, TLB_SIZE, WRITE, Cpu, TlbEntry
from guesthouse.engine.processor import PAGE_MASK
from guesthouse.typed import Abandon, Pointer, load, store
from guesthouse.typed.emit import OFTEN
from guesthouse.typed.intrinsics import opaque
from guesthouse.typed.struct import signed
from guesthouse.typed.values import Scalar, is_known

if TYPE_CHECKING:
    from guesthouse.engine.hot.lowered import Lowered

FORGET = "; the pages are forgotten"
CELLS = 24  # of a region, at most: each is emptied at the way in
NONE = -1  # where a page stands: no access has it
PAGE_AT, HOST_AT, ROOM = range(3)  # the words of a cell; nothing begins before ROOM where that is 0
TURN = PAGE // 32  # bytes that one turn of a loop may go on: else a host that foresees branches would seldom be right
NUMERAL = re.compile(r"-?\d+")
NEAR = PAGE // 2  # bytes of a group, at most
EXACT, CUT, BEYOND = range(3)  # a sum of 64 bits; one cut to 32 bits; a sum of that, which is like no other
ENTRY: Any = Pointer[TlbEntry]
ACCESSES = {Cpu.load: READ, Cpu.load_to_change: WRITE, Cpu.store: WRITE}


@dataclass(frozen=True)
class Page:
    """A page that is known: so far from the region's origin, or (`known`) in itself."""

    at: int
    known: bool


@dataclass(frozen=True)
class Spring:
    """Where a value comes from: a register, as some place wrote it, or has gone on from that; and how far it is from a
    sum of values that were there, one or two, each shifted to the left by so many bits; none: that is not known. A page
    that is known is such a value, too, and from no register, until one has it."""

    register: Any
    value: tuple[tuple[Any, int], ...]
    distance: int = 0
    form: int = EXACT

    @property
    def single(self) -> bool:
        """Whether it is one value, and no sum."""
        return len(self.value) == 1

    @property
    def lies(self) -> bool:
        """Whether it is so far into a page that is known."""
        return len(self.value) == 1 and isinstance(self.value[0][0], Page) and self.value[0][1] == 0

    def further(self, distance: int) -> "Spring":
        return replace(self, distance=signed(self.distance + distance), form=BEYOND if self.form else EXACT)


@dataclass
class Group:
    """`first` is where the first access is, from the value that others tell, and `va` its address; it has looked at all
    from `start` up to below `end`; all of the group are from `low` up to below `high`. In the text, `base` is where the
    first access is in the host, `near` whether all others are where they should be then; `other` is where the address
    cache is asked. `page` and `addend` are what that has told, and `ways` the blocks that lead to `same`, where both
    meet."""

    number: int
    block: int
    spring: Spring
    access: int
    first: int
    va: str
    start: int
    end: int
    low: int
    high: int
    same: str
    other: str
    page: str = ""
    addend: str = ""
    ways: tuple[str, str] = ("", "")
    several: bool = False
    cell: int | None = None
    aligned: bool = False

    @property
    def base(self) -> str:
        return f"%base{self.number}"

    @property
    def near(self) -> str:
        return f"%near{self.number}"

    @property
    def asked(self) -> str:
        return f"%asked{self.number}"


class Pages:
    """Those of one region."""

    def __init__(self, lower: "Lowered") -> None:
        self.lower = lower
        self.cells: dict[Any, int] = {}
        self.reach: list[int] = []  # of cells: bytes of the largest group; 0: of one access, which is aligned
        self.springs: dict[str, Spring] = {}  # of values
        self.held: dict[Any, Spring] = {}  # of what registers hold that have been written in the running block
        self.groups: dict[Any, Group] = {}  # of the running block
        self.marks: dict[str, tuple[Callable[[Group], None], Group]] = {}
        self.steps: dict[tuple[int, Any], int | None] = {}  # how far blocks move registers; None: that is not known
        self.at: Any = None
        self.unknown = 0  # values that are not known, so far

    def begin(self, at: tuple[int, int]) -> None:
        """The next instruction; its place in the region."""
        self.at = at
        if at[1] == 0:
            self.held.clear()
            self.groups = {}

    def read(self, slot: Any, value: Scalar, half: bool) -> None:
        """A register has been read, or the low half of one."""
        spring = self.held.get(slot)
        if spring is None and slot.start in self.lower.guest.bases:
            spring = Spring((slot, None), (((slot, None), 0),))
        if spring:
            self.springs[value.text] = replace(spring, form=CUT) if half else spring

    def wrote(self, slot: Any, value: Any, whole: bool) -> None:
        """`whole`: the register has this value, and whatever way was taken."""
        spring, here = self.of(value), (slot, self.at)
        self.moved(slot, spring if whole else None)
        if spring is None and slot.start in self.lower.guest.bases and (spring := self.known(value)):
            spring = replace(spring, register=here)
        if not whole:
            self.unknown += 1
            self.held[slot] = Spring(here, ((self.unknown, 0),))
        elif spring:
            self.held[slot] = spring if spring.value else replace(spring, value=((here, 0),), distance=0, form=EXACT)
        elif slot.start in self.lower.guest.bases:
            self.held[slot] = Spring(here, ((here, 0),))
        else:
            self.held.pop(slot, None)

    def moved(self, slot: Any, spring: Spring | None = None) -> None:
        """A register has been written in the running block."""
        key = self.at[0], slot
        from_itself = spring and spring.value == (((slot, None), 0),) and self.steps.get(key, 0) is not None
        self.steps[key] = spring.distance if spring and from_itself else None

    def of(self, value: Any) -> Spring | None:
        return self.springs.get(value.text) if isinstance(value, Scalar) else None

    def known(self, value: Any) -> Spring | None:
        """Of an address that is known, maybe but for the origin."""
        known = not isinstance(value, Scalar) or value.text not in self.lower.distances
        distance = number(value) if known else self.lower.distances[value.text]
        if distance is None:
            return None
        return Spring(None, ((Page(signed(distance & PAGE_MASK), known), 0),), distance & PAGE - 1)

    def derived(self, result: Any, a: Any, b: Any, sign: int) -> None:
        """A sum or difference: an address if one of its parts is one."""
        one, other = self.of(a), self.of(b)
        if not isinstance(result, Scalar) or not (one or other):
            return
        found = Spring((one or other).register, ())  # type: ignore[union-attr]
        if result.type is u64:
            if one and one.value and (by := number(b)) is not None:
                found = one.further(sign * by)
            elif other and other.value and (by := number(a)) is not None and sign > 0:
                found = other.further(by)
            elif one and other and sign > 0 and one.single and other.single:
                found = replace(one, value=one.value + other.value, distance=signed(one.distance + other.distance),
                                form=BEYOND if one.form or other.form else EXACT)
        elif result.type is u32:  # all of which have been cut
            if one and one.value and (by := number(b)) is not None:
                found = replace(one, distance=signed(one.distance + sign * by << 32) >> 32)
            elif other and other.value and (by := number(a)) is not None and sign > 0:
                found = replace(other, distance=signed(other.distance + by << 32) >> 32)
        self.springs.setdefault(result.text, found)

    def shifted(self, result: Any, a: Any, by: int) -> None:
        """A value shifted to the left by a known number of bits: the index of an address."""
        spring = self.of(a)
        if spring and spring.single and result.type is u64:
            (value, before), = spring.value
            self.springs.setdefault(result.text, replace(
                spring, value=((value, before + by),), distance=signed(spring.distance << by),
                form=BEYOND if spring.form else EXACT))

    def cut(self, result: Any, a: Any) -> None:
        """The low 32 bits of an address: what has been added before and what is added after make one distance if all
        is cut in the end."""
        spring = self.of(a)
        if spring and isinstance(result, Scalar):
            self.springs[result.text] = replace(spring, form=CUT)

    def widened(self, result: Any, a: Any) -> None:
        """The low half of an address as a whole one."""
        spring = self.of(a)
        if spring and isinstance(result, Scalar) and a.type is u32:
            self.springs[result.text] = spring

    def lose(self) -> None:
        """A loop begins or ends, each turn of which may write what has been read before."""
        self.springs, self.groups = {}, {}
        for slot in {*self.held, *(self.lower.slots[at] for at in self.lower.guest.bases)}:
            self.held[slot] = Spring((slot, None), ())

    def forget(self) -> None:
        """From here on the address cache may have changed."""
        self.lower.mark(FORGET)
        self.groups = {}

    def spring(self, args: list[Any]) -> Spring | None:
        """Where an access's address comes from, if it can belong to others or have a cell."""
        if not self.lower.e.open or len(self.lower.handlers) > 1:  # behind a way out there may be no address
            return None
        spring = self.of(args[2]) or self.known(args[2])
        return spring if spring and (self.together(spring) or self.remembered(spring)) else None

    def together(self, spring: Spring) -> bool:
        """Whether other accesses may belong to one with this address."""
        return spring.value != () and spring.form != BEYOND and self.lower.certain()

    def remembered(self, spring: Spring) -> bool:
        """Whether pages are remembered by the register that it comes from."""
        return spring.register is not None and spring.register[0].start in self.lower.guest.pages

    def access(self, spring: Spring, function: Any, args: list[Any]) -> Any:
        """A load or store."""
        lower, (_, kind, va, *value) = self.lower, args
        va = lower.lift(va, u64)
        access, at = ACCESSES[function], spring.distance
        group = self.group(spring, access)
        if group and group.start <= at and at + kind.size <= group.end:
            base = group.base
        elif group and self.takes(group, at, kind.size):
            base = self.by_group(group, kind, va, access, at)
        else:
            group = self.anew(spring, kind, va, access)
            base = group.base
        address = Scalar(u64, lower.e.op(f"add i64 {base}, {at - group.first}"))
        return lower.call(store if value else load, [kind, address, *value], {})

    def anew(self, spring: Spring, kind: Any, va: Scalar, access: int) -> Group:
        """The first access of a group, which others may belong to or not."""
        lower, e, at, n = self.lower, self.lower.e, spring.distance, len(self.marks)
        start, end = (0, PAGE) if spring.lies and 0 <= at < PAGE else (at, at + kind.size)  # else it would have left
        group = Group(n, self.at[0], spring, access, at, va.text, start, end, start, end,
                      e.new_label("same"), e.new_label("other"))
        before = e.label
        self.mark(self.ask, "ask", group)
        e.open = False
        e.start(group.other)
        self.mark(self.begin_other, "other", group)
        found = lower.inline(page_of, [lower.cpu, kind, Scalar(u64, group.asked), access], {})
        group.page, group.addend = (told.text for told in found.items)
        group.ways = before, e.label
        self.mark(self.keep, "keep", group)
        e.branch(group.same)
        e.start(group.same)
        self.mark(self.join, "join", group)
        if self.together(spring):
            self.groups[spring.value, spring.form, access] = group
        return group

    def mark(self, what: Callable[[Group], None], name: str, group: Group) -> None:
        text = f"; {name} {group.number}"
        self.marks[text] = what, group
        self.lower.mark(text)

    def group(self, spring: Spring, access: int) -> Group | None:
        """The group that an access belongs to. What may be written may be read."""
        if spring.value == () or spring.form == BEYOND:
            return None
        groups = (self.groups.get((spring.value, spring.form, which)) for which in {access, WRITE})
        return next((group for group in groups if group), None)

    def takes(self, group: Group, at: int, size: int) -> bool:
        """Let an access belong to a group, if that does not become too large."""
        low, high = min(group.low, at), max(group.high, at + size)
        if high - low > NEAR:
            return False
        group.low, group.high, group.several = low, high, True
        return True

    def by_group(self, group: Group, kind: Any, va: Scalar, access: int, at: int) -> str:
        """Where the first access would be, for one that is in the group's page, or in another."""
        lower, e = self.lower, self.lower.e
        same, other, before = e.new_label("same"), e.new_label("other"), e.label
        e.branch_if(group.near, same, other, OFTEN)
        e.start(other)
        asked = e.op(opaque(va.text))
        found = lower.inline(page_of, [lower.cpu, kind, Scalar(u64, asked), access], {})
        base = e.op(f"add i64 {e.op(f'add i64 {asked}, {found.items[1].text}')}, {group.first - at}")
        after = e.label
        e.branch(same)
        e.start(same)
        return e.op(f"phi i64 [ {group.base}, %{before} ], [ {base}, %{after} ]")

    def settle(self, lines: Iterable[str], turn: Callable[[int], Iterable[int]]) -> None:
        """All is lowered: which groups in this text have cells. `turn` tells the blocks of a turn of a block's loop."""
        self.reach = [0] * CELLS
        for line in lines:
            what, group = self.marks.get(line, (None, None))
            if what == self.ask and group:
                group.cell = self.cell(group, turn)
                if group.cell is not None and not group.aligned:
                    self.reach[group.cell] = max(self.reach[group.cell], group.high - group.low)

    def cell(self, group: Group, turn: Callable[[int], Iterable[int]]) -> int | None:
        """The cell of a group; None if it is not for it to have one, or there are enough of them."""
        key: Any = None
        if self.remembered(group.spring):
            group.aligned = not group.several and group.end - group.start <= 8
            key = group.spring.register, group.spring.form == CUT, group.access, group.aligned  # CUT: see ask()
        elif self.goes_on(group, turn):
            key = group.spring.value, group.spring.form, (group.low + NEAR) // PAGE, group.access
        if key and len(self.cells) < CELLS:
            self.cells.setdefault(key, len(self.cells))
        return self.cells.get(key)

    def goes_on(self, group: Group, turn: Callable[[int], Iterable[int]]) -> bool:
        """Whether a turn of the loop moves the group, and a little way."""
        way, blocks = 0, list(turn(group.block))
        for value, shift in group.spring.value:
            slot, at = value if isinstance(value, tuple) else (None, value)
            steps = [self.steps.get((block, slot), 0) for block in blocks]
            if at is not None or None in steps:
                return False
            way += abs(sum(step for step in steps if step)) << shift
        return 0 < way <= TURN

    def prologue(self) -> None:
        """Make the cells, in memory: LLVM would copy variables from block to block."""
        if self.cells:
            e = self.lower.e
            e.slots.append(f"  %cells = alloca [{3 * len(self.cells)} x i64]")
            e.do('call void asm sideeffect "", "r"(ptr %cells)')
            self.put_in(FORGET)

    # What marks stand for.

    def put_in(self, mark: str) -> None:
        self.lower.e.open = True
        if mark == FORGET:
            for cell in self.cells.values():
                word, nothing = (ROOM, 0) if self.reach[cell] else (PAGE_AT, NONE)
                self.lower.e.do(f"store i64 {nothing}, ptr {self.word(cell, word)}")
        else:
            what, group = self.marks[mark]
            what(group)

    def ask(self, group: Group) -> None:
        """Go on with the cell's page if all of the group is in it, else to where the address cache is asked. An address
        that has been cut to 32 bits is less than 4 GiB, and so are all pages of its cell, of which half is compared."""
        e = self.lower.e
        if group.cell is None:
            e.branch(group.other)
            return
        page = self.word(group.cell, PAGE_AT)
        if group.aligned:
            masked = e.op(f"and i64 {group.va}, {-PAGE | group.end - group.start - 1}")
            e.branch_if(e.op(f"icmp eq i64 {masked}, {e.op(f'load i64, ptr {page}')}"), group.same, group.other, OFTEN)
            return
        low, bits = self.lowest(group, group.va), 64
        if group.spring.form == CUT:
            low, bits = e.op(f"trunc i64 {low} to i32"), 32
        into = e.op(f"sub i{bits} {low}, {e.op(f'load i{bits}, ptr {page}')}")
        if bits < 64:
            into = e.op(f"zext i32 {into} to i64")
        e.do(f"%into{group.number}.fast = {opaque(into)}")
        room = e.op(f"load i64, ptr {self.word(group.cell, ROOM)}")
        e.branch_if(e.op(f"icmp ult i64 %into{group.number}.fast, {room}"), group.same, group.other, OFTEN)

    def begin_other(self, group: Group) -> None:
        self.lower.e.do(f"{group.asked} = {f'add i64 {group.va}, 0' if group.cell is None else opaque(group.va)}")

    def keep(self, group: Group) -> None:
        """What the address cache has told is for the next time, too."""
        e, found = self.lower.e, {PAGE_AT: group.page, HOST_AT: group.addend}
        if group.cell is None:
            return
        if not group.aligned:
            e.do(f"%into{group.number}.slow = sub i64 {self.lowest(group, group.asked)}, {group.page}")
            found[HOST_AT] = e.op(f"add i64 {group.page}, {group.addend}")
            found[ROOM] = str(PAGE + 1 - self.reach[group.cell])
        for word, value in found.items():
            e.do(f"store i64 {value}, ptr {self.word(group.cell, word)}")

    def join(self, group: Group) -> None:
        e, n, ways = self.lower.e, group.number, group.ways
        if group.cell is None:
            e.do(f"{group.base} = add i64 {group.asked}, {group.addend}")
            into = e.op(f"and i64 {self.lowest(group, group.asked)}, {PAGE - 1}")
        elif group.aligned:
            e.do(f"{group.base} = add i64 {group.va}, {e.op(f'load i64, ptr {self.word(group.cell, HOST_AT)}')}")
        else:
            into = e.op(f"phi i64 [ %into{n}.fast, %{ways[0]} ], [ %into{n}.slow, %{ways[1]} ]")
            host = e.op(f"load i64, ptr {self.word(group.cell, HOST_AT)}")
            e.do(f"{group.base} = add i64 {e.op(f'add i64 {host}, {into}')}, {group.first - group.low}")
        if group.several:
            e.do(f"{group.near} = icmp ule i64 {into}, {PAGE - (group.high - group.low)}")

    def lowest(self, group: Group, va: str) -> str:
        """The address at which the group begins."""
        return self.lower.e.op(f"add i64 {va}, {group.low - group.first}")

    def word(self, cell: int, word: int) -> str:
        return self.lower.e.op(f"getelementptr i64, ptr %cells, i64 {3 * cell + word}")


def number(value: Any) -> int | None:
    """A value that is known, be it as text alone."""
    if is_known(value):
        return int(value)
    return int(value.text) if isinstance(value, Scalar) and NUMERAL.fullmatch(value.text) else None


def page_of(cpu: Any, kind: Any, va: Any, access: Any) -> Any:
    """The page of an access, and how far it is from its host address, if the address cache has it."""
    place, page = (va >> PAGE_BITS & (TLB_SIZE - 1)) * TlbEntry.size, va + (kind.size - 1) & ~u64(PAGE - 1)
    entry = ENTRY(cpu.tlb.address + place)[0]
    if unlikely((entry.write if access == WRITE else entry.read) != page):
        raise Abandon
    return page, ENTRY(cpu.tlb.address + place)[0].addend  # anew, or LLVM would give the sum an instruction of its own
