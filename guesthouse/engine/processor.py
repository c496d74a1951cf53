"""Blocks of decoded instructions: looking them up, building them, and forgetting them when their bytes change."""

from guesthouse.bits import u64
from guesthouse.engine.cpu import Cpu
from guesthouse.typed import function


class Processor(Cpu):
    """What a guest's state derives from."""

    @function
    def retire(self, block: u64) -> None:
        """Every block in this chain ends before its next instruction."""
