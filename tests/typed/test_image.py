"""Images: code with a table of jumps, its own data, names of other images and of the C library; wherever it is put."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from guesthouse.typed.image import Images, image, possible
from guesthouse.typed.machine import assemble

pytestmark = pytest.mark.skipif(not possible(), reason="images are for x86-64 hosts with ELF")

CASES = "\n".join(f"    i64 {n}, label %c{n}" for n in range(9))
BLOCKS = "\n".join(f"c{n}:\n  %r{n} = mul i64 %y, {3 * n * n + 7}\n  %s{n} = xor i64 %r{n}, {n << 40}\n  ret i64 %s{n}"
                   for n in range(9))
CHOOSES = f"""
@count = global i64 40
@spare = global [3 x i64] zeroinitializer
define i64 @choose(i64 %x, i64 %y) nounwind {{
  %n = load i64, ptr @count
  %m = add i64 %n, 1
  store i64 %m, ptr @count
  store i64 %m, ptr getelementptr ([3 x i64], ptr @spare, i64 0, i64 2)
  switch i64 %x, label %other [
{CASES}
  ]
{BLOCKS}
other:
  ret i64 -1
}}
"""
CALLS = """
declare i64 @choose(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define i64 @twice(i64 %x, ptr %to, i64 %size) nounwind {
  call void @llvm.memset.p0.i64(ptr %to, i8 65, i64 %size, i1 false)
  %a = call i64 @choose(i64 %x, i64 2)
  %b = call i64 @choose(i64 %x, i64 %a)
  ret i64 %b
}
"""


@dataclass
class Space:
    start: int
    end: int


@pytest.fixture
def memory() -> Iterator[int]:
    mapped = mmap.mmap(-1, 1 << 16, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    held = ctypes.c_uint8.from_buffer(mapped)
    yield ctypes.addressof(held)
    del held
    mapped.close()


def chosen(x: int, y: int) -> int:
    return (y * (3 * x * x + 7) ^ x << 40) & (1 << 64) - 1 if x < 9 else (1 << 64) - 1


def test_an_image_does_what_it_says_wherever_it_is_put(memory: int) -> None:
    made, calls = image(assemble(CHOOSES)), image(assemble(CALLS))
    start = memory + Random(1).randrange(256) * 16
    images = Images(Space(start, memory + (1 << 16)))
    images.add([made, calls])
    choose = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(images.address("choose"))
    assert [choose(x, 5) for x in range(11)] == [chosen(x, 5) for x in range(11)]
    kind = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
    twice = kind(images.address("twice"))
    octets = ctypes.create_string_buffer(100)
    assert twice(3, octets, 99) == chosen(3, chosen(3, 2)) and octets.raw == b"A" * 99 + b"\0"
    assert ctypes.c_uint64.from_address(images.address("count")).value == 40 + 11 + 2
    assert list((ctypes.c_uint64 * 3).from_address(images.address("spare"))) == [0, 0, 53]
    assert images.address("count") >> 12 != images.address("choose") >> 12  # what is stored near code is slow


def test_what_finds_no_room_is_not_loaded(memory: int) -> None:
    made = image(assemble(CHOOSES))
    images = Images(Space(memory, memory + (1 << 16)))
    with pytest.raises(MemoryError):
        images.add([made] * 100)
    full = Images(Space(memory, memory + 64))
    with pytest.raises(MemoryError):
        full.add([made])
    assert ctypes.string_at(memory + (1 << 16) - 64, 64) == bytes(64)


def test_who_is_nowhere_has_no_address(memory: int) -> None:
    with pytest.raises(AttributeError):
        Images(Space(memory, memory)).address("nobody_has_this_name")
