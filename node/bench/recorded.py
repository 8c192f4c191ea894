"""`rialto bench replay`: half an hour of real order flow through `apply_block`.

What lives here: rounds of the replay and what must come out of each. What must never live here: how
a flow is read, signed or applied (node/flow/).

Inside the clock: `apply_block` of the follower, every root of every block compared with the
leader's, without the recovery of signatures, which has its own figure and runs in two threads.
"""

from statistics import median
from typing import Final

from node.bench import Advance
from node.bench.figures import AT_LEAST, EXACTLY, Bar
from node.exceptions import NodeError
from node.flow.bitstamp import fills_digest, read_flow
from node.flow.fetch import fetch_sample
from node.flow.replay import Replay
from node.flow.wallets import Signatures

ROUNDS_DIFFER: Final = 7303
MESSAGES: Final = 313_787  # all of the recorded flow
ROUNDS: Final = 3
STEPS: Final = 1
BLOCK_MESSAGES: Final = 1000
WALLETS: Final = 16

BARS: Final[dict[str, Bar]] = {
    "messages_per_s": (AT_LEAST, 100_000),
    "trades": (EXACTLY, 284),
    "fills_digest": (
        EXACTLY,
        "b278feb97d85602daa90b79149d43b2c4e655de2bea93e39ef659cd62892d0b5",
    ),
}


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """The first `messages` of the flow; `seed` changes nothing. A report without machine, bars.

    Raises `NodeError` 7100 if the flow cannot be had, 7303 if two rounds end differently.
    """
    flow = read_flow(fetch_sample())
    part = flow.messages[:messages]
    rates, recoveries, ends = [], [], set()
    for _ in range(rounds):
        with Signatures() as signatures:
            replay = Replay(WALLETS, part[0].time_ms, signatures)
            replay.grant()
            for at in range(0, len(part), BLOCK_MESSAGES):
                replay.step(part[at : at + BLOCK_MESSAGES])
        times, head = replay.times, replay.follower.head
        rates.append(round(len(part) / (times.apply - times.recover)))
        recoveries.append(round(times.signatures / times.recover))
        ends.add(head.state_root.hex())
    if len(ends) != 1:
        raise NodeError(ROUNDS_DIFFER, "two rounds gave two state roots; run the tests of the core")
    advance(STEPS)
    return {
        "messages_per_s": median(rates),
        "signatures_per_s": median(recoveries),
        "trades": len(replay.findings.trades),
        "fills_digest": fills_digest(replay.findings.trades),
        "blocks": head.height,
        "state_root": ends.pop(),
        "workload": (
            f"the recorded Bitstamp BTC/USD flow, {len(part):,} messages in blocks of "
            f"{BLOCK_MESSAGES:,}, {WALLETS} wallets with session keys, {times.signatures:,} "
            f"signatures; no seed; {rounds} rounds, medians"
        ),
    }
