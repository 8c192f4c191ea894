"""A js-libp2p peer joins, hears, speaks, asks, and pays for garbage like anybody else.

Needs node and npm, and a package index that npm reaches: the libraries of tests/p2p/js/package.json
are installed beside it at first use. Without them the test is skipped with the reason.
"""

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from networks import CHAIN, OverSockets, until, until_ready

from p2p.exchange.blocks import decode_range
from p2p.peering import Peering
from p2p.topics import BLOCKS, BLOCKS_BY_RANGE

JS: Final = Path(__file__).resolve().parent / "js"

pytestmark = [pytest.mark.node_js, pytest.mark.slow]


@pytest.fixture(scope="session")
def js_libraries(npm_installed: Callable[..., Path]) -> Path:
    """The folder of the js peer, with its libraries."""
    return npm_installed(JS, "libp2p")


class JsPeer:
    """The running process: `events` is all that it printed."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    async def follow(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for piece in self.process.stdout:
            *lines, rest = (rest + piece).split(b"\n")
            self.events += [json.loads(line) for line in lines]

    async def do(self, command: str, **arguments: object) -> None:
        assert self.process.stdin is not None
        line = json.dumps({"do": command, **arguments}) + "\n"
        await self.process.stdin.send_all(line.encode())

    def heard(self, size: int) -> bool:
        return size in self.said("bytes")

    def said(self, name: str) -> list[Any]:
        return [event[name] for event in self.events if name in event]


@asynccontextmanager
async def js_peer(folder: Path, network: Peering) -> AsyncIterator[JsPeer]:
    chain = [str(CHAIN.chain), str(CHAIN.fork), CHAIN.genesis_hash.hex()]
    command = ["node", "--import", "./polyfill.mjs", "peer.mjs", network.addresses()[0], *chain]
    process = await trio.lowlevel.open_process(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        async with trio.open_nursery() as nursery:
            peer = JsPeer(process)
            nursery.start_soon(peer.follow)
            await until(lambda: peer.said("connected"))
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        process.kill()


async def blocks_from(peer: str, request: bytes) -> AsyncIterator[bytes]:
    wanted = decode_range(request)
    for height in range(wanted.first, wanted.first + wanted.blocks):
        yield b"block %d" % height


async def test_a_js_peer_joins_hears_speaks_asks_and_pays(js_libraries: Path) -> None:
    async with OverSockets().make("alice") as alice, js_peer(js_libraries, alice) as js:
        name = js.said("connected")[0]
        inbox = alice.subscribe(BLOCKS)
        alice.serve(BLOCKS_BY_RANGE, blocks_from)
        await until_ready(alice)
        facts = alice.peers()[0]
        assert facts.peer == name
        assert facts.head is not None
        assert (facts.head.height, facts.head.certified_height) == (7, 6)

        await hears_both_ways(alice, inbox, js, name)

        await js.do("range", first=5, count=3)
        await until(lambda: js.said("range"))
        assert js.said("range") == [{"chunks": ["block 5", "block 6", "block 7"]}]
        await js.do("status")
        await until(lambda: js.said("status") == [1])

        await js.do("garbage")
        await until(lambda: "malformed_rpc" in alice.farewells.get(name, ""))
        await until(lambda: js.said("closed") and not alice.peers())
        assert js.said("goodbye") == ["penalty: malformed_rpc"]
        assert js.said("failed") == []


async def hears_both_ways(alice: Peering, inbox: Any, js: JsPeer, name: str) -> None:
    with trio.fail_after(20):
        while not len(inbox):
            await js.do("publish", text="from js")
            await trio.sleep(0.5)
    assert (await inbox.receive()).peer == name
    await js.do("publish", text="large", bytes=300_000)
    with trio.fail_after(20):
        while len((await inbox.receive()).data) != 300_000:
            continue
    for size in (1_000, 300_000):
        await alice.publish(BLOCKS, b"from python".ljust(size, b"."))
        await until(partial(js.heard, size))
