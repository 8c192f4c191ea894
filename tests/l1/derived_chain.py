"""A bridge whose batches can be derived: origins are the L1's own blocks, blobs carry the blocks.

What lives here: everybody's honest part, and the archive that the committer fills. What must never
live here: an expectation.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Final

from bridge_chain import OWNERS, Bridge, Posted
from l1_wallets import ETHER, address, sidecar_of
from signed_chain import Signed

from consensus.block import Header
from consensus.da import kzg, payload
from consensus.da.payload import BlockBody
from consensus.genesis import Genesis
from consensus.rollup.origin import AddressOrder, Origin, place_messages
from consensus.signatures import recover_many
from node.l1 import trusted_setup
from node.l1.archive import Archive, BlobSource
from node.l1.batches import Range, draft
from node.l1.derive import Blobs, Derivation
from node.l1.embedded.rpc import EmbeddedL1
from node.l1.surface import L1

START: Final = 1_735_690_000
"""After the genesis of tests: no block is ahead of its origin for long."""


@cache
def commitment(blob: bytes) -> bytes:
    return kzg.commit(blob, trusted_setup.load())


class Kept:
    """An archive as a source of blobs; `blobs` are open to damage."""

    where = "the archive"

    def __init__(self) -> None:
        self.blobs: dict[bytes, bytes] = {}

    async def read(self, name: bytes, block: Any) -> bytes | None:
        return self.blobs.get(name)


class PostingBridge(Bridge):
    def __init__(self, l1: Any = None, **changes: Any) -> None:
        names = ("operator", *OWNERS, "guardian", "governor", "stranger")
        balances = {address(name): 10**6 * ETHER for name in names}
        embedded = EmbeddedL1(balances, clock=lambda: START, epoch_blocks=1)
        super().__init__(l1=l1 or embedded, **changes)
        self.kept: Final = Kept()
        self._order: Final = AddressOrder()

    @property
    def l1(self) -> EmbeddedL1:
        found: EmbeddedL1 = self.wallets.l1
        return found

    @property
    def genesis(self) -> Genesis:
        return self.chain.genesis

    def block(self, *signed: Signed, upto: int | None = None) -> None:
        """A block on the newest final L1 block, with what that brings (or the queue's `upto`)."""
        self.l1.chain.finalize()
        self._adopt()
        state = self.chain.leader
        due = self.items[state.head.l1_messages : upto]
        opening = self.chain.opening()
        origin = Origin(opening.l1_number, opening.l1_hash, opening.l1_time)
        messages = place_messages(state, opening.time, origin, due, self._order)
        self._step(signed, messages)

    def _adopt(self) -> None:
        block = self.l1.answer("eth_getBlockByNumber", "finalized", False)
        number, time = int(block["number"], 16), int(block["timestamp"], 16)
        self.chain.origin = (number, bytes.fromhex(block["hash"][2:]), time)

    def taken(self) -> Range:
        """The blocks of the next batch."""
        blocks = tuple(self.chain.blocks[self.blocks_posted :])
        return Range(self._parent(), blocks, self.withdrawals_of(list(blocks)))

    def _parent(self) -> Header:
        if self.blocks_posted:
            return self.chain.blocks[self.blocks_posted - 1].header
        return self.derivation().state.head

    def post(self, **changes: Any) -> Posted:
        """The next batch as nodes make it; `changes` of the batch, signed by the committee."""
        made = draft(len(self.summaries), self.taken(), self.genesis.settlement)
        batch = made.with_commitments([commitment(blob) for blob in made.blobs])
        return self.post_as(made.carried, **{"payload_hash": batch.payload_hash, **changes})

    def post_payload(self, change: Callable[[list[BlockBody]], list[BlockBody]]) -> Posted:
        """The next batch, but its payload holds other bodies."""
        made = draft(len(self.summaries), self.taken(), self.genesis.settlement)
        bodies = change(payload.decode(payload.decompress(made.carried)))
        return self.post_as(payload.compress(payload.encode(bodies)))

    def post_as(self, carried: bytes, **changes: Any) -> Posted:
        """The next batch with these bytes in its blobs, which the archive keeps."""
        sidecar = sidecar_of(carried)
        batch, _ = self.batch(carried)
        batch = replace(batch, **changes)
        posted = self.commit(
            carried, batch=batch, sidecar=sidecar, place=self.place(batch),
            signed=self.attested(batch),
        )  # fmt: skip
        self.kept.blobs |= dict(zip(sidecar.hashes, sidecar.blobs, strict=True))
        return posted

    def source(self, *sources: BlobSource, archive: Archive | None = None) -> Blobs:
        return Blobs(sources or [self.kept], commitment, archive)

    def derivation(self, l1: L1 | None = None, blobs: Blobs | None = None) -> Derivation:
        return Derivation(
            l1 or self.l1, self.genesis, self.deployment, blobs or self.source(), recover_many
        )

