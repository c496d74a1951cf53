"""What can be seen and switched: named events, counters, and the one table of all switches.

An event costs nothing while it is off: whoever has something to tell asks `trace.on("uart")` once and gets a
callable or None.
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Callable

from guesthouse.errors import ConfigError

Emit = Callable[..., None]
ON, OFF = ("1", "on", "true", "yes"), ("0", "off", "false", "no", "")


@dataclass(frozen=True)
class Switch:
    """One setting that a user or a developer may change from outside, by flag or by environment."""

    name: str
    kind: type[str] | type[int] | type[bool]
    default: str | int | bool
    help: str
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        return "GUESTHOUSE_" + self.name.upper()

    def parse(self, text: str) -> str | int | bool:
        if self.kind is bool and text.lower() in ON + OFF:
            return text.lower() in ON
        if self.kind is int and text.isascii() and text.isdigit():
            return int(text)
        if self.kind is str and (not self.choices or text in self.choices):
            return text
        raise ConfigError("the environment", self.variable, text, self.allowed())

    def allowed(self) -> str:
        if self.choices:
            return " or ".join(self.choices)
        return {bool: "on or off", int: "a whole number", str: "a text"}[self.kind]


SWITCHES = (
    Switch("trace", str, "", "Events to print: names with wildcards, and the instruction count to start at: "
                             "`uart,riscv.*@1000000`."),
    Switch("stats", bool, False, "Print the counters when a machine ends."),
    Switch("way", str, "", "How instructions run; else `hot`, and `threaded` where processors run at the same time.",
           ("plain", "threaded", "hot")),
    Switch("cache", str, "", "Folder for compiled code and images, instead of the user's cache folder."),
    Switch("mirror", str, "", "Debian mirror, instead of the one that the host's apt uses."),
    Switch("debian_mirror", str, "", "The same, for Debian only; `GUESTHOUSE_MIRROR` comes first."),
    Switch("debian_suite", str, "", "Debian suite, instead of the host's or else stable."),
    Switch("debian_keyring", str, "", "File of the keys that may sign Debian's index."),
    Switch("debug", bool, False, "Show the Python traceback with an error message."),
)


def switch(name: str) -> Switch:
    return next(s for s in SWITCHES if s.name == name)


def value(name: str, environ: Mapping[str, str] | None = None) -> str | int | bool:
    """What the environment says about a switch, else its default."""
    found = switch(name)
    text = (os.environ if environ is None else environ).get(found.variable)
    return found.default if text is None else found.parse(text)


def switch_page() -> str:
    """The table of all switches for the documentation."""
    rows = ["| variable | values | default | what it does |", "|---|---|---|---|"]
    for s in SWITCHES:
        shown = ("off", "on")[s.default] if isinstance(s.default, bool) else str(s.default) or "none"
        rows.append(f"| `{s.variable}` | {s.allowed()} | {shown} | {s.help} |")
    return "\n".join(rows) + "\n"


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


class Trace:
    """The events that one machine tells, from the instruction count `start` on."""

    def __init__(self, patterns: tuple[str, ...] = (), start: int = 0, count: Callable[[], int] | None = None,
                 write: Callable[[str], None] = to_stderr) -> None:
        self.patterns, self.start, self.write = patterns, start, write
        self.count = count or (lambda: 0)
        self.sources: set[str] = set()  # whoever has asked

    @classmethod
    def parse(cls, text: str, count: Callable[[], int] | None = None,
              write: Callable[[str], None] = to_stderr) -> Trace:
        """`NAMES@START`: names with commas between, wildcards allowed; the start may be left out."""
        names, at, start = text.partition("@")
        patterns = tuple(name.strip() for name in names.split(",") if name.strip())
        if at and not (start.isascii() and start.isdigit()) or at and not patterns:
            raise ConfigError("--trace", "NAMES@START", text, "names, then @ and an instruction count")
        return cls(patterns, int(start or 0), count, write)

    @classmethod
    def off(cls) -> Trace:
        return cls()

    def on(self, source: str) -> Emit | None:
        """A callable `emit(event, **details)` if anything of this source is wanted, else None."""
        self.sources.add(source)
        if not any(self._tells(p, source) for p in self.patterns):
            return None
        wanted: dict[str, bool] = {}

        def emit(event: str, **details: object) -> None:
            name = f"{source}.{event}"
            if name not in wanted:
                wanted[name] = any(self._covers(p, name) for p in self.patterns)
            if wanted[name] and (now := self.count()) >= self.start:
                self.write(" ".join([str(now), name, *(f"{k}={_shown(v)}" for k, v in details.items())]))

        return emit

    def unheard(self) -> list[str]:
        """The patterns that mean nothing that is there."""
        return [p for p in self.patterns if not any(self._tells(p, source) for source in self.sources)]

    def _tells(self, pattern: str, source: str) -> bool:
        return self._covers(pattern, source) or _may_be_below(pattern, source)

    @staticmethod
    def _covers(pattern: str, name: str) -> bool:
        """A pattern means what it matches and everything below: `riscv` covers `riscv.decode`."""
        return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, pattern + ".*")


def _may_be_below(pattern: str, source: str) -> bool:
    """Whether `pattern` could match an event of `source`, as `uart.rx` and `*.odd_read` do one of `uart`."""
    head, dot, _ = pattern.rpartition(".")
    return bool(dot) and fnmatch.fnmatchcase(source, head)


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 9:
        return f"{value:#x}"
    text = str(value)
    plain = isinstance(value, bytes) or text and text.isprintable() and " " not in text
    return text if plain else repr(text)


class Counters:
    """How often things happened in one machine, by dotted name."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, name: str, n: int = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + n

    def set(self, name: str, n: int) -> None:
        """For what is counted elsewhere (in compiled code) and read at the end."""
        self._counts[name] = n

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._counts))

    def items(self) -> list[tuple[str, int]]:
        return sorted(self._counts.items())

    def merge(self, other: Counters) -> None:
        for name, n in other.items():
            self.add(name, n)
