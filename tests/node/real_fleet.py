"""A leader and followers as processes, on the ports and data directories that they had before.

What lives here: processes and a client that submits. What must never live here: an expectation.
"""

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from consensus.chain import State, genesis_state
from consensus.commands import place
from consensus.finality import bls
from consensus.finality.promises import Promise, decode_promise
from consensus.genesis import parse
from node.key_files import ValidatorFile, write_validator
from node.simulation.genesis import genesis_file
from node.simulation.wallets import Wallet, secret

NODES = 4
ORDERS_PER_GROUP = 4
GROUPS_PER_REQUEST = 16
START_S_MAX = 60.0


class RealFleet:
    """Node 0 leads. `close` ends whatever runs."""

    def __init__(self, path: Path, wallets: int = 4) -> None:
        self.path = path
        data = genesis_file(NODES, wallets, {}, time=time.time_ns() // 1_000_000)
        self.genesis = parse(data)
        (path / "genesis.json").write_bytes(data)
        for number in range(NODES):
            key = secret(f"validator {number}")
            validator = ValidatorFile(bls.public_key_of(key), bls.prove_possession(key), key)
            write_validator(path / f"validator{number}.json", validator)
        self.facts: dict[int, dict[str, Any]] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        before = self.facts.get(number)
        listen = _transport(before["addresses"][0]) if before else "/ip4/127.0.0.1/tcp/0"
        rpc = f"127.0.0.1:{before['rpc'] if before else 0}"
        command = [sys.executable, "-m", "node.cli", "node"]
        command += ["--role", "follower" if number else "leader", "--listen", listen, "--rpc", rpc]
        command += ["--genesis", str(self.path / "genesis.json")]
        command += ["--data-dir", str(self.path / f"node{number}")]
        command += ["--validator-key", str(self.path / f"validator{number}.json")]
        for other, facts in sorted(self.facts.items()):
            if other < number:
                command += ["--peer", facts["addresses"][0]]
        log = (self.path / f"node{number}.log").open("ab")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        self._processes[number] = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.path / f"node{number}.log").read_text()[-3000:]
        self.facts[number] = json.loads(line)

    def kill(self, number: int) -> None:
        process = self._processes.pop(number)
        process.kill()
        self._reap(process)

    def end(self, number: int) -> int:
        """SIGTERM; the exit code."""
        process = self._processes.pop(number)
        process.terminate()
        return self._reap(process)

    def _reap(self, process: subprocess.Popen[bytes]) -> int:
        code = process.wait(timeout=60)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def call(self, number: int, method: str, params: dict[str, object] | None = None) -> Any:
        """The result of one call; OSError or HTTPException where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.facts[number]["rpc"], timeout=30)
        try:
            return call(connection, method, params or {})
        finally:
            connection.close()

    def close(self) -> None:
        for number in list(self._processes):
            self.kill(number)


def call(connection: http.client.HTTPConnection, method: str, params: dict[str, object]) -> Any:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/", json.dumps(request), headers)
    answer = json.loads(connection.getresponse().read())
    assert "error" not in answer, answer["error"]
    return answer["result"]


def _transport(address: str) -> str:
    return address.partition("/p2p/")[0]


class Trader(threading.Thread):
    """Submits signed groups to the leader, as fast as it answers, until `stop` is set."""

    def __init__(self, fleet: RealFleet, number: int) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.promises: list[Promise] = []
        self.groups = 0
        self.refusals: dict[int, int] = {}
        self._fleet = fleet
        self._wallet = Wallet(number)
        self._state: State = genesis_state(fleet.genesis)
        self._chance = random.Random(number)

    def run(self) -> None:
        connection = None
        while not self.stop.is_set():
            commands = [self._command() for _ in range(GROUPS_PER_REQUEST)]
            try:
                port = self._fleet.facts[0]["rpc"]
                connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                answers = call(connection, "clob_submitBatch", {"commands": commands})
            except (OSError, http.client.HTTPException):
                connection = None
                time.sleep(0.01)
                continue
            for answer in answers:
                self.groups += 1
                if "promise" in answer:
                    self.promises.append(decode_promise(bytes.fromhex(answer["promise"][2:])))
                else:
                    number = answer["error"]["code"] if "error" in answer else answer["code"]
                    self.refusals[number] = self.refusals.get(number, 0) + 1

    def _command(self) -> dict[str, str]:
        rows = [
            place(0, self._chance.randrange(2), 0, self._chance.randrange(97, 104), 5)
            for _ in range(ORDERS_PER_GROUP)
        ]
        now_ms = time.time_ns() // 1_000_000
        ahead = now_ms - self._state.head.time + 3_600_000
        made = self._wallet.signed(self._state, *rows, expires_ms=ahead)
        return {"group": "0x" + made.group.rows.hex(), "signature": "0x" + made.signature.hex()}
