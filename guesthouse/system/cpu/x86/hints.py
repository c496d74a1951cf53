"""Instructions that do nothing here: prefetches, cache line control, fences (but one: memory is ordered as the
book's, whose only fence that matters is MFENCE), and the reserved no-operations, among them ENDBR (SDM 2A, CET is not
modelled)."""

from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Ev, M


@op("0F 18 /r", Ev)
@op("0F 19 /r", Ev)
@op("0F 1A /r", Ev)
@op("0F 1B /r", Ev)
@op("0F 1C /r", Ev)
@op("0F 1D /r", Ev)
@op("0F 1E /r", Ev)
@op("0F 1F /r", Ev)
def nop(cpu, ignored) -> None:
    """SDM 2B, NOP, PREFETCHh; table A-3."""


@op("0F 0D /r", M)
def prefetchw(cpu, address) -> None:
    """SDM 2B, PREFETCHW."""


@op("NP 0F AE /7", M)
@op("66 0F AE /7", M)
def clflush(cpu, address) -> None:
    """SDM 2A, CLFLUSH, CLFLUSHOPT. Not modelled: the fault that an unmapped address gives. CPUID has no CLWB."""


@op("NP 0F AE E8+i")
@op("NP 0F AE F8+i")
def fence(cpu) -> None:
    """SDM 2A and 2B, LFENCE, SFENCE: nothing, as loads are done in order, and stores too."""


@op("NP 0F AE F0+i")
def mfence(cpu) -> None:
    """SDM 2B, MFENCE."""
    cpu.fence()
