"""AES-NI (SDM 1, 12.13): one round of FIPS 197 at a time. The tables are computed from the field's
arithmetic.

Columns are little-endian doublewords; a table entry is what one byte contributes to a column, rotated for its
row. Not modelled: constant time.
"""

from guesthouse.bits import lanes, packed, rotl, u8, u32, u128
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Ib, Vx, Wx
from guesthouse.typed import Table, function


def times(a: int, b: int) -> int:
    """The product in GF(2**8) modulo x**8 + x**4 + x**3 + x + 1: FIPS 197, 4.2."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def substitutes() -> list[int]:
    """The S-box: the inverse, then an affine map (FIPS 197, 5.1.1). 3 generates the field, so its powers tell
    inverses.
    """
    powers = [1]
    for _ in range(254):
        powers.append(times(powers[-1], 3))
    inverses = {x: powers[-n % 255] for n, x in enumerate(powers)} | {0: 0}
    boxes = []
    for x in range(256):
        inverse = inverses[x]
        doubled = inverse | inverse << 8
        boxes.append(0x63 ^ inverse ^ (doubled >> 4 ^ doubled >> 5 ^ doubled >> 6 ^ doubled >> 7) & 0xFF)
    return boxes


def column(x: int, factors: tuple[int, ...]) -> int:
    """x times each factor, as a column."""
    return sum(times(x, f) << (8 * n) for n, f in enumerate(factors))


FORWARD = substitutes()
BACKWARD = [FORWARD.index(x) for x in range(256)]
BOX, INVERSE_BOX = Table(u8, FORWARD), Table(u8, BACKWARD)
MIXED = Table(u32, [column(x, (2, 1, 1, 3)) for x in FORWARD])
UNMIXED = Table(u32, [column(x, (14, 9, 13, 11)) for x in range(256)])
DOWN, UP = (0, 5, 10, 15), (0, 13, 10, 7)  # where ShiftRows, and its inverse, take the bytes of column 0 from


def gathered(table, rows, a):
    """Columns made of the table's entries for the bytes that the rows are shifted from."""
    s = lanes(u8, a)
    return packed(
        u128,
        [
            table[s[rows[0] + c]]
            ^ rotl(table[s[(rows[1] + c) % 16]], u32(8))
            ^ rotl(table[s[(rows[2] + c) % 16]], u32(16))
            ^ rotl(table[s[(rows[3] + c) % 16]], u32(24))
            for c in range(0, 16, 4)
        ],
    )


def shifted(table, rows, a):
    """The same without mixing: bytes of the table in their new places."""
    s = lanes(u8, a)
    return packed(u128, [table[s[(r + c) % 16]] for c in range(0, 16, 4) for r in rows])


@function
def encrypted(a: u128) -> u128:
    return gathered(MIXED, DOWN, a)


@function
def encrypted_last(a: u128) -> u128:
    return shifted(BOX, DOWN, a)


@function
def unmixed(a: u128) -> u128:
    """InvMixColumns."""
    return gathered(UNMIXED, (0, 1, 2, 3), a)


@function
def decrypted_last(a: u128) -> u128:
    return shifted(INVERSE_BOX, UP, a)


@op("66 0F 38 DC /r", Vx, Wx)
def aesenc(cpu, to, by):
    """SDM 2A, AESENC."""
    cpu.need_sse()
    key = by.get()
    to.put(encrypted(to.get()) ^ key)


@op("66 0F 38 DD /r", Vx, Wx)
def aesenclast(cpu, to, by):
    """SDM 2A, AESENCLAST."""
    cpu.need_sse()
    key = by.get()
    to.put(encrypted_last(to.get()) ^ key)


@op("66 0F 38 DE /r", Vx, Wx)
def aesdec(cpu, to, by):
    """SDM 2A, AESDEC."""
    cpu.need_sse()
    key = by.get()
    to.put(unmixed(decrypted_last(to.get())) ^ key)


@op("66 0F 38 DF /r", Vx, Wx)
def aesdeclast(cpu, to, by):
    """SDM 2A, AESDECLAST."""
    cpu.need_sse()
    key = by.get()
    to.put(decrypted_last(to.get()) ^ key)


@op("66 0F 38 DB /r", Vx, Wx)
def aesimc(cpu, to, by):
    """SDM 2A, AESIMC."""
    cpu.need_sse()
    to.put(unmixed(by.get()))


@op("66 0F 3A DF /r ib", Vx, Wx, Ib)
def aeskeygenassist(cpu, to, by, constant):
    """SDM 2A, AESKEYGENASSIST."""
    cpu.need_sse()
    _, x1, _, x3 = lanes(u32, substituted(by.get()))
    round_constant = u32(constant.get())
    to.put(packed(u128, [x1, rotl(x1, u32(24)) ^ round_constant, x3, rotl(x3, u32(24)) ^ round_constant]))


@function
def substituted(a: u128) -> u128:
    """SubBytes."""
    return shifted(BOX, (0, 1, 2, 3), a)
