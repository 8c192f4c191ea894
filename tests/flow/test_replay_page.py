"""docs/replay.md says what `rialto replay` does: its example runs, its keys are the report's."""

import json
import re
from pathlib import Path

import pytest

from node.build_check import ROOT
from node.cli import main

PAGE = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"^    (\{.*\})$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def flow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flow") / "flow.jsonl"
    path.write_text("\n".join(EXAMPLE), encoding="utf-8")
    return path


def test_the_example_flow_replays_and_every_key_of_its_report_is_explained(
    flow_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(flow_file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["messages"], report["trades"]) == (len(EXAMPLE), 1)
    explained = PAGE.split("## The report")[1].split("\n## ")[0]
    assert set(report) == set(re.findall(r"`(\w+)`", explained)) - {"compiled", "interpreted"}


def test_a_line_that_is_no_message_is_error_7103_with_its_number(
    flow_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = flow_file.with_name("broken.jsonl")
    broken.write_text(EXAMPLE[0] + "\n{}\n", encoding="utf-8")
    assert main(["replay", str(broken), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "E7103" in captured.err
    assert "line 2" in captured.err
