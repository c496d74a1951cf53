"""SiFive's platform-level interrupt controller, after the RISC-V PLIC specification 1.0.0.

A context is one privilege mode of one hart; its output line is that mode's external interrupt. The gateways
are for levels: a source that is still high at its completion is pending again.
"""

from __future__ import annotations

from guesthouse.system.chips.kit import Chip, Field, Line, on_read, on_write

SOURCES, CONTEXTS = 1024, 512  # what the address map has room for
PENDING, ENABLE, CONTEXT = 0x1000, 0x2000, 0x200000
WORDS = SOURCES // 32


class Plic(Chip):
    SIZE = 0x400000
    PRIORITIES = 7
    priority = Field([])
    pending = Field(0)  # one bit per source, as `levels` and each context's `enable` and `claimed`
    levels = Field(0)
    claimed = Field(0)
    enable = Field([])
    threshold = Field([])

    def __init__(self, outputs: list[Line], *, sources: int = 95) -> None:
        self.outputs, self.sources = outputs, sources
        self.real = (1 << sources + 1) - 2  # source 0 does not exist
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.priority = [0] * (self.sources + 1)
        self.enable = [0] * len(self.outputs)
        self.threshold = [0] * len(self.outputs)

    def set_input(self, n: int, high: bool) -> None:
        bit = 1 << n & self.real
        if high:
            self.levels |= bit
            self.pending |= bit & ~self.claimed  # a gateway forwards one request until its completion
        else:
            self.levels &= ~bit
        self.settle()

    def best(self, context: int) -> int:
        """The pending source of the highest priority above the threshold, the lowest number first; or 0."""
        wanted = self.pending & self.enable[context]
        found, highest = 0, self.threshold[context]
        while wanted:
            n = (wanted & -wanted).bit_length() - 1
            wanted &= wanted - 1
            if self.priority[n] > highest:
                found, highest = n, self.priority[n]
        return found

    @on_read(0, width=32, count=SOURCES, pure=True)
    def read_priority(self, n: int) -> int:
        return int(self.priority[n]) if n <= self.sources else 0

    @on_write(0, width=32, count=SOURCES)
    def write_priority(self, n: int, value: int) -> None:
        if 0 < n <= self.sources:
            self.priority[n] = value & self.PRIORITIES

    @on_read(PENDING, width=32, count=WORDS, pure=True)
    def read_pending(self, word: int) -> int:
        return int(self.pending >> 32 * word)

    def read(self, offset: int, size: int = 1) -> int:
        if offset >= ENABLE and size == 4 and offset & 3 == 0:
            return self._read_context(offset)
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= ENABLE and size == 4 and offset & 3 == 0:
            self._write_context(offset, value)
            self.settle()
        else:
            super().write(offset, size, value)

    # The map of the contexts is too large (half a million registers) for a table of handlers.

    def _read_context(self, offset: int) -> int:
        if offset < CONTEXT:
            context, word = divmod(offset - ENABLE, 0x80)
            known = context < len(self.outputs)
            return self.enable[context] >> 8 * word & 0xFFFF_FFFF if known else 0
        context, register = divmod(offset - CONTEXT, 0x1000)
        if context >= len(self.outputs) or register > 4:
            return 0
        return self._claim(context) if register == 4 else int(self.threshold[context])

    def _write_context(self, offset: int, value: int) -> None:
        context, at = divmod(offset - CONTEXT, 0x1000) if offset >= CONTEXT else divmod(offset - ENABLE, 0x80)
        if context >= len(self.outputs):
            return
        if offset < CONTEXT:
            kept = self.enable[context] & ~(0xFFFF_FFFF << 8 * at)
            self.enable[context] = (kept | value << 8 * at) & self.real
        elif at == 0:
            self.threshold[context] = value & self.PRIORITIES
        elif at == 4:
            self._complete(context, value)

    def _claim(self, context: int) -> int:
        n = self.best(context)
        if n:
            self.pending &= ~(1 << n)
            self.claimed |= 1 << n
            self.settle()
        return n

    def _complete(self, context: int, n: int) -> None:
        """Silently ignored unless the source is enabled for this context (chapter 9)."""
        bit = 1 << n & self.enable[context] if n <= self.sources else 0
        self.claimed &= ~bit
        self.pending |= bit & self.levels

    def settle(self) -> None:
        for context, output in enumerate(self.outputs):
            output.set(self.pending & self.enable[context] and self.best(context))
