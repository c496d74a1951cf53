"""Encodings of fixed-width instructions, written as manuals print them, and what follows from them.

From `imm[11:0] rs1 000 rd 0010011` come mask and match, the encoder and the disassembler; decoding.py makes
the decoder. Widths up to 32 bits; shorter instructions of the same guest lie in the low bits.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from guesthouse.engine.op import FALLS, Handler, Op
from guesthouse.errors import DefinitionError


@dataclass(frozen=True)
class Kind:
    """What the bits of an operand mean, and how a record keeps it.

    `place` is the record's field, where it is not the operand's own name. `prime` is what a primed field (rd')
    counts from. An operand that is named in `targets` and is register 0 is stored as `dustbin`.
    """

    name: str
    type: type[Any]
    signed: bool = False
    relative: bool = False  # to the address of the instruction
    place: str = ""
    prime: int = 0
    targets: tuple[str, ...] = ()
    dustbin: int = 0
    show: Callable[[int], str] = str


@dataclass(frozen=True)
class Piece:
    """`width` bits from bit `low` of the word on are bits `to` and up of the operand."""

    low: int
    width: int
    to: int


@dataclass(frozen=True)
class Pattern:
    """A parsed encoding. `filled` are the bits of a field that must not be all zero (written `rd!=0`)."""

    text: str
    width: int
    mask: int
    match: int
    filled: int
    fields: Mapping[str, tuple[Piece, ...]] = field(hash=False)

    def fits(self, word: int) -> bool:
        return word & self.mask == self.match and (self.filled == 0 or word & self.filled != 0)

    def extract(self, name: str, word: int) -> int:
        """The bits of a field, put together, without a sign."""
        return sum((word >> p.low & (1 << p.width) - 1) << p.to for p in self.fields[name])

    def insert(self, name: str, value: int) -> int:
        """The word's bits that say this value of a field."""
        return sum((value >> p.to & (1 << p.width) - 1) << p.low for p in self.fields[name])

    def reach(self, name: str) -> tuple[int, int]:
        """The bits of the operand that the encoding can say: from the lowest up to, not including, the
        highest.
        """
        pieces = self.fields[name]
        return min(p.to for p in pieces), max(p.to + p.width for p in pieces)


def parse(text: str, width: int, sizes: Mapping[str, int]) -> Pattern:
    """The pattern that an encoding describes, from the highest bit down; `sizes` are the widths of bare
    names.
    """
    mask = match = filled = 0
    fields: dict[str, list[Piece]] = {}
    at = width
    for part in text.split():
        bare, _, zero = part.partition("!=")
        if re.fullmatch("[01]+", bare):
            at = below(at, len(bare), text)
            mask |= ((1 << len(bare)) - 1) << at
            match |= int(bare, 2) << at
            continue
        name, pieces = pieces_of(bare, sizes, text)
        for size, to in pieces:
            at = below(at, size, text)
            fields.setdefault(name, []).append(Piece(at, size, to))
        if zero:
            filled = -1
            demanded = name
    if at != 0:
        raise DefinitionError(f"{text!r} leaves {at} of {width} bits undescribed")
    if filled:
        filled = sum(((1 << p.width) - 1) << p.low for p in fields[demanded])
    return Pattern(text, width, mask, match, filled, {name: tuple(made) for name, made in fields.items()})


def below(at: int, size: int, text: str) -> int:
    """Where the next piece begins."""
    if size <= 0 or size > at:
        raise DefinitionError(f"{text!r} describes more bits than there are")
    return at - size


def pieces_of(part: str, sizes: Mapping[str, int], text: str) -> tuple[str, list[tuple[int, int]]]:
    """`imm[4:1|11]` as its name and (size, to) of each piece; a bare name has the size that its format gives
    it.
    """
    sliced = re.fullmatch(r"([\w']+)\[([\d:|]+)\]", part)
    if not sliced:
        if part not in sizes:
            raise DefinitionError(f"{text!r}: how many bits has {part!r}?")
        return part, [(sizes[part], 0)]
    made = []
    for piece in sliced[2].split("|"):
        high, _, low = piece.partition(":")
        made.append((int(high) - int(low or high) + 1, int(low or high)))
    return sliced[1], made


@dataclass(frozen=True)
class Operand:
    """One parameter of a body: its kind, and the field that says it, or the constant that it is in this
    encoding.
    """

    name: str
    kind: Kind
    source: str | int

    @property
    def place(self) -> str:
        return self.kind.place or self.name

    @property
    def signed(self) -> bool:
        """Manuals call an unsigned immediate uimm or nzuimm, and say so in the encoding."""
        return self.kind.signed and not (isinstance(self.source, str) and re.match("(nz)?u", self.source))

    @property
    def bias(self) -> int:
        if isinstance(self.source, int):
            return self.source & (1 << self.kind.type.bits) - 1
        return self.kind.prime if self.source.endswith("'") else 0


@dataclass(frozen=True)
class FromRecord:
    """The bind that reads one field of the record."""

    field: str

    def __call__(self, cpu: Any, record: Any) -> Any:
        return getattr(record, self.field)


@dataclass(frozen=True)
class FromStart(FromRecord):
    """The same, for an address, which counts from where the block begins."""

    def __call__(self, cpu: Any, record: Any) -> Any:
        return cpu.start + getattr(record, self.field)


@dataclass(frozen=True)
class Given:
    """The bind of what is known when the handler is compiled."""

    value: Any

    def __call__(self, cpu: Any, record: Any) -> Any:
        return self.value


@dataclass(frozen=True)
class Instruction:
    """One encoding of one operation: what a manual has a page for."""

    name: str
    section: str
    pattern: Pattern
    operands: tuple[Operand, ...]
    handler: Handler
    form: str

    def encode(self, **values: int) -> int:
        """The word that says this instruction with these fields; those not given are zero."""
        word = self.pattern.match
        for name, value in values.items():
            word |= self.pattern.insert(name, value)
        return word

    def value(self, operand: Operand, word: int) -> int:
        """What an operand is in this word; relative ones as the distance."""
        if isinstance(operand.source, int):
            return operand.source
        value = self.pattern.extract(operand.source, word) | operand.bias
        top = self.pattern.reach(operand.source)[1]
        return value - (1 << top) if operand.signed and value >> (top - 1) else value

    def show(self, word: int, address: int | None = None) -> str:
        """Assembly text; a relative operand as the target if the address is known, else as the distance."""
        shown = {}
        for operand in self.operands:
            value = self.value(operand, word)
            if operand.kind.relative:
                shown[operand.name] = f". {value:+d}" if address is None else f"{address + value:#x}"
            else:
                shown[operand.name] = operand.kind.show(value)
        text = re.sub(r"\w+", lambda name: shown.get(name[0], name[0]), self.form)
        return f"{self.name} {text}".rstrip()


@dataclass(frozen=True)
class Definition:
    """A body and the instructions that it is the meaning of."""

    run: Callable[..., None]
    instructions: tuple[Instruction, ...]

    def __getitem__(self, name: str) -> Instruction:
        return next(i for i in self.instructions if i.name == name)


@dataclass(frozen=True)
class Format:
    """Makes definitions of one width: `@op("imm[11:0] rs1 000 rd 0010011", "2.4")` above a body.

    The body's annotations that are `Kind`s are operands; its other parameters after the processor are given as
    keywords and known when the handler is compiled. Decorations may be stacked: one body, several instructions.
    """

    width: int
    sizes: Mapping[str, int] = field(hash=False)

    def __call__(self, text: str, section: str, *, name: str = "", ends: int = FALLS, counts: bool = False,
                 form: str = "", **given: Any) -> Callable[[Any], Definition]:
        def define(body: Any) -> Definition:
            others = body.instructions if isinstance(body, Definition) else ()
            run = body.run if isinstance(body, Definition) else body
            called = name or run.__name__.rstrip("_")
            made = self.instruction(run, called, text, section, form, given, (ends, counts))
            return Definition(run, (made, *others))

        return define

    def instruction(self, run: Callable[..., None], name: str, text: str, section: str, form: str,
                    given: Mapping[str, Any], how: tuple[int, bool]) -> Instruction:
        pattern = parse(text, self.width, self.sizes)
        operands, binds = [], []
        for parameter in list(inspect.signature(run).parameters.values())[1:]:
            kind = parameter.annotation
            if parameter.name in given:
                binds.append(Given(given[parameter.name]))
            elif isinstance(kind, Kind):
                operands.append(Operand(parameter.name, kind, source_of(parameter.name, pattern, name)))
                binds.append((FromStart if kind.relative else FromRecord)(operands[-1].place))
            else:
                raise DefinitionError(f"{name}: {parameter.name} is neither an operand nor given")
        op = Op(name, run, *how, encodings=(text,))
        form = form or ", ".join(operand.name for operand in operands)
        return Instruction(name, section, pattern, tuple(operands), Handler(name, op, tuple(binds)), form)

    def short(self, name: str, text: str, section: str, means: Definition | Instruction, form: str = "",
              **sources: str | int) -> Instruction:
        """Another encoding of a defined instruction. `sources`: operands that are constant here or named
        otherwise.
        """
        pattern = parse(text, self.width, self.sizes)
        meant = means.instructions[0] if isinstance(means, Definition) else means
        operands = tuple(Operand(o.name, o.kind, sources[o.name] if isinstance(sources.get(o.name), int) else
                                 source_of(str(sources.get(o.name, o.name)), pattern, name))
                         for o in meant.operands)
        form = form or ", ".join(o.name for o in operands if isinstance(o.source, str))
        return Instruction(name, section, pattern, operands, meant.handler, form)


def source_of(operand: str, pattern: Pattern, name: str) -> str:
    """The field that says an operand: of its name, or its name primed."""
    found = next((f for f in (operand, operand + "'") if f in pattern.fields), None)
    if found is None:
        raise DefinitionError(f"{name}: no bits of {pattern.text!r} say {operand}")
    return found


def instructions_in(modules: Iterable[Any]) -> tuple[Instruction, ...]:
    """All instructions that these modules define, in order of definition."""
    found: list[Instruction] = []
    for module in modules:
        for value in vars(module).values():
            several = value if isinstance(value, tuple) else (value,)
            for one in several:
                found += one.instructions if isinstance(one, Definition) else \
                    [one] if isinstance(one, Instruction) else []
    return tuple(dict.fromkeys(found))
