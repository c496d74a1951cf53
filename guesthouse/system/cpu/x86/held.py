"""Model-specific registers that hold what is written to them and do nothing else (SDM 4, table 2-4: first generation of
Atom processors, whose model CPUID tells). Systems touch them without asking CPUID, so they have to be there.

IA32_DEBUGCTL and the records of branches are kept here, and work in debug.py. Not modelled: what the others would
control. Microcode is not updated, nothing gets warm, changes its clock or is counted, and the banks of the
machine-check architecture never have anything to report. What is written to bits that cannot be written is lost, where
a processor may also fault.
"""

from guesthouse.bits import u64
from guesthouse.typed import Table, function

RATIO = 10  # of the clock to the bus's
BUS_100_MHZ = 5  # FSB_FREQ
COOL = 40  # degrees below the temperature at which it would slow down
MC_BANKS, MC_FIRST = 5, 0x400
MC_CTL, MC_STATUS = 0, 1  # of the four registers of a bank; MC_ADDR and MC_MISC follow
ALL, LOW = (1 << 64) - 1, (1 << 32) - 1

# number: (value after reset, what can be written)
HELD: dict[int, tuple[int, int]] = {
    0x000: (0, 0), 0x001: (0, 0),  # P5_MC_ADDR, P5_MC_TYPE
    0x017: (0, 0),  # PLATFORM_ID: which microcode fits
    0x02A: (0, LOW),  # EBL_CR_POWERON
    0x03A: (1, 0),  # FEATURE_CONTROL: locked
    0x079: (0, 0),  # BIOS_UPDT_TRIG
    0x0C1: (0, 0), 0x0C2: (0, 0), 0x186: (0, 0), 0x187: (0, 0),  # PMC0, PMC1, PERFEVTSEL0, PERFEVTSEL1
    0x0CD: (BUS_100_MHZ, 0),  # FSB_FREQ
    0x0E7: (0, ALL), 0x0E8: (0, ALL),  # MPERF, APERF
    0x11E: (0xBE70_2111, 0),  # BBL_CR_CTL3: there is a second cache, on
    0x198: (RATIO << 40 | RATIO << 8, 0), 0x199: (RATIO << 8, 0xFFFF),  # PERF_STATUS, PERF_CTL
    0x19A: (0, 0x1E), 0x19B: (0, 0x1FF_FFFF), 0x19C: (1 << 31 | COOL << 16, 0),  # clock modulation, thermal monitor
    0x19D: (0, 1 << 16),  # THERM2_CTL
    0x1C9: (0, 7), 0x1D9: (0, 3), 0x1DB: (0, 0), 0x1DC: (0, 0),  # LASTBRANCH_TOS, DEBUGCTL; P6's last branch
    0x1DD: (0, ALL), 0x1DE: (0, ALL),  # LER_FROM_LIP, LER_TO_LIP: the last branch before an exception
    **{n: (0, ALL) for first in (0x40, 0x60) for n in range(first, first + 8)},  # LASTBRANCH_n_FROM_IP, _TO_IP
    **{MC_FIRST + 4 * n + part: (0, 0 if part == MC_STATUS else ALL) for n in range(MC_BANKS) for part in range(4)},
}
NUMBERS = Table(u64, list(HELD))
WRITABLE = Table(u64, [mask for _, mask in HELD.values()])


@function
def place_of(n: u64) -> u64:
    """Where in `held` a register is; behind the end if it is none of these."""
    at = u64(0)
    while at < len(NUMBERS) and NUMBERS[at] != n:
        at += 1
    return at
