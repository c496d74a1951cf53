"""What all boards share: processors, memory and address maps, and the loop that serves the processors' exits.

All input enters here: exits, the clock, and jobs that other threads post. Between two slices of instructions the
loop samples the clock, fires timers and does the posted jobs; the guest sees time stand still meanwhile. `core` is
the processor whose turn it is, or whose exit is being answered.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import Any

from guesthouse.bits import u64
from guesthouse.clock import SECOND, Clock, RealClock
from guesthouse.engine import vcpu as engine
from guesthouse.engine.sharing import Sharing
from guesthouse.engine.vcpu import (
    Alone, Breakpoint, Budget, Exit, Halted, HostCall, MemoryRead, MemoryWrite, PortRead, PortWrite, RegisterRead,
    RegisterWrite, Vcpu, Window, Yields,
)
from guesthouse.system.boards.cores import PATIENCE, TURN, Core, checked_count
from guesthouse.system.boards.outcome import AtBreakpoint, Died, OutOfTime, Outcome, PoweredOff, Reset, Stopped
from guesthouse.system.boards.panic import PanicWatch
from guesthouse.system.boards.report import Reporter
from guesthouse.system.boards.serial import Port
from guesthouse.system.boards.threads import Threads
from guesthouse.system.chips.kit import ONES, Chip, Line, Stateful
from guesthouse.system.chips.uart import Uart
from guesthouse.system.memory import AddressMap, Memory
from guesthouse.trace import Counters, Trace

__all__ = ["AtBreakpoint", "Board", "Died", "OutOfTime", "Outcome", "PoweredOff", "Reset", "Stopped", "VcpuFactory"]

VcpuFactory = Callable[[Memory], Vcpu]
SERIALS = 4
SLICE = 1 << 18
SLICE_PLAIN = 1 << 10  # where instructions run as plain Python, ten thousand a second
SLICE_LEAST, SLICE_MOST = 1 << 12, 1 << 24
SLICE_NS = 4_000_000  # of host time that a slice should take when time is real: how late the host may be heard
PORT_NS = 1_000  # what an access to a port takes on an ISA bus: loops that poll one count on it
PACE_MOST = 1024  # what 1024 instructions take at most, in ns
RATE_FROM = 1 << 15  # instructions of a slice by which the next deadline's budget goes: the average has all exits in it
PACE_OF, PACE_FROM = 1 << 24, 1 << 12  # of how many instructions it is measured; after so many at once anew
READ_NS = 500  # what a read of a device's memory takes on PCI; a write is posted, and nobody waits for it
CPU_COUNTERS = ("faults", "fills", "flushes", "invalidations", "builds", "lookups")


class Board:
    """A machine without its wiring. Subclasses plug chips and say how their processor wakes and is interrupted."""

    def __init__(self, memory: Memory, clock: Clock, vcpu_factory: VcpuFactory, *, trace: Trace | None = None,
                 slice: int = SLICE, cpus: int = 1, parallel: bool = False) -> None:
        self.memory, self.clock = memory, clock
        self.trace = trace or Trace.off()
        self.ports, self.addresses = AddressMap("ports", 1 << 16, PORT_NS), AddressMap("addresses", 1 << 64, READ_NS)
        self.chips: list[Stateful] = []  # in the order in which they are reset
        self.watch = PanicWatch()
        self.serial = [Port(self.post, self.watch) for _ in range(SERIALS)]
        self.slice = slice
        self._real = isinstance(clock, RealClock)
        self._measured = 0, 0  # instructions, and the host's nanoseconds for them
        self._alarm = clock.timer(self._time_is_up)
        self._exits: dict[type[Exit], int] = {}
        self._unanswered = self._slept = 0
        self._outcome: Outcome | None = None
        self._stopping = self.closed = False
        self._inbox: deque[Callable[[], object]] = deque()
        self._bell, self._ring = _bells()
        self._ears = selectors.DefaultSelector()
        self._ears.register(self._bell, selectors.EVENT_READ)
        self.cores = [Core(n, vcpu_factory(memory)) for n in range(checked_count(cpus))]
        self.core = self.cores[0]
        if getattr(self.vcpu, "engine", self) is None:
            self.slice = min(slice, SLICE_PLAIN)
        self._event = self.trace.on("exit")
        self.trace.count = self.count
        for core in self.cores:
            if isinstance(core.state, Sharing):
                memory.install(core.state, getattr(core.vcpu, "outdate", None))
        self.threads = Threads(self) if parallel else None
        memory.still = self.still
        self.reporter = Reporter(self)
        self._answers: dict[type[Exit], Callable[[Any], object]] = {
            PortRead: self._port_read, PortWrite: self._port_write, MemoryRead: self._memory_read,
            MemoryWrite: self._memory_write, RegisterRead: self.register_read,
            RegisterWrite: self.register_write, Halted: self._halt, Window: self.window, Budget: self._slice_over,
            engine.Stopped: lambda exit: None, Breakpoint: self._breakpoint, HostCall: self.host_call,
            Yields: self._yield, Alone: self._run_alone, engine.Died: self.shut_down}

    @property
    def vcpu(self) -> Vcpu:
        return self.core.vcpu

    @property
    def state(self) -> Any:
        return self.core.state

    def each_core(self) -> Iterator[Core]:
        """Each processor, current while it is looked at."""
        mine = self.core
        try:
            for self.core in self.cores:  # noqa: B020
                yield self.core
        finally:
            self.core = mine

    def count(self) -> int:
        """Instructions that all processors have executed since the beginning: what virtual time goes by."""
        if len(self.cores) == 1:
            return self.core.vcpu.count
        return sum(core.vcpu.count for core in self.cores)

    # what a subclass says, of the processor that is `core`

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

    def shut_down(self, exit: engine.Died) -> None:
        """The processor cannot go on."""
        self.die(exit.reason)

    def describe_state(self) -> list[str]:
        """Registers, page walk and disassembly, for a report."""
        return []

    # wiring

    def attract(self, core: Core) -> None:
        """Something that a processor waits for may have happened."""
        if self.threads is not None:
            self.threads.attract(core)

    def plug(self, where: AddressMap, start: int, chip: Chip, name: str, size: int = 0) -> None:
        """Put a chip at a range of ports or addresses."""
        chip.trace_to(self.trace, name)
        self.chips.append(chip)
        where.add(start, size or chip.SIZE, chip.read, chip.write, name)

    def call_directly(self, chip: Any, where: AddressMap, start: int | None, length: int, read: str = "read",
                      write: str = "write", core: Core | None = None) -> Any:
        """Let compiled processors, or one of them, answer these addresses or ports themselves, by methods of a chip's
        typed state; None: not any more. Its compiled code; None if the processors have none."""
        compiler = getattr(self.vcpu, "engine", None)
        code = None if compiler is None else compiler.chip_code(type(chip))
        if code is not None:
            place = code.places[read], code.places[write]
            number = None if core is None else core.number
            self.memory.call_directly(start, length, where is self.ports, chip.where, *place, number)
        return code

    def plug_serial(self, n: int, irq: Line, where: AddressMap, start: int, size: int = Uart.SIZE) -> None:
        """The UART of a serial port at a range of ports or addresses. It takes no time: compiled processors send
        themselves, unless somebody wants to hear of each access, or several of them could do it at once."""
        port = self.serial[n]
        port.uart = Uart(irq, port.emit)
        self.plug(where, start, port.uart, f"uart{n}", size)
        window = where.find(start)
        assert window is not None
        window.wait = 0
        if port.uart.event is None and self.threads is None:
            self.call_directly(port.uart.sending, where, start, size)

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
        if self.threads is None:
            self.vcpu.stop()
        self.ring()

    def ring(self) -> None:
        """Wake the thread that runs the board."""
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
        last = None if instructions is None else self.count() + instructions
        deadline = None if seconds is None else time.monotonic() + seconds
        self.clock.sample(self.count())
        if self.threads is not None and last is None:
            outcome = self.threads.run(deadline)
        else:
            outcome = self._take_turns(last, deadline)
        self.flush()
        self._alarm.cancel()
        return outcome

    def _take_turns(self, last: int | None, deadline: float | None) -> Outcome:
        while True:
            self.clock.fire_due()
            self.do_jobs()
            outcome = self.ended(last, deadline)
            if outcome is not None:
                return outcome
            if self._next_core():
                self._run_slice(last)
            else:
                self._idle(deadline)

    def has_jobs(self) -> bool:
        return bool(self._inbox)

    def do_jobs(self) -> None:
        """Do what other threads have posted."""
        while self._inbox:
            self._inbox.popleft()()

    @property
    def has_ended(self) -> bool:
        return self._outcome is not None

    def ended(self, last: int | None, deadline: float | None) -> Outcome | None:
        """Take in what the host sends, then say whether the run is over."""
        for port in self.serial:
            if port.queue:
                port.feed()
        if self._stopping:
            self._stopping = False
            self._end(Stopped())
        elif self._outcome is None and (last is not None and self.count() >= last
                                        or deadline is not None and time.monotonic() >= deadline):
            self._end(OutOfTime())
        return self._outcome

    def _next_core(self) -> bool:
        """Make the processor current whose turn it is; false if all of them wait."""
        core = self.core
        if core.turn > 0 and not core.halted and not core.events:
            return True
        first = core.number + (core.turn <= 0)
        for n in range(len(self.cores)):
            self.core = self.cores[(first + n) % len(self.cores)]
            if self.goes_on():
                if self.core is not core or core.turn <= 0:
                    self.core.turn, self.core.patient_until = TURN, self.clock.now() + PATIENCE
                return True
        return False

    def goes_on(self) -> bool:
        """Whether the current processor has something to do."""
        core = self.core
        core.do_events()
        if core.halted and not core.parked and self.wakes():
            core.halted = False
        return not core.halted and not core.parked

    def _limit(self) -> int:
        """How many instructions the processor may execute now if no timer is due before. It has no need to be patient
        while nobody waits for a turn."""
        mine = self.core
        others = any(core is not mine and self.goes_on() for core in self.each_core())
        self.core = mine
        mine.raw.yield_at = mine.patient_until if others else 0
        return min(self.slice, mine.turn)

    def _run_slice(self, last: int | None) -> None:
        core, clock = self.core, self.clock
        self.before_slice()
        before = self.count()
        ticks = clock.now()
        limit = self.slice if len(self.cores) == 1 else self._limit()
        budget = clock.budget(before, limit if last is None else min(limit, last - before))
        core.raw.ticks = ticks
        if self.threads is not None:
            self.threads.prepare(core)
        start = time.monotonic_ns() if self._real else 0
        exit = core.vcpu.run(budget)
        count = self.count()
        core.turn -= count - before
        clock.sample(count)
        if self._real:
            took = time.monotonic_ns() - start
            self._keep_pace(ticks, count - before, took)
            if budget == self.slice and type(exit) is Budget:
                self._fit_slice(took)
        self.answer(exit)

    def answer(self, exit: Exit) -> None:
        self.reporter.exits.append((self.count(), exit))
        kind = type(exit)
        self._exits[kind] = self._exits.get(kind, 0) + 1
        if self._event is not None:
            self._event(kind.__name__, **{f.name: getattr(exit, f.name) for f in fields(exit) if f.repr})
        self._answers[kind](exit)

    def _keep_pace(self, ticks: int, executed: int, took: int) -> None:
        """The guest has seen its time go on with its instructions, and it must not go back; in the long run it goes as
        the host's does. `ticks`: guest time before; `took`: nanoseconds of the host."""
        core, clock = self.core, self.clock
        seen = ticks + (executed * core.pace >> 10)
        ahead = seen > clock.now()
        if ahead:
            clock.advance_to(seen)
        instructions, nanoseconds = self._measured[0] + executed, self._measured[1] + took
        self._measured = instructions, nanoseconds
        if executed < PACE_FROM and not ahead:  # the long slices count, not the many short ones
            return
        if instructions > PACE_OF:
            self._measured = instructions // 2, nanoseconds // 2
        measured = (nanoseconds << 10) // max(1, instructions)
        average = instructions * SECOND // max(1, nanoseconds)
        lately = executed * SECOND // max(1, took) if executed >= RATE_FROM else average
        clock.tell_rate(min(max(average, lately), 2 * average))
        core.pace = max(1, min(PACE_MOST, measured // 2 if ahead else measured))
        core.raw.pace = core.pace

    def _fit_slice(self, took: int) -> None:
        if took > 2 * SLICE_NS and self.slice > SLICE_LEAST:
            self.slice //= 2
        elif took < SLICE_NS // 2 and self.slice < SLICE_MOST:
            self.slice *= 2

    def _idle(self, deadline: float | None) -> None:
        """All processors wait: let time pass."""
        self.flush()
        why = self.dead_halt_of_all()
        if why is not None:
            self.die(why)
            return
        wait = self.clock.skip_idle(self.count())
        if wait != 0:
            self.sleep(None if wait < 0 else wait / 1e9, deadline)
            self.clock.sample(self.count())

    def dead_halt_of_all(self) -> str | None:
        """Why none of the processors can ever wake, if so."""
        found = [self.dead_halt() for core in self.each_core() if not core.parked]
        return None if None in found else found[0]

    def sleep(self, wait: float | None, deadline: float | None) -> None:
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
        self.clock.spend(PORT_NS if window is None else window.wait)
        if window is None:
            self._unanswered += 1
            exit.reply(ONES[exit.size])
        else:
            window.uses += 1
            exit.reply(window.read(exit.port - window.start, exit.size))

    def _port_write(self, exit: PortWrite) -> None:
        window = self.ports.find(exit.port)
        self.clock.spend(PORT_NS if window is None else window.wait)
        if window is None:
            self._unanswered += 1
        else:
            window.uses += 1
            window.write(exit.port - window.start, exit.size, exit.value)

    def _memory_read(self, exit: MemoryRead) -> None:
        window = self.addresses.find(exit.address)
        self.clock.spend(READ_NS if window is None else window.wait)
        if window is None:
            self._unanswered += 1
            exit.reply((1 << 8 * exit.size) - 1)
        else:
            window.uses += 1
            at = exit.address - window.start
            exit.reply(sum(window.read(at + n, size) << 8 * n for n, size in cycles(exit.address, exit.size)))

    def _memory_write(self, exit: MemoryWrite) -> None:
        window = self.addresses.find(exit.address)
        if window is None:
            self._unanswered += 1
        else:
            window.uses += 1
            for n, size in cycles(exit.address, exit.size):
                window.write(exit.address - window.start + n, size, exit.value >> 8 * n & ONES[size])

    def _halt(self, exit: Halted) -> None:
        self.core.halted, self.core.turn = True, 0
        self.watch.alive()

    def _yield(self, exit: Yields) -> None:
        self.core.turn = 0

    def _run_alone(self, exit: Alone) -> None:
        with self.still():
            self.state.alone = u64(1)
            after = self.vcpu.run(1)
            self.state.alone = u64(0)
        self.answer(after)

    def still(self) -> AbstractContextManager[None]:
        """While this holds, no processor runs; from the thread that answers an exit."""
        return nullcontext() if self.threads is None else self.threads.still()

    def _breakpoint(self, exit: Breakpoint) -> None:
        self._end(AtBreakpoint(exit.address))

    def _slice_over(self, exit: Budget) -> None:
        self.flush()
        if self.watch.text is not None:
            if not self.in_kernel():
                self.watch.alive()
            elif self.watch.hangs(self.clock.now()):
                self.die(str(self.watch.text))
        self.slice_over()

    def flush(self) -> None:
        """What the guest has sent goes to the host."""
        for port in self.serial:
            if port.uart is not None:
                port.uart.flush()

    # what can be asked

    def report(self, reason: str) -> str:
        return self.reporter.text(reason)

    def statistics(self) -> dict[str, int]:
        """Counters by dotted name."""
        counts = Counters()
        counts.set("instructions", self.count())
        if len(self.cores) > 1:
            for core in self.cores:
                counts.set(f"cpu{core.number}.instructions", core.vcpu.count)
        counts.set("time.guest_ns", self.clock.now())
        counts.set("idle.sleeps", self._slept)
        counts.set("exits.unanswered", self._unanswered)
        for kind, n in self._exits.items():
            counts.set(f"exits.{kind.__name__}", n)
        for space in (self.ports, self.addresses):
            for window in space.windows:
                counts.add(f"{space.kind}.{window.name}", window.uses)
        for name in CPU_COUNTERS:
            for core in self.cores:
                if hasattr(core.state, name):
                    counts.add(f"cpu.{name}", int(getattr(core.state, name)))
        return dict(counts.items())

    def close(self) -> None:
        """Give everything back to the host."""
        if not self.closed:
            self.closed = True
            for core in self.cores:
                core.vcpu.close()
            self._ears.close()
            self._bell.close()
            self._ring.close()
            self.memory.close()


def cycles(address: int, count: int) -> list[tuple[int, int]]:
    """The bus cycles of an access, as (offset, size): one, or several if it is what one of two pages has of a larger
    access that lies in both."""
    if count in ONES:
        return [(0, count)]
    at, found = 0, []
    while at < count:
        size = next(size for size in (4, 2, 1) if not (address + at) % size and size <= count - at)
        found.append((at, size))
        at += size
    return found


def _bells() -> tuple[socket.socket, socket.socket]:
    """A pair of sockets: what is written to the second wakes the one who sleeps on the first, from any thread and from
    signal handlers, which locks do not promise."""
    bell, ring = socket.socketpair()
    bell.setblocking(False)
    ring.setblocking(False)
    return bell, ring
