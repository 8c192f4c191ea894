"""Requests for blocks, by range and by hash.

What lives here: the two requests. What must never live here: blocks; each chunk of the answer is
one block in the encoding of `consensus/block.py`, in ascending height or in the order asked. A peer
that lacks a block ends its answer there: the asker counts.

    range    u64 first height | u16 count, 1 to 256
    hashes   u16 count, 1 to 64 | 32-byte block hashes, no two equal
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from .packed import require, unpack

RANGE_BLOCKS_MAX: Final = 256
HASHES_MAX: Final = 64
HASH_BYTES: Final = 32

RANGE: Final = struct.Struct("<QH")
COUNT: Final = struct.Struct("<H")


class BlockRange(NamedTuple):
    first: int
    blocks: int


def encode_range(wanted: BlockRange) -> bytes:
    return RANGE.pack(*wanted)


def decode_range(data: bytes) -> BlockRange:
    """Errors: 7613, 7614."""
    wanted = BlockRange(*unpack(RANGE, data, "a block range"))
    require(1 <= wanted.blocks <= RANGE_BLOCKS_MAX, f"{wanted.blocks} blocks asked, of 1 to 256")
    return wanted


def encode_hashes(hashes: Sequence[bytes]) -> bytes:
    return COUNT.pack(len(hashes)) + b"".join(hashes)


def decode_hashes(data: bytes) -> list[bytes]:
    """Errors: 7613, 7614."""
    (count,) = COUNT.unpack_from(data.ljust(COUNT.size, b"\0"))
    require(1 <= count <= HASHES_MAX, f"{count} block hashes: 1 to 64 may be asked")
    (joined,) = unpack(struct.Struct(f"<2x{count * HASH_BYTES}s"), data, "a list of block hashes")
    hashes = [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]
    require(len(set(hashes)) == count, "a block hash asked for twice")
    return hashes
