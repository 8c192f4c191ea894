"""A leader proposes random signed traffic, a follower applies the bytes: they agree on everything.

Refused groups, abandoned blocks and receipts are part of the run, so that whatever the traffic
reaches is reached by them too.
"""

from collections import Counter
from hashlib import sha256
from struct import iter_unpack
from typing import Final

import pytest
from random_traffic import LISTING, RandomTraffic
from signed_chain import SignedChain, fingerprint

from consensus import layout, receipts
from consensus.authority import VerifiedGroup, verify_groups
from consensus.block import (
    QUEUE_TAG,
    Block,
    Header,
    block_hash,
    decode_block,
    encode_block,
    encode_header,
)
from consensus.chain import State, genesis_state
from consensus.da import payload
from consensus.exceptions import InvalidBlock, NotIncludable
from consensus.proposal import Proposal
from consensus.rollup.rebuild import rebuild
from consensus.sealing import Outcome
from consensus.signatures import recover_many
from consensus.state.export import export, import_
from consensus.state.integrity import walk
from consensus.state.memory import regions_of
from consensus.state.tree import StateTree
from consensus.streams import bytes_root
from consensus.transition import apply_block

SEED: Final = 20_261_125
BLOCKS: Final = 400
BLOCKS_LONG: Final = 10_000
OPERATIONS: Final = {*range(1, 12), 16, *range(32, 42)}


def touched(state: State) -> tuple[bytes, list[int], bytes]:
    memory = state.memory
    return bytes(memory.view()), memory.dirty_leaves(), memory.take_events()


class Run:
    """One run; `seen` counts what it reached."""

    def __init__(self, seed: int) -> None:
        self.chain = SignedChain(rate_per_s=100_000, rate_burst=100_000, leaves_max=4000)
        self.traffic = RandomTraffic(self.chain, seed)
        self.seen: Counter[str] = Counter()
        self.queue = bytes(32)
        self.blocks: list[Block] = []

    def step(self) -> None:
        chain, traffic = self.chain, self.traffic
        rng = traffic.chance
        messages = b"".join(traffic.message() for _ in range(rng.choice((0, 0, 1, 3))))
        offered = self.offered()
        before = fingerprint(chain.leader) if rng.random() < 0.1 else None
        proposal = Proposal(chain.leader, chain.opening(rng.randrange(1, 900)), messages, LISTING)
        if before:
            proposal.abandon()
            assert fingerprint(chain.leader) == before
            self.seen["abandoned"] += 1
            proposal = Proposal(chain.leader, chain.opening(), messages, LISTING)
        added = sum(self.offer(proposal, group) for group in offered)
        block, sealed = proposal.seal()
        self.post(block)
        outcome = apply_block(chain.follower, decode_block(encode_block(block)))
        assert outcome == sealed
        self.blocks.append(block)
        assert len(block.signatures) == 65 * added
        self.agree(block, outcome)
        self.count(block, outcome.events)
        traffic.learn(outcome.events)

    def offered(self) -> list[VerifiedGroup]:
        """Groups for the block that is open, verified before it would be: signed ones and bad."""
        traffic = self.traffic
        signed = [
            traffic.bad_group() if traffic.some(0.2) else traffic.group()
            for _ in range(traffic.chance.randrange(8))
        ]
        groups = verify_groups(self.chain.leader, signed, recover_many)
        return [group for group in groups if group is not None]

    def offer(self, proposal: Proposal, verified: VerifiedGroup) -> int:
        """1 if the group is in the block; a refused one leaves no trace."""
        before = touched(self.chain.leader)
        try:
            proposal.add(verified)
        except (NotIncludable, InvalidBlock) as error:
            assert touched(self.chain.leader) == before
            self.seen[f"E{error.number}"] += 1
            return 0
        return 1

    def agree(self, block: Block, outcome: Outcome) -> None:
        leader, follower = self.chain.leader, self.chain.follower
        header = follower.head
        assert (leader.head, leader.head_hash) == (header, outcome.hash)
        assert leader.memory.view() == follower.memory.view()
        assert outcome.hash == sha256(b"rialto/header/1" + encode_header(header)).digest()
        tree = StateTree(regions_of(follower.memory.M), layout.LAYOUT_VERSION)
        tree.rebuild(follower.memory.view())
        assert tree.root() == header.state_root
        withdrawn = [
            outcome.events[at : at + 64]
            for at in range(0, len(outcome.events), 64)
            if outcome.events[at] == layout.EVENT_WITHDRAWN
        ]
        assert outcome.withdrawals == b"".join(withdrawn)
        assert header.withdrawals_root == bytes_root("withdrawals", b"".join(withdrawn))
        assert header.events_root == bytes_root("events", outcome.events)
        self.seen["withdrawals"] += len(withdrawn)
        self.receive(header, outcome.events)
        self.chain_queue(block.messages)
        assert header.l1_queue_hash == self.queue

    def receive(self, header: Header, events: bytes) -> None:
        """Every operation has its receipt, which shows all of its events and no other's."""
        shown = b""
        for sequence in range(header.sequence - header.commands + 1, header.sequence + 1):
            data = receipts.encode_receipt(receipts.make(header, events, sequence))
            found = receipts.verify(receipts.decode_receipt(data), block_hash(header))
            assert {words[1] for words in iter_unpack("<8q", found)} == {sequence}
            shown += found
        first = len(events) - len(shown)
        assert events[first:] == shown
        old = {words[1] for words in iter_unpack("<8q", events[:first])}
        assert old <= {header.sequence - header.commands}, "only sweeps may have no receipt"

    def post(self, block: Block) -> None:
        """What is posted of the block gives it back, on the state before it, which stays so."""
        header = block.header
        body = payload.BlockBody(
            header.time, header.round, header.proposer, header.l1_number, header.l1_hash,
            header.l1_time, block.messages, block.commands, block.signatures,
        )  # fmt: skip
        (back,) = payload.decode(payload.decompress(payload.compress(payload.encode([body]))))
        state = self.chain.follower
        is_watched = self.traffic.chance.random() < 0.1
        before = fingerprint(state) if is_watched else None
        assert rebuild(state, back) == block
        assert before is None or fingerprint(state) == before

    def chain_queue(self, rows: bytes) -> None:
        """The queue hash, from the rows alone."""
        while rows:
            size = 64 * (1 + rows[1])
            item = rows[:8] + bytes(8) + rows[16:size]
            self.queue = sha256(QUEUE_TAG + self.queue + item).digest()
            rows = rows[size:]

    def count(self, block: Block, events: bytes) -> None:
        rows = block.messages + block.commands
        at = 0
        while at < len(rows):
            count = rows[at + 1]
            for row in range(1, count + 1):
                self.seen[f"op {rows[at + 64 * row]}"] += 1
            self.seen[f"key {rows[at + 2]}"] += 1
            at += 64 * (1 + count)
        for words in iter_unpack("<8q", events):
            kind = words[0] & 255
            self.seen[f"event {kind}"] += 1
            if kind == layout.EVENT_REFUSED:
                self.seen[f"refusal {words[0] >> 8 & 255}"] += 1


def test_leader_and_follower_agree_on_every_root_over_random_signed_blocks(
    long_run: bool, core_is_compiled: bool
) -> None:
    """Every block: words, tree rebuilt, streams, queue, receipts; every tenth: export and walk."""
    print("seed", SEED)
    run = Run(SEED)
    blocks = BLOCKS_LONG if long_run else BLOCKS if core_is_compiled else BLOCKS // 3
    for n in range(blocks):
        run.step()
        if n % 10 == 9:
            memory = run.chain.follower.memory
            assert walk(memory) == []
            assert import_(export(memory)).tree.root() == run.chain.follower.head.state_root
    print(sorted(run.seen.items()))
    if not core_is_compiled and not long_run:
        return
    assert {f"op {op}" for op in OPERATIONS} <= set(run.seen)
    assert {f"key {key}" for key in (0, 253, 254, 255)} <= set(run.seen)
    assert {f"event {kind}" for kind in range(1, 15)} <= set(run.seen)
    assert {"E4001", "E4003", "E4004", "E4005", "E4006", "E4007", "E4009", "E4010"} <= set(run.seen)
    assert run.seen["abandoned"] > 2 and run.seen["withdrawals"] > 2
    assert sum(name.startswith("refusal") for name in run.seen) >= 12
    assert len(run.chain.follower.memory.tree.regions) > 2, "no market was listed"


@pytest.mark.parametrize("seed", range(2))
def test_a_follower_that_joins_late_reaches_the_same_head_from_the_blocks_alone(seed: int) -> None:
    print("seed", seed)
    run = Run(seed)
    for _ in range(12):
        run.step()
    late = genesis_state(run.chain.genesis)
    for block in run.blocks:
        apply_block(late, block)
    assert fingerprint(late) == fingerprint(run.chain.leader)
