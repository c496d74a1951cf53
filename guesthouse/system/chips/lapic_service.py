"""What a local APIC (lapic.py) does at the end of nearly every interrupt: the register EOI is written, a bit falls, and
nothing comes of it. A kernel does that hundreds of times a second, and for each request of a disk, so that processors
do this part themselves (engine/chip_code.py). After Intel's SDM volume 3, 11.8.5.
"""

from guesthouse.bits import u64
from guesthouse.system.chips.kit import REFUSED
from guesthouse.typed import Array, Struct, clz

EOI = 0xB0  # offset of the register


class Service(Struct):
    """Who is served, a bit for each vector; whose end the I/O APICs hear of; and whether nobody waits for an end."""

    in_service: Array[u64, 4]
    trigger_mode: Array[u64, 4]
    quiet: u64

    def read(self, offset: u64, size: u64) -> u64:
        return u64(REFUSED)

    def write(self, offset: u64, size: u64, value: u64) -> u64:
        if offset != EOI or size != 4 or self.quiet == 0:
            return u64(REFUSED)
        for n in (3, 2, 1, 0):
            if self.in_service[n] != 0:
                highest = u64(1) << 63 - clz(self.in_service[n])
                if self.trigger_mode[n] & highest != 0:
                    return u64(REFUSED)
                self.in_service[n] = self.in_service[n] ^ highest
                return u64(0)
        return u64(0)
