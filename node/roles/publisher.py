"""After the seal: sign, keep, gossip, vote.

What lives here: what happens to the leader's sealed blocks, in order. What must never live here:
execution; the next block is being executed meanwhile.

Theory. A block is signed once the journal holds its seal, kept in one synced write, and told then.
If the node dies between any two of these, the journal makes the same block again, `LastSigned`
allows the same signature again, and the rest is repeated.

A block too large for gossip is announced only: followers see our head in the status and ask for it
by range. The sequencer seals before that happens, but L1 messages may fill a block by themselves.
"""

from typing import Final

import trio

from consensus.finality.votes import Subject
from node.certifier import Certifier
from node.chain import LiveChain
from node.engine import Sealed
from node.machine import Machine
from node.sealed_block import SealedBlock, encode_sealed
from node.signer import Signer
from p2p.network import Head, Network
from p2p.topics import BLOCKS, TOPICS
from storage.journal import Journal
from storage.states import Flush

WAITING_BLOCKS_MAX: Final = 16


class Publisher:
    """`publish` queues a sealed block; `run` does the work, in order."""

    def __init__(
        self,
        chain: LiveChain,
        journal: Journal,
        machine: Machine,
        signer: Signer,
        certifier: Certifier,
        network: Network | None,
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._machine = machine
        self._signer = signer
        self._certifier = certifier
        self._network = network
        self._send, self._receive = trio.open_memory_channel[
            tuple[Sealed, Flush | None, trio.Event]
        ](WAITING_BLOCKS_MAX)
        self._unpublished = 0

    async def publish(self, sealed: Sealed, flush: Flush | None, durable: trio.Event) -> None:
        """Queue it; waits when 16 blocks wait already. `durable`: its seal is on the disk."""
        self._unpublished += 1
        await self._send.send((sealed, flush, durable))

    async def run(self) -> None:
        async for sealed, flush, durable in self._receive:
            await durable.wait()
            await self.out(sealed, flush)
            self._unpublished -= 1

    async def drained(self) -> None:
        """Return when nothing waits."""
        while self._unpublished:
            await trio.sleep(0.01)

    async def out(self, sealed: Sealed, flush: Flush | None) -> None:
        """Everything that happens to one block whose seal is durable."""
        header = sealed.block.header
        subject = Subject(header.height, header.round, sealed.outcome.hash)
        signed = SealedBlock(sealed.block, await self._signer.seal(subject))
        await self._chain.keep(signed, sealed.outcome, flush)
        await self._machine.disk(lambda: self._journal.drop(header.height))
        if self._network is not None:
            head = Head(header.height, sealed.outcome.hash, self._chain.certified)
            self._network.announce(head)
            data = encode_sealed(signed)
            if len(data) <= TOPICS[BLOCKS].message_bytes_max:
                await self._network.publish(BLOCKS, data)
        await self._certifier.vote_for(subject)
