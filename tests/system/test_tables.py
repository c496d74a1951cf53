"""The tables that firmware hands over: executed as firmware executes their loader, and read as systems read them."""

import struct

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.engine.soft import SoftVcpu
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.firmware import acpi, mptable, smbios, table_loader

PC = acpi.Pc(processors=2, serials=(acpi.Serial(0x3F8, 4),))
PLACES = {"etc/acpi/tables": 0x7FF_0000, "etc/acpi/rsdp": 0xF_5000}


def loaded():
    """What the guest's memory holds after the loader's commands, by name of file."""
    files = table_loader.files(*acpi.build(PC, 0))
    script, made = files.pop("etc/table-loader"), {}
    for at in range(0, len(script), 128):
        command = struct.unpack_from("<I", script, at)[0]
        name = script[at + 4:at + 60].rstrip(b"\0").decode()
        if command == 1:
            align, zone = struct.unpack_from("<IB", script, at + 60)
            assert PLACES[name] % align == 0 and zone == (2 if name.endswith("rsdp") else 1)
            made[name] = bytearray(files[name])
        elif command == 2:
            source = script[at + 60:at + 116].rstrip(b"\0").decode()
            offset, size = struct.unpack_from("<IB", script, at + 116)
            value = int.from_bytes(made[name][offset:offset + size], "little")
            assert value < len(made[source]), "a pointer leads into the file that it is into"
            made[name][offset:offset + size] = (value + PLACES[source]).to_bytes(size, "little")
        else:
            assert command == 3
            offset, start, length = struct.unpack_from("<III", script, at + 60)
            made[name][offset] = made[name][offset] - sum(made[name][start:start + length]) & 0xFF
    return made


def test_the_loader_leaves_tables_that_lead_to_each_other_and_add_up():
    made = loaded()
    tables, rsdp = made["etc/acpi/tables"], made["etc/acpi/rsdp"]
    assert rsdp[:8] == b"RSD PTR " and sum(rsdp[:20]) & 0xFF == 0 == sum(rsdp) & 0xFF

    def table(address):
        at = address - PLACES["etc/acpi/tables"]
        size = int.from_bytes(tables[at + 4:at + 8], "little")
        return bytes(tables[at:at + size])

    xsdt, rsdt = table(int.from_bytes(rsdp[24:32], "little")), table(int.from_bytes(rsdp[16:20], "little"))
    listed = [table(a) for a in struct.unpack(f"<{(len(xsdt) - 36) // 8}Q", xsdt[36:])]
    assert listed == [table(a) for a in struct.unpack(f"<{(len(rsdt) - 36) // 4}I", rsdt[36:])]
    found = {t[:4]: t for t in (xsdt, rsdt, *listed)}
    dsdt = table(int.from_bytes(found[b"FACP"][40:44], "little"))
    assert table(int.from_bytes(found[b"FACP"][140:148], "little")) == dsdt and dsdt[:4] == b"DSDT"
    assert table(int.from_bytes(found[b"FACP"][36:40], "little"))[:4] == b"FACS"
    assert all(sum(t) & 0xFF == 0 for t in (*found.values(), dsdt))


@pytest.mark.parametrize("low, high, devices", [(64 << 20, 0, 1), (3 << 30, 30 << 30, 3)])
def test_smbios_structures_follow_each_other_to_the_last(low, high, devices):
    tables, count, largest = smbios.structures(smbios.Machine(low, high, processors=3))
    kinds, handles, at = [], set(), 0
    while at < len(tables):
        kind, size, handle = struct.unpack_from("<BBH", tables, at)
        end = tables.index(b"\0\0", at + size) + 2
        assert end - at <= largest
        kinds.append(kind)
        handles.add(handle)
        at = end
    assert len(kinds) == len(handles) == count and kinds[-1] == 127 and at == len(tables)
    assert kinds.count(4) == 3 and kinds.count(17) == devices and kinds.count(19) == (2 if high else 1)


def test_smbios_entry_points_add_up():
    tables, count, largest = smbios.structures(smbios.Machine(64 << 20, 0))
    old, new = smbios.entry_point(tables, count, largest, 0xE_1000), smbios.entry_point_3(tables, 0xE_1000)
    assert old[:4] == b"_SM_" and len(old) == old[5] == 31 and sum(old) & 0xFF == 0 == sum(old[16:]) & 0xFF
    assert struct.unpack_from("<HIHB", old, 22) == (len(tables), 0xE_1000, count, 0x28)
    assert new[:5] == b"_SM3_" and len(new) == new[6] == 24 and sum(new) & 0xFF == 0


def test_the_mp_table_tells_processors_and_wires():
    table = mptable.configuration(PC, {3: 0})
    pointer = mptable.floating_pointer(0xE_2000)
    assert len(pointer) == 16 and sum(pointer) & 0xFF == 0 == sum(table) & 0xFF
    assert int.from_bytes(table[4:6], "little") == len(table)
    at, kinds, pins = 44, [], {}
    for _ in range(int.from_bytes(table[34:36], "little")):
        kinds.append(table[at])
        if table[at] == 3:
            pins[table[at + 4], table[at + 5]] = table[at + 7]
        at += 20 if table[at] == 0 else 8
    assert at == len(table) and kinds.count(0) == 2 and kinds.count(2) == 1
    assert pins[1, 0] == 2 and pins[1, 9] == 9 and pins[0, 3 << 2] == acpi.interrupt_of(PC, 3, 0)


@pytest.mark.parametrize("chipset, router, link", [
    ("i440fx", (0x08, 0x7000_8086), 0x60 + (3 + 0 - 1) % 4), ("q35", (0xF8, 0x2918_8086), 0x68 + 3)])
def test_the_routing_table_names_the_registers_of_the_router(chipset, router, link):
    board = ClassicPc(16 << 20, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST), random_bytes=bytes,
                      chipset=chipset)
    rom = board.memory.read(0xF_0000, 1 << 16)
    at = next(n for n in range(0, 1 << 16, 16) if rom[n:n + 4] == b"$PIR")
    size = int.from_bytes(rom[at + 6:at + 8], "little")
    made = rom[at:at + size]
    assert sum(made) & 0xFF == 0 and made[4:6] == b"\0\1" and size % 16 == 0
    assert (made[9], int.from_bytes(made[12:16], "little")) == router
    screen = next(made[n:n + 16] for n in range(32, size, 16) if made[n + 1] == 3 << 3)  # the VGA's slot
    assert screen[2] == link and int.from_bytes(screen[3:5], "little") == 0xDEF8
    guest = board.bios.guest
    guest.load_es(0)
    guest.write(0x5000, struct.pack("<HHH", 16, 0x6000, 0))
    guest.di, guest.ax = 0x5000, 0xB10E
    board.bios.pci.call()
    assert guest.ah == 0x89 and guest.word(0x5000) == size - 32
    guest.ax = 0xB10E
    board.bios.pci.call()
    assert guest.ah == 0 and guest.bx == 1 << 10 | 1 << 11 and guest.read(0x6000, size - 32) == made[32:]
    board.close()
