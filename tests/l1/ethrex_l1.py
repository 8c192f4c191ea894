"""ethrex in a process of its own, and the consensus client that it needs: a block every moment.

What lives here: building and starting it, and the least of the Engine API that makes blocks. What
must never live here: an expectation. Its node program is not published, its libraries are
(`tests/l1/ethrex`): whoever has Cargo builds them once, in about ten minutes of two cores.

Blocks are made for ever, each a second later at least than the one before; `safe` and `finalized`
are four and eight behind, as with the other clients.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep, time
from typing import Any, Final

import pytest
from remote_l1 import EPOCH_BLOCKS, GETH_KEY, RemoteL1, free_port, running

SOURCE: Final = Path(__file__).resolve().parent / "ethrex"
NAME: Final = "ethrex-client"
BUILD_S: Final = 0.15
"""What a payload is given to take transactions in."""
ZERO: Final = "0x" + "00" * 32
NOBODY: Final = "0x" + "00" * 20


def ethrex_binary(cache: Path) -> Path:
    """On the path, or built once into `cache`; skips where neither goes."""
    if found := shutil.which(NAME):
        return Path(found)
    binary = cache / "debug" / NAME
    if binary.exists():
        return binary
    if shutil.which("cargo") is None:
        pytest.skip(f"no {NAME} and no Cargo on the path: not tested against ethrex")
    if os.environ.get("RIALTO_LONG") != "1":
        pytest.skip(f"no {NAME} on the path or in {cache}; scripts/test --long builds it")
    done = subprocess.run(
        ["cargo", "build", "--quiet", "--target-dir", str(cache)], cwd=SOURCE, capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"Cargo cannot build ethrex: {done.stderr.strip().splitlines()[-1:]}")
    return binary


@contextmanager
def ethrex(binary: Path, folder: Path) -> Iterator[RemoteL1]:
    """A client whose blocks come by themselves."""
    genesis = json.loads((SOURCE / "genesis.json").read_text("ascii"))
    genesis["timestamp"] = hex(int(time()) - 10)
    file = folder / "genesis.json"
    file.write_text(json.dumps(genesis), "ascii")
    port, engine = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(binary), str(file), f"127.0.0.1:{port}", f"127.0.0.1:{engine}"]
    with running(command, url, folder / "log"):
        made = RemoteL1(url, GETH_KEY)
        consensus = Consensus(engine, made.answer("eth_getBlockByNumber", "latest", False))
        consensus.start()
        try:
            yield made
        finally:
            consensus.stopping.set()
            consensus.join(10)


class Consensus(threading.Thread):
    """Makes a block out of the pool, for ever; `fault` is what ended it."""

    def __init__(self, port: int, head: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._hashes = [str(head["hash"])]
        self._time = int(head["timestamp"], 16)
        self.stopping: Final = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            self._make()

    def _make(self) -> None:
        self._time = max(self._time + 1, int(time()))
        attributes = {
            "timestamp": hex(self._time), "prevRandao": ZERO, "suggestedFeeRecipient": NOBODY,
            "withdrawals": [], "parentBeaconBlockRoot": ZERO,
        }  # fmt: skip
        started = self._choose(attributes)
        sleep(BUILD_S)
        payload = self._call("engine_getPayloadV5", started["payloadId"])
        block = payload["executionPayload"]
        commitments = [bytes.fromhex(one[2:]) for one in payload["blobsBundle"]["commitments"]]
        names = ["0x01" + hashlib.sha256(one).hexdigest()[2:] for one in commitments]
        requests = payload.get("executionRequests", [])
        judged = self._call("engine_newPayloadV4", block, names, ZERO, requests)
        assert judged["status"] == "VALID", judged
        self._hashes.append(block["blockHash"])
        self._choose(None)

    def _choose(self, attributes: dict[str, Any] | None) -> Any:
        behind = [self._hashes[-1], self._back(EPOCH_BLOCKS), self._back(2 * EPOCH_BLOCKS)]
        names = ("headBlockHash", "safeBlockHash", "finalizedBlockHash")
        state = dict(zip(names, behind, strict=True))
        return self._call("engine_forkchoiceUpdatedV3", state, attributes)

    def _back(self, blocks: int) -> str:
        return self._hashes[-1 - blocks] if len(self._hashes) > blocks else ZERO

    def _call(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        head = {"Content-Type": "application/json", "Authorization": f"Bearer {_token()}"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("POST", "/", body, head)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]


def _token() -> str:
    """A JWT of now under the empty secret (Engine API, authentication)."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"iat": int(time())}]
    text = b".".join(_url64(json.dumps(part).encode()) for part in parts)
    return (text + b"." + _url64(hmac.digest(b"", text, "sha256"))).decode()


def _url64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
