"""What every test run shares: which core is tested, how long, and how chance is fixed.

RIALTO_LONG=1 (`scripts/test --long`) asks the random runs for their long form.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from node.build_check import compiled_state, refuse_stale
from node.exceptions import NodeError
from storage.database import Database
from storage.leveldb import LevelDatabase
from storage.memory import MemoryDatabase

TESTS = Path(__file__).resolve().parent
NPM_INSTALL: Final = (
    "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock",
)  # fmt: skip
NPM_S_MAX: Final = 300
# Everything else under tests/ exercises the rules, and so runs compiled and interpreted.
OUTSIDE_THE_CORE = frozenset(
    {
        "bench", "docs", "flow", "follow", "l1", "p2p", "rpc", "scaffold", "storage", "telemetry",
        "tidy",
    }
)  # fmt: skip

# A failure must come back on the next run and on any machine: examples are derived from the test
# itself, and no time limit depends on how busy the machine is.
settings.register_profile("rialto", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("rialto")


def long_run_asked() -> bool:
    return os.environ.get("RIALTO_LONG") == "1"


def pytest_configure(config: pytest.Config) -> None:
    try:
        refuse_stale()
    except NodeError as error:
        pytest.exit(f"error {error}", returncode=2)


def pytest_report_header(config: pytest.Config) -> str:
    return f"core: {compiled_state()}; random runs: {'long' if long_run_asked() else 'short'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).parts[0] not in OUTSIDE_THE_CORE:
            item.add_marker(pytest.mark.core)


@pytest.fixture(scope="session")
def core_is_compiled() -> bool:
    """Whether the core under test is compiled; interpreted random runs should be shorter."""
    return compiled_state() == "compiled"


@pytest.fixture(scope="session")
def validators_core(core_is_compiled: bool) -> None:
    """For tests that start validators: one with an interpreted core refuses to start (7431)."""
    if not core_is_compiled:
        pytest.skip("a validator needs the compiled core")


@pytest.fixture(scope="session")
def long_run() -> bool:
    """Whether random runs should take their long form."""
    return long_run_asked()


@pytest.fixture(scope="session")
def npm_installed() -> Callable[..., Path]:
    """`npm_installed(folder, *names)`: the folder, once npm has installed its package.json there.

    Skips with the reason where there is no node, or no package index that npm reaches.
    """
    return _npm_installed


def _npm_installed(folder: Path, *names: str) -> Path:
    wanted = ", ".join(names)
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip(f"no node and npm on the path: {wanted} not tested")
    if all((folder / "node_modules" / name).is_dir() for name in names):
        return folder
    try:
        done = subprocess.run(
            NPM_INSTALL, cwd=folder, capture_output=True, text=True, timeout=NPM_S_MAX
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {wanted} in {NPM_S_MAX} s: not tested")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {wanted}: {done.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.fixture(params=["leveldb", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A new one, on the disk and in memory."""
    if request.param == "leveldb":
        level = LevelDatabase(tmp_path / "database")
        yield level
        level.close()
    else:
        yield MemoryDatabase()
