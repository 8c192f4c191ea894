"""Blocks: one synced batch each, and every way to find one again.

What lives here: appending, reading by height, hash, range and sequence, certificates, and the walk
over the chain at start. What must never live here: whether a block is allowed (`apply_block`), or
who asks.

Theory. A block, its events and the head are one atomic, synced batch: after a crash the head is a
block that is there whole, and so are all below it down to the *foundation*, the header that the
lowest kept block builds on (genesis, the block of a snapshot, or the last one pruned).

The index of commands is part of that batch too. An entry for each command would cost more than the
block itself, so one entry has the commands of a key in a block whose nonces differ in the last byte
only: few for the keys that send much, and at most 256 to look through for one nonce, because a
nonce is spent once.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from consensus.block import (
    HASH_BYTES,
    ROW_BYTES,
    Block,
    Header,
    block_hash,
    check_body,
    check_body_roots,
    decode_block,
    decode_header,
    encode_block,
    encode_header,
    groups,
)
from consensus.exceptions import ConsensusError
from consensus.sealing import withdrawals_in
from consensus.streams import bytes_root
from storage import schema
from storage.database import Batch, Database, Reader, after
from storage.exceptions import StorageDamaged, StorageError, StorageRefused

NOT_NEXT: Final = 7520
UNKNOWN_BLOCK: Final = 7521
BLOCK_DAMAGED: Final = 7522
NO_FOUNDATION: Final = 7523

RANGE_BLOCKS_MAX: Final = 1024
EVENT_BYTES: Final = 64
ACCOUNT_AND_NONCE: Final = Struct("<qq")
"""Words 1 and 2 of a group's header row (docs/protocol/commands.md)."""
NONCE_AT: Final = Struct(">BQ")
"""In the index of commands: the nonce's last byte, the sequence of the group's first operation."""
_INDEX_AT: Final = slice(16, 24)
"""Of a WITHDRAWN event, little-endian (docs/protocol/events.md)."""
_HEAD_BYTES: Final = schema.HEIGHT_BYTES + HASH_BYTES


class Head(NamedTuple):
    """The highest block. `hash` is 32 bytes."""

    height: int
    hash: bytes


class Place(NamedTuple):
    """Where a group of commands is: its block and the sequence of its first operation."""

    height: int
    sequence: int


class Withdrawal(NamedTuple):
    """A withdrawal by its number: the block it is in, and its event of 64 bytes."""

    number: int
    height: int
    event: bytes


class Reading:
    """Reads of blocks from a database or a view of it.

    Heights that are not kept raise `StorageRefused` 7521; bytes that are not as written
    `StorageDamaged` 7522.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def head(self) -> Head:
        """Raises `StorageRefused` 7523 if no chain was begun here."""
        data = self._reader.get(schema.HEAD)
        if data is None:
            raise StorageRefused(NO_FOUNDATION, "the database holds no chain; begin one first")
        if len(data) != _HEAD_BYTES:
            raise schema.bad_value("the head")
        return Head(int.from_bytes(data[: schema.HEIGHT_BYTES], "big"), data[schema.HEIGHT_BYTES :])

    def foundation(self) -> Header:
        """The header below the lowest block kept."""
        data = self._reader.get(schema.FOUNDATION)
        if data is None:
            raise StorageRefused(NO_FOUNDATION, "the database holds no chain; begin one first")
        try:
            return decode_header(data)
        except ConsensusError as error:
            raise schema.bad_value("the foundation") from error

    def raw(self, height: int) -> bytes:
        """The block's bytes, as `encode_block` made them."""
        return self._record(height)[HASH_BYTES:]

    def block(self, height: int) -> Block:
        """The block, its header under its hash; `check_body_roots` is the caller's or `walk`'s."""
        record = self._record(height)
        try:
            block = decode_block(record[HASH_BYTES:])
        except ConsensusError as error:
            raise damaged(height, str(error)) from error
        if block_hash(block.header) != record[:HASH_BYTES] or block.header.height != height:
            raise damaged(height, "its header is not the one that was stored")
        return block

    def header(self, height: int) -> Header:
        """Of a kept block or of the foundation."""
        record = self._reader.get(schema.at_height(schema.BLOCK, height))
        if record is None:
            foundation = self.foundation()
            if foundation.height == height:
                return foundation
            raise unknown(height)
        return self.block(height).header

    def height_of(self, hashed: bytes) -> int | None:
        data = self._reader.get(schema.HEIGHT + hashed)
        return None if data is None else int.from_bytes(data, "big")

    def events(self, height: int) -> bytes:
        """The block's events, 64 bytes each; compare with its root before believing a disk."""
        data = self._reader.get(schema.at_height(schema.EVENTS, height))
        if data is None:
            raise unknown(height)
        return data

    def seal(self, height: int) -> bytes:
        """The proposer's signature, empty where none was kept."""
        return self._reader.get(schema.at_height(schema.SEAL, height)) or b""

    def certificate(self, height: int) -> bytes | None:
        return self._reader.get(schema.at_height(schema.CERTIFICATE, height))

    def range(self, first: int, count: int, bytes_max: int) -> list[bytes]:
        """Bytes of up to `count` blocks from `first`, at least one if kept, then to `bytes_max`."""
        stop = first + min(count, RANGE_BLOCKS_MAX)
        found: list[bytes] = []
        total = 0
        for height, record in self.records(first, stop):
            total += len(record) - HASH_BYTES
            if height != first + len(found) or (found and total > bytes_max):
                break
            found.append(record[HASH_BYTES:])
        return found

    def records(self, first: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """(height, hash and block bytes) of the kept blocks first <= height < stop."""
        low, high = (schema.at_height(schema.BLOCK, height) for height in (first, stop))
        for key, record in self._reader.scan(low, high):
            yield int.from_bytes(key[1:], "big"), record

    def find_sequence(self, sequence: int) -> int | None:
        """The height of the kept block that holds this operation."""
        low, high = schema.at_height(schema.SEQUENCE, sequence), after(schema.SEQUENCE)
        for _, value in self._reader.scan(low, high):
            height = int.from_bytes(value, "big")
            header = self.header(height)
            return height if header.sequence - header.commands < sequence else None
        return None

    def find_command(self, account: int, key: int, nonce: int) -> Place | None:
        """The newest kept group with this nonce of this key."""
        prefix = schema.nonces_key(account, key, nonce)
        for at, value in self._reader.scan(prefix, after(prefix), reverse=True):
            if len(value) % NONCE_AT.size:
                raise schema.bad_value("the index of commands")
            for last_byte, sequence in NONCE_AT.iter_unpack(value):
                if last_byte == nonce & schema.NONCES_MASK:
                    return Place(int.from_bytes(at[len(prefix) :], "big"), sequence)
        return None

    def withdrawals(self, first: int, *, down: bool = False) -> Iterator[Withdrawal]:
        """Those from number `first` up; with `down` those below it, downwards."""
        low = schema.at_height(schema.WITHDRAWAL, 0 if down else first)
        high = schema.at_height(schema.WITHDRAWAL, first) if down else after(schema.WITHDRAWAL)
        for key, value in self._reader.scan(low, high, reverse=down):
            height = int.from_bytes(value[: schema.HEIGHT_BYTES], "big")
            yield Withdrawal(int.from_bytes(key[1:], "big"), height, value[schema.HEIGHT_BYTES :])

    def walk(self, first: int = 0) -> Head:
        """Check the kept chain from block `first` (default: all) to the head; returns the head.

        Heights without a gap, each parent hash, each body and the events under the header's roots.
        Raises `StorageDamaged` 7522 with the first bad height as the fact `height`.
        """
        head, foundation = self.head(), self.foundation()
        first = max(first, foundation.height + 1)
        parent = block_hash(self.header(first - 1)) if first <= head.height else head.hash
        for height in range(first, head.height + 1):
            try:
                parent = self.walked(height, parent)
            except (StorageError, ConsensusError) as error:
                raise damaged(height, str(error)) from error
        if parent != head.hash or head.height < foundation.height:
            raise damaged(head.height, "the head is not the block that it names")
        return head

    def walked(self, height: int, parent: bytes) -> bytes:
        """The hash of the kept block, all of it checked, whose parent has this hash."""
        block = self.block(height)
        if block.header.parent != parent:
            raise damaged(height, "its parent is another block than the one below it")
        check_body(block)
        check_body_roots(block)
        if bytes_root("events", self.events(height)) != block.header.events_root:
            raise damaged(height, "its events are not those that the header names")
        hashed = block_hash(block.header)
        if self.height_of(hashed) != height:
            raise damaged(height, "it cannot be found by its hash")
        return hashed

    def _record(self, height: int) -> bytes:
        record = self._reader.get(schema.at_height(schema.BLOCK, height))
        if record is None:
            raise unknown(height)
        return record


class Blocks(Reading):
    """The chain in a database. One thread writes."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def is_empty(self) -> bool:
        """Whether no chain was begun here."""
        return self._database.get(schema.HEAD) is None

    def begin(self, foundation: Header) -> None:
        """Start an empty chain above this header: genesis, or the block of a snapshot."""
        if self._database.get(schema.HEAD) is not None:
            raise StorageRefused(NOT_NEXT, "there is a chain here already; use a new directory")
        hashed = block_hash(foundation)
        height = schema.number(foundation.height)
        batch: Batch = [
            (schema.FOUNDATION, encode_header(foundation)),
            (schema.HEIGHT + hashed, height),
            (schema.HEAD, height + hashed),
        ]
        self._database.write(batch, sync=True)

    def append(
        self,
        block: Block,
        events: bytes,
        certificate: bytes = b"",
        seal: bytes = b"",
        *,
        sync: bool = True,
    ) -> None:
        """Keep the block above the head; with `sync` durable on return. `StorageRefused` 7520."""
        head, header = self.head(), block.header
        if (header.height, header.parent) != (head.height + 1, head.hash):
            text = f"block {header.height} does not follow our head {head.height}"
            raise StorageRefused(NOT_NEXT, f"{text}; fetch what lies between, or undo nothing")
        hashed = block_hash(header)
        height = schema.number(header.height)
        batch: list[tuple[bytes, bytes | None]] = [
            (schema.BLOCK + height, hashed + encode_block(block)),
            (schema.EVENTS + height, events),
            (schema.HEIGHT + hashed, height),
            (schema.HEAD, height + hashed),
        ]
        if header.commands:
            batch.append((schema.at_height(schema.SEQUENCE, header.sequence), height))
        batch += command_entries(block)
        batch += withdrawal_entries(height, events)
        if certificate:
            batch.append((schema.CERTIFICATE + height, certificate))
        if seal:
            batch.append((schema.SEAL + height, seal))
        self._database.write(batch, sync=sync)

    def certify(self, height: int, certificate: bytes) -> None:
        """Keep the certificate of a kept block. Not synced: it can be asked for again."""
        self._record(height)
        self._database.write(
            [(schema.at_height(schema.CERTIFICATE, height), certificate)], sync=False
        )

    def prune(self, height: int) -> int:
        """Forget the blocks up to `height`, whose header becomes the foundation; how many.

        The caller keeps a state or snapshot at or above `height`. Raises `StorageRefused` 7521.
        """
        foundation, head = self.foundation(), self.head()
        if height > head.height:
            raise unknown(height)
        pruned = 0
        for at in range(foundation.height + 1, height + 1):
            block = self.block(at)
            self._database.write(
                [
                    (schema.FOUNDATION, encode_header(block.header)),
                    (schema.HEIGHT + block.header.parent, None),
                    (schema.at_height(schema.SEQUENCE, block.header.sequence), None),
                    *((key, None) for key, _ in command_entries(block)),
                    *((schema.at_height(kind, at), None) for kind in _BY_HEIGHT),
                ],
                sync=False,
            )
            pruned += 1
        return pruned


_BY_HEIGHT: Final = (schema.BLOCK, schema.EVENTS, schema.CERTIFICATE, schema.SEAL)


def command_entries(block: Block) -> Iterator[tuple[bytes, bytes]]:
    """What the index of commands holds for this block: keys and values."""
    header, rows = block.header, block.commands
    sequence = header.sequence - header.commands + 1
    sequence += sum(count for _, count, _ in groups(block.messages))
    pages: dict[tuple[int, int, int], bytearray] = {}
    for row, count, key in groups(rows):
        account, nonce = ACCOUNT_AND_NONCE.unpack_from(rows, row * ROW_BYTES + 8)
        page = account, key, nonce | schema.NONCES_MASK
        place = NONCE_AT.pack(nonce & schema.NONCES_MASK, sequence)
        if page in pages:
            pages[page] += place
        else:
            pages[page] = bytearray(place)
        sequence += count
    for page, found in pages.items():
        yield schema.nonces_key(*page) + schema.number(header.height), bytes(found)


def withdrawal_entries(height: bytes, events: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What is kept of a block's withdrawals: whoever claims one on L1 needs it years later."""
    found = withdrawals_in(events)
    for at in range(0, len(found), EVENT_BYTES):
        event = found[at : at + EVENT_BYTES]
        index = int.from_bytes(event[_INDEX_AT], "little")
        yield schema.at_height(schema.WITHDRAWAL, index), height + event


def damaged(height: int, why: str) -> StorageDamaged:
    text = f"block {height} is damaged: {why}; restore a backup, or fetch it from peers"
    return StorageDamaged(BLOCK_DAMAGED, text, height=height)


def unknown(height: int) -> StorageRefused:
    text = f"block {height} is not kept here; ask an archive, or for a height between"
    return StorageRefused(UNKNOWN_BLOCK, f"{text} foundation and head", height=height)
