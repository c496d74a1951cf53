"""The ways of the PC's processor in which suites run: threaded, and hot, which is compiled from the second look on."""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.manager.building import code_folder
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.memory import Memory

WAYS = ("threaded", "hot")
NewVcpu = Callable[[Memory], SoftVcpu]


def processor_in(way: str) -> NewVcpu:
    compiled = engine(X86_GUEST, code_folder())
    return lambda memory: SoftVcpu(X86_GUEST, compiled, way == "hot")
