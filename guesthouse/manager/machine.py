"""A system virtual machine as its user knows it: started, asked, stepped, switched off.

The board runs in a thread of its own; compiled code releases Python's lock there. What others want of the guest
while it runs is done between two slices, in that thread.
"""

from __future__ import annotations

import enum
import threading
import time as host_time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from guesthouse.errors import GuesthouseError, HouseBug, NoSuchThing, TimedOut, UserError, WrongState
from guesthouse.manager import building, media
from guesthouse.manager.commands import Command, Commands
from guesthouse.manager.config import Config, config
from guesthouse.manager.console import Console
from guesthouse.manager.outcome import CommandFailed, Completed, GuestDied, GuestGone, GuestHung
from guesthouse.manager.screen import Keyboard, Mouse, Screen, save
from guesthouse.manager.view import Cpu, Memory
from guesthouse.system.boards.outcome import AtBreakpoint, Died, Outcome, OutOfTime, PoweredOff, Reset, Stopped
from guesthouse.threads import Changes, begin

T = TypeVar("T")
GRACE = 5.0  # seconds that a killed command has to end
PATIENCE = 60.0  # seconds for the machine's thread to end, once it is told to: what is written to a disk takes its time


class State(enum.Enum):
    """Where a machine is in its life."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"


class Machine:
    """A whole computer. Make one with `Machine.run`; as a context manager it is switched off at the end."""

    def __init__(self, description: Config, parts: building.Parts, announce: building.Announce = building.silent,
                 make: Callable[[building.Parts, building.Announce], Any] = building.board) -> None:
        self.config, self.name = description, description.guest or "pc"
        self._parts, self._announce, self._make = parts, announce, make
        self._changed = Changes()
        self._state, self._wish = State.PAUSED, State.PAUSED
        self._steps = 0
        self._jobs: deque[Callable[[], None]] = deque()
        self._failure: GuesthouseError | None = None
        self._outcome: Outcome | None = None
        self._counted: dict[str, int] = {}
        self._overdue: float | None = None
        self._begun = self._over = self._closed = False
        self._thread: int | None = None  # the machine's
        self.console = Console(partial(self._type, 0))
        self.commands = Commands()
        self.memory = Memory(self)
        self.serial = [self.console, *(Console(partial(self._type, number)) for number in (1, 2, 3))]
        self.screen, self.keyboard, self.mouse = Screen(self), Keyboard(self), Mouse(self)
        self._board = self._new_board()
        self.drives: list[Any] = list(getattr(self._board, "drives", ()))  # of a PC with a screen
        self.cpu = [Cpu(self, description.arch, number) for number in range(description.cpus)]

    # Its life.

    @classmethod
    def run(cls, guest: str | None = None, *, timeout: float | None = None, **options: Any) -> Self:
        """Switch on a machine with this guest, a name or a file; without one it starts from its media or firmware, and
        is "debian" if it has none. The options are those of `create`. After `timeout` seconds it is switched off."""
        return cls.of(cls._described("Machine.run", guest, options), timeout=timeout)

    @classmethod
    def create(cls, name: str, guest: str = "", **options: Any) -> Self:
        """A machine that is off; `start()` switches it on.

        Options: memory ("512M"), arch, cpus, parallel, way, time; floppy, disk, cdrom (a file, or several), boot (the
        order, as in "acd"), firmware, persist; kernel, initrd, append; trace.
        """
        described = cls._described("Machine.create", guest, options)
        made = cls(described, building.parts(described, "", building.silent))
        made.name = name
        return made

    @staticmethod
    def _described(where: str, guest: str | None, options: dict[str, Any]) -> Config:
        plural = {"floppy": "floppies", "disk": "disks", "cdrom": "cdroms"}
        return config(where, guest, **{plural.get(key, key): value for key, value in options.items()})

    @classmethod
    def of(cls, described: Config, *, extra: str = "", timeout: float | None = None,
           announce: building.Announce = building.silent) -> Self:
        """Switch on the machine that is described; `extra` is for its userland, `announce` hears of long work."""
        machine = cls(described, building.parts(described, extra, announce), announce)
        try:
            machine.switch_on(timeout)
        except BaseException:
            machine.close()
            raise
        return machine

    def start(self) -> None:
        """Switch on a machine that was created."""
        if self._begun:
            raise WrongState(f"{self.name} has been started already.", "Create another machine.")
        self.switch_on()

    def switch_on(self, timeout: float | None = None) -> None:
        """Begin its life; once."""
        with self._changed.lock:
            self._begun = True
        begin(self._live)
        self.resume()
        if timeout is not None:
            begin(lambda: self._time(timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, wrong: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @property
    def state(self) -> str:
        """`running`, `paused` or `off`."""
        return self._state.value

    @property
    def ending(self) -> bool:
        """Whether it is off or told to be: who holds its thread up, for an output that nobody takes, must let go."""
        return self._wish is State.OFF

    def pause(self) -> None:
        """Hold the processor between two instructions; guest time stands still."""
        self._go(State.PAUSED)

    def resume(self) -> None:
        """Let it run on."""
        self._go(State.RUNNING)

    def step(self, count: int = 1) -> None:
        """Execute exactly `count` instructions (fewer if the guest ends), and stay paused."""
        self.pause()
        with self._changed.lock:
            self._need_on()
            self._steps = count
            self._changed.tell()
        self._changed.wait_for(lambda: not self._steps or self._state is State.OFF)
        self._raise_failure()

    def stop(self) -> None:
        """Switch it off at once, as by pulling the plug. Memory and processor can still be looked at."""
        if self._over or not self._begun:
            return
        with self._changed.lock:
            self._wish = State.OFF
            self._changed.tell()
        self._board.stop()
        if self._thread != threading.get_ident() and not self._changed.wait_for(lambda: self._over, PATIENCE):
            raise HouseBug(f"the machine's thread did not end within {PATIENCE:g} s")

    def close(self) -> None:
        """Switch it off and give its memory back to the host; nothing can be looked at any more."""
        self.stop()
        self._closed = True
        self._board.close()
        for drive in self.drives:
            drive.close()

    def power_off(self, timeout: float = 30.0) -> None:
        """Ask the guest to switch itself off (through its agent, else the power button), and wait until it has."""
        self._need_begun()
        with self._changed.lock:
            self._need_on()
        if not self.commands.power_off():
            self._board.press_power_button()
        self.wait(timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is off; the status is the guest's own if it gave one (0 for a plain power-off)."""
        self._need_begun()
        if not self._changed.wait_for(lambda: self._state is State.OFF, timeout):
            raise TimedOut(f"The guest is still on after {timeout:g} s.", "`stop()` switches it off.")
        self._raise_failure()
        return self._outcome.status if isinstance(self._outcome, PoweredOff) else 0

    # What it is asked.

    def wait_until_up(self, timeout: float | None = None) -> None:
        """Wait until the guest's userland takes commands; if it does not in time, the error reports where it is."""
        self._need_begun()
        try:
            self.commands.wait_until_ready(timeout)
        except TimedOut:
            self._raise_failure()
            raise GuestHung(f"The guest did not come up within {timeout:g} s.", self.report("it did not come up"),
                            self.console.tail()) from None

    def exec(self, argv: Sequence[str], *, check: bool = False, input: str | bytes | None = None,
             timeout: float | None = None, env: Mapping[str, str] | None = None,
             cwd: str | None = None) -> Completed:
        """Run a command inside, as subprocess.run does outside; waits for the guest to be up."""
        out, err = bytearray(), bytearray()
        deadline = None if timeout is None else host_time.monotonic() + timeout
        self.wait_until_up(timeout)
        command = self.commands.start(argv, env=env, cwd=cwd, stdin=input is not None, stdout=out.extend,
                                      stderr=err.extend)
        if input is not None:
            self._hand_over(command, input.encode() if isinstance(input, str) else input)
        try:
            status = command.wait(None if deadline is None else max(0.0, deadline - host_time.monotonic()))
        except TimedOut:
            if self._failure:
                raise  # it is the machine whose time is up
            self._kill(command)
            raise TimedOut(f"{' '.join(argv)} did not end within {timeout:g} s; it was killed.",
                           "Allow more time.") from None
        done = Completed(tuple(argv), status, bytes(out), bytes(err))
        if check and status:
            raise CommandFailed(done)
        return done

    def call(self, job: Callable[[Any], T]) -> T:
        """What `job(board)` returns, called in the machine's thread between two instructions; in ours while the machine
        has none."""
        if threading.get_ident() == self._thread:
            return job(self._board)
        if self._closed:
            raise GuestGone("The machine was closed, and its memory given back.", "Look at it before.")
        answer: SimpleQueue[tuple[T] | BaseException] = SimpleQueue()

        def perform() -> None:
            try:
                answer.put((job(self._board),))
            except BaseException as wrong:
                answer.put(wrong)

        with self._changed.lock:
            if alone := self._state is State.OFF or not self._begun:
                perform()
            else:
                self._jobs.append(perform)
                self._changed.tell()
        if not alone:
            self._board.post(self._perform_jobs)
        match answer.get():
            case BaseException() as wrong:
                raise wrong
            case (value,):
                return value

    @property
    def has_screen(self) -> bool:
        """Whether it is looked at through its screen: it boots by itself, and has no userland of ours."""
        return self._parts.screen

    def gone(self) -> GuesthouseError | None:
        """Why nothing more will come of the guest, once it is off."""
        return self._why_gone() if self._state is State.OFF else None

    def screenshot(self, path: Path | str) -> None:
        """Write what the screen shows as a PNG file."""
        save(path, self.screen.png())

    def insert(self, kind: str, file: Path | str, number: int = 0) -> None:
        """Put another medium into a drive: the `number`th `floppy`, `cdrom` or `disk`."""
        drive = self._drive(kind, number)
        slot = media.Slot.of(kind, Path(file))
        self.call(lambda board: media.put(slot, drive, self.drives, self.config.persist))

    def eject(self, kind: str, number: int = 0) -> None:
        """Take the medium out of a drive."""
        drive = self._drive(kind, number)
        self.call(lambda board: drive.change(None))

    def _drive(self, kind: str, number: int) -> Any:
        found = [drive for drive in self.drives if drive.kind == kind]
        if not 0 <= number < len(found):
            raise NoSuchThing(f"This machine has no {kind} drive number {number}.",
                              "Give it one with a medium, when it is made.")
        return found[number]

    def statistics(self) -> dict[str, int]:
        """The counters of this machine since it was switched on, restarts included."""
        now = self.call(lambda board: dict(board.statistics()))
        return {name: now.get(name, 0) + self._counted.get(name, 0) for name in sorted({*now, *self._counted})}

    def report(self, reason: str = "asked for") -> str:
        """Registers, last exits, page walk and code, for people."""
        return self.call(lambda board: str(board.report(reason)))

    # In the machine's thread.

    def _live(self) -> None:
        self._thread = threading.get_ident()
        try:
            while self._state is not State.OFF:
                self._wait_for_work()
                if self._wish is State.OFF:
                    self._failure = self._overtime()
                    self._end(Stopped())
                elif self._steps or self._wish is State.RUNNING:
                    self._run_on()
        except BaseException as wrong:
            self._failure = wrong if isinstance(wrong, GuesthouseError) else HouseBug(
                f"the machine's thread ended with {type(wrong).__name__}: {wrong}")
            self._failure.__cause__ = None if self._failure is wrong else wrong
            self._end(None)
        finally:
            with self._changed.lock:
                self._over = True
                self._changed.tell()

    def _wait_for_work(self) -> None:
        with self._changed.lock:
            if self._wish is State.PAUSED:
                self._state = State.PAUSED
                self._changed.tell()
        self._changed.wait_for(lambda: self._wish is not State.PAUSED or self._steps or self._jobs)
        self._perform_jobs()

    def _run_on(self) -> None:
        stepping = self._wish is State.PAUSED
        if not stepping:
            with self._changed.lock:
                self._state = State.RUNNING
                self._changed.tell()
        before = self._board.count()
        with building.time_flows(self._board.clock):
            outcome = self._board.run(instructions=self._steps if stepping else None)
        # Stopped here is what `pause()` asked of a run that had ended by itself meanwhile: the steps are still due.
        left = self._steps - (self._board.count() - before) if isinstance(outcome, Stopped) else 0
        match outcome:
            case Stopped() | OutOfTime():
                pass
            case AtBreakpoint():
                self._wish = State.PAUSED
            case Reset() if not self._board.panic:
                self._restart()
            case _:
                self._end(outcome)
        with self._changed.lock:
            self._steps = max(left, 0) if stepping else self._steps
            self._changed.tell()

    def _restart(self) -> None:
        """The guest asked for a reset: a new board, as when power comes back."""
        old = self._board
        for name, count in old.statistics().items():
            self._counted[name] = self._counted.get(name, 0) + count
        old.close()
        self._board = self._new_board()

    def _end(self, outcome: Outcome | None) -> None:
        self._outcome = outcome
        unsaved = self._save_drives()
        with self._changed.lock:
            self._failure = self._failure or self._death(outcome) or unsaved
            self._state = self._wish = State.OFF
            self._changed.tell()
        self._perform_jobs()
        for console in self.serial:
            console.end(self._why_gone)
        self.commands.end(self._why_gone)

    def _death(self, outcome: Outcome | None) -> GuestDied | None:
        if isinstance(outcome, Died):
            return GuestDied(outcome.reason, outcome.report, self.console.tail())
        if isinstance(outcome, Reset):
            return GuestDied(self._board.panic or "it was reset", console=self.console.tail())
        return None

    def _save_drives(self) -> GuesthouseError | None:
        """What the guest wrote is on the host's medium when the machine is off."""
        for drive in self.drives:
            try:
                drive.flush()
            except OSError as wrong:
                return UserError(f"What was written to {drive.name} could not be saved: {wrong}.", "Look at the disk.")
        return None

    def _perform_jobs(self) -> None:
        while self._jobs:
            self._jobs.popleft()()

    # Odds and ends.

    def _new_board(self) -> Any:
        board = self._make(self._parts, self._announce)
        board.serial[0].output = self.console.feed
        if self._parts.screen:
            for port, console in zip(board.serial, self.serial):
                port.output = console.feed
        else:
            self.commands.plug({number: board.serial[number] for number in (1, 2, 3)})
        return board

    def _type(self, number: int, data: bytes) -> None:
        with self._changed.lock:
            self._need_on()
        self._board.serial[number].send(data)

    def _go(self, wish: State) -> None:
        self._need_begun()
        with self._changed.lock:
            self._need_on()
            self._wish = wish
            self._changed.tell()
        if wish is State.PAUSED:
            self._board.stop()
        self._changed.wait_for(lambda: self._state in (wish, State.OFF) or self._wish is not wish)
        self._raise_failure()

    def _need_begun(self) -> None:
        """Nothing comes of waiting for a machine that has no thread yet."""
        if not self._begun:
            raise WrongState(f"{self.name} has not been started.", "`start()` switches it on.")

    def _need_on(self) -> None:
        if self._state is State.OFF:
            raise self._why_gone()

    def _why_gone(self) -> GuesthouseError:
        if self._failure:
            return self._failure
        how = "switched itself off" if isinstance(self._outcome, PoweredOff) else "is off"
        return GuestGone(f"The guest {how}.", "Start another machine.")

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure

    def _time(self, seconds: float) -> None:
        """Switch it off when its time is up."""
        if not self._changed.wait_for(lambda: self._wish is State.OFF, seconds):
            self._overdue = seconds
            self.stop()

    def _overtime(self) -> TimedOut | None:
        """The error of a machine whose time is up; a report too if a userland of ours never came up."""
        if self._overdue is None:
            return None
        what = f"The guest was still on after {self._overdue:g} s and was switched off."
        if self.commands.ready or self.has_screen:
            return TimedOut(what, "Allow more time with --timeout.")
        return GuestHung(what, str(self._board.report("its time was up")), self.console.tail())

    def _kill(self, command: Command) -> None:
        """Kill it, and wait a moment for its end: the next command can only begin then."""
        command.signal("KILL")
        with suppress(UserError):
            command.wait(GRACE)

    def _hand_over(self, command: Command, data: bytes) -> None:
        """Standard input in a thread, for the command's output must be taken meanwhile, and its end heard."""

        def feed() -> None:
            command.write(data)
            command.close()

        begin(feed)
