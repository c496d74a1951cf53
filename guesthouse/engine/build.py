"""Compiles a guest's engine, once: in several processes, with progress, into a file in the cache that later runs load.

The file's name is a hash of all source that goes in, of the compiler's own source, of LLVM's version and of the host's
processor; its content carries a checksum. A file that is truncated, damaged or of another version is built anew.

The first part of the file tells what there is to know of the handlers in order to run them, so that a start from the
cache makes no definitions. The instructions of one module make one object. Beside the file lies each object that has
been made, under a hash of its LLVM IR: whoever changes one module waits for that one.
"""

import ctypes
import fcntl
import hashlib
import inspect
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guesthouse.engine.op import Guest, find_guest
from guesthouse.errors import HouseBug, UserError
from guesthouse.typed.machine import Code, assemble, host_is, identity

PIECES, LARGEST = 600, 128  # objects that are kept; handlers in one of them
OURS = ("guesthouse.bits", "guesthouse.typed", "guesthouse.engine")
MAGIC = b"guesthouse code 2\n"
HEAD = 4096  # bytes that tell the lengths of the parts
Progress = Callable[[int, int], None]


class Engine:
    """A guest's machine code, ready to run in this process."""

    def __init__(self, guest: Guest, path: Path, parts: list[bytes]) -> None:
        known = json.loads(parts[0])
        shares, ends = known["shares"], known["ends"]
        self.guest, self.cache, self.count = guest, path.parent, len(ends)
        self.code = Code(parts[1:1 + len(shares)])
        self.stencils = [ctypes.create_string_buffer(table) for table in parts[1 + len(shares):]]  # for each dialect
        self.shelf = path.with_suffix(".regions")  # where compiled regions are kept
        self.run = self.code.function("run", None, ctypes.c_void_p)
        self.prepare = self.code.function("prepare", None, ctypes.c_void_p, ctypes.c_uint64)
        self.redirect = self.code.function("redirect", None, ctypes.c_void_p, ctypes.c_uint64)
        self.touch = self.code.function("touch", None, ctypes.c_uint64)
        self.calls = {name: self.code.function(f"call_{name}", None, ctypes.c_void_p, ctypes.c_uint64)
                      for name in guest.calls}
        self.table = (ctypes.c_uint64 * (self.count + 1))()
        for share in shares:
            addresses = (ctypes.c_uint64 * len(share)).from_address(self.code.address(f"handlers{share[0]}"))
            for n, address in zip(share, addresses, strict=True):
                self.table[n] = address
        edges = (ctypes.c_uint64 * 6).from_address(self.code.address("edges"))
        self.table[self.count], self.resync, self.dispatch, self.make_up, self.again, self.unlinked = edges
        self.ends = (ctypes.c_uint8 * self.count)(*ends)
        self.of_stack = frozenset(known["of_stack"])

    def chip_code(self, chip: Any) -> Any:
        """A chip's own code, for its window (chip_code.py)."""
        from guesthouse.engine.chip_code import chip_code  # loads the compiler

        return chip_code(chip, self.cache)


def engine(guest: Guest, cache: Path, progress: Progress | None = None, jobs: int = 0) -> Engine:
    """The engine of this guest: from the cache, or compiled now with `progress(done, all)` as it goes."""
    jobs = jobs or os.cpu_count() or 1
    path = cache / f"{guest.name}-{key(guest)}.code"
    parts = read(path)
    if parts is None:
        parts = build(guest, path, progress, jobs)
    return Engine(guest, path, parts)


def modules(guest: Guest) -> dict[str, list[int]]:
    """The handlers by the modules of their bodies."""
    found: dict[str, list[int]] = {}
    for n, handler in enumerate(guest.handlers):
        found.setdefault(inspect.unwrap(handler.op.run).__module__, []).append(n)
    return found


def shares(guest: Guest) -> list[list[int]]:
    """Which handlers go into which part: those of one module together, but not too many."""
    return [numbers[at:at + LARGEST] for numbers in modules(guest).values() for at in range(0, len(numbers), LARGEST)]


def told(guest: Guest) -> bytes:
    """The first part: the shares, what each handler ends, and which need a register stack (op.HostStack)."""
    stack, found = guest.instructions.stack, modules(guest)
    of_stack = [n for module in stack.modules for n in found.get(module, ())] if stack else []
    return json.dumps({"shares": shares(guest), "ends": [h.op.ends for h in guest.handlers],
                       "of_stack": of_stack}).encode()


def key(guest: Guest) -> str:
    """What the compiled code depends on, as a hash."""
    digest = hashlib.sha256(identity().encode())
    for name in (*OURS, *guest.sources):
        for file in source_files(name):
            digest.update(str(file.name).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:24]


def source_files(name: str) -> list[Path]:
    """The files of a module or package, sub-packages included."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise HouseBug(f"the source of {name} is not there")
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)]
    return sorted(Path(spec.submodule_search_locations[0]).rglob("*.py"))


def read(path: Path) -> list[bytes] | None:
    """The parts in a cache file; None if there is no such file or it is not whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + 32
    if not data.startswith(MAGIC) or hashlib.sha256(memoryview(data)[start:]).digest() != data[len(MAGIC):start]:
        return None
    lengths, at, parts = data[start:start + HEAD].split(), start + HEAD, []
    for length in lengths:
        parts.append(data[at:at + int(length)])
        at += int(length)
    return parts


def write(path: Path, parts: list[bytes]) -> None:
    """Put the parts into the cache: whole, or not at all."""
    body = " ".join(str(len(p)) for p in parts).encode().ljust(HEAD) + b"".join(parts)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as file:
        try:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def build(guest: Guest, path: Path, progress: Progress | None, jobs: int) -> list[bytes]:
    """Compile, and keep the result if the cache can be written. Two processes do not do the same work."""
    pieces = path.parent / "pieces"
    try:
        pieces.mkdir(parents=True, exist_ok=True)
        lock = open(path.with_suffix(".lock"), "w")
    except OSError:
        return compile_parts(guest, None, progress, jobs)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = read(path)
        if found is None:
            found = compile_parts(guest, pieces, progress, jobs)
            try:
                write(path, found)
                remove_older(path)
            except OSError as e:
                raise UserError(f"The compiled engine cannot be kept in {path.parent}: {e.strerror}.",
                                "Make room there, or set GUESTHOUSE_CACHE to another directory.") from e
    return found


def remove_older(path: Path) -> None:
    """Keep the two newest builds of a guest: an older version may still be in use beside this one."""
    builds = sorted(path.parent.glob(f"{path.name.rsplit('-', 1)[0]}-*.code"), key=lambda p: p.stat().st_mtime)
    for old in builds[:-2]:
        for beside in (old, *(old.with_suffix(suffix) for suffix in (".lock", ".regions", ".whole", ".later"))):
            beside.unlink(missing_ok=True)
    pieces = sorted((path.parent / "pieces").glob("*"), key=lambda p: p.stat().st_mtime)
    for old in pieces[:-PIECES]:
        old.unlink(missing_ok=True)


def compile_parts(guest: Guest, pieces: Path | None, progress: Progress | None, jobs: int) -> list[bytes]:
    """So many processes share the parts; each reports its handlers as lines on its standard output. The parts are what
    is told of the handlers, one for each share of them, then a table of stencils for each dialect."""
    from guesthouse.engine.stencils import table  # loads the compiler

    dialects = dialects_of(guest)
    total, done, count = len(guest.handlers) * (1 + len(dialects)), 0, len(shares(guest))
    command = [sys.executable, "-P", "-m", "guesthouse.engine.build", guest.origin, str(jobs)]
    with tempfile.TemporaryDirectory(prefix="guesthouse-") as folder:
        workers = [
            subprocess.Popen([*command, str(n), folder, str(pieces or "")], stdout=subprocess.PIPE, text=True,
                             stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                             process_group=0)  # Ctrl-C is for us, who then end them
            for n in range(jobs)
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None
                for line in worker.stdout:
                    done += int(line)
                    if progress:
                        progress(min(done, total), total)
            if any(worker.wait() for worker in workers):
                raise HouseBug(f"the engine of {guest.name} could not be compiled; the reason stands above")
            made = [Path(f"{folder}/{n}").read_bytes() for n in range(count * (1 + len(dialects)))]
            tables = [table(guest, made[at:at + count]) for at in range(count, len(made), count)]
            return [told(guest), *made[:count], *tables]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def unit_text(guest: Guest, numbers: list[int], core: bool) -> str:
    """The LLVM IR of some handlers, with the run loop or without."""
    from guesthouse.engine.threaded import Threaded

    threaded = Threaded(guest)
    if core:
        threaded.core()
    for number in numbers:
        threaded.handler(f"@h{number}", guest.handlers[number])
    threaded.addresses(numbers)
    return threaded.unit.text()


def stencil_text(guest: Guest, dialect: tuple[int, int], numbers: list[int], core: bool) -> str:
    """The LLVM IR of some handlers' stencils, with those that are no handler's or without."""
    from guesthouse.engine.stencils import Stencils

    stencils = Stencils(guest, *dialect)
    for number in numbers:
        stencils.handler(f"@h{number}", guest.handlers[number])
    if core:
        stencils.core()
    return stencils.unit.text()


def dialects_of(guest: Guest) -> tuple[tuple[int, int], ...]:
    """Those that there are stencils for on this host."""
    return guest.dialects if host_is("x86_64 elf") else ()


def piece(text: str, assembled: Callable[[str], bytes], pieces: Path | None) -> bytes:
    """The object of a module: one that was made before, or a new one, which is kept."""
    if pieces is None:
        return assembled(text)
    how = identity() + inspect.getsource(inspect.getmodule(assembled) or assembled)
    path = pieces / hashlib.sha256((how + text).encode()).hexdigest()[:32]
    found = read(path)
    if found is None:
        found = [assembled(text)]
        write(path, found)
    else:
        os.utime(path)
    return found[0]


def main(origin: str, jobs: str, worker: str, folder: str, pieces: str) -> None:
    """A worker: compile every so many-th part into a file; the slowest come in turn."""
    from guesthouse.engine.stencils import patterns

    sys.setrecursionlimit(20000)
    guest = find_guest(origin, whole=True)
    parts = [(dialect, n, numbers) for dialect in (None, *dialects_of(guest))
             for n, numbers in enumerate(shares(guest))]
    for place, (dialect, n, numbers) in sorted(enumerate(parts), key=lambda p: -len(p[1][2]))[int(worker)::int(jobs)]:
        text = stencil_text(guest, dialect, numbers, n == 0) if dialect else unit_text(guest, numbers, n == 0)
        Path(f"{folder}/{place}").write_bytes(piece(text, patterns if dialect else assemble,
                                                    Path(pieces) if pieces else None))
        print(len(numbers), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
