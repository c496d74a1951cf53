"""Operations that the language has and LLVM IR spells in its own way: conversions, shifts, bit counts, raw memory."""

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from guesthouse import bits
from guesthouse.bits import Float, Int
from guesthouse.typed import struct
from guesthouse.typed.emit import GUEST, HOUSE, OFTEN, RARELY
from guesthouse.typed.struct import Struct, Table, kind_of, signed
from guesthouse.typed.values import (
    ArrayRef, Made, PointerTo, Ref, Scalar, Sequence, is_known, llvm_type, type_name,
)

if TYPE_CHECKING:
    from guesthouse.typed.expressions import Expressions

U64 = bits.u64


def address_of(lower: "Expressions", base: Any) -> Scalar:
    return Scalar(U64, lower.e.op(f"ptrtoint ptr {lower.pointer(base)} to i64"))


def u64_of(pointer: PointerTo) -> Scalar:
    return Scalar(U64, pointer.text)


def convert(lower: "Expressions", value: Any, kind: Any) -> Any:
    """T(value): zero- or sign-extension by the source's type, truncation, or a change between integer and float."""
    if not isinstance(value, Scalar):
        lower.fail(f"{type_name(value)} cannot become {kind.__name__}")
    old, text = value.type, value.text
    if old is kind:
        return value
    a, b = llvm_type(old), llvm_type(kind)
    if kind is bool:
        return lower.truth(value)
    if old is bool:
        how = "zext" if issubclass(kind, Int) else "uitofp"
        return Scalar(kind, lower.e.op(f"{how} i1 {text} to {b}"))
    if issubclass(old, Int) and issubclass(kind, Int):
        if old.bits == kind.bits:
            return Scalar(kind, text)
        how = "trunc" if kind.bits < old.bits else "sext" if old.signed else "zext"
        return Scalar(kind, lower.e.op(f"{how} {a} {text} to {b}"))
    if issubclass(old, Int):
        return Scalar(kind, lower.e.op(f"{'sitofp' if old.signed else 'uitofp'} {a} {text} to {b}"))
    if issubclass(kind, Int):
        name = f"llvm.fpto{'s' if kind.signed else 'u'}i.sat.{b}.f{old.bits}"
        return intrinsic(lower, name, kind, f"{a} {text}")
    return Scalar(kind, lower.e.op(f"{'fpext' if kind.bits > old.bits else 'fptrunc'} {a} {text} to {b}"))


def intrinsic(lower: "Expressions", name: str, kind: Any, args: str, types: str = "") -> Scalar:
    """Call one of LLVM's own functions."""
    declared = types or ", ".join(a.rsplit(" ", 1)[0] for a in args.split(", "))
    lower.unit.declare(f"{llvm_type(kind)} @{name}({declared})")
    return Scalar(kind, lower.e.op(f"call {llvm_type(kind)} @{name}({args})"))


def shift(lower: "Expressions", left: bool, kind: Any, a: str, by: str) -> Scalar:
    """A shift that means the same for any count: LLVM leaves it open from the width on."""
    t, e = llvm_type(kind), lower.e
    how = "shl" if left else "ashr" if kind.signed else "lshr"
    if by.lstrip("-").isdigit():
        count = int(by)
        if 0 <= count < kind.bits:
            return Scalar(kind, e.op(f"{how} {t} {a}, {count}"))
        return Scalar(kind, e.op(f"ashr {t} {a}, {kind.bits - 1}") if how == "ashr" else "0")
    inside = e.op(f"icmp ult {t} {by}, {kind.bits}")
    if how == "ashr":
        count_text = e.op(f"select i1 {inside}, {t} {by}, {t} {kind.bits - 1}")
        return Scalar(kind, e.op(f"ashr {t} {a}, {count_text}"))
    moved = e.op(f"{how} {t} {a}, {by}")
    return Scalar(kind, e.op(f"select i1 {inside}, {t} {moved}, {t} 0"))


def difference(lower: "Expressions", a: str, b: int | str) -> tuple[str, str]:
    """a - b of two u64, and whether it is below 0: one instruction of the host for both."""
    lower.unit.declare("{ i64, i1 } @llvm.usub.with.overflow.i64(i64, i64)")
    both = lower.e.op(f"call {{ i64, i1 }} @llvm.usub.with.overflow.i64(i64 {a}, i64 {b})")
    return lower.e.op(f"extractvalue {{ i64, i1 }} {both}, 0"), lower.e.op(f"extractvalue {{ i64, i1 }} {both}, 1")


def opaque(text: str) -> str:
    """A u64 of which LLVM does not know where it comes from: else it would keep, from turn to turn of a loop, what only
    a way that is seldom taken is made of, or make one value twice."""
    return f'call i64 asm "", "=r,0"(i64 {text})'


def divide(lower: "Expressions", wants_quotient: bool, kind: Any, a: str, b: str) -> Scalar:
    """Truncating division. A divisor of zero is the author's mistake; the host must live, so it divides by one."""
    t, e = llvm_type(kind), lower.e
    if b == "0":
        lower.fail("division by zero")
    if not b.isdigit():
        b = e.op(f"select i1 {e.op(f'icmp eq {t} {b}, 0')}, {t} 1, {t} {b}")
        if kind.signed:
            wraps = e.op(f"and i1 {e.op(f'icmp eq {t} {b}, -1')}, {e.op(f'icmp eq {t} {a}, {kind.least}')}")
            b = e.op(f"select i1 {wraps}, {t} 1, {t} {b}")
            if not wants_quotient:
                left = e.op(f"srem {t} {a}, {b}")
                return Scalar(kind, e.op(f"select i1 {wraps}, {t} 0, {t} {left}"))
    how = ("s" if kind.signed else "u") + ("div" if wants_quotient else "rem")
    return Scalar(kind, e.op(f"{how} {t} {a}, {b}"))


def member_of(lower: "Expressions", value: Any, items: list[Any], negated: bool) -> Any:
    """`x in (a, b, c)`."""
    found = "false"
    for item in items:
        one, other, kind = lower.same_type(value, item)
        found = lower.e.op(f"or i1 {found}, {lower.e.op(f'icmp eq {llvm_type(kind)} {one.text}, {other.text}')}")
    return Scalar(bool, lower.e.op(f"xor i1 {found}, true") if negated else found)


def table_element(lower: "Expressions", table: Table, index: Any) -> Scalar:
    kind = llvm_type(table.element)
    lower.check_index(index, len(table))
    name = lower.unit.table(table)
    place = lower.e.op(f"getelementptr [{len(table)} x {kind}], ptr {name}, i64 0, i64 {lower.extend(index)}")
    return Scalar(table.element, lower.e.op(f"load {kind}, ptr {place}, !invariant.load !{{}}"))


def _expect(lower: "Expressions", condition: Any, weights: str) -> Any:
    test = lower.truth(condition)
    if isinstance(test, Scalar):
        lower.weights[test.text] = weights
    return test


def likely(lower: "Expressions", condition: Any) -> Any:
    return _expect(lower, condition, OFTEN)


def unlikely(lower: "Expressions", condition: Any) -> Any:
    return _expect(lower, condition, RARELY)


def select(lower: "Expressions", condition: Any, yes: Any, no: Any) -> Any:
    test = lower.truth(condition)
    if isinstance(test, bool):
        return yes if test else no
    typed = lower.typed(yes) if not isinstance(yes, int) or isinstance(yes, bool) else lower.typed(no)
    if typed is None or not isinstance(typed, Scalar):
        lower.fail("select chooses between numbers, one of which has a type")
    yes, no, t = lower.lift(yes, typed.type), lower.lift(no, typed.type), llvm_type(typed.type)
    return Scalar(typed.type, lower.e.op(f"select i1 {test.text}, {t} {yes.text}, {t} {no.text}"))


def _number(lower: "Expressions", x: Any) -> Scalar:
    typed = lower.typed(x)
    if not isinstance(typed, Scalar):
        lower.fail(f"{type_name(x)} is not a number")
    return typed


def quotient(lower: "Expressions", a: Any, b: Any) -> Scalar:
    a, b, kind = lower.same_type(a, b)
    return divide(lower, True, kind, a.text, b.text)


def remainder(lower: "Expressions", a: Any, b: Any) -> Scalar:
    a, b, kind = lower.same_type(a, b)
    return divide(lower, False, kind, a.text, b.text)


def _bit_operation(name: str, zero_defined: bool = False) -> Callable[..., Scalar]:
    def emit(lower: "Expressions", x: Any) -> Scalar:
        number = _number(lower, x)
        t = llvm_type(number.type)
        if name == "bswap" and number.type.bits == 8:
            return number
        extra = ", i1 false" if zero_defined else ""
        return intrinsic(lower, f"llvm.{name}.{t}", number.type, f"{t} {number.text}{extra}")

    return emit


def _rotation(name: str) -> Callable[..., Scalar]:
    def emit(lower: "Expressions", x: Any, by: Any) -> Scalar:
        x, by, kind = lower.same_type(x, by)
        t = llvm_type(kind)
        return intrinsic(lower, f"llvm.{name}.{t}", kind, f"{t} {x.text}, {t} {x.text}, {t} {by.text}")

    return emit


def sqrt(lower: "Expressions", x: Any) -> Scalar:
    x = _number(lower, x)
    return intrinsic(lower, f"llvm.sqrt.f{x.type.bits}", x.type, f"{llvm_type(x.type)} {x.text}")


def to_bits(lower: "Expressions", x: Any) -> Scalar:
    raw = x.type.raw
    return Scalar(raw, lower.e.op(f"bitcast {llvm_type(x.type)} {x.text} to {llvm_type(raw)}"))


def from_bits(kind: Any) -> Callable[..., Scalar]:
    def emit(lower: "Expressions", pattern: Any) -> Scalar:
        text = lower.lift(pattern, kind.raw).text
        return Scalar(kind, lower.e.op(f"bitcast {llvm_type(kind.raw)} {text} to {llvm_type(kind)}"))

    return emit


def lanes(lower: "Expressions", kind: Any, x: Any) -> Any:
    x = _number(lower, x)
    count, t = x.type.bits // kind.bits, llvm_type(kind)
    vector = lower.e.op(f"bitcast {llvm_type(x.type)} {x.text} to <{count} x {t}>")
    return Sequence(tuple(
        Scalar(kind, lower.e.op(f"extractelement <{count} x {t}> {vector}, i64 {n}")) for n in range(count)))


def packed(lower: "Expressions", kind: Any, parts: Any) -> Scalar:
    items = lower.items(parts)
    typed = next((t for t in (lower.typed(i) for i in items) if t is not None), None)
    if typed is None or typed.type is bool or typed.type.bits * len(items) != kind.bits:
        lower.fail(f"{len(items)} parts of {type_name(typed)} do not fill {kind.__name__}")
    t, vector = llvm_type(typed.type), "undef"
    for n, item in enumerate(items):
        text = lower.lift(item, typed.type).text
        vector = lower.e.op(f"insertelement <{len(items)} x {t}> {vector}, {t} {text}, i64 {n}")
    return Scalar(kind, lower.e.op(f"bitcast <{len(items)} x {t}> {vector} to {llvm_type(kind)}"))


def load(lower: "Expressions", kind: Any, address: Any) -> Any:
    return lower.read(kind_of(kind), lower.place_at(lower.lift(address, U64).text), GUEST, align=1)


def store(lower: "Expressions", kind: Any, address: Any, value: Any) -> None:
    lower.write(kind_of(kind), lower.place_at(lower.lift(address, U64).text), value, GUEST, align=1)


def fill(lower: "Expressions", address: Any, byte: Any, count: Any) -> None:
    lower.unit.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    to, n = lower.place_at(lower.lift(address, U64).text).base, lower.lift(count, U64).text
    lower.e.do(f"call void @llvm.memset.p0.i64(ptr {to}, i8 {lower.lift(byte, bits.u8).text}, i64 {n}, i1 false)")


def copy(lower: "Expressions", to: Any, source: Any, count: Any) -> None:
    lower.unit.declare("void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)")
    a, b = (lower.place_at(lower.lift(p, U64).text).base for p in (to, source))
    lower.e.do(f"call void @llvm.memmove.p0.p0.i64(ptr {a}, ptr {b}, i64 {lower.lift(count, U64).text}, i1 false)")


def _atomic(name: str) -> Callable[..., Scalar]:
    def emit(lower: "Expressions", kind: Any, address: Any, value: Any) -> Scalar:
        place, text = lower.place_at(lower.lift(address, U64).text).base, lower.lift(value, kind).text
        return Scalar(kind, lower.e.op(f"atomicrmw {name} ptr {place}, {llvm_type(kind)} {text} seq_cst"))

    return emit


def compare_exchange(lower: "Expressions", kind: Any, address: Any, expected: Any, value: Any) -> Scalar:
    place, t = lower.place_at(lower.lift(address, U64).text).base, llvm_type(kind)
    old, new = lower.lift(expected, kind).text, lower.lift(value, kind).text
    pair = lower.e.op(f"cmpxchg ptr {place}, {t} {old}, {t} {new} seq_cst seq_cst")
    return Scalar(kind, lower.e.op(f"extractvalue {{ {t}, i1 }} {pair}, 0"))


def invoke(lower: "Expressions", function: Any, *arguments: Any) -> Scalar:
    place = lower.place_at(lower.lift(function, U64).text).base
    passed = ", ".join(f"i64 {lower.lift(argument, U64).text}" for argument in arguments)
    return Scalar(U64, lower.e.op(f"call i64 {place}({passed})"))


def _within(lower: "Expressions", base: Any, offset: Any) -> Ref:
    if is_known(offset):
        return Ref(None, base.base, base.offset + signed(offset))
    return Ref(None, lower.e.op(f"getelementptr i8, ptr {lower.pointer(base)}, i64 {lower.extend(offset)}"))


def peek(lower: "Expressions", base: Any, kind: Any, offset: Any) -> Any:
    return lower.read(kind_of(kind), _within(lower, base, offset), HOUSE, align=1)


def poke(lower: "Expressions", base: Any, kind: Any, offset: Any, value: Any) -> None:
    lower.write(kind_of(kind), _within(lower, base, offset), value, HOUSE, align=1)


def type_of(lower: "Expressions", value: Any) -> Any:
    return value.type if isinstance(value, (Scalar, Ref, Made)) else type(value)


def length(lower: "Expressions", value: Any) -> Any:
    return value.type.count if isinstance(value, ArrayRef) else len(lower.items(value))


def is_instance(lower: "Expressions", value: Any, kinds: Any) -> bool:
    kind = type_of(lower, value)
    return isinstance(kind, type) and issubclass(kind, kinds)


def zipped(lower: "Expressions", *sequences: Any, strict: bool = False) -> Any:
    return Sequence(tuple(Sequence(row) for row in zip(*(lower.items(s) for s in sequences), strict=strict)))


def enumerated(lower: "Expressions", items: Any, start: int = 0) -> Any:
    return Sequence(tuple(Sequence(pair) for pair in enumerate(lower.items(items), start)))


def backwards(lower: "Expressions", items: Any) -> Any:
    return Sequence(tuple(reversed(lower.items(items))))


def get_attribute(lower: "Expressions", value: Any, name: Any) -> Any:
    return lower.attribute(value, name)


# Those that must be emitted even where all arguments are known would be here; all of these are for run-time arguments.
RUN_TIME: dict[Any, Callable[..., Any]] = {
    bits.likely: likely, bits.unlikely: unlikely, bits.select: select, bits.quotient: quotient,
    bits.remainder: remainder, bits.popcount: _bit_operation("ctpop"), bits.clz: _bit_operation("ctlz", True),
    bits.ctz: _bit_operation("cttz", True), bits.byteswap: _bit_operation("bswap"), bits.rotl: _rotation("fshl"),
    bits.rotr: _rotation("fshr"), bits.sqrt: sqrt, bits.lanes: lanes, bits.packed: packed, Float.to_bits: to_bits,
    struct.load: load, struct.store: store, struct.fill: fill, struct.copy: copy, struct.exchange: _atomic("xchg"),
    struct.fetch_add: _atomic("add"), struct.compare_exchange: compare_exchange, struct.invoke: invoke,
    Struct.peek: peek, Struct.poke: poke,
    type: type_of, len: length, isinstance: is_instance, zip: zipped, enumerate: enumerated, reversed: backwards,
    getattr: get_attribute,
}
# Raw memory is reached at run time, never while compiling, even at a known address.
ALWAYS = {struct.load, struct.store, struct.fill, struct.copy, struct.exchange, struct.fetch_add,
          struct.compare_exchange, struct.invoke}
FROM_BITS = Float.__dict__["from_bits"].__func__


def find(function: Any, known: bool) -> Callable[..., Any] | None:
    """The emitter of an operation of the language, or None for an ordinary function."""
    try:
        special = RUN_TIME.get(function)
    except TypeError:
        return None
    if special is not None:
        return special if not known or function in ALWAYS else None
    if isinstance(function, types.MethodType) and function.__func__ is FROM_BITS:
        return None if known else from_bits(function.__self__)
    return None
