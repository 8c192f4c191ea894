"""The payload of a batch: the bytes from which replay rebuilds every block, and their zstd form.

What lives here: what of a block is posted, its canonical byte form, compression. What must never
live here: blobs, the batch's commitment, and whether a block is allowed. docs/protocol/payload.md
says the same for a second implementation.

Theory. A header is rebuilt by replay but for what its proposer chose: time, round, proposer, L1
origin, and the rows. Only these are posted, for a batch as a whole, as columns (`columns.py`) that
a walk over the rows fills (`rows.py`). The batch commits to the SHA-256 of what is uncompressed:
zstd's output depends on its version and level, so the compressed bytes are never made again and
compared. The uncompressed payload has one form per value, and `decode` refuses every other.

What a reader of the state knows is left out: the signer of a command is the address of its key, and
`restore_signers` writes it back, because signatures and `commands_root` are over whole rows.

Signatures are posted whole, or stay in the side-car until a proof covers them; then each block
has the 32 bytes of its `signatures_root` in their place, which its hash needs.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise, repeat
from struct import Struct
from struct import pack as struct_pack
from typing import Final, NamedTuple, TypeAlias

import zstandard

from consensus import block
from consensus.block import (
    COUNT_BITS,
    HASH_BYTES,
    PROPOSER_BITS,
    ROUND_BITS,
    ROW_BYTES,
    SIGNATURE_BYTES,
)
from consensus.da import rows
from consensus.da.columns import (
    PLAIN,
    SIGNED,
    TRUNCATED,
    ColumnReader,
    Columns,
    ColumnWriter,
    plane_ends,
)
from consensus.da.rows import GROUP_SHAPE, Row, Walk
from consensus.exceptions import InvalidBlock, InvalidPayload

TAIL_LENGTH: Final = 8002
PREFIX_FORM: Final = 8013
PAYLOAD_TOO_LONG: Final = 8014
BLOCK_COUNT: Final = 8015
ROW_COUNT: Final = 8016
BLOCK_FIELD: Final = 8017
ORIGIN: Final = 8018
SIGNATURES: Final = 8019
NOT_ZSTD: Final = 8020
CONTENT_SIZE: Final = 8021

VERSION: Final = 1
BLOCKS_MAX: Final = 1 << 14
"""Blocks of a batch."""
ROWS_MAX: Final = 1 << 18
"""Rows of a batch: more than six full blobs hold, and 16 MiB when unpacked."""
PAYLOAD_BYTES_MAX: Final = 32 << 20
"""A row needs at most 76 bytes (its words, word 0 and mask once more), its group's signature 65."""

LEVEL: Final = 12
"""Level 3 makes typical payloads 2 % larger, 19 makes them 1 % smaller in seven times the time."""
WINDOW_BYTES_MAX: Final = 1 << 23
"""The largest window a decompressor must offer (RFC 8878, 3.1.1.1.2 recommends 8 MiB)."""
FRAME_MAGIC: Final = bytes.fromhex("28b52ffd")

PREFIX: Final = Struct("<BBH")
"""Version, 1 if signatures are posted and 0 if their roots are, zero."""
ROW: Final = Struct("<8q")
SIGNER_WORDS: Final = Struct("<3q")
ZERO_ROW: Final[Row] = (0, 0, 0, 0, 0, 0, 0, 0)

BLOCK_COLUMNS: Final = (
    ("time", SIGNED), ("round", PLAIN), ("proposer", PLAIN), ("l1_number", SIGNED),
    ("l1_time", SIGNED), ("messages", PLAIN), ("commands", PLAIN),
)  # fmt: skip
COLUMNS: Final = rows.GROUP_COLUMNS + rows.ROW_COLUMNS + BLOCK_COLUMNS
TIME, ROUND, PROPOSER, L1_NUMBER, L1_TIME, MESSAGES, COMMANDS = range(
    len(COLUMNS) - len(BLOCK_COLUMNS), len(COLUMNS)
)
KINDS: Final = tuple(kind for _, kind in COLUMNS)


class BlockBody(NamedTuple):
    """What is posted of a block: fields of its header, and its body (docs/protocol/blocks.md).

    `signatures`: 65 bytes for each group of `commands`, or, for every block of the batch, the 32
    bytes of `signatures_root`.
    """

    time: int
    round: int
    proposer: int
    l1_number: int
    l1_hash: bytes
    l1_time: int
    messages: bytes
    commands: bytes
    signatures: bytes


Signer: TypeAlias = Callable[[int, int], tuple[int, int, int]]
"""(account, key) to the three address words of that key."""

NO_BODY: Final = BlockBody(0, 0, 0, 0, b"", 0, b"", b"", b"")
FIELD_BITS: Final = (
    ("time", COUNT_BITS), ("round", ROUND_BITS), ("proposer", PROPOSER_BITS),
    ("l1_number", COUNT_BITS), ("l1_time", COUNT_BITS),
)  # fmt: skip


def encode(batch: Sequence[BlockBody]) -> bytes:
    """The canonical payload of 1 to `BLOCKS_MAX` blocks in order. Signers of commands are dropped.

    Raises `InvalidPayload` 8007, 8014 .. 8019 for bodies that no valid batch has.
    """
    _check_blocks(len(batch))
    is_posted = len(batch[0].signatures) != HASH_BYTES
    writer = ColumnWriter(KINDS)
    walk = Walk(writer)
    hashes = []
    room = ROWS_MAX
    before = NO_BODY
    for body in batch:
        groups = len(_groups(body.messages)), len(_groups(body.commands))
        _, is_new, _ = _code_facts(writer, body, before, groups)
        if is_new:
            hashes.append(body.l1_hash)
        _check_origin(body, before, is_new)
        if len(body.signatures) != (SIGNATURE_BYTES * groups[1] if is_posted else HASH_BYTES):
            text = f"{len(body.signatures)} bytes of signatures for {groups[1]} groups"
            raise InvalidPayload(SIGNATURES, f"{text}; give all, or in all blocks the root")
        count = (len(body.messages) + len(body.commands)) // ROW_BYTES
        limit = min(room, block.ROWS_MAX)
        room -= count
        if count > limit:
            raise InvalidPayload(ROW_COUNT, f"{count} rows, room for {limit}", count=count)
        _code_rows(walk, ROW.iter_unpack(body.messages), groups[0], True, body.time, limit)
        _code_rows(walk, ROW.iter_unpack(body.commands), groups[1], False, body.time, limit)
        before = body
    tail = b"".join(hashes) + b"".join([body.signatures for body in batch])
    data = PREFIX.pack(VERSION, is_posted, len(batch)) + writer.to_bytes() + tail
    _check_size(len(data), PAYLOAD_BYTES_MAX)
    return data


def decode(data: bytes) -> list[BlockBody]:
    """The bodies whose one payload is `data`; signers of commands are zero.

    Raises `InvalidPayload` 8001 .. 8019 for anything that `encode` does not make.
    """
    blocks, is_posted = _read_prefix(data)
    reader = ColumnReader(KINDS, data, PREFIX.size, ROWS_MAX)
    walk = Walk(reader)
    bodies = []
    groups = []
    room = ROWS_MAX
    at = reader.end
    before = NO_BODY
    for _ in range(blocks):
        before, is_new, counts = _code_facts(reader, NO_BODY, before, (0, 0))
        if is_new:
            before = before._replace(l1_hash=data[at : at + HASH_BYTES])
            at += HASH_BYTES
        limit = min(room, block.ROWS_MAX)
        messages = _code_rows(walk, repeat(ZERO_ROW), counts[0], True, before.time, limit)
        limit -= len(messages) // ROW_BYTES
        commands = _code_rows(walk, repeat(ZERO_ROW), counts[1], False, before.time, limit)
        room -= (len(messages) + len(commands)) // ROW_BYTES
        bodies.append(before._replace(messages=messages, commands=commands))
        groups.append(counts[1])
    reader.finish()
    sizes = [SIGNATURE_BYTES * count if is_posted else HASH_BYTES for count in groups]
    if len(data) != at + sum(sizes):
        text = f"{len(data)} bytes, {at + sum(sizes)} with the hashes and signatures announced"
        raise InvalidPayload(TAIL_LENGTH, text, length=len(data))
    ends = list(accumulate(sizes, initial=at))
    return [
        body._replace(signatures=data[start:end])
        for body, (start, end) in zip(bodies, pairwise(ends), strict=True)
    ]


def compress(data: bytes) -> bytes:
    """One zstd frame of a payload, with its content size and without checksum.

    Each byte plane is a zstd block of its own, and so has its own entropy table, which is smaller
    than the same bytes in one piece. Raises `InvalidPayload` if `data` has no table.
    """
    _read_prefix(data)
    ends = plane_ends(len(KINDS), data, PREFIX.size, ROWS_MAX)
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
    stream = compressor.compressobj(size=len(data))
    out = []
    for start, end in pairwise([0, *ends, len(data)]):
        if start < end:
            out.append(stream.compress(data[start:end]))
            out.append(stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    out.append(stream.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH))
    return b"".join(out)


def decompress(data: bytes, limit: int = PAYLOAD_BYTES_MAX) -> bytes:
    """The content of the one zstd frame that `data` is, at most `limit` bytes.

    Nothing is allocated before the announced size is checked. Raises `InvalidPayload` 8014, 8020,
    8021.
    """
    if data[:4] != FRAME_MAGIC:
        raise InvalidPayload(NOT_ZSTD, "the bytes are no zstd frame")
    try:
        frame = zstandard.get_frame_parameters(data)
        size = frame.content_size
        if size == zstandard.CONTENTSIZE_UNKNOWN or frame.dict_id:
            text = "the frame does not say its size, or needs a dictionary; compress it again"
            raise InvalidPayload(CONTENT_SIZE, text)
        _check_size(size, limit)
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
        content = decompressor.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidPayload(NOT_ZSTD, f"the zstd frame is damaged: {error}") from error
    return content


def restore_signers(commands: bytes, lookup: Signer) -> bytes:
    """`commands` with words 4..6 of each group header set to `lookup(account, key)`.

    `lookup` returns the address words of a key from the state *as it was before the group*; a grant
    earlier in the block may change it, so pass one group at a time where it can. Messages keep
    their signers and need no lookup. Raises `InvalidPayload` 8007.
    """
    restored = bytearray(commands)
    for row, _, key in _groups(commands):
        at = row * ROW_BYTES
        account = int.from_bytes(commands[at + 8 : at + 16], "little", signed=True)
        restored[at + 32 : at + 56] = SIGNER_WORDS.pack(*lookup(account, key))
    return bytes(restored)


def _code_facts(
    io: Columns, body: BlockBody, before: BlockBody, groups: tuple[int, int]
) -> tuple[BlockBody, bool, tuple[int, int]]:
    """A body of facts alone (hash: of the block before), if its origin is new, and its groups."""
    code = io.code
    time = code(TIME, body.time, before.time)
    turn = code(ROUND, body.round)
    proposer = code(PROPOSER, body.proposer)
    l1_number = code(L1_NUMBER, body.l1_number, before.l1_number)
    is_new = not before.l1_hash or l1_number != before.l1_number
    l1_time = code(L1_TIME, body.l1_time, before.l1_time) if is_new else before.l1_time
    for value, (name, bits) in zip(
        (time, turn, proposer, l1_number, l1_time), FIELD_BITS, strict=True
    ):
        if value < 0 or value.bit_length() > bits:
            text = f"{name} {value} does not fit into {bits} bits"
            raise InvalidPayload(BLOCK_FIELD, text, field=name, value=value)
    counts = code(MESSAGES, groups[0]), code(COMMANDS, groups[1])
    if not (0 <= counts[0] <= block.MESSAGES_MAX and 0 <= counts[1] <= block.ROWS_MAX):
        text = f"{counts[0]} messages and {counts[1]} groups in one block"
        raise InvalidPayload(BLOCK_FIELD, text, groups=counts)
    facts = BlockBody(time, turn, proposer, l1_number, before.l1_hash, l1_time, b"", b"", b"")
    return facts, is_new, counts


def _code_rows(
    walk: Walk, given: Iterator[Row], groups: int, is_message: bool, time: int, limit: int
) -> bytes:
    """Walk `groups` groups of at most `limit` rows together, and return their rows."""
    words: list[int] = []
    row = walk.row
    for _ in range(groups):
        header, count, party = walk.group(next(given), time, is_message)
        limit -= 1 + count
        if limit < 0:
            raise InvalidPayload(ROW_COUNT, "more rows than a block or batch may have")
        words += header
        for _ in range(count):
            words += row(next(given), party, time)
    return struct_pack(f"<{len(words)}q", *words)


def _check_origin(body: BlockBody, before: BlockBody, is_new: bool) -> None:
    is_same = (body.l1_hash, body.l1_time) == (before.l1_hash, before.l1_time)
    if len(body.l1_hash) != HASH_BYTES or not (is_new or is_same):
        text = f"L1 block {body.l1_number} needs one hash of {HASH_BYTES} bytes and one time"
        raise InvalidPayload(ORIGIN, text, l1_number=body.l1_number)


def _groups(data: bytes) -> list[tuple[int, int, int]]:
    try:
        return list(block.groups(data))
    except InvalidBlock as error:
        raise InvalidPayload(GROUP_SHAPE, error.text, **error.facts) from error


def _read_prefix(data: bytes) -> tuple[int, bool]:
    """The number of blocks, and whether signatures are posted."""
    _check_size(len(data), PAYLOAD_BYTES_MAX)
    if len(data) < PREFIX.size:
        raise InvalidPayload(TRUNCATED, f"{len(data)} bytes are no payload")
    version, is_posted, blocks = PREFIX.unpack_from(data)
    if version != VERSION or is_posted > 1:
        text = f"a payload of version {version} and signature mode {is_posted}; upgrade to read it"
        raise InvalidPayload(PREFIX_FORM, text, version=version, mode=is_posted)
    _check_blocks(blocks)
    return blocks, bool(is_posted)


def _check_blocks(count: int) -> None:
    if not 0 < count <= BLOCKS_MAX:
        text = f"{count} blocks in a batch of 1 to {BLOCKS_MAX}"
        raise InvalidPayload(BLOCK_COUNT, text, count=count)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        text = f"a payload of {size} bytes where {limit} are allowed; post fewer blocks"
        raise InvalidPayload(PAYLOAD_TOO_LONG, text, size=size, limit=limit)
