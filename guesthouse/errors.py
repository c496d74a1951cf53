"""The error tree: who made the mistake decides the class.

Guest trouble (a page fault, a divide error, an odd port) is none of these: the guest gets the exception its book
prescribes and the host goes on.
"""


class GuesthouseError(Exception):
    """Anything guesthouse raises on purpose."""


class UserError(GuesthouseError):
    """A flag, a file, a machine description is wrong: one sentence, and what to do about it.

    `exit_status` is what the command line ends with: 1 failed, 2 usage, 3 no such thing, 4 wrong state,
    5 timeout, 6 not supported here.
    """

    exit_status = 1

    def __init__(self, what: str, do: str = "", *, exit_status: int | None = None) -> None:
        super().__init__(what)
        self.what, self.do = what, do
        if exit_status is not None:
            self.exit_status = exit_status

    def __str__(self) -> str:
        return f"{self.what}\n{self.do}" if self.do else self.what


class ConfigError(UserError):
    """Names the file (or flag), the key, the value found and the values allowed."""

    exit_status = 2

    def __init__(self, where: str, key: str, value: object, allowed: str) -> None:
        super().__init__(f"{where}: {key} is {value!r}, but must be {allowed}.")
        self.where, self.key, self.value, self.allowed = where, key, value, allowed


class ImageError(UserError):
    """Names the format, the offset, and what was expected there."""

    def __init__(self, name: str, form: str, offset: int, expected: str, do: str = "") -> None:
        super().__init__(f"{name} is not a usable {form}: expected {expected} at offset {offset:#x}.", do)
        self.name, self.form, self.offset, self.expected = name, form, offset, expected


class NoSuchThing(UserError):
    """A machine, image or snapshot of that name does not exist."""

    exit_status = 3


class WrongState(UserError):
    """The thing exists but is not in a state that allows this (a stopped machine asked to run a command)."""

    exit_status = 4


class TimedOut(UserError):
    """What was waited for did not come in time."""

    exit_status = 5


class NotSupportedHere(UserError):
    """This host lacks something that is needed."""

    exit_status = 6


class DefinitionError(GuesthouseError):
    """The author of typed code made a mistake: file:line:column, the line, a caret, one sentence."""

    def __init__(self, why: str, file: str = "?", line: int = 0, column: int = 0, text: str = "") -> None:
        self.why, self.file, self.line, self.column, self.text = why, file, line, column, text
        caret = " " * column + "^"
        super().__init__(f"{file}:{line}:{column + 1}: {why}\n{text}\n{caret}" if line else why)


class HouseBug(GuesthouseError):
    """An invariant of ours broke. The message carries what a report needs: the vcpu, the last exits, versions."""
