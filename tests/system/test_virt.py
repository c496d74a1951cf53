import struct

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import Died as CpuDied, MemoryRead, MemoryWrite
from guesthouse.errors import UserError
from guesthouse.system.boards.outcome import Died, OutOfTime, PoweredOff, Reset
from guesthouse.system.boards.virt import RAM, UARTS, VirtBoard
from guesthouse.system.cpu.riscv.guest import RISCV
from tests.system.elves import executable
from tests.system.fake import Scripted

MIB = 1 << 20
TEST, PLIC = 0x10_0000, 0xC00_0000
SEIP, STIP, MTIP = 1 << 9, 1 << 5, 1 << 7


@pytest.fixture
def virt():
    made = []

    def make(*script, size=64 * MIB):
        """A board with a scripted processor, or without a script the plain one."""
        def factory(memory):
            plain = SoftVcpu(RISCV)
            return Scripted(script, plain.state) if script else plain

        made.append(VirtBoard(size, VirtualClock(), factory, random_bytes=lambda n: b"r" * n))
        return made[-1]

    yield make
    for board in made:
        board.close()


def program(board, *words):
    """Put instructions at the start of RAM and have the hart begin there in machine mode."""
    board.memory.write(RAM, struct.pack(f"<{len(words)}I", *words))
    board.state.reset(RAM)


def call(virt, extension, function, *arguments):
    """What an SBI call of a kernel gets, and the board it was made on."""
    b = virt()
    program(b, 0x0000_0073)
    b.state.start_supervisor(RAM, 0, 0)
    for n, value in enumerate((*arguments, *[0] * (6 - len(arguments)), function, extension)):
        b.state.x[10 + n] = type(b.state.pc)(value)
    outcome = b.run(instructions=1)
    return int(b.state.x[10]), int(b.state.x[11]), b, outcome


NOT_SUPPORTED, INVALID = (1 << 64) - 2, (1 << 64) - 3
TIME, IPI, RFENCE, HSM, SRST, DBCN = 0x54494D45, 0x735049, 0x52464E43, 0x48534D, 0x53525354, 0x4442434E


@pytest.mark.parametrize("extension, function, arguments, answer", [
    (0x10, 0, (), (0, 2 << 24)),
    (0x10, 3, (TIME,), (0, 1)),
    (0x10, 3, (0x504D55,), (0, 0)),
    (0x10, 99, (), (NOT_SUPPORTED, 0)),
    (0x12345678, 0, (), (NOT_SUPPORTED, 0)),
    (HSM, 2, (0,), (0, 0)),
    (HSM, 2, (1,), (INVALID, 0)),
    (HSM, 0, (0,), ((1 << 64) - 6, 0)),
    (IPI, 0, (1, 0), (0, 0)),
    (IPI, 0, (2, 0), (INVALID, 0)),
    (RFENCE, 1, (0, (1 << 64) - 1), (0, 0)),
    (DBCN, 0, (4, 0x1000, 0), (INVALID, 0)),
    (SRST, 0, (7, 0), (INVALID, 0)),
])
def test_sbi_answers_as_its_specification_says(virt, extension, function, arguments, answer):
    assert call(virt, extension, function, *arguments)[:2] == answer


@pytest.mark.parametrize("extension, arguments, outcome", [
    (SRST, (0, 0), PoweredOff(0)), (SRST, (0, 1), PoweredOff(1)), (SRST, (1, 0), Reset()), (8, (), PoweredOff(0))])
def test_sbi_switches_off_and_resets(virt, extension, arguments, outcome):
    b = call(virt, extension, 0, *arguments)[2]
    assert b.run(instructions=10) == outcome


def test_sbi_writes_to_the_console_from_memory(virt):
    b = virt()
    said = []
    b.serial[0].output = said.append
    b.memory.write(RAM + 0x100, b"hello")
    assert b.sbi.call(DBCN, 0, [5, RAM + 0x100, 0, 0, 0, 0]) == (0, 5)
    assert b.sbi.call(1, 0, [ord("!"), 0, 0, 0, 0, 0]) == (0, None)
    assert b"".join(said) == b"hello!"


def test_sbi_reads_what_was_typed_and_minus_one_when_nothing_was(virt):
    b = virt()
    b.serial[0].uart.receive(b"a")
    b.serial[0].queue += b"b"
    assert b.sbi.call(2, 0, [0] * 6) == (ord("a"), None)
    assert b.sbi.call(DBCN, 1, [10, RAM, 0, 0, 0, 0]) == (0, 1) and b.memory.read(RAM, 2) == b"b\0"
    assert b.sbi.call(2, 0, [0] * 6) == ((1 << 64) - 1, None)


WFI, LOOP = 0x1050_0073, 0x0000_006F


def test_the_timer_that_sbi_sets_wakes_the_hart_at_its_time(virt):
    b = virt()
    program(b, WFI, LOOP)
    b.state.start_supervisor(RAM, 0, 0)
    b.state.mie = type(b.state.pc)(STIP)
    b.sbi.call(TIME, 0, [1000, 0, 0, 0, 0, 0])
    b.run(instructions=2)
    assert 100_000 <= b.clock.now() < 100_010 and int(b.state.pc) == RAM + 4


def test_wfi_with_nothing_enabled_is_a_death_and_not_silence(virt):
    b = virt()
    program(b, WFI, LOOP)
    outcome = b.run()
    assert isinstance(outcome, Died) and "halted for good" in outcome.reason and "wfi" in virt_code(b)


def virt_code(board):
    from guesthouse.system.boards import riscv

    board.state.pc = type(board.state.pc)(RAM)
    return "\n".join(riscv.describe(board.state, board.memory))


@pytest.mark.parametrize("n", range(4))
def test_each_serial_port_interrupts_through_a_plic_source_of_its_own(virt, n):
    address, source = UARTS[n]
    b = virt(MemoryWrite(PLIC + 4 * source, 4, 1), MemoryWrite(PLIC + 0x2080, 4, 1 << source),
             MemoryWrite(address + 1, 1, 1), 10, (MemoryRead, PLIC + 0x20_1004, 4), CpuDied("end"))
    b.serial[n].send(b"a")
    b.run()
    assert b.vcpu.answers == [source]
    assert int(b.state.mip) & SEIP == 0, "a claimed source no longer interrupts"


def test_the_clint_drives_the_machine_timer_bit(virt):
    b = virt(MemoryWrite(0x200_4000, 8, 50), 4999, lambda vcpu: before.append(int(b.state.mip) & MTIP), 1,
             lambda vcpu: None, 1, CpuDied("end"))
    before = []
    b.run()
    assert before == [0] and int(b.state.mip) & MTIP


@pytest.mark.parametrize("value, outcome", [(0x5555, PoweredOff()), (0x3333 | 7 << 16, PoweredOff(7)),
                                            (0x7777, Reset())])
def test_the_finisher_ends_the_run(virt, value, outcome):
    assert virt(MemoryWrite(TEST, 4, value)).run() == outcome


def test_the_tree_has_the_memory_the_ramdisk_and_the_command_line(virt):
    b = virt()
    tree = b.device_tree("console=ttyS0 x", 0x8400_0000, 0x8400_1234)
    magic, size, structure, strings, _, version = struct.unpack_from(">6I", tree)
    assert (magic, size, version) == (0xD00DFEED, len(tree), 17)
    assert b"console=ttyS0 x\0" in tree and struct.pack(">QQ", RAM, 64 * MIB) in tree
    assert struct.pack(">Q", 0x8400_1234) in tree and tree[structure:structure + 8] == b"\0\0\0\1\0\0\0\0"


def test_the_tree_has_a_seed_for_random_numbers(virt):
    tree = virt().device_tree()
    assert b"rng-seed\0" in tree and b"r" * 32 in tree


# riscv-tests end by storing to `tohost`: auipc t0, 1; li t1, …; sw t1, 0(t0); j .

@pytest.mark.parametrize("word, status", [(1, 0), (7, 3)])
def test_a_bare_program_ends_through_tohost(virt, word, status):
    b = virt()
    code = struct.pack("<4I", 0x0000_1297, 0x0000_0313 | word << 20, 0x0062_A023, LOOP)
    b.load_elf(executable(243, RAM, code, symbols={"tohost": RAM + 0x1000}))
    assert b.run(instructions=20_000) == PoweredOff(status)


def test_a_bare_program_without_tohost_runs_on(virt):
    b = virt()
    b.load_elf(executable(243, RAM, struct.pack("<I", LOOP)))
    assert b.tohost is None and b.run(instructions=100) == OutOfTime()


def image(size=0x1000, offset=0x20_0000):
    header = struct.pack("<IIQQQIIQ8s4s", LOOP, 0, offset, size, 0, 2, 0, 0, b"", b"RSC\x05")
    return header.ljust(size, b"\0")


def test_a_kernel_starts_in_supervisor_mode_with_hart_and_tree(virt):
    b = virt()
    b.load_linux(image(), b"ramdisk", "quiet")
    assert int(b.state.pc) == RAM + 0x20_0000 and int(b.state.mode) == 1
    assert int(b.state.x[10]) == 0 and b.memory.read(int(b.state.x[11]), 4) == b"\xd0\x0d\xfe\xed"
    assert b.run(instructions=5) == OutOfTime() and int(b.state.pc) == RAM + 0x20_0000


def test_firmware_starts_in_machine_mode_and_is_told_where_the_kernel_is(virt):
    b = virt()
    b.load_firmware(struct.pack("<I", LOOP), image())
    info = struct.unpack("<6Q", b.memory.read(int(b.state.x[12]), 48))
    assert int(b.state.pc) == RAM and int(b.state.mode) == 3
    assert info[:4] == (0x4942534F, 2, RAM + 0x20_0000, 1)


def test_too_little_memory_is_a_message(virt):
    with pytest.raises(UserError, match="memory"):
        virt(size=8 * MIB).load_linux(image(), bytes(8 * MIB))
    with pytest.raises(UserError, match="8 MiB"):
        VirtBoard(MIB, VirtualClock(), lambda memory: SoftVcpu(RISCV))


def test_firmware_that_would_reach_into_the_kernel_is_refused(virt):
    with pytest.raises(UserError, match="firmware"):
        virt().load_firmware(bytes(3 * MIB), image())
