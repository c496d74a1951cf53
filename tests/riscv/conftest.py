"""The two ways that every test of meaning runs."""

import pytest

from tests.riscv.machine import Machine


@pytest.fixture(scope="session")
def compiled():
    from guesthouse.engine.build import engine
    from guesthouse.manager.building import code_folder
    from guesthouse.system.cpu.riscv.guest import RISCV

    return engine(RISCV, code_folder())


@pytest.fixture(params=["plain", "threaded"])
def way(request):
    """None for the plain way, else the compiled engine."""
    return request.getfixturevalue("compiled") if request.param == "threaded" else None


@pytest.fixture
def machine(way):
    made = Machine(way)
    yield made
    made.memory.close()
