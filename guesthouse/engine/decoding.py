"""The decoder of a guest, derived from its encodings: a decision tree in constant tables that one typed
decoder walks.

It knows no guest. Number 0 stands for a word that is no instruction.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.encoding import Instruction, Operand, Pattern, Piece
from guesthouse.engine.op import Handler, Record
from guesthouse.errors import DefinitionError
from guesthouse.typed import Table, Value, store

LEAF = 1 << 31
CHAIN = 4  # so few instructions are told apart by trying them one after the other


class Tree:
    """Grows the decision tree: inner nodes cut a run of bits that all their instructions fix."""

    def __init__(self, patterns: list[Pattern]) -> None:
        """`patterns[0]` is the one that fits always."""
        self.patterns = patterns
        self.nodes: list[int] = []
        self.chains: list[int] = []
        self.root = self.grow(list(range(1, len(patterns))), 0)

    def grow(self, numbers: list[int], tested: int) -> int:
        run = self.run(numbers, tested) if len(numbers) > CHAIN else 0
        if run == 0:
            return self.chain(numbers)
        low = (run & -run).bit_length() - 1
        size = run.bit_length() - low
        at = len(self.nodes)
        self.nodes += [low | ((1 << size) - 1) << 8] + [0] * (1 << size)
        children: dict[tuple[int, ...], int] = {}
        for way in range(1 << size):
            left = tuple(n for n in numbers
                         if not (self.patterns[n].match ^ way << low) & self.patterns[n].mask & run)
            if left not in children:
                children[left] = self.grow(list(left), tested | run)
            self.nodes[at + 1 + way] = children[left]
        return at

    def run(self, numbers: list[int], tested: int) -> int:
        """Up to 7 neighbouring bits that as many as possible of the instructions fix; 0 if no bit helps."""
        fixed = [sum(self.patterns[n].mask >> bit & 1 for n in numbers) for bit in range(32)]
        fixed = [0 if tested >> bit & 1 else count for bit, count in enumerate(fixed)]
        most = max(fixed)
        if most < 2:
            return 0
        low, run = fixed.index(most), 0
        for bit in range(low, min(low + 7, 32)):
            if fixed[bit] != most:
                break
            run |= 1 << bit
        return run

    def chain(self, numbers: list[int]) -> int:
        """A leaf: the most specific first, and what fits always last."""
        at = len(self.chains)
        self.chains += sorted(numbers, key=lambda n: -self.patterns[n].mask.bit_count()) + [0]
        return LEAF | at


def refuse_ambiguity(instructions: Iterable[Instruction]) -> None:
    """Of two encodings that some word fits, one must be a special case of the other."""
    ordered = list(instructions)
    for n, one in enumerate(ordered):
        for other in ordered[:n]:
            a, b = one.pattern, other.pattern
            both = a.mask & b.mask
            if a.match & both == b.match & both and (a.mask == b.mask or both not in (a.mask, b.mask)):
                raise DefinitionError(
                    f"{one.name} {a.text!r} and {other.name} {b.text!r} can be the same word")


@dataclass(frozen=True, eq=False)
class Decoder(Value):
    """The tree and the operands of all instructions of a guest, as tables; number 0 is the undefined
    instruction.
    """

    instructions: tuple[Instruction, ...]
    root: int
    nodes: Table
    chains: Table
    masks: Table
    matches: Table
    filled: Table
    handlers: Table
    lengths: Table
    rows: Table  # first operand of each instruction
    constants: Table  # of each operand: its value if no bits say it, or what a primed register counts from
    signs: Table  # its sign bit, or 0
    dustbins: Table  # what stands for 0
    relative: Table
    places: Table  # offset in the record
    sizes: Table
    parts: Table  # first piece of each operand
    shifts: Table
    cuts: Table  # mask of the piece, shifted down
    lifts: Table

    def find(self, word: u64) -> u64:
        """The number of the instruction that this word is."""
        at = u64(self.root)
        while at < LEAF:
            test = u64(self.nodes[at])
            at = u64(self.nodes[at + 1 + ((word >> (test & 0xFF)) & (test >> 8))])
        at = at - LEAF
        number = u64(self.chains[at])
        while not self.fits(number, word):
            at += 1
            number = u64(self.chains[at])
        return number

    def fits(self, number: u64, word: u64) -> bool:
        filled = u64(self.filled[number])
        return (word & u64(self.masks[number])) == u64(self.matches[number]) and (
            filled == 0 or (word & filled) != 0)

    def write(self, number: u64, word: u64, at: u64, record: u64) -> None:
        """Put handler, length and operands of an instruction into the record at this host address; what is relative
        counts from `at` bytes before the instruction."""
        store(u64, record + Record.offset("handler"), u64(self.handlers[number]))
        store(u8, record + Record.offset("length"), self.lengths[number])
        operand, end = u64(self.rows[number]), u64(self.rows[number + 1])
        while operand < end:
            value = self.value(operand, word)
            if self.relative[operand] != 0:
                value = value + at
            if value == 0:
                value = u64(self.dustbins[operand])
            place = record + u64(self.places[operand])
            if self.sizes[operand] == 1:
                store(u8, place, u8(value))
            else:
                store(u64, place, value)
            operand += 1

    def value(self, operand: u64, word: u64) -> u64:
        value = u64(self.constants[operand])
        part, end = u64(self.parts[operand]), u64(self.parts[operand + 1])
        while part < end:
            value = value | ((word >> u64(self.shifts[part])) & u64(self.cuts[part])) << u64(self.lifts[part])
            part += 1
        sign = u64(self.signs[operand])
        return (value ^ sign) - sign

    def disassemble(self, word: int, address: int | None = None) -> str | None:
        """Assembly text, or None for what is not an instruction."""
        number = int(self.find(u64(word)))
        return self.instructions[number - 1].show(word, address) if number else None


def decoder(instructions: tuple[Instruction, ...], record: type[Record], number_of: Callable[[Handler], int],
            undefined: int, shortest: int) -> Decoder:
    """The tables for these instructions; `undefined` is the handler, and `shortest` the length, of all other
    words.
    """
    refuse_ambiguity(instructions)
    tree = Tree([Pattern("", 8 * shortest, 0, 0, 0, {}), *(i.pattern for i in instructions)])
    rows, parts = [0, 0], [0]
    operands: list[tuple[Instruction, Operand]] = []
    pieces: list[Piece] = []
    for instruction in instructions:
        for operand in instruction.operands:
            operands.append((instruction, operand))
            pieces += instruction.pattern.fields[operand.source] if isinstance(operand.source, str) else ()
            parts.append(len(pieces))
        rows.append(len(operands))
    kinds = [operand.kind for _, operand in operands]
    return Decoder(
        instructions, tree.root, Table(u32, tree.nodes), Table(u16, tree.chains),
        Table(u32, [p.mask for p in tree.patterns]), Table(u32, [p.match for p in tree.patterns]),
        Table(u32, [p.filled for p in tree.patterns]),
        Table(u16, [undefined, *(number_of(i.handler) for i in instructions)]),
        Table(u8, [p.width // 8 for p in tree.patterns]), Table(u16, rows),
        Table(u64, [o.bias for _, o in operands]), Table(u64, [sign_of(i, o) for i, o in operands]),
        Table(u8, [o.kind.dustbin if o.name in o.kind.targets else 0 for _, o in operands]),
        Table(u8, [kind.relative for kind in kinds]),
        Table(u8, [record.offset(o.place) for _, o in operands]),
        Table(u8, [kind.type.size for kind in kinds]), Table(u16, parts),
        Table(u8, [p.low for p in pieces]), Table(u32, [(1 << p.width) - 1 for p in pieces]),
        Table(u8, [p.to for p in pieces]))


def sign_of(instruction: Instruction, operand: Operand) -> int:
    """The sign bit of an operand, or 0."""
    if not operand.signed or isinstance(operand.source, int):
        return 0
    return 1 << instruction.pattern.reach(operand.source)[1] - 1
