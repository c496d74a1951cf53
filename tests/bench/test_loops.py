"""The loops of the benchmarks are proper programs: our disassembler reads them, the host runs them."""

from __future__ import annotations

import platform
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from bench.assembler import assemble
from bench.loops import FRAME, LOOPS, ORIGIN, Loop, archive, machine_code, program

SHORT = {"calls": 10, "alu": 1000, "roots": 1000, "chase": 1000, "getpid": 10}  # rounds; the others have one
SAME = {"jz": "je", "jnz": "jne", "loaded": "movsd", "movd": "movq"}  # two names of one instruction
ON_X86_LINUX = platform.machine() in ("x86_64", "AMD64") and sys.platform == "linux"
every_loop = pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: str(loop.name))


def named(name: str) -> Loop:
    return next(loop for loop in LOOPS if loop.name == name)


def result(name: str, folder: Path) -> int:
    """What the loop says that it computed, run as a child of ours."""
    if not ON_X86_LINUX:
        pytest.skip("the host cannot run the guest's programs")
    file = folder / name
    file.write_bytes(program(named(name), SHORT.get(name, 1)))
    file.chmod(0o755)
    said = subprocess.run([file], capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.fullmatch(rf"bench {name} begins\nbench {name} ends ([0-9a-f]{{16}})\n", said)
    assert found, said
    return int(found[1], 16)


def buffer(words: int) -> list[int]:
    """What FILL leaves in memory."""
    state, made = 1, []
    for _ in range(words):
        state = (state * 6364136223846793005 + 1442695) % 2**64
        made.append(state >> 33)
    return made


@every_loop
def test_our_disassembler_reads_each_instruction_as_it_was_written(loop: Loop) -> None:
    from guesthouse.system.cpu.x86.disassemble import Disassembler

    text = re.sub("#.*|[a-z]+:", "", FRAME + loop.text)
    written = [part.split()[0] for part in re.split("[;\n]", text) if part.strip()]
    texts = [text.replace("rep ", "rep_") for _, _, text in Disassembler().lines(machine_code(loop)[1])]
    read = [text.split()[0] for text in texts]
    assert [SAME.get(name, name) for name in read] == [SAME.get(name, name) for name in written]


@every_loop
def test_each_loop_is_an_elf_executable_that_ends_at_its_last_byte(loop: Loop) -> None:
    file = program(loop)
    kind, machine, entry = struct.unpack_from("<HH4xQ", file, 16)
    where, size, room = struct.unpack_from("<Q8xQQ", file, 64 + 16)
    assert (file[:5], kind, machine, where, size) == (b"\x7fELF\2", 2, 62, ORIGIN, len(file))
    assert where <= entry < where + size < where + room


@every_loop
def test_each_loop_ends_on_the_host(loop: Loop, tmp_path: Path) -> None:
    result(loop.name, tmp_path)


def test_the_sieve_finds_the_primes_below_a_mebi(tmp_path: Path) -> None:
    assert result("sieve", tmp_path) == 82_025


def test_the_checksum_is_zlibs(tmp_path: Path) -> None:
    assert result("crc", tmp_path) == zlib.crc32(struct.pack("<16384I", *buffer(1 << 14)))


def test_the_sort_sorts(tmp_path: Path) -> None:
    total = 0
    for word in sorted(buffer(1 << 16)):
        total = (total * 6364136223846793005 + word) % 2**64
    assert result("sort", tmp_path) == total


def test_the_copies_are_copies(tmp_path: Path) -> None:
    low, high = buffer(18)[16:]
    assert result("copy", tmp_path) == result("movs", tmp_path) == high << 32 | low


def test_our_plain_engine_computes_fibonacci_numbers_with_it() -> None:
    from tests.x86.host import CODE, DATA, START, WINDOW_SIZE, Situation
    from tests.x86.ours import Ours

    code = assemble("call loop; jmp over\n loop:" + named("calls").text + "over:", {"rounds": 6})
    machine = Ours()
    registers = [0] * 16
    registers[4] = DATA + 0x800
    machine.prepare(code, Situation(registers, 0x202, bytes(WINDOW_SIZE), bytes(512), START), 64)
    while CODE < int(machine.cpu.pc) < START + len(code):
        machine.vcpu.run(1)
    assert int(machine.cpu.r[0]) == 13


def test_the_archive_has_the_chosen_loops_and_the_script_that_runs_them() -> None:
    packed = archive(["crc", "calls"])
    names = re.findall(rb"070701[0-9A-F]{104}([a-zA-Z/!]+)\0", packed)
    assert names == [b"bench", b"bench/calls", b"bench/crc", b"bench/init", b"TRAILER!!!"]
    assert b"\n/bench/crc\n/bench/calls\n" in packed or b"\n/bench/calls\n/bench/crc\n" in packed
    assert b"/bench/sort" not in packed


def test_an_instruction_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="hlt"):
        assemble("hlt", {})
    with pytest.raises(ValueError, match="mov"):
        assemble("mov eax, xmm0", {})


@pytest.mark.parametrize(("text", "code"), [
    ("mov rax, rbx", "48 89 d8"), ("mov r8d, [r13]", "45 8b 85 00 00 00 00"),
    ("mov [rsp], rcx", "48 89 0c 24"),
    ("lea rdx, [rax+rbx*2+5]", "48 8d 94 58 05 00 00 00"), ("mov byte [rdi], dl", "88 17"),
    ("mov r9, 0xedb88320", "49 b9 20 83 b8 ed 00 00 00 00"), ("push r12", "41 54"),
    ("mov rdi, [rax*8+0x500000]", "48 8b 3c c5 00 00 50 00"), ("sqrtsd xmm9, xmm1", "f2 44 0f 51 c9"),
    ("movq rax, xmm0", "66 48 0f 7e c0"),
    ("x: jmp x", "e9 fb ff ff ff"), ("cmp byte [rsi+16], 0", "80 be 10 00 00 00 00"),
])
def test_encodings_are_those_of_the_manual(text: str, code: str) -> None:
    assert assemble(text, {}) == bytes.fromhex(code)
