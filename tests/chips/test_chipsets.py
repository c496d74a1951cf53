"""Host bridges, ISA bridges and power management functions: 82441FX, 82371SB and AB; 82Q35 and ICH9."""

from types import SimpleNamespace

import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.acpi_pm import AcpiPm
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.pci.i440fx import PM, SMBUS, HostBridge, Piix3Isa, Piix4Power
from guesthouse.system.chips.pci.pirq import PirqLines
from guesthouse.system.chips.pci.q35 import CONFIGURATION, RCRB, Ahci, Ich9Lpc, Mch


def lines(count=4):
    outputs = {n: Line() for n in (10, 11)}
    return PirqLines(count, outputs, lambda n, high: None), outputs


def test_the_bridges_have_the_identities_of_their_data_sheets():
    block = SimpleNamespace(read=lambda *a: 0, write=lambda *a: None)
    made = [HostBridge(), Piix3Isa(lines()[0]), Piix4Power(block, block), Mch(None, None), Ich9Lpc(lines(8)[0], block),
            Ahci(block, Line())]
    assert [chip.read(0, 4) for chip in made] == [
        0x1237_8086, 0x7000_8086, 0x7113_8086, 0x29C0_8086, 0x2918_8086, 0x2922_8086]
    assert [chip.read(8, 4) >> 8 for chip in made] == [0x06_0000, 0x06_0100, 0x06_8000, 0x06_0000, 0x06_0100, 0x01_0601]


@pytest.mark.parametrize("bridge, pam, smram", [(HostBridge(), 0x59, 0x72), (Mch(None, None), 0x90, 0x9D)])
def test_what_lies_below_1_mib_is_told_at_each_change_and_smram_can_be_locked(bridge, pam, smram):
    told = []
    bridge.space = lambda *what: told.append(what)
    bridge.write(pam, 1, 0xFF)
    assert told[-1][0][0] == 0x33
    bridge.write(smram, 1, 0x5A)
    assert bridge.read(smram, 1) == 0x1A  # D_LCK clears D_OPEN
    bridge.write(smram, 1, 0x48)
    assert bridge.read(smram, 1) == 0x1A
    bridge.reset()
    assert bridge.read(smram, 1) == 0x02


def test_tseg_has_the_size_that_esmramc_says_until_it_is_locked():
    told, chip = [], Mch(None, None)
    chip.space = lambda pam, smram, tseg: told.append(tseg)
    assert chip.read(0x9E, 1) == 0x38
    for value, size in ((0xFF, 16), (0x05, 8), (0x03, 2), (0x01, 1), (0x06, 0)):
        chip.write(0x9E, 1, value)
        assert chip.read(0x9E, 1) == value & 7 | 0x38 and told[-1] == size << 20
    chip.write(0x50, 2, 0xFFFF)
    assert chip.read(0x50, 2) == 16, "MiB of the extended size"
    chip.write(0x9E, 1, 0x01)
    chip.write(0x9D, 1, 0x1A)
    chip.write(0x9E, 1, 0x00)
    assert chip.read(0x9E, 1) == 0x39 and told[-1] == 1 << 20
    chip.reset()
    assert told[-1] == 0 and chip.read(0x9E, 1) == 0x38


def test_smi_lock_keeps_the_global_enable_of_smi_until_a_reset():
    power = AcpiPm(Clock(), Line(), power_off=print)
    chip = Ich9Lpc(lines(8)[0], power)
    power.write(0x30, 4, 0x21)
    chip.write(0xA0, 2, 0x10)
    chip.write(0xA0, 2, 0x200)
    assert chip.read(0xA0, 4) == 0x210
    power.write(0x30, 4, 0x20)
    assert power.read(0x30, 4) == 0x21 and power.apm_smi
    power.write(0x30, 1, 0x01)
    assert power.read(0x30, 4) == 0x01
    for one in (chip, power):
        one.reset()
    power.write(0x30, 4, 1)
    power.write(0x30, 4, 0)
    assert power.read(0x30, 4) == 0 == chip.read(0xA0, 4)


def test_a_pirq_line_reaches_the_interrupt_of_its_register_and_none_while_it_is_off():
    wires, outputs = lines()
    chip = Piix3Isa(wires)
    wires.inputs[0].source().set(True)
    assert chip.read(0x60, 1) == 0x80 and not outputs[10].high
    chip.write(0x60, 1, 10)
    assert outputs[10].high
    chip.write(0x60, 1, 0x8A)
    assert not outputs[10].high


def test_lines_that_share_an_interrupt_are_ored():
    wires, outputs = lines(8)
    chip = Ich9Lpc(wires, SimpleNamespace())
    chip.write(0x60, 1, 11)
    chip.write(0x68, 1, 11)
    first, fifth = wires.inputs[0].source(), wires.inputs[4].source()
    first.set(True)
    fifth.set(True)
    first.set(False)
    assert outputs[11].high
    fifth.set(False)
    assert not outputs[11].high


def test_power_management_answers_where_its_base_says_once_it_is_enabled():
    asked = []
    block = SimpleNamespace(read=lambda offset, size=1: asked.append(offset) or 0x42, write=lambda *a: None)
    piix, ich = Piix4Power(block, block), Ich9Lpc(lines(8)[0], block)
    piix.write(0x40, 4, 0xB001)
    assert piix.read(0x40, 4) == 0xB001 and piix.window(PM) is None and piix.window(SMBUS) is None
    piix.write(0x80, 1, 1)
    assert piix.window(PM) == 0xB000 and piix.bar_read(PM, 8, 4) == 0x42 and asked == [8]
    ich.write(0x40, 4, 0x601)
    ich.write(0x44, 1, 0x80)
    assert ich.window(PM) == 0x600 and ich.window(RCRB) is None
    ich.write(0xF0, 4, 0xFED1_C001)
    assert ich.window(RCRB) == 0xFED1_C000


@pytest.mark.parametrize("length, size, base", [(0, 256 << 20, 0xE000_0000), (1, 128 << 20, 0xE800_0000),
                                                (2, 64 << 20, 0xEC00_0000)])
def test_configuration_space_lies_where_pciexbar_says_as_large_as_it_says(length, size, base):
    chip = Mch(None, None)
    chip.write(0x60, 4, 0xEC00_0000 | length << 1)
    assert chip.window(CONFIGURATION) is None
    chip.write(0x60, 4, 0xEC00_0000 | length << 1 | 1)
    (_, bar), = chip.windows()
    assert (chip.window(CONFIGURATION), bar.size) == (base, size)


def test_the_sata_functions_index_and_data_ports_reach_the_adapter():
    asked = []
    chip = Ahci(SimpleNamespace(read=lambda *a: asked.append(a) or 7, write=lambda *a: asked.append(a)), Line())
    chip.bar_write(4, 0x10, 4, 0x10B)
    assert chip.bar_read(4, 0x10, 4) == 0x108 and chip.bar_read(4, 0x14, 4) == 7
    chip.bar_write(4, 0x14, 4, 9)
    assert asked == [(0x108, 4), (0x108, 4, 9)]
