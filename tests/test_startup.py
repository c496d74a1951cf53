"""Starting costs little: what is not needed is not imported. Counted, not timed."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("rich", "llvmlite", "asyncio", "ssl", "urllib.request", "hashlib", "guesthouse.engine",
         "guesthouse.typed", "guesthouse.system", "guesthouse.images", "guesthouse.manager.machine")


# What a machine does without as long as its processor lies in the cache.
MAKERS = ("guesthouse.system.cpu.x86.instructions", "guesthouse.system.cpu.x86.forms",
          "guesthouse.system.cpu.x86.sse_float", "guesthouse.system.cpu.riscv.instructions",
          "guesthouse.engine.decoding", "guesthouse.engine.threaded", "guesthouse.engine.stencils",
          "guesthouse.engine.hot.region", "guesthouse.engine.plain", "guesthouse.typed.lower",
          "guesthouse.system.boards.classic")


def imported_by(code: str) -> set[str]:
    """What `code` loads in an interpreter of its own that has loaded nothing else of ours."""
    tell = "import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}\n{tell}"],
                          capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def heavy(loaded: set[str]) -> list[str]:
    return sorted(name for name in loaded if name in HEAVY)


def test_importing_the_package_loads_nothing_else() -> None:
    ours = {name for name in imported_by("import guesthouse") if name.partition(".")[0] == "guesthouse"}
    assert ours == {"guesthouse"}


def test_a_name_is_loaded_when_it_is_first_used() -> None:
    assert "guesthouse.errors" in imported_by("import guesthouse; guesthouse.UserError")


def test_help_loads_click_and_nothing_heavy() -> None:
    loaded = imported_by("from guesthouse.cli.main import main\n"
                         "try: main(['--help'])\nexcept SystemExit: pass")
    assert "click" in loaded and heavy(loaded) == []


def test_help_of_each_command_loads_nothing_heavy() -> None:
    for command in ("run", "doctor", "explain", "image", "completion"):
        loaded = imported_by("from guesthouse.cli.main import main\n"
                             f"try: main(['{command}', '--help'])\nexcept SystemExit: pass")
        assert heavy(loaded) == [], command


def test_the_version_loads_nothing_heavy() -> None:
    loaded = imported_by("from guesthouse.cli.main import main\n"
                         "try: main(['--version'])\nexcept SystemExit: pass")
    assert heavy(loaded) == []


def test_a_machine_loads_neither_definitions_nor_the_compiler() -> None:
    loaded = imported_by("from guesthouse.manager import building, machine\n"
                         "from guesthouse.engine import soft\n"
                         "from guesthouse.engine.hot import compiler, regions\n"
                         "from guesthouse.system.boards import pc, virt\n"
                         "from guesthouse.system.cpu.x86.guest import X86_GUEST\n"
                         "from guesthouse.system.cpu.riscv.guest import RISCV\n"
                         "X86_GUEST.state.new(), RISCV.state.new()")
    assert sorted(loaded.intersection(MAKERS)) == []
