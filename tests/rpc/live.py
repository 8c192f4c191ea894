"""A whole node of one validator behind real sockets, its disk in memory.

What lives here: starting it, asking it, and signed commands as JSON. What must never live here: an
expectation.
"""

import argparse
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from fleet import START_MS, fleet_genesis, secret
from sockets import RawHttp, Socket, http, socket

from consensus.finality import bls
from consensus.genesis import Genesis
from node.app import Keys, Node, ValidatorKey
from node.config import add_arguments, config_of
from node.machine import RealMachine
from node.process import Running, running
from node.rpc.server import RpcServer
from node.signer import signs_with
from node.submission import Submission
from storage.disk import Disk, MemoryDisk


class Machine(RealMachine):
    """The machine itself, on a day shortly after genesis."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead_ms = time.time_ns() // 1_000_000 - START_MS

    def now_ms(self) -> int:
        return super().now_ms() - self._ahead_ms


class Refused(Exception):
    """The error object of an answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


@dataclass
class Live:
    """The node, and one WebSocket and one HTTP connection to it."""

    on: Running
    genesis: Genesis
    socket: Socket
    http: RawHttp
    pushed: list[dict[str, Any]]

    @property
    def node(self) -> Node:
        return self.on.node

    async def call(self, method: str, params: object = None) -> Any:
        """The result, by WebSocket. Raises `Refused`."""
        answer = await self.socket.call(method, params)
        while "method" in answer:
            self.pushed.append(answer["params"])
            answer = await self.socket.message()
        return result_of(answer)

    async def news(self) -> dict[str, Any]:
        """The next thing that a subscription says."""
        if not self.pushed:
            self.pushed.append((await self.socket.message())["params"])
        return self.pushed.pop(0)

    async def submit(self, submission: Submission) -> Any:
        return await self.call("clob_submit", packed(submission))

    async def sealed(self) -> int:
        """Wait until no block is open and all are kept; the height of the head."""
        chain = self.node.chain
        with trio.fail_after(20):
            while self.node.is_ahead or chain.blocks.head().height < chain.state.head.height:
                await trio.sleep(0.01)
        return chain.state.head.height


def result_of(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise Refused(answer["error"])
    return answer["result"]


def packed(submission: Submission) -> dict[str, object]:
    return {
        "group": "0x" + submission.group.rows.hex(),
        "signature": "0x" + submission.signature.hex(),
        "events": True,
    }


def in_words(submission: Submission, *operations: dict[str, object]) -> dict[str, object]:
    """The same command with its parts and operations named."""
    group = submission.group
    return {
        "account": group.account,
        "key": group.key,
        "nonce": str(group.nonce),
        "expires": group.expires,
        "signer": "0x" + group.owner().hex(),
        "operations": list(operations),
        "signature": "0x" + submission.signature.hex(),
        "events": True,
    }


@asynccontextmanager
async def live(folder: Path, *options: str, disk: Disk | None = None) -> AsyncIterator[Live]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    fixed = ["--role", "leader", "--genesis", "-", "--data-dir", str(folder)]
    config = config_of(parser.parse_args([*fixed, "--rpc", "127.0.0.1:0", *options]))
    genesis, machine = fleet_genesis(validators=1), Machine()
    key = secret("validator 0")
    voter = ValidatorKey(bls.public_key_of(key), signs_with(key, machine))
    keys = Keys(voter, secret("promiser"))
    found = disk or MemoryDisk()
    with trio.fail_after(120):
        async with running(genesis, found, None, machine, keys, config) as on:
            assert isinstance(on.rpc, RpcServer)
            async with socket(on.rpc) as one, http(on.rpc) as two:
                yield Live(on, genesis, one, two, [])


