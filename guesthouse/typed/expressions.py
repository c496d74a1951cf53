"""From the expressions of typed Python to LLVM IR: names, numbers, places in memory, operators.

Statements and calls are lower.py's. What is known while compiling is evaluated by Python itself.
"""

import ast
import operator
import types
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NoReturn

from guesthouse.bits import Float, Int, mismatch
from guesthouse.errors import DefinitionError
from guesthouse.typed import intrinsics
from guesthouse.typed.emit import HOUSE, RARELY, Emitter, Unit
from guesthouse.typed.source import Source, closure
from guesthouse.typed.struct import (
    Abandon, ArrayKind, BoolKind, Field, Kind, PointerKind, ScalarKind, StructKind, Table,
    kind_of,
)
from guesthouse.typed.values import (
    ArrayRef, Bound, Dynamic, Local, Made, PointerTo, Ref, Scalar, Sequence, Unset, is_known, is_scalar_type,
    llvm_type, type_name,
)

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Div: operator.truediv, ast.Pow: operator.pow, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.USub: operator.neg, ast.Invert: operator.invert, ast.Not: operator.not_, ast.UAdd: operator.pos,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}
COMPARE = {
    ast.Eq: ("eq", "eq", "oeq"), ast.NotEq: ("ne", "ne", "une"), ast.Lt: ("ult", "slt", "olt"),
    ast.LtE: ("ule", "sle", "ole"), ast.Gt: ("ugt", "sgt", "ogt"), ast.GtE: ("uge", "sge", "oge"),
}
INT_OPS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
FLOAT_OPS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}


class Loop:
    """Where break and continue go, and the names known where a break was taken."""

    def __init__(self, after: str, again: str) -> None:
        self.after, self.again = after, again
        self.left: list[dict[str, Any]] = []
        self.continued: list[dict[str, Any]] = []


class Frame:
    """One function being lowered: inlined, or compiled on its own."""

    def __init__(self, function: Any, source: Source) -> None:
        self.source = source
        self.outer, self.captured = function.__globals__, closure(function)
        self.names: dict[str, Any] = {}
        self.locals: dict[str, Local] = {}
        self.loops: list[Loop] = []
        self.returns: list[tuple[Any, str]] = []
        self.exit = ""
        self.result = function.__annotations__.get("return")


class Expressions(ABC):
    """Lowers what has a value into one emitter: a method `of_X` the expression ast.X, `do_X` the statement. The last of
    `handlers` is the label where `raise Abandon` goes."""

    nodes: dict[type[ast.AST], Callable[..., Any]] = {}

    def __init_subclass__(cls) -> None:
        cls.nodes = {getattr(ast, name[3:]): getattr(cls, name) for name in dir(cls) if name[:3] in ("of_", "do_")}

    def __init__(self, unit: Unit, emitter: Emitter) -> None:
        self.unit, self.e = unit, emitter
        self.frames: list[Frame] = []
        self.handlers: list[str] = ["abandoned"]
        self.raised = False
        self.weights: dict[str, str] = {}  # conditions of which we know what they usually are
        self.node: ast.AST = ast.Pass()

    # Errors and names.

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    def fail(self, why: str, node: ast.AST | None = None) -> NoReturn:
        if not self.frames:
            raise DefinitionError(why)
        raise self.frame.source.error(node or self.node, why)

    def get(self, name: str) -> Any:
        frame = self.frame
        if name in frame.names:
            value = frame.names[name]
            if isinstance(value, Unset):
                self.fail(f"{name} does not have the same kind of value on every way that leads here")
            return self.read_local(value) if isinstance(value, Local) else value
        if name in frame.captured:
            return frame.captured[name]
        if name in frame.outer:
            return frame.outer[name]
        builtins = frame.outer["__builtins__"]
        builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        if name in builtins:
            return builtins[name]
        self.fail(f"{name} has no value here")

    def set(self, name: str, value: Any) -> None:
        frame = self.frame
        if frame.source.stored.get(name, 1) == 1:
            frame.names[name] = value
            return
        current = frame.names.get(name)
        if not isinstance(current, Local):
            typed = self.typed(value)
            if typed is None:
                frame.names[name] = value
                return
            current = frame.locals.get(name)
            if current is None or not self.alike(current.like, typed):
                kind = "ptr" if isinstance(typed, Ref) else llvm_type(typed.type)
                current = frame.locals[name] = Local(typed, self.e.slot(kind))
            frame.names[name] = current
        self.write_local(name, current, value)

    def alike(self, a: Any, b: Any) -> bool:
        return type(a) is type(b) and a.type == b.type

    def typed(self, value: Any) -> Any:
        """The run-time form of a value that can be in a variable, or None."""
        if isinstance(value, (Scalar, Ref, PointerTo)):
            return value
        if isinstance(value, (bool, Int, Float)):
            return self.lift(value, type(value))
        return None

    def read_local(self, local: Local) -> Any:
        like = local.like
        if isinstance(like, Ref):
            return Ref(like.type, self.e.op(f"load ptr, ptr {local.slot}"))
        text = self.e.op(f"load {llvm_type(like.type)}, ptr {local.slot}")
        return type(like)(like.type, text)

    def write_local(self, name: str, local: Local, value: Any) -> None:
        like = local.like
        if isinstance(like, Ref):
            if not isinstance(value, Ref) or value.type is not like.type:
                self.fail(f"{name} is a {type_name(like)} and cannot become a {type_name(value)}")
            self.e.do(f"store ptr {self.pointer(value)}, ptr {local.slot}")
            return
        if isinstance(like, PointerTo):
            if not isinstance(value, PointerTo) or value.type != like.type:
                self.fail(f"{name} is a {type_name(like)} and cannot become a {type_name(value)}")
        else:
            value = self.lift(value, like.type)
        self.e.do(f"store {llvm_type(like.type)} {value.text}, ptr {local.slot}")

    # Numbers.

    def lift(self, value: Any, kind: Any) -> Scalar:
        """The value as a run-time scalar of this type; a plain Python number must fit."""
        if isinstance(value, Scalar) and value.type is kind:
            return value
        if type(value) is kind:
            return Scalar(kind, self.constant(value))
        if type(value) is int and issubclass(kind, Int) and kind.least <= value <= kind.most:
            return Scalar(kind, str(value))
        if type(value) is float and issubclass(kind, Float):
            return Scalar(kind, self.constant(kind(value)))
        if isinstance(value, Scalar):
            self.fail(f"{kind.__name__} with {value.type.__name__}: convert one of them")
        if isinstance(value, Dynamic):
            self.fail(f"{kind.__name__} with {type_name(value)}: convert one of them")
        self.fail(mismatch(kind.__name__, value))

    def constant(self, value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, Float):
            pattern = value.to_bits()
            return f"bitcast (i{pattern.bits} {int(pattern)} to {llvm_type(type(value))})"
        return str(int(value))

    def truth(self, value: Any) -> Any:
        """A condition: a Python bool if known, else a run-time bool."""
        if is_known(value):
            return bool(value)
        if isinstance(value, Scalar):
            if value.type is bool:
                return value
            if issubclass(value.type, Int):
                return Scalar(bool, self.e.op(f"icmp ne {llvm_type(value.type)} {value.text}, 0"))
        self.fail(f"a {type_name(value)} is neither true nor false")

    # Places in memory.

    def pointer(self, ref: Any) -> str:
        if ref.offset == 0:
            return str(ref.base)
        return self.e.op(f"getelementptr inbounds i8, ptr {ref.base}, i64 {ref.offset}")

    def read(self, kind: Kind, place: Any, tag: str = HOUSE, align: int = 0) -> Any:
        """The value in memory at `place` (a Ref or ArrayRef that gives base and offset)."""
        if isinstance(kind, StructKind):
            return Ref(kind.type, place.base, place.offset)
        if isinstance(kind, ArrayKind):
            return ArrayRef(kind.spec, place.base, place.offset)
        pointer, align = self.pointer(place), align or kind.align
        if isinstance(kind, PointerKind):
            return PointerTo(kind.spec, self.e.op(f"load i64, ptr {pointer}, align 8{tag}"))
        if isinstance(kind, BoolKind):
            byte = self.e.op(f"load i8, ptr {pointer}{tag}")
            return Scalar(bool, self.e.op(f"icmp ne i8 {byte}, 0"))
        assert isinstance(kind, ScalarKind)
        return Scalar(kind.type, self.e.op(f"load {llvm_type(kind.type)}, ptr {pointer}, align {align}{tag}"))

    def write(self, kind: Kind, place: Any, value: Any, tag: str = HOUSE, align: int = 0) -> None:
        align = align or kind.align
        if isinstance(kind, ScalarKind):
            text = self.lift(value, kind.type).text
            self.e.do(f"store {llvm_type(kind.type)} {text}, ptr {self.pointer(place)}, align {align}{tag}")
        elif isinstance(kind, BoolKind):
            byte = self.e.op(f"zext i1 {self.lift(value, bool).text} to i8")
            self.e.do(f"store i8 {byte}, ptr {self.pointer(place)}{tag}")
        elif isinstance(kind, PointerKind):
            if not isinstance(value, PointerTo) or value.type != kind.spec:
                self.fail(f"{type_name(value)} stored as {kind.spec!r}: convert it")
            self.e.do(f"store i64 {value.text}, ptr {self.pointer(place)}, align 8{tag}")
        else:
            self.fail("a struct or array cannot be assigned as a whole")

    def place_at(self, address: str) -> Ref:
        """A place at a host address given as an i64."""
        return Ref(None, self.e.op(f"inttoptr i64 {address} to ptr"))

    def element(self, base: Any, index: Any) -> tuple[Kind, Ref]:
        """The place of base[index], for arrays and pointers."""
        kind = kind_of(base.type.element)
        if isinstance(base, PointerTo):
            start = self.place_at(base.text)
        else:
            start = Ref(None, base.base, base.offset)
            self.check_index(index, base.type.count)
        if is_known(index):
            return kind, Ref(None, start.base, start.offset + int(index) * kind.size)
        wide = self.extend(index)
        return kind, Ref(None, self.e.op(f"getelementptr [{kind.size} x i8], ptr {self.pointer(start)}, i64 {wide}"))

    def extend(self, index: Any) -> str:
        if not isinstance(index, Scalar) or index.type is bool or not issubclass(index.type, Int):
            self.fail(f"an index is an integer, not a {type_name(index)}")
        if index.type.bits == 64:
            return index.text
        how = "trunc" if index.type.bits > 64 else "sext" if index.type.signed else "zext"
        return self.e.op(f"{how} {llvm_type(index.type)} {index.text} to i64")

    def check_index(self, index: Any, count: int) -> None:
        if is_known(index):
            if not 0 <= int(index) < count:
                self.fail(f"index {int(index)} is outside 0 to {count - 1}")
        elif index.type.signed or index.type.most >= count:
            inside = self.e.op(f"icmp ult i64 {self.extend(index)}, {count}")
            self.abandon_unless(inside)

    def abandon_unless(self, condition: str) -> None:
        on = self.e.new_label("on")
        self.raised = self.raised or len(self.handlers) == 1
        self.e.branch_if(self.e.op(f"xor i1 {condition}, true"), self.handlers[-1], on, RARELY)
        self.e.start(on)

    def raise_abandon(self) -> None:
        self.raised = self.raised or len(self.handlers) == 1
        self.e.branch(self.handlers[-1])

    # Expressions.

    def value(self, node: ast.AST) -> Any:
        outer, self.node = self.node, node
        method = self.nodes.get(type(node))
        if method is None:
            self.fail(f"{ast.unparse(node)} is not part of typed Python")
        result = method(self, node)
        self.node = outer
        return result

    def of_Constant(self, n: ast.Constant) -> Any:
        return n.value

    def of_Name(self, n: ast.Name) -> Any:
        return self.get(n.id)

    def of_Tuple(self, n: ast.Tuple | ast.List) -> Any:
        return sequence(self.spread(n.elts))

    of_List = of_Tuple

    def of_Dict(self, n: ast.Dict) -> Any:
        pairs = [(self.value(k) if k else self.fail("** is not part of typed Python"), self.value(v))
                 for k, v in zip(n.keys, n.values, strict=True)]
        if not all(is_known(k) and is_known(v) for k, v in pairs):
            self.fail("a dictionary holds only what is known while compiling")
        return dict(pairs)

    def spread(self, nodes: list[ast.expr]) -> list[Any]:
        items: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items += self.items(self.value(node.value))
            else:
                items.append(self.value(node))
        return items

    def items(self, value: Any) -> list[Any]:
        """The members of a sequence whose length is known."""
        if isinstance(value, Sequence):
            return list(value.items)
        if isinstance(value, Dynamic):
            self.fail(f"a {type_name(value)} has no length known while compiling")
        try:
            return list(value)
        except TypeError:
            self.fail(f"{value!r} is not a sequence")

    def of_Attribute(self, n: ast.Attribute) -> Any:
        return self.attribute(self.value(n.value), n.attr)

    def attribute(self, base: Any, name: str) -> Any:
        if isinstance(base, Ref) and name in base.type.fields:
            found = base.type.fields[name]
            return self.read(found.kind, Ref(None, base.base, base.offset + found.offset))
        if isinstance(base, Made) and name in base.fields:
            return base.fields[name]
        if isinstance(base, Dynamic):
            return self.member(base, name)
        try:
            return getattr(base, name)
        except AttributeError:
            self.fail(f"{type(base).__name__} {getattr(base, '__name__', '')} has no {name}")

    def member(self, base: Any, name: str) -> Any:
        """A method, property or class attribute of a run-time value."""
        if name == "address" and isinstance(base, (Ref, ArrayRef)):
            return intrinsics.address_of(self, base)
        if name == "address" and isinstance(base, PointerTo):
            return intrinsics.u64_of(base)
        owner = getattr(base, "type", None)
        if not isinstance(owner, type):
            self.fail(f"a {type_name(base)} has no {name}")
        for parent in owner.__mro__:
            if name in parent.__dict__:
                found = parent.__dict__[name]
                if isinstance(found, types.FunctionType):
                    return Bound(found, base)
                if isinstance(found, property):
                    return self.inline(found.fget, [base], {})
                if isinstance(found, (staticmethod, classmethod)) or not isinstance(found, Field):
                    return getattr(owner, name)
        self.fail(f"{owner.__name__} has no {name}")

    def of_Subscript(self, n: ast.Subscript) -> Any:
        base = self.value(n.value)
        if isinstance(n.slice, ast.Slice):
            parts = [self.value(p) if p else None for p in (n.slice.lower, n.slice.upper, n.slice.step)]
            if not all(is_known(p) for p in parts):
                self.fail("a slice is known while compiling")
            index: Any = slice(*parts)
        else:
            index = self.value(n.slice)
        if isinstance(base, Sequence):
            if not is_known(index):
                self.fail("a tuple is indexed by what is known while compiling")
            picked = base.items[index if isinstance(index, slice) else int(index)]
            return sequence(list(picked)) if isinstance(index, slice) else picked
        if isinstance(base, (ArrayRef, PointerTo)):
            kind, place = self.element(base, index)
            return self.read(kind, place)
        if isinstance(base, Table) and not is_known(index):
            return intrinsics.table_element(self, base, index)
        if is_known(base) and is_known(index):
            return self.python(operator.getitem, base, index)
        self.fail(f"a {type_name(base)} cannot be indexed by a {type_name(index)}")

    def python(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """What Python itself says, for things known while compiling."""
        try:
            return function(*args, **named)
        except Abandon:
            self.raise_abandon()
            return None
        except DefinitionError:
            raise
        except Exception as e:
            self.fail(f"{e}")

    def of_BinOp(self, n: ast.BinOp) -> Any:
        a = self.value(n.left)
        return self.binary(n, n.op, a, self.value(n.right))

    def binary(self, node: ast.AST, op: ast.operator, a: Any, b: Any) -> Any:
        self.node = node
        if is_known(a) and is_known(b):
            return self.python(OPERATORS[type(op)], a, b)
        if isinstance(op, ast.Add) and (isinstance(a, Sequence) or isinstance(b, Sequence)):
            return sequence(self.items(a) + self.items(b))
        if isinstance(op, ast.Mult) and isinstance(a, Sequence) and isinstance(b, int):
            return sequence(self.items(a) * b)
        a, b, kind = self.same_type(a, b)
        if kind is bool:
            if type(op) not in (ast.BitAnd, ast.BitOr, ast.BitXor):
                self.fail(f"{type(op).__name__} is not defined for bool")
            return Scalar(bool, self.e.op(f"{INT_OPS[type(op)]} i1 {a.text}, {b.text}"))
        if issubclass(kind, Float):
            if type(op) not in FLOAT_OPS:
                self.fail(f"{type(op).__name__} is not defined for {kind.__name__}")
            return Scalar(kind, self.float_operation(FLOAT_OPS[type(op)], kind, a.text, b.text))
        if type(op) in INT_OPS:
            return Scalar(kind, self.e.op(f"{INT_OPS[type(op)]} {llvm_type(kind)} {a.text}, {b.text}"))
        if isinstance(op, (ast.LShift, ast.RShift)):
            return intrinsics.shift(self, isinstance(op, ast.LShift), kind, a.text, b.text)
        if isinstance(op, (ast.FloorDiv, ast.Mod)):
            return intrinsics.divide(self, isinstance(op, ast.FloorDiv), kind, a.text, b.text)
        self.fail(f"{type(op).__name__} is not part of typed Python")

    def float_operation(self, name: str, kind: Any, a: str, b: str) -> str:
        return self.e.op(f"{name} {llvm_type(kind)} {a}, {b}")

    def float_test(self, name: str, kind: Any, a: str, b: str) -> str:
        return self.e.op(f"fcmp {name} {llvm_type(kind)} {a}, {b}")

    def same_type(self, a: Any, b: Any) -> tuple[Scalar, Scalar, Any]:
        if isinstance(a, Scalar):
            return a, self.lift(b, a.type), a.type
        if isinstance(b, Scalar):
            return self.lift(a, b.type), b, b.type
        self.fail(f"{type_name(a)} with {type_name(b)}: these are not numbers")

    def of_UnaryOp(self, n: ast.UnaryOp) -> Any:
        a = self.value(n.operand)
        self.node = n
        if isinstance(n.op, ast.Not):
            test = self.truth(a)
            return not test if isinstance(test, bool) else Scalar(bool, self.e.op(f"xor i1 {test.text}, true"))
        if is_known(a):
            return self.python(OPERATORS[type(n.op)], a)
        if not isinstance(a, Scalar) or a.type is bool:
            self.fail(f"a {type_name(a)} has no such operation")
        kind = llvm_type(a.type)
        if issubclass(a.type, Float):
            return Scalar(a.type, self.e.op(f"fneg {kind} {a.text}"))
        text = f"xor {kind} {a.text}, -1" if isinstance(n.op, ast.Invert) else f"sub {kind} 0, {a.text}"
        return Scalar(a.type, self.e.op(text))

    def of_Compare(self, n: ast.Compare) -> Any:
        left, result = self.value(n.left), None
        for op, node in zip(n.ops, n.comparators, strict=True):
            right = self.value(node)
            self.node = n
            one = self.compare(op, left, right)
            result = one if result is None else self.both(result, one)
            left = right
        return result

    def both(self, a: Any, b: Any) -> Any:
        if is_known(a) or is_known(b):
            known, other = (a, b) if is_known(a) else (b, a)
            return other if known else False
        return Scalar(bool, self.e.op(f"and i1 {a.text}, {b.text}"))

    def compare(self, op: ast.cmpop, a: Any, b: Any) -> Any:
        if is_known(a) and is_known(b):
            return self.python(OPERATORS[type(op)], a, b)
        if isinstance(op, (ast.Is, ast.IsNot)):
            return isinstance(op, ast.IsNot)
        if isinstance(op, (ast.In, ast.NotIn)):
            return intrinsics.member_of(self, a, self.items(b), isinstance(op, ast.NotIn))
        a, b, kind = self.same_type(a, b)
        names = COMPARE[type(op)]
        if kind is not bool and issubclass(kind, Float):
            return Scalar(bool, self.float_test(names[2], kind, a.text, b.text))
        name = names[1] if kind is not bool and kind.signed else names[0]
        return Scalar(bool, self.e.op(f"icmp {name} {llvm_type(kind)} {a.text}, {b.text}"))

    def of_BoolOp(self, n: ast.BoolOp) -> Any:
        return self.short_circuit(n.values, isinstance(n.op, ast.And))

    def short_circuit(self, nodes: list[ast.expr], conjunction: bool) -> Any:
        first = self.truth(self.value(nodes[0]))
        if len(nodes) == 1:
            return first
        if isinstance(first, bool):
            return self.short_circuit(nodes[1:], conjunction) if first is conjunction else first
        more, after = self.e.new_label("more"), self.e.new_label("after")
        here = self.e.label
        self.e.branch_if(first.text, *((more, after) if conjunction else (after, more)))
        self.e.start(more)
        rest = self.lift(self.short_circuit(nodes[1:], conjunction), bool)
        there = self.e.label
        self.e.branch(after)
        self.e.start(after)
        early = "false" if conjunction else "true"
        return Scalar(bool, self.e.op(f"phi i1 [ {early}, %{here} ], [ {rest.text}, %{there} ]"))

    def of_IfExp(self, n: ast.IfExp) -> Any:
        test = self.truth(self.value(n.test))
        if isinstance(test, bool):
            return self.value(n.body if test else n.orelse)
        yes, no, after = (self.e.new_label(h) for h in ("then", "else", "after"))
        self.e.branch_if(test.text, yes, no, self.weights.get(test.text, ""))
        ways = []
        for label, node in ((yes, n.body), (no, n.orelse)):
            self.e.start(label)
            value = self.value(node)
            value = Ref(value.type, self.pointer(value)) if isinstance(value, Ref) else value
            if self.e.open:
                ways.append((value, self.e.label))
            self.e.branch(after)
        self.e.start(after)
        self.node = n
        return self.merge(ways)

    def merge(self, ways: list[tuple[Any, str]]) -> Any:
        """One value from those that come along several ways."""
        first = ways[0][0]
        if all(same(v, first) for v, _ in ways):
            return first
        if isinstance(first, (Sequence, tuple, list)):
            rows = [(self.items(v), label) for v, label in ways]
            return sequence([self.merge([(row[n], label) for row, label in rows]) for n in range(len(rows[0][0]))])
        if isinstance(first, Made):
            return Made(first.type, {n: self.merge([(v.fields[n], label) for v, label in ways]) for n in first.fields})
        if isinstance(first, Ref):
            pairs = ", ".join(f"[ {v.base}, %{label} ]" for v, label in ways)
            return Ref(first.type, self.e.op(f"phi ptr {pairs}"))
        if isinstance(first, PointerTo):
            pairs = ", ".join(f"[ {v.text}, %{label} ]" for v, label in ways)
            return PointerTo(first.type, self.e.op(f"phi i64 {pairs}"))
        kinds = [v.type if isinstance(v, Scalar) else type(v) for v, _ in ways]
        kind = next((k for k in kinds if is_scalar_type(k)), None)
        if kind is None:
            self.fail(f"{first!r} and {ways[1][0]!r} cannot be one value")
        lifted = [(self.lift(v, kind), label) for v, label in ways]
        pairs = ", ".join(f"[ {v.text}, %{label} ]" for v, label in lifted)
        return Scalar(kind, self.e.op(f"phi {llvm_type(kind)} {pairs}"))

    def of_ListComp(self, n: ast.ListComp | ast.GeneratorExp) -> Any:
        outer = dict(self.frame.names)
        results: list[Any] = []
        self.comprehend(n.generators, n.elt, results)
        self.frame.names = outer
        return sequence(results)

    of_GeneratorExp = of_ListComp

    def comprehend(self, clauses: list[ast.comprehension], element: ast.expr, results: list[Any]) -> None:
        if not clauses:
            results.append(self.value(element))
            return
        for item in self.items(self.value(clauses[0].iter)):
            self.assign(clauses[0].target, item)
            if all(self.known_truth(c) for c in clauses[0].ifs):
                self.comprehend(clauses[1:], element, results)

    def known_truth(self, node: ast.expr) -> bool:
        value = self.value(node)
        if not is_known(value):
            self.fail("what a comprehension leaves out is known while compiling", node)
        return bool(value)

    def of_JoinedStr(self, n: ast.JoinedStr) -> Any:
        parts = []
        for part in n.values:
            value = self.value(part.value if isinstance(part, ast.FormattedValue) else part)
            if not is_known(value):
                self.fail("a string holds only what is known while compiling")
            parts.append(str(value))
        return "".join(parts)

    def of_Call(self, n: ast.Call) -> Any:
        function = self.value(n.func)
        args = self.spread(n.args)
        named = {k.arg: self.value(k.value) for k in n.keywords if k.arg}
        self.node = n
        return self.call(function, args, named)

    @abstractmethod
    def assign(self, target: ast.AST, value: Any) -> None:
        """Give a name, field or element this value."""

    @abstractmethod
    def inline(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        """Lower the body of a function where it is called."""

    @abstractmethod
    def call(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        """Lower a call of whatever this is."""


def sequence(items: list[Any]) -> Any:
    """A tuple: Python's own if all of it is known."""
    return tuple(items) if all(map(is_known, items)) else Sequence(tuple(items))


def same(a: Any, b: Any) -> bool:
    """Whether two values are one and the same."""
    if a is b:
        return True
    if type(a) is not type(b) or a is Unset or b is Unset:
        return False
    try:
        return bool(a == b)
    except TypeError:
        return False
