"""`rialto replay FILE`: a flow in JSON lines through two chains, and every way to get it wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node import cli
from node.build_check import ROOT
from node.commands import replay as command
from node.flow.bitstamp import Flow, Kind, Message, Trade, fills_digest

TIME = 1_700_000_000_000


def line(number: int, kind: str = "limit", **fields: Any) -> dict[str, Any]:
    return {
        "time_ms": TIME + number, "kind": kind, "order": number << 20, "buys": False,
        "price_cents": 10_000, "quantity": 1000, **fields,
    }  # fmt: skip


FLOW = [
    line(1, post_only=True),
    line(2, post_only=True, price_cents=10_100),
    line(3, buys=True, price_cents=10_050, quantity=1500),
    line(4, "cancel", order=3 << 20, price_cents=0, quantity=0),
    line(5, "market", buys=True, price_cents=0, quantity=400),
    line(6, "cancel", order=99 << 20, price_cents=0, quantity=0),
]
TRADES = [Trade(3 << 20, 1 << 20, 10_000, 1000, True), Trade(5 << 20, 2 << 20, 10_100, 400, True)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flow.jsonl"
    path.write_text("\n".join(map(json.dumps, FLOW)) + "\n\n")
    return path


def replayed(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    assert cli.main(["replay", *map(str, argv), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    report: dict[str, Any] = json.loads(captured.out)
    return report


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> int:
    assert cli.main(["replay", *map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error E")
    assert captured.err.count("\n") == 1
    return int(captured.err[len("error E") :].partition(":")[0])


def test_a_flow_of_six_messages_makes_its_two_trades(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = replayed(capsys, file)
    assert (report["messages"], report["trades"], report["volume"]) == (6, 2, 1400)
    assert report["fills_digest"] == fills_digest(TRADES)
    assert report["refused"] == {"UNKNOWN_ORDER": 1}
    assert report["blocks"] == 2, "one for the grants, one for the messages"
    assert report["fills_match_venue"] is None, "there is no venue to compare with"
    assert report["bytes_per_command"] < report["bytes_per_command_signed"]


def test_fills_and_the_market_do_not_depend_on_where_blocks_end(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [replayed(capsys, file, "--block-messages", size) for size in (1, 2, 5, 1000)]
    assert [report["blocks"] for report in reports] == [7, 4, 3, 2]
    for key in ("fills_digest", "market_root", "refused", "trades"):
        assert len({str(report[key]) for report in reports}) == 1
    assert len({report["state_root"] for report in reports}) > 1, "time and height are state"


def test_until_replays_the_first_messages_only_and_a_larger_number_all(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replayed(capsys, file, "--until", 2)["trades"] == 0
    three = replayed(capsys, file, "--until", 3)
    assert (three["messages"], three["trades"]) == (3, 1)
    assert replayed(capsys, file, "--until", 10**9)["messages"] == 6


def test_the_report_for_people_groups_digits_and_says_what_was_not_compared(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", str(file)]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["volume"] == "1,400"
    assert lines["fills_match_venue"] == "not compared"


@pytest.mark.parametrize("fills_match", [True, False])
def test_the_exit_code_of_the_sample_says_whether_the_fills_are_the_venues(
    fills_match: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {kind.name.lower(): kind for kind in Kind}
    messages = [
        Message(
            entry["time_ms"], kinds[entry["kind"]], entry["order"], entry["buys"],
            entry["price_cents"], entry["quantity"], entry.get("post_only", False),
        )
        for entry in FLOW
    ]  # fmt: skip
    flow = Flow(messages, TRADES if fills_match else TRADES[:1], ())
    monkeypatch.setattr(command, "load", lambda name: flow)
    assert cli.main(["replay", "bitstamp", "--json"]) == (0 if fills_match else 1)
    assert json.loads(capsys.readouterr().out)["fills_match_venue"] is fills_match
    assert cli.main(["replay", "bitstamp", "--until", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fills_match_venue"] is None


BAD_LINES: list[bytes] = [
    b"nonsense", b"{}", b"[]", b"1", b"null", b'"text"', b"[" * 100_000, b"\xff\xfe\x00",
    b'{"kind": ["limit"], "time_ms": 1}', b"9" * 5000,
    *[json.dumps(line(1, **change)).encode() for change in (
        {"kind": "iceberg"}, {"time_ms": -1}, {"time_ms": 1 << 53}, {"time_ms": 1.5},
        {"order": "7"}, {"order": None}, {"buys": 1}, {"buys": "yes"}, {"post_only": 0},
        {"price_cents": True}, {"quantity": 1e3}, {"quantity": -5}, {"price_cents": float("nan")},
    )],
    *[json.dumps({k: v for k, v in line(1).items() if k != name}).encode()
      for name in ("kind", "time_ms", "order", "buys")],
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda data: repr(data[:60]))
def test_a_line_that_is_no_message_is_refused_by_number(
    bad: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "flow"
    path.write_bytes(json.dumps(line(5)).encode() + b"\n\n" + bad)
    assert cli.main(["replay", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error E7103: ")
    assert "line 3 " in error or "UTF-8" in error


def test_an_order_that_comes_twice_and_wallets_that_are_full_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "flow"
    path.write_text("\n".join(json.dumps(line(1, time_ms=TIME + n)) for n in range(2)))
    assert refused(capsys, path) == 7104
    many = [line(n, quantity=1, price_cents=20_000) for n in range(1, 4200)]
    path.write_text("\n".join(map(json.dumps, many)))
    assert refused(capsys, path, "--wallets", 2) == 7105


@pytest.mark.parametrize(
    ("argv", "number"),
    [
        ([], 7000), (["none"], 7003), (["."], 7003), (["flow", "--until", "x"], 7000),
        (["flow", "--until", "0"], 7109), (["flow", "--until", "-3"], 7109),
        (["flow", "--block-messages", "0"], 7108), (["flow", "--block-messages", "20001"], 7108),
        (["flow", "--wallets", "1"], 7106), (["flow", "--wallets", "0"], 7106),
        (["flow", "--wallets", "513"], 7106), (["flow", "--wallets", str(10**12)], 7106),
        (["flow"], 7107), (["flow", "more"], 7000),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_a_bad_command_line_or_an_empty_flow_is_refused_by_number(
    argv: list[str],
    number: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flow").write_text("\n")
    assert refused(capsys, *argv) == number


@pytest.mark.parametrize("time_ms", [0, 1, (1 << 53) - 1 - 7_200_000])
def test_a_flow_may_be_of_any_time(
    time_ms: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "flow"
    path.write_text(json.dumps(line(1, time_ms=time_ms)))
    assert replayed(capsys, path)["messages"] == 1


def test_a_real_process_shows_no_progress_bar_to_a_file_and_exits_0(file: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "node.cli", "replay", str(file), "--wallets", "4"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    assert f"fills_digest{'':14}{fills_digest(TRADES)}" in process.stdout
