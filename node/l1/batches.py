"""Batches out of stored blocks: what a leader posts, and what a validator compares it with.

What lives here: a range of blocks as batch, payload and blobs, and the check of somebody else's
batch against one's own blocks. What must never live here: when a batch is due, keys, KZG, or a
word from the network that is believed.

Theory. A batch is a function of a range of blocks, but for the zstd frame (another version of zstd
makes another one) and hence the blobs. So a validator never compares compressed bytes: it makes the
canonical payload of its own replayed blocks, unpacks what the asker wants to post, and both must be
the same bytes. That is stronger than decoding the blobs and comparing blocks, because a payload has
one form. The commitments of the blobs are then computed, not believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Final

from consensus.block import Block, Header, block_hash
from consensus.da import payload
from consensus.da.blobs import pack, unpack
from consensus.da.kzg import versioned_hash
from consensus.da.payload import BLOCKS_MAX, BlockBody
from consensus.exceptions import InvalidPayload
from consensus.rollup.batch import BATCH_VERSION, Batch
from consensus.sealing import withdrawals_in
from consensus.streams import bytes_root
from node.exceptions import NodeError
from storage.blocks import Reading
from storage.exceptions import StorageRefused

BATCH_BLOCKS: Final = 7760
BATCH_DIFFERS: Final = 7761
PAYLOAD_DIFFERS: Final = 7762
BLOBS_DIFFER: Final = 7763

VALIDITY: Final = "validity"
NOT_OF_BLOCKS: Final = ("number", "blob_hashes")
"""Fields of a batch that the blocks do not say."""


@dataclass(frozen=True, slots=True)
class Range:
    """Blocks that follow each other, the header below them, and the withdrawals in them."""

    parent: Header
    blocks: tuple[Block, ...]
    withdrawals: bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """A batch whose blobs are known and their commitments not yet: its `blob_hashes` are empty."""

    batch: Batch
    carried: bytes
    blobs: tuple[bytes, ...]

    def with_commitments(self, commitments: Sequence[bytes]) -> Batch:
        """The batch as L1 gets it."""
        return replace(self.batch, blob_hashes=tuple(map(versioned_hash, commitments)))


def read_range(blocks: Reading, first: int, last: int) -> Range:
    """The kept blocks `first` to `last`. Blocks the thread on the disk.

    Raises `NodeError` 7760 if they are not all kept here.
    """
    if not 1 <= first <= last or last - first >= BLOCKS_MAX:
        text = f"blocks {first} to {last}: a batch has 1 to {BLOCKS_MAX}, and none is below 1"
        raise NodeError(BATCH_BLOCKS, text)
    try:
        parent = blocks.header(first - 1)
        found = tuple(blocks.block(height) for height in range(first, last + 1))
        withdrawals = b"".join(
            withdrawals_in(blocks.events(height)) for height in range(first, last + 1)
        )
    except StorageRefused as error:
        text = f"blocks {first} to {last} are not all kept here ({error}); ask later, or an archive"
        raise NodeError(BATCH_BLOCKS, text) from error
    return Range(parent, found, withdrawals)


def payload_of(blocks: Sequence[Block], settlement: str) -> bytes:
    """The canonical payload. `settlement` is the chain's mode: it says if signatures are posted."""
    return payload.encode([_body(block, settlement != VALIDITY) for block in blocks])


def _body(block: Block, is_posted: bool) -> BlockBody:
    header = block.header
    return BlockBody(
        header.time,
        header.round,
        header.proposer,
        header.l1_number,
        header.l1_hash,
        header.l1_time,
        block.messages,
        block.commands,
        block.signatures if is_posted else header.signatures_root,
    )


def draft(number: int, taken: Range, settlement: str) -> Draft:
    """Batch `number` of these blocks. Takes the thread for a while: 6 us a command.

    Raises `InvalidPayload` 8007 .. 8019, 8101 for more than a batch holds.
    """
    data = payload_of(taken.blocks, settlement)
    carried = payload.compress(data)
    return Draft(batch_of(number, taken, data), carried, pack(carried))


def batch_of(number: int, taken: Range, data: bytes) -> Batch:
    first, last = taken.blocks[0].header, taken.blocks[-1].header
    return Batch(
        version=BATCH_VERSION,
        number=number,
        first_height=first.height,
        last_height=last.height,
        parent_hash=first.parent,
        last_hash=block_hash(last),
        pre_state_root=taken.parent.state_root,
        post_state_root=last.state_root,
        payload_hash=sha256(data).digest(),
        blob_hashes=(),
        l1_number=last.l1_number,
        l1_hash=last.l1_hash,
        l1_messages=last.l1_messages,
        l1_queue_hash=last.l1_queue_hash,
        withdrawals_root=bytes_root("withdrawals", taken.withdrawals),
        validators_hash=last.validators_hash,
    )


def checked_blobs(batch: Batch, carried: bytes, own: Range, settlement: str) -> tuple[bytes, ...]:
    """The blobs that carry `carried`, once it is known that they hold one's own blocks.

    Raises `NodeError` 7761 naming the first field that differs, 7762.
    """
    data = payload_of(own.blocks, settlement)
    expected = batch_of(batch.number, own, data)
    for field in fields(Batch):
        given, ours = getattr(batch, field.name), getattr(expected, field.name)
        if field.name not in NOT_OF_BLOCKS and given != ours:
            text = f"{field.name} of batch {batch.number} is {shown(given)}, ours is {shown(ours)}"
            raise NodeError(BATCH_DIFFERS, text, field=field.name)
    try:
        blobs = pack(carried)
        posted = payload.decompress(unpack(blobs), len(data))
    except InvalidPayload as error:
        text = f"the blobs of batch {batch.number} cannot be read: {error.text}"
        raise NodeError(PAYLOAD_DIFFERS, text) from error
    if posted != data:
        text = f"the blobs of batch {batch.number} hold other blocks than ours"
        raise NodeError(PAYLOAD_DIFFERS, text)
    return blobs


def check_commitments(batch: Batch, commitments: Sequence[bytes]) -> None:
    """That the batch names exactly the blobs with these commitments; `NodeError` 7763."""
    if batch.blob_hashes != tuple(map(versioned_hash, commitments)):
        text = f"batch {batch.number} names other blobs than those that carry its payload"
        raise NodeError(BLOBS_DIFFER, text)


def shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
