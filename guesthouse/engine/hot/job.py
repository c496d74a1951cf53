"""What the compiler gets: the blocks of a region, as their records stand, and nothing of where the guest has them."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Self

LARGE = 128  # instructions of a region, for more of which LLVM takes a quarter of a second
# The first words of a region's table: the handler that finds blocks, the function that makes up for what is put off,
# how often the region was entered, and how many instructions it executed besides the blocks where it was entered; where
# its links are, and how many it has; then those of its blocks begin.
DISPATCH, MAKE_UP, VISITS, STAYED, LINKS, LINKED, BLOCKS = range(7)
# A block: where it lies from the page of the region's first block on, count, records with handler numbers, whether it
# falls, mode.
Told = tuple[int, int, list[bytes], bool, int]


@dataclass
class Job:
    """What the compiler gets. The name follows from home and blocks. `comes`: for each block, the number of the one
    from which it was first seen to be reached; `ways`: where it was seen to lead, and how often."""

    name: str
    home: int  # see Block in engine/processor.py
    blocks: list[Told]
    comes: list[int] = field(default_factory=list)
    ways: list[list[tuple[int, int]]] = field(default_factory=list)

    @property
    def large(self) -> bool:
        return sum(block[1] for block in self.blocks) > LARGE

    def as_json(self) -> list[Any]:
        blocks = [(at, count, [octets.hex() for octets in records], *more) for at, count, records, *more in self.blocks]
        return [self.name, self.home, blocks, self.comes, self.ways]

    @classmethod
    def of_json(cls, told: list[Any]) -> Self:
        name, home, blocks, comes, ways = told
        return cls(name, home, [(at, count, [bytes.fromhex(octets) for octets in records], falls, mode)
                                for at, count, records, falls, mode in blocks], comes,
                   [[(there, times) for there, times in of_one] for of_one in ways])


def digest(block: Told) -> str:
    """What tells a block, its instructions and where it lies, from all others."""
    return hashlib.blake2b(b"".join(block[2]) + f"{block[:2]} {block[3:]}".encode(), digest_size=12).hexdigest()
