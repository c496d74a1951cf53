"""How a guest's life and a guest's command end, as values and as errors."""

from __future__ import annotations

from dataclasses import dataclass, field

from guesthouse.errors import TimedOut, UserError


class GuestDied(UserError):
    """The guest cannot go on: its kernel panicked, its processor gave up, or it hangs for good.

    `report` tells of registers, last exits, the page walk and the code; `console` is what the guest wrote last.
    """

    def __init__(self, reason: str, report: str = "", console: str = "") -> None:
        self.reason, self.report, self.console = reason, report, console
        super().__init__(f"The guest died: {reason}{last_lines(console)}",
                         "Its report says where it was." if report else "")


class GuestHung(TimedOut):
    """The guest did not come so far as to take commands; `report` and `console` as in GuestDied."""

    def __init__(self, what: str, report: str, console: str) -> None:
        self.report, self.console = report, console
        super().__init__(f"{what} It never came so far as to take commands.{last_lines(console)}",
                         "Allow more time, or see in its report where it hangs.")


class GuestGone(UserError):
    """The machine was switched off while something was still asked of it."""

    exit_status = 4


@dataclass(frozen=True)
class Completed:
    """A command that ran inside; the statuses are a shell's: 126 cannot be run, 127 not found, 128+n killed by n."""

    args: tuple[str, ...]
    returncode: int
    stdout_bytes: bytes = field(default=b"", repr=False)
    stderr_bytes: bytes = field(default=b"", repr=False)

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode(errors="replace")


class CommandFailed(UserError):
    """A command that was run with check=True ended with a status that is not 0; `completed` has all of it."""

    def __init__(self, completed: Completed) -> None:
        self.completed = completed
        said = completed.stderr.strip()
        super().__init__(f"{' '.join(completed.args)} ended with status {completed.returncode}"
                         + (f":\n{indented(said)}" if said else "."), "")


def last_lines(console: str) -> str:
    return f"\nThe last lines of its console:\n{indented(console)}" if console.strip() else ""


def indented(text: str) -> str:
    return "\n".join("    " + line for line in text.strip("\n").split("\n"))
