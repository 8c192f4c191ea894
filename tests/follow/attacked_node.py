"""A whole node as a process, a trader on it, and strangers who want to slow it down.

What lives here: the process, signed orders, and attacks, bounded in number and time, against
127.0.0.1 only. What must never live here: an expectation.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any, NamedTuple

import trio
from fleet import secret
from hand_leader import HandChain

from consensus import commands
from consensus.finality import bls
from consensus.genesis import parse
from node.simulation.genesis import genesis_file

HOST = "127.0.0.1"
DAY_MS = 86_400_000


class Ack(NamedTuple):
    """One answered order: when it was sent, and how long the answer took, in seconds."""

    at: float
    took: float


class AttackedNode:
    """A leader that is the only validator of its chain."""

    def __init__(self, directory: Path) -> None:
        now = int(time() * 1000)
        genesis = directory / "genesis.json"
        genesis.write_bytes(genesis_file(1, 4, {}, time=now))
        self.chain = HandChain(parse(genesis.read_bytes()))
        key = secret("validator 0")
        facts = {
            "kind": "rialto-validator", "version": 1, "secret": key.hex(),
            "key": bls.public_key_of(key).hex(), "proof": bls.prove_possession(key).hex(),
        }  # fmt: skip
        key_file = directory / "validator.json"
        key_file.touch(mode=0o600)
        key_file.write_text(json.dumps(facts))
        command = [sys.executable, "-m", "node.cli", "node", "--role", "leader"]
        command += ["--genesis", str(genesis), "--data-dir", str(directory / "data")]
        command += ["--validator-key", str(key_file), "--listen", f"/ip4/{HOST}/tcp/0"]
        command += ["--rpc", f"{HOST}:0", "--metrics", f"{HOST}:0"]
        environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
        self._log = (directory / "log").open("wb")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, env=environment
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (directory / "log").read_text()
        started = json.loads(line)
        self.rpc, self.metrics = started["rpc"], started["metrics"]
        self.p2p = int(started["addresses"][0].split("/")[4])

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    def ask(self, method: str, **params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        url = f"http://{HOST}:{self.rpc}"
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())["result"]

    def page(self, name: str) -> str:
        with urllib.request.urlopen(f"http://{HOST}:{self.metrics}/{name}", timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        lines = self.page("metrics").splitlines()
        return float(next(line for line in lines if line.startswith(name + " ")).split()[-1])

    def order(self, number: int) -> bytes:
        """A signed order that rests for a moment and is taken by the next one."""
        expires = int(time() * 1000) + DAY_MS // 2 - self.chain.state.head.time
        wallet = self.chain.wallets[number % 4]
        wallet.clients += 1


        row = commands.place(0, number % 2, wallet.clients, 100, 1)
        verified = self.chain.group(wallet, row, expires_ms=expires)
        params = {"group": "0x" + verified.group.rows.hex(),
                  "signature": "0x" + verified.signature.hex()}  # fmt: skip
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "clob_submit",
                           "params": params}).encode()  # fmt: skip
        return http_post(body)

    async def trade(self, seconds: float, every_s: float = 0.02) -> list[Ack]:
        """Orders, one after the other on one connection, each answered with a promise."""
        stream = await trio.open_tcp_stream(HOST, self.rpc)
        acks = []
        begun = trio.current_time()
        async with stream:
            while (at := trio.current_time()) < begun + seconds:
                self.sent += 1
                await stream.send_all(self.order(self.sent))
                answer = await read_answer(stream)
                assert "promise" in answer.get("result", {}), answer
                acks.append(Ack(at - begun, trio.current_time() - at))
                await trio.sleep_until(at + every_s)
        return acks

    sent = 0

    def seals(self, first: int, last: int) -> list[int]:
        """The times of these blocks, ms."""
        return [self.ask("chain_getHeader", height=h)["time"] for h in range(first, last + 1)]


def http_post(body: bytes) -> bytes:
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def read_answer(stream: trio.SocketStream) -> Any:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        assert more, "the server closed the connection of an honest trader"
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += await stream.receive_some()
    return json.loads(body)


def quantile(acks: list[Ack], share: float) -> float:
    """Milliseconds."""
    return 1000 * statistics.quantiles([ack.took for ack in acks], n=100)[int(share * 100) - 1]


UPGRADE = (
    f"GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


@contextmanager
def websockets(port: int, count: int, *, unread_bytes: int | None = None) -> Iterator[list[Any]]:
    """So many open WebSockets whose owner says nothing; with a small window if asked."""
    made = []
    try:
        for _ in range(count):
            one = socket.socket()
            if unread_bytes is not None:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread_bytes)
            one.settimeout(20)
            one.connect((HOST, port))
            one.sendall(UPGRADE)
            made.append(one)
        for one in made:
            assert one.recv(4096).startswith(b"HTTP/1.1 101"), "a WebSocket was refused"
        yield made
    finally:
        for one in made:
            one.close()


def masked(text: bytes) -> bytes:
    """A WebSocket text frame as a client sends it, with a mask of zeros."""
    assert len(text) < 1 << 16
    size = bytes([128 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + text


async def junk(port: int, pieces: list[bytes], seconds: float, every_s: float) -> int:
    """Connect, send junk, be thrown out, again; how many connections it were."""
    count = 0
    with trio.move_on_after(seconds):
        while True:
            try:
                async with await trio.open_tcp_stream(HOST, port) as stream:
                    await stream.send_all(pieces[count % len(pieces)])
                    with trio.move_on_after(0.2):
                        while await stream.receive_some():
                            pass
            except (OSError, trio.BrokenResourceError):
                pass
            count += 1
            await trio.sleep(every_s)
    return count
