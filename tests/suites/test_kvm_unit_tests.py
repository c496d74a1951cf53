"""kvm-unit-tests, built elsewhere: GUESTHOUSE_KVM_UNIT_TESTS names its folder, or several as in PATH (one for x86_64
and one for i386: `./configure --arch=…; make`).

Every test of x86/unittests.cfg runs as that file says (processors, memory, arguments) on the PC, started as a multiboot
kernel with the test devices: output on the first serial port, result at port F4h; those with several processors by
turns, in every way, and in parallel. DIFFERENT says why a test does not pass; without a line there it must.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from guesthouse.clock import RealClock
from guesthouse.system.boards.board import PoweredOff
from guesthouse.system.boards.classic import ClassicPc
from tests.suites.ways import WAYS, processor_in

VARIABLE = "GUESTHOUSE_KVM_UNIT_TESTS"
PASSED, FAILED, SKIPPED, ABORTED = ((code << 1 | 1) & 0xFF for code in (0, 1, 38, 63))
SECONDS, SECONDS_IN_VAIN = 600, 20  # the second for what does not end
ARCHES = {1: "i386", 2: "x86_64"}  # by the class of an ELF file

pytestmark = pytest.mark.suite


@dataclass(frozen=True)
class Different:
    """A test that does not pass: how it ends, which lines say FAIL, and why that is right."""

    status: int | None  # None: it does not end
    why: str
    fails: tuple[str, ...] = ()


def skips(why: str) -> Different:
    return Different(SKIPPED, why)


# Families that all end alike, by how their names begin.
FAMILIES = {
    "vmx": skips("nested virtualisation: CPUID has no VMX"), "ept": skips("nested virtualisation: CPUID has no VMX"),
    "svm": skips("nested virtualisation: CPUID has no SVM"),
    "hyperv_": skips("CPUID does not claim Hyper-V's interface"),
}
DIFFERENT = {
    "x2apic": Different(ABORTED, "in its midst it makes KVM's hypercall for IPIs without asking for it: #UD"),
    "xapic": Different(ABORTED, "as x2apic"),
    "vmexit_vmcall": Different(ABORTED, "VMCALL is undefined outside VMX operation and KVM"),
    "access_fep": skips("KVM's prefix that forces emulation"),
    "pku": skips("CPUID has no protection keys"), "pks": skips("CPUID has no protection keys"),
    "asyncpf": skips("CPUID does not claim KVM's interface"),
    "kvmclock_test": skips("CPUID does not claim KVM's interface"),
    "pmu_lbr": skips("CPUID has no performance counters"), "pmu_pebs": skips("CPUID has no performance counters"),
    "tsx-ctrl": skips("CPUID has no TSX"), "cet": skips("CPUID has no CET"),
    "hypercall": Different(FAILED, "KVM's hypercall is not there, and CPUID does not claim it", (
        "Hypercall via VMCALL: #UD(0)", "VMCALL on edge of canonical address space (Intel)")),
    "vmware_backdoors": Different(FAILED, "VMware's port is not there; unittests.cfg wants it switched on in KVM", (
        "vmware_backdoors: port_test: CMD_GETVERSION user", "vmware_backdoors: port_test: CMD_GETVERSION kernel",
        "vmware_backdoors: port_test: CMD_ILLEGAL user")),
    "syscall": Different(ABORTED, "SYSCALL from compatibility mode is AMD's; Intel's processors and ours give #UD"),
    "intel_iommu": Different(FAILED, "there is no IOMMU, and ACPI has no DMAR", ("vtd_init: fault status check",)),
    "s3": Different(None, "suspends to RAM, which the ACPI tables do not offer: they have S5 only"),
}


def entries_in(folder: Path):
    """(name, what unittests.cfg says) of each test that has been built."""
    text = (folder / "x86" / "unittests.cfg").read_text()
    for block in re.split(r"^(?=\[)", text, flags=re.M)[1:]:
        said = dict(re.findall(r"^(\w+) *= *(.*?) *$", block, re.M))
        said["name"] = block[1:block.index("]")]
        path = folder / "x86" / said["file"]
        if path.is_file() and said.get("arch", arch := arch_of(path)) == arch:
            yield said, path


def arch_of(path: Path) -> str:
    return ARCHES[path.with_suffix(".elf").read_bytes()[4]]


def built():
    found = os.environ.get(VARIABLE)
    if not found:
        return [pytest.param(None, None, marks=pytest.mark.skip(
            f"{VARIABLE} is not set: name the folders where kvm-unit-tests are built"))]
    return [pytest.param(said | {"parallel": parallel}, path, id=f"{said['name']}-{arch_of(path)}{parallel}")
            for folder in found.split(os.pathsep) for said, path in entries_in(Path(folder))
            for parallel in ("", "-parallel") if not parallel or int(said.get("smp", 1)) > 1]


def arguments(said) -> str:
    """What is given to the test, with the time of day where the file asks for it."""
    given = re.sub(r"`date \+%s`", "1800000000", said.get("test_args", ""))
    return given.strip("'\"")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("said, path", built())
def test_ends_as_it_should(said, path, way):
    if said["parallel"] and way == "hot":
        pytest.skip("processors in parallel are threaded")
    memory = re.search(r"-m (\d+)(g?)", said.get("qemu_params", ""))
    size = int(memory[1]) << (30 if memory[2] else 20) if memory else 256 << 20
    board = ClassicPc(size, RealClock(), processor_in(way), cpus=int(said.get("smp", 1)),
                      parallel=bool(said["parallel"]))
    heard = bytearray()
    board.serial[0].output = heard.extend
    board.add_test_devices()
    try:
        board.load_multiboot(path, arguments(said), name=path.name)
        expected = expectation(said["name"])
        outcome = board.run(seconds=SECONDS if expected.status is not None else SECONDS_IN_VAIN)
        check(expected, outcome, heard.decode("latin-1").replace("\r", ""), board)
    finally:
        board.close()


def expectation(name: str) -> Different:
    family = [ends for begin, ends in FAMILIES.items() if name.startswith(begin)]
    return family[0] if family else DIFFERENT.get(name, Different(PASSED, ""))


def check(expected, outcome, text, board):
    """It ends as expected, and no line but those expected says FAIL."""
    fails = set(re.findall(r"^FAIL: (.*)", text, re.M))
    status = outcome.status if isinstance(outcome, PoweredOff) else None
    ends_so = status == expected.status and bool(fails) == bool(expected.fails) and fails <= set(expected.fails)
    assert ends_so, f"{text[-3000:]}\n{board.report(str(outcome))}"
