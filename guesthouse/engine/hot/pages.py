"""The pages that a region has met: an access to the page of the one before it does without the address cache.

A loop goes through memory page by page, and a function's variables lie in one. So some registers (Guest.pages) have
cells, one for each place that writes them: the page last found by that, and how far that is from its host address.
What the address cache holds changes only outside of regions, and where FORGET stands. An access that is not aligned
asks the address cache, which knows about two pages.

Accesses of one block to known distances from one sum of registers (Guest.bases) are a group: the first asks its cell or
the address cache, and whether all that the group touches is in one page, which the others only look at. One to bytes
that the first has had asks nothing; nor does one to its page, where the address is known but for the region's origin.
"""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guesthouse.bits import u64, unlikely
from guesthouse.engine.cpu import PAGE, PAGE_BITS, READ, TLB_SIZE, WRITE, Cpu, TlbEntry
from guesthouse.engine.processor import PAGE_MASK
from guesthouse.typed import Abandon, Pointer, load, store
from guesthouse.typed.emit import OFTEN
from guesthouse.typed.struct import signed
from guesthouse.typed.values import Scalar, is_known

if TYPE_CHECKING:
    from guesthouse.engine.hot.lowered import Lowered

FORGET = "; the pages are forgotten"
CELLS = 24  # of a region, at most: each is emptied at the way in
NONE = -1  # where a page stands: no access has it
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
        """Whether it is one value, as it was, and no sum."""
        return len(self.value) == 1 and self.form == EXACT

    @property
    def lies(self) -> bool:
        """Whether it is so far into a page that is known."""
        return len(self.value) == 1 and isinstance(self.value[0][0], Page) and self.value[0][1] == 0

    def further(self, distance: int) -> "Spring":
        return replace(self, distance=signed(self.distance + distance), form=BEYOND if self.form else EXACT)


@dataclass
class Group:
    """`base`: the first access, at `at` from the value that others tell; all are from `low` up to below `high`."""

    base: str
    at: int
    size: int
    addend: str
    label: str
    low: int
    high: int
    several: bool = False


class Pages:
    """Those of one region."""

    def __init__(self, lower: "Lowered") -> None:
        self.lower = lower
        self.cells: dict[Any, int] = {}
        self.springs: dict[str, Spring] = {}  # of values
        self.held: dict[Any, Spring] = {}  # of what registers hold that have been written in the running block
        self.groups: dict[Any, Group] = {}  # of the running block
        self.marks: dict[str, Group] = {}  # where it is asked about a group
        self.at: Any = None
        self.unknown = 0  # values that are not known, so far

    def begin(self, at: tuple[int, int]) -> None:
        """The next instruction; its place in the region."""
        self.at = at
        if at[1] == 0:
            self.held.clear()
            self.groups = {}

    def read(self, slot: Any, value: Scalar) -> None:
        spring = self.held.get(slot)
        if spring is None and slot.start in self.lower.guest.bases:
            spring = Spring((slot, None), (((slot, None), 0),))
        if spring:
            self.springs[value.text] = spring

    def wrote(self, slot: Any, value: Any, whole: bool) -> None:
        """`whole`: the register has this value, and whatever way was taken."""
        spring, here = self.of(value), (slot, self.at)
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

    def of(self, value: Any) -> Spring | None:
        return self.springs.get(value.text) if isinstance(value, Scalar) else None

    def known(self, value: Any) -> Spring | None:
        """Of an address that is known, maybe but for the origin."""
        if isinstance(value, Scalar) and value.text in self.lower.distances:
            distance, known = self.lower.distances[value.text], False
        else:
            by = number(value)
            if by is None:
                return None
            distance, known = by, True
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
                found = replace(one, value=one.value + other.value, distance=signed(one.distance + other.distance))
        self.springs.setdefault(result.text, found)

    def shifted(self, result: Any, a: Any, by: int) -> None:
        """A value shifted to the left by a known number of bits: the index of an address."""
        spring = self.of(a)
        if spring and spring.single and result.type is u64:
            (value, before), = spring.value
            self.springs.setdefault(result.text, replace(spring, value=((value, before + by),),
                                                         distance=signed(spring.distance << by)))

    def cut(self, result: Any, a: Any) -> None:
        """The low 32 bits of an address: what has been added before and what is added after make one distance if all
        is cut in the end."""
        spring = self.of(a)
        if spring and isinstance(result, Scalar):
            self.springs[result.text] = replace(spring, form=CUT)

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
        spring = (self.of(args[2]) or self.known(args[2])) if len(self.lower.handlers) == 1 else None
        return spring if spring and (self.together(spring) or self.remembered(spring)) else None

    def together(self, spring: Spring) -> bool:
        """Whether other accesses may belong to one with this address."""
        return spring.value != () and spring.form != BEYOND and self.lower.certain()

    def remembered(self, spring: Spring) -> bool:
        """Whether pages are remembered by the register that it comes from."""
        return spring.register is not None and spring.register[0].start in self.lower.guest.pages

    def cell(self, spring: Spring, access: int) -> int | None:
        """The cell of a register; None if it is not for it to have one, or there are enough of them."""
        if self.remembered(spring) and len(self.cells) < CELLS:
            self.cells.setdefault((spring.register, access), len(self.cells))
        return self.cells.get((spring.register, access))

    def access(self, spring: Spring, function: Any, args: list[Any]) -> Any:
        """A load or store."""
        lower, e, (_, kind, va, *value) = self.lower, self.lower.e, args
        va = lower.lift(va, u64)
        access, at = ACCESSES[function], spring.distance
        group = self.group(spring, access)
        if group and group.at <= at and at + kind.size <= group.at + group.size:
            addend = group.addend
        elif group and self.takes(group, at, kind.size):
            addend = self.by_group(group, kind, va, access)
        else:
            cell = self.cell(spring, access)
            if cell is None:
                addend = lower.inline(page_of, [lower.cpu, kind, va, access], {}).items[1].text
            else:
                addend = self.by_cell(cell, kind, va, access)
            if self.together(spring):
                mark, size = f"; group {len(self.marks)}", kind.size
                if spring.lies and 0 <= at < PAGE:  # over its end it would have left
                    at, size = 0, PAGE
                group = Group(va.text, at, size, addend, f"%near{len(self.marks)}", at, at + size)
                self.groups[spring.value, spring.form, access] = self.marks[mark] = group
                lower.mark(mark)
        address = Scalar(u64, e.op(f"add i64 {va.text}, {addend}"))
        return lower.call(store if value else load, [kind, address, *value], {})

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

    def by_group(self, group: Group, kind: Any, va: Any, access: int) -> str:
        lower, e = self.lower, self.lower.e
        same, other, before = e.new_label("same"), e.new_label("other"), e.label
        e.branch_if(group.label, same, other, OFTEN)
        e.start(other)
        found = lower.inline(page_of, [lower.cpu, kind, va, access], {})
        after = e.label
        e.branch(same)
        e.start(same)
        return e.op(f"phi i64 [ {group.addend}, %{before} ], [ {found.items[1].text}, %{after} ]")

    def by_cell(self, cell: int, kind: Any, va: Any, access: int) -> str:
        lower, e = self.lower, self.lower.e
        page, addend = (e.op(f"getelementptr i64, ptr %{name}, i64 {cell}") for name in ("pages", "addends"))
        masked = e.op(f"and i64 {va.text}, {-PAGE | kind.size - 1}")
        same, other = e.new_label("same"), e.new_label("other")
        e.branch_if(e.op(f"icmp eq i64 {masked}, {e.op(f'load i64, ptr {page}')}"), same, other, OFTEN)
        e.start(other)
        found = lower.inline(page_of, [lower.cpu, kind, va, access], {})
        for place, told in zip((page, addend), found.items, strict=True):
            e.do(f"store i64 {told.text}, ptr {place}")
        e.branch(same)
        e.start(same)
        return e.op(f"load i64, ptr {addend}")

    def prologue(self) -> None:
        """Make the cells, in memory: LLVM would copy variables from block to block."""
        if self.cells:
            e = self.lower.e
            e.slots += [f"  %{name} = alloca [{len(self.cells)} x i64]" for name in ("pages", "addends")]
            e.do('call void asm sideeffect "", "r,r"(ptr %pages, ptr %addends)')
            self.put_in(FORGET)

    def put_in(self, mark: str) -> None:
        """What a mark stands for."""
        e = self.lower.e
        if mark == FORGET:
            for cell in self.cells.values():
                e.do(f"store i64 {NONE}, ptr {e.op(f'getelementptr i64, ptr %pages, i64 {cell}')}")
        elif (group := self.marks[mark]).several:
            low = e.op(f"and i64 {e.op(f'add i64 {group.base}, {group.low - group.at}')}, {PAGE - 1}")
            e.do(f"{group.label} = icmp ule i64 {low}, {PAGE - (group.high - group.low)}")


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
