"""Requests for snapshots: which there are, what proves one, and its chunks.

What lives here: the list, and the requests for proof and chunks. What must never live here: what a
proof or a chunk holds; that is `node/snapshots_proof.py` and `consensus.state.snapshot`, and
whoever loads one checks the root.

    list request     empty
    list             u16 count, at most 64 | per snapshot: u64 height | 32 state root
                     | u32 chunks | u64 bytes; heights strictly descending
    proof request    u64 height | 32 state root
    chunks request   u64 height | 32 state root | u32 first chunk | u16 count, 1 to 64
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from .packed import PACKED_LENGTH, Malformed, require, unpack

SNAPSHOTS_MAX: Final = 64
CHUNKS_MAX: Final = 64
SNAPSHOT_CHUNK_COUNT_MAX: Final = 1 << 20

COUNT: Final = struct.Struct("<H")
ENTRY: Final = struct.Struct("<Q32sIQ")
NAME: Final = struct.Struct("<Q32s")
CHUNKS: Final = struct.Struct("<Q32sIH")


class SnapshotFacts(NamedTuple):
    """A snapshot that a peer offers."""

    height: int
    state_root: bytes  # 32 bytes
    chunks: int
    size: int  # bytes of all chunks


class SnapshotName(NamedTuple):
    height: int
    state_root: bytes


class ChunkRange(NamedTuple):
    height: int
    state_root: bytes
    first: int
    chunks: int


def encode_snapshots(snapshots: Sequence[SnapshotFacts]) -> bytes:
    return COUNT.pack(len(snapshots)) + b"".join(ENTRY.pack(*one) for one in snapshots)


def decode_snapshots(data: bytes) -> list[SnapshotFacts]:
    """Errors: 7613, 7614."""
    if len(data) < COUNT.size:
        raise Malformed(PACKED_LENGTH, f"a list of snapshots of {len(data)} bytes")
    (count,) = COUNT.unpack_from(data)
    require(count <= SNAPSHOTS_MAX, f"{count} snapshots: a list has at most 64")
    unpack(struct.Struct(f"<{COUNT.size + count * ENTRY.size}x"), data, "a list of snapshots")
    found = [SnapshotFacts(*entry) for entry in ENTRY.iter_unpack(data[COUNT.size :])]
    heights = [one.height for one in found]
    require(heights == sorted(set(heights), reverse=True), "snapshots out of order")
    in_bounds = all(1 <= one.chunks <= SNAPSHOT_CHUNK_COUNT_MAX for one in found)
    require(in_bounds, "a snapshot without chunks, or of more than a million")
    return found


def encode_name(name: SnapshotName) -> bytes:
    return NAME.pack(*name)


def decode_name(data: bytes) -> SnapshotName:
    """Errors: 7613."""
    return SnapshotName(*unpack(NAME, data, "a request for a snapshot's proof"))


def encode_chunk_range(wanted: ChunkRange) -> bytes:
    return CHUNKS.pack(*wanted)


def decode_chunk_range(data: bytes) -> ChunkRange:
    """Errors: 7613, 7614."""
    wanted = ChunkRange(*unpack(CHUNKS, data, "a request for snapshot chunks"))
    require(1 <= wanted.chunks <= CHUNKS_MAX, f"{wanted.chunks} chunks: 1 to 64 may be asked")
    return wanted
