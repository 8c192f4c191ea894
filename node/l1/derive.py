"""A chain out of its genesis file, L1 and posted blobs, and nothing else.

What lives here: the way from a batch on L1 to its blocks, and every comparison with L1 on it. What
must never live here: a word of a node, or a rule of blocks (`apply_block` has them).

Theory. L1 says of a batch its summary and the names of its blobs. The blobs hold what proposers
chose; everything else of a block is computed (`consensus/rollup/rebuild.py`), so each block is
executed from genesis with every check, signatures included. Its L1 origin must be a block of this
L1, and its messages the queue items that this origin brings. What comes out is the batch that the
committee signed, or it is not: the batch hash covers every root, and the summary is the contract's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from consensus.authority import Recover
from consensus.block import MESSAGES_MAX, Block, Header
from consensus.chain import State, genesis_state
from consensus.da import payload
from consensus.da.blobs import unpack
from consensus.da.payload import BlockBody
from consensus.exceptions import ConsensusError, CoreFault, InvalidBlock, InvalidPayload
from consensus.genesis import Genesis
from consensus.rollup.batch import Batch, batch_hash
from consensus.rollup.origin import (
    ORIGIN_OTHER,
    Item,
    check_origin_block,
    check_queue,
    is_full,
)
from consensus.rollup.rebuild import rebuild
from consensus.transition import apply_block
from node.exceptions import NodeError
from node.l1.archive import Archive, BlobSource, Commit, find_blob
from node.l1.batches import Range, batch_of, shown
from node.l1.carrier import Carrier, read_carrier
from node.l1.client import Client
from node.l1.deployment import Deployment, check_deployment
from node.l1.history import History, check_still, check_summaries, read_history
from node.l1.surface import L1
from storage.l1_facts import PostedBatch

DERIVED_REFUSED: Final = 7784
DERIVED_OTHER: Final = 7785

Kept = Callable[[Header, bytes], object]
"""Told of each block: its header and hash."""


@dataclass(frozen=True, slots=True)
class Blobs:
    """Where blobs come from, how their commitments are made, and where found ones are kept."""

    sources: Sequence[BlobSource]
    commit: Commit
    archive: Archive | None = None


@dataclass(slots=True)
class Sizes:
    """Of what was derived. `carried`: bytes of compressed payloads; `bare`: without signatures."""

    batches: int = 0
    commands: int = 0
    blobs: int = 0
    carried: int = 0
    bare: int = 0
    gas: int = 0
    blob_gas: int = 0


class Derivation:
    """The chain as far as it is derived; its `state` is at the last block, `withdrawn` has the
    height and the WITHDRAWN events of each block with any."""

    def __init__(
        self, l1: L1, genesis: Genesis, deployment: Deployment, blobs: Blobs, recover: Recover
    ) -> None:
        self.state: Final[State] = genesis_state(genesis)
        self.sizes: Final = Sizes()
        self.withdrawn: Final[list[tuple[int, bytes]]] = []
        self._genesis: Final = genesis
        self._l1: Final = l1
        self._client: Final = Client(l1, deployment.contract)
        self._deployment: Final = deployment
        self._blobs: Final = blobs
        self._recover: Final = recover

    async def read(self, tag: str) -> History:
        """What is posted up to the L1 block that `tag` names, by this chain's own contract.

        Raises `NodeError` 7791 for another chain's, 7782, 7753.
        """
        await check_deployment(self._l1, self._deployment, self._genesis, self.state.head)
        posted = await read_history(self._l1, self._deployment, tag)
        await check_summaries(self._client, posted, range(len(posted.summaries)))
        return posted

    async def run(self, posted: History, batches: int, kept: Kept) -> None:
        """Derive the first `batches` of what is posted.

        Raises `NodeError` 7780, 7781 for a blob that is not to be had, 7784 for a block or payload
        that breaks a rule, 7785 for results that are not those on L1: each with batch and height.
        7783 if L1 was reorganised meanwhile.
        """
        for batch in posted.batches[:batches]:
            await self._batch(batch, posted.items, kept)
        await check_still(self._client, posted)

    async def _batch(self, batch: PostedBatch, items: Sequence[Item], kept: Kept) -> None:
        parent = self.state.head
        carrier = await read_carrier(self._l1, self._deployment, batch)
        carried = await self._carried(batch, carrier)
        try:
            data = payload.decompress(carried)
            bodies = payload.decode(data)
        except InvalidPayload as error:
            raise self._refused(batch, str(error), error.number) from error
        blocks, withdrawals = [], []
        for body in bodies:
            block, withdrawn = await self._block(batch, body, items)
            blocks.append(block)
            withdrawals.append(withdrawn)
            kept(self.state.head, self.state.head_hash)
        taken = Range(parent, tuple(blocks), b"".join(withdrawals))
        ours = replace(batch_of(batch.number, taken, data), blob_hashes=carrier.blob_hashes)
        _compare(batch, ours)
        self._count(carrier, len(carried), blocks, bodies)

    async def _carried(self, batch: PostedBatch, carrier: Carrier) -> bytes:
        """The compressed payload."""
        blobs = self._blobs
        names = carrier.blob_hashes
        try:
            found = [
                await find_blob(blobs.sources, name, carrier.block, blobs.commit) for name in names
            ]
            carried = unpack(found)
        except NodeError as error:
            text = f"{self._where(batch)}: {error.text}"
            raise NodeError(error.number, text, **error.facts) from error
        except InvalidPayload as error:
            raise self._refused(batch, str(error), error.number) from error
        if blobs.archive is not None:
            blobs.archive.keep(names, found)
        return carried

    def _where(self, batch: PostedBatch) -> str:
        first = self.state.head.height + 1
        return f"batch {batch.number} (blocks {first} to {batch.last_height})"

    def _refused(self, batch: PostedBatch, why: str, number: int) -> NodeError:
        text = f"{self._where(batch)} cannot be read: {why}"
        return NodeError(DERIVED_REFUSED, text, batch=batch.number, reason=number)

    async def _block(
        self, batch: PostedBatch, body: BlockBody, items: Sequence[Item]
    ) -> tuple[Block, bytes]:
        """The next block, applied, and its withdrawals."""
        state = self.state
        height = state.head.height + 1
        try:
            block = rebuild(state, body)
            await self._check_origin(block, items)
            outcome = apply_block(state, block, self._recover)
        except CoreFault:
            raise
        except ConsensusError as error:
            text = f"batch {batch.number}, block {height}: {error}"
            raise NodeError(
                DERIVED_REFUSED, text, batch=batch.number, height=height, reason=error.number
            ) from error
        self.sizes.commands += outcome.operations
        if outcome.withdrawals:
            self.withdrawn.append((height, outcome.withdrawals))
        return block, outcome.withdrawals

    async def _check_origin(self, block: Block, items: Sequence[Item]) -> None:
        """The origin is a block of this L1; the messages are what it brings, in order."""
        header, head = block.header, self.state.head
        if header.l1_number != head.l1_number:
            found = await self._client.block(header.l1_number)
            if found is None:
                text = f"its L1 origin {header.l1_number} is no block of this L1"
                raise InvalidBlock(ORIGIN_OTHER, text)
            check_origin_block(header, found.origin)
        first = items[head.l1_messages : head.l1_messages + MESSAGES_MAX]
        due = [one for one in first if one.l1_number <= header.l1_number]
        check_queue(head, header, due, lambda: is_full(self.state, header, block.messages))

    def _count(
        self, carrier: Carrier, carried: int, blocks: Sequence[Block], bodies: Sequence[BlockBody]
    ) -> None:
        sizes = self.sizes
        rooted = [
            body._replace(signatures=block.header.signatures_root)
            for body, block in zip(bodies, blocks, strict=True)
        ]
        sizes.bare += len(payload.compress(payload.encode(rooted)))
        sizes.batches += 1
        sizes.blobs += len(carrier.blob_hashes)
        sizes.carried += carried
        sizes.gas += carrier.gas
        sizes.blob_gas += carrier.blob_gas


def _compare(batch: PostedBatch, ours: Batch) -> None:
    """7785: what was derived is not what the contract holds. First what says most."""
    here = {
        "last_height": ours.last_height,
        "post_state_root": ours.post_state_root,
        "l1_messages": ours.l1_messages,
        "withdrawals_root": ours.withdrawals_root,
        "last_hash": ours.last_hash,
        "batch_hash": batch_hash(ours),
    }
    for name, value in here.items():
        there = getattr(batch, name)
        if value != there:
            text = f"batch {batch.number}, block {ours.last_height}: {name} is {shown(value)}"
            raise NodeError(
                DERIVED_OTHER, f"{text} as derived, {shown(there)} on L1",
                batch=batch.number, height=ours.last_height, field=name,
            )  # fmt: skip
