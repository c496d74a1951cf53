"""The plain way: definitions run as ordinary Python, one instruction at a time. Slow, debuggable, the oracle."""

from typing import Any

from guesthouse.bits import u8, u64
from guesthouse.engine.cpu import BUDGET, FAULT, NONE, PAGE, STEP
from guesthouse.engine.op import FALLS, LEAVES, Guest, Handler
from guesthouse.errors import HouseBug
from guesthouse.typed import Abandon, Pointer


class Plain:
    """Runs one processor. `run(budget)` leaves the reason in cpu.exit, as the compiled engine does."""

    def __init__(self, guest: Guest, cpu: Any) -> None:
        self.guest, self.cpu = guest, cpu
        self.records = Pointer[guest.record](cpu.scratch.address)

    def run(self, budget: int) -> None:
        """Execute up to `budget` instructions; cpu.exit says why it ended. Mirrors Processor.run."""
        cpu = self.cpu
        cpu.budget = cpu.left = u64(budget)
        if cpu.replies_known == 0:
            cpu.poll()
        while cpu.exit == NONE and cpu.left != 0:
            self.step()
        if cpu.exit == NONE:
            cpu.exit = u64(BUDGET)

    def step(self) -> None:
        """Execute one instruction, deliver its fault if it has one."""
        cpu, start, stepping = self.cpu, self.cpu.pc, self.cpu.context & STEP != 0
        cpu.replies_used, cpu.start = u64(0), start
        try:
            for handler in self.fetch():
                self.perform(handler, start)
            if handler.op.ends == FALLS:
                cpu.pc = self.following(start)
            else:
                cpu.come_to(cpu.pc)
        except Abandon as why:
            cpu.pc = start
            if cpu.exit == NONE:
                raise HouseBug(f"an instruction was abandoned without a reason at pc {int(start):#x}") from why
            if cpu.exit == FAULT:
                cpu.exit, cpu.faults = u64(NONE), cpu.faults + 1
                cpu.replies_known, cpu.left = u64(0), cpu.left - 1
                cpu.deliver()
                if cpu.exit == NONE:
                    cpu.poll()
            return
        asked, cpu.replies_known, cpu.left = cpu.replies_known != 0, u64(0), cpu.left - 1
        if cpu.exit == NONE and (asked or stepping or handler.op.ends == LEAVES):
            cpu.poll()

    def following(self, start: u64) -> u64:
        return start + u64(self.records[0].length)

    def perform(self, handler: Handler, start: u64) -> None:
        record = self.records[1] if handler is self.second else self.records[0]
        if handler.op.ends != FALLS:
            self.cpu.pc = self.following(start)
        handler.op.run(self.cpu, *(bind(self.cpu, record) for bind in handler.binds))

    def fetch(self) -> list[Handler]:
        """Decode the instruction at pc; the bytes of a second page are looked at only if they belong to it."""
        pc = self.cpu.pc
        room = min(PAGE - (int(pc) & PAGE - 1), 16)
        self.copy(pc, 0, room)
        count = self.decode(pc)
        if int(self.records[0].length) > room:
            self.copy(pc + room, room, 16 - room)
            count = self.decode(pc)
        handlers = [self.guest.handlers[int(self.records[n].handler)] for n in range(count)]
        self.second = handlers[1] if count == 2 else None
        return handlers

    def decode(self, pc: u64) -> int:
        return int(self.cpu.decode(pc, u64(0), self.cpu.window.address, self.records))

    def copy(self, va: u64, to: int, count: int) -> None:
        host = self.cpu.fetch(va)
        for n in range(16):
            self.cpu.window[to + n] = u8(0)
        for n in range(count):
            self.cpu.window[to + n] = Pointer[u8](host)[n]
