"""The Microwire EEPROM of 64 words behind an 82540EM, bit by bit; after the 93C46's data sheet, and Intel's PCI/PCI-X
Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), 5.6, for its contents.

Not modelled: writing.
"""

from __future__ import annotations

from guesthouse.system.chips.kit import Field, Stateful

CLOCK, SELECT, DATA_IN, DATA_OUT, REQUEST, GRANT, PRESENT = 1, 2, 4, 8, 0x40, 0x80, 0x100
READ, OPCODE_BITS, WORDS, SUM = 0b110, 9, 64, 0xBABA


class Eeprom(Stateful):
    pins = Field()
    shifted = Field()
    count = Field()
    out = Field(None)  # which bit is being given; None: none

    def __init__(self, address: bytes) -> None:
        words = [int.from_bytes(address[n:n + 2], "little") for n in (0, 2, 4)] + [0] * (WORDS - 4)
        words[0x0A], words[0x0B], words[0x0C], words[0x0D], words[0x0E] = 0x640B, 0x001E, 0x8086, 0x100E, 0x8086
        self.words = [*words, SUM - sum(words) & 0xFFFF]
        super().__init__()

    def get(self) -> int:
        bit = 1 if self.out is None else self.words[self.out >> 4 & 63] >> 15 - (self.out & 15) & 1
        granted = GRANT if self.pins & REQUEST else 0
        return int(self.pins) | PRESENT | granted | (DATA_OUT if bit else 0)

    def put(self, value: int) -> None:
        before, self.pins = self.pins, value & (CLOCK | SELECT | DATA_IN | REQUEST)
        if not value & SELECT or not before & SELECT:
            self.shifted, self.count, self.out = 0, 0, None
        elif value & ~before & CLOCK:
            self._shift(value & DATA_IN)

    def _shift(self, bit: int) -> None:
        """A start bit and two of opcode, six of address; then each clock gives a bit, after one that is 0."""
        if self.out is not None:
            self.out = self.out + 1 & 0x3FF
            return
        self.shifted = (self.shifted << 1 | bool(bit)) & 0x1FF
        self.count = min(self.count + 1, OPCODE_BITS) if self.count or bit else 0
        if self.count == OPCODE_BITS and self.shifted >> 6 == READ:
            self.out = ((self.shifted & 63) << 4) - 1 & 0x3FF
