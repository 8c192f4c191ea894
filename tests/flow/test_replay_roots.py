"""One flow, one state root: compiled, interpreted, as C, under any hash seed; and block sizes.

The default form takes the whole half hour once, compiled, and a prefix for the rest; the long form
takes the whole everywhere.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from generated_follower import GeneratedFollower

from consensus import layout
from consensus.chain import genesis_state
from node.build_check import ROOT
from node.exceptions import NodeError
from node.flow.bitstamp import Flow, fills_digest, read_flow
from node.flow.fetch import SAMPLE_UNREACHABLE, fetch_sample
from node.flow.replay import Replay, genesis_for
from node.flow.wallets import Signatures, wallet

pytestmark = [pytest.mark.network, pytest.mark.slow]

VENUE_FILLS_DIGEST = "b278feb97d85602daa90b79149d43b2c4e655de2bea93e39ef659cd62892d0b5"
RIALTO = Path(sys.executable).with_name("rialto")
WALLETS = 16
PREFIX = 12_000
HASH_SEEDS = ("0", "1", "4242")
SIZES = (250, 1000, 3000)  # messages to a block; all divide POINT
POINT = 3000

Report = dict[str, object]


@pytest.fixture(scope="module")
def flow() -> Flow:
    try:
        return read_flow(fetch_sample())
    except NodeError as error:
        if error.number == SAMPLE_UNREACHABLE:
            pytest.skip(str(error))
        raise


def rialto_replay(*arguments: str, hash_seed: str = "0", interpreted: bool = False) -> Report:
    """The JSON report of `rialto replay bitstamp --json`, in a process of its own."""
    command = [str(RIALTO), "replay", "bitstamp", "--json", *arguments]
    if interpreted:
        command = [str(ROOT / "scripts" / "pure"), *command]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    report: Report = json.loads(done.stdout)
    return report


def outcome(report: Report) -> Report:
    """What must not depend on how the core ran."""
    names = ("messages", "trades", "fills_digest", "blocks", "state_root", "market_root", "refused")
    return {name: report[name] for name in names}


def replay_in_process(flow: Flow, size: int, messages: int) -> tuple[Replay, list[bytes]]:
    """The replay, and the market's root after every `POINT` messages."""
    part = flow.messages[:messages]
    with Signatures() as signatures:
        replay = Replay(WALLETS, part[0].time_ms, signatures)
        replay.grant()
        roots = []
        for at in range(0, len(part), size):
            replay.step(part[at : at + size])
            if (at + size) % POINT == 0:
                roots.append(replay.market_root())
    return replay, roots


def test_the_whole_half_hour_makes_the_venues_284_trades(flow: Flow) -> None:
    report = rialto_replay(hash_seed="7")
    assert report["messages"] == len(flow.messages) == 313_787
    assert report["trades"] == 284
    assert report["fills_digest"] == VENUE_FILLS_DIGEST
    assert report["fills_match_venue"] is True


def test_hash_seeds_and_interpretation_leave_roots_and_fills_alone(
    flow: Flow, long_run: bool
) -> None:
    until = () if long_run else ("--until", str(PREFIX))
    first, *others = [rialto_replay(*until, hash_seed=seed) for seed in HASH_SEEDS]
    interpreted = rialto_replay(*until, interpreted=True)
    assert interpreted["core"] == "interpreted"
    for other in (*others, interpreted):
        assert outcome(other) == outcome(first)


def test_the_generated_c_reaches_the_roots_of_every_block(flow: Flow, long_run: bool) -> None:
    messages = len(flow.messages) if long_run else PREFIX
    replay, _ = replay_in_process(flow, 1000, messages)
    wallets = [wallet(number) for number in range(WALLETS)]
    follower = GeneratedFollower(genesis_state(genesis_for(wallets, flow.messages[0].time_ms)))
    for block in replay.blocks:
        roots = follower.apply(block)
        assert roots == (block.header.state_root, block.header.events_root), block.header.height
    assert len(replay.blocks) > messages // 1000


def test_block_sizes_change_no_fill_no_market_root_and_only_named_words(flow: Flow) -> None:
    runs = [replay_in_process(flow, size, PREFIX) for size in SIZES]
    (first, roots), *others = runs
    assert len(set(roots)) == len(roots) == PREFIX // POINT
    assert len(first.findings.trades) >= 20
    ours = memoryview(first.follower.memory.M)
    named = words_of_blocks(ours)
    for other, market_roots in others:
        theirs = memoryview(other.follower.memory.M)
        assert fills_digest(other.findings.trades) == fills_digest(first.findings.trades)
        assert other.findings.refused == first.findings.refused
        assert market_roots == roots
        assert other.follower.head.state_root != first.follower.head.state_root
        different = {n for n in range(ours[layout.END]) if ours[n] != theirs[n]}
        assert different <= named


def words_of_blocks(M: memoryview) -> set[int]:
    """The words that docs/replay.md names: they tell where blocks ended, not what was traded."""
    words = {layout.HEIGHT, layout.TIME, layout.SWEEP_MARKET}
    words |= {M[layout.AT_MARKETS] + layout.MARKET_SWEEP}
    for account in range(M[layout.ACCOUNTS]):
        record = M[layout.AT_ACCOUNTS] + account * 32
        words |= {record + layout.ACCOUNT_TOKENS, record + layout.ACCOUNT_REFILLED}
        keys = [M[layout.AT_KEYS] + (4 * account + n) * 16 for n in range(4)]
        for key in keys:
            words |= set(range(key + layout.KEY_NONCE, key + layout.KEY_SEEN + 4))
    return words
