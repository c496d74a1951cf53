"""A guest's register stack in a region: in the host's x87, where LLVM keeps extended numbers (SDM 1, chapter 8).

The registers are variables of the region. Where the top is, is known in each block, relative to where it was at the
way in: a variable stands for the register that is `turn` after it. A block is lowered for the top that the block leaves
from which it was seen to come; with another one the region is left, and entered again. Tags are turned likewise.

What the host raises stays in its status word until the way out. How the last result was rounded (the x87's C1) nobody
asks as a rule: its operands are kept (`Last`), and beyond the way out the host does it once more, to look. Not done:
instructions that look at the registers' numbers, transcendental functions; those are the threaded way's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guesthouse.bits import u16, u64
from guesthouse.engine import stack
from guesthouse.engine.hot.library import CPU, Library
from guesthouse.engine.op import HostStack
from guesthouse.errors import DefinitionError
from guesthouse.typed.lower import Lower
from guesthouse.typed.values import Dynamic, Ref, Scalar, Sequence, llvm_type

if TYPE_CHECKING:
    from guesthouse.engine.hot.lowered import Lowered

COUNT = 8
USUAL = 0x37F  # the control word that the host's programs have
EXCEPTIONS = 63
MADE, TOLD, FIRST = range(3)  # what %up is: in the state, told by %up.word, put off with a number from here on
SETTLE = "; what is put off is made, then on with "
CLOBBERS = "~{dirflag},~{fpsr},~{flags}"
EFFECTS = "memory(argmem: readwrite, inaccessiblemem: readwrite) nounwind strictfp"
KIND = stack.EXTENDED


@dataclass(frozen=True)
class Extended(Dynamic):
    """An extended number: the LLVM operand."""

    text: str


@dataclass(frozen=True)
class Last:
    """How the last result was rounded: told, or what it takes to compute it, and the control word if it has changed."""

    how: int
    a: str = "undef"
    b: str = "undef"
    word: str = "undef"
    control: str = "0"


Known = tuple[int, Last | None]  # while lowering: the top, and how the last result was rounded, if that has changed


class Stack:
    """The stack of one region."""

    def __init__(self, lower: "Lowered", library: Library, form: HostStack) -> None:
        self.lower, self.form, self.library = lower, form, library
        state = library.guest.state
        self.base = state.offset(form.registers)
        self.places = {name: state.offset(name) for name in (form.top, form.tags, form.control)}
        self.flags_at, self.up_at = (library.place(path) for path in (form.flags, form.up))
        self.top = 0
        self.hows: dict[tuple[str, str, int, str], int] = {}  # what has been put off, and its numbers in %up
        self.last: Last | None = None  # None: as the variables say
        self.used: set[int] = set()
        self.written: set[int] = set()
        for name in ("ready", "decline", "value", "put", "room", "push", "pop", "flags", "arithmetic", "plain",
                     "narrowed", "chosen", "constant", "assembly", "rounded", "direction", "up", "control"):
            lower.unit.intrinsics[getattr(stack, name)] = self.asked(getattr(self, name))
        lower.unit.intrinsics[stack.top] = self.asked(self.number)

    def asked(self, method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda lower, cpu, *given: method(*given)

    # What bodies ask (engine/stack.py).

    def ready(self) -> None:
        pass

    def decline(self) -> None:
        raise DefinitionError("an instruction for the threaded way")

    def at(self, i: Any) -> int:
        if isinstance(i, Dynamic):
            raise DefinitionError("a register whose number is not known")
        self.used.add(k := self.top + int(i) & COUNT - 1)
        return k

    def full(self, k: int) -> str:
        e = self.lower.e
        return e.op(f"and i64 {self.word('tags')}, {1 << k}")

    def value(self, i: Any) -> Extended:
        e, k = self.lower.e, self.at(i)
        self.lower.abandon_unless(e.op(f"icmp ne i64 {self.full(k)}, 0"))
        return Extended(e.op(f"load {KIND}, ptr %st{k}"))

    def put(self, i: Any, number: Extended) -> None:
        e, k = self.lower.e, self.at(i)
        self.change()
        self.written.add(k)
        e.do(f"store {KIND} {number.text}, ptr %st{k}")
        tags = self.word("tags")
        e.do(f"store i64 {e.op(f'or i64 {tags}, {1 << k}')}, ptr %tags")

    def room(self) -> None:
        self.lower.abandon_unless(self.lower.e.op(f"icmp eq i64 {self.full(self.at(COUNT - 1))}, 0"))

    def push(self, number: Extended) -> None:
        self.change()
        self.top = self.top - 1 & COUNT - 1
        self.put(0, number)

    def pop(self) -> None:
        e, k = self.lower.e, self.at(0)
        self.change()
        tags = self.word("tags")
        e.do(f"store i64 {e.op(f'and i64 {tags}, {~(1 << k)}')}, ptr %tags")
        self.top = self.top + 1 & COUNT - 1

    def change(self) -> None:
        """What is known while lowering must be so whenever this is executed."""
        if not self.lower.certain():
            raise DefinitionError("a change of the stack on one of two ways")

    def number(self) -> Scalar:
        return Scalar(u64, self.after(self.word("turn"), str(self.top)))

    def flags(self) -> Scalar:
        return Scalar(u64, self.gather())

    def arithmetic(self, name: str, *operands: Extended) -> Extended:
        full = f"@llvm.experimental.constrained.{name}.f80"
        self.lower.unit.declare(f"{KIND} {full}({', '.join([KIND] * len(operands))}, metadata, metadata)")
        given = ", ".join(f"{KIND} {operand.text}" for operand in operands)
        return Extended(self.lower.e.op(f'call {KIND} {full}({given}, metadata !"round.dynamic", '
                                        'metadata !"fpexcept.strict") strictfp'))

    def plain(self, name: str, number: Extended) -> Extended:
        if name == "fneg":
            return Extended(self.lower.e.op(f"fneg {KIND} {number.text}"))
        self.lower.unit.declare(f"{KIND} @llvm.{name}.f80({KIND})")
        return Extended(self.lower.e.op(f"call {KIND} @llvm.{name}.f80({KIND} {number.text}) strictfp"))

    def narrowed(self, kind: Any, number: Extended) -> Scalar:
        e, t = self.lower.e, {32: "float", 64: "double"}[kind.bits]
        full = f"@llvm.experimental.constrained.fptrunc.f{kind.bits}.f80"
        self.lower.unit.declare(f"{t} {full}({KIND}, metadata, metadata)")
        got = e.op(f'call {t} {full}({KIND} {number.text}, metadata !"round.dynamic", '
                   'metadata !"fpexcept.strict") strictfp')
        return Scalar(kind, e.op(f"bitcast {t} {got} to i{kind.bits}"))

    def chosen(self, condition: Any, a: Extended, b: Extended) -> Extended:
        if not isinstance(condition, Scalar):
            return a if condition else b
        return Extended(self.lower.e.op(f"select i1 {condition.text}, {KIND} {a.text}, {KIND} {b.text}"))

    def constant(self, pattern: int) -> Extended:
        return Extended(f"0xK{int(pattern):020X}")

    def assembly(self, text: str, constraints: str, result: Any, *operands: Any) -> Any:
        e = self.lower.e
        given, room = [], ""
        if constraints.startswith("=*"):
            room = e.slot(llvm_type(result))
            given.append(f"ptr elementtype({llvm_type(result)}) {room}")
        for operand in operands:
            if isinstance(operand, Extended):
                given.append(f"{KIND} {operand.text}")
                continue
            kind = llvm_type(operand.type if isinstance(operand, Scalar) else type(operand))
            place = e.slot(kind)
            e.do(f"store {kind} {operand.text if isinstance(operand, Scalar) else int(operand)}, ptr {place}")
            given.append(f"ptr elementtype({kind}) {place}")
        results = [] if room or result is None else result if isinstance(result, tuple) else (result,)
        kinds = [r if r == KIND else llvm_type(r) for r in results]
        kind = kinds[0] if len(kinds) == 1 else f"{{ {', '.join(kinds)} }}" if kinds else "void"
        call = (f'call {kind} asm sideeffect "{text}", "{constraints}{"," * bool(constraints)}{CLOBBERS}"'
                f"({', '.join(given)}) {EFFECTS}")
        if kind == "void":
            e.do(call)
            return Scalar(result, e.op(f"load {llvm_type(result)}, ptr {room}")) if room else None
        got = e.op(call)
        texts = [got] if len(kinds) == 1 else [e.op(f"extractvalue {kind} {got}, {n}") for n in range(len(kinds))]
        made = [Extended(t) if r == KIND else Scalar(r, t) for r, t in zip(results, texts, strict=True)]
        return Sequence(tuple(made)) if isinstance(result, tuple) else made[0]

    def rounded(self, text: str, constraints: str, *operands: Any) -> None:
        self.change()
        numbers = [operand.text for operand in operands if isinstance(operand, Extended)]
        words = [operand for operand in operands if not isinstance(operand, Extended)]
        kind = llvm_type(words[0].type if isinstance(words[0], Scalar) else type(words[0])) if words else ""
        wide = self.lower.lift(u64_of(self.lower, words[0]), u64).text if words else "undef"
        how = self.hows.setdefault((text, constraints, len(numbers), kind), FIRST + len(self.hows))
        self.last = Last(how, numbers[0], numbers[-1], wide)

    def direction(self, up: Any) -> None:
        self.change()
        self.last = Last(TOLD, word=self.lower.lift(up, u64).text)

    def up(self) -> Scalar:
        self.change()
        self.keep(self.last)
        self.last = None
        if self.lower.e.open:
            on = self.lower.e.new_label("settled")
            self.lower.e.lines.append(SETTLE + on)
            self.lower.e.start(on)
        return Scalar(u64, self.lower.e.op(f"load i64, ptr {self.place(self.up_at)}, !tbaa !1"))

    def control(self, word: Any) -> None:
        """The guest's own has not changed yet."""
        self.change()
        e = self.lower.e
        before = e.op(f"load i64, ptr {self.place(self.places[self.form.control])}, !tbaa !1")
        if self.last is None:
            now = self.word("up.control")
            same = e.op(f"icmp eq i64 {now}, 0")
            e.do(f"store i64 {e.op(f'select i1 {same}, i64 {before}, i64 {now}')}, ptr %up.control")
        elif self.last.control == "0":
            self.last = replace(self.last, control=before)
        self.assembly("fldcw $0", "*m", None, word)

    # Way in, way out.

    def word(self, name: str) -> str:
        return self.lower.e.op(f"load i64, ptr %{name}")

    def after(self, a: str, b: str) -> str:
        """The number of a register."""
        return self.lower.e.op(f"and i64 {self.lower.e.op(f'add i64 {a}, {b}')}, {COUNT - 1}")

    def place(self, offset: int) -> str:
        return Lower.pointer(self.lower, Ref(None, CPU, offset))

    def register(self, k: int) -> str:
        e = self.lower.e
        n = self.after(self.word("turn"), str(k))
        return e.op(f"getelementptr i8, ptr {self.place(self.base)}, i64 {e.op(f'shl i64 {n}, 4')}")

    def turned(self, tags: str, by: str) -> str:
        """Tags, rotated to the right."""
        e = self.lower.e
        twice = e.op(f"or i64 {tags}, {e.op(f'shl i64 {tags}, {COUNT}')}")
        return e.op(f"and i64 {e.op(f'lshr i64 {twice}, {by}')}, {(1 << COUNT) - 1}")

    def enter(self, way: str, tops: list[int]) -> None:
        """Fetch the stack for the block with the number `way`."""
        e = self.lower.e
        e.slots += [f"  %st{k} = alloca {KIND}" for k in sorted(self.used)]
        e.slots += [f"  %up.{n} = alloca {KIND}" for n in ("a", "b")]
        e.slots += [f"  %{n} = alloca i64" for n in ("tags", "turn", "up", "up.word", "up.control", "top.now")]
        e.do("store i64 0, ptr %up")
        e.do("store i64 0, ptr %up.control")
        packed = sum(top << 3 * n for n, top in enumerate(tops))
        kind = f"i{max(64, 3 * len(tops))}"
        wide = e.op(f"mul i64 {way}, 3")
        wide = wide if kind == "i64" else e.op(f"zext i64 {wide} to {kind}")
        moved = e.op(f"lshr {kind} {packed}, {wide}")
        top = moved if kind == "i64" else e.op(f"trunc {kind} {moved} to i64")
        now = e.op(f"load i64, ptr {self.place(self.places[self.form.top])}, !tbaa !1")
        turn = e.op(f"and i64 {e.op(f'sub i64 {now}, {top}')}, {COUNT - 1}")
        e.do(f"store i64 {turn}, ptr %turn")
        tags = e.op(f"load i64, ptr {self.place(self.places[self.form.tags])}, !tbaa !1")
        e.do(f"store i64 {self.turned(tags, turn)}, ptr %tags")
        for k in sorted(self.used):
            e.do(f"store {KIND} {e.op(f'load {KIND}, ptr {self.register(k)}, align 16, !tbaa !1')}, ptr %st{k}")
        self.clear()
        self.adopt(True)

    def clear(self) -> None:
        """Flags that the guest has not are taken from the host; those that both have do no harm."""
        e, raised, on = self.lower.e, self.lower.e.new_label("raised"), self.lower.e.new_label("cleared")
        known = e.op(f"load i64, ptr {self.place(self.flags_at)}, !tbaa !1")
        other = e.op(f"and i64 {self.raised()}, {e.op(f'xor i64 {known}, -1')}")
        e.branch_if(e.op(f"icmp eq i64 {other}, 0"), on, raised)
        e.start(raised)
        self.assembly("fnclex", "", None)
        e.branch(on)
        e.start(on)

    def adopt(self, guests: bool) -> None:
        """The control word of the guest, or of the host's programs again, where they differ."""
        e, other, on = self.lower.e, self.lower.e.new_label("other"), self.lower.e.new_label("adopted")
        word = e.op(f"load i64, ptr {self.place(self.places[self.form.control])}, !tbaa !1")
        e.branch_if(e.op(f"icmp eq i64 {word}, {USUAL}"), on, other)
        e.start(other)
        self.assembly("fldcw $0", "*m", None, Scalar(u64, word) if guests else u64(USUAL))
        e.branch(on)
        e.start(on)

    def raised(self) -> str:
        """What the host's status word has."""
        e, word = self.lower.e, self.assembly("fnstsw $0", "={ax}", u16)
        return e.op(f"zext i16 {e.op(f'and i16 {word.text}, {EXCEPTIONS}')} to i64")

    def gather(self) -> str:
        """The host's flags are added to the guest's."""
        e, place = self.lower.e, self.place(self.flags_at)
        both = e.op(f"or i64 {e.op(f'load i64, ptr {place}, !tbaa !1')}, {self.raised()}")
        e.do(f"store i64 {both}, ptr {place}, !tbaa !1")
        return both

    def keep(self, last: Last | None) -> None:
        """Put off what was known while lowering."""
        if last is not None:
            for name, kind, text in (("", "i64", str(last.how)), (".a", KIND, last.a), (".b", KIND, last.b),
                                     (".word", "i64", last.word), (".control", "i64", last.control)):
                self.lower.e.do(f"store {kind} {text}, ptr %up{name}")

    @property
    def known(self) -> Known:
        return self.top, self.last

    @known.setter
    def known(self, known: Known) -> None:
        self.top, self.last = known

    def depart(self, known: Known) -> None:
        """Before a block, or the region, is left."""
        self.keep(known[1])
        self.lower.e.do(f"store i64 {known[0]}, ptr %top.now")

    def leave(self) -> None:
        """The stack goes into the state."""
        e = self.lower.e
        self.gather()
        self.make_up()
        self.adopt(False)
        turn = self.word("turn")
        for k in sorted(self.written):
            e.do(f"store {KIND} {e.op(f'load {KIND}, ptr %st{k}')}, ptr {self.register(k)}, align 16, !tbaa !1")
        back = e.op(f"sub i64 {COUNT}, {turn}")
        tags = self.turned(self.word("tags"), back)
        e.do(f"store i64 {tags}, ptr {self.place(self.places[self.form.tags])}, !tbaa !1")
        now = self.after(turn, self.word("top.now"))
        e.do(f"store i64 {now}, ptr {self.place(self.places[self.form.top])}, !tbaa !1")

    def settle(self) -> None:
        """Put in what tells how the last result was rounded, once it is known what that can be."""
        e = self.lower.e
        lines, e.lines = e.lines, []
        for line in lines:
            if line.startswith(SETTLE):
                e.open = True
                self.make_up()
                e.branch(line.removeprefix(SETTLE))
            else:
                e.lines.append(line)

    def make_up(self) -> None:
        """Tell the state how the last result was rounded."""
        e = self.lower.e
        how, told, made = self.word("up"), e.new_label("told"), e.new_label("made")
        ways = {number: e.new_label("again") for number in self.hows.values()} | {TOLD: told}
        e.end(f"switch i64 {how}, label %{made} [ {' '.join(f'i64 {n}, label %{way}' for n, way in ways.items())} ]")
        for (text, constraints, numbers, kind), number in self.hows.items():
            e.start(ways[number])
            control, other, on = self.word("up.control"), e.new_label("under"), e.new_label("on")
            e.branch_if(e.op(f"icmp eq i64 {control}, 0"), on, other)
            e.start(other)
            self.assembly("fldcw $0", "*m", None, Scalar(u64, control))
            e.branch(on)
            e.start(on)
            given: list[Any] = [Extended(e.op(f"load {KIND}, ptr %up.{name}")) for name in "ab"[:numbers]]
            if kind:
                given.append(Scalar(u64, self.word("up.word")))
            status = e.op(f"zext i16 {self.assembly(text, constraints, u16, *given).text} to i64")
            up = e.op(f"and i64 {e.op(f'lshr i64 {status}, 9')}, 1")
            e.do(f"store i64 {up}, ptr %up.word")
            word = e.op(f"load i64, ptr {self.place(self.places[self.form.control])}, !tbaa !1")
            self.assembly("fldcw $0", "*m", None, Scalar(u64, word))
            e.branch(told)
        e.start(told)
        e.do(f"store i64 {self.word('up.word')}, ptr {self.place(self.up_at)}, !tbaa !1")
        e.branch(made)
        e.start(made)
        e.do(f"store i64 {MADE}, ptr %up")
        e.do("store i64 0, ptr %up.control")


def u64_of(lower: "Lowered", word: Any) -> Any:
    """A number as wide as a general register."""
    if not isinstance(word, Scalar):
        return u64(int(word))
    kind = llvm_type(word.type)
    return word if kind == "i64" else Scalar(u64, lower.e.op(f"zext {kind} {word.text} to i64"))
