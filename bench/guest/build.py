"""From an item's body in typed Python to a static executable for one of the targets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import llvmlite.binding as llvm

from bench.guest import linux, system
from bench.guest.elf import linked
from bench.guest.linux import MARK, ROOM
from bench.guest.targets import Target
from guesthouse.bits import u32, u64
from guesthouse.typed.emit import Unit
from guesthouse.typed.intrinsics import convert
from guesthouse.typed.lower import compile_function
from guesthouse.typed.struct import load, store
from guesthouse.typed.values import Scalar, llvm_type

SCRATCH = 4096  # bytes at the start of the room that are main's own


@dataclass(frozen=True)
class Item:
    """One thing that is measured: body(room, rounds) is timed, and what it returns must be the same everywhere.

    `unit`: how floating point is computed: "sse" (or the machine's own), "x87", or "simd": loops become vectors."""

    name: str
    body: Callable[[u64, u32], u64]
    rounds: int
    unit: str = "sse"

    def fits(self, target: Target) -> bool:
        if "move_bytes" in self.body.__code__.co_names and target.name == "riscv64":
            return False
        return {"x87": bool(target.x87), "simd": target.simd}.get(self.unit, True)


def main(item: Item) -> Callable[[u64], u64]:
    """The program: a line when the body begins; when it ends, a line with its result and the nanoseconds it took."""
    body, rounds = item.body, item.rounds
    begins, ends = (f"{MARK} {item.name} {what}".encode() for what in ("begins\n", "ends "))

    def program(stack: u64) -> u64:
        scratch, data = linux.room(), linux.room() + SCRATCH
        given, times = linux.argument(stack, u64(1)), u32(rounds)
        if linux.load_word(stack) > 2:
            linux.call("exit", 0)  # for the item that starts itself again
        if given != 0:
            times = u32(linux.number(given))
        linux.say(scratch, linux.text(scratch, begins))
        start = linux.nanoseconds(scratch)
        result = body(data, times)
        taken = linux.nanoseconds(scratch) - start
        at = linux.hexadecimal(linux.text(scratch, ends), result)
        at = linux.hexadecimal(linux.text(at, b" "), taken)
        linux.say(scratch, linux.text(at, b"\n"))
        linux.call("exit", 0)
        return result

    return program


def executable(item: Item, target: Target) -> bytes:
    """The item as a static ELF file."""
    return compiled(main(item), target, item.unit)


def compiled(program: Callable[[u64], u64], target: Target, arithmetic: str = "sse") -> bytes:
    """A program, which is given its first stack, as a static ELF file."""
    unit = Unit(intrinsics=operations(target))
    compile_function(unit, program, {"stack": Scalar(u64, "%a0")}, "@main")
    machine = machine_of(target, arithmetic == "x87")
    header = f'target triple = "{target.triple}"\ntarget datalayout = "{machine.target_data}"\n'
    module = llvm.parse_assembly(header + attributed(unit.text()))
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = tuning.slp_vectorization = arithmetic == "simd"
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    used = {name for name in re.findall(r"call \w+ @(\w+)\(", str(module))} | {"_start"}
    return linked(bytes(machine.emit_object(module)), tuple(stub for stub in target.stubs if stub.name in used))


def attributed(text: str) -> str:
    """A function that is marked as one stays one; no loop becomes a call of memset, which nobody provides."""
    text = re.sub(r"(define internal .*) nounwind \{", r'\1 nounwind noinline "no-builtins" {', text)
    return re.sub(r"(define i64 .*) nounwind \{", r'\1 nounwind "no-builtins" {', text)


@lru_cache(maxsize=None)
def machine_of(target: Target, x87: bool) -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    cpu = {"amd64": "x86-64", "i386": "pentium4"}.get(target.name, "generic-rv64")
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=cpu, features=target.x87 if x87 else target.features, opt=2, reloc="static", codemodel="small")


def operations(target: Target) -> dict[Any, Callable[..., Any]]:
    """What the language lacks and linux.py names, as LLVM."""
    return {
        linux.call: partial(system_call, target), linux.room: room, linux.load_word: partial(load_word, target),
        linux.store_word: partial(store_word, target), linux.word_size: lambda lower: target.word.bits // 8,
        linux.move_bytes: partial(stub, target, "move_bytes"), linux.new_code: partial(stub, target, "new_code"),
        system.is_riscv: lambda lower: target.name == "riscv64",
    }


def as_word(target: Target, lower: Any, value: Any) -> str:
    known = not isinstance(value, Scalar)
    word = lower.lift(int(value) & target.word.most, target.word) if known else convert(lower, value, target.word)
    return f"{llvm_type(target.word)} {word.text}"


def stub(target: Target, name: str, lower: Any, *arguments: Any) -> Scalar:
    """A call of one of the target's stubs with words; its result is widened with its sign."""
    word = llvm_type(target.word)
    lower.unit.declare(f"{word} @{name}({', '.join([word] * len(arguments))})")
    given = ", ".join(as_word(target, lower, argument) for argument in arguments)
    result = Scalar(target.signed, lower.e.op(f"call {word} @{name}({given})"))
    return convert(lower, result, u64) if target.word is not u64 else Scalar(u64, result.text)


def system_call(target: Target, lower: Any, name: str, *arguments: Any) -> Scalar:
    padding = [0] * (6 - len(arguments))
    return stub(target, "system_call", lower, target.calls[name], *arguments, *padding)


def room(lower: Any) -> Scalar:
    lower.unit.define(f"@room = internal global [{ROOM} x i8] zeroinitializer, align 4096")
    return Scalar(u64, lower.e.op("ptrtoint ptr @room to i64"))


def load_word(target: Target, lower: Any, address: Any) -> Scalar:
    return convert(lower, lower.call(load, [target.word, address], {}), u64)


def store_word(target: Target, lower: Any, address: Any, value: Any) -> None:
    value = value if isinstance(value, Scalar) else lower.lift(int(value), u64)
    lower.call(store, [target.word, address, convert(lower, value, target.word)], {})
