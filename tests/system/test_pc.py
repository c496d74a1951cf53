import struct

import pytest

from guesthouse.bits import u64
from guesthouse.clock import VirtualClock
from guesthouse.engine.vcpu import (
    Died as CpuDied, MemoryRead, MemoryWrite, PortRead, PortWrite, RegisterRead, RegisterWrite, Window,
)
from guesthouse.errors import ImageError, UserError
from guesthouse.system.boards.outcome import Died, OutOfTime, PoweredOff, Reset
from guesthouse.system.boards.pc import BIOS, CR8, HOLE_END, PcBoard
from tests.system.fake import HALT, Scripted, x86_state

MIB = 1 << 20
LAPIC, IOAPIC = 0xFEE0_0000, 0xFEC0_0000


@pytest.fixture
def pc():
    made = []

    def make(*script, size=16 * MIB):
        made.append(PcBoard(size, VirtualClock(), lambda memory: Scripted(script, x86_state()),
                            random_bytes=lambda n: b"r" * n))
        return made[-1]

    yield make
    for board in made:
        board.close()


def route(pin, entry):
    """The writes that put `entry` into the I/O APIC's redirection table."""
    return [MemoryWrite(IOAPIC, 4, 0x10 + 2 * pin), MemoryWrite(IOAPIC + 0x10, 4, entry),
            MemoryWrite(IOAPIC, 4, 0x11 + 2 * pin), MemoryWrite(IOAPIC + 0x10, 4, 0)]


@pytest.mark.parametrize("n, port, irq", [(0, 0x3F8, 4), (1, 0x2F8, 3), (2, 0x3E8, 4), (3, 0x2E8, 3)])
def test_serial_ports_interrupt_through_the_inputs_that_pcs_have_for_them(pc, n, port, irq):
    b = pc(*route(irq, 0x40 + n), PortWrite(port + 1, 1, 1), HALT, Window(), CpuDied("end"))
    b.serial[n].send(b"a")
    b.run()
    assert b.vcpu.injected == [0x40 + n]


def test_the_timer_interrupts_through_input_2_and_wakes_a_halted_processor(pc):
    b = pc(*route(2, 0x30), PortWrite(0x43, 1, 0x34), PortWrite(0x40, 1, 0), PortWrite(0x40, 1, 0x10), HALT,
           Window(), CpuDied("end"))
    b.run()
    assert b.vcpu.injected == [0x30]
    assert b.clock.now() == pytest.approx(0x1000 / 1_193_182 * 1e9, rel=0.01)


def test_the_8259_reaches_the_processor_before_any_apic_is_programmed(pc):
    def begin(port, base, wiring):
        return [PortWrite(port, 1, 0x11), *[PortWrite(port + 1, 1, v) for v in (base, wiring, 1, 0)]]

    b = pc(*begin(0x20, 0x20, 4), *begin(0xA0, 0x28, 2), PortWrite(0x3F9, 1, 1), HALT, Window(), CpuDied("end"))
    b.serial[0].send(b"a")
    b.run()
    assert b.vcpu.injected == [0x24]


def test_the_power_button_is_a_level_at_input_9(pc):
    b = pc(*route(9, 0x8039), PortWrite(0x602, 2, 0x100), HALT, Window(), (PortRead, 0x600, 2), CpuDied("end"))
    assert b.press_power_button()
    b.run()
    assert b.vcpu.injected == [0x39] and b.vcpu.answers == [0x100]


@pytest.mark.parametrize("script, outcome", [
    ([PortWrite(0x604, 2, 0x2000)], PoweredOff()),
    ([PortWrite(0xCF9, 1, 6)], Reset()),
    ([PortWrite(0x64, 1, 0xFE)], Reset()),
    ([PortWrite(0x92, 1, 1)], Reset()),
])
def test_every_way_to_switch_off_or_reset_is_seen(pc, script, outcome):
    assert pc(*script).run() == outcome


def test_a_halt_with_interrupts_off_is_a_death_and_not_silence(pc):
    b = pc(lambda vcpu: setattr(vcpu.state, "flags", 2), HALT)
    outcome = b.run()
    assert isinstance(outcome, Died) and "halted for good" in outcome.reason and "Halted" in outcome.report


def test_pvpanic_is_a_panic_at_once(pc):
    outcome = pc((PortRead, 0x505, 1), PortWrite(0x505, 1, 1)).run()
    assert outcome.reason.startswith("kernel panic")


def test_apic_registers_are_msrs_and_cr8_and_the_rest_is_refused(pc):
    b = pc((RegisterRead, 0x1B), (RegisterWrite, CR8, 9), (RegisterRead, CR8), (MemoryRead, LAPIC + 0x80, 4),
           (RegisterRead, 0x12345), (RegisterWrite, 0x12345, 0), CpuDied("end"))
    b.run()
    assert b.vcpu.answers == [0xFEE0_0900, 9, 0x90] and b.vcpu.refused == 2


def test_the_tsc_deadline_counts_what_the_guest_has_added_to_its_counter(pc):
    b = pc((RegisterWrite, 0x1B, 0xFEE0_0900), MemoryWrite(LAPIC + 0x320, 4, 0x400EF),
           (RegisterWrite, 0x6E0, 5_000_000), HALT, Window(), CpuDied("end"))
    b.state.tsc_offset = u64(1_000_000)
    b.run()
    assert b.vcpu.injected == [0xEF] and b.clock.now() == 4_000_000


def config(slot, register, function=0):
    return 0x8000_0000 | slot << 11 | function << 8 | register


def test_the_entropy_device_is_placed_and_can_be_moved_and_switched_off(pc):
    b = pc(PortWrite(0xCF8, 4, config(2, 0)), (PortRead, 0xCFC, 4), PortWrite(0xCF8, 4, config(2, 0x20)),
           (PortRead, 0xCFC, 4), PortWrite(0xCFC, 4, 0xD000_0000), (MemoryRead, 0xD000_0012, 2),
           PortWrite(0xCF8, 4, config(2, 4)), PortWrite(0xCFC, 2, 0), (MemoryRead, 0xD000_0012, 2), CpuDied("end"))
    b.run()
    assert b.vcpu.answers == [0x1005_1AF4, 0xC000_400C, 1, 0xFFFF]


def test_a_window_that_is_moved_onto_another_chip_answers_nowhere(pc):
    b = pc(PortWrite(0xCF8, 4, config(2, 0x20)), PortWrite(0xCFC, 4, IOAPIC & ~0x3FFF), (MemoryRead, 0xC000_4012, 2),
           CpuDied("end"))
    b.run()
    assert b.vcpu.answers == [0xFFFF] and b.addresses.find(IOAPIC).name == "ioapic"


@pytest.mark.parametrize("size, lines", [
    (16 * MIB, [(0, 0xA_0000), (MIB, 15 * MIB)]),
    (4 << 30, [(0, 0xA_0000), (MIB, 0xC000_0000 - MIB), (HOLE_END, 1 << 30)]),
])
def test_the_memory_map_leaves_a_hole_for_chips_and_loses_no_ram(pc, size, lines):
    b = pc(size=size)
    assert [(m.start, m.size) for m in b.memory_map() if m.kind == 1] == lines
    for start, length in lines:
        b.memory.read(start + length - 4, 4)


def test_too_little_memory_is_a_message():
    with pytest.raises(UserError, match="8 MiB"):
        PcBoard(MIB, VirtualClock(), lambda memory: Scripted([], x86_state()))


def test_tables_are_found_where_the_rsdp_says_and_their_sums_are_zero(pc):
    b = pc()
    rsdp = b.memory.read(b.rsdp, 36)
    assert rsdp[:8] == b"RSD PTR " and sum(rsdp) % 256 == 0 and sum(rsdp[:20]) % 256 == 0
    xsdt_at = struct.unpack_from("<Q", rsdp, 24)[0]
    found = {}
    tables = [xsdt_at, *struct.unpack("<2Q", b.memory.read(xsdt_at + 36, 16))]
    for at in tables:
        signature, length = struct.unpack("<4sI", b.memory.read(at, 8))
        found[signature] = b.memory.read(at, length)
        assert sum(found[signature]) % 256 == 0 and BIOS <= at < MIB
    assert set(found) == {b"XSDT", b"FACP", b"APIC"}
    dsdt_at = struct.unpack_from("<Q", found[b"FACP"], 140)[0]
    assert b.memory.read(dsdt_at, 4) == b"DSDT"


def test_a_run_ends_at_its_limit_while_a_guest_idles_with_timers(pc):
    b = pc(*route(2, 0x10030), PortWrite(0x43, 1, 0x34), PortWrite(0x40, 1, 0), PortWrite(0x40, 1, 0), HALT)
    assert b.run(until=10**9) == OutOfTime() and b.clock.now() >= 10**9


def test_what_is_no_kernel_is_refused_with_the_place(pc):
    with pytest.raises(ImageError, match="0x1fe"):
        pc().load_linux(bytes(4096))


def test_a_report_shows_registers_page_walk_and_disassembly():
    from guesthouse.engine.soft import SoftVcpu
    from guesthouse.system.boards import x86
    from guesthouse.system.cpu.x86.entry import reset
    from guesthouse.system.cpu.x86.guest import X86_GUEST
    from guesthouse.system.firmware.linux_x86 import PAGE_TABLES, X86Entry, write_gdt, write_page_tables

    b = PcBoard(16 * MIB, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST))
    write_gdt(b.memory)
    write_page_tables(b.memory)
    b.memory.write(MIB, b"\x48\x01\xd8\xf4")  # add rax, rbx; hlt
    reset(b.state)
    x86.enter(b.state, X86Entry(MIB, True, {"rax": 2, "rbx": 3}, page_table=PAGE_TABLES))
    outcome = b.run()
    b.state.pc = u64(MIB)
    report = b.report(outcome.reason)
    assert outcome.reason == "halted for good, with interrupts off"
    for part in ("rax 0000000000000005", "PML4E at 000000030000", "add rax, rbx", "hlt", "Halted"):
        assert part in report
    b.close()


def reported(program, place, **state):
    """What is reported of a processor at that place, in real mode or as `state` has it."""
    from types import SimpleNamespace

    from guesthouse.system.boards import x86

    b = PcBoard(16 * MIB, VirtualClock(), lambda memory: Scripted((), SimpleNamespace()))
    for at, data in program.items():
        b.memory.write(at, data)
    given = {"cr0": 0, "cr2": 0, "cr3": 0, "cr4": 0, "efer": 0, "code_bits": 16} | state
    processor = SimpleNamespace(pc=place, segments=[SimpleNamespace(base=0xF_0000)] * 6, **given)
    text = "\n".join(x86.describe(processor, b.memory))
    b.close()
    return text


def test_a_report_from_real_mode_has_the_code_that_was_running():
    assert "00000000000fa03c  f4" in reported({0xF_A03C: b"\xf4"}, 0xF_A03C)


@pytest.mark.parametrize("state, tables", (
    ({"cr3": 0x1000}, {0x1004: b"\x07\x20", 0x2004: b"\x07\x90"}),
    ({"cr3": 0x1000, "cr4": 0x10}, {0x1004: b"\x87\0\x40"}),  # 4 MiB
    ({"cr3": 0x1020, "cr4": 0x20}, {0x1020: b"\x01\x20", 0x2010: b"\x07\x30", 0x3008: b"\x07\x90"}),
))
def test_a_report_walks_tables_of_32_bits_and_of_pae(state, tables):
    place = 0x40_1000
    text = reported(tables | {0x9000: b"\xf4", place: b"\xf4"}, place, cr0=1 << 31, code_bits=32, **state)
    assert "PDE at" in text and "0000000000401000  f4" in text and "cannot be shown: " not in text.split("page walk")[1]
