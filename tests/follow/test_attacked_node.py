"""A whole node process keeps sealing and answering while strangers abuse its ports.

Figures are printed (`-s`). The bars are wide, because the attackers run on the same two cores; what
they show is that an attack does not stop the chain, and that it ends for who attacks.
"""

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from attacked_node import AttackedNode, junk, masked, quantile, websockets

SECONDS = 6.0
ACK_P50_MS = 50
ACK_P99_MS = 600
SEAL_GAP_MS = 1500
IDLE_WEBSOCKETS = 1000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, validators_core: None
) -> Iterator[AttackedNode]:
    running = AttackedNode(Path(tmp_path_factory.mktemp("node")))
    try:
        yield running
    finally:
        running.end()


async def trades_well(node: AttackedNode, name: str) -> None:
    """Orders are promised and blocks come, whatever else goes on."""
    first = node.ask("chain_status")["height"] + 1
    acks = await node.trade(SECONDS)
    last = node.ask("chain_status")["height"]
    times = node.seals(first, last)
    gaps = [after - before for before, after in pairwise(times)]
    p50, p99 = quantile(acks, 0.5), quantile(acks, 0.99)
    lag = node.ask("net_health")["loop_lag_p99_ms"]
    print(
        f"\n{name}: {len(acks)} orders, ack p50 {p50:.1f} ms, p99 {p99:.1f} ms; {len(times)} "
        f"blocks, longest gap {max(gaps)} ms; loop lag p99 {lag:.1f} ms"
    )
    assert p50 <= ACK_P50_MS and p99 <= ACK_P99_MS, name
    assert max(gaps) <= SEAL_GAP_MS, name
    assert len(times) >= SECONDS, name
    assert node.process.poll() is None


async def test_in_peace(node: AttackedNode) -> None:
    await trades_well(node, "in peace")


async def test_a_thousand_idle_websockets(node: AttackedNode) -> None:
    """They cost a little memory each and no time; a trader is served beside them."""
    before = node.metric("process_resident_memory_bytes")
    with websockets(node.rpc, IDLE_WEBSOCKETS):
        await trades_well(node, "1,000 idle WebSockets")
        assert node.metric('rialto_rpc_connections{port="rpc"}') >= IDLE_WEBSOCKETS
        each = (node.metric("process_resident_memory_bytes") - before) / IDLE_WEBSOCKETS
        print(f"{each / 1000:.0f} kB each")
        assert each < 100_000
    with trio.fail_after(20):
        while node.metric('rialto_rpc_connections{port="rpc"}') > 2:
            await trio.sleep(0.1)


async def test_slow_readers(node: AttackedNode) -> None:
    """Who asks a thousand times and does not read is held back: half a mebibyte each, no time."""
    before = node.metric("process_resident_memory_bytes")
    ask = b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover","params":[]}'
    with websockets(node.rpc, 40, unread_bytes=4096) as readers:
        for one in readers:
            one.settimeout(2)
            with suppress(OSError):  # its turn may have come already
                one.sendall(masked(ask) * 1000)
        await trades_well(node, "40 slow readers")
        each = (node.metric("process_resident_memory_bytes") - before) / len(readers)
        print(f"{each / 1000:.0f} kB each")
        assert each < 4_000_000


async def test_a_flood_of_junk_on_every_port(node: AttackedNode) -> None:
    """Random bytes, half a request, JSON without end: each costs its sender the connection."""
    chance = random.Random(7)
    noise = [chance.randbytes(chance.choice((1, 64, 4096, 65536))) for _ in range(50)]
    http = [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 40_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + b"[" * 20_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\xff\xfe\x00{}",
        *noise[:4],
    ]
    counts = []

    async def attack(port: int, pieces: list[bytes]) -> None:
        counts.append(await junk(port, pieces, SECONDS, 0.02))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(attack, node.p2p, noise)
            nursery.start_soon(attack, node.rpc, http)
        await trades_well(node, "junk on both ports")
    print(f"{sum(counts)} connections with junk")
    assert sum(counts) > 200


async def test_afterwards_it_is_healthy_and_has_let_go_of_everything(node: AttackedNode) -> None:
    assert '"ok":true' in node.page("health")
    assert node.metric("rialto_standing_alarms") == 0
    assert len(os.listdir(f"/proc/{node.process.pid}/fd")) < 100
