"""Lowers engine/host.py: one instruction of the host for each call, as inline assembly.

LLVM's own operations would not do. It may exchange the operands of an addition, which decides whose NaN comes out, and
takes exceptions for nobody's business; its strict operations keep these, but are slower than they must be, and some
texts with them make it abort. The VEX forms are used: they have a destination of their own.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from guesthouse.bits import Float, u8, u128
from guesthouse.engine import host
from guesthouse.errors import DefinitionError
from guesthouse.typed.machine import has
from guesthouse.typed.values import Scalar, is_known, llvm_type

if TYPE_CHECKING:
    from guesthouse.engine.hot.lowered import Lowered

VECTOR = "<2 x i64>"
# What the host must have besides AVX, by what an instruction's name begins with.
FEATURES = {"aes": "aes", "pcl": "pclmul", "sha": "sha", "fma": "fma", "fms": "fma", "fnm": "fma"}
RAISES = "memory(inaccessiblemem: readwrite)"  # it stays where it is, between two looks at MXCSR


def instruction(lower: "Lowered", name: str, kind: Any, *operands: Any) -> Scalar:
    return emitted(lower, name, kind, operands, "")


def arithmetic(lower: "Lowered", name: str, kind: Any, *operands: Any) -> Scalar:
    needed(lower)
    lower.gathers = True
    return emitted(lower, name, kind, operands, " sideeffect")


def emitted(lower: "Lowered", name: str, kind: Any, operands: tuple[Any, ...], effect: str) -> Scalar:
    t, constraint = (VECTOR, "=x") if kind is u128 else (llvm_type(kind), "=x" if issubclass(kind, Float) else "=r")
    feature = FEATURES.get(name[:3], "avx")
    if not has(feature):
        raise DefinitionError(f"the host has no {name}")
    changes = feature in ("fma", "sha")  # the first operand's register becomes the result's
    places, constraints = ["$0"], [constraint]
    given: list[str] = []
    for value in operands:
        if is_known(value) and not isinstance(value, Float):
            places.append(str(int(value)))
            continue
        text, where = operand(lower, value)
        if changes and not given:
            where = "0"
        elif name == "sha256rnds2" and len(given) == 2:
            where = "{xmm0}"
        else:
            places.append(f"${len(constraints)}")
        constraints.append(where)
        given.append(text)
    template = f"{'' if feature == 'sha' else 'v'}{name} {', '.join(places)}"
    r = lower.e.op(f'call {t} asm{effect} inteldialect "{template}", "{",".join(constraints)}"({", ".join(given)}) '
                   f"nounwind {RAISES if effect else 'memory(none)'}")
    return Scalar(kind, lower.e.op(f"bitcast {VECTOR} {r} to i128") if kind is u128 else r)


def operand(lower: "Lowered", value: Any) -> tuple[str, str]:
    """A value with its type, and the constraint that tells in which kind of register it is."""
    if isinstance(value, Float):
        return f"{llvm_type(type(value))} {lower.constant(value)}", "x"
    if not isinstance(value, Scalar):
        raise DefinitionError("no operand of an instruction of the host")
    if value.type is u128:
        return f"{VECTOR} {lower.e.op(f'bitcast i128 {value.text} to {VECTOR}')}", "x"
    return f"{llvm_type(value.type)} {value.text}", "x" if issubclass(value.type, Float) else "r"


def ordering(lower: "Lowered", name: str, condition: str, a: Any, b: Any) -> Scalar:
    """Not several conditions at once: LLVM copies the host's flags for each, and puts others' work in between."""
    needed(lower)
    lower.gathers = True
    (x, _), (y, _) = operand(lower, a), operand(lower, b)
    return Scalar(u8, lower.e.op(f'call i8 asm sideeffect inteldialect "v{name} $1, $2", '
                                 f'"={{@cc{condition}}},x,x,~{{flags}}"({x}, {y}) nounwind {RAISES}'))


def needed(lower: "Lowered") -> None:
    if lower.host is None:
        raise DefinitionError("the host's unit is not used")
    lower.needs_unit = True


def be_sure(lower: "Lowered", value: Any) -> None:
    if isinstance(value, Scalar) and lower.certain():
        lower.sure.add(value.text)
        lower.sure.update([lower.came_from[value.text]] if value.text in lower.came_from else [])


def is_sure(lower: "Lowered", value: Any) -> bool:
    return isinstance(value, Scalar) and value.text in lower.sure


INTRINSICS: dict[Any, Callable[..., Any]] = {
    host.instruction: instruction, host.arithmetic: arithmetic, host.ordering: ordering, host.needed: needed,
    host.be_sure: be_sure, host.is_sure: is_sure,
}
