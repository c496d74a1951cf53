"""SSE to SSE4.2, AES, SHA and PCLMULQDQ against the host's processor, registers, flags and MXCSR included."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guesthouse.bits import u64
from guesthouse.system.cpu.x86 import (
    aes,
    mmx,
    pclmul,
    sha,
    sse_convert,
    sse_float,
    sse_integer,
    sse_moves,
    sse_shuffle,
    sse_strings,
)
from guesthouse.system.cpu.x86.state import VECTOR_NM, VECTOR_UD
from tests.x86.floats import WAYS, FloatOurs, cases, machine, unexplained
from tests.x86.host import WINDOW, Host, Situation, supported

INTEGER = (sse_moves, sse_integer, sse_shuffle, sse_strings, mmx)
FLOAT = (sse_float, sse_convert)
CIPHERS = (aes, sha, pclmul)
# Approximations that differ between processors; LDMXCSR loads random bits, tested below.
WITHOUT = ("rcpps", "rcpss", "rsqrtps", "rsqrtss", "ldmxcsr")
# This host's conversions between MMX and SSE make the registers valid before they report an SSE exception.
WITHOUT_OPEN = (*WITHOUT, "cvtpi2ps", "cvtpi2pd", "cvtps2pi", "cvttps2pi", "cvtpd2pi", "cvttpd2pi")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    if supported():
        pytest.skip(supported())
    made = Host()
    yield made
    made.close()


@pytest.fixture(scope="module", params=WAYS)
def ours(request: pytest.FixtureRequest) -> FloatOurs:
    return machine(request.param)


def test_packed_integers_moves_and_strings_are_as_on_the_host(host: Host, ours: FloatOurs) -> None:
    assert unexplained(host, ours, cases(INTEGER, 6, seed=1, masked=True)) == []


def test_aes_sha_and_pclmulqdq_are_as_on_the_host(host: Host, ours: FloatOurs) -> None:
    assert unexplained(host, ours, cases(CIPHERS, 12, seed=2, masked=True)) == []


@pytest.mark.parametrize("fast", [True, False])
def test_arithmetic_and_conversions_are_as_on_the_host(host: Host, ours: FloatOurs, fast: bool) -> None:
    ours.host_arithmetic = fast
    assert unexplained(host, ours, cases(FLOAT, 12, seed=3, masked=True, without=WITHOUT)) == []


def test_exceptions_that_are_not_masked_are_as_on_the_host(host: Host, ours: FloatOurs) -> None:
    assert unexplained(host, ours, cases(FLOAT, 12, seed=4, masked=False, without=WITHOUT_OPEN)) == []


def run(ours: FloatOurs, code: str) -> int:
    """The exception that these bytes raise, or -1."""
    before = Situation([WINDOW + 0x80] * 16, 0x202, bytes(256))
    return ours.run(bytes.fromhex(code), before).trap


def test_task_switched_makes_any_sse_instruction_fault(ours: FloatOurs) -> None:
    ours.cpu.cr0 = ours.cpu.cr0 | u64(8)
    try:
        assert run(ours, "0F 28 C1") == VECTOR_NM
        assert run(ours, "0F AE 18") == VECTOR_NM
        assert run(ours, "0F 6F C1") == VECTOR_NM
        assert run(ours, "D9 E8") == VECTOR_NM
    finally:
        ours.cpu.cr0 = ours.cpu.cr0 & ~u64(8)


def test_sse_is_undefined_until_the_system_says_it_saves_it(ours: FloatOurs) -> None:
    was = ours.cpu.cr4
    ours.cpu.cr4 = was & ~u64(0x200)
    try:
        assert run(ours, "0F 28 C1") == VECTOR_UD
        assert run(ours, "0F 6F C1") == -1
    finally:
        ours.cpu.cr4 = was


def test_an_sse_exception_is_undefined_until_the_system_says_it_handles_it(ours: FloatOurs) -> None:
    was = ours.cpu.cr4
    ours.cpu.cr4 = was & ~u64(0x400)
    fx = bytearray(512)
    fx[24:28] = (0x1F80 & ~(4 << 7)).to_bytes(4, "little")
    fx[160:164] = (0x3F80_0000).to_bytes(4, "little")
    try:
        before = Situation([0] * 16, 0x202, bytes(256), bytes(fx))
        assert ours.run(bytes.fromhex("F3 0F 5E C1"), before).trap == VECTOR_UD
    finally:
        ours.cpu.cr4 = was


def test_ldmxcsr_refuses_reserved_bits(ours: FloatOurs) -> None:
    window = bytearray(256)
    window[0x80:0x84] = (0x1_1F80).to_bytes(4, "little")
    before = Situation([WINDOW + 0x80] * 16, 0x202, bytes(window))
    assert ours.run(bytes.fromhex("0F AE 10"), before).trap == 13


def test_unaligned_operands_fault_where_the_book_says_so(ours: FloatOurs) -> None:
    before = Situation([WINDOW + 0x81] * 16, 0x202, bytes(256))
    assert ours.run(bytes.fromhex("0F 28 00"), before).trap == 13
    assert ours.run(bytes.fromhex("0F 10 00"), before).trap == -1
    assert ours.run(bytes.fromhex("66 0F FE 00"), before).trap == 13


@pytest.mark.parametrize("code", ["0F 53 C1", "0F 52 C1"])
def test_approximations_keep_their_bounds(host: Host, ours: FloatOurs, code: str) -> None:
    """SDM 2, RCPPS and RSQRTPS: a relative error of at most 1.5 * 2**-12, so two processors are no further
    than twice that.
    """
    import random
    import struct

    chance = random.Random(5)
    for _ in range(50):
        fx = bytearray(512)
        fx[24:28] = (0x1F80).to_bytes(4, "little")
        fx[176:192] = struct.pack("<4f", *(chance.uniform(1e-3, 1e3) for _ in range(4)))
        before = Situation([0] * 16, 0x202, bytes(256), bytes(fx))
        a, b = (struct.unpack_from("<4f", r.run(bytes.fromhex(code), before).fx, 160) for r in (ours, host))
        assert all(abs(x - y) <= 3 * 2**-12 * abs(y) for x, y in zip(a, b, strict=True))
