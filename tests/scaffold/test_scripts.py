"""The shell entry points: what they promise about exit codes and the tree they leave."""

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from node.build_check import ROOT


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_scripts_pure_passes_arguments_and_the_exit_code_through() -> None:
    outcome = run("scripts/pure", sys.executable, "-c", "import sys; sys.exit(sys.argv[1])", "a b")
    assert (outcome.returncode, outcome.stderr) == (1, "a b\n")


def test_scripts_pure_runs_in_a_copy_without_binaries_and_removes_it(tmp_path: Path) -> None:
    # A file elsewhere: Python then does not look into the working directory by itself.
    program = tmp_path / "where.py"
    program.write_text(
        "import os, pathlib, consensus\n"
        "print(os.getcwd())\n"
        "print(pathlib.Path(consensus.__file__).parents[1])\n"
        f"print(len(list(pathlib.Path().rglob('*{EXTENSION_SUFFIXES[-1]}'))))\n"
    )
    copies = tmp_path / "copies"
    copies.mkdir()
    outcome = run("scripts/pure", sys.executable, str(program), TMPDIR=str(copies))
    working, package, binaries = outcome.stdout.splitlines()
    assert working == package
    assert Path(working).parent == copies
    assert binaries == "0"
    assert list(copies.iterdir()) == []


@pytest.mark.parametrize("script", ["scripts/pure", "scripts/test --nonsense"])
def test_a_script_called_wrongly_prints_its_usage_and_exits_2(script: str) -> None:
    outcome = run(*script.split())
    assert outcome.returncode == 2
    assert outcome.stderr.startswith(f"usage: {script.split()[0]}")


@pytest.mark.parametrize(
    "script",
    [".ci/run", *(f"scripts/{name}" for name in ("bootstrap", "devnet", "mutate", "pure", "test"))],
)
def test_every_entry_point_is_executable_and_parses(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert run("bash", "-n", script).returncode == 0
