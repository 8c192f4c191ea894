"""The steps of the Dockerfile: a wheel, installed where no source and no compiler is needed.

Slow, and it needs a package index for the build: it is skipped with pip's words where none answers.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from node.build_check import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.network]

UNREACHABLE = ("No matching distribution", "Could not find a version", "Connection", "timed out")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    environment.pop("RIALTO_PURE", None)
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def sent_to_docker(folder: Path) -> Path:
    """The tree as the Dockerfile's COPY sees it: without what .dockerignore names."""
    ignored = [line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().split()]
    copy = folder / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*map(os.path.basename, ignored)))
    return copy


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and its libraries, installed without an index."""
    folder = tmp_path_factory.mktemp("wheel")
    wheels = folder / "wheels"
    pip = (sys.executable, "-m", "pip")
    built = run(*pip, "wheel", "--quiet", "--wheel-dir", wheels, ".", cwd=sent_to_docker(folder))
    if built.returncode and any(sign in built.stderr for sign in UNREACHABLE):
        pytest.skip(f"no package index: {built.stderr.strip().splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    environment = folder / "environment"
    assert run(sys.executable, "-m", "venv", environment, cwd=folder).returncode == 0
    offline = ("--quiet", "--no-index", "--find-links", wheels)
    done = run(environment / "bin/pip", "install", *offline, "rialto", cwd=folder)
    assert done.returncode == 0, done.stderr
    return environment / "bin/rialto"


def test_the_installed_command_runs_a_compiled_core(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "version", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "core            compiled" in done.stdout


def test_the_installed_command_checks_a_genesis_file(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "genesis", "check", ROOT / "genesis/devnet.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "chain_id         1337" in done.stdout


def test_the_installed_command_replays_recorded_flow(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "replay", "bitstamp", "--until", "2000", cwd=tmp_path)
    if "E7100" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert "messages                  2,000" in done.stdout


def test_the_installed_command_has_its_bench(installed: Path, tmp_path: Path) -> None:
    """The C files of the bench and its genesis are in the wheel."""
    options = ("--messages", "1000", "--rounds", "1")
    done = run(installed, "bench", "transition", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "clock read in C" in done.stdout or "is missing" in done.stdout
