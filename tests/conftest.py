"""Processes that tests start: none outlives its test, however that ends."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Popen = Callable[..., "subprocess.Popen[Any]"]


@pytest.fixture
def popen() -> Iterator[Popen]:
    """subprocess.Popen; what still runs when the test is over is killed."""
    begun: list[subprocess.Popen[Any]] = []

    def begin(*arguments: Any, **options: Any) -> subprocess.Popen[Any]:
        begun.append(subprocess.Popen(*arguments, **options))
        return begun[-1]

    yield begin
    for process in begun:
        with process:
            process.kill()
