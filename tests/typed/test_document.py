"""Every example of docs/typed.md, under CPython and as machine code; every refusal, at its line and column."""

import ast
import ctypes
import importlib.util
import re
from pathlib import Path

import pytest

from guesthouse import bits, typed
from guesthouse.errors import DefinitionError
from guesthouse.typed.emit import Unit
from guesthouse.typed.lower import compile_function
from guesthouse.typed.machine import Code, assemble
from guesthouse.typed.values import Scalar, llvm_type

PAGE = Path(__file__).parents[2] / "docs" / "typed.md"
BLOCKS = re.findall(r"```(python refused|python|check|refusal)\n(.*?)```", PAGE.read_text(), re.DOTALL)
EXAMPLES = [(a[1], b[1]) for a, b in zip(BLOCKS, BLOCKS[1:], strict=False) if (a[0], b[0]) == ("python", "check")]
REFUSALS = [(a[1], b[1]) for a, b in zip(BLOCKS, BLOCKS[1:], strict=False)
            if (a[0], b[0]) == ("python refused", "refusal")]
PRELUDE = f"from guesthouse.typed import {', '.join(typed.__all__)}; from dataclasses import dataclass\n"


def module_of(tmp_path, text):
    """A module made of this text: typed code is compiled from a file."""
    path = tmp_path / f"example_{abs(hash(text))}.py"
    path.write_text(PRELUDE + text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(function):
    """The function as machine code, callable with bits values; 128-bit numbers go through memory."""
    kinds = {n: k for n, k in function.__annotations__.items() if n != "return"}
    result = function.__annotations__["return"]
    unit = Unit()

    def stub(arguments: bits.u64, out: bits.u64) -> None:
        values = [typed.load(kind, arguments + 16 * n) for n, kind in enumerate(kinds.values())]
        typed.store(bits.u8 if result is bool else result, out, bits.u8(function(*values))
                    if result is bool else function(*values))

    compile_function(unit, stub, {"arguments": Scalar(bits.u64, "%a0"), "out": Scalar(bits.u64, "%a1")}, "@stub")
    code = Code([assemble(unit.text())])
    call = code.function("stub", None, ctypes.c_uint64, ctypes.c_uint64)

    def run(*values):
        room, out = (ctypes.c_uint8 * (16 * len(values)))(), (ctypes.c_uint8 * 16)()
        for n, value in enumerate(values):
            typed.store(type(value), bits.u64(ctypes.addressof(room) + 16 * n), value)
        call(ctypes.addressof(room), ctypes.addressof(out))
        made = typed.load(bits.u8 if result is bool else result, bits.u64(ctypes.addressof(out)))
        return bool(made) if result is bool else made

    run.code = code
    return run


def test_the_page_has_examples_and_refusals():
    assert len(EXAMPLES) >= 12 and len(REFUSALS) >= 8


@pytest.mark.parametrize("way", ["plain", "compiled"])
@pytest.mark.parametrize("text, checks", EXAMPLES, ids=[re.search(r"def (\w+)", t)[1] for t, _ in EXAMPLES])
def test_an_example_means_what_the_page_says(tmp_path, text, checks, way):
    module = module_of(tmp_path, text)
    memory = (ctypes.c_uint64 * 64)()
    labs = ctypes.cast(ctypes.CDLL(None).labs, ctypes.c_void_p).value
    names = {**vars(module), "room": lambda: bits.u64(ctypes.addressof(memory)), "labs": lambda: bits.u64(labs)}
    called = {n.func.id for line in checks.splitlines() for n in ast.walk(ast.parse(line.strip()))
              if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    if way == "compiled":
        for name in called & vars(module).keys():
            if callable(names[name]) and getattr(names[name], "__annotations__", {}).get("return"):
                names[name] = compiled(names[name])
    for line in checks.splitlines():
        assert eval(line, names), line


@pytest.mark.parametrize("text, words", REFUSALS, ids=[re.search(r"def (\w+)", t)[1] for t, _ in REFUSALS])
def test_a_refusal_points_at_the_authors_line_and_column(tmp_path, text, words):
    module = module_of(tmp_path, text)
    function = next(f for n, f in vars(module).items() if callable(f) and f"def {n}(" in text)
    pattern = {n: Scalar(k, f"%a{i}") for i, (n, k) in enumerate(
        (n, k) for n, k in function.__annotations__.items() if n != "return")}
    assert all(llvm_type(s.type) for s in pattern.values())
    unit = Unit()

    def caller(x: bits.u64) -> bits.u64:
        return function(x)

    with pytest.raises(DefinitionError) as refused:
        if getattr(function, "__typed__", False):
            compile_function(unit, caller, {"x": Scalar(bits.u64, "%a0")}, "@f")
        compile_function(unit, function, pattern, "@f")
    place, why = words.strip().split(" ", 1)
    line, column = map(int, place.split(":"))
    assert (refused.value.line - 1, refused.value.column, refused.value.why) == (line, column, why)
    assert "typed/lower.py" not in str(refused.value) and "^" in str(refused.value)
