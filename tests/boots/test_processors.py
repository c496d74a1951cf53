"""Debian on several processors, by turns and at the same time: they are found, used, switched off and on again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guesthouse.errors import GuesthouseError
from guesthouse.images.catalogue import Catalogue
from guesthouse.manager.machine import Machine

pytestmark = [pytest.mark.boot, pytest.mark.slow]
BOOT = 120.0

# A static ELF file of our own for Linux on x86-64. Four threads (clone) add one to a counter 20,000 times each, which
# is protected by a mutex (LOCK CMPXCHG, XCHG, and futex where it is taken); the main thread waits for them with futex.
# Status 0 if nothing is lost.
COUNTS = bytes.fromhex(
    "7f454c4602010100000000000000000002003e000100000078004000000000004000000000000000000000000000000000000000"
    "40003800010000000000000001000000070000000000000000000000000040000000000000004000000000009001000000000000"
    "00000200000000000010000000000000bb04000000b838000000bf000f050089dec1e60c81c60020400031d24531d24531c00f05"
    "85c0783a7444ffcb75d78b14258010400083fa047416b8ca000000bf80104000be800000004531d20f05ebde813c254010400080"
    "380100bf000000007405bf01000000b8e70000000f05bb204e000031c0b901000000f00fb10c2500104000742bb8020000008704"
    "250010400085c0741bb8ca000000bf00104000be80000000ba020000004531d20f05ebd58b2c2540104000b914000000ffc975fc"
    "ffc5892c254010400031c08704250010400083f8027516b8ca000000bf00104000be81000000ba010000000f05ffcb7582f0ff04"
    "2580104000b8ca000000bf80104000be81000000ba010000000f05b83c00000031ff0f05")


@pytest.fixture(scope="module", params=[(2, False), (4, True)], ids=["two by turns", "four in parallel"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    try:
        Catalogue().get("debian", "amd64")
    except GuesthouseError as wrong:
        pytest.skip(f"no guest: {wrong}")
    cpus, parallel = request.param
    with Machine.run("debian", memory="256M", cpus=cpus, parallel=parallel) as made:
        made.wait_until_up(BOOT)
        yield made


def shell(machine: Machine, script: str, **options: bytes) -> str:
    return machine.exec(["sh", "-c", script], check=True, timeout=120, **options).stdout  # type: ignore[arg-type]


def test_the_kernel_finds_all_of_them(machine: Machine) -> None:
    count = len(machine.cpu)
    assert shell(machine, "nproc; grep -c ^processor /proc/cpuinfo").split() == [str(count)] * 2
    cores = shell(machine, "cat /sys/devices/system/cpu/cpu*/topology/core_id /proc/cpuinfo | grep -v [a-z]").split()
    assert cores == [str(n) for n in range(count)]


def test_a_program_runs_where_it_is_told_to(machine: Machine) -> None:
    for n in range(len(machine.cpu)):
        assert shell(machine, f"taskset -c {n} cut -d' ' -f39 /proc/self/stat") == f"{n}\n"


def test_threads_that_share_a_counter_lose_nothing(machine: Machine) -> None:
    shell(machine, "cat > /tmp/counts; chmod +x /tmp/counts", input=COUNTS)
    shell(machine, "/tmp/counts && /tmp/counts && /tmp/counts")


def test_a_processor_is_switched_off_and_on_again(machine: Machine) -> None:
    online = "/sys/devices/system/cpu/cpu1/online"
    found = shell(machine, f"for n in 0 1 0 1; do echo $n > {online}; nproc; done").split()
    assert found == [str(len(machine.cpu) - 1), str(len(machine.cpu))] * 2


def test_their_time_is_one(machine: Machine) -> None:
    assert shell(machine, "cat /sys/devices/system/clocksource/clocksource0/current_clocksource") == "tsc\n"


def test_registers_of_each_can_be_looked_at_and_all_are_reported(machine: Machine) -> None:
    assert all(cpu.cr3 and cpu.count() for cpu in machine.cpu)
    assert machine.report().count("rip") >= len(machine.cpu)
    counted = machine.statistics()
    assert sum(counted[f"cpu{n}.instructions"] for n in range(len(machine.cpu))) == counted["instructions"]


def test_it_pauses_steps_and_goes_on(machine: Machine) -> None:
    machine.pause()
    before = sum(cpu.count() for cpu in machine.cpu)
    assert sum(cpu.count() for cpu in machine.cpu) == before
    machine.step(10)
    assert sum(cpu.count() for cpu in machine.cpu) - before in range(0, 11)
    machine.resume()
    assert shell(machine, "nproc") == f"{len(machine.cpu)}\n"


def test_it_starts_again_with_all_of_them(machine: Machine) -> None:
    machine.console.write("reboot\n")
    machine.console.expect("built-in shell", timeout=BOOT)
    machine.wait_until_up(BOOT)
    assert shell(machine, "nproc") == f"{len(machine.cpu)}\n"
