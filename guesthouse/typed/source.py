"""Where a function's text is: its syntax tree with the file's line numbers, its names, and errors that point there."""

import ast
import linecache
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from guesthouse.errors import DefinitionError


@dataclass(frozen=True, eq=False)
class Source:
    """One function as the compiler reads it."""

    file: str
    name: str
    parameters: ast.arguments
    body: list[ast.stmt]
    stored: dict[str, int] = field(repr=False)  # how often each local name is given a value

    @cached_property
    def names(self) -> list[str]:
        """The parameters that may be given by their places."""
        return [a.arg for a in [*self.parameters.posonlyargs, *self.parameters.args]]

    @cached_property
    def keywords(self) -> list[str]:
        """Those that are given by name."""
        return [a.arg for a in self.parameters.kwonlyargs]

    def error(self, node: ast.AST, why: str) -> DefinitionError:
        """The author's mistake at this node."""
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        return DefinitionError(why, self.file, line, column, linecache.getline(self.file, line).rstrip("\n"))


@lru_cache(maxsize=None)
def _functions(file: str) -> dict[int, list[Any]]:
    """Every function and lambda of a file by the line its code object names (that of its first decorator)."""
    text = "".join(linecache.getlines(file))
    if not text:
        raise DefinitionError(f"the source of {file} cannot be read, and typed code is compiled from its source")
    found: dict[int, list[Any]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found.setdefault(line, []).append(node)
        elif isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
    return found


@lru_cache(maxsize=None)
def source_of(code: types.CodeType) -> Source:
    """The source of a function, from its code object."""
    wanted = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for node in _functions(code.co_filename).get(code.co_firstlineno, ()):
        names = tuple(a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
        plain = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        if names == wanted and plain == code.co_name:
            if isinstance(node, ast.Lambda):
                body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
            else:
                body = node.body
            return Source(code.co_filename, plain, node.args, body, _stores(node.args, body))
    raise DefinitionError(f"{code.co_name} is not found in {code.co_filename}:{code.co_firstlineno}")


def _stores(parameters: ast.arguments, body: list[ast.stmt]) -> dict[str, int]:
    count: dict[str, int] = {}
    for a in [*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs]:
        count[a.arg] = 1
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                count[node.id] = count.get(node.id, 0) + 1
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                count[node.target.id] = count.get(node.target.id, 0) + 1
    for statement in body:  # targets of unrolled loops and comprehensions are given anew, not changed
        for node in ast.walk(statement):
            if isinstance(node, (ast.For, ast.comprehension)):
                for target in ast.walk(node.target):
                    if isinstance(target, ast.Name):
                        count[target.id] = 1
    return count


def closure(function: Callable[..., Any]) -> dict[str, Any]:
    """The names a function has captured, with their values."""
    cells = getattr(function, "__closure__", None)
    return {n: c.cell_contents for n, c in zip(function.__code__.co_freevars, cells, strict=True)} if cells else {}
