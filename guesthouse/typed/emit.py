"""LLVM IR as text: one function under construction, and the unit (module) that collects functions and constants."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from guesthouse.typed.struct import Table

# Two kinds of memory that never overlap: what guests address through raw load and store, and our own structs.
HOUSE, GUEST = ", !tbaa !1", ", !tbaa !2"
METADATA = (
    '!0 = !{!"memory"}\n!1 = !{!3, !3, i64 0}\n!2 = !{!4, !4, i64 0}\n'
    '!3 = !{!"house", !0, i64 0}\n!4 = !{!"guest", !0, i64 0}\n'
    '!5 = !{!"branch_weights", i32 1, i32 2000}\n!6 = !{!"branch_weights", i32 2000, i32 1}\n'
)
RARELY = ", !prof !5"  # on a branch whose first target is the unusual one
OFTEN = ", !prof !6"  # ... is the usual one


class Emitter:
    """One function: instructions are appended to the open block; a block that has ended swallows what follows."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.count = 0
        self.label = "entry"
        self.open = True

    def op(self, text: str) -> str:
        """Append an instruction that has a result; returns the operand."""
        self.count += 1
        name = f"%t{self.count}"
        if self.open:
            self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        if self.open:
            self.lines.append("  " + text)

    def new_label(self, hint: str) -> str:
        self.count += 1
        return f"{hint}{self.count}"

    def start(self, label: str) -> None:
        """Open a block."""
        self.lines.append(f"{label}:")
        self.label, self.open = label, True

    def end(self, text: str) -> None:
        """Close the block with this terminator."""
        self.do(text)
        self.open = False

    def branch(self, label: str) -> None:
        self.end(f"br label %{label}")

    def undo_branch(self, label: str) -> bool:
        """Go on in the block that has just ended with a branch to this label, if one has."""
        if self.open or not self.lines or self.lines[-1] != f"  br label %{label}":
            return False
        self.lines.pop()
        self.open = True
        return True

    def branch_if(self, condition: str, yes: str, no: str, weights: str = "") -> None:
        self.end(f"br i1 {condition}, label %{yes}, label %{no}{weights}")

    def slot(self, kind: str) -> str:
        """Room for a local variable, made in the entry block so that LLVM can turn it into a register."""
        self.count += 1
        name = f"%v{self.count}"
        self.slots.append(f"  {name} = alloca {kind}")
        return name

    def text(self, header: str) -> str:
        return "\n".join([f"{header} {{", "entry:", *self.slots, *self.lines, "}"])


@dataclass
class Compiled:
    """A function that has been compiled on its own: how it is called and what comes back."""

    name: str
    raises: bool
    result: Any  # a value that tells the result's type, or None


@dataclass
class Unit:
    """What goes into one object file."""

    intrinsics: dict[Any, Callable[..., Any]] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    compiled: dict[Any, Compiled] = field(default_factory=dict)
    under_way: set[Any] = field(default_factory=set)
    declared: dict[str, None] = field(default_factory=dict)
    tables: dict[int, tuple[str, Table]] = field(default_factory=dict)

    def declare(self, text: str) -> None:
        self.declared[f"declare {text}"] = None

    def define(self, text: str) -> None:
        """A global of the unit, as LLVM text."""
        self.declared[text] = None

    def table(self, table: Table) -> str:
        """The global that holds a constant array."""
        if id(table) not in self.tables:
            self.tables[id(table)] = (f"@table{len(self.tables)}", table)
        return self.tables[id(table)][0]

    def text(self) -> str:
        """The whole module."""
        constants = []
        for name, table in self.tables.values():
            kind = f"i{table.element.bits}"
            body = ", ".join(f"{kind} {int(v)}" for v in table.values)
            constants.append(f"{name} = internal unnamed_addr constant [{len(table)} x {kind}] [{body}]")
        return "\n".join([*self.declared, *constants, *self.functions, METADATA])
