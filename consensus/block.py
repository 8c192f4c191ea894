"""Headers and block bodies: their bytes, their hashes, and how a body is cut into groups.

What lives here: the byte forms of header and block, and what is wrong with a body that can be seen
without a state. What must never live here: whether a block is *allowed*; `apply_block` decides it.

Theory. A block hash covers the header alone; the header names every byte of the body by the root of
a stream (`consensus/streams.py`), so a header that is believed makes its body believable. Only the
header is RLP; rows and signatures are fixed-size records in byte strings, because unpacking ten
thousand of them field by field would cost more than executing them. An encoder checks its output
with the decoder: no value can be sent that nobody could read.

Bounds. Integers of the header that count or date are below 2^53, so that any language's JSON number
holds them; a state word always does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Final

from consensus import codec
from consensus.exceptions import InvalidBlock, InvalidEncoding
from consensus.layout import GROUP_OPERATIONS_MAX, KEY_DEPOSIT, KEY_FORCED
from consensus.streams import Bytes, bytes_root

BLOCK_BYTES_MAX: Final = 8 << 20
ROWS_MAX: Final = 65_536
"""Rows of messages and commands together, header rows included."""
MESSAGES_MAX: Final = 64
"""Groups from the L1 queue in one block."""
ROW_BYTES: Final = 64
SIGNATURE_BYTES: Final = 65
HASH_BYTES: Final = 32
COUNT_BITS: Final = 53
VERSION_BITS: Final = 16
ROUND_BITS: Final = 32
PROPOSER_BITS: Final = 16
HEADER_BYTES_MAX: Final = 512
"""Ten hashes of 33 bytes, eleven integers of at most 8, and the list prefix need less."""

BODY_SHAPE: Final = 3007
COMMANDS_ROOT: Final = 3008
SIGNATURES_ROOT: Final = 3009

HASH_ZERO: Final = bytes(HASH_BYTES)
HEADER_TAG: Final = b"rialto/header/1"
QUEUE_TAG: Final = b"rialto/queue/1"


@dataclass(frozen=True, slots=True)
class Header:
    """What a block hash covers; the table in docs/protocol/blocks.md says what each field means."""

    version: int
    height: int
    parent: bytes
    time: int
    round: int
    proposer: int
    validators_hash: bytes
    l1_number: int
    l1_hash: bytes
    l1_time: int
    l1_messages: int
    l1_queue_hash: bytes
    state_root: bytes
    commands_root: bytes
    signatures_root: bytes
    events_root: bytes
    withdrawals_root: bytes
    commands: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Block:
    """A header and the body it names. `messages` and `commands` are rows, 64 bytes each."""

    header: Header
    messages: bytes
    commands: bytes
    signatures: bytes


_HEADER_FIELDS: Final = tuple(field.name for field in fields(Header))


def encode_header(header: Header) -> bytes:
    """The RLP of `header`; what `decode_header` would refuse is refused here, by that number."""
    data = codec.encode([getattr(header, name) for name in _HEADER_FIELDS])
    decode_header(data)
    return data


def decode_header(data: bytes) -> Header:
    """The header whose one encoding is `data`, or `InvalidEncoding`."""
    return read_header(codec.decode(data, limit_bytes=HEADER_BYTES_MAX))


def read_header(item: codec.Item) -> Header:
    """The header that a decoded list holds, or `InvalidEncoding` 1008 .. 1013."""
    parts = codec.read_record(item, len(_HEADER_FIELDS))
    return Header(
        version=codec.read_uint(parts[0], VERSION_BITS),
        height=codec.read_uint(parts[1], COUNT_BITS),
        parent=codec.read_bytes(parts[2], HASH_BYTES),
        time=codec.read_uint(parts[3], COUNT_BITS),
        round=codec.read_uint(parts[4], ROUND_BITS),
        proposer=codec.read_uint(parts[5], PROPOSER_BITS),
        validators_hash=codec.read_bytes(parts[6], HASH_BYTES),
        l1_number=codec.read_uint(parts[7], COUNT_BITS),
        l1_hash=codec.read_bytes(parts[8], HASH_BYTES),
        l1_time=codec.read_uint(parts[9], COUNT_BITS),
        l1_messages=codec.read_uint(parts[10], COUNT_BITS),
        l1_queue_hash=codec.read_bytes(parts[11], HASH_BYTES),
        state_root=codec.read_bytes(parts[12], HASH_BYTES),
        commands_root=codec.read_bytes(parts[13], HASH_BYTES),
        signatures_root=codec.read_bytes(parts[14], HASH_BYTES),
        events_root=codec.read_bytes(parts[15], HASH_BYTES),
        withdrawals_root=codec.read_bytes(parts[16], HASH_BYTES),
        commands=codec.read_uint(parts[17], COUNT_BITS),
        sequence=codec.read_uint(parts[18], COUNT_BITS),
    )


def block_hash(header: Header) -> bytes:
    """SHA-256("rialto/header/1" | RLP), 32 bytes."""
    return sha256(HEADER_TAG + encode_header(header)).digest()


def encode_block(block: Block) -> bytes:
    """The block's bytes: RLP list of header, messages, commands, signatures; at most 8 MiB."""
    header = codec.decode(encode_header(block.header), limit_bytes=HEADER_BYTES_MAX)
    data = codec.encode([header, block.messages, block.commands, block.signatures])
    if len(data) > BLOCK_BYTES_MAX:
        raise InvalidEncoding(
            codec.INPUT_TOO_LONG,
            f"a block of {len(data)} bytes where {BLOCK_BYTES_MAX} are allowed; seal it earlier",
            length=len(data),
            limit=BLOCK_BYTES_MAX,
        )
    return data


def decode_block(data: bytes) -> Block:
    """The block whose one encoding is `data`, or `InvalidEncoding`; `check_body` comes later."""
    item = codec.decode(data, limit_bytes=BLOCK_BYTES_MAX, limit_items=len(_HEADER_FIELDS) + 5)
    header, *body = codec.read_record(item, 4)
    messages, commands, signatures = [codec.read_string(part, BLOCK_BYTES_MAX) for part in body]
    return Block(read_header(header), messages, commands, signatures)


def group_rows(rows: Bytes) -> list[int]:
    """Cut `rows` into groups: the index of each group's header row, in order.

    Only what the cutting needs is checked, the rest of a header row is the core's (4009). Raises
    `InvalidBlock` `BODY_SHAPE`.
    """
    total, rest = divmod(len(rows), ROW_BYTES)
    if rest:
        raise InvalidBlock(BODY_SHAPE, f"{len(rows)} bytes are not whole rows of {ROW_BYTES}")
    counts = bytes(rows[1::ROW_BYTES])
    found = []
    row, most = 0, GROUP_OPERATIONS_MAX
    while row < total and 0 < (count := counts[row]) <= most:
        found.append(row)
        row += 1 + count
    if row != total:
        row = row if row < total else found[-1]
        text = f"the group at row {row} has {counts[row]} operations of 1 to {most}"
        raise InvalidBlock(BODY_SHAPE, f"{text}, and {total - row - 1} rows follow", row=row)
    return found


def groups(rows: Bytes) -> Iterator[tuple[int, int, int]]:
    """The groups of `rows`: (first row, operations, key) each, in order.

    `first row` is the index of the group's header row; its operations are the `operations` rows
    after it. Raises `InvalidBlock` `BODY_SHAPE`.
    """
    for row in group_rows(rows):
        yield row, rows[row * ROW_BYTES + 1], rows[row * ROW_BYTES + 2]


def check_body(block: Block) -> int:
    """Return the operations of a body of whole rows, groups and signatures within the limits.

    Raises `InvalidBlock` `BODY_SHAPE`.
    """
    rows = (len(block.messages) + len(block.commands)) // ROW_BYTES
    if rows > ROWS_MAX:
        raise InvalidBlock(BODY_SHAPE, f"{rows} rows where at most {ROWS_MAX} are allowed")
    messages = len(group_rows(block.messages))
    if messages > MESSAGES_MAX:
        raise InvalidBlock(BODY_SHAPE, f"{messages} messages, at most {MESSAGES_MAX} are allowed")
    commands = len(group_rows(block.commands))
    if len(block.signatures) != SIGNATURE_BYTES * commands:
        text = f"{len(block.signatures)} bytes of signatures, {SIGNATURE_BYTES} for each of"
        raise InvalidBlock(BODY_SHAPE, f"{text} {commands} groups of commands are needed")
    return rows - messages - commands


def commands_root(block: Block) -> bytes:
    return bytes_root("commands", block.messages + block.commands)


def signatures_root(block: Block) -> bytes:
    return bytes_root("signatures", block.signatures)


def check_body_roots(block: Block) -> None:
    """Raise `InvalidBlock` `COMMANDS_ROOT` or `SIGNATURES_ROOT` if the body is not the header's."""
    if commands_root(block) != block.header.commands_root:
        raise InvalidBlock(COMMANDS_ROOT, "the rows are not those that the header names")
    if signatures_root(block) != block.header.signatures_root:
        raise InvalidBlock(SIGNATURES_ROOT, "the signatures are not those that the header names")


def queue_hash(before: bytes, rows: bytes) -> bytes:
    """The hash of the L1 queue after each group of `rows`; `before` is 32 zero bytes at first.

    An item is a group as the L1 contract can write it: with account 0, because the account of its
    header row is a hint that the proposer adds. Raises `InvalidBlock` `BODY_SHAPE`.
    """
    for row, count, key in groups(rows):
        if key not in (KEY_DEPOSIT, KEY_FORCED):
            raise InvalidBlock(BODY_SHAPE, f"the group at row {row} is none of the L1 queue")
        at, end = row * ROW_BYTES, (row + 1 + count) * ROW_BYTES
        item = rows[at : at + 8] + bytes(8) + rows[at + 16 : end]
        before = sha256(QUEUE_TAG + before + item).digest()
    return before
