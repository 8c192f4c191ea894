"""`rialto bench node`: a leader and two followers as processes, with everything on.

What lives here: the loads of docs/benchmarks.md and their figures. What must never live here: how a
process is started or a call is made (`node/devnet`).

Signatures, journal, events, roots, gossip, votes and the followers' replay are on; sockets and disk
are real. What sends the load is a fourth process on the same machine and takes its share of it.
"""

import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from consensus import commands
from consensus.layout import BUY, SELL, TIF_IOC
from node.bench import Advance
from node.bench.figures import AT_LEAST, AT_MOST, Bar, percentile, rounded
from node.devnet.chain import make_validators, write_genesis
from node.devnet.connection import Connection, connected
from node.devnet.grants import grant
from node.devnet.load import Load, at_most, at_rate
from node.devnet.orders import Batch, SignedFlow, batch_params, wallets_of
from node.devnet.processes import NodeProcess, cpu_s, memory_mb, nodes_of
from node.devnet.run import leaves
from node.exceptions import NodeError
from node.flow.wallets import Signatures
from node.machine import RealMachine

MESSAGES: Final = 30_000
ROUNDS: Final = 1
STEPS: Final = 4
FOLLOWERS: Final = 2
WALLETS: Final = 64
DOORS: Final = 4
RATE_PER_S: Final = 2000
RATE_S: Final = 8
IN_FLIGHT: Final = 4000
COMMANDS_PER_CALL: Final = 50
BULK_OPERATIONS: Final = 64
BULK_SHARE: Final = 8
"""Bulk operations are so many times the individual ones; they are that much cheaper."""
BULKS_PER_CALL: Final = 8
BULKS_IN_FLIGHT: Final = 256
PROBE_S: Final = 0.01
COMPARE_S: Final = 0.05
SETTLE_S_MAX: Final = 60
SYNCS: Final = 300
SYNC_BYTES: Final = 4096
MIDDLE: Final = 6_500_000
LIVE: Final = 100
"""Orders that a wallet leaves in the book before it cancels the oldest."""

WORKLOAD: Final = (
    f"leader, {FOLLOWERS} followers and the sender as processes of one machine, real sockets and "
    f"disk, everything on; {WALLETS} wallets with session keys, half places, half cancels, a "
    f"twentieth takes; open loop of {RATE_PER_S:,} orders/s for {RATE_S} s over {DOORS} "
    f"WebSockets, one call an order; then closed loops, {IN_FLIGHT:,} single orders in flight, and "
    f"{BULKS_IN_FLIGHT} groups of {BULK_OPERATIONS}; loop_lag is the time of an empty call every "
    "10 ms, its way included; cpu is that of the process, for each operation"
)
BARS: Final[dict[str, Bar]] = {
    "individual.orders_per_s": (AT_LEAST, 5000),
    "bulk.orders_per_s": (AT_LEAST, 50_000),
    "ack_p50_ms": (AT_MOST, 5),
    "ack_p99_ms": (AT_MOST, 25),
    "loop_lag_p99_ms": (AT_MOST, 20),
}


class Traders:
    """Wallets that place around a price, cancel what is old and take now and then; endless."""

    def __init__(self, seed: int, wallets: int, slots: int) -> None:
        self._chance = random.Random(seed)
        self._slots = slots
        self._placed = [0] * wallets
        self._cancelled = [0] * wallets
        self._wallets = wallets

    def row(self, wallet: int) -> bytes:
        chance = self._chance
        live = self._placed[wallet] - self._cancelled[wallet]
        if live >= LIVE or (live > LIVE // 2 and chance.random() < 0.45):
            self._cancelled[wallet] += 1
            return commands.cancel_client(self._client(self._cancelled[wallet]))
        self._placed[wallet] += 1
        client = self._client(self._placed[wallet])
        side = BUY if chance.random() < 0.5 else SELL
        away = chance.randrange(1, 200)
        takes = chance.random() < 0.05
        above = (side == SELL) is not takes
        price = MIDDLE + away if above else MIDDLE - away
        lots = chance.randrange(1_000, 100_000)
        return commands.place(0, side, client, price, lots, tif=TIF_IOC if takes else 0)

    def _client(self, number: int) -> int:
        return number // self._slots * self._slots + self._slots + number % self._slots

    def groups(self, operations: int, size: int) -> Iterator[tuple[int, bytes]]:
        """(wallet, rows) with `size` rows each, about `operations` in all."""
        for n in range(operations // size):
            wallet = n % self._wallets
            yield wallet, b"".join(self.row(wallet) for _ in range(size))


@dataclass
class Watch:
    """What was seen from outside while a load ran."""

    calls: list[float] = field(default_factory=list)  # s, of an empty call to the leader
    lags: list[int] = field(default_factory=list)  # blocks, of the follower that is furthest behind
    cpu: list[float] = field(default_factory=list)  # s, of each node while the load ran


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """Medians are over calls, not rounds: one network lives through the whole bench."""
    with tempfile.TemporaryDirectory(prefix="rialto-bench-") as folder:
        faults: list[NodeError] = []
        try:
            return trio.run(_bench, Path(folder), messages, seed, advance)
        except* NodeError as group:
            faults += leaves(group)
        raise faults[0]


async def _bench(folder: Path, messages: int, seed: int, advance: Advance) -> dict[str, object]:
    machine = RealMachine()
    wallets = wallets_of(WALLETS)
    keys = make_validators(folder, 1 + FOLLOWERS)
    path, genesis = write_genesis(folder, keys, wallets, machine.now_ms())
    syncs = sync_times(folder)
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(nodes_of(folder, path, keys, FOLLOWERS))
        watched = [await stack.enter_async_context(connected(node.rpc)) for node in nodes]
        doors = [await stack.enter_async_context(connected(nodes[0].rpc)) for _ in range(DOORS)]
        flow = SignedFlow(genesis, wallets, stack.enter_context(Signatures()))
        await grant(flow, watched, machine)
        traders = Traders(seed, WALLETS, genesis.sizes.table_slots)
        advance(1)

        def signed(operations: int, size: int, per_call: int) -> list[Batch]:
            groups = list(traders.groups(operations, size))
            made = flow.sign(groups, machine.now_ms())
            parts = [made[at : at + per_call] for at in range(0, len(made), per_call)]
            return [Batch(batch_params(part), 0, (size,) * len(part)) for part in parts]

        calls = signed(RATE_PER_S * RATE_S, 1, 1)
        steady, seen = await _watched(nodes, watched, lambda: at_rate(doors, calls, RATE_PER_S))
        advance(1)
        calls = signed(messages, 1, COMMANDS_PER_CALL)
        individual, single = await _watched(
            nodes, watched, lambda: at_most(doors, calls, IN_FLIGHT)
        )
        advance(1)
        calls = signed(messages * BULK_SHARE, BULK_OPERATIONS, BULKS_PER_CALL)
        bulk, loaded = await _watched(
            nodes, watched, lambda: at_most(doors, calls, BULKS_IN_FLIGHT)
        )
        advance(1)
        return {
            "individual": _saturated(individual, single),
            "bulk": _saturated(bulk, loaded),
            **_steady(steady, seen),
            "refused": steady.refused + individual.refused + bulk.refused,
            "refusal": steady.refusal or individual.refusal or bulk.refusal,
            "disk_fdatasync_p50_ms": ms(syncs, 0.5),
            "disk_fdatasync_p99_ms": ms(syncs, 0.99),
            "leader_memory_mb": memory_mb(nodes[0].pid),
            "follower_memory_mb": memory_mb(nodes[1].pid),
            "workload": f"seed {seed}; {WORKLOAD}",
        }


async def _watched(
    nodes: Sequence[NodeProcess],
    watched: Sequence[Connection],
    run: Callable[[], Awaitable[Load]],
) -> tuple[Load, Watch]:
    """Run a load and look at the nodes meanwhile; wait until followers have its last block."""
    watch = Watch()
    before = [cpu_s(node.pid) for node in nodes]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_probe, watched[0], watch)
        nursery.start_soon(_compare, watched, watch)
        load = await run()
        nursery.cancel_scope.cancel()
    with trio.fail_after(SETTLE_S_MAX):
        while min(await _heights(watched)) < load.height:
            await trio.sleep(0.05)
    watch.cpu = [cpu_s(node.pid) - used for node, used in zip(nodes, before, strict=True)]
    return load, watch


async def _probe(leader: Connection, watch: Watch) -> None:
    """The time of a call that does nothing: what the loop lags, and our own way there and back."""
    while True:
        began = trio.current_time()
        await leader.call("net_version")
        watch.calls.append(trio.current_time() - began)
        await trio.sleep(PROBE_S)


async def _compare(watched: Sequence[Connection], watch: Watch) -> None:
    while True:
        leader, *followers = await _heights(watched)
        watch.lags.append(max(0, leader - min(followers)))
        await trio.sleep(COMPARE_S)


async def _heights(watched: Sequence[Connection]) -> list[int]:
    return [(await one.call("chain_status"))["height"] for one in watched]


def sync_times(folder: Path) -> list[float]:
    """What the disk itself takes to append 4 KiB and sync them, in seconds."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(SYNC_BYTES))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return times


def ms(times: Sequence[float], share: float) -> float:
    """A percentile of seconds, in milliseconds."""
    return rounded(percentile(sorted(int(one * 1e9) for one in times), share) / 1e6)


def _steady(load: Load, seen: Watch) -> dict[str, object]:
    return {
        "ack_p50_ms": ms(load.delays, 0.5),
        "ack_p99_ms": ms(load.delays, 0.99),
        "ack_p999_ms": ms(load.delays, 0.999),
        "ack_orders_per_s": rounded(load.per_s),
        "ack_sent_late_max_ms": rounded(load.late * 1e3),
        "ack_leader_cpu_us": rounded(seen.cpu[0] * 1e6 / max(1, load.operations)),
        "ack_follower_cpu_us": rounded(max(seen.cpu[1:]) * 1e6 / max(1, load.operations)),
        "loop_lag_p50_ms": ms(seen.calls, 0.5),
        "loop_lag_p99_ms": ms(seen.calls, 0.99),
        "follower_lag_blocks": max(seen.lags, default=0),
    }


def _saturated(load: Load, seen: Watch) -> dict[str, object]:
    return {
        "orders_per_s": rounded(load.per_s),
        "operations": load.operations,
        "ack_p50_ms": ms(load.delays, 0.5),
        "ack_p99_ms": ms(load.delays, 0.99),
        "loop_lag_p99_ms": ms(seen.calls, 0.99),
        "follower_lag_blocks": max(seen.lags, default=0),
        "leader_cpu_us": rounded(seen.cpu[0] * 1e6 / max(1, load.operations)),
        "follower_cpu_us": rounded(max(seen.cpu[1:]) * 1e6 / max(1, load.operations)),
    }
