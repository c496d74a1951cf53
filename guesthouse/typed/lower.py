"""From the syntax tree of typed Python to LLVM IR.

What is known while compiling is evaluated by Python itself; the rest is emitted. Calls are inlined, except to functions
marked with @function. docs/typed.md defines the language; each refusal here is listed there.
"""

import ast
import functools
import operator
import types
from collections.abc import Callable
from typing import Any, NoReturn

from guesthouse.bits import Float, Int, mismatch
from guesthouse.errors import DefinitionError
from guesthouse.typed import intrinsics
from guesthouse.typed.emit import HOUSE, RARELY, Compiled, Emitter, Unit
from guesthouse.typed.function import static
from guesthouse.typed.source import Source, closure, source_of
from guesthouse.typed.struct import (
    Abandon, ArrayKind, ArrayType, BoolKind, Field, Kind, PointerKind, PointerType, ScalarKind, Struct, StructKind,
    Table, Value, kind_of,
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
        self.outer = {**function.__globals__, **closure(function)}
        self.names: dict[str, Any] = {}
        self.locals: dict[str, Local] = {}
        self.loops: list[Loop] = []
        self.returns: list[tuple[Any, str]] = []
        self.exit = ""
        self.result = function.__annotations__.get("return")


class Lower:
    """Lowers functions into one emitter. `raising` is the label where `raise Abandon` goes; it is made on first use."""

    def __init__(self, unit: Unit, emitter: Emitter) -> None:
        self.unit, self.e = unit, emitter
        self.frames: list[Frame] = []
        self.handlers: list[str] = ["abandoned"]
        self.raised = False
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

    # Control flow.

    def abandon_unless(self, condition: str) -> None:
        on = self.e.new_label("on")
        self.raised = self.raised or len(self.handlers) == 1
        self.e.branch_if(self.e.op(f"xor i1 {condition}, true"), self.handlers[-1], on, RARELY)
        if self.handlers[-1] != "abandoned":
            self.caught()
        self.e.start(on)

    def caught(self) -> None:
        """Names at a point from which an except block can be reached: only what was bound before the try survives."""

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if not self.e.open:
                return
            self.node = statement
            method = getattr(self, "do_" + type(statement).__name__, None)
            if method is None:
                self.fail(f"{type(statement).__name__.lower()} is not part of typed Python", statement)
            method(statement)

    def merge_names(self, states: list[dict[str, Any]]) -> None:
        """The names after several ways have come together."""
        if not states:
            return
        merged = dict(states[0])
        for state in states[1:]:
            for name in merged.keys() | state.keys():
                if not same(merged.get(name, Unset), state.get(name, Unset)):
                    merged[name] = Unset()
        self.frame.names = merged

    def do_If(self, s: ast.If) -> None:
        test = self.truth(self.value(s.test))
        if isinstance(test, bool):
            self.block(s.body if test else s.orelse)
            return
        yes, no, after = (self.e.new_label(h) for h in ("then", "else", "after"))
        self.e.branch_if(test.text, yes, no if s.orelse else after)
        before, states = dict(self.frame.names), []
        self.e.start(yes)
        self.block(s.body)
        if self.e.open:
            states.append(self.frame.names)
        self.e.branch(after)
        self.frame.names = before
        if s.orelse:
            self.frame.names = dict(before)
            self.e.start(no)
            self.block(s.orelse)
            if self.e.open:
                states.append(self.frame.names)
            self.e.branch(after)
        else:
            states.append(before)
        if states:
            self.e.start(after)
            self.merge_names(states)

    def do_While(self, s: ast.While) -> None:
        if s.orelse:
            self.fail("else after while is not part of typed Python")
        head, body, after = (self.e.new_label(h) for h in ("while", "do", "done"))
        loop = Loop(after, head)
        before = dict(self.frame.names)
        self.e.branch(head)
        self.e.start(head)
        test = self.truth(self.value(s.test))
        if isinstance(test, Scalar):
            self.e.branch_if(test.text, body, after)
            loop.left.append(dict(self.frame.names))
        elif test:
            self.e.branch(body)
        else:
            return
        self.e.start(body)
        self.frame.loops.append(loop)
        self.block(s.body)
        self.frame.loops.pop()
        if self.e.open:
            loop.continued.append(self.frame.names)
        self.e.branch(head)
        for state in loop.continued:
            for name, value in before.items():
                if not same(state.get(name), value):
                    self.fail(f"{name} is known while compiling but changes in a loop: give it a type, as in u64(0)", s)
        self.join(loop)

    def join(self, loop: Loop) -> None:
        """Open the block after a loop, if it is ever left."""
        self.e.open = False
        if loop.left:
            self.e.start(loop.after)
            self.merge_names(loop.left)

    def do_For(self, s: ast.For) -> None:
        items = self.items(self.value(s.iter))
        after = self.e.new_label("after")
        ways: list[dict[str, Any]] = []
        for item in items:
            loop = Loop(after, self.e.new_label("next"))
            self.assign(s.target, item)
            self.frame.loops.append(loop)
            self.block(s.body)
            self.frame.loops.pop()
            ways += loop.left
            if loop.continued:
                if self.e.open:
                    loop.continued.append(self.frame.names)
                self.e.branch(loop.again)
                self.e.start(loop.again)
                self.merge_names(loop.continued)
            if not self.e.open:
                break
        if ways:
            if self.e.open:
                ways.append(self.frame.names)
            self.e.branch(after)
            self.e.start(after)
            self.merge_names(ways)

    def do_Break(self, s: ast.Break) -> None:
        self.frame.loops[-1].left.append(dict(self.frame.names))
        self.e.branch(self.frame.loops[-1].after)

    def do_Continue(self, s: ast.Continue) -> None:
        self.frame.loops[-1].continued.append(dict(self.frame.names))
        self.e.branch(self.frame.loops[-1].again)

    def do_Raise(self, s: ast.Raise) -> None:
        what = self.value(s.exc) if s.exc else Abandon
        if not (what is Abandon or isinstance(what, Abandon) or isinstance(what, type) and issubclass(what, Abandon)):
            self.fail("only Abandon can be raised in typed Python", s)
        self.raise_abandon()

    def raise_abandon(self) -> None:
        self.raised = self.raised or len(self.handlers) == 1
        self.e.branch(self.handlers[-1])

    def do_Try(self, s: ast.Try) -> None:
        if s.finalbody or s.orelse or len(s.handlers) != 1 or s.handlers[0].name:
            self.fail("try has one `except Abandon:` and nothing else in typed Python", s)
        caught = s.handlers[0]
        if caught.type is None or self.value(caught.type) is not Abandon:
            self.fail("only Abandon can be caught in typed Python", caught)
        label, after = self.e.new_label("except"), self.e.new_label("after")
        before, states = dict(self.frame.names), []
        self.handlers.append(label)
        self.block(s.body)
        self.handlers.pop()
        if self.e.open:
            states.append(self.frame.names)
        self.e.branch(after)
        self.frame.names = before
        self.e.start(label)
        self.block(caught.body)
        if self.e.open:
            states.append(self.frame.names)
        self.e.branch(after)
        if states:
            self.e.start(after)
            self.merge_names(states)

    def do_Pass(self, s: ast.Pass) -> None:
        pass

    def do_Assert(self, s: ast.Assert) -> None:
        test = self.value(s.test)
        if not is_known(test):
            self.fail("assert is for what is known while compiling", s)
        if not test:
            self.fail(f"assertion failed: {ast.unparse(s.test)}", s)

    def do_Expr(self, s: ast.Expr) -> None:
        self.value(s.value)

    def do_Return(self, s: ast.Return) -> None:
        value = self.value(s.value) if s.value else None
        if not self.e.open:
            return
        self.frame.returns.append((self.settled(value), self.e.label))
        self.e.branch(self.frame.exit)

    def settled(self, value: Any) -> Any:
        """A value about to leave its function: of the announced type, and without offsets still to be added."""
        wanted = self.frame.result
        if is_scalar_type(wanted) and not isinstance(value, Sequence):
            return self.lift(value, wanted)
        if isinstance(value, Ref):
            return Ref(value.type, self.pointer(value))
        if isinstance(value, ArrayRef):
            return ArrayRef(value.type, self.pointer(value))
        return value

    # Assignment.

    def do_Assign(self, s: ast.Assign) -> None:
        value = self.value(s.value)
        for target in s.targets:
            self.assign(target, value)

    def do_AnnAssign(self, s: ast.AnnAssign) -> None:
        if s.value is None:
            self.fail("a variable is given its value where it is announced", s)
        value, wanted = self.value(s.value), self.value(s.annotation)
        self.assign(s.target, self.lift(value, wanted) if is_scalar_type(wanted) else value)

    def do_AugAssign(self, s: ast.AugAssign) -> None:
        now = ast.copy_location(self.as_load(s.target), s.target)
        self.assign(s.target, self.binary(s, s.op, self.value(now), self.value(s.value)))

    def as_load(self, target: ast.AST) -> Any:
        if isinstance(target, ast.Name):
            return ast.Name(target.id, ast.Load())
        if isinstance(target, ast.Attribute):
            return ast.Attribute(target.value, target.attr, ast.Load())
        assert isinstance(target, ast.Subscript)
        return ast.Subscript(target.value, target.slice, ast.Load())

    def assign(self, target: ast.AST, value: Any) -> None:
        self.node = target
        if isinstance(target, ast.Name):
            self.set(target.id, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            items = self.items(value)
            if len(items) != len(target.elts):
                self.fail(f"{len(items)} values for {len(target.elts)} names")
            for one, item in zip(target.elts, items, strict=True):
                self.assign(one, item)
        elif isinstance(target, ast.Attribute):
            self.assign_field(target, value)
        elif isinstance(target, ast.Subscript):
            base, index = self.value(target.value), self.value(target.slice)
            if not isinstance(base, (ArrayRef, PointerTo)):
                self.fail(f"an element of a {type_name(base)} cannot be assigned")
            kind, place = self.element(base, index)
            self.write(kind, place, value)
        else:
            self.fail(f"{ast.unparse(target)} cannot be assigned")

    def assign_field(self, target: ast.Attribute, value: Any) -> None:
        base = self.value(target.value)
        self.node = target
        if not isinstance(base, Ref):
            self.fail(f"a field of a {type_name(base)} cannot be assigned")
        found = base.type.fields.get(target.attr)
        if found is None:
            self.fail(f"{base.type.__name__} has no field {target.attr}")
        self.write(found.kind, Ref(None, base.base, base.offset + found.offset), value)

    # Expressions.

    def value(self, node: ast.AST) -> Any:
        outer, self.node = self.node, node
        method = getattr(self, "of_" + type(node).__name__, None)
        if method is None:
            self.fail(f"{ast.unparse(node)} is not part of typed Python")
        result = method(node)
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
            return Scalar(kind, self.e.op(f"{FLOAT_OPS[type(op)]} {llvm_type(kind)} {a.text}, {b.text}"))
        if type(op) in INT_OPS:
            return Scalar(kind, self.e.op(f"{INT_OPS[type(op)]} {llvm_type(kind)} {a.text}, {b.text}"))
        if isinstance(op, (ast.LShift, ast.RShift)):
            return intrinsics.shift(self, isinstance(op, ast.LShift), kind, a.text, b.text)
        if isinstance(op, (ast.FloorDiv, ast.Mod)):
            return intrinsics.divide(self, isinstance(op, ast.FloorDiv), kind, a.text, b.text)
        self.fail(f"{type(op).__name__} is not part of typed Python")

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
            return Scalar(bool, self.e.op(f"fcmp {names[2]} {llvm_type(kind)} {a.text}, {b.text}"))
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
        self.e.branch_if(test.text, yes, no)
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
            value = part.value if isinstance(part, ast.Constant) else self.value(part.value)  # type: ignore[attr-defined]
            if not is_known(value):
                self.fail("a string holds only what is known while compiling")
            parts.append(str(value))
        return "".join(parts)

    # Calls.

    def of_Call(self, n: ast.Call) -> Any:
        function = self.value(n.func)
        args = self.spread(n.args)
        named = {k.arg: self.value(k.value) for k in n.keywords if k.arg}
        self.node = n
        return self.call(function, args, named)

    def call(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if isinstance(function, Bound):
            return self.call(function.function, [function.owner, *args], named)
        if isinstance(function, functools.partial):
            return self.call(function.func, [*function.args, *args], {**function.keywords, **named})
        known = all(map(is_known, args)) and all(map(is_known, named.values()))
        special = self.unit.intrinsics.get(function) or intrinsics.find(function, known)
        if special is not None:
            return special(self, *args, **named)
        if known:
            return self.python(function, *args, **named)
        if isinstance(function, types.MethodType):
            return self.call(function.__func__, [function.__self__, *args], named)
        if isinstance(function, types.FunctionType):
            if getattr(function, "__typed__", False):
                return self.call_compiled(function, args, named)
            return self.inline(function, args, named)
        if isinstance(function, type):
            return self.make(function, args, named)
        if isinstance(function, PointerType):
            return PointerTo(function, self.lift(args[0], intrinsics.U64).text)
        if callable(function) and isinstance(getattr(type(function), "__call__", None), types.FunctionType):
            return self.call(type(function).__call__, [function, *args], named)
        self.fail(f"{getattr(function, '__name__', function)!s} cannot be called with what is only known at run time")

    def make(self, kind: type, args: list[Any], named: dict[str, Any]) -> Any:
        """Call a class: convert a number, or make a Value."""
        if is_scalar_type(kind):
            return intrinsics.convert(self, args[0], kind)
        if issubclass(kind, Value):
            fields = list(getattr(kind, "__dataclass_fields__", {}))
            given = {**dict(zip(fields, args, strict=False)), **named}
            for name, spec in kind.__dataclass_fields__.items():  # type: ignore[attr-defined]
                given.setdefault(name, spec.default)
            return Made(kind, given)
        if kind in (tuple, list):
            return sequence(self.items(args[0]))
        self.fail(f"{kind.__name__} cannot be made from what is only known at run time")

    def bind(self, function: Any, source: Source, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """The parameters' values, defaults included."""
        names = [a.arg for a in [*source.parameters.posonlyargs, *source.parameters.args]]
        keywords = [a.arg for a in source.parameters.kwonlyargs]
        if len(args) > len(names) and source.parameters.vararg is None:
            self.fail(f"{source.name} takes {len(names)} arguments and gets {len(args)}")
        given = dict(zip(names, args, strict=False))
        if source.parameters.vararg is not None:
            given[source.parameters.vararg.arg] = sequence(args[len(names):])
        given.update(named)
        defaults = function.__defaults__ or ()
        for name, default in zip(names[len(names) - len(defaults):], defaults, strict=True):
            given.setdefault(name, default)
        for name, default in (function.__kwdefaults__ or {}).items():
            given.setdefault(name, default)
        if missing := [n for n in [*names, *keywords] if n not in given]:
            self.fail(f"{source.name} is called without {missing[0]}")
        for name in given:
            wanted = function.__annotations__.get(name)
            if is_scalar_type(wanted):
                given[name] = self.lift(given[name], wanted)
        return given

    def inline(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        """Lower the body of a function where it is called."""
        source = source_of(function.__code__)
        given = self.bind(function, source, args, named)
        if len(self.frames) > 50:
            self.fail(f"{source.name} is inlined too deep; recursion is not part of typed Python")
        node = self.node
        frame = Frame(function, source)
        frame.exit = self.e.new_label("exit")
        self.frames.append(frame)
        for name, value in given.items():
            self.set(name, value)
        self.block(source.body)
        result = self.leave(frame)
        self.frames.pop()
        self.node = node
        return result

    def leave(self, frame: Frame) -> Any:
        """Join the ways out of a function; its value."""
        if self.e.open:
            if not frame.returns:
                return None
            self.node = frame.source.body[-1]
            frame.returns.append((self.settled(None), self.e.label))
            self.e.branch(frame.exit)
        if not frame.returns:
            return None
        self.e.start(frame.exit)
        return self.merge(frame.returns)

    def call_compiled(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        """Call a function that is machine code of its own; compile it first if this is the first call of its kind."""
        source = source_of(function.__code__)
        given = self.bind(function, source, args, named)
        leaves: list[Any] = []
        pattern = {n: self.flatten(v, function.__annotations__.get(n), leaves) for n, v in given.items()}
        key = (function, repr([(n, shape(p)) for n, p in pattern.items()]))
        if key not in self.unit.compiled:
            if key in self.unit.under_way:
                self.fail(f"{source.name} calls itself; recursion is not part of typed Python")
            self.unit.under_way.add(key)
            self.unit.compiled[key] = compile_function(self.unit, function, pattern)
        return self.emit_call(self.unit.compiled[key], leaves)

    def flatten(self, value: Any, wanted: Any, leaves: list[Any]) -> Any:
        """Take the run-time leaves out of an argument; the pattern that remains specialises the callee."""
        if is_known(value) and not is_scalar_type(wanted):
            return value
        if isinstance(value, Sequence):
            return Sequence(tuple(self.flatten(v, None, leaves) for v in value.items))
        if isinstance(value, Made):
            return Made(value.type, {n: self.flatten(v, None, leaves) for n, v in value.fields.items()})
        if isinstance(value, (Ref, ArrayRef)):
            leaves.append(("ptr", self.pointer(value)))
            return type(value)(value.type, f"%a{len(leaves) - 1}")
        if isinstance(value, (Scalar, PointerTo)):
            leaves.append((llvm_type(value.type), value.text))
            return type(value)(value.type, f"%a{len(leaves) - 1}")
        self.fail(f"a {type_name(value)} cannot be handed to a function")

    def emit_call(self, callee: Compiled, leaves: list[tuple[str, str]]) -> Any:
        args = ", ".join(f"{kind} {text}" for kind, text in leaves)
        kind = result_type(callee)
        if kind == "void":
            self.e.do(f"call void {callee.name}({args})")
            return None
        got = self.e.op(f"call {kind} {callee.name}({args})")
        if callee.raises:
            flag = got if kind == "i1" else self.e.op(f"extractvalue {kind} {got}, 1")
            self.abandon_unless(self.e.op(f"xor i1 {flag}, true"))
            if callee.result is None:
                return None
            got = self.e.op(f"extractvalue {kind} {got}, 0")
        like = callee.result
        return Ref(like.type, got) if isinstance(like, Ref) else type(like)(like.type, got)


def result_type(callee: Compiled) -> str:
    """The LLVM type of what a compiled function returns; the flag that it was abandoned comes last."""
    if callee.result is None:
        return "i1" if callee.raises else "void"
    kind = "ptr" if isinstance(callee.result, Ref) else llvm_type(callee.result.type)
    return f"{{ {kind}, i1 }}" if callee.raises else kind


def compile_function(unit: Unit, function: Any, pattern: dict[str, Any], name: str = "") -> Compiled:
    """Compile a function on its own; `pattern` gives each parameter's value, with %a0, %a1, … for run-time parts."""
    source, emitter = source_of(function.__code__), Emitter()
    lower, frame = Lower(unit, emitter), Frame(function, source)
    frame.exit = "exit"
    lower.frames.append(frame)
    for parameter, value in pattern.items():
        lower.set(parameter, value)
    lower.block(source.body)
    value = lower.leave(frame)
    value = lower.typed(value) if value is not None else None
    linkage = "define" if name else "define internal"
    callee = Compiled(name or f"@{source.name.strip('<>')}.{len(unit.functions)}", lower.raised, value)
    kind = result_type(callee)
    if emitter.open:
        emitter.end(f"ret {returned(callee, kind, value, lower)}")
    if lower.raised:
        emitter.start("abandoned")
        emitter.end("ret i1 true" if value is None else f"ret {kind} {{ {kind[2:-6]} undef, i1 true }}")
    params = ", ".join(parameters(list(pattern.values())))
    unit.functions.append(emitter.text(f"{linkage} {kind} {callee.name}({params}) nounwind"))
    return callee


def returned(callee: Compiled, kind: str, value: Any, lower: Lower) -> str:
    if value is None:
        return "i1 false" if callee.raises else "void"
    text = value.text if isinstance(value, (Scalar, PointerTo)) else lower.pointer(value)
    if not callee.raises:
        return f"{kind} {text}"
    pair = lower.e.op(f"insertvalue {kind} undef, {kind[2:-6]} {text}, 0")
    return f"{kind} " + lower.e.op(f"insertvalue {kind} {pair}, i1 false, 1")


def parameters(values: list[Any]) -> list[str]:
    """The LLVM parameters of a pattern, in order."""
    found: list[str] = []
    for value in values:
        if isinstance(value, Sequence):
            found += parameters(list(value.items))
        elif isinstance(value, Made):
            found += parameters(list(value.fields.values()))
        elif isinstance(value, (Ref, ArrayRef)):
            found.append(f"ptr {value.base}")
        elif isinstance(value, (Scalar, PointerTo)):
            found.append(f"{llvm_type(value.type)} {value.text}")
    return found


def shape(value: Any) -> Any:
    """What distinguishes one specialisation of a function from another, as something whose repr is stable."""
    if isinstance(value, Sequence):
        return [shape(v) for v in value.items]
    if isinstance(value, Made):
        return (value.type.__qualname__, [shape(v) for v in value.fields.values()])
    if isinstance(value, Dynamic):
        return (type(value).__name__, type_name(value))
    return value if isinstance(value, (int, str, tuple, type, type(None))) else (type(value).__name__, id(value))


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
