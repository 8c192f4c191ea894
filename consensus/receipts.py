"""Receipts: what became of one operation, believed on the strength of a block hash alone.

What lives here: the receipt's value, its bytes, making and verifying it. What must never live here:
what an event means, and whether the block is certified; the reader brings a block hash that he
trusts.

Theory. The events of a block are one stream of 64-byte records in order of SEQUENCE (word 1), under
the header's `events_root`. A receipt shows a window of the stream: whole leaves, from the leaf of
the event before the operation's first to the leaf of the event after its last, with one path for
all of them. The neighbours carry another SEQUENCE, or the window reaches the end of the stream, so
no event of the operation can be left out. The window is the smallest that shows this: an operation
has exactly one receipt.

     stream   .. | e e e A | X X X X | X B e e | ..       X: events of the operation
     window      [---------------------------]            A, B: its neighbours

Events of the sweep and of schedules carry the SEQUENCE of the last operation before them (see
docs/protocol/events.md): they are part of the receipt of a block's last L1 message.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from consensus import codec
from consensus.block import (
    BLOCK_BYTES_MAX,
    COUNT_BITS,
    HEADER_BYTES_MAX,
    HEADER_TAG,
    Header,
    encode_header,
    read_header,
)
from consensus.exceptions import InvalidBlock
from consensus.streams import BLOCK_LEAF_BYTES, bytes_proof, verify_bytes_proof

EVENT_BYTES: Final = 64
EVENTS_PER_LEAF: Final = BLOCK_LEAF_BYTES // EVENT_BYTES
DOMAIN: Final = "events"
RECEIPT_BYTES_MAX: Final = BLOCK_BYTES_MAX

WRONG_BLOCK: Final = 3101
SEQUENCE_OUTSIDE: Final = 3102
STREAM_LENGTH: Final = 3103
NO_EVENT: Final = 3104
WINDOW: Final = 3105


@dataclass(frozen=True, slots=True)
class Receipt:
    """One operation's events within their block. Only `verify` says whether it holds."""

    header: Header
    sequence: int  # of the operation
    stream_bytes: int  # of the block's whole event stream
    first_leaf: int
    leaves: bytes  # the stream's bytes from there, whole leaves but for the stream's last
    path: bytes  # of all these leaves, see consensus/streams.py


def encode_receipt(receipt: Receipt) -> bytes:
    """RLP list: header, sequence, stream bytes, first leaf, leaves, path."""
    header = codec.decode(encode_header(receipt.header), limit_bytes=HEADER_BYTES_MAX)
    data = codec.encode(
        [
            header,
            receipt.sequence,
            receipt.stream_bytes,
            receipt.first_leaf,
            receipt.leaves,
            receipt.path,
        ]
    )
    decode_receipt(data)
    return data


def decode_receipt(data: bytes) -> Receipt:
    """The receipt whose one encoding is `data`, or `InvalidEncoding`; nothing is proven by it."""
    parts = codec.read_record(codec.decode(data, limit_bytes=RECEIPT_BYTES_MAX), 6)
    return Receipt(
        header=read_header(parts[0]),
        sequence=codec.read_uint(parts[1], COUNT_BITS),
        stream_bytes=codec.read_uint(parts[2], COUNT_BITS),
        first_leaf=codec.read_uint(parts[3], COUNT_BITS),
        leaves=codec.read_string(parts[4], RECEIPT_BYTES_MAX),
        path=codec.read_string(parts[5], RECEIPT_BYTES_MAX),
    )


def make(header: Header, events: bytes, sequence: int) -> Receipt:
    """The receipt of operation `sequence` from the block's whole event stream.

    Raises `InvalidBlock` `SEQUENCE_OUTSIDE` or `NO_EVENT`.
    """
    _check_sequence(header, sequence)
    first, last = _events_of(events, sequence)
    low, high = _window(first, last, len(events) // EVENT_BYTES)
    return Receipt(
        header=header,
        sequence=sequence,
        stream_bytes=len(events),
        first_leaf=low,
        leaves=events[low * BLOCK_LEAF_BYTES : (high + 1) * BLOCK_LEAF_BYTES],
        path=bytes_proof(events, low, high + 1 - low, BLOCK_LEAF_BYTES),
    )


def verify(receipt: Receipt, block_hash: bytes) -> bytes:
    """Return all events of the operation, 64 bytes each, in order.

    The receipt holds for the block with this hash, or it is refused: `InvalidBlock` 3101 .. 3105,
    `InvalidProof` 5400 .. 5403.
    """
    header = receipt.header
    if sha256(HEADER_TAG + encode_header(header)).digest() != block_hash:
        raise InvalidBlock(WRONG_BLOCK, "the receipt's header is not that of this block")
    _check_sequence(header, receipt.sequence)
    if receipt.stream_bytes % EVENT_BYTES:
        text = f"a stream of {receipt.stream_bytes} bytes is no stream of events"
        raise InvalidBlock(STREAM_LENGTH, text)
    verify_bytes_proof(
        header.events_root,
        DOMAIN,
        receipt.stream_bytes,
        receipt.first_leaf,
        receipt.leaves,
        receipt.path,
    )
    first, last = _events_of(receipt.leaves, receipt.sequence)
    before = receipt.first_leaf * EVENTS_PER_LEAF
    low, high = _window(before + first, before + last, receipt.stream_bytes // EVENT_BYTES)
    shown = receipt.first_leaf + (len(receipt.leaves) - 1) // BLOCK_LEAF_BYTES
    if (low, high) != (receipt.first_leaf, shown):
        text = f"leaves {receipt.first_leaf} to {shown} are shown, {low} to {high} are needed"
        raise InvalidBlock(WINDOW, f"{text} to see the operation's events and their neighbours")
    return receipt.leaves[first * EVENT_BYTES : (last + 1) * EVENT_BYTES]


def _check_sequence(header: Header, sequence: int) -> None:
    if not header.sequence - header.commands < sequence <= header.sequence:
        text = f"operation {sequence} is not in block {header.height}, which ends with"
        raise InvalidBlock(SEQUENCE_OUTSIDE, f"{text} {header.sequence} after {header.commands}")


def _events_of(events: bytes, sequence: int) -> tuple[int, int]:
    """Indexes of the first and last event of the operation in these bytes, or `NO_EVENT`."""
    word = sequence.to_bytes(8, "little")
    found = [i // 64 for i in range(0, len(events), 64) if events[i + 8 : i + 16] == word]
    if not found:
        raise InvalidBlock(NO_EVENT, f"no event of operation {sequence} is shown")
    return found[0], found[-1]


def _window(first: int, last: int, events: int) -> tuple[int, int]:
    """First and last leaf that show events `first` to `last` and their neighbours, if any."""
    low, high = max(first - 1, 0), min(last + 1, events - 1)
    return low // EVENTS_PER_LEAF, high // EVENTS_PER_LEAF
