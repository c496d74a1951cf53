"""The images of this room's tests, as a fixture: tests are imported by path, so they share through
fixtures.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def images() -> ModuleType:
    spec = importlib.util.spec_from_file_location("storage_images", Path(__file__).parent / "images.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def image(tmp_path: Path) -> Callable[[bytes], Path]:
    """Puts bytes into a file."""

    def made(data: bytes) -> Path:
        file = tmp_path / "some.file"
        file.write_bytes(data)
        return file

    return made
