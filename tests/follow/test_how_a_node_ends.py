"""A node that stops because of itself says why in one line, whatever task it happened in."""

from pathlib import Path

import pytest

from node import cli, process
from node.divergence import MEMORY_DIFFERS, Diverged
from node.telemetry import logs

OPTIONS = ["node", "--role", "follower", "--genesis", "g.json", "--data-dir", "data"]


@pytest.fixture(autouse=True)
def log_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command would take the log of this process."""
    monkeypatch.setattr(logs, "configure", lambda form: None)


def test_a_divergence_is_the_last_line_and_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    async def serve(*arguments: object) -> None:
        fault = Diverged(MEMORY_DIFFERS, "the memory is not the state of block 5", 5)
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [fault])])

    monkeypatch.setattr(process, "serve", serve)
    assert cli.main(OPTIONS) == cli.REFUSED
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "error E7420: the memory is not the state of block 5"


def test_a_bug_is_still_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(*arguments: object) -> None:
        raise ExceptionGroup("outer", [ZeroDivisionError()])

    monkeypatch.setattr(process, "serve", serve)
    with pytest.raises(ExceptionGroup):
        cli.main(OPTIONS)
