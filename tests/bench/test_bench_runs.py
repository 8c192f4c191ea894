"""A tiny run of each bench ends with all of its keys, and its bars name keys that it has."""

import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from node.bench import adversarial, blobs, flows, matcher, node, settlement, tree
from node.bench.figures import flattened, judge
from node.cli import main
from node.commands.bench import BENCHES, MESSAGES_MAX, ROUNDS_MAX
from node.exceptions import NodeError
from node.flow.fetch import SAMPLE_UNREACHABLE, fetch_sample

FLOWS: Final = ("normal", "deep", "sweep")
FLOW_KEYS: Final = ("ops_per_s", "p50_ns", "p99_ns", "p999_ns")
KEYS: Final = {
    "matcher": [f"{flow}.{key}" for flow in FLOWS for key in FLOW_KEYS],
    "transition": ["commands_per_s", "commands_per_s_with_root", "p99_ns"],
    "rpc": [
        "ws.orders_per_s",
        "ws_signed.orders_per_s",
        "ws_signed_p99_ms",
        "http.orders_per_s",
        "idle_ws_kb",
    ],
    "state": ["root_ms_random", "root_ms_local", "proof_bytes", "rebuild_s"],
}

DA_KEYS: Final = (
    "commit_ms", "cells_ms", "verify_25_cells_ms", "bytes_per_command_typical",
    "bytes_per_command_adversarial", "bytes_per_command_signed", "post_1_blob_ms",
    "loop_lag_p99_ms", "loop_lag_idle_p99_ms",
)  # fmt: skip


def module(name: str) -> ModuleType:
    return importlib.import_module(f"node.bench.{BENCHES[name][0]}")


@pytest.fixture(autouse=True)
def small_books(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the preload of the deep flow, which takes most of its time."""
    deep = flows.SHAPES["deep"]
    small = flows.Shape(**{**vars(deep), "target": 4000, "preload": 4000})
    monkeypatch.setitem(flows.SHAPES, "deep", small)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_tiny_run_prints_one_object_with_every_key(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["bench", name, "--messages", "2000", "--rounds", "1", "--interpreted", "--json"]
    assert main(argv) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert printed.out.count("\n") == 1
    found = flattened({key: value for key, value in report.items() if key != "machine"})
    for key in KEYS[name]:
        value = found[key]
        assert isinstance(value, int | float) and value > 0, key
    assert {"cpu", "cores", "load", "python", "core", "compiler"} <= set(report["machine"])
    assert "seed 1" in report["workload"]
    assert "bars" not in report, "bars are for the whole workload"
    judged = judge(report, module(name).BARS)
    with_c = report["machine"]["compiler"] != "none"
    for key, verdict in judged.items():
        assert isinstance(verdict, dict)
        assert verdict["measured"] is not None or ("ratio_to_c" in key and not with_c), key


def test_a_tiny_adversarial_run_prints_every_load(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "matcher", "--adversarial", "--messages", "1000", "--rounds", "1"]
    assert main([*argv, "--interpreted", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    for key, verdict in judge(report, adversarial.BARS).items():
        assert isinstance(verdict, dict)
        assert isinstance(verdict["measured"], int | float), key


@pytest.mark.slow
def test_a_tiny_run_of_blobs_prints_every_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "BLOBS", 1)
    argv = ["bench", "da", "--messages", "2000", "--rounds", "1", "--interpreted", "--json"]
    assert main(argv) == 0
    report = json.loads(capsys.readouterr().out)
    for key in DA_KEYS:
        assert isinstance(report[key], float) and report[key] > 0, key
    assert report["bytes_per_command_typical"] < report["bytes_per_command_adversarial"]
    assert set(blobs.BARS) <= set(DA_KEYS)


@pytest.mark.slow
def test_the_gas_of_every_call_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same calls as in tests/l1/test_settlement_gas.py, made by the node's own parts."""
    monkeypatch.setattr(settlement, "COMMITTEES", ((4, 3),))
    assert main(["bench", "l1", "--interpreted", "--json"]) == 0
    gas = json.loads(capsys.readouterr().out)["gas"]
    only = set(settlement.PROTOTYPE) - {f"commit_{m}" for m in ("5_of_7", "15_of_21", "43_of_64")}
    assert only <= set(gas)
    assert all(isinstance(number, int) and 21_000 < number < 6_000_000 for number in gas.values())
    assert gas["withdraw_ether_later"] < gas["withdraw_ether_first"]
    assert gas["commit_3_of_4"] < gas["commit_3_of_4_6_blobs"] < gas["commit_3_of_4"] + 5000


@pytest.mark.slow
def test_a_tiny_run_of_three_nodes_prints_every_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "RATE_S", 1)
    argv = ["bench", "node", "--messages", "2000", "--rounds", "1", "--interpreted", "--json"]
    assert main(argv) == 0
    report = json.loads(capsys.readouterr().out)
    for key, verdict in judge(report, node.BARS).items():
        assert isinstance(verdict, dict)
        assert isinstance(verdict["measured"], int | float) and verdict["measured"] > 0, key
    figures = flattened(report)
    assert figures["refused"] == 0, figures["refusal"]
    assert figures["individual.operations"] == 2000 - 2000 % 50
    assert int(str(figures["follower_lag_blocks"])) >= 0
    for key in ("disk_fdatasync_p50_ms", "individual.leader_cpu_us", "bulk.follower_cpu_us"):
        assert float(str(figures[key])) > 0, key


@pytest.mark.network
def test_a_tiny_replay_prints_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        fetch_sample()
    except NodeError as error:
        if error.number == SAMPLE_UNREACHABLE:
            pytest.skip(str(error))
        raise
    argv = ["bench", "replay", "--messages", "2000", "--rounds", "2", "--interpreted", "--json"]
    assert main(argv) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["messages_per_s"] > 0
    assert report["trades"] == 0, "the venue's first trade comes after its opening snapshot"
    assert len(report["fills_digest"]) == len(report["state_root"]) == 64


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_compiled_core_and_its_c_agree_or_the_run_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lie = matcher.Round()
    lie.digest.update(b"something else")
    monkeypatch.setattr(matcher, "reference_round", lambda *_: lie)
    argv = ["bench", "matcher", "--messages", "1000", "--rounds", "1", "--interpreted"]
    assert main(argv) == 2
    assert "E7301" in capsys.readouterr().err


def test_an_interpreted_core_is_not_measured_by_mistake(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.bench.machine.compiled_state", lambda: "interpreted")
    assert main(["bench", "state"]) == 2
    assert "E7300" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--messages", "999"),
        ("--messages", str(MESSAGES_MAX + 1)),
        ("--rounds", "0"),
        ("--rounds", str(ROUNDS_MAX + 1)),
        ("--seed", "-1"),
        ("--seed", str(1 << 32)),
    ],
)
def test_numbers_outside_their_limits_are_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "state", "--interpreted", option, value]) == 2
    assert "E7304" in capsys.readouterr().err


def test_a_missed_bar_is_printed_and_is_no_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MESSAGES", 2000)
    monkeypatch.setattr(tree, "BARS", {"proof_bytes": ("<=", 1), "rebuild_s": ("<=", 3600)})
    monkeypatch.setattr("node.bench.machine.compiled_state", lambda: "compiled")
    assert main(["bench", "state", "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("proof_bytes")] == ["MISSED"]
    assert [line.split()[-1] for line in lines if line.startswith("rebuild_s")] == ["met"]


def test_a_bench_without_a_compiler_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    argv = ["bench", "matcher", "--messages", "1000", "--rounds", "1", "--interpreted", "--json"]
    assert main(argv) == 0
    report = json.loads(capsys.readouterr().out)
    assert "no C reference" in report["workload"]
    assert "clock read from Python" in report["workload"]
    assert "ratio_to_c" not in report["normal"]
    assert report["machine"]["compiler"] == "none"
