"""The programs of the suite: proper executables for three machines, which compute on the host what Python computes."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest

from bench import disks, suite
from bench.guest.build import Item, executable
from bench.guest.elf import ORIGIN, RISCV, Stub, linked, patch
from bench.guest.integer import CHECKED, FACTOR, HASHED, SORTED, STEP
from bench.guest.targets import AMD64, I386, TARGETS, Target

ITEMS = {item.name: item for group in suite.GROUPS for item in group.items}
FEW = 3  # rounds
every_item = pytest.mark.parametrize("item", ITEMS.values(), ids=lambda item: str(item.name))
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: str(target.name))


def result(name: str, folder: Path, target: Target = AMD64, rounds: int = FEW) -> int:
    if not suite.on_this_host(target):
        pytest.skip("the host cannot run the guest's programs")
    return int(suite.natively(ITEMS[name], target, folder, rounds).result, 16)


def words(count: int, seed: int = 1) -> list[int]:
    made = []
    for _ in range(count):
        seed = (seed * FACTOR + STEP) % 2**64
        made.append(seed >> 33)
    return made


@every_target
def test_each_item_becomes_an_executable_with_one_segment_that_has_its_entry(target: Target) -> None:
    for item in (*ITEMS.values(), *disks.ITEMS):
        if item.fits(target):
            file = executable(item, target)
            wide = file[4] == 2
            entry, = struct.unpack_from("<Q" if wide else "<I", file, 24)
            size, room = struct.unpack_from("<QQ" if wide else "<II", file, 64 + 32 if wide else 52 + 16)
            assert (file[:4], size) == (b"\x7fELF", len(file)) and size < room
            assert ORIGIN < entry < ORIGIN + size


@every_item
def test_each_item_ends_on_the_host_with_one_result_for_both_word_sizes(item: Item, tmp_path: Path) -> None:
    for target in (AMD64, I386):
        (tmp_path / target.name).mkdir()
    assert result(item.name, tmp_path / "amd64") == result(item.name, tmp_path / "i386", I386)


def test_the_sieve_finds_the_primes_below_two_to_the_eighteenth(tmp_path: Path) -> None:
    assert result("sieve", tmp_path) == 23_000


def test_the_checksum_is_zlibs(tmp_path: Path) -> None:
    data = struct.pack(f"<{CHECKED // 4}I", *words(CHECKED // 4))
    assert result("crc", tmp_path) == zlib.crc32(data * FEW)


def test_the_hash_is_sha256(tmp_path: Path) -> None:
    digest = hashlib.sha256(struct.pack(f"<{HASHED // 4}I", *words(HASHED // 4))).digest()
    assert result("sha256", tmp_path) == int.from_bytes(digest[:8], "big")


def test_the_sort_sorts(tmp_path: Path) -> None:
    total = 0
    for word in sorted(words(SORTED)):
        total = (total * FACTOR + word) % 2**64
    steps = result("sort", tmp_path, rounds=1) - total
    assert SORTED * 10 < steps < SORTED * 15  # sinking, about the heap's depth for each word


def test_the_x87_and_sse_agree_where_only_comparisons_count(tmp_path: Path) -> None:
    assert result("mandelbrot", tmp_path) == result("x87_mandelbrot", tmp_path)


def test_code_that_is_written_anew_is_what_runs(tmp_path: Path) -> None:
    assert result("code", tmp_path, rounds=5) == 4 * (5 + 4 + 3 + 2 + 1)


def test_processes_see_what_they_should(tmp_path: Path) -> None:
    assert result("switches", tmp_path) == (3 + 2 + 1) + 3
    assert result("forks", tmp_path) == 3 * (3 << 8)
    assert result("execs", tmp_path) == 3
    assert result("calls", tmp_path) == 3


def test_items_for_the_x87_have_no_sse_and_those_for_vectors_use_all_of_a_register() -> None:
    from guesthouse.system.cpu.x86.disassemble import Disassembler

    def mnemonics(name: str) -> str:
        file = executable(ITEMS[name], AMD64)
        return "\n".join(text for _, _, text in Disassembler().lines(file[128:]))

    assert "xmm" not in mnemonics("x87_bodies") and "fsqrt" in mnemonics("x87_bodies")
    assert "sqrtsd" in mnemonics("bodies") and "mulps" not in mnemonics("bodies")
    for name, vector in (("saxpy", "mulps"), ("product", "mulpd"), ("blend", "pmullw"), ("correlation", "pmaddwd")):
        assert vector in mnemonics(name)


@pytest.mark.parametrize(("number", "word", "distance", "made"), [
    (16, 0x0000_0063, -4, 0xFE00_0EE3),  # beq zero, zero, -4
    (17, 0x0000_006F, 2048, 0x0010_006F),  # jal zero, 2048
    (17, 0x0000_006F, -2, 0xFFFF_F06F),
])
def test_relocations_of_riscv_fill_the_fields_of_its_formats(number: int, word: int, distance: int, made: int) -> None:
    image = bytearray(struct.pack("<I", word))
    patch(image, RISCV, ORIGIN, number, ORIGIN + distance, 0)
    assert struct.unpack("<I", image) == (made,)


def test_an_unknown_relocation_or_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="relocation 99"):
        patch(bytearray(8), RISCV, ORIGIN, 99, 0, 0)
    import llvmlite.binding as llvm

    from bench.guest.build import machine_of

    machine = machine_of(AMD64, False)
    module = llvm.parse_assembly('target triple = "x86_64-unknown-linux-gnu"\ndeclare void @nobody()\n'
                                 "define void @main() {\n call void @nobody()\n ret void\n}")
    with pytest.raises(ValueError, match="nobody"):
        linked(bytes(machine.emit_object(module)), (Stub("_start", b"\xc3"),))
