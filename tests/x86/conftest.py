"""The oracle and our processor in both ways, made once."""

from collections.abc import Iterator

import pytest

from guesthouse.engine.build import Engine
from guesthouse.manager.building import code_folder
from tests.x86.host import Host, supported
from tests.x86.ours import Ours, compiled


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """This very processor, in a child process."""
    if why := supported():
        pytest.skip(why)
    oracle = Host()
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def machine_code() -> Engine:
    """The compiled guest; compiled here if the user's cache has it not."""
    return compiled(code_folder())


@pytest.fixture(scope="session")
def threaded(machine_code: Engine) -> Ours:
    return Ours(machine_code)


@pytest.fixture(scope="session")
def plain() -> Ours:
    return Ours()
