"""Bugs by rule: in a sample of all places a comparison is turned, or a number is one too large.

`python -m tests.fuzz.chips.operators COUNT [SEED]` says how many of them the fuzzers find, and which they do
not. Some change nothing that a guest could see, and nobody finds these.
"""

from __future__ import annotations

import ast
import random
import sys
from collections.abc import Iterator

from tests.fuzz.chips.mutants import ROOT, Mutant, hunt_all

TURNED = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
LEFT_OUT = ("trace_to", "describe", "__init_subclass__")  # nothing that a guest reaches


def places(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Each expression that can be changed, and what it becomes."""
    for function in [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name not in LEFT_OUT
    ]:
        for node in [node for line in function.body for node in ast.walk(line)]:
            if isinstance(node, ast.Compare) and len(node.ops) == 1:
                sign = TURNED[type(node.ops[0])]
                yield node, f"({ast.unparse(node.left)} {sign} {ast.unparse(node.comparators[0])})"
            elif isinstance(node, ast.Constant) and type(node.value) is int:
                yield node, str(node.value + 1)


def generic(count: int, seed: int, operations: int) -> list[Mutant]:
    rng, found = random.Random(seed), []
    for file in sorted(ROOT.rglob("*.py")):
        source = file.read_text()
        module = str(file.relative_to(ROOT).with_suffix("")).replace("/", ".")
        for node, new in places(ast.parse(source)):
            if node.lineno == node.end_lineno:
                lines = source.splitlines(keepends=True)
                line = lines[node.lineno - 1].encode()
                changed = line[:node.col_offset] + new.encode() + line[node.end_col_offset:]
                lines[node.lineno - 1] = changed.decode()
                old = line[node.col_offset:node.end_col_offset].decode()
                found.append(
                    Mutant(f"{module}:{node.lineno}: {old} -> {new}", module, "".join(lines), operations)
                )
    return rng.sample(found, count)


if __name__ == "__main__":
    verdicts = hunt_all(generic(int(sys.argv[1]), int((*sys.argv, 1)[2]), 40_000))
    print(*(f"missed {one.name}: {one.how}" for one in verdicts if not one.found), sep="\n")
    print(f"{sum(one.found for one in verdicts)} of {len(verdicts)} found")
