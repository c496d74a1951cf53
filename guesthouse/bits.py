"""Fixed-width numbers with the same meaning under CPython and in machine code.

Integer arithmetic wraps. Two operands must have the same type: nothing widens by itself; a plain Python integer
takes the type of its partner if it fits there. A shift by the width or more gives what shifting one bit at a time
would. Floats are IEEE 754 in round-to-nearest. `docs/typed.md` has the definition.
"""

import math
import struct
from typing import Any, ClassVar, Self, SupportsInt, TypeVar


class Int:
    """An integer of `bits` bits; the concrete types are u8 to u128 and i8 to i128."""

    bits: ClassVar[int] = 0
    size: ClassVar[int] = 0
    signed: ClassVar[bool] = False
    mask: ClassVar[int] = 0
    least: ClassVar[int] = 0
    most: ClassVar[int] = 0
    __slots__ = ("v",)

    v: int

    def __init__(self, value: SupportsInt = 0) -> None:
        v = int(value) & self.mask
        self.v = v - self.mask - 1 if v > self.most else v

    @classmethod
    def wrap(cls, v: int) -> Self:
        """The value of `v` modulo 2**bits, from a Python integer known to be one."""
        made = cls.__new__(cls)
        v &= cls.mask
        made.v = v - cls.mask - 1 if v > cls.most else v
        return made

    def partner(self, other: object) -> int:
        """The Python value of the other operand, which must be of this type or an integer that fits it."""
        if type(other) is type(self):
            return other.v
        if type(other) is int and self.least <= other <= self.most:
            return other
        raise TypeError(mismatch(type(self).__name__, other))

    def __int__(self) -> int:
        return self.v

    __index__ = __int__

    def __bool__(self) -> bool:
        return self.v != 0

    def __hash__(self) -> int:
        return hash(self.v)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.v:#x})"

    def __format__(self, spec: str) -> str:
        return format(self.v, spec)

    def __add__(self, o: Any) -> Self:
        return self.wrap(self.v + self.partner(o))

    __radd__ = __add__

    def __sub__(self, o: Any) -> Self:
        return self.wrap(self.v - self.partner(o))

    def __rsub__(self, o: Any) -> Self:
        return self.wrap(self.partner(o) - self.v)

    def __mul__(self, o: Any) -> Self:
        return self.wrap(self.v * self.partner(o))

    __rmul__ = __mul__

    def __floordiv__(self, o: Any) -> Self:
        return quotient(self, self.wrap(self.partner(o)))

    def __mod__(self, o: Any) -> Self:
        return remainder(self, self.wrap(self.partner(o)))

    def __and__(self, o: Any) -> Self:
        return self.wrap(self.v & self.partner(o))

    __rand__ = __and__

    def __or__(self, o: Any) -> Self:
        return self.wrap(self.v | self.partner(o))

    __ror__ = __or__

    def __xor__(self, o: Any) -> Self:
        return self.wrap(self.v ^ self.partner(o))

    __rxor__ = __xor__

    def __lshift__(self, o: Any) -> Self:
        by = self.partner(o) & self.mask
        return self.wrap(self.v << by) if by < self.bits else self.wrap(0)

    def __rlshift__(self, o: Any) -> Self:
        return self.wrap(self.partner(o)) << self

    def __rshift__(self, o: Any) -> Self:
        return self.wrap(self.v >> min(self.partner(o) & self.mask, self.bits))

    def __rrshift__(self, o: Any) -> Self:
        return self.wrap(self.partner(o)) >> self

    def __invert__(self) -> Self:
        return self.wrap(~self.v)

    def __neg__(self) -> Self:
        return self.wrap(-self.v)

    def __eq__(self, o: object) -> bool:
        return self.v == self.partner(o)

    def __ne__(self, o: object) -> bool:
        return self.v != self.partner(o)

    def __lt__(self, o: Any) -> bool:
        return self.v < self.partner(o)

    def __le__(self, o: Any) -> bool:
        return self.v <= self.partner(o)

    def __gt__(self, o: Any) -> bool:
        return self.v > self.partner(o)

    def __ge__(self, o: Any) -> bool:
        return self.v >= self.partner(o)


def mismatch(name: str, other: object) -> str:
    """What is said, here and by the compiler, when two operands do not go together."""
    if type(other) is int:
        return f"{other} does not fit {name}"
    return f"{name} with {type(other).__name__}: convert one of them"


class u8(Int):
    bits, size, mask, most = 8, 1, 0xFF, 0xFF


class u16(Int):
    bits, size, mask, most = 16, 2, 0xFFFF, 0xFFFF


class u32(Int):
    bits, size, mask, most = 32, 4, 0xFFFF_FFFF, 0xFFFF_FFFF


class u64(Int):
    bits, size, mask, most = 64, 8, (1 << 64) - 1, (1 << 64) - 1


class u128(Int):
    bits, size, mask, most = 128, 16, (1 << 128) - 1, (1 << 128) - 1


class i8(Int):
    bits, size, signed, mask, least, most = 8, 1, True, 0xFF, -(1 << 7), (1 << 7) - 1


class i16(Int):
    bits, size, signed, mask, least, most = 16, 2, True, 0xFFFF, -(1 << 15), (1 << 15) - 1


class i32(Int):
    bits, size, signed, mask, least, most = 32, 4, True, 0xFFFF_FFFF, -(1 << 31), (1 << 31) - 1


class i64(Int):
    bits, size, signed, mask, least, most = 64, 8, True, (1 << 64) - 1, -(1 << 63), (1 << 63) - 1


class i128(Int):
    bits, size, signed, mask, least, most = 128, 16, True, (1 << 128) - 1, -(1 << 127), (1 << 127) - 1


class Float:
    """An IEEE 754 number; operations round to nearest, ties to even, and raise no flags."""

    bits: ClassVar[int] = 0
    size: ClassVar[int] = 0
    form: ClassVar[str] = ""
    raw: ClassVar[type[Int]] = u64
    __slots__ = ("v",)

    v: float

    def __init__(self, value: Any = 0.0) -> None:
        self.v = self.rounded(float(int(value)) if isinstance(value, Int) else float(value))

    @classmethod
    def rounded(cls, v: float) -> float:
        return v

    @classmethod
    def from_bits(cls, pattern: Int) -> Self:
        """The number with this bit pattern (u32 for f32, u64 for f64)."""
        if type(pattern) is not cls.raw:
            raise TypeError(mismatch(cls.raw.__name__, pattern))
        made = cls.__new__(cls)
        made.v = struct.unpack(cls.form, int(pattern).to_bytes(cls.size, "little"))[0]
        return made

    def to_bits(self) -> Any:
        """The bit pattern of this number."""
        return self.raw(int.from_bytes(struct.pack(self.form, self.v), "little"))

    def partner(self, other: object) -> float:
        if type(other) is type(self):
            return other.v
        if type(other) is float:
            return other
        raise TypeError(mismatch(type(self).__name__, other))

    def __float__(self) -> float:
        return self.v

    def __int__(self) -> int:
        return int(self.v)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.v!r})"

    def __hash__(self) -> int:
        return hash(self.v)

    def __add__(self, o: Any) -> Self:
        return type(self)(self.v + self.partner(o))

    def __sub__(self, o: Any) -> Self:
        return type(self)(self.v - self.partner(o))

    def __mul__(self, o: Any) -> Self:
        return type(self)(self.v * self.partner(o))

    def __truediv__(self, o: Any) -> Self:
        by = self.partner(o)
        if by != 0:
            return type(self)(self.v / by)
        sign = struct.pack("<d", self.v)[7] & 0x80 ^ struct.pack("<d", by)[7] & 0x80
        if self.v != self.v or self.v == 0:
            return type(self)(float("nan"))
        return type(self)(float("-inf") if sign else float("inf"))

    def __neg__(self) -> Self:
        return self.from_bits(self.to_bits() ^ self.raw(1 << (self.bits - 1)))

    def __eq__(self, o: object) -> bool:
        return self.v == self.partner(o)

    def __ne__(self, o: object) -> bool:
        return self.v != self.partner(o)

    def __lt__(self, o: Any) -> bool:
        return self.v < self.partner(o)

    def __le__(self, o: Any) -> bool:
        return self.v <= self.partner(o)

    def __gt__(self, o: Any) -> bool:
        return self.v > self.partner(o)

    def __ge__(self, o: Any) -> bool:
        return self.v >= self.partner(o)


class f32(Float):
    bits, size, form, raw = 32, 4, "<f", u32

    @classmethod
    def rounded(cls, v: float) -> float:
        try:
            return float(struct.unpack("<f", struct.pack("<f", v))[0])
        except OverflowError:
            return float("inf") if v > 0 else float("-inf")


class f64(Float):
    bits, size, form, raw = 64, 8, "<d", u64


I = TypeVar("I", bound=Int)


def quotient(a: I, b: I) -> I:
    """a / b, truncated towards zero; most negative by -1 wraps. The divisor zero is the author's mistake."""
    if type(a) is not type(b):
        raise TypeError(mismatch(type(a).__name__, b))
    q = abs(a.v) // abs(b.v)
    return a.wrap(-q if (a.v < 0) != (b.v < 0) else q)


def remainder(a: I, b: I) -> I:
    """What quotient(a, b) leaves; it has the sign of a."""
    if type(a) is not type(b):
        raise TypeError(mismatch(type(a).__name__, b))
    r = abs(a.v) % abs(b.v)
    return a.wrap(-r if a.v < 0 else r)


def popcount(x: I) -> I:
    """How many bits are set."""
    return x.wrap((x.v & x.mask).bit_count())


def clz(x: I) -> I:
    """How many zero bits stand above the highest set one; the width for zero."""
    return x.wrap(x.bits - (x.v & x.mask).bit_length())


def ctz(x: I) -> I:
    """How many zero bits stand below the lowest set one; the width for zero."""
    v = x.v & x.mask
    return x.wrap((v & -v).bit_length() - 1 if v else x.bits)


def byteswap(x: I) -> I:
    """The bytes of x in the opposite order."""
    return x.wrap(int.from_bytes((x.v & x.mask).to_bytes(x.size, "little"), "big"))


def rotl(x: I, by: I) -> I:
    """x rotated left by `by` modulo its width."""
    n, v = x.partner(by) % x.bits, x.v & x.mask
    return x.wrap(v << n | v >> (x.bits - n))


def rotr(x: I, by: I) -> I:
    """x rotated right by `by` modulo its width."""
    n, v = x.partner(by) % x.bits, x.v & x.mask
    return x.wrap(v >> n | v << (x.bits - n))


def sqrt(x: Any) -> Any:
    """The square root of a float; NaN for a negative one."""
    return type(x)(math.sqrt(x.v) if x.v >= 0 else float("nan"))


def select(condition: bool, yes: Any, no: Any) -> Any:
    """`yes` if condition else `no`, both evaluated: for values without side effects."""
    return yes if condition else no


def likely(condition: bool) -> bool:
    """A hint to the compiler: usually true."""
    return condition


def unlikely(condition: bool) -> bool:
    """A hint to the compiler: usually false."""
    return condition


def lanes(kind: Any, x: Int) -> tuple[Any, ...]:
    """x cut into lanes of this kind, the lowest first. Floats are made from their bit patterns."""
    raw = kind.raw if issubclass(kind, Float) else kind
    cut = (raw.wrap(x.v >> at) for at in range(0, x.bits, kind.bits))
    return tuple(kind.from_bits(c) if issubclass(kind, Float) else c for c in cut)


def packed(kind: type[I], parts: Any) -> I:
    """The inverse of lanes: an integer of `kind` put together from its lanes, the lowest first."""
    v = 0
    for n, part in enumerate(parts):
        pattern = part.to_bits() if isinstance(part, Float) else part
        v |= (pattern.v & pattern.mask) << (n * pattern.bits)
    return kind.wrap(v)


INTEGERS: tuple[type[Int], ...] = (u8, u16, u32, u64, u128, i8, i16, i32, i64, i128)
FLOATS: tuple[type[Float], ...] = (f32, f64)


def unsigned(kind: type[Int]) -> type[Int]:
    """The unsigned type of the same width."""
    return next(t for t in INTEGERS if t.bits == kind.bits and not t.signed)


def signed(kind: type[Int]) -> type[Int]:
    """The signed type of the same width."""
    return next(t for t in INTEGERS if t.bits == kind.bits and t.signed)
