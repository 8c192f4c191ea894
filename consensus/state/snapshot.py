"""The snapshot container: the whole state at one block, as a stream of checked chunks.

What lives here: bytes <-> state memory, and the facts that say which state it is. What must never
live here: files, sockets, which snapshot to keep, or trust: the facts are the writer's claim until
`restore` has rebuilt the tree and compared the state root, and the caller has compared that root
with a certified header. The byte-exact layout is in docs/protocol/state-tree.md.

Theory of operation. Each region is cut into windows of 1 MiB. A window with anything in it becomes
one chunk: a bitmap of its non-zero leaves, then those leaves, compressed; an empty market costs
eight bytes. A chunk carries the SHA-256 of its compressed bytes, so a peer that sends a bad chunk
is known at that chunk, and the file ends with the SHA-256 of all before it.

zstd output depends on the library's version, so two honest writers may differ in bytes; only the
state root is compared between them. Sizes are checked before anything is allocated: a zstd frame
names its own content size and python-zstandard believes the frame rather than `max_output_size`,
so the frame's claim is compared with the chunk header first.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import zstandard

from consensus.exceptions import InvalidSnapshot
from consensus.state.tree import (
    LEAF_BYTES,
    LEAF_WORDS,
    ZERO_LEAF,
    Memory,
    Region,
    StateTree,
    layout_fault,
    nonzero_leaves,
    tile,
)

MAGIC: Final = b"RLTS"
SNAPSHOT_FORMAT: Final = 1
WINDOW_LEAVES: Final = 4096  # 1 MiB of memory; aligned within the region
BITMAP_BYTES: Final = WINDOW_LEAVES // 8
WORDS_MAX: Final = 1 << 28  # 2 GiB, what `restore` allocates unless told otherwise
ZSTD_LEVEL: Final = 3

NOT_A_SNAPSHOT: Final = 5500
UNKNOWN_FORMAT: Final = 5501
TRUNCATED: Final = 5502
DAMAGED: Final = 5503
BAD_REGIONS: Final = 5504
TOO_LARGE: Final = 5505
CHUNK_MISPLACED: Final = 5506
CHUNK_DAMAGED: Final = 5507
CHUNK_SIZE: Final = 5508
CHUNK_NOT_CANONICAL: Final = 5509
CHUNK_COUNT: Final = 5510
WRONG_STATE_ROOT: Final = 5511
BAD_FACTS: Final = 5512

_HASH_BYTES: Final = 32
_FACTS_BYTES: Final = 4 + 2 + 4 + _HASH_BYTES + 8 + _HASH_BYTES + _HASH_BYTES
_CHUNK_HEADER_BYTES: Final = 4 + 4 + 4 + 4 + _HASH_BYTES
_END_OF_CHUNKS: Final = 0xFFFFFFFF  # in the place of a region's number in the table
_FOOTER_BYTES: Final = 4 + 4 + _HASH_BYTES


class Facts(NamedTuple):
    """Which state this is. Hashes are 32 bytes."""

    layout_version: int
    genesis_hash: bytes
    height: int
    block_hash: bytes
    state_root: bytes


class Restored(NamedTuple):
    """A state whose root was rebuilt and is `facts.state_root`. `memory` is M, little-endian."""

    facts: Facts
    regions: tuple[Region, ...]
    memory: bytearray
    tree: StateTree


def write(regions: Sequence[Region], mem: Memory, facts: Facts) -> Iterator[bytes]:
    """The container in pieces of at most about 1 MiB. `mem` must not change until the last one.

    InvalidSnapshot if the facts or regions cannot be written. That `facts.state_root` is the root
    of `mem` is the caller's word; `restore` finds out.
    """
    digest = sha256()
    chunks = 0
    for piece in _pieces(regions, memoryview(mem).cast("B"), facts):
        digest.update(piece)
        chunks += 1
        yield piece
    footer = _u32(_END_OF_CHUNKS) + _u32(chunks - 1)
    digest.update(footer)
    yield footer + digest.digest()


def read(data: bytes) -> tuple[Facts, tuple[Region, ...], Iterator[tuple[int, bytes]]]:
    """Facts, regions and (word offset in M, run of whole leaves), ascending; zeros are left out.

    InvalidSnapshot, with a number, for any byte that is not as written: damage to the whole is
    found at once, a chunk that is not canonical when the iterator reaches it.
    """
    if not data.startswith(MAGIC):
        raise InvalidSnapshot(NOT_A_SNAPSHOT, f"the file does not start with {MAGIC!r}")
    if len(data) < _FACTS_BYTES + 2 + _FOOTER_BYTES:
        raise InvalidSnapshot(TRUNCATED, f"{len(data)} bytes hold no snapshot; fetch it again")
    if sha256(memoryview(data)[:-_HASH_BYTES]).digest() != data[-_HASH_BYTES:]:
        raise InvalidSnapshot(DAMAGED, "the digest at the end does not match; fetch it again")
    if int.from_bytes(data[4:6], "little") != SNAPSHOT_FORMAT:
        raise InvalidSnapshot(UNKNOWN_FORMAT, f"this version reads format {SNAPSHOT_FORMAT} only")
    facts = _read_facts(data)
    regions, offset = _read_regions(data)
    return facts, regions, _read_chunks(data, regions, offset)


def restore(data: bytes, words_max: int = WORDS_MAX) -> Restored:
    """The memory and its tree; InvalidSnapshot if damaged, larger than `words_max`, or if the
    rebuilt root is not the one the facts name. The caller compares that one with a header."""
    facts, regions, runs = read(data)
    total = sum(region.words for region in regions)
    if total > words_max:
        raise InvalidSnapshot(TOO_LARGE, f"{total} words of state, this node takes {words_max}")
    memory = bytearray(8 * total)
    for word, run in runs:
        memory[8 * word : 8 * word + len(run)] = run
    tree = StateTree(regions, facts.layout_version)
    tree.rebuild(memory)
    if tree.root() != facts.state_root:
        raise InvalidSnapshot(WRONG_STATE_ROOT, "the leaves do not have the state root they claim")
    return Restored(facts, regions, memory, tree)


def _pieces(regions: Sequence[Region], view: memoryview, facts: Facts) -> Iterator[bytes]:
    """Header and chunks, in order."""
    fault = layout_fault(regions)
    if fault is not None:
        raise InvalidSnapshot(BAD_REGIONS, fault)
    if len(view) != 8 * sum(region.words for region in regions):
        raise InvalidSnapshot(BAD_REGIONS, f"the regions do not cover {len(view)} bytes of memory")
    table = b"".join(_u32(region.id) + _u32(region.leaves) for region in regions)
    yield _facts_bytes(facts) + len(regions).to_bytes(2, "little") + table
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    for number, region in enumerate(regions):
        for window, positions in _windows(nonzero_leaves(view, region)):
            bits = 0
            parts = [b""]
            for position in positions:
                bits |= 1 << (position - window)
                offset = (region.first_leaf + position) * LEAF_BYTES
                parts.append(view[offset : offset + LEAF_BYTES].tobytes())
            parts[0] = bits.to_bytes(BITMAP_BYTES, "little")
            packed = compressor.compress(b"".join(parts))
            header = _u32(number) + _u32(window) + _u32(len(positions)) + _u32(len(packed))
            yield header + sha256(packed).digest() + packed


def _windows(positions: Iterator[int]) -> Iterator[tuple[int, list[int]]]:
    """(first position, the given positions) of each window that has any."""
    window, held = 0, list[int]()
    for position in positions:
        if position - position % WINDOW_LEAVES != window:
            if held:
                yield window, held
            window, held = position - position % WINDOW_LEAVES, []
        held.append(position)
    if held:
        yield window, held


def _read_chunks(
    data: bytes, regions: Sequence[Region], offset: int
) -> Iterator[tuple[int, bytes]]:
    end = len(data) - _FOOTER_BYTES
    last = (-1, 0)
    chunks = 0
    while offset < end:
        header = data[offset : offset + _CHUNK_HEADER_BYTES]
        number, window, count, size = (_at(header, i) for i in (0, 4, 8, 12))
        offset += _CHUNK_HEADER_BYTES
        if offset + size > end:
            raise InvalidSnapshot(TRUNCATED, f"chunk {chunks} runs past the end")
        if number >= len(regions) or (number, window) <= last or window % WINDOW_LEAVES:
            raise InvalidSnapshot(CHUNK_MISPLACED, f"chunk {chunks} is not where it belongs")
        span = min(WINDOW_LEAVES, regions[number].leaves - window)
        if not 0 < count <= span:
            raise InvalidSnapshot(CHUNK_MISPLACED, f"chunk {chunks} has {count} of {span} leaves")
        packed = data[offset : offset + size]
        if sha256(packed).digest() != header[16:]:
            raise InvalidSnapshot(CHUNK_DAMAGED, f"chunk {chunks} has another digest")
        content = _unpack(packed, BITMAP_BYTES + count * LEAF_BYTES)
        first = regions[number].first_leaf + window
        yield from _runs(content, first, span, count)
        offset, last, chunks = offset + size, (number, window), chunks + 1
    if (_at(data, end), _at(data, end + 4)) != (_END_OF_CHUNKS, chunks):
        raise InvalidSnapshot(CHUNK_COUNT, f"the end does not say that there are {chunks} chunks")


def _unpack(packed: bytes, size: int) -> bytes:
    """One zstd frame of exactly `size` bytes and nothing after it."""
    try:
        if zstandard.frame_content_size(packed) != size:
            raise InvalidSnapshot(CHUNK_SIZE, f"a chunk does not unpack to {size} bytes")
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 21)
        return reader.decompress(packed, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidSnapshot(CHUNK_SIZE, f"a chunk is not one zstd frame: {error}") from error


def _runs(content: bytes, first: int, span: int, count: int) -> Iterator[tuple[int, bytes]]:
    """(word offset, bytes) of each run of adjacent leaves in a chunk."""
    bits = int.from_bytes(content[:BITMAP_BYTES], "little")
    if bits >> span or bits.bit_count() != count:
        raise InvalidSnapshot(CHUNK_NOT_CANONICAL, f"the bitmap does not name {count} leaves")
    offset, position = BITMAP_BYTES, 0
    while bits:
        gap = (bits & -bits).bit_length() - 1
        bits >>= gap
        position += gap
        length = (~bits & bits + 1).bit_length() - 1
        run = content[offset : offset + length * LEAF_BYTES]
        for at in range(0, len(run), LEAF_BYTES):
            if run[at : at + LEAF_BYTES] == ZERO_LEAF:
                raise InvalidSnapshot(CHUNK_NOT_CANONICAL, "a leaf of zeros is stored")
        yield (first + position) * LEAF_WORDS, run
        offset, position, bits = offset + len(run), position + length, bits >> length


def _facts_bytes(facts: Facts) -> bytes:
    hashes = (facts.genesis_hash, facts.block_hash, facts.state_root)
    if any(len(item) != _HASH_BYTES for item in hashes):
        raise InvalidSnapshot(BAD_FACTS, "genesis hash, block hash and state root have 32 bytes")
    if not (0 <= facts.layout_version < 1 << 32 and 0 <= facts.height < 1 << 64):
        raise InvalidSnapshot(BAD_FACTS, "layout version is u32 and height is u64")
    return b"".join(
        (
            MAGIC,
            SNAPSHOT_FORMAT.to_bytes(2, "little"),
            _u32(facts.layout_version),
            facts.genesis_hash,
            facts.height.to_bytes(8, "little"),
            facts.block_hash,
            facts.state_root,
        )
    )


def _read_facts(data: bytes) -> Facts:
    height = int.from_bytes(data[42:50], "little")
    return Facts(_at(data, 6), data[10:42], height, data[50:82], data[82:114])


def _read_regions(data: bytes) -> tuple[tuple[Region, ...], int]:
    """The region table and the offset of the first chunk."""
    start = _FACTS_BYTES + 2
    count = int.from_bytes(data[_FACTS_BYTES:start], "little")
    end = start + 8 * count
    if end > len(data) - _FOOTER_BYTES:
        raise InvalidSnapshot(BAD_REGIONS, f"a table of {count} regions does not fit")
    regions = tile([(_at(data, i), _at(data, i + 4)) for i in range(start, end, 8)])
    fault = layout_fault(regions)
    if fault is not None:
        raise InvalidSnapshot(BAD_REGIONS, fault)
    return regions, end


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _at(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")
