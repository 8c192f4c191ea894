"""`rialto genesis check`: the hash and the memory of a good file, every fault of a bad one."""

import json
from pathlib import Path
from typing import Any

import pytest

from node import cli
from node.build_check import ROOT

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "genesis.json").read_text())


def report_of(capsys: pytest.CaptureFixture[str], code: int, *files: Path) -> list[dict[str, Any]]:
    assert cli.main(["genesis", "check", *map(str, files), "--json"]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    reports: list[dict[str, Any]] = json.loads(captured.out)["files"]
    return reports


def test_the_files_of_this_repository_are_good_and_have_the_hashes_of_the_vectors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [ROOT / "genesis" / vector["file"] for vector in VECTORS["files"]]
    reports = report_of(capsys, 0, *paths)
    for vector, report in zip(VECTORS["files"], reports, strict=True):
        assert report["faults"] == []
        assert (report["hash"], report["fork_id"]) == (vector["hash"], vector["fork_id"])
        assert report["memory_bytes"] == sum(report["region_bytes"].values()) > 0


def test_every_fault_is_a_line_that_names_its_field_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = json.loads((ROOT / "genesis" / "minimal.json").read_text())
    value["chain_id"] = 0
    value["sizes"]["accounts_max"] = 65
    value["markets"][0]["quote"] = "EUR"
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(value))
    good = ROOT / "genesis" / "minimal.json"
    reports = report_of(capsys, 1, good, path)
    fields = [fault["field"] for fault in reports[1]["faults"]]
    assert reports[0]["faults"] == []
    assert fields == ["chain_id", "sizes.accounts_max", "markets[0].quote"]
    assert all(6000 <= fault["number"] <= 6999 for fault in reports[1]["faults"])
    assert cli.main(["genesis", "check", str(good), str(path)]) == 1
    text = capsys.readouterr().out
    assert text.count("\nE6") == 3
    assert "region BTC-USD" in text
    for field in fields:
        assert field in text


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"{", b"[]", b"[" * 100_000, b'{"name":1}', b'"' + b"x" * (17 << 20)]
)
def test_a_file_that_is_no_genesis_is_one_numbered_fault_or_more(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    (report,) = report_of(capsys, 1, path)
    assert report["faults"]
    assert set(report) == {"file", "faults"}
    assert all(6000 <= fault["number"] <= 6999 for fault in report["faults"])


@pytest.mark.parametrize(
    ("argv", "number"),
    [([], 7000), (["check"], 7000), (["check", "none.json"], 7003), (["bless", "x"], 7000)],
)
def test_a_bad_command_line_is_refused_by_number(
    argv: list[str], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["genesis", *argv]) == 2
    assert capsys.readouterr().err.startswith(f"error E{number}: ")


def test_deposits_behind_which_no_l1_stands_are_a_fault_before_any_node_refuses_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = json.loads((ROOT / "genesis" / "minimal.json").read_text())
    value["contract"] = "0x" + "17" * 20
    path = tmp_path / "bridged.json"
    path.write_text(json.dumps(value))
    (report,) = report_of(capsys, 1, path)
    assert [(one["number"], one["field"]) for one in report["faults"]] == [(7791, "deposits")]
    path.write_text(json.dumps(value | {"deposits": []}))
    (report,) = report_of(capsys, 0, path)
    assert report["deposits"] == 0
