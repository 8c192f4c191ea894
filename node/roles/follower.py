"""The follower: take blocks by gossip or by range, replay each, vote for what holds.

What lives here: where the next block comes from, and what happens when one does not hold. What must
never live here: a rule; `apply_block` has them all.

Theory. Gossip is lossy and unordered, so a gossiped block only waits in a small window for its
turn. If the next one does not come, it is asked for by range (`catch_up.py`). Every block came from
the leader: its seal is checked before anything else of it is looked at, and a peer that hands on a
block without a good seal pays for it.

A block whose L1 origin this node's own L1 has not finalized yet waits in the window, and everything
behind it (`node/l1/origin.py`).

A sealed block that breaks a rule is the leader's fault, not the peer's: the node keeps the block's
hash and the rule, does not vote, raises an alarm and stays where it is, serving what it has, until
a block comes that holds. Before it blames the leader it looks at itself: if its own memory is not
the state of its head, or a share of it rehashed after each block differs, the node stops with a
report (`node/divergence.py`) instead of voting. A fault of our own core stops the node too.
"""

import math
from typing import Final, NamedTuple

import trio

from consensus.exceptions import ConsensusError, CoreFault
from consensus.finality.votes import Subject
from node.certifier import Certifier
from node.chain import LiveChain
from node.divergence import Examiner
from node.l1.origin import Origins
from node.machine import Machine
from node.roles.catch_up import CatchUp
from node.sealed_block import SealedBlock, check_origin, decode_sealed
from p2p.network import Head, Network, Verdict
from p2p.topics import BLOCKS

DOUBLE_SEAL: Final = 7342

WINDOW_BLOCKS: Final = 64
CANDIDATES_MAX: Final = 4
"""Blocks kept for one height: an honest leader seals one."""
BREACHES_MAX: Final = 256
PATIENCE_S: Final = 0.5
"""How long the next block may be missing before it is asked for."""


class Breach(NamedTuple):
    """A block that the leader sealed and that breaks a rule."""

    height: int
    hash: bytes
    number: int
    text: str


class Follower:
    """Run `run` in a nursery. `breaches` are the sealed blocks that did not hold."""

    def __init__(
        self,
        chain: LiveChain,
        machine: Machine,
        certifier: Certifier,
        network: Network,
        examiner: Examiner,
        origins: Origins,
    ) -> None:
        self._chain = chain
        self._certifier = certifier
        self._network = network
        self._examiner = examiner
        self._origins = origins
        self._catch_up = CatchUp(chain, machine, network, self._take)
        self._waiting: dict[int, dict[bytes, SealedBlock]] = {}
        self._news = trio.Event()
        self._lags = False  # the next block waits for our L1
        self._moved_at = -math.inf  # when the head moved, or was asked for, last
        self.breaches: dict[bytes, Breach] = {}
        network.validate(BLOCKS, self._judge)
        self._inbox = network.subscribe(BLOCKS)

    # -- gossip ------------------------------------------------------------------------------

    def _judge(self, peer: str, data: bytes) -> Verdict:
        """Cheap first: form, height, known or not; then the leader's seal."""
        try:
            sealed = decode_sealed(data)
            subject = sealed.subject
            if not self._is_wanted(subject):
                return Verdict.IGNORE
            check_origin(
                self._chain.genesis.hash, self._chain.validators, self._chain.leader, sealed
            )
        except ConsensusError:
            return Verdict.OFFENCE
        if subject.height <= self._chain.state.head.height:
            self._note_double(subject, self._kept(subject.height))
            return Verdict.IGNORE
        return Verdict.ACCEPT

    def _is_wanted(self, subject: Subject) -> bool:
        """Whether the block could be the next, or proves that the leader sealed two."""
        head = self._chain.state.head.height
        lowest = max(self._chain.blocks.foundation().height, head - WINDOW_BLOCKS)
        if not lowest < subject.height <= head + WINDOW_BLOCKS or subject.hash in self.breaches:
            return False
        if subject.height <= head:
            kept = self._kept(subject.height)
            return kept is not None and kept.hash != subject.hash
        return subject.hash not in self._waiting.get(subject.height, {})

    def _kept(self, height: int) -> Subject | None:
        """What was sealed at a height that is kept; None while it is being written."""
        chain = self._chain
        if height > chain.blocks.head().height:
            return None
        return SealedBlock(chain.blocks.block(height), b"").subject

    def _note_double(self, subject: Subject, other: Subject | None) -> None:
        """Two seals of the leader at one height and round prove its fault."""
        if other is None or other.hash == subject.hash or other.round != subject.round:
            return
        text = f"the leader sealed two blocks at height {subject.height}, round {subject.round}"
        hashes = f"{other.hash.hex()} and {subject.hash.hex()}"
        self._breach(subject, DOUBLE_SEAL, f"{text}: {hashes}")

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect)
            nursery.start_soon(self._advance)

    async def _collect(self) -> None:
        async for message in self._inbox:
            self._put(decode_sealed(message.data))

    def _put(self, sealed: SealedBlock) -> None:
        subject = sealed.subject
        head = self._chain.state.head.height
        if not head < subject.height <= head + WINDOW_BLOCKS or subject.hash in self.breaches:
            return
        candidates = self._waiting.setdefault(subject.height, {})
        for other in candidates.values():
            self._note_double(subject, other.subject)
        if len(candidates) < CANDIDATES_MAX:
            candidates[subject.hash] = sealed
        if subject.height == head + 1:
            self._news.set()

    # -- one block after the other -----------------------------------------------------------

    async def _advance(self) -> None:
        """Apply what comes next; ask for it when it does not come by itself."""
        while True:
            self._announce()
            self._lags = False
            if await self._take_waiting():
                continue
            if self._lags:
                with trio.move_on_after(PATIENCE_S):
                    await self._origins.wait()
                continue
            self._news = trio.Event()
            with trio.move_on_at(self._moved_at + PATIENCE_S) as patience:
                await self._news.wait()
            if patience.cancelled_caught:
                await self._ask_for_more()

    async def _ask_for_more(self) -> None:
        """Blocks by range, until no peer has more or our L1 has to come first."""
        while await self._catch_up.once(max(self._waiting, default=0)):
            self._announce()
            if self._lags:
                break
        self._moved_at = trio.current_time()

    def _announce(self) -> None:
        state = self._chain.state
        self._network.announce(Head(state.head.height, state.head_hash, self._chain.certified))

    async def _take_waiting(self) -> bool:
        """Take the next block out of the window; the first of several that holds."""
        candidates = self._waiting.pop(self._chain.state.head.height + 1, {})
        for sealed in candidates.values():
            if await self._take(sealed):
                return True
        return False

    async def _take(self, sealed: SealedBlock) -> bool:
        """Replay, keep, vote; False if the block does not hold, or must wait for our L1.

        Raises `NodeError` 742x if it is this node that is wrong.
        """
        subject = sealed.subject
        if subject.hash in self.breaches and self.breaches[subject.hash].number != DOUBLE_SEAL:
            return False
        try:
            if not await self._origins.check(sealed.block):
                self._lags = True
                self._waiting.setdefault(subject.height, {})[subject.hash] = sealed
                return False
            await self._chain.apply(sealed)
        except CoreFault:
            raise
        except ConsensusError as error:
            await self._examiner.blame(sealed.block)
            self._breach(subject, error.number, error.text)
            return False
        self._moved_at = trio.current_time()
        await self._examiner.share()
        self._waiting = {h: one for h, one in self._waiting.items() if h > subject.height}
        await self._certifier.vote_for(subject)
        return True

    def _breach(self, subject: Subject, number: int, text: str) -> None:
        """Keep what the leader did, and tell it."""
        if subject.hash in self.breaches:
            return
        self.breaches[subject.hash] = Breach(subject.height, subject.hash, number, text)
        if len(self.breaches) > BREACHES_MAX:
            del self.breaches[next(iter(self.breaches))]
        self._chain.alarm(
            f"the leader sealed block {subject.height} ({subject.hash.hex()}), which breaks "
            f"rule {number}: {text}; not voted for"
        )
