"""Our processor in real mode, for vectors: sets what one says, executes its instruction, tells what differs."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.build import Engine
from guesthouse.engine.hot.workshop import Inside
from guesthouse.engine.hot.regions import Regions
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import Budget, Exit, Halted, PortRead, PortWrite
from guesthouse.system.cpu.x86.entry import reset
from guesthouse.system.cpu.x86.flags import IOPL, NT
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.cpu.x86.state import General, Segment
from guesthouse.system.memory import Memory
from tests.suites.vectors import Ram, Vector

GENERAL = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
RAM = 0x120000
REAL_FLAGS = 0xFD5  # IOPL and NT do not exist in the 286's real mode, nor in the 8086
REAL_FLAGS_386 = REAL_FLAGS | IOPL | NT  # RF is not looked at: docs/quirks.md
CONTROL_386 = {"cr0": 0x1F}  # of its 32 bits the 386 kept more than later processors
MOST = 4096  # steps of a repeated instruction
HIDDEN = struct.Struct("<QIHH")


class RealMode:
    """`wraps`: addresses end at 1 MiB, as the 8086's do. Without an engine, the plain way. `hot`: each instruction is
    compiled with the HLT that stands behind it, and done again."""

    def __init__(self, code: Engine | None, wraps: bool = False, hot: bool = False) -> None:
        self.vcpu = SoftVcpu(X86_GUEST, code)
        self.cpu: Any = self.vcpu.state
        self.memory = Memory([(0, RAM)])
        self.memory.install(self.cpu, self.vcpu.outdate)
        reset(self.cpu)
        self.cpu.a20_mask = ~u64(wraps << 20)
        for n in range(6):
            self.cpu.take_real_segment(u64(n), u64(0))
        self.cpu.settle_mode()
        self.way = Regions(code, self.cpu, Inside(X86_GUEST)) if code and hot else None
        self.registers = self.cpu.where + General.offset("r")
        self.segments = self.cpu.where + General.offset("segments")

    def close(self) -> None:
        self.memory.close()

    def put(self, ram: Ram) -> None:
        """Write bytes, those that lie together at once."""
        run, start = bytearray(), -1
        for address, value in sorted(ram):
            if address != start + len(run):
                if run:
                    self.memory.write(start, run)
                run, start = bytearray(), address
            run.append(value)
        if run:
            self.memory.write(start, run)

    def prepare(self, before: dict[str, int]) -> None:
        values = [before[n] for n in GENERAL]
        ctypes.memmove(self.registers, struct.pack("<8Q", *values), 64)
        hidden = b"".join(HIDDEN.pack(before.get(n, 0) << 4, 0xFFFF, 0x93, before.get(n, 0))
                          for n in SEGMENTS)
        ctypes.memmove(self.segments, hidden, 6 * Segment.size)
        wide = "cr0" in before
        self.kept = REAL_FLAGS_386 if wide else REAL_FLAGS
        self.bits = 0xFFFF_FFFF if wide else 0xFFFF
        self.cpu.cr0 = u64(before.get("cr0", 0) & CONTROL_386["cr0"])
        self.cpu.set_rflags(u64(before["flags"] & self.kept))
        self.cpu.pc = u64((before["cs"] << 4) + before["ip"])
        self.cpu.shadow = u64(0)

    def heat(self, vector: Vector) -> None:
        """Do it threaded, have the block compiled, and put back what was changed, but not the code."""
        assert self.way is not None
        start = int(self.cpu.pc)
        self.step(True)
        if block := self.way.last(start):
            self.way.want(block, start)
            self.way.look()
        for at, byte in (dict.fromkeys(dict(vector.ram_after), 0) | dict(vector.ram_before)).items():
            ctypes.memset(self.memory.host + at, byte, 1)
        self.prepare(vector.before)

    def step(self, repeats: bool) -> Exit:
        """One instruction, all repetitions of it; ports read as ones. Hot, all until a HLT."""
        start, budget = int(self.cpu.pc), 1 if self.way is None else MOST
        done: Exit = Budget()
        for _ in range(MOST):
            done = self.vcpu.run(budget)
            if isinstance(done, PortRead | PortWrite):
                self.port = done.port
                continue
            if int(self.cpu.pc) != start or isinstance(done, Halted) or not repeats:
                break
        return done

    def state(self) -> dict[str, int]:
        got = dict(zip(GENERAL, struct.unpack("<8Q", ctypes.string_at(self.registers, 64)), strict=True))
        hidden = HIDDEN.iter_unpack(ctypes.string_at(self.segments, 6 * Segment.size))
        got |= {name: parts[3] for name, parts in zip(SEGMENTS, hidden, strict=True)}
        ip = int(self.cpu.pc) - int(self.cpu.segments[1].base)
        return got | {"flags": int(self.cpu.rflags()), "ip": ip, "cr0": int(self.cpu.cr0)}

    def differences(self, vector: Vector, undefined: int, halted: int) -> dict[str, str]:
        """What differs after this vector, by register and `memory`; `undefined` flags do not count. `halted`: how far
        IP is past a HLT that the recorder put behind the instruction."""
        self.put(vector.ram_before)
        self.prepare(vector.before)
        self.port = -1
        if self.way is not None:
            self.heat(vector)
        faults = int(self.cpu.faults)
        ended = self.step(bool({0xF2, 0xF3} & set(vector.code[:-1])))
        self.trapped = int(self.cpu.fault) if int(self.cpu.faults) != faults else -1
        got = self.state()
        want = vector.before | vector.after
        want["ip"] -= 0 if isinstance(ended, Halted) else halted
        flags = self.kept & ~undefined & vector.defined.get("flags", ~0)
        counts = dict.fromkeys(SEGMENTS, 0xFFFF) | CONTROL_386 | {"flags": flags}
        found = {name: f"{got[name]:#x} not {want[name]:#x}" for name in want.keys() & got.keys()
                 if (got[name] ^ want[name]) & counts.get(name, self.bits & vector.defined.get(name, ~0))}
        if wrong := self.memory_differences(vector, flags):
            found["memory"] = ", ".join(wrong)
        self.put([(address, 0) for address, _ in vector.ram_before + vector.ram_after])
        return found

    def memory_differences(self, vector: Vector, flags: int) -> list[str]:
        wanted = dict(vector.ram_before) | dict(vector.ram_after)
        last = vector.before | vector.after
        pushed = -2  # where FLAGS were; the file's own word of it is wrong for odd stacks
        if self.trapped >= 0:
            pushed = (last["ss"] << 4) + (last["sp"] + 4 & 0xFFFF)
        found = []
        for address, want in wanted.items():
            have = self.memory.read(address, 1)[0]
            mask = flags >> 8 * (address - pushed) if address - pushed in (0, 1) else 0xFF
            if (have ^ want) & mask & 0xFF:
                found.append(f"[{address:#x}] {have:#x} not {want:#x}")
        return found
