"""How fast the network carries blocks and batches between processes of one machine.

What lives here: a leader in this process, followers in others, on 127.0.0.1. What must never live
here: the rest of a node; `rialto bench node` measures that.

    python -m p2p.bench [FOLLOWERS]    prints one JSON object

Gossip: the leader publishes blocks of 100 kB at a fixed pace (open loop); every follower notes the
time from publish to delivery. Ingest: one follower sends batches of 40 kB, 64 on the way at most,
and the leader acknowledges each at once; the time of a batch includes its acknowledgement.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import trio
from libp2p.crypto.ed25519 import create_new_key_pair

from .exchange.status import Chain
from .host import open_network
from .network import IngestSession
from .peering import Peering
from .settings import Settings
from .topics import BLOCKS

CHAIN: Final = Chain(1, 1, bytes(32))
LISTEN: Final = ("/ip4/127.0.0.1/tcp/0",)
BLOCK_BYTES: Final = 100_000
PACES_PER_S: Final = (10, 4)
BLOCKS_PER_PACE: Final = 50
WARM_UP: Final = 5
BATCH_BYTES: Final = 40_000  # about 200 orders
BATCHES: Final = 1000
SENDERS: Final = 64
STAMP_BYTES: Final = 8


async def measure_network(followers: int = 3) -> dict[str, Any]:
    """Latencies in ms, rates in MB/s and batches per second."""
    settings = Settings(CHAIN)
    async with open_network(settings, create_new_key_pair(), LISTEN) as leader:
        leader.subscribe(BLOCKS)
        leader.serve_ingest(acknowledge)
        command = [sys.executable, "-m", "p2p.bench", "follower", leader.addresses()[0]]
        processes = [
            await trio.lowlevel.open_process(
                [*command, *(["ingest"] if number == 0 else [])],
                stdout=subprocess.PIPE,
                env=dict(os.environ),
            )
            for number in range(followers)
        ]
        try:
            await until_ready(leader, followers)
            await trio.sleep(2)  # two heartbeats: the mesh is full
            for pace in PACES_PER_S:
                await publish_at(leader, pace)
            reports = [await read_report(process) for process in processes]
        finally:
            for process in processes:
                process.kill()
    return summary(followers, reports)


async def acknowledge(session: IngestSession) -> None:
    async for sequence, _ in session:
        await session.ack(sequence, b"")


async def until_ready(network: Peering, peers: int) -> None:
    with trio.fail_after(30):
        while sum(one.ready for one in network.peers()) < peers:
            await trio.sleep(0.05)


async def publish_at(leader: Peering, pace: int) -> None:
    start = trio.current_time()
    for number in range(BLOCKS_PER_PACE):
        await trio.sleep_until(start + number / pace)
        stamp = time.monotonic_ns().to_bytes(STAMP_BYTES, "little")
        await leader.publish(BLOCKS, stamp + bytes([pace]) + os.urandom(BLOCK_BYTES))


async def follow(address: str, with_ingest: bool) -> None:
    """A follower's process: note the latencies, then print them."""
    settings = Settings(CHAIN, dial=(address,))
    async with open_network(settings, create_new_key_pair(), LISTEN) as network:
        inbox = network.subscribe(BLOCKS)
        latencies: dict[int, list[float]] = {pace: [] for pace in PACES_PER_S}
        with trio.move_on_after(60):
            while len(latencies[PACES_PER_S[-1]]) < BLOCKS_PER_PACE:
                message = await inbox.receive()
                sent_ns = int.from_bytes(message.data[:STAMP_BYTES], "little")
                late_ms = (time.monotonic_ns() - sent_ns) / 1e6
                latencies[message.data[STAMP_BYTES]].append(late_ms)
        report: dict[str, Any] = {"gossip": latencies}
        if with_ingest:
            report["ingest"] = await send_batches(network)
        print(json.dumps(report), flush=True)
        await trio.sleep(60)


async def send_batches(network: Peering) -> dict[str, float]:
    stream = await network.open_ingest(network.peers()[0].peer)
    batch = os.urandom(BATCH_BYTES)
    times: list[float] = []
    left = BATCHES

    async def send() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            started = trio.current_time()
            await stream.send(batch)
            times.append((trio.current_time() - started) * 1000)

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(SENDERS):
            nursery.start_soon(send)
    seconds = trio.current_time() - started
    alone: list[float] = []
    for _ in range(100):
        at = trio.current_time()
        await stream.send(batch)
        alone.append((trio.current_time() - at) * 1000)
    return {
        "batches_per_s": BATCHES / seconds,
        "mb_per_s": BATCHES * BATCH_BYTES / seconds / 1e6,
        "saturated_p50_ms": percentile(times, 50),
        "alone_p50_ms": percentile(alone, 50),
        "alone_p99_ms": percentile(alone, 99),
    }


async def read_report(process: trio.Process) -> dict[str, Any]:
    """The line that a follower prints when it has measured."""
    assert process.stdout is not None
    line = b""
    with trio.fail_after(90):
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
    report: dict[str, Any] = json.loads(line)
    return report


def summary(followers: int, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"followers": followers, "block_bytes": BLOCK_BYTES}
    for pace in PACES_PER_S:
        late = [one for report in reports for one in report["gossip"][str(pace)][WARM_UP:]]
        found[f"gossip_{pace}_per_s"] = {
            "delivered": len(late),
            "p50_ms": percentile(late, 50),
            "p99_ms": percentile(late, 99),
        }
    found["ingest"] = reports[0]["ingest"]
    return found


def percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["follower"]:
        trio.run(follow, sys.argv[2], "ingest" in sys.argv)
    else:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
        print(json.dumps(trio.run(measure_network, count), indent=1))
