"""Execution clients in processes of their own, driven as the embedded L1 is.

What lives here: starting anvil and geth, the names' funds, the few levers that tests turn. What
must never live here: an expectation. Everything but the levers goes through the node's `HttpL1`.

A client without a lever skips the test that needs it, and says which.
"""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final
from urllib.request import Request, urlopen

import pytest
import trio
from l1_wallets import ETHER, FEES, address

from consensus.signatures import address_of, public_key_of
from node.l1.http import HttpL1
from node.l1.transactions import Call, sign_call

ANSWERS_S_MAX: Final = 30
MINED_S_MAX: Final = 60
PASSES_S: Final = 0.2
FINAL_S_MAX: Final = 60
CHAIN_ID: Final = 1337
GENESIS_GAS: Final = 30_000_000
EPOCH_BLOCKS: Final = 4
ANVIL_KEY: Final = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
GETH_KEY: Final = bytes.fromhex("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")
"""Accounts that the clients' development modes fund; everybody knows these keys."""
GETH: Final = "github.com/ethereum/go-ethereum/cmd/geth@v1.17.10"
URL: Final = "RIALTO_L1_URL"
KEY: Final = "RIALTO_L1_KEY"


class RemoteL1:
    """`answer` and the levers of `EmbeddedL1` that tests use, for the client at `url`."""

    def __init__(self, url: str, secret: bytes) -> None:
        self.url: Final = url
        self.secret: Final = secret
        self.chain: Final = Levers(self)
        self.name: Final[str] = self.answer("web3_clientVersion").lower()

    def answer(self, method: str, *params: Any) -> Any:
        """As `EmbeddedL1.answer`; waits until what was sent is in a block."""
        found = trio.run(self._request, method, params)
        if method == "eth_getTransactionReceipt":
            until = monotonic() + MINED_S_MAX
            while found is None and monotonic() < until:
                sleep(0.02)
                found = trio.run(self._request, method, params)
        return found

    async def _request(self, method: str, params: Sequence[Any]) -> Any:
        l1 = HttpL1(self.url)
        try:
            return await l1.request(method, *params)
        finally:
            await l1.close()

    def lever(self, method: str, *params: Any) -> Any:
        """A method that only this client has, past `HttpL1`, which refuses it."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        head = {"Content-Type": "application/json"}
        with urlopen(Request(self.url, json.dumps(body).encode(), head), timeout=30) as reply:
            answer = json.load(reply)
        if "error" in answer:
            pytest.skip(f"{self.url} has no {method}: {answer['error'].get('message')}")
        return answer["result"]

    def fund(self, names: Sequence[str], wei: int) -> None:
        """`wei` for each name out of the funded account, a block for each."""
        sender = "0x" + address_of(public_key_of(self.secret)).hex()
        for name in names:
            nonce = int(self.answer("eth_getTransactionCount", sender, "pending"), 16)
            call = Call(address(name), value=wei, gas=21_000)
            signed = sign_call(self.secret, self.chain.chain_id, nonce, call, FEES)
            sent = self.answer("eth_sendRawTransaction", "0x" + signed.raw.hex())
            assert self.answer("eth_getTransactionReceipt", sent)["status"] == "0x1"

    def passes(self) -> None:
        """A block: where only transactions make them, somebody pays himself.

        ethrex's blocks come by themselves, and its memory has the receipt of a block's first only.
        """
        if self.name.startswith("ethrex"):
            sleep(PASSES_S)
        else:
            self.fund(("operator",), 0)


class Levers:
    """What tests do to an L1's chain."""

    def __init__(self, l1: RemoteL1) -> None:
        self._l1: Final = l1
        self.chain_id: Final = int(l1.answer("eth_chainId"), 16)

    def advance(self, seconds: int) -> None:
        self._l1.lever("evm_increaseTime", seconds)
        self._l1.lever("evm_mine")

    def finalize(self) -> None:
        """Until the present head is final: by the lever, or with the blocks that come."""
        if self._l1.name.startswith("anvil"):
            self._l1.lever("anvil_mine", hex(3 * EPOCH_BLOCKS))
            return
        head = int(self._l1.answer("eth_blockNumber"), 16)
        until = monotonic() + FINAL_S_MAX
        while self._final() < head:
            if monotonic() > until:
                pytest.skip(f"{self._l1.url} has no block final within {FINAL_S_MAX} s")
            self._l1.passes()

    def _final(self) -> int:
        block = self._l1.answer("eth_getBlockByNumber", "finalized", False)
        return int(block["number"], 16) if block else -1

    def reorganise(self, depth: int, *, keep_dropped: bool = True) -> None:
        if keep_dropped:
            pytest.skip("this client drops what was in the replaced blocks")
        self._l1.lever("anvil_reorg", depth, [])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], url: str, log: Path) -> Iterator[None]:
    """A client's process, from its first answer on; ended with the context."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        until = monotonic() + ANSWERS_S_MAX
        while not _answers(url):
            if process.poll() is not None or monotonic() > until:
                pytest.skip(f"{command[0]} does not start: {log.read_text()[-300:]}")
            sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1):
            return True
    except OSError as error:
        return hasattr(error, "code")  # an HTTP status is an answer


@contextmanager
def anvil(folder: Path, log: Path, *more: str) -> Iterator[RemoteL1]:
    """`folder`: where npm installed it; `more` options. The fork is Osaka."""
    (binary,) = (folder / "node_modules/@foundry-rs").glob("anvil-*/bin/anvil")
    port = free_port()
    command = [
        str(binary), "--hardfork", "osaka", "--no-request-size-limit", "--silent",
        "--chain-id", str(CHAIN_ID), "--slots-in-an-epoch", str(EPOCH_BLOCKS),
        "--balance", str(10**9), "--host", "127.0.0.1", "--port", str(port), *more,
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with running(command, url, log):
        yield RemoteL1(url, ANVIL_KEY)


@contextmanager
def geth(binary: Path, folder: Path) -> Iterator[RemoteL1]:
    """`geth --dev`: a block for each transaction."""
    port = free_port()
    command = [
        str(binary), "--dev", "--dev.gaslimit", str(GENESIS_GAS), "--datadir", str(folder),
        "--http", "--http.addr", "127.0.0.1", "--http.port", str(port), "--http.api",
        "eth,net,web3", "--ipcdisable", "--nodiscover", "--port", "0", "--authrpc.port",
        str(free_port()), "--verbosity", "2",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with running(command, url, folder / "log"):
        yield RemoteL1(url, GETH_KEY)


def geth_binary(cache: Path) -> Path:
    """geth on the path, or built once from its Go module into `cache`; skips where neither goes."""
    if found := shutil.which("geth"):
        return Path(found)
    binary = cache / "geth"
    if binary.exists():
        return binary
    if shutil.which("go") is None:
        pytest.skip("no geth and no Go on the path: not tested against geth")
    if os.environ.get("RIALTO_LONG") != "1":
        pytest.skip(f"no geth on the path or in {cache}; scripts/test --long builds it with Go")
    cache.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["go", "install", GETH], env={**os.environ, "GOBIN": str(cache)}, capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"Go cannot build geth: {done.stderr.strip().splitlines()[-1:]}")
    return binary


def client_at_url() -> RemoteL1:
    """The client at RIALTO_L1_URL, whose account RIALTO_L1_KEY has ether."""
    url, secret = os.environ.get(URL), os.environ.get(KEY)
    if not url or not secret:
        pytest.skip(f"no {URL} with {KEY}, an account's secret: no other client tested")
    return RemoteL1(url, bytes.fromhex(secret.removeprefix("0x")))


def ether(l1: RemoteL1) -> int:
    """What each name gets."""
    return 100 * ETHER if l1.secret in (ANVIL_KEY, GETH_KEY) else ETHER


