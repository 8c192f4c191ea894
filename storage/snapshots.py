"""Snapshots: whole states in files, cut into chunks that can be served and checked one by one.

What lives here: taking one from the stored state, listing, serving, checking, reading, pruning.
What must never live here: the container's format (`consensus/state/snapshot.py`), sockets, or
trust: the header in a manifest is its writer's claim until it is compared with a certified one.

Theory. A snapshot is taken from a view of the database, beside a node that goes on writing: the
stored state is a whole state of some height. It is written once its rebuilt root has been compared,
so a damaged database makes no snapshot. The manifest is written after the file it describes: a
snapshot without manifest does not exist, and is swept away at the next start.

    <height>-<state root>.snapshot    the container
    <height>-<state root>.manifest    RLP: 1, genesis hash, header, size, digests

A chunk is 1 MiB of the file, the last one less; a digest is the chunk's SHA-256. A peer that sends
a bad chunk is known at that chunk.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from consensus import codec
from consensus.block import HASH_BYTES, HEADER_BYTES_MAX, Header, block_hash, encode_header
from consensus.block import read_header as header_of
from consensus.exceptions import ConsensusError
from consensus.state import snapshot
from consensus.state.snapshot import WORDS_MAX, Restored
from storage.blocks import Reading
from storage.database import Reader
from storage.exceptions import StorageDamaged, StorageRefused
from storage.files import Files
from storage.states import load

BAD_MANIFEST: Final = 7560
CHUNK_DAMAGED: Final = 7561
SNAPSHOT_DAMAGED: Final = 7562
NO_STORED_STATE: Final = 7563
NO_SUCH_CHUNK: Final = 7564

MANIFEST_VERSION: Final = 1
CHUNK_BYTES: Final = 1 << 20
CHUNKS_MAX: Final = 4096  # 4 GiB
MANIFEST_BYTES_MAX: Final = 33 * CHUNKS_MAX + HEADER_BYTES_MAX + 128
FILE: Final = ".snapshot"
MANIFEST: Final = ".manifest"


class Manifest(NamedTuple):
    """What a snapshot is and how its bytes are checked. `header` is that of its block."""

    genesis_hash: bytes
    header: Header
    size: int
    digests: tuple[bytes, ...]

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def stem(self) -> str:
        return f"{self.height:016d}-{self.header.state_root.hex()}"

    def encode(self) -> bytes:
        header = codec.decode(encode_header(self.header), limit_bytes=HEADER_BYTES_MAX)
        return codec.encode((MANIFEST_VERSION, self.genesis_hash, header, self.size, self.digests))


def decode_manifest(data: bytes) -> Manifest:
    """The manifest whose one encoding is `data`; `StorageRefused` 7560."""
    try:
        item = codec.decode(data, limit_bytes=MANIFEST_BYTES_MAX)
        version, genesis, header, size, digests = codec.read_record(item, 5)
        listed = [codec.read_bytes(d, HASH_BYTES) for d in codec.read_list(digests, CHUNKS_MAX)]
        found = Manifest(
            codec.read_bytes(genesis, HASH_BYTES),
            header_of(header),
            codec.read_uint(size, 53),
            tuple(listed),
        )
        known = codec.read_uint(version, 32)
    except ConsensusError as error:
        raise StorageRefused(
            BAD_MANIFEST, f"a snapshot's manifest is unreadable: {error}"
        ) from error
    if known != MANIFEST_VERSION or len(listed) != -(-found.size // CHUNK_BYTES):
        text = f"a manifest of version {known} with {len(listed)} chunks for {found.size} bytes"
        raise StorageRefused(BAD_MANIFEST, f"{text} is none of ours; take another snapshot")
    return found


def check_chunk(manifest: Manifest, number: int, data: bytes) -> bytes:
    """`data`, if it is this chunk of the snapshot; `StorageRefused` 7564 or 7561."""
    _check_number(manifest, number)
    if sha256(data).digest() != manifest.digests[number]:
        text = f"chunk {number} of snapshot {manifest.height} has another digest"
        raise StorageRefused(CHUNK_DAMAGED, f"{text}; fetch it from another peer", chunk=number)
    return data


def restore(manifest: Manifest, data: bytes, words_max: int = WORDS_MAX) -> Restored:
    """The state in a snapshot's bytes, its root rebuilt; `StorageDamaged` 7562.

    That the manifest's header is one of our chain's is for the caller to know.
    """
    if len(data) != manifest.size:
        raise _damaged(manifest, f"{len(data)} bytes where its manifest says {manifest.size}")
    try:
        restored = snapshot.restore(data, words_max)
    except ConsensusError as error:
        raise _damaged(manifest, str(error)) from error
    facts, header = restored.facts, manifest.header
    claimed = (manifest.genesis_hash, header.height, block_hash(header), header.state_root)
    if (facts.genesis_hash, facts.height, facts.block_hash, facts.state_root) != claimed:
        raise _damaged(manifest, "it holds another state than its manifest says")
    return restored


class Snapshots:
    """The snapshots in a directory."""

    def __init__(self, files: Files) -> None:
        self._files = files
        names = files.names()
        for name in names:
            if name.endswith(FILE) and name.removesuffix(FILE) + MANIFEST not in names:
                files.remove(name)

    def kept(self) -> list[Manifest]:
        """Ascending in height; `StorageDamaged` 7562 if a manifest cannot be read."""
        return [self._manifest(name) for name in self._files.names() if name.endswith(MANIFEST)]

    def newest(self, height_max: int | None = None) -> Manifest | None:
        """The highest, or the highest at or below `height_max`."""
        found = [m for m in self.kept() if height_max is None or m.height <= height_max]
        return found[-1] if found else None

    def take(self, reader: Reader, genesis_hash: bytes) -> Manifest:
        """Write a snapshot of the state stored in this view; the same state is written once.

        Raises `StorageRefused` 7563 if none is stored, `StorageDamaged` if it is not whole.
        """
        restored = load(reader, genesis_hash)
        if restored is None:
            text = "no state is stored yet; let the node run until it has flushed one"
            raise StorageRefused(NO_STORED_STATE, text)
        facts = restored.facts
        header = Reading(reader).header(facts.height)
        if (block_hash(header), header.state_root) != (facts.block_hash, facts.state_root):
            text = f"the stored state of height {facts.height} is not that of its block"
            raise StorageDamaged(SNAPSHOT_DAMAGED, f"{text}; restore a backup")
        newest = self.newest(facts.height)
        if newest is not None and newest.header == header:
            return newest
        pieces = snapshot.write(restored.regions, restored.memory, facts)
        return self.add(genesis_hash, header, pieces)

    def add(self, genesis_hash: bytes, header: Header, pieces: Iterable[bytes]) -> Manifest:
        """Keep a container's bytes as the snapshot of this block; whole or not at all."""
        stem = Manifest(genesis_hash, header, 0, ()).stem
        digests: list[bytes] = []
        size = self._files.replace(stem + FILE, _digested(pieces, digests))
        manifest = Manifest(genesis_hash, header, size, tuple(digests))
        self._files.replace(stem + MANIFEST, [manifest.encode()])
        return manifest

    def chunk(self, manifest: Manifest, number: int) -> bytes:
        """The chunk as it is served; `StorageRefused` 7564, `StorageDamaged` 7562."""
        _check_number(manifest, number)
        data = self._files.read(manifest.stem + FILE, number * CHUNK_BYTES, CHUNK_BYTES) or b""
        try:
            return check_chunk(manifest, number, data)
        except StorageRefused as error:
            raise _damaged(manifest, error.text) from error

    def chunks(self, manifest: Manifest) -> Iterator[bytes]:
        for number in range(len(manifest.digests)):
            yield self.chunk(manifest, number)

    def read(self, manifest: Manifest, words_max: int = WORDS_MAX) -> Restored:
        """The state, its root rebuilt and compared with the manifest's header."""
        return restore(manifest, b"".join(self.chunks(manifest)), words_max)

    def prune(self, keep: int) -> list[Manifest]:
        """Remove all but the `keep` highest (at least one); what was removed."""
        listed = self.kept()
        removed = listed[: max(0, len(listed) - max(1, keep))]
        for manifest in removed:
            self._files.remove(manifest.stem + MANIFEST)
            self._files.remove(manifest.stem + FILE)
        return removed

    def _manifest(self, name: str) -> Manifest:
        try:
            found = decode_manifest(self._files.read(name) or b"")
        except StorageRefused as error:
            text = f"{name} is damaged ({error.text}); remove it and its snapshot"
            raise StorageDamaged(SNAPSHOT_DAMAGED, text) from error
        if found.stem + MANIFEST != name:
            text = f"{name} describes the snapshot {found.stem}; remove it and its snapshot"
            raise StorageDamaged(SNAPSHOT_DAMAGED, text)
        return found


def _check_number(manifest: Manifest, number: int) -> None:
    if not 0 <= number < len(manifest.digests):
        text = f"the snapshot has {len(manifest.digests)} chunks, {number} is none of them"
        raise StorageRefused(NO_SUCH_CHUNK, text)


def _digested(pieces: Iterable[bytes], digests: list[bytes]) -> Iterator[bytes]:
    """The pieces as they are; the digests of their chunks of 1 MiB are appended to `digests`."""
    digest, filled = sha256(), 0
    for piece in pieces:
        at = 0
        while at < len(piece):
            part = piece[at : at + CHUNK_BYTES - filled]
            digest.update(part)
            filled += len(part)
            at += len(part)
            if filled == CHUNK_BYTES:
                digests.append(digest.digest())
                digest, filled = sha256(), 0
        yield piece
    if filled:
        digests.append(digest.digest())


def _damaged(manifest: Manifest, why: str) -> StorageDamaged:
    text = f"snapshot {manifest.stem} is damaged: {why}"
    return StorageDamaged(
        SNAPSHOT_DAMAGED, f"{text}; remove it, use another", height=manifest.height
    )
