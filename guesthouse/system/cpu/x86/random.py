"""RDRAND and RDSEED (SDM 2B): numbers from a generator in the processor's state, xoshiro256**.

The board seeds it, with the host's entropy or, for a run that must be repeatable, with a number. Not a
cryptographic generator: systems mix what it gives with other sources. It never runs dry: CF is always set.
"""

from guesthouse.bits import rotl, u64
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.flags import CF
from guesthouse.system.cpu.x86.operands import Rv


def next_random(cpu) -> u64:
    """Blackman and Vigna's step."""
    a, b, c, d = (cpu.random[n] for n in range(4))
    made = rotl(b * 5, 7) * 9
    e, f = c ^ a, d ^ b
    cpu.random[0], cpu.random[1], cpu.random[2], cpu.random[3] = a ^ f, b ^ e, e ^ b << 17, rotl(f, 45)
    return made


def give(cpu, to) -> None:
    to.put(to.type(next_random(cpu)))
    cpu.set_status(u64(CF))


@op("0F C7 /6", Rv)
def rdrand(cpu, to):
    give(cpu, to)


@op("0F C7 /7", Rv)
def rdseed(cpu, to):
    give(cpu, to)
