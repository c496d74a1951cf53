"""From the syntax tree of typed Python to LLVM IR: statements, assignment, calls and whole functions.

What is known while compiling is evaluated by Python itself; the rest is emitted. Calls are inlined, except to functions
marked with @function. docs/typed.md defines the language; each refusal here is listed there.
"""

import ast
import functools
import types
from typing import Any

from guesthouse.typed import intrinsics
from guesthouse.typed.emit import Compiled, Emitter, Unit
from guesthouse.typed.expressions import Expressions, Frame, Loop, same, sequence
from guesthouse.typed.source import Source, source_of
from guesthouse.typed.struct import Abandon, PointerType, Value
from guesthouse.typed.values import (
    ArrayRef, Bound, Dynamic, Made, PointerTo, Ref, Scalar, Sequence, Unset, is_known, is_scalar_type,
    llvm_type, type_name,
)


class Lower(Expressions):
    """Lowers functions into one emitter."""

    # Control flow.

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if not self.e.open:
                return
            self.node = statement
            method = self.nodes.get(type(statement))
            if method is None:
                self.fail(f"{type(statement).__name__.lower()} is not part of typed Python", statement)
            method(self, statement)

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
        else:
            self.part_ways(s, test)

    def part_ways(self, s: ast.If, test: Scalar) -> None:
        """An `if` whose condition is only known at run time."""
        yes, no, after = (self.e.new_label(h) for h in ("then", "else", "after"))
        self.e.branch_if(test.text, yes, no if s.orelse else after, self.weights.get(test.text, ""))
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

    # Calls.

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
        if callable(function) and isinstance(type(function).__call__, types.FunctionType):
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
        names, rest = source.names, source.parameters.vararg
        if len(args) > len(names) and rest is None:
            self.fail(f"{source.name} takes {len(names)} arguments and gets {len(args)}")
        given = dict(zip(names, args, strict=False))
        if rest is not None:
            given[rest.arg] = sequence(args[len(names):])
        given.update(named)
        defaults = function.__defaults__ or ()
        for name, default in zip(names[len(names) - len(defaults):], defaults, strict=True):
            given.setdefault(name, default)
        for name, default in (function.__kwdefaults__ or {}).items():
            given.setdefault(name, default)
        if missing := [n for n in (*names, *source.keywords) if n not in given]:
            self.fail(f"{source.name} is called without {missing[0]}")
        for name, wanted in function.__annotations__.items():
            if name in given and is_scalar_type(wanted):
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
        if len(frame.returns) == 1 and self.e.undo_branch(frame.exit):
            return frame.returns[0][0]
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
