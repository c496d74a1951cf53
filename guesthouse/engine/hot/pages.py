"""The pages that a region has met: an access to the page of the one before it does without the address cache.

A loop goes through memory page by page, and a function's variables lie in one. So each register from which addresses
are made has a cell, for each place that writes it: the page last found by it, and how far that is from its host
address. What the address cache holds changes only outside of regions, and where FORGET stands. An access that is not
aligned asks the address cache, which knows about two pages.

Accesses of one block to known distances from one address are a group: the first asks its cell, and whether all that
the group touches is in one page, which the others only look at.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guesthouse.bits import u64, unlikely
from guesthouse.engine.cpu import PAGE, PAGE_BITS, READ, TLB_SIZE, WRITE, Cpu
from guesthouse.typed import Abandon, load, store
from guesthouse.typed.emit import OFTEN
from guesthouse.typed.values import Scalar, is_known

if TYPE_CHECKING:
    from guesthouse.engine.hot.lowered import Lowered

FORGET = "; the pages are forgotten"
CELLS = 24  # of a region, at most: each is emptied at the way in
NONE = -1  # where a page stands: no access has it
ALL_32, ALL_64 = (1 << 32) - 1, (1 << 64) - 1
NEAR = PAGE // 2  # bytes of a group, at most
EXACT, CUT, BEYOND = range(3)  # a sum of 64 bits; one cut to 32 bits; a sum of that, which is like no other
ACCESSES = {Cpu.load: READ, Cpu.load_to_change: WRITE, Cpu.store: WRITE}


@dataclass(frozen=True)
class Spring:
    """Where a value comes from: a register, as some place wrote it, or has gone on from that; and how far it is from a
    value that was there, which `value` tells, if that is known."""

    register: Any
    value: Any
    distance: int = 0
    form: int = EXACT


@dataclass
class Group:
    """`base`: the first access, at `at` from the value that others tell; all are from `low` up to below `high`."""

    base: str
    at: int
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
        if spring is None and slot.start in self.lower.guest.pages:
            spring = Spring((slot, None), (slot, None))
        if spring:
            self.springs[value.text] = spring

    def wrote(self, slot: Any, value: Any, whole: bool) -> None:
        """`whole`: the register has this value, and whatever way was taken."""
        spring, here = self.springs.get(getattr(value, "text", "")), (slot, self.at)
        if not whole:
            self.unknown += 1
            self.held[slot] = Spring(here, self.unknown)
        elif spring:
            self.held[slot] = spring if spring.value else replace(spring, value=here, distance=0, form=EXACT)
        elif slot.start in self.lower.guest.pages:
            self.held[slot] = Spring(here, here)
        else:
            self.held.pop(slot, None)

    def derived(self, result: Any, a: Any, b: Any, sign: int) -> None:
        """A sum or difference: an address if one of its parts is one."""
        for one, other in ((a, b), (b, a)):
            if isinstance(one, Scalar) and isinstance(result, Scalar) and one.text in self.springs:
                spring = self.springs[one.text]
                if is_known(other) and spring.value and result.type is u64 and (sign > 0 or one is a):
                    further = spring.distance + sign * int(other) & (1 << 64) - 1
                    self.springs[result.text] = replace(spring, distance=further - (further >> 63 << 64),
                                                        form=BEYOND if spring.form else EXACT)
                else:
                    self.springs.setdefault(result.text, Spring(spring.register, None))

    def cut(self, result: Any, a: Any, mask: int) -> None:
        """An address with all its bits, or the low 32: what has been added before and what is added after make one
        distance if all is cut in the end."""
        if mask in (ALL_32, ALL_64) and isinstance(a, Scalar) and isinstance(result, Scalar) and a.text in self.springs:
            spring = self.springs[a.text]
            self.springs[result.text] = spring if mask == ALL_64 else replace(spring, form=CUT)

    def lose(self) -> None:
        """A loop begins or ends, each turn of which may write what has been read before."""
        self.springs, self.groups = {}, {}
        for slot in {*self.held, *(self.lower.slots[at] for at in self.lower.guest.pages)}:
            self.held[slot] = Spring((slot, None), None)

    def forget(self) -> None:
        """From here on the address cache may have changed."""
        self.lower.mark(FORGET)
        self.groups = {}

    def spring(self, args: list[Any]) -> Spring | None:
        """Where an access's address comes from, if it can have a cell."""
        may = len(self.lower.handlers) == 1
        return self.springs.get(args[2].text) if may and isinstance(args[2], Scalar) else None

    def access(self, spring: Spring, function: Any, args: list[Any]) -> Any:
        """A load or store. Without a cell, since there are enough of them, it is as ever."""
        lower, e, (_, kind, va, *value) = self.lower, self.lower.e, args
        access = ACCESSES[function]
        together = spring.value and spring.form != BEYOND
        group = self.groups.get((spring.value, spring.form, access))
        if group and together and self.takes(group, spring.distance, kind.size):
            addend = self.by_group(group, kind, va, access)
        else:
            if len(self.cells) < CELLS:
                self.cells.setdefault((spring.register, access), len(self.cells))
            cell = self.cells.get((spring.register, access))
            if cell is None:
                addend = lower.inline(page_of, [lower.cpu, kind, va, access], {}).items[1].text
            else:
                addend = self.by_cell(cell, kind, va, access)
            if together and lower.certain():
                mark = f"; group {len(self.marks)}"
                group = Group(va.text, spring.distance, addend, f"%near{len(self.marks)}", spring.distance,
                              spring.distance + kind.size)
                self.groups[spring.value, spring.form, access] = self.marks[mark] = group
                lower.mark(mark)
        address = Scalar(u64, e.op(f"add i64 {va.text}, {addend}"))
        return lower.call(store if value else load, [kind, address, *value], {})

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


def page_of(cpu: Any, kind: Any, va: Any, access: Any) -> Any:
    """The page of an access, and how far it is from its host address, if the address cache has it."""
    entry = cpu.tlb[va >> PAGE_BITS & (TLB_SIZE - 1)]
    page = va + (kind.size - 1) & ~u64(PAGE - 1)
    if unlikely((entry.write if access == WRITE else entry.read) != page):
        raise Abandon
    return page, entry.addend
