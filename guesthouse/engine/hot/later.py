"""What runs wanted compiled and had no time for, in a file beside the shelf: for the next run, while its compiler has
nothing else to do. A boot whose regions are on the shelf leaves it idle.

A line for each job: digest, name, job in JSON. A line that is not whole is none, and the file begins anew with each
run that has something to say: its own jobs first, then those of earlier runs that nobody has made.
"""

import json
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from guesthouse.engine.hot.job import Job
from guesthouse.engine.hot.shelf import digest, locked, write_anew

MOST = 256  # jobs


class Later:
    """The jobs in one file. A path of None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def jobs(self) -> list[Job]:
        """Those that are whole, the most wanted first."""
        return [Job.of_json(json.loads(told)) for _, told in self._lines()]

    def names(self) -> Iterator[str]:
        """Theirs."""
        return (name for name, _ in self._lines())

    def keep(self, jobs: Iterable[Job], made: Container[str]) -> None:
        """Have these made first, and of the others there are those that have not been made."""
        if self.path is None:
            return
        mine = {job.name: json.dumps(job.as_json()).encode() for job in jobs if job.name not in made}
        with suppress(OSError), locked(self.path):
            others = {name: told for name, told in self._lines() if name not in made}
            lines = [name.encode() + b" " + told for name, told in (mine | others | mine).items()][:MOST]
            if lines:
                write_anew(self.path, b"".join(digest(line).hex().encode() + b" " + line + b"\n" for line in lines))
            else:
                self.forget()

    def forget(self) -> None:
        """Nothing is to be made later."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        """Names and jobs, as they stand there."""
        data = b""
        if self.path is not None:
            with suppress(OSError):
                data = self.path.read_bytes()
        for line in data.splitlines():
            told, _, whole = line.partition(b" ")
            if told.decode("latin-1") == digest(whole).hex():
                name, _, job = whole.partition(b" ")
                yield name.decode(), job
