"""What the processor says it is: CPUID (SDM 2A, CPUID, tables 3-8 to 3-20).

Features are those that are there. Family 6, model 1Ch is Intel's first Atom, an in-order processor without
speculation: the one whose kind this engine is of, so that systems see no reason for measures against
speculation. Leaves 15h and 16h tell the frequency of the TSC, 1 GHz, so that nobody has to measure it. Caches
(leaf 4) are those of no processor: programs choose block sizes by them. A leaf that does not exist reads as
zeros.
"""

from guesthouse.bits import select, u32, u64
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.paging import PHYSICAL_BITS
from guesthouse.system.cpu.x86.state import RAX, RBX, RCX, RDX
from guesthouse.system.cpu.x86.system_state import CR4_OSXSAVE
from guesthouse.typed import Table, function

HIGHEST, HIGHEST_EXTENDED, HYPERVISOR, TIMING = 0x1F, 0x8000_0008, 0x4000_0000, 0x4000_0010
SIGNATURE = 0x000106CA  # family 6, model 1Ch, stepping 10
MHZ = 1000
XSAVE_SIZE = 576
KILO = 1024


def bits(names: dict[str, int], wanted: str) -> int:
    """The bits of the features named."""
    return sum(1 << names[name] for name in wanted.split())


ONE_C = dict(sse3=0, pclmulqdq=1, ssse3=9, cx16=13, pcid=17, sse41=19, sse42=20, x2apic=21, movbe=22, popcnt=23,
             tsc_deadline=24, aes=25, xsave=26, osxsave=27, rdrand=30, hypervisor=31)
ONE_D = dict(fpu=0, vme=1, de=2, pse=3, tsc=4, msr=5, pae=6, mce=7, cx8=8, apic=9, sep=11, mtrr=12, pge=13, mca=14,
             cmov=15, pat=16, pse36=17, clflush=19, mmx=23, fxsr=24, sse=25, sse2=26, htt=28)
SEVEN_B = dict(fsgsbase=0, tsc_adjust=1, bmi1=3, smep=7, bmi2=8, erms=9, invpcid=10, rdseed=18, adx=19, smap=20,
               clflushopt=23, sha=29)
SEVEN_C, SEVEN_D = dict(umip=2, rdpid=22), dict(fsrm=4)
EXTENDED_C, EXTENDED_D = dict(lahf=0, lzcnt=5, prefetchw=8), dict(syscall=11, nx=20, page1gb=26, rdtscp=27, lm=29)

FEATURES_C = bits(ONE_C, "sse3 pclmulqdq ssse3 cx16 pcid sse41 sse42 x2apic movbe popcnt tsc_deadline aes xsave rdrand "
                         "hypervisor")
FEATURES_D = bits(ONE_D, "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse "
                         "sse2")


def words(text: str) -> tuple[int, int, int]:
    """Twelve characters in three registers."""
    raw = text.encode().ljust(12, b"\0")
    return tuple(int.from_bytes(raw[n:n + 4], "little") for n in (0, 4, 8))  # type: ignore[return-value]


def cache(kind: int, level: int, size: int, ways: int) -> tuple[int, int, int, int]:
    """A subleaf of leaf 4: kind 1 data, 2 instructions, 3 both; lines of 64 bytes."""
    return kind | level << 5 | 1 << 8, (ways - 1) << 22 | 63, size // 64 // ways - 1, 0


VENDOR, HOST = words("GenuineIntel"), words("guesthouseVM")
CACHES = 4
LEAVES: dict[tuple[int, int], tuple[int, int, int, int]] = {
    (0, 0): (HIGHEST, VENDOR[0], VENDOR[2], VENDOR[1]),
    (1, 0): (SIGNATURE, 8 << 8, FEATURES_C, FEATURES_D),  # CLFLUSH lines of 8 * 8 bytes
    (2, 0): (0xFF01, 0, 0, 0),  # see leaf 4
    (4, 0): cache(1, 1, 32 * KILO, 8),
    (4, 1): cache(2, 1, 32 * KILO, 8),
    (4, 2): cache(3, 2, 1024 * KILO, 16),
    (4, 3): cache(3, 3, 8192 * KILO, 16),
    (6, 0): (1 << 2, 0, 0, 0),  # the APIC timer always runs
    (7, 0): (0, bits(SEVEN_B, "fsgsbase tsc_adjust bmi1 smep bmi2 erms invpcid rdseed adx smap clflushopt sha"),
             bits(SEVEN_C, "umip rdpid"), bits(SEVEN_D, "fsrm")),
    (0xB, 0): (0, 1, 0x100, 0),
    (0xB, 1): (0, 1, 0x201, 0),
    (0xD, 0): (3, XSAVE_SIZE, XSAVE_SIZE, 0),
    (0xD, 1): (0b111, XSAVE_SIZE, 0, 0),  # XSAVEOPT, XSAVEC, XGETBV with ECX = 1
    (0x1F, 0): (0, 1, 0x100, 0),
    (0x1F, 1): (0, 1, 0x201, 0),
    (0x15, 0): (1, 1, MHZ * 1_000_000, 0),
    (0x16, 0): (MHZ, MHZ, 100, 0),
    (HYPERVISOR, 0): (TIMING, *HOST),
    (TIMING, 0): (MHZ * 1000, MHZ * 1000, 0, 0),  # TSC and local APIC timer in kHz
    (0x8000_0000, 0): (HIGHEST_EXTENDED, 0, 0, 0),
    (0x8000_0001, 0): (0, 0, bits(EXTENDED_C, "lahf lzcnt prefetchw"),
                       bits(EXTENDED_D, "syscall nx page1gb rdtscp lm")),
    (0x8000_0006, 0): (0, 0, 1024 << 16 | 8 << 12 | 64, 0),
    (0x8000_0007, 0): (0, 0, 0, 1 << 8),  # the TSC is invariant
    (0x8000_0008, 0): (PHYSICAL_BITS | 48 << 8, 0, 0, 0),
}
KEYS = Table(u64, [leaf << 32 | subleaf for leaf, subleaf in LEAVES])
LOW = Table(u64, [a | b << 32 for a, b, _, _ in LEAVES.values()])
HIGH = Table(u64, [c | d << 32 for _, _, c, d in LEAVES.values()])


@function
def tell(cpu, a: u64, b: u64, c: u64, d: u64) -> None:
    cpu.r[RAX], cpu.r[RBX] = a & 0xFFFF_FFFF, b & 0xFFFF_FFFF
    cpu.r[RCX], cpu.r[RDX] = c & 0xFFFF_FFFF, d & 0xFFFF_FFFF


@function
def tell_leaf(cpu, leaf: u64, subleaf: u64) -> None:
    """A leaf of the table."""
    low, high, n = u64(0), u64(0), u64(0)
    while n < len(KEYS):
        if KEYS[n] == leaf << 32 | subleaf:
            low, high = LOW[n], HIGH[n]
        n += 1
    tell(cpu, low, low >> 32, high, high >> 32)


def has_subleaves(leaf: u64):
    return leaf == 4 or leaf == 7 or leaf == 0xB or leaf == 0xD or leaf == 0x1F


@op("0F A2")
def cpuid(cpu):
    """SDM 2A, CPUID."""
    leaf, subleaf = u64(u32(cpu.r[RAX])), u64(u32(cpu.r[RCX]))
    tell_leaf(cpu, leaf, select(has_subleaves(leaf), subleaf, u64(0)))
    complete(cpu, leaf, subleaf)


@function
def complete(cpu, leaf: u64, subleaf: u64) -> None:
    """What depends on the processor or its state."""
    if leaf == 1:
        several = cpu.processors > 1
        cpu.r[RBX] = cpu.r[RBX] | cpu.apic_id << 24 | select(several, cpu.processors << 16, u64(0x10000))
        cpu.r[RDX] = cpu.r[RDX] | select(several, u64(1 << 28), u64(0))
        cpu.r[RDX] = cpu.r[RDX] & ~(cpu.apic_off << 9)
        cpu.r[RCX] = cpu.r[RCX] | select(cpu.cr4 & CR4_OSXSAVE != 0, u64(1 << 27), u64(0))
    elif leaf == 4:
        tell_sharing(cpu, subleaf)
    elif leaf == 0xB or leaf == 0x1F:
        tell_topology(cpu, subleaf)
    elif leaf >= 0x8000_0002 and leaf <= 0x8000_0004:
        n = (leaf - 0x8000_0002) * 2
        low, high = cpu.brand[n], cpu.brand[n + 1]
        tell(cpu, low, low >> 32, high, high >> 32)


@function
def id_width(cpu) -> u64:
    """How many bits of an APIC ID tell the processors of the package apart."""
    width = u64(0)
    while u64(1) << width < cpu.processors:
        width += 1
    return width


@function
def tell_sharing(cpu, subleaf: u64) -> None:
    """Leaf 4: the cores of the package, and who shares a cache: all of them the last."""
    others = (u64(1) << id_width(cpu)) - 1
    if subleaf < CACHES:
        shared = select(subleaf == CACHES - 1, others << 14, u64(0))
        cpu.r[RAX] = cpu.r[RAX] | select(others < 63, others, u64(63)) << 26 | shared


@function
def tell_topology(cpu, subleaf: u64) -> None:
    """Leaves Bh and 1Fh: one thread in each core, all cores in one package."""
    width = id_width(cpu)
    cpu.r[RDX] = cpu.apic_id
    cpu.r[RCX] = cpu.r[RCX] & 0xFF00 | subleaf & 0xFF
    if subleaf == 1:
        cpu.r[RAX], cpu.r[RBX] = width, cpu.processors
