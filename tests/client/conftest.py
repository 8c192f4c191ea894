"""One dev chain in memory for all tests of this directory that only add to it."""

from collections.abc import Iterator

import pytest
from dev_process import DevProcess, dev_process


@pytest.fixture(scope="session")
def dev() -> Iterator[DevProcess]:
    with dev_process() as process:
        yield process
