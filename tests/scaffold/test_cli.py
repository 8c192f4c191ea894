"""The command line's door: numbered one-line refusals, exit codes, nothing on the wrong stream."""

import importlib
import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import node
from consensus.exceptions import InvalidGenesis
from node import cli
from node.build_check import ROOT, compiled_state
from node.exceptions import NodeError
from node.progress import progress


def command_that(action: Callable[[Namespace], int]) -> Callable[[str], SimpleNamespace]:
    def add_arguments(parser: ArgumentParser) -> None:
        parser.add_argument("--height", type=int)

    return lambda name: SimpleNamespace(add_arguments=add_arguments, run=action)


def test_version_as_json_is_one_object_that_names_the_running_core(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["version", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == ["version", "core", "layout_version", "python"]
    assert (report["version"], report["core"]) == (node.__version__, compiled_state())


def test_version_as_text_is_one_line_per_fact(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["version", node.__version__]
    assert len(lines) == 4


@pytest.mark.parametrize(
    "argv",
    [[], ["nonsense"], ["--nonsense"], ["version", "--nonsense"], ["replay", "--height", "x"]],
)
def test_a_bad_command_line_is_refused_by_number_with_exit_code_2(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if argv[:1] == ["replay"]:
        monkeypatch.setattr(cli, "command_module", command_that(lambda arguments: 0))
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error E{cli.USAGE}: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_only_the_chosen_commands_module_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = []

    def command_module(name: str) -> SimpleNamespace:
        imported.append(name)
        return command_that(lambda arguments: 0)(name)

    monkeypatch.setattr(cli, "command_module", command_module)
    assert cli.main(["bench", "--height", "7"]) == 0
    assert imported == ["bench"]


def test_a_command_that_is_not_installed_is_refused_by_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "absent", "a command without a module")
    assert cli.main(["absent"]) == 2
    assert capsys.readouterr().err.startswith(f"error E{cli.COMMAND_ABSENT}: ")


def test_a_command_whose_own_import_fails_is_our_fault_and_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def import_module(path: str) -> None:
        raise ModuleNotFoundError("No module named 'missing'", name="missing")

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["version"])


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (NodeError(7999, "bad input"), 2, "error E7999: bad input\n"),
        (InvalidGenesis(6999, "bad field"), 2, "error E6999: bad field\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            FileNotFoundError(2, "No such file or directory", "flow.csv"),
            2,
            "error E7003: cannot use flow.csv: No such file or directory; "
            "check the path and its permissions\n",
        ),
    ],
)
def test_every_refusal_of_a_command_is_one_line_and_an_exit_code(
    failure: BaseException,
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def action(arguments: Namespace) -> int:
        raise failure

    monkeypatch.setattr(cli, "command_module", command_that(action))
    assert cli.main(["state"]) == code
    assert capsys.readouterr().err == line


def test_a_commands_answer_becomes_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "command_module", command_that(lambda arguments: 1))
    assert cli.main(["state"]) == 1


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    script = tmp_path / "chatter.py"
    script.write_text(
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from node import cli\n"
        "def run(arguments):\n"
        "    print('first', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    print('second')\n"
        "    return 0\n"
        "cli.command_module = lambda name: SimpleNamespace(\n"
        "    add_arguments=lambda parser: None, run=run)\n"
        "sys.exit(cli.main(['bench']))\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        # Buffered, as at a person's prompt: the pipe breaks only when the buffer is written.
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        assert process.stdout.readline() == b"first\n"
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(10, "messages") as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("quiet", "shown"), [(False, True), (True, False)])
def test_progress_is_shown_to_a_terminal_unless_told_to_be_quiet(
    quiet: bool,
    shown: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(10, "messages", quiet=quiet) as advance:
        advance(10)
    captured = capsys.readouterr()
    assert ("messages" in captured.err) is shown
    assert captured.out == ""
