"""Votes: ours go out, others' come in, a quorum certifies.

What lives here: the traffic of votes and what follows from it. What must never live here: the
decision that a block is good; whoever calls `vote_for` has replayed it.

Theory. Gossip may lose a vote, and a partition loses many. So a validator repeats its vote for its
head once a second while that head is not certified; a certificate certifies everything below it, so
older votes need no repetition. A certificate for a block that we do not have yet waits for it; one
for another block than ours at a height that we have is a fork, which no rule repairs: a person must
look.
"""

from typing import Final

import trio

from consensus.exceptions import ConsensusError
from consensus.finality.votes import (
    Certificate,
    Subject,
    Vote,
    certify,
    check_vote,
    decode_vote,
    encode_vote,
)
from node.ballots import EQUIVOCATION, WINDOW_HEIGHTS, Ballots
from node.chain import LiveChain
from node.machine import Machine
from node.signer import Signer
from p2p.network import Network, Verdict
from p2p.penalties import INVALID_VOTE
from p2p.topics import VOTES

REPEAT_S: Final = 1.0


class Certifier:
    """One node's part in certifying. Without a signer it only counts; without a network it is the
    one validator of its chain."""

    def __init__(
        self, chain: LiveChain, machine: Machine, signer: Signer | None, network: Network | None
    ) -> None:
        self._chain = chain
        self._machine = machine
        self._signer = signer
        self._network = network
        self._ballots = Ballots(chain.validators, chain.certified, chain.state.head.height)
        self._early: dict[int, Certificate] = {}
        self._last: Vote | None = None
        self._inbox = None
        if network is not None:
            network.validate(VOTES, self._judge)
            self._inbox = network.subscribe(VOTES)

    def _judge(self, peer: str, data: bytes) -> Verdict:
        try:
            vote = decode_vote(data)
        except ConsensusError:
            return Verdict.OFFENCE
        return Verdict.ACCEPT if self._is_wanted(vote) else Verdict.IGNORE

    def _is_wanted(self, vote: Vote) -> bool:
        """Blocks fetched by range bring certificates of their own, so ask the chain."""
        self._ballots.move(self._chain.certified, self._chain.state.head.height)
        return self._ballots.is_wanted(vote)

    async def run(self) -> None:
        """Count what comes in, repeat what is not heard. Nothing to do without a network."""
        if self._inbox is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._repeat)
            async for message in self._inbox:
                try:
                    await self._count(decode_vote(message.data))
                except ConsensusError as error:
                    if error.number == EQUIVOCATION:
                        self._chain.alarm(str(error))
                    assert self._network is not None
                    self._network.offend(message.peer, INVALID_VOTE)

    async def _repeat(self) -> None:
        assert self._network is not None
        while True:
            await trio.sleep(REPEAT_S)
            if self._last is not None and self._last.subject.height > self._chain.certified:
                await self._network.publish(VOTES, encode_vote(self._last))

    async def vote_for(self, subject: Subject) -> None:
        """Vote for a block that this node replayed and kept, if it is a validator's."""
        early = self._early.pop(subject.height, None)
        self._early = {h: one for h, one in self._early.items() if h > subject.height}
        if early is not None:
            await self._certify(early)
            if early.subject != subject:
                return
        if self._signer is None:
            return
        vote = await self._signer.vote(subject)
        self._last = vote
        if self._network is not None:
            await self._network.publish(VOTES, encode_vote(vote))
        await self._count(vote)

    async def _count(self, vote: Vote) -> None:
        """Only the arithmetic is in threads: two votes are counted one after the other."""
        if not self._is_wanted(vote):
            return
        chain = self._chain
        await self._machine.compute(
            lambda: check_vote(chain.genesis.hash, chain.validators, vote)
        )
        if not self._is_wanted(vote):  # it came twice, or a quorum meanwhile
            return
        votes = self._ballots.add(vote)
        if votes:
            await self._certify(
                await self._machine.compute(lambda: certify(chain.validators, votes))
            )

    async def _certify(self, certificate: Certificate) -> None:
        """A checked certificate: keep it if we have the block."""
        height, kept = certificate.subject.height, self._chain.blocks.head().height
        if height > kept:
            self._early[height] = certificate
            while len(self._early) > WINDOW_HEIGHTS:
                del self._early[min(self._early)]
            return
        if self._chain.blocks.height_of(certificate.subject.hash) != height:
            self._chain.alarm(
                f"a quorum certified another block than ours at height {height}: this node is on a "
                "fork; stop it and synchronise into a new directory"
            )
            return
        await self._chain.certify(certificate)
