"""The records of the journal: their bytes, checksums and the running hash.

What lives here: bytes <-> records, and where a damaged segment ends. What must never live here:
files, or when something is synced.

    segment   magic 8 | seed 4 | crc 4 | record ...
    record    payload bytes u32 | crc u32 | kind u8 | payload

    kind 1 Open      height u64, time u64, l1 number u64, l1 time u64, round u32, proposer u16,
                     parent 32, l1 hash 32, messages (rows)
         2 Command   sequence u64, signature 65, rows
         3 Seal      height u64, hash 32
         4 Synced    "rialto/synced", offset u64: everything before `offset` is on the disk

Numbers are little-endian. The running hash of a block starts with its Open record, which names the
parent: H = SHA-256("rialto/journal/1" | kind | payload), then H' = SHA-256(H | kind | payload) for
each Command and for the Seal. So it can be computed from the block alone.

A checksum is CRC-32 over kind, length and payload, started with the segment's seed. The seed is
random and never leaves the node: commands are chosen by strangers, and nobody must be able to put
bytes into one that read like a Synced record.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from consensus.block import BLOCK_BYTES_MAX, HASH_BYTES, SIGNATURE_BYTES
from consensus.proposal import Opening

MAGIC: Final = b"RLTJRNL\x01"
HEADER_BYTES: Final = len(MAGIC) + 8
RECORD: Final = Struct("<IIB")
PAYLOAD_BYTES_MAX: Final = BLOCK_BYTES_MAX

OPEN: Final = 1
COMMAND: Final = 2
SEAL: Final = 3
SYNCED: Final = 4

HASH_TAG: Final = b"rialto/journal/1"
SYNCED_TAG: Final = b"rialto/synced"
_OPEN: Final = Struct("<QQQQIH32s32s")
_COMMAND: Final = Struct(f"<Q{SIGNATURE_BYTES}s")
_SEAL: Final = Struct(f"<Q{HASH_BYTES}s")
_SYNCED: Final = Struct(f"<{len(SYNCED_TAG)}sQ")


@dataclass(frozen=True, slots=True)
class Open:
    """A block was opened: everything that its execution needs besides its commands."""

    height: int
    parent: bytes
    opening: Opening
    messages: bytes = b""

    def payload(self) -> bytes:
        at = self.opening
        numbers = (self.height, at.time, at.l1_number, at.l1_time, at.round, at.proposer)
        return _OPEN.pack(*numbers, self.parent, at.l1_hash) + self.messages


class Command(NamedTuple):
    """A group was executed; `sequence` is that of its first operation."""

    sequence: int
    signature: bytes
    rows: bytes

    def payload(self) -> bytes:
        return _COMMAND.pack(self.sequence, self.signature) + self.rows


@dataclass(frozen=True, slots=True)
class Seal:
    """The block was sealed, and has this hash."""

    height: int
    hash: bytes

    def payload(self) -> bytes:
        return _SEAL.pack(self.height, self.hash)


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything before `offset` of the segment is on the disk."""

    offset: int

    def payload(self) -> bytes:
        return _SYNCED.pack(SYNCED_TAG, self.offset)


Record: TypeAlias = Open | Command | Seal | Synced
KINDS: Final[dict[type, int]] = {Open: OPEN, Command: COMMAND, Seal: SEAL, Synced: SYNCED}


def running(before: bytes, kind: int, payload: bytes) -> bytes:
    """The running hash after this record; `before` is empty for an Open."""
    return sha256((before or HASH_TAG) + bytes((kind,)) + payload).digest()


def encode(kind: int, payload: bytes, seed: int) -> bytes:
    return RECORD.pack(len(payload), _checksum(kind, payload, seed), kind) + payload


def encode_header(seed: int) -> bytes:
    start = MAGIC + seed.to_bytes(4, "little")
    return start + zlib.crc32(start).to_bytes(4, "little")


def read_seed(data: bytes) -> int | None:
    """The seed in a segment's header, None if the header is not whole."""
    seed = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    return seed if data[:HEADER_BYTES] == encode_header(seed) else None


def read(data: bytes, seed: int) -> Iterator[tuple[int, int, bytes, int]]:
    """(offset, kind, payload, end) of each whole record after the header, up to the first bad."""
    at = HEADER_BYTES
    while at + RECORD.size <= len(data):
        size, checksum, kind = RECORD.unpack_from(data, at)
        end = at + RECORD.size + size
        if not OPEN <= kind <= SYNCED or size > PAYLOAD_BYTES_MAX or end > len(data):
            return
        payload = data[at + RECORD.size : end]
        if _checksum(kind, payload, seed) != checksum:
            return
        yield at, kind, payload, end
        at = end


def synced_beyond(data: bytes, start: int, seed: int) -> int:
    """The furthest offset that a Synced record behind `start` says is on the disk, else 0."""
    furthest, at = 0, data.find(SYNCED_TAG, start)
    while at >= 0:
        head = at - RECORD.size
        payload = data[at : at + _SYNCED.size]
        if head >= start and len(payload) == _SYNCED.size:
            size, checksum, kind = RECORD.unpack_from(data, head)
            whole = (size, kind) == (_SYNCED.size, SYNCED)
            if whole and checksum == _checksum(kind, payload, seed):
                furthest = max(furthest, _SYNCED.unpack(payload)[1])
        at = data.find(SYNCED_TAG, at + 1)
    return furthest


def decode(kind: int, payload: bytes) -> Record | None:
    """The record with this payload, None if no writer makes such a one."""
    if kind == OPEN and len(payload) >= _OPEN.size:
        values = _OPEN.unpack_from(payload)
        height, time, l1_number, l1_time, round_, proposer, parent, l1_hash = values
        opening = Opening(time, l1_number, l1_hash, l1_time, round_, proposer)
        return Open(height, parent, opening, payload[_OPEN.size :])
    if kind == COMMAND and len(payload) >= _COMMAND.size:
        sequence, signature = _COMMAND.unpack_from(payload)
        return Command(sequence, signature, payload[_COMMAND.size :])
    if kind == SEAL and len(payload) == _SEAL.size:
        return Seal(*_SEAL.unpack(payload))
    if kind == SYNCED and len(payload) == _SYNCED.size:
        return Synced(_SYNCED.unpack(payload)[1])
    return None


def _checksum(kind: int, payload: bytes, seed: int) -> int:
    head = bytes((kind,)) + len(payload).to_bytes(4, "little")
    return zlib.crc32(payload, zlib.crc32(head, seed))
