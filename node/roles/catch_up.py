"""Blocks by range: how a follower gets what gossip did not bring.

What lives here: whom to ask, what an answer must look like, and who pays when it does not. What
must never live here: what a block does; `take` applies it.

Theory. The peers that say they are ahead are asked one after the other, those first that did not
fail lately, then the furthest. A peer that stops midway, is too slow or has pruned the range is no
offender: the next one is asked for the rest. Blocks out of order, or ones that the leader did not
seal, are offences: an honest node has checked what it keeps.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from enum import Enum
from functools import partial
from typing import Final

from consensus.exceptions import CoreFault, InvalidEncoding, InvalidSignature, InvalidVote
from node.chain import LiveChain
from node.machine import Machine
from node.sealed_block import SealedBlock, check_origin, decode_sealed
from node.serving import PRUNED
from p2p.exceptions import PeerFault
from p2p.exchange.blocks import BlockRange, encode_range
from p2p.network import Network, Refused
from p2p.penalties import FALSE_RESPONSE, INVALID_BLOCK
from p2p.topics import BLOCKS_BY_RANGE

RANGE_BLOCKS: Final = 128
FAILURES_KEPT: Final = 256
log: Final = logging.getLogger(__name__)

Take = Callable[[SealedBlock], Awaitable[bool]]
"""Replays and keeps the next block; False if it does not hold."""


class Brought(Enum):
    """What asking a peer came to."""

    BLOCKS = "blocks"
    NOTHING = "nothing"
    PRUNED = "pruned"


class CatchUp:
    """`once` asks the peers that are ahead until one brings the chain on."""

    def __init__(self, chain: LiveChain, machine: Machine, network: Network, take: Take) -> None:
        self._chain = chain
        self._machine = machine
        self._network = network
        self._take = take
        self._failures: dict[str, int] = {}
        self._told_pruned = False

    def _height(self) -> int:
        return self._chain.state.head.height

    async def once(self, seen: int = 0) -> bool:
        """Whether any peer brought us at least one block.

        `seen` is the highest block that gossip brought: heads are told every few seconds only, so
        with it above ours every peer may have what we lack.
        """
        ours = self._height()
        ahead = [
            (self._failures.get(facts.peer, 0), -facts.head.height, facts.peer)
            for facts in self._network.peers()
            if facts.ready and facts.head is not None and max(facts.head.height, seen) > ours
        ]
        pruned = 0
        for _, _, peer in sorted(ahead):
            brought = await self._ask(peer)
            if brought is Brought.BLOCKS:
                self._told_pruned = False
                return True
            pruned += brought is Brought.PRUNED
        if ahead and pruned == len(ahead) and not self._told_pruned:
            self._told_pruned = True
            self._chain.alarm(
                f"no connected peer keeps block {ours + 1} any more: stop this node, move its "
                "database directory away and start it again, it begins at a snapshot of its peers"
            )
        return False

    def _failed(self, peer: str, why: object) -> None:
        log.warning("no blocks from this peer: %s", why, extra={"peer": peer})
        self._failures[peer] = self._failures.pop(peer, 0) + 1
        if len(self._failures) > FAILURES_KEPT:
            del self._failures[next(iter(self._failures))]

    async def _ask(self, peer: str) -> Brought:
        """Apply a range of blocks of one peer."""
        first = self._height() + 1
        request = encode_range(BlockRange(first, RANGE_BLOCKS))
        try:
            async with aclosing(self._blocks_of(peer, request)) as blocks:
                await self._apply(peer, first, blocks)
        except Refused as refused:
            if refused.code == PRUNED:
                return Brought.PRUNED
            self._failed(peer, refused)
        except PeerFault as fault:
            self._failed(peer, fault)
        except CoreFault:
            raise
        except (InvalidEncoding, InvalidSignature, InvalidVote) as error:
            self._failed(peer, error)
            self._network.offend(peer, INVALID_BLOCK)
        return Brought.BLOCKS if self._height() >= first else Brought.NOTHING

    async def _apply(
        self, peer: str, first: int, blocks: AsyncGenerator[SealedBlock, None]
    ) -> None:
        expected = first
        async for sealed in blocks:
            height = sealed.block.header.height
            if height != expected:
                self._failed(peer, f"block {height} where {expected} was due")
                self._network.offend(peer, FALSE_RESPONSE)
                return
            expected += 1
            if height <= self._height():
                continue  # gossip was faster
            await self._machine.compute(partial(self._check_origin, sealed))
            if not await self._take(sealed):
                return

    def _check_origin(self, sealed: SealedBlock) -> None:
        chain = self._chain
        check_origin(chain.genesis.hash, chain.validators, chain.leader, sealed)

    async def _blocks_of(self, peer: str, request: bytes) -> AsyncGenerator[SealedBlock, None]:
        async for chunk in self._network.request(peer, BLOCKS_BY_RANGE, request):
            yield decode_sealed(chunk)
