"""SHA extensions (SDM 2B): steps of SHA-1 and SHA-256, FIPS 180-4.

The SDM numbers words from the top of a register; lanes here are numbered from the bottom.
"""

from guesthouse.bits import lanes, packed, rotl, rotr, u32, u128
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Ib, Vx, Wx
from guesthouse.typed import function

CONSTANTS = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)  # FIPS 180-4, 4.2.1


def turned(x, by: int):
    return rotl(x, u32(by))


def choose(x, y, z):
    return x & y ^ ~x & z


def parity(x, y, z):
    return x ^ y ^ z


def majority(x, y, z):
    return x & y ^ x & z ^ y & z


@op("NP 0F 38 C8 /r", Vx, Wx)
def sha1nexte(cpu, to, by):
    """SDM 2B, SHA1NEXTE."""
    cpu.need_sse()
    b = lanes(u32, by.get())
    to.put(packed(u128, [b[0], b[1], b[2], b[3] + turned(lanes(u32, to.get())[3], 30)]))


@op("NP 0F 38 C9 /r", Vx, Wx)
def sha1msg1(cpu, to, by):
    """SDM 2B, SHA1MSG1."""
    cpu.need_sse()
    a, b = lanes(u32, to.get()), lanes(u32, by.get())
    to.put(packed(u128, [b[2] ^ a[0], b[3] ^ a[1], a[0] ^ a[2], a[1] ^ a[3]]))


@op("NP 0F 38 CA /r", Vx, Wx)
def sha1msg2(cpu, to, by):
    """SDM 2B, SHA1MSG2."""
    cpu.need_sse()
    a, b = lanes(u32, to.get()), lanes(u32, by.get())
    top = turned(a[3] ^ b[2], 1)
    to.put(packed(u128, [turned(a[0] ^ top, 1), turned(a[1] ^ b[0], 1), turned(a[2] ^ b[1], 1), top]))


@op("NP 0F 3A CC /r ib", Vx, Wx, Ib)
def sha1rnds4(cpu, to, by, which):
    """SDM 2B, SHA1RNDS4."""
    cpu.need_sse()
    to.put(four_rounds(to.get(), by.get(), u32(which.get()) & 3))


@function
def four_rounds(state: u128, words: u128, which: u32) -> u128:
    if which == 0:
        return mixed(choose, CONSTANTS[0], state, words)
    if which == 1:
        return mixed(parity, CONSTANTS[1], state, words)
    if which == 2:
        return mixed(majority, CONSTANTS[2], state, words)
    return mixed(parity, CONSTANTS[3], state, words)


def mixed(f, constant: int, state, words):
    """Four rounds with one function and constant; E is already in the first word."""
    d, c, b, a = lanes(u32, state)
    e = u32(0)
    for word in lanes(u32, words)[::-1]:
        a, b, c, d, e = f(b, c, d) + turned(a, 5) + word + e + constant, a, turned(b, 30), c, d
    return packed(u128, [d, c, b, a])


def small_sigma(x, first: int, second: int, shift: int):
    return rotr(x, u32(first)) ^ rotr(x, u32(second)) ^ x >> shift


def big_sigma(x, first: int, second: int, third: int):
    return rotr(x, u32(first)) ^ rotr(x, u32(second)) ^ rotr(x, u32(third))


@op("NP 0F 38 CB /r", Vx, Wx)
def sha256rnds2(cpu, to, by):
    """SDM 2B, SHA256RNDS2."""
    cpu.need_sse()
    b = by.get()
    to.put(two_rounds(to.get(), b, cpu.xmm[0]))


@function
def two_rounds(state: u128, other: u128, words: u128) -> u128:
    h, g, d, c = lanes(u32, state)
    f, e, b, a = lanes(u32, other)
    for word in lanes(u32, words)[:2]:
        t = choose(e, f, g) + big_sigma(e, 6, 11, 25) + word + h
        new = t + majority(a, b, c) + big_sigma(a, 2, 13, 22)
        a, b, c, d, e, f, g, h = new, a, b, c, t + d, e, f, g
    return packed(u128, [f, e, b, a])


@op("NP 0F 38 CC /r", Vx, Wx)
def sha256msg1(cpu, to, by):
    """SDM 2B, SHA256MSG1."""
    cpu.need_sse()
    a, b = lanes(u32, to.get()), lanes(u32, by.get())
    following = (a[1], a[2], a[3], b[0])
    to.put(packed(u128, [x + small_sigma(y, 7, 18, 3) for x, y in zip(a, following)]))


@op("NP 0F 38 CD /r", Vx, Wx)
def sha256msg2(cpu, to, by):
    """SDM 2B, SHA256MSG2."""
    cpu.need_sse()
    a, b = lanes(u32, to.get()), lanes(u32, by.get())
    first = a[0] + small_sigma(b[2], 17, 19, 10)
    second = a[1] + small_sigma(b[3], 17, 19, 10)
    third, fourth = a[2] + small_sigma(first, 17, 19, 10), a[3] + small_sigma(second, 17, 19, 10)
    to.put(packed(u128, [first, second, third, fourth]))
