"""The follower: take blocks by gossip or by range, replay each, vote for what holds.

What lives here: where the next block comes from, and what happens when one does not hold. What must
never live here: a rule; `apply_block` has them all.

Theory. Gossip is lossy and unordered, so a gossiped block only waits in a small window for its
turn. If the next one does not come although a peer's status says that it exists, it is asked for by
range. Every block came from the leader: its seal is checked before anything else of it is looked
at, and a peer that hands on a block without a good seal pays for it.

A sealed block that breaks a rule is the leader's fault, not the peer's: the node keeps the block's
hash and the rule, does not vote, raises an alarm and stays where it is, serving what it has. A
fault of our own core stops the node.
"""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

import trio

from consensus.exceptions import ConsensusError, CoreFault
from node.certifier import Certifier
from node.chain import LiveChain
from node.machine import Machine
from node.sealed_block import SealedBlock, check_origin, decode_sealed
from p2p.exceptions import PeerFault
from p2p.exchange.blocks import BlockRange, encode_range
from p2p.network import Head, Network, Refused, Verdict
from p2p.penalties import INVALID_BLOCK
from p2p.topics import BLOCKS, BLOCKS_BY_RANGE

WINDOW_BLOCKS: Final = 64
PATIENCE_S: Final = 0.5
"""How long the next block may be missing before it is asked for."""
RANGE_BLOCKS: Final = 64
BREACHES_MAX: Final = 64


class Breach(NamedTuple):
    """A block that the leader sealed and that breaks a rule."""

    height: int
    hash: bytes
    number: int
    text: str


class Follower:
    """Run `run` in a nursery. `breaches` are the sealed blocks that did not hold."""

    def __init__(
        self, chain: LiveChain, machine: Machine, certifier: Certifier, network: Network
    ) -> None:
        self._chain = chain
        self._machine = machine
        self._certifier = certifier
        self._network = network
        self._waiting: dict[int, SealedBlock] = {}
        self._news = trio.Event()
        self._moved_at = -math.inf  # when the head moved, or was asked for, last
        self.breaches: dict[bytes, Breach] = {}
        network.validate(BLOCKS, self._judge)
        self._inbox = network.subscribe(BLOCKS)

    def _judge(self, peer: str, data: bytes) -> Verdict:
        """Cheap first: form, height; then the leader's seal."""
        try:
            sealed = decode_sealed(data)
            height = sealed.block.header.height
            head = self._chain.state.head.height
            if not head < height <= head + WINDOW_BLOCKS or sealed.subject.hash in self.breaches:
                return Verdict.IGNORE
            self._check_origin(sealed)
        except ConsensusError:
            return Verdict.OFFENCE
        return Verdict.ACCEPT

    def _check_origin(self, sealed: SealedBlock) -> None:
        chain = self._chain
        check_origin(chain.genesis.hash, chain.validators, chain.leader, sealed)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect)
            nursery.start_soon(self._advance)

    async def _collect(self) -> None:
        async for message in self._inbox:
            self._put(decode_sealed(message.data))

    def _put(self, sealed: SealedBlock) -> None:
        height = sealed.block.header.height
        head = self._chain.state.head.height
        if head < height <= head + WINDOW_BLOCKS:
            self._waiting.setdefault(height, sealed)
        if height == head + 1:
            self._news.set()

    async def _advance(self) -> None:
        """Apply what comes next; ask for it when it does not come by itself."""
        while True:
            self._announce()
            sealed = self._waiting.pop(self._chain.state.head.height + 1, None)
            if sealed is not None:
                await self._apply(sealed)
                continue
            self._news = trio.Event()
            with trio.move_on_at(self._moved_at + PATIENCE_S) as patience:
                await self._news.wait()
            if patience.cancelled_caught and not await self._catch_up():
                self._moved_at = trio.current_time()

    def _announce(self) -> None:
        state = self._chain.state
        self._network.announce(Head(state.head.height, state.head_hash, self._chain.certified))

    async def _apply(self, sealed: SealedBlock) -> bool:
        """Replay, keep, vote; False if the block does not hold."""
        subject = sealed.subject
        try:
            await self._chain.apply(sealed)
        except CoreFault:
            raise
        except ConsensusError as error:
            breach = Breach(subject.height, subject.hash, error.number, error.text)
            self.breaches[subject.hash] = breach
            if len(self.breaches) > BREACHES_MAX:
                del self.breaches[next(iter(self.breaches))]
            self._chain.alarm(
                f"the leader sealed block {subject.height} ({subject.hash.hex()}), which breaks "
                f"rule {error.number}: {error.text}; not voted for"
            )
            return False
        self._moved_at = trio.current_time()
        self._waiting = {h: one for h, one in self._waiting.items() if h > subject.height}
        await self._certifier.vote_for(subject)
        return True

    async def _catch_up(self) -> bool:
        """Ask the peers that are ahead of us, the furthest first, for the blocks that follow.

        A status is seconds old. A block that waits for one below it says more: then ask everybody.
        True if that brought us on, so that there may be more.
        """
        ours = -1 if self._waiting else self._chain.state.head.height
        ahead = [
            (facts.head.height, facts.peer)
            for facts in self._network.peers()
            if facts.ready and facts.head is not None and facts.head.height > ours
        ]
        for _, peer in sorted(ahead, reverse=True):
            if await self._ask(peer):
                return True
        return False

    async def _ask(self, peer: str) -> bool:
        """Apply a range of blocks of one peer; whether it brought us on."""
        first = self._chain.state.head.height + 1
        request = encode_range(BlockRange(first, RANGE_BLOCKS))
        brought = False
        try:
            async with aclosing(self._blocks_of(peer, request)) as blocks:
                async for sealed in blocks:
                    if sealed.block.header.height != self._chain.state.head.height + 1:
                        break  # not the one that was asked for
                    if sealed.subject.hash in self.breaches:
                        return brought
                    self._check_origin(sealed)
                    if not await self._apply(sealed):
                        return brought
                    self._announce()
                    brought = True
        except (PeerFault, Refused):
            return brought
        except CoreFault:
            raise
        except ConsensusError:
            self._network.offend(peer, INVALID_BLOCK)
        return brought

    async def _blocks_of(self, peer: str, request: bytes) -> AsyncGenerator[SealedBlock, None]:
        async for chunk in self._network.request(peer, BLOCKS_BY_RANGE, request):
            yield decode_sealed(chunk)


