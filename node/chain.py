"""The chain as this node runs it: the state in memory, what is on the disk, what is certified.

What lives here: keeping a block, certificates, the lock over the state, alarms. What must never
live here: where blocks come from, or start-up (`storage.recovery`, the only way to a state).

The state changes in a thread while a block is applied. Whoever reads it between awaits takes `lock`
first; the leader's own executing needs no lock, because it runs on the loop.
"""

import logging
from typing import Final

import trio

from consensus.authority import Recover
from consensus.chain import State
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import Certificate, decode_certificate, encode_certificate
from consensus.genesis import Genesis
from consensus.sealing import Outcome
from consensus.transition import apply_block
from node.machine import Machine
from node.sealed_block import SealedBlock
from node.tape import BlockKept, Certified, Happened, Tape
from storage.blocks import Blocks
from storage.recovery import Chain as StoredChain
from storage.states import Flush

LEADER: Final = 0
"""Index of the one fixed leader among the genesis validators."""
ALARMS_MAX: Final = 100
log: Final = logging.getLogger(__name__)


class LiveChain:
    """One chain in one node. `certified` is the highest certified height."""

    leader: Final = LEADER

    def __init__(
        self,
        genesis: Genesis,
        validators: ValidatorSet,
        stored: StoredChain,
        machine: Machine,
        tape: Tape,
        recover: Recover,
    ) -> None:
        self.genesis: Final = genesis
        self.validators: Final = validators
        self.state: Final[State] = stored.state
        self.blocks: Final[Blocks] = stored.blocks
        self.tape: Final = tape
        self.lock: Final = trio.Lock()
        self.alarms: Final[list[str]] = []
        self.certified = self._last_certified()
        self._states = stored.states
        self._machine = machine
        self._recover = recover

    def _last_certified(self) -> int:
        """The highest kept block with a certificate; the foundation counts as one."""
        foundation = self.blocks.foundation().height
        for height in range(self.state.head.height, foundation, -1):
            if self.blocks.certificate(height):
                return height
        return foundation

    async def apply(self, sealed: SealedBlock) -> Outcome:
        """Replay a block on top of the head and keep it. Whatever `apply_block` raises, passes."""
        async with self.lock:
            outcome = await self._machine.compute(
                lambda: apply_block(self.state, sealed.block, self._recover)
            )
            flush = self.note(outcome)
        await self.keep(sealed, outcome, flush, is_told=False)
        return outcome

    def note(self, outcome: Outcome) -> Flush | None:
        """Remember what the block changed; what `keep` has to flush after it, if that is due.

        Call it while the state is that of the block's end.
        """
        self._states.note(self.state.memory, outcome.leaves)
        return self._states.take(self.state) if self._states.is_due() else None

    async def keep(
        self, sealed: SealedBlock, outcome: Outcome, flush: Flush | None, *, is_told: bool = True
    ) -> None:
        """Store a block that the state already contains; durable on return.

        `is_told`: its events are on the tape, because a journal made them durable before.
        """
        header, events = sealed.block.header, outcome.events
        await self._machine.disk(
            lambda: self.blocks.append(sealed.block, events, sealed.certificate, sealed.seal)
        )
        if not is_told:
            self.tape.put(Happened(header.height, header.time, events))
        self.tape.put(BlockKept(sealed.block, outcome.hash))
        if flush is not None:
            await self._machine.disk(lambda: self._states.write(flush))
        if sealed.certificate:
            await self.certify(decode_certificate(sealed.certificate))

    async def certify(self, certificate: Certificate) -> None:
        """Keep the checked certificate of a kept block."""
        height = certificate.subject.height
        if height <= self.certified:
            return
        data = encode_certificate(certificate)
        await self._machine.disk(lambda: self.blocks.certify(height, data))
        if height <= self.certified:
            return  # two votes made the same quorum, or a higher block was quicker
        self.certified = height
        self.tape.put(Certified(certificate))

    def alarm(self, text: str) -> None:
        """Something that a person must see; kept for `/health` and the log."""
        log.error("alarm: %s", text)
        self.alarms.append(text)
        del self.alarms[:-ALARMS_MAX]
