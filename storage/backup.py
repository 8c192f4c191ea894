"""Backups, restoring to any height, and pruning.

What lives here: copying a chain out of a running node and back into an empty directory, and what
may be forgotten. What must never live here: journal and last_signed. A backup must not carry them:
a node that is restored and signs from an older memory than the network's would contradict itself.

Theory. A backup is logical: every kept snapshot, the blocks above the foundation, and an index file
that is written last and names each part with its digest. It is made from a view of the database, so
the node goes on meanwhile. Restoring to height h writes the blocks up to h and begins the state at
the newest snapshot at or below h; the replay of the rest is the ordinary start (`recovery`), whose
comparison of every root is the proof that the backup was good.

    <height>-<root>.snapshot, .manifest     see `snapshots`
    <first>-<last>.blocks                   (u32 size, bytes) of block, events, certificate, ...
    backup.index                            RLP, then the SHA-256 of it
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from consensus import codec
from consensus.block import (
    HASH_BYTES,
    HEADER_BYTES_MAX,
    Header,
    block_hash,
    decode_block,
    encode_header,
    read_header,
)
from consensus.exceptions import ConsensusError
from storage.blocks import Blocks, Reading
from storage.database import Database
from storage.exceptions import StorageDamaged, StorageRefused
from storage.files import Files
from storage.schema import Identity, claim
from storage.snapshots import FILE, MANIFEST, Manifest, Snapshots, decode_manifest
from storage.states import stored_height

NOT_EMPTY: Final = 7570
BACKUP_DAMAGED: Final = 7571
NOT_A_BACKUP: Final = 7572
FOREIGN_BACKUP: Final = 7573
HEIGHT_OUTSIDE: Final = 7574
NOTHING_TO_KEEP: Final = 7575

INDEX: Final = "backup.index"
BACKUP_VERSION: Final = 1
BLOCKS: Final = ".blocks"
BLOCKS_PER_FILE: Final = 4096
INDEX_BYTES_MAX: Final = 1 << 22


class Index(NamedTuple):
    """What a backup holds. `foundation` is the header below its lowest block."""

    identity: Identity
    foundation: Header
    head: int
    parts: tuple[tuple[str, bytes], ...]  # name, SHA-256

    def encode(self) -> bytes:
        header = codec.decode(encode_header(self.foundation), limit_bytes=HEADER_BYTES_MAX)
        parts = [(name.encode("ascii"), digest) for name, digest in self.parts]
        data = codec.encode((BACKUP_VERSION, *self.identity, header, self.head, parts))
        return data + sha256(data).digest()


def back_up(
    database: Database, snapshots: Snapshots, identity: Identity, destination: Files
) -> Index:
    """Copy the chain as it is now. `StorageRefused` 7570 unless `destination` is empty.

    Takes a snapshot of the stored state first, so that a restored node replays little.
    """
    if destination.names():
        raise StorageRefused(NOT_EMPTY, "the backup's directory is not empty; give it a new one")
    parts: list[tuple[str, bytes]] = []
    with database.view() as view:
        reading = Reading(view)
        foundation, head = reading.foundation(), reading.head().height
        if stored_height(view) is not None:
            snapshots.take(view, identity.genesis_hash)
        for manifest in snapshots.kept():
            if not foundation.height <= manifest.height <= head:
                continue
            file, listed = manifest.stem + FILE, manifest.stem + MANIFEST
            parts.append((file, _copy(destination, file, snapshots.chunks(manifest))))
            parts.append((listed, _copy(destination, listed, iter([manifest.encode()]))))
        for first in range(foundation.height + 1, head + 1, BLOCKS_PER_FILE):
            last = min(first + BLOCKS_PER_FILE - 1, head)
            name = f"{first:016d}-{last:016d}{BLOCKS}"
            parts.append((name, _copy(destination, name, _packed(reading, first, last))))
    index = Index(identity, foundation, head, tuple(parts))
    destination.replace(INDEX, [index.encode()])
    return index


def read_index(source: Files) -> Index:
    """The index of a backup: `StorageRefused` 7572 without one, `StorageDamaged` 7571."""
    data = source.read(INDEX)
    if data is None:
        text = f"there is no {INDEX}: this is no backup, or one that was not finished"
        raise StorageRefused(NOT_A_BACKUP, f"{text}; use another")
    body = data[:-HASH_BYTES]
    if len(data) > INDEX_BYTES_MAX or sha256(body).digest() != data[-HASH_BYTES:]:
        raise _damaged(INDEX)
    try:
        item = codec.decode(body, limit_bytes=INDEX_BYTES_MAX, limit_items=INDEX_BYTES_MAX)
        version, chain, genesis, header, head, listed = codec.read_record(item, 6)
        if codec.read_uint(version, 32) != BACKUP_VERSION:
            text = f"the backup has another version, this one reads {BACKUP_VERSION}"
            raise StorageRefused(NOT_A_BACKUP, f"{text}; use the version that wrote it")
        parts = [codec.read_record(part, 2) for part in codec.read_list(listed, INDEX_BYTES_MAX)]
        return Index(
            Identity(codec.read_uint(chain, 64), codec.read_bytes(genesis, HASH_BYTES)),
            read_header(header),
            codec.read_uint(head, 53),
            tuple(
                (codec.read_string(name, 255).decode("ascii"), codec.read_bytes(digest, 32))
                for name, digest in parts
            ),
        )
    except ConsensusError as error:
        raise _damaged(INDEX) from error


def check_index(source: Files, identity: Identity) -> Index:
    """The index of a backup of this chain; `StorageRefused` 7573 for another's."""
    index = read_index(source)
    if index.identity != identity:
        text = f"the backup is of chain {index.identity.chain_id}"
        sentence = f"{text}, genesis {index.identity.genesis_hash.hex()}; use that genesis file"
        raise StorageRefused(FOREIGN_BACKUP, sentence)
    return index


def restore(
    source: Files,
    database: Database,
    snapshots: Snapshots,
    identity: Identity,
    height: int | None = None,
) -> int:
    """Fill an empty database and snapshot directory up to `height` (default: all); that height.

    Every part is checked before anything is written. The state is brought to the height by the next
    start. Raises `StorageRefused` 7570, 7572 .. 7574, `StorageDamaged` 7571.
    """
    index = check_index(source, identity)
    manifests = _manifests(source, index)
    low = 0 if index.foundation.height == 0 else min((m.height for m in manifests), default=1 << 53)
    height = index.head if height is None else height
    if not low <= height <= index.head:
        text = f"height {height} is outside of what the backup can restore, {low} to {index.head}"
        raise StorageRefused(HEIGHT_OUTSIDE, text)
    if next(database.scan(b"", b"\xff"), None) is not None or snapshots.kept():
        raise StorageRefused(NOT_EMPTY, "the data directory is not empty; give it a new one")
    for name, digest in index.parts:
        _check(source, name, digest)
    claim(database, identity)
    for manifest in manifests:
        if manifest.height <= height:
            pieces = _pieces(source, manifest.stem + FILE)
            snapshots.add(manifest.genesis_hash, manifest.header, pieces)
    blocks = Blocks(database)
    blocks.begin(index.foundation)
    for name, _ in index.parts:
        if name.endswith(BLOCKS):
            _unpack(source, name, blocks, height)
    if blocks.head().height != height:
        raise _damaged(f"the blocks up to {height}")
    database.write([], sync=True)
    return height


def prune(blocks: Blocks, database: Database, snapshots: Snapshots, keep: int) -> tuple[int, int]:
    """Keep the `keep` newest snapshots and the blocks above the oldest of them.

    Returns how many snapshots and blocks were removed. Without a snapshot nothing may go:
    `StorageRefused` 7575.
    """
    if snapshots.newest() is None:
        text = "no snapshot is kept, so every block is needed; take a snapshot first"
        raise StorageRefused(NOTHING_TO_KEEP, text)
    floor = snapshots.kept()[-max(1, keep) :][0]
    snapshots.read(floor)  # a damaged one must not be what is left
    removed = snapshots.prune(keep)
    stored = stored_height(database)
    height = min(floor.height, floor.height if stored is None else stored, blocks.head().height)
    foundation = blocks.foundation().height
    return len(removed), blocks.prune(height) if height > foundation else 0


def _manifests(source: Files, index: Index) -> list[Manifest]:
    named = [name for name, _ in index.parts if name.endswith(MANIFEST)]
    return [decode_manifest(source.read(name) or b"") for name in named]


def _packed(reading: Reading, first: int, last: int) -> Iterator[bytes]:
    """(size, bytes) of block, events and certificate of each height; the chain is walked."""
    parent = block_hash(reading.header(first - 1))
    for height in range(first, last + 1):
        parent = reading.walked(height, parent)
        for data in (
            reading.raw(height),
            reading.events(height),
            reading.certificate(height) or b"",
        ):
            yield len(data).to_bytes(4, "little") + data


def _unpack(source: Files, name: str, blocks: Blocks, height: int) -> None:
    """Append the blocks of this file up to `height`."""
    at = 0

    def field() -> bytes:
        nonlocal at
        size = int.from_bytes(source.read(name, at, 4) or b"", "little")
        data = source.read(name, at + 4, size) or b""
        at += 4 + size
        return data

    total = source.size(name) or 0
    while at < total and blocks.head().height < height:
        block, events, certificate = field(), field(), field()
        try:
            blocks.append(decode_block(block), events, certificate, sync=False)
        except (ConsensusError, StorageRefused) as error:
            raise _damaged(name) from error


def _pieces(source: Files, name: str) -> Iterator[bytes]:
    at = 0
    while piece := source.read(name, at, 1 << 20):
        yield piece
        at += len(piece)


def _copy(destination: Files, name: str, pieces: Iterator[bytes]) -> bytes:
    """Write a part; its SHA-256."""
    digest = sha256()

    def counted() -> Iterator[bytes]:
        for piece in pieces:
            digest.update(piece)
            yield piece

    destination.replace(name, counted())
    return digest.digest()


def _check(source: Files, name: str, wanted: bytes) -> None:
    digest = sha256()
    for piece in _pieces(source, name):
        digest.update(piece)
    if digest.digest() != wanted:
        raise _damaged(name)


def _damaged(name: str) -> StorageDamaged:
    text = f"{name} of the backup is damaged or missing; use another backup"
    return StorageDamaged(BACKUP_DAMAGED, text, part=name)
