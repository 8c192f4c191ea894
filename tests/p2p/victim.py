"""A node to attack, as a process of its own: prints its address, then its state ten times a second.

    python tests/p2p/victim.py SECONDS [BANS_FILE [PORT]]

It gossips a beacon on BLOCKS all the time; its check of ORDERS raises for b"raise" and says
offence for b"bad"; its handler of BLOCKS_BY_HASH raises, the one of BLOCKS_BY_RANGE never answers,
and the one of SNAPSHOT_CHUNKS answers 32 MB.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio
from networks import CHAIN, keys_of

from p2p.host import open_network
from p2p.network import IngestSession, Verdict
from p2p.peering import Peering
from p2p.penalties import FileBans, MemoryBans
from p2p.settings import Settings
from p2p.topics import BLOCKS, BLOCKS_BY_HASH, BLOCKS_BY_RANGE, ORDERS, SNAPSHOT_CHUNKS


def check(peer: str, data: bytes) -> Verdict:
    if data == b"raise":
        raise ValueError("a check that breaks its promise")
    return Verdict.OFFENCE if data == b"bad" else Verdict.ACCEPT


async def fail(peer: str, request: bytes) -> AsyncIterator[bytes]:
    yield b"before"
    raise KeyError("a handler with a bug")


async def hang(peer: str, request: bytes) -> AsyncIterator[bytes]:
    await trio.sleep(30)
    yield b""


async def serve_much(peer: str, request: bytes) -> AsyncIterator[bytes]:
    for _ in range(32):
        yield bytes(1_000_000)


async def hold(session: IngestSession) -> None:
    async for _ in session:
        pass


async def main(seconds: float, bans: Path | None, port: int) -> None:
    settings = Settings(CHAIN, bans=FileBans(bans) if bans else MemoryBans())
    listen = [f"/ip4/127.0.0.1/tcp/{port}"]
    async with open_network(settings, keys_of("victim"), listen) as network:
        print(json.dumps({"address": network.addresses()[0]}), flush=True)
        network.subscribe(BLOCKS)
        network.subscribe(ORDERS)
        network.validate(ORDERS, check)
        network.serve(BLOCKS_BY_HASH, fail)
        network.serve(BLOCKS_BY_RANGE, hang)
        network.serve(SNAPSHOT_CHUNKS, serve_much)
        network.serve_ingest(hold)
        with trio.move_on_after(seconds):
            while True:
                await network.publish(BLOCKS, b"beacon")
                print(json.dumps(state(network)), flush=True)
                await trio.sleep(0.1)


def state(network: Peering) -> dict[str, object]:
    return {
        "counters": network.counters(),
        "peers": [one.peer for one in network.peers()],
        "scores": {one.peer: one.score for one in network.peers()},
        "banned": [peer for peer, _ in network.ledger.bans()],
        "farewells": network.farewells,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> int:
    """Of this program alone: what getrusage says survives the exec of a large parent's child."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    bans_file = Path(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else None
    trio.run(main, float(sys.argv[1]), bans_file, int(sys.argv[3]) if len(sys.argv) > 3 else 0)
