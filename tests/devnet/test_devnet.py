"""`rialto devnet` end to end: real processes, sockets and disks, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node.build_check import ROOT
from node.flow.fetch import WHEEL, cache_folder, is_pinned

MESSAGES = 3000


@pytest.fixture
def sample() -> None:
    if not is_pinned(cache_folder() / WHEEL):
        pytest.skip("the recorded flow is not in the cache; scripts/devnet fetches it")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "node.cli", "devnet", *arguments]


def processes_below(folder: Path) -> dict[int, str]:
    """Command lines that name the folder, by pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        if entry.name.isdecimal() and str(folder) in line and int(entry.name) != os.getpid():
            found[int(entry.name)] = line
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("validators_core", "sample")
def test_four_nodes_agree_on_a_part_of_the_flow_and_are_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    done = subprocess.run(
        command("--messages", str(MESSAGES), "--json", "--dir", str(folder)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    nodes = report["nodes"]
    assert [node["node"] for node in nodes] == ["leader", "follower-1", "follower-2", "follower-3"]
    assert report["messages"] == MESSAGES
    assert report["faults"] == []
    assert len({node["state_root"] for node in nodes}) == 1
    assert {node["certified"] for node in nodes} == {nodes[0]["height"]}
    assert {node["peers"] for node in nodes} == {3}
    assert report["derived_height"] > nodes[0]["height"]  # the withdrawal's block is on L1 too
    assert report["batches"] > 1 and report["bytes_per_command"] < 20
    assert processes_below(folder) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("validators_core", "sample")
def test_interrupted_it_stops_its_processes_and_names_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    running = subprocess.Popen(
        command("--serve", "--dir", str(folder)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(folder / "follower-1.log")
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=120)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 130
    assert str(folder) in errors
    assert processes_below(folder) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("validators_core", "sample")
def test_a_node_that_dies_fails_the_run_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    running = subprocess.Popen(
        command("--json", "--dir", str(folder)), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(folder / "follower-3.log")
        lines = processes_below(folder)
        os.kill(next(pid for pid, line in lines.items() if "--role\0leader" in line), 9)
        _, errors = running.communicate(timeout=120)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 1
    assert "E7118: leader ended by itself with code -9" in errors
    assert processes_below(folder) == {}


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)
