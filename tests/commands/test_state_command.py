"""`rialto state`: snapshots, exports and proofs through the command line, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from librt.vecs import vec
from mypy_extensions import i64

from consensus import commands, layout
from consensus.chain import State, genesis_state
from consensus.execute import open_block, operate
from consensus.genesis import parse
from consensus.state.memory import Memory
from consensus.state.tree import StateTree
from node import cli
from node.build_check import ROOT
from node.state_file import (
    FOREIGN_LAYOUT,
    WRONG_HEIGHT,
    facts_of,
    read_snapshot,
    write_snapshot,
)

GENESIS = ROOT / "genesis" / "minimal.json"
OWNER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
STRANGER = "0x" + "77" * 20
ACCOUNT = 2


def act(memory: Memory, row: bytes) -> None:
    memory.S[layout.S_KEY], memory.S[layout.S_ACCOUNT] = layout.KEY_OWNER, ACCOUNT
    operate(memory.M, memory.S, row, 0)


@pytest.fixture(scope="module")
def state() -> State:
    """`minimal.json` with an iceberg and a plain order of account 2, one of them cancelled."""
    state = genesis_state(parse(GENESIS.read_bytes()))
    memory = state.memory
    open_block(memory.M, memory.S, 1, memory.M[layout.TIME] + 1, 0)
    act(memory, commands.place(0, layout.BUY, 5, 700, 40, display=10))
    act(memory, commands.place(0, layout.SELL, 6, 900, 3))
    act(memory, commands.cancel_client(6))
    memory.seal()
    return state


@pytest.fixture
def file(state: State, tmp_path: Path) -> Path:
    path = tmp_path / "state.rlts"
    facts = facts_of(state.memory, 1, state.chain.genesis_hash, state.head_hash)
    write_snapshot(state.memory, facts, path)
    return path


def ran(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    """What a command prints with --json; it must succeed and say nothing else."""
    assert cli.main([*map(str, argv), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    report: dict[str, Any] = json.loads(captured.out)
    return report


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> int:
    """The number with which a command is refused; one line, and nothing on standard output."""
    assert cli.main(list(map(str, argv))) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error E")
    return int(captured.err[len("error E") :].partition(":")[0])


def test_the_snapshot_of_a_genesis_is_block_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "zero.rlts"
    report = ran(capsys, "state", "snapshot", "--genesis", GENESIS, "--out", path)
    zero = genesis_state(parse(GENESIS.read_bytes()))
    assert report == {
        "state_root": "0x" + zero.head.state_root.hex(),
        "height": 0,
        "genesis_hash": "0x" + zero.chain.genesis_hash.hex(),
        "block_hash": "0x" + zero.head_hash.hex(),
        "snapshot_bytes": path.stat().st_size,
    }
    assert read_snapshot(path)[1].view() == zero.memory.view()


def test_verify_reports_the_root_and_the_statistics_of_a_sound_state(
    state: State, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = ran(capsys, "state", "verify", file)
    assert report["findings"] == []
    assert report["state_root"] == "0x" + state.memory.tree.root().hex()
    assert report["height"] == 1
    market = report["markets"][0]
    assert (market["orders"], market["visible_lots"], market["hidden_lots"]) == (1, 10, 30)
    assert cli.main(["state", "verify", str(file)]) == 0
    text = capsys.readouterr().out
    assert "findings" in text and "market 0" in text


def test_a_file_that_is_wrong_about_its_height_is_refused(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state.rlts"
    write_snapshot(state.memory, facts_of(state.memory, 7, bytes(32), bytes(32)), path)
    assert refused(capsys, "state", "verify", path) == WRONG_HEIGHT


def test_a_state_of_another_layout_is_refused_with_the_advice_to_use_its_version(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = vec[i64](memoryview(bytearray(state.memory.view())).cast("q"))
    words[layout.LAYOUT] = 2
    tree = StateTree(state.memory.tree.regions, 2)
    tree.rebuild(memoryview(words).cast("B"))
    memory = Memory(words, tree)
    facts = facts_of(memory, 1, bytes(32), bytes(32))._replace(layout_version=2)
    path = tmp_path / "state.rlts"
    write_snapshot(memory, facts, path)
    assert refused(capsys, "state", "verify", path) == FOREIGN_LAYOUT


def test_verify_names_every_word_that_breaks_a_law_and_exits_1(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root and container are right: only the walk can see it."""
    M = genesis_state(parse(GENESIS.read_bytes())).memory.M
    M[layout.AT_SCHEDULES + 8] = 9
    M[M[layout.AT_BALANCES] + 8 * 4 * ACCOUNT] += 1
    damaged = Memory(M)
    path = tmp_path / "damaged.rlts"
    write_snapshot(damaged, facts_of(damaged, 0, bytes(32), bytes(32)), path)
    assert cli.main(["state", "verify", str(path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert "markets" not in report
    assert {found["number"] for found in report["findings"]} == {5703, 5710}
    assert cli.main(["state", "verify", str(path)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("E57")]
    assert "E5710 region 0, schedule 1, word 0: is 9, must be 0" in lines


QUESTIONS: list[tuple[list[str], dict[str, Any] | None]] = [
    (["--account", OWNER], {"account": 2, "tier": 0, "self_trade_mode": 1}),
    (["--account", STRANGER], None),
    (["--account", OWNER[2:].upper()], {"account": 2}),
    (["--balance", OWNER, "0"], {"locked": 28_014}),
    (["--order", "0", str(1 << 24 | 1)], {"price": 700, "visible": 10, "hidden": 30, "client": 5,
                                         "handle": str(1 << 24 | 1)}),
    (["--order", "0", str(1 << 24 | 2)], None),
    (["--order", "0", str(2 << 24 | 1)], None),
    (["--order", "0", "9" * 20], None),
    (["--client-order", OWNER, "5"], {"client": 5}),
    (["--client-order", OWNER, "6"], None),
    (["--level", "0", "buy", "700"], {"visible": 10, "orders": 1}),
    (["--level", "0", "sell", "700"], {"visible": 0, "orders": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("question", "answer"), QUESTIONS, ids=lambda value: str(value)[:40])
def test_a_proof_is_made_from_a_snapshot_and_checked_against_a_root_alone(
    question: list[str],
    answer: dict[str, Any] | None,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = tmp_path / "proof"
    report = ran(capsys, "state", "proof", file, *question, "--out", made)
    assert (report["answer"] is None) == (answer is None)
    assert (answer or {}).items() <= (report["answer"] or {}).items()
    assert report["proof_bytes"] == made.stat().st_size
    root = report["state_root"]
    checked = ran(capsys, "state", "proof", made, *question, "--root", root)
    assert checked == report
    shown = ran(capsys, "state", "proof", file, *question)
    assert shown["proof"] == "0x" + made.read_bytes().hex()
    assert refused(capsys, "state", "proof", made, *question, "--root", "0x" + "11" * 32) == 5009
    assert cli.main(["state", "proof", str(file), *question]) == 0
    assert ("absent" in capsys.readouterr().out) == (answer is None)


def test_the_proof_of_one_question_does_not_answer_another(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "proof"
    root = ran(capsys, "state", "proof", file, "--account", OWNER, "--out", made)["state_root"]
    for question in (["--balance", OWNER, "0"], ["--level", "0", "buy", "700"]):
        number = refused(capsys, "state", "proof", made, *question, "--root", root)
        assert number in (5010, 5200)


BAD: list[tuple[list[str], int]] = [
    ([], 7000),
    (["--account", OWNER, "--balance", OWNER, "0"], 7000),
    (["--account", ""], 7201),
    (["--account", "0x12"], 7201),
    (["--account", OWNER[:-1] + "g"], 7201),
    (["--account", OWNER, "--root", "abc"], 7201),
    (["--account", OWNER, "--root", ""], 7201),
    (["--balance", OWNER, "-1"], 7201),
    (["--balance", OWNER, "one"], 7201),
    (["--balance", OWNER, "²"], 7201),
    (["--balance", OWNER, "4"], 5203),
    (["--balance", STRANGER, "0"], 5204),
    (["--order", "1", "16777217"], 5202),
    (["--order", "0", "9" * 21], 7201),
    (["--order", "0", "0x1"], 7201),
    (["--client-order", STRANGER, "1"], 5204),
    (["--client-order", OWNER, str(1 << 53)], 5206),
    (["--level", "0", "bid", "700"], 7201),
    (["--level", "0", "buy", "0"], 5206),
    (["--level", "0", "buy", "4095"], 5206),
    (["--level", "9", "buy", "1"], 5202),
]


@pytest.mark.parametrize(("question", "number"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_question_is_refused_by_number(
    question: list[str], number: int, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "state", "proof", file, *question) == number


def test_an_export_comes_back_as_the_same_state_and_the_same_snapshot(
    state: State, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, again = tmp_path / "records", tmp_path / "again.rlts"
    out = ran(capsys, "state", "export", file, "--out", records)
    assert out["export_bytes"] == records.stat().st_size < file.stat().st_size * 4
    hashes = ["--genesis-hash", out["genesis_hash"], "--block-hash", out["block_hash"]]
    back = ran(capsys, "state", "import", records, "--out", again, *hashes)
    assert back["state_root"] == out["state_root"] == "0x" + state.memory.tree.root().hex()
    assert read_snapshot(again)[1].view() == state.memory.view()
    unnamed = ran(capsys, "state", "import", records, "--out", again)
    assert unnamed["genesis_hash"] == "0x" + "00" * 32


@pytest.mark.parametrize(
    ("argv", "number"),
    [
        ([], 7000),
        (["verify"], 7000),
        (["verify", "none"], 7003),
        (["verify", "."], 7003),
        (["verify", "empty"], 5500),
        (["verify", "records"], 5500),
        (["proof", "records", "--account", OWNER], 5500),
        (["proof", "empty", "--account", OWNER, "--root", "11" * 32], 5000),
        (["snapshot", "--out", "x"], 7000),
        (["snapshot", "--genesis", "empty", "--out", "x"], 6001),
        (["snapshot", "--genesis", "none", "--out", "x"], 7003),
        (["snapshot", "--genesis", str(GENESIS), "--out", "none/x"], 7003),
        (["export", "state.rlts"], 7000),
        (["export", "records", "--out", "x"], 5500),
        (["import", "state.rlts", "--out", "x"], 5600),
        (["import", "empty", "--out", "x"], 5600),
        (["import", "records", "--out", "x", "--block-hash", "12"], 7201),
        (["import", "records", "--out", "x", "--genesis-hash", "zz" * 32], 7201),
        (["melt", "records"], 7000),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else str(value),
)
def test_a_file_or_word_that_cannot_be_used_is_refused_by_number_and_writes_nothing(
    argv: list[str],
    number: int,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran(capsys, "state", "export", file, "--out", tmp_path / "records")
    (tmp_path / "empty").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert refused(capsys, "state", *argv) == number
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_file_is_written_whole_or_not_at_all(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.rlts"
    path.write_bytes(b"older")
    facts = facts_of(state.memory, 0, bytes(32), bytes(32))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_snapshot(state.memory, facts, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.rlts"]
    assert path.read_bytes() == b"older"


def test_the_exit_code_of_a_real_process_says_whether_a_state_is_sound(
    file: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.rlts"
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    damaged.write_bytes(data)
    for path, code, line in ((file, 0, ""), (damaged, 2, "error E5503: ")):
        process = subprocess.run(
            [sys.executable, "-m", "node.cli", "state", "verify", str(path)],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert process.returncode == code
        assert process.stderr.startswith(line) and bool(process.stderr) == bool(line)
