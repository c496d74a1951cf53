"""A virtual processor on our own engine: the Vcpu contract over the plain way and the threaded way."""

import ctypes
from collections.abc import Callable
from typing import Any

from guesthouse.bits import u8, u64
from guesthouse.engine import cpu as reasons
from guesthouse.engine.build import Engine
from guesthouse.engine.cpu import ALL_ONES, REPLIES, Cpu
from guesthouse.engine.op import Guest
from guesthouse.engine.processor import JUMPS, NEVER, Jump
from guesthouse.engine.room import CODE, Room, zeros
from guesthouse.engine.vcpu import (
    Alone, Breakpoint, Budget, Died, Exit, Halted, HostCall, MemoryRead, MemoryWrite, PortRead, PortWrite, RegisterRead,
    RegisterWrite, Stopped, Window, Yields,
)
from guesthouse.errors import HouseBug
from guesthouse.typed import Pointer, fill

SLICE = 1 << 21  # instructions between two looks at whether someone wants us to stop
EXIT, LEFT, BUDGET, TICKS, PACE, KNOWN, REPLY, ADDRESS, DOOR, CALLED, RECALLED = (
    Cpu.offset(name) - Cpu.lowest >> 3
    for name in ("exit", "left", "budget", "ticks", "pace", "replies_known", "replies", "exit_address", "door",
                 "called", "recalled"))
TELLS = {reasons.MEMORY_WRITE: MemoryWrite, reasons.PORT_WRITE: PortWrite}
ASKS = {reasons.MEMORY_READ: MemoryRead, reasons.PORT_READ: PortRead}
COUNTERS = ("faults", "fills", "flushes", "invalidations", "builds", "lookups", "stitched")


class SoftVcpu:
    """One processor. `engine` None: the plain way.

    The board gives it memory (`Memory.install(vcpu.state)`) before the first run.
    """

    def __init__(self, guest: Guest, engine: Engine | None = None, hot: bool = False) -> None:
        self.guest, self.engine = guest, engine
        self.state: Any = guest.state.new(zeros)
        self._stopping = False
        self._executed = 0
        self._pending = 0
        # The engine's fields as plain numbers: at every exit a dozen are read and written.
        words = ctypes.c_uint64 * (Cpu.offset("ram") - Cpu.lowest >> 3)
        self._words = words.from_address(self.state.where + Cpu.lowest)
        self.state.begin()
        self.state.pace = u64(1024)
        if engine is None:
            from guesthouse.engine.plain import Plain

            self._run: Callable[[int], None] = Plain(guest, self.state).run
        else:
            self._attach(engine)
        self.regions: Any = None
        self._forge: Room | None = None
        self._look_at = 0
        if engine is not None and hot:
            from guesthouse.engine.hot.compiler import compiler_of  # only who asks for the hot way pays for it
            from guesthouse.engine.hot.regions import Regions

            self.regions = Regions(engine, self.state, compiler_of(engine))
            self.put_together(engine)

    def _attach(self, engine: Engine) -> None:
        """Hand the compiled code its tables and its room."""
        state = self.state
        self._room = Room(engine.touch)
        state.room_start = state.room = u64(self._room.start)
        state.room_end = u64(self._room.end)
        state.record_size = u64(self.guest.record.size)
        fill(state.jumps.address, u8(0xFF), u64(JUMPS * Jump.size))  # with context 0, pc 0 would be found
        state.handlers = Pointer[u64](ctypes.addressof(engine.table))
        state.ends = Pointer[u8](ctypes.addressof(engine.ends))
        state.handler_count = u64(engine.count)
        state.resync, state.again, state.unlinked = u64(engine.resync), u64(engine.again), u64(engine.unlinked)
        state.pause, state.stride, state.look = u64(NEVER), u64(NEVER), u64(1)
        state.forget_returns()
        self._filled = [ctypes.c_uint64.from_address(state.where + type(state).offset(name))
                        for name in ("room", "forge")]
        where, run = state.where, engine.run

        words = self._words

        def compiled(budget: int) -> None:
            words[BUDGET] = words[LEFT] = budget
            run(where)

        self._run = compiled

    def put_together(self, engine: Engine) -> None:
        """From now on blocks that are met again are made of stencils."""
        state = self.state
        state.dialect_count = u64(len(engine.stencils))
        if engine.stencils:
            self._forge = Room(engine.touch, prot=CODE)
            state.forge_start = state.forge = u64(self._forge.start)
            state.forge_limit = state.forge_end = u64(self._forge.end)
        for dialect, (mask, value), table in zip(state.dialects, self.guest.dialects, engine.stencils, strict=False):
            dialect.mask, dialect.value, dialect.table = u64(mask), u64(value), u64(ctypes.addressof(table))

    @property
    def count(self) -> int:
        """Instructions executed since the beginning."""
        return self._executed

    @property
    def unfinished(self) -> bool:
        """An instruction waits for its device; nothing may be injected before the next run has finished it."""
        return self._words[KNOWN] != 0

    def stop(self) -> None:
        """From any thread: make the run under way, or the next, return Stopped soon."""
        self._stopping = True

    def run(self, budget: int = 1 << 30) -> Exit:
        """Execute up to `budget` instructions and say why it ended; sooner or later Stopped after stop()."""
        words = self._words
        while True:
            if self._stopping:
                self._stopping = False
                return Stopped()
            part = min(budget, SLICE)
            if 0 < self._look_at - self._executed < part:  # in the midst of things, not where an interrupt is due
                part = self._look_at - self._executed
            words[EXIT] = reasons.NONE
            self._run(part)
            executed = part - words[LEFT]
            self._executed += executed
            budget -= executed
            words[TICKS] += executed * words[PACE] >> 10
            if self.regions is not None and self._executed >= self._look_at:
                self._look_at = self._executed + self.regions.attend(self._executed)
                self._reach()
            reason = words[EXIT]
            if reason != reasons.BUDGET or budget <= 0 or words[LEFT]:  # left: the guest itself wants the board's eye
                return self._exit(reason)

    def _reach(self) -> None:
        """Have the memory touched that will be filled next."""
        self._room.reach(self._filled[0].value)
        if self._forge:
            self._forge.reach(self._filled[1].value)

    def close(self) -> None:
        """It will not run again."""
        if self.regions is not None:
            self.regions.leave()

    def recall(self) -> None:
        """From any thread: make the run under way come back with Budget soon. For parallel processors."""
        self._words[RECALLED] = self._words[CALLED] = 1
        self._words[DOOR] = ALL_ONES

    def outdate(self, host: int) -> None:
        """Someone who is no processor has changed bytes of the RAM page at this host address. From any thread."""
        if self.engine is None:
            self.state.outdate(u64(host))
        else:
            self.engine.calls["outdate"](self.state.where, host)

    def call(self, name: str, argument: int) -> None:
        """Call one of the guest's entry methods (Guest.calls) in this processor's way."""
        self.state.exit = u64(reasons.NONE)
        if self.engine is None:
            from guesthouse.engine.threaded import call  # loads the compiler

            call(self.state, getattr(type(self.state), name), u64(argument))
        else:
            self.engine.calls[name](self.state.where, argument)

    def counters(self) -> dict[str, int]:
        """What the engine has counted."""
        return {"instructions": self._executed, **{n: int(getattr(self.state, n)) for n in COUNTERS}}

    def _answer(self, value: int) -> None:
        """Give the instruction that asked its value; it is run again with it."""
        known = self._words[KNOWN] - self._pending
        if known >= REPLIES:
            raise HouseBug(f"an instruction asked more than {REPLIES} devices")
        self._words[REPLY + known] = value & ALL_ONES
        self._words[KNOWN] = known + 1
        self._pending = 1

    def _exit(self, reason: int) -> Exit:
        """The exit as the board sees it. What asks is answered with ones first, in case the board says nothing."""
        state, words = self.state, self._words
        address, size = words[ADDRESS], words[ADDRESS + 1]
        if reasons.MEMORY_READ <= reason <= reasons.REGISTER_WRITE:
            self._pending = 0
            self._answer(ALL_ONES)
            if tells := TELLS.get(reason):
                return tells(address, size, words[ADDRESS + 2] & ((1 << size * 8) - 1 if size < 8 else ALL_ONES))
            if asks := ASKS.get(reason):
                return asks(self._answer, address, size)
        match reason:
            case reasons.BUDGET:
                return Budget()
            case reasons.REGISTER_READ:
                return RegisterRead(self._answer, address, self._refuse)
            case reasons.REGISTER_WRITE:
                return RegisterWrite(address, words[ADDRESS + 2], self._refuse)
            case reasons.HALTED:
                return Halted()
            case reasons.WINDOW:
                return Window()
            case reasons.BREAKPOINT:
                return Breakpoint(int(state.pc))
            case reasons.HOST_CALL:
                return HostCall()
            case reasons.YIELD:
                return Yields()
            case reasons.ALONE:
                return Alone()
            case reasons.DIED:
                return Died(f"exception {int(state.fault)} could not be delivered at {int(state.pc):#x}")
        raise HouseBug(f"the engine came back with {reason} at pc {int(state.pc):#x}")

    def _refuse(self) -> None:
        """The board does not have this register: the instruction gets the guest's exception."""
        self.state.register_refused = u64(1)

