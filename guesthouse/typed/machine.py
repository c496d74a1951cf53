"""From LLVM IR to machine code in this process: optimise, emit an object, load objects, find addresses."""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm


@lru_cache(maxsize=None)
def _prepared() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    # Or a mask of pages, which LLVM cuts to the bits that an address of 32 can have, takes ten bytes and a register.
    llvm.set_option("", "--disable-constant-hoisting")
    return llvm.Target.from_default_triple()


def _machine(level: int, **how: Any) -> Any:
    """A description of the host's own processor. MCJIT wants the default code model: `small` makes it abort."""
    target, (name, features) = _prepared(), _processor()
    return target.create_target_machine(cpu=name, features=features.flatten(), opt=level, **(how or {"jit": True}))


@lru_cache(maxsize=None)
def _processor() -> tuple[str, Any]:
    """The name and the features of the host's processor, which LLVM finds out anew each time it is asked."""
    _prepared()
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features()


def has(feature: str) -> bool:
    """Whether the host's processor has a feature, by LLVM's name of it."""
    return bool(_processor()[1].get(feature))


def identity() -> str:
    """What compiled code depends on besides its source."""
    name, features = _processor()
    return f"{llvmlite.__version__} {llvm.llvm_version_info} {name} {features.flatten()}"


def optimise(text: str, level: int = 2, passes: Sequence[str] = (), **how: Any) -> tuple[Any, Any]:
    """Parse, verify and optimise a module, by these passes or by all of a level; returns it with its target machine."""
    machine = _machine(level, **how)
    module = llvm.parse_assembly(text)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=level)
    builder = llvm.create_pass_builder(machine, tuning)
    manager = llvm.create_new_module_pass_manager() if passes else builder.getModulePassManager()
    for name in passes:
        getattr(manager, f"add_{name}_pass")()
    manager.run(module, builder)
    return module, machine


def assemble(text: str, level: int = 2, passes: Sequence[str] = ()) -> bytes:
    """The object file of a module given as LLVM IR."""
    module, machine = optimise(text, level, passes)
    return bytes(machine.emit_object(module))


def assemble_static(text: str) -> tuple[bytes, str]:
    """The object file of a module whose addresses have 32 bits, which whoever uses it fills in; and its assembly."""
    module, machine = optimise(text, reloc="static", codemodel="small")
    return bytes(machine.emit_object(module)), str(machine.emit_assembly(module))


def assemble_text(assembly: str) -> bytes:
    """The object file of such a module given as assembly."""
    escaped = assembly.replace("\\", "\\5C").replace('"', "\\22").replace("\n", "\\0A").replace("\t", "\\09")
    module = llvm.parse_assembly(f'module asm "{escaped}"')
    return bytes(_machine(2, reloc="static", codemodel="small").emit_object(module))


def host_is(kind: str) -> bool:
    """Whether objects are for this processor and in this format, as in "x86_64 elf"."""
    processor, format = kind.split()
    triple = _prepared().triple
    return bool(triple.startswith(processor)) and llvm.get_object_format(triple) == format.upper()


class Code:
    """Object files loaded into this process. The code lives as long as this object."""

    def __init__(self, objects: list[bytes]) -> None:
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(0))
        self.add(objects)

    def add(self, objects: list[bytes]) -> None:
        """Load more; they may refer to what has been loaded before."""
        for data in objects:
            self.engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(data))
        self.engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function or global lies."""
        found = int(self.engine.get_function_address(name)) or int(self.engine.get_global_value_address(name))
        if not found:
            raise KeyError(name)
        return found

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        """A function callable from Python; the call releases the interpreter lock."""
        return ctypes.CFUNCTYPE(result, *arguments)(self.address(name))
