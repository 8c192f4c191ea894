"""`rialto doctor` names what is wrong, says what to do, and exits with 1 if it is serious."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import time

import pytest

from node import cli, fitness
from node.exceptions import NodeError
from node.telemetry import doctor_machine, doctor_node
from node.telemetry.finding import FAIL, OK, WARN, Finding

ROOT = Path(__file__).parents[2]


def found(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in findings}


@pytest.fixture
def compiled(core_is_compiled: bool) -> str:
    return OK if core_is_compiled else FAIL


def test_a_sound_directory(tmp_path: Path, compiled: str) -> None:
    tmp_path.chmod(0o700)
    seen = found(doctor_machine.examine(tmp_path, ROOT / "genesis" / "minimal.json"))
    for name in ("coincurve", "file modes", "directory mode", "memory"):
        assert seen[name].level == OK, seen[name]
    assert seen["core"].level == compiled
    assert seen["clock"].level in (OK, WARN)
    assert "fdatasync takes" in seen["disk sync"].seen
    assert not list(tmp_path.iterdir()), "the probe is gone"


def test_what_is_wrong_with_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "promiser.key").write_text("secret")
    (tmp_path / "promiser.key").chmod(0o644)
    tmp_path.chmod(0o777)
    monkeypatch.setattr(doctor_machine, "FREE_BYTES_FAIL", 1 << 62)
    monkeypatch.setattr(doctor_machine, "_available_bytes", lambda: 10**8)
    seen = found(doctor_machine.examine(tmp_path, ROOT / "genesis" / "minimal.json"))
    assert seen["file modes"].level == FAIL and "promiser.key" in seen["file modes"].seen
    assert seen["directory mode"].level == FAIL
    assert seen["disk free"].level == FAIL and "--prune" in seen["disk free"].advice
    assert seen["memory"].level == FAIL
    assert all(one.advice for one in seen.values() if one.level != OK)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    seen = found(doctor_machine.examine(tmp_path / "nowhere", None))
    assert seen["data directory"].level == FAIL
    assert seen["memory"].level == WARN


HEALTHY = {
    "chain_status": {
        "role": "follower", "name": "minimal", "height": 9, "certified": 9, "time": 0,
        "quorum": 3, "validators": 4,
    },
    "net_peers": [{"ready": True}],
    "net_health": {
        "problems": [], "unready": [], "loop_lag_p99_ms": 1.0, "loop_lag_max_ms": 2.0,
    },
}  # fmt: skip


@contextmanager
def node_that_says(answers: dict[str, object]) -> Iterator[str]:
    """A server that answers each method from a table."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            method = json.loads(self.rfile.read(size))["method"]
            body = json.dumps({"id": 1, "result": answers[method]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answers(**changes: dict[str, object]) -> dict[str, object]:
    made: dict[str, object] = json.loads(json.dumps(HEALTHY))
    status = made["chain_status"]
    assert isinstance(status, dict)
    status["time"] = int(time() * 1000)
    for method, fields in changes.items():
        part = made[method]
        assert isinstance(part, dict)
        part |= fields
    return made


def test_a_healthy_node() -> None:
    with node_that_says(answers()) as url:
        assert {one.level for one in doctor_node.examine(url)} == {OK}


@pytest.mark.parametrize(
    ("name", "method", "fields"),
    [
        ("head", "chain_status", {"time": 0}),
        ("certification", "chain_status", {"certified": 0}),
        ("loop lag", "net_health", {"loop_lag_p99_ms": 500.0}),
        ("ready", "net_health", {"unready": ["3 blocks behind"]}),
    ],
)
def test_what_is_wrong_with_a_node(name: str, method: str, fields: dict[str, object]) -> None:
    with node_that_says(answers(**{method: fields})) as url:
        wrong = [one for one in doctor_node.examine(url) if one.level != OK]
    assert [one.name for one in wrong] == [name]
    assert wrong[0].level == FAIL and wrong[0].advice


def test_a_follower_without_peers() -> None:
    lonely = answers()
    lonely["net_peers"] = []
    with node_that_says(lonely) as url:
        (wrong,) = [one for one in doctor_node.examine(url) if one.level != OK]
    assert (wrong.name, wrong.level) == ("peers", FAIL)


def test_a_node_that_does_not_answer() -> None:
    (only,) = doctor_node.examine("http://127.0.0.1:1")
    assert (only.name, only.level) == ("node", FAIL)


def test_the_command_prints_lines_or_json_and_says_no_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], compiled: str
) -> None:
    tmp_path.chmod(0o700)
    code = cli.main(["doctor", "--data-dir", str(tmp_path), "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert code == (1 if any(one["level"] == FAIL for one in findings) else 0)
    assert cli.main(["doctor", "--data-dir", str(tmp_path / "nowhere")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("FAIL  data directory") and "; " in line for line in lines)


# -- what a validator refuses to start without ---------------------------------------------------


def test_a_fit_machine_may_validate(tmp_path: Path, core_is_compiled: bool) -> None:
    if core_is_compiled:
        fitness.require_validator_fitness(tmp_path)
    else:
        with pytest.raises(NodeError) as caught:
            fitness.require_validator_fitness(tmp_path)
        assert caught.value.number == fitness.INTERPRETED_CORE


def test_a_validator_needs_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness, "recover_many", lambda pairs: [None for _ in pairs])
    with pytest.raises(NodeError) as caught:
        fitness.require_validator_fitness(tmp_path)
    assert caught.value.number == fitness.NO_CURVE


def test_a_validator_needs_the_compiled_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitness, "compiled_state", lambda: "interpreted")
    with pytest.raises(NodeError) as caught:
        fitness.require_validator_fitness(tmp_path)
    assert caught.value.number == fitness.INTERPRETED_CORE


def test_a_validator_needs_a_disk_that_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(NodeError) as caught:
        fitness.measure_sync(tmp_path / "nowhere", 1)
    assert caught.value.number == fitness.NO_SYNC
    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(NodeError) as caught:
        fitness.measure_sync(tmp_path, 1)
    assert caught.value.number == fitness.NO_SYNC and "Input/output error" in caught.value.text
    assert not list(tmp_path.iterdir())
