"""What all boards share: the processor, memory and address maps, and the loop that serves the processor's exits.

All input enters here: exits, the clock, and jobs that other threads post. Between two slices of instructions the
loop samples the clock, fires timers and does the posted jobs; the guest sees time stand still meanwhile.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from guesthouse.bits import u64
from guesthouse.clock import Clock, RealClock
from guesthouse.engine.cpu import Cpu
from guesthouse.engine import vcpu as engine
from guesthouse.engine.vcpu import (
    Breakpoint, Budget, Exit, Halted, HostCall, MemoryRead, MemoryWrite, PortRead, PortWrite, RegisterRead,
    RegisterWrite, Vcpu, Window,
)
from guesthouse.system.boards.outcome import AtBreakpoint, Died, OutOfTime, Outcome, PoweredOff, Reset, Stopped
from guesthouse.system.boards.panic import PanicWatch
from guesthouse.system.boards.report import Reporter
from guesthouse.system.boards.serial import Port
from guesthouse.system.chips.kit import ONES, Chip, Stateful
from guesthouse.system.memory import AddressMap, Memory
from guesthouse.trace import Counters, Trace

__all__ = ["AtBreakpoint", "Board", "Died", "OutOfTime", "Outcome", "PoweredOff", "Reset", "Stopped", "VcpuFactory"]

VcpuFactory = Callable[[Memory], Vcpu]
SERIALS = 4
SLICE = 1 << 18
SLICE_PLAIN = 1 << 10  # where instructions run as plain Python, ten thousand a second
SLICE_LEAST, SLICE_MOST = 1 << 12, 1 << 24
SLICE_NS = 1_000_000  # of host time that a slice should take when time is real: how late a timer may be seen
CPU_COUNTERS = ("faults", "fills", "flushes", "invalidations", "builds", "lookups")


class Board:
    """A machine without its wiring. Subclasses plug chips and say how their processor wakes and is interrupted."""

    def __init__(self, memory: Memory, clock: Clock, vcpu_factory: VcpuFactory, *, trace: Trace | None = None,
                 slice: int = SLICE) -> None:
        self.memory, self.clock = memory, clock
        self.trace = trace or Trace.off()
        self.ports, self.addresses = AddressMap("ports", 1 << 16), AddressMap("addresses", 1 << 64)
        self.chips: list[Stateful] = []  # in the order in which they are reset
        self.watch = PanicWatch()
        self.serial = [Port(self.post, self.watch) for _ in range(SERIALS)]
        self.slice = slice
        self._real = isinstance(clock, RealClock)
        self._alarm = clock.timer(self._time_is_up)
        self._exits: dict[type[Exit], int] = {}
        self._unanswered = self._slept = 0
        self._outcome: Outcome | None = None
        self._stopping = self.halted = self.closed = False
        self._inbox: deque[Callable[[], object]] = deque()
        self._bell, self._ring = _bells()
        self._ears = selectors.DefaultSelector()
        self._ears.register(self._bell, selectors.EVENT_READ)
        self.vcpu = vcpu_factory(memory)
        self.state: Any = self.vcpu.state
        if getattr(self.vcpu, "engine", self) is None:
            self.slice = min(slice, SLICE_PLAIN)
        self._event = self.trace.on("exit")
        self.trace.count = lambda: self.vcpu.count
        if isinstance(self.state, Cpu):
            memory.install(self.state)
        self.reporter = Reporter(self)
        self._answers: dict[type[Exit], Callable[[Any], object]] = {
            PortRead: self._port_read, PortWrite: self._port_write, MemoryRead: self._memory_read,
            MemoryWrite: self._memory_write, RegisterRead: self.register_read,
            RegisterWrite: self.register_write, Halted: self._halt, Window: self.window, Budget: self._slice_over,
            engine.Stopped: lambda exit: None, Breakpoint: self._breakpoint, HostCall: self.host_call,
            engine.Died: lambda exit: self.die(exit.reason)}

    # what a subclass says

    def before_slice(self) -> None:
        """The processor is about to run."""

    def wakes(self) -> bool:
        """Whether a halted processor has reason to go on."""
        return True

    def dead_halt(self) -> str | None:
        """Why the halted processor can never wake, if so."""
        return None

    def in_kernel(self) -> bool:
        return False

    def window(self, exit: Window) -> None:
        """The processor can take an interrupt now."""

    def host_call(self, exit: HostCall) -> None:
        self.die("a host call that nobody expects")

    def register_read(self, exit: RegisterRead) -> None:
        exit.refuse()

    def register_write(self, exit: RegisterWrite) -> None:
        exit.refuse()

    def slice_over(self) -> None:
        """A whole slice ran without an exit."""

    def describe_state(self) -> list[str]:
        """Registers, page walk and disassembly, for a report."""
        return []

    # wiring

    def plug(self, where: AddressMap, start: int, chip: Chip, name: str, size: int = 0) -> None:
        """Put a chip at a range of ports or addresses."""
        chip.trace_to(self.trace, name)
        self.chips.append(chip)
        where.add(start, size or chip.SIZE, chip.read, chip.write, name)

    # from other threads

    def post(self, job: Callable[[], object]) -> None:
        """Have a job done between two slices, soon; wakes a guest that sleeps."""
        self._inbox.append(job)
        self._interrupt()

    def stop(self) -> None:
        """Make the run under way, or the next, return Stopped. May be called in a signal handler."""
        self._stopping = True
        self._interrupt()

    def _interrupt(self) -> None:
        self.vcpu.stop()
        try:
            self._ring.send(b"\0")
        except OSError:
            pass  # full: the loop will wake anyhow; closed: there is no loop

    # how a run ends

    def power_off(self, status: int = 0) -> None:
        self._end(PoweredOff(status))

    def reset(self) -> None:
        self._end(Reset())

    def die(self, reason: str) -> None:
        if self._outcome is None:
            self._end(Died(reason, self.report(reason)))

    def _end(self, outcome: Outcome) -> None:
        if self._outcome is None:
            self._outcome = outcome

    def _time_is_up(self) -> None:
        self._end(OutOfTime())

    @property
    def panic(self) -> str | None:
        """What a kernel panic said, if there was one."""
        return self.watch.text

    # the loop

    def run(self, until: int | None = None, *, instructions: int | None = None,
            seconds: float | None = None) -> Outcome:
        """Run until the guest ends, someone stops it, or a limit is reached: a guest time in ns, a number of
        instructions, or seconds of host time."""
        if isinstance(self._outcome, (Stopped, OutOfTime, AtBreakpoint)):
            self._outcome = None
        self._alarm.set(until)
        last = None if instructions is None else self.vcpu.count + instructions
        deadline = None if seconds is None else time.monotonic() + seconds
        self.clock.sample(self.vcpu.count)
        while True:
            outcome = self._outcome_now(last, deadline)
            if outcome is not None:
                break
            if self.halted:
                self._idle(deadline)
            else:
                self._run_slice(last)
        self._flush()
        self._alarm.cancel()
        return outcome

    def _outcome_now(self, last: int | None, deadline: float | None) -> Outcome | None:
        """Do what is due between slices, then say whether the run is over."""
        self.clock.fire_due()
        while self._inbox:
            self._inbox.popleft()()
        for port in self.serial:
            if port.queue:
                port.feed()
        if self._stopping:
            self._stopping = False
            self._end(Stopped())
        elif self._outcome is None and (last is not None and self.vcpu.count >= last
                                        or deadline is not None and time.monotonic() >= deadline):
            self._end(OutOfTime())
        return self._outcome

    def _run_slice(self, last: int | None) -> None:
        vcpu, clock = self.vcpu, self.clock
        self.before_slice()
        before = vcpu.count
        budget = clock.budget(before, self.slice if last is None else min(self.slice, last - before))
        ticks = clock.now()
        self.state.ticks = u64(ticks)
        start = time.monotonic_ns() if self._real else 0
        exit = vcpu.run(budget)
        count = vcpu.count
        clock.sample(count)
        if self._real:
            # The guest has seen time go on by one nanosecond for each instruction; it must not go back.
            clock.advance_to(ticks + count - before)
            if budget == self.slice and type(exit) is Budget:
                self._fit_slice(time.monotonic_ns() - start)
        self.reporter.exits.append((count, exit))
        kind = type(exit)
        self._exits[kind] = self._exits.get(kind, 0) + 1
        if self._event is not None:
            self._event(kind.__name__, **{f.name: getattr(exit, f.name) for f in fields(exit) if f.repr})
        self._answers[kind](exit)

    def _fit_slice(self, took: int) -> None:
        if took > 2 * SLICE_NS and self.slice > SLICE_LEAST:
            self.slice //= 2
        elif took < SLICE_NS // 2 and self.slice < SLICE_MOST:
            self.slice *= 2

    def _idle(self, deadline: float | None) -> None:
        """Go on if something woke the processor, else let time pass."""
        if self.wakes():
            self.halted = False
            return
        self._flush()
        why = self.dead_halt()
        if why is not None:
            self.die(why)
            return
        wait = self.clock.skip_idle(self.vcpu.count)
        if wait != 0:
            self._sleep(None if wait < 0 else wait / 1e9, deadline)
            self.clock.sample(self.vcpu.count)

    def _sleep(self, wait: float | None, deadline: float | None) -> None:
        """Sleep until a deadline or until another thread rings."""
        if deadline is not None:
            left = max(0.0, deadline - time.monotonic())
            wait = left if wait is None else min(wait, left)
        self._slept += 1
        if self._ears.select(wait):
            try:
                self._bell.recv(4096)
            except OSError:
                pass

    # answers to exits

    def _port_read(self, exit: PortRead) -> None:
        window = self.ports.find(exit.port)
        if window is None:
            self._unanswered += 1
            exit.reply(ONES[exit.size])
        else:
            window.uses += 1
            exit.reply(window.read(exit.port - window.start, exit.size))

    def _port_write(self, exit: PortWrite) -> None:
        window = self.ports.find(exit.port)
        if window is None:
            self._unanswered += 1
        else:
            window.uses += 1
            window.write(exit.port - window.start, exit.size, exit.value)

    def _memory_read(self, exit: MemoryRead) -> None:
        window = self.addresses.find(exit.address)
        if window is None or exit.size not in ONES:
            self._unanswered += 1
            exit.reply((1 << 8 * exit.size) - 1)
        else:
            window.uses += 1
            exit.reply(window.read(exit.address - window.start, exit.size))

    def _memory_write(self, exit: MemoryWrite) -> None:
        window = self.addresses.find(exit.address)
        if window is None or exit.size not in ONES:
            self._unanswered += 1
        else:
            window.uses += 1
            window.write(exit.address - window.start, exit.size, exit.value)

    def _halt(self, exit: Halted) -> None:
        self.halted = True
        self.watch.alive()

    def _breakpoint(self, exit: Breakpoint) -> None:
        self._end(AtBreakpoint(exit.address))

    def _slice_over(self, exit: Budget) -> None:
        self._flush()
        if self.watch.text is not None:
            if not self.in_kernel():
                self.watch.alive()
            elif self.watch.hangs(self.clock.now()):
                self.die(str(self.watch.text))
        self.slice_over()

    def _flush(self) -> None:
        """What the guest has sent goes to the host."""
        for port in self.serial:
            if port.uart is not None and port.uart.sending:
                port.uart.flush()

    # what can be asked

    def report(self, reason: str) -> str:
        return self.reporter.text(reason)

    def statistics(self) -> dict[str, int]:
        """Counters by dotted name."""
        counts = Counters()
        counts.set("instructions", self.vcpu.count)
        counts.set("time.guest_ns", self.clock.now())
        counts.set("idle.sleeps", self._slept)
        counts.set("exits.unanswered", self._unanswered)
        for kind, n in self._exits.items():
            counts.set(f"exits.{kind.__name__}", n)
        for space in (self.ports, self.addresses):
            for window in space.windows:
                counts.add(f"{space.kind}.{window.name}", window.uses)
        for name in CPU_COUNTERS:
            if hasattr(self.state, name):
                counts.set(f"cpu.{name}", int(getattr(self.state, name)))
        return dict(counts.items())

    def close(self) -> None:
        """Give everything back to the host."""
        if not self.closed:
            self.closed = True
            self._ears.close()
            self._bell.close()
            self._ring.close()
            self.memory.close()


def _bells() -> tuple[socket.socket, socket.socket]:
    """A pair of sockets: what is written to the second wakes the one who sleeps on the first, from any thread and from
    signal handlers, which locks do not promise."""
    bell, ring = socket.socketpair()
    bell.setblocking(False)
    ring.setblocking(False)
    return bell, ring
