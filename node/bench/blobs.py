"""`rialto bench da`: bytes per command, KZG, and what the event loop notices of it.

What lives here: payloads of the seeded flows, the clock around ckzg, a loop beside the KZG process.
What must never live here: coding or commitments.

`bytes_per_command_` is the compressed payload over its commands; `_signed` is the typical one with
its signatures, `_adversarial_signed` the other. Inside the clock of `commit_ms`, `cells_ms` (128
cells and their proofs) and `verify_25_cells_ms`: one call for one blob, CPU time of the thread, the
setup loaded as the worker loads it. `post_N_blobs_ms`: wall time of one request of N blobs to the
worker process, its pipes included, which is what a committer waits for.

`loop_lag_p99_ms`: how late a timer every 10 ms of the loop fires while the worker of that loop
never rests. `loop_lag_idle_p99_ms`: the same without the worker, in turns with it: the machine's.
"""

import time
from collections.abc import Callable
from hashlib import sha256
from statistics import median
from typing import Final

import trio

from consensus.da import kzg, payload
from consensus.da.blobs import BLOB_CARRIES_BYTES, PREFIX, pack
from node.bench import Advance
from node.bench.figures import AT_MOST, Bar, percentile, rounded
from node.bench.machine import cpu_ns
from node.bench.payload_flow import BLOCK_COMMANDS, Flow
from node.l1 import trusted_setup
from node.l1.kzg_process import PRECOMPUTE, KzgProcess, open_kzg

MESSAGES: Final = 100_000
ROUNDS: Final = 5
STEPS: Final = 3
BLOCKS_BEFORE: Final = 60
"""Not posted: they make the orders that the batch cancels."""
BLOBS: Final = 6
"""Of one transaction at most (EIP-7594)."""
SAMPLED_CELLS: Final = 25
TICK_S: Final = 0.01

BARS: Final[dict[str, Bar]] = {
    "bytes_per_command_typical": (AT_MOST, 5),
    "bytes_per_command_adversarial": (AT_MOST, 9),
    "loop_lag_p99_ms": (AT_MOST, 20),
}


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """`messages` commands in each batch. A report without `machine` and `bars`."""
    blocks = messages // BLOCK_COMMANDS
    report: dict[str, object] = {}
    bare, signed, data = sizes(blocks, seed, is_hostile=False)
    report["bytes_per_command_typical"] = bare
    report["bytes_per_command_adversarial"], hostile, _ = sizes(blocks, seed, is_hostile=True)
    report["bytes_per_command_signed"] = signed
    report["bytes_per_command_adversarial_signed"] = hostile
    advance(1)
    room = BLOBS * BLOB_CARRIES_BYTES - PREFIX.size
    blobs = pack((data * -(-room // len(data)))[:room])
    report |= arithmetic(blobs, rounds)
    advance(1)
    report |= trio.run(beside_the_loop, blobs, rounds)
    advance(1)
    report["workload"] = (
        f"seed {seed}, {rounds} rounds, medians; {blocks * BLOCK_COMMANDS:,} commands in a batch, "
        f"{blocks} blocks; typical: {len(data):,} bytes posted with signatures; "
        f"KZG: {BLOBS} full blobs of that payload, precompute {PRECOMPUTE}; "
        f"a timer every {TICK_S * 1000:.0f} ms beside requests of 1 to {BLOBS} blobs"
    )
    return report


def sizes(blocks: int, seed: int, *, is_hostile: bool) -> tuple[float, float, bytes]:
    """Bytes per command without and with signatures, and the payload with them as posted."""
    flow = Flow(seed, is_hostile)
    flow.blocks(BLOCKS_BEFORE)
    batch = flow.blocks(blocks)
    # The root of an invented block's signatures: any 32 bytes cost the same.
    rooted = [one._replace(signatures=sha256(one.signatures).digest()) for one in batch]
    bare = payload.compress(payload.encode(rooted))
    signed = payload.compress(payload.encode(batch))
    count = blocks * BLOCK_COMMANDS
    return rounded(len(bare) / count), rounded(len(signed) / count), signed


def arithmetic(blobs: tuple[bytes, ...], rounds: int) -> dict[str, object]:
    """ckzg itself, per blob."""
    setup = trusted_setup.load(PRECOMPUTE)
    done = [kzg.extend(blob, setup) for blob in blobs]
    sampled = [
        [(one.commitment, i, one.cells[i], one.proofs[i]) for i in range(SAMPLED_CELLS)]
        for one in done
    ]
    whole = [milliseconds(kzg.extend, blob, setup) for blob in blobs * rounds]
    commits = [milliseconds(kzg.commit, blob, setup) for blob in blobs * rounds]
    checks = [milliseconds(kzg.verify_cells, rows, setup) for rows in sampled * rounds]
    return {
        "commit_ms": rounded(median(commits)),
        "cells_ms": rounded(median(whole) - median(commits)),
        "verify_25_cells_ms": rounded(median(checks)),
    }


def milliseconds(work: Callable[..., object], *arguments: object) -> float:
    begun = cpu_ns()
    work(*arguments)
    return (cpu_ns() - begun) / 1e6


async def beside_the_loop(blobs: tuple[bytes, ...], rounds: int) -> dict[str, object]:
    """Requests of 1 to all blobs, `rounds` times, with as long a rest after each."""
    waits: dict[int, list[float]] = {count: [] for count in range(1, len(blobs) + 1)}
    busy: list[int] = []
    idle: list[int] = []
    async with open_kzg() as worker:
        await worker.extend(blobs[:1])  # loads its setup
        for _ in range(rounds):
            for count, spent in waits.items():
                spent.append(await _request(worker, blobs[:count], busy))
                with trio.move_on_after(spent[-1] / 1000):
                    await _note_lag(idle)
    report: dict[str, object] = {
        f"post_{count}_blob{'s' if count > 1 else ''}_ms": rounded(median(spent))
        for count, spent in waits.items()
        if count in (1, len(blobs))
    }
    for key, samples in (("loop_lag", busy), ("loop_lag_idle", idle)):
        ordered = sorted(samples)
        report[f"{key}_p50_ms"] = rounded(percentile(ordered, 0.5) / 1e6)
        report[f"{key}_p99_ms"] = rounded(percentile(ordered, 0.99) / 1e6)
    return report


async def _request(worker: KzgProcess, blobs: tuple[bytes, ...], lag: list[int]) -> float:
    """Milliseconds until the answer."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_note_lag, lag)
        begun = time.perf_counter()
        await worker.extend(blobs)
        spent = time.perf_counter() - begun
        nursery.cancel_scope.cancel()
    return spent * 1000


async def _note_lag(lag: list[int]) -> None:
    while True:
        due = trio.current_time() + TICK_S
        await trio.sleep_until(due)
        lag.append(round((trio.current_time() - due) * 1e9))
