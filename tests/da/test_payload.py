"""The payload against itself, damage, bombs, a golden vector and the sizes it promises."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from struct import iter_unpack, pack
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import block
from consensus.da import columns, payload, rows
from consensus.da.payload import BlockBody, compress, decode, decompress, encode, restore_signers
from consensus.exceptions import InvalidPayload
from node.bench.payload_flow import BLOCK_COMMANDS, Flow

VECTORS = Path(__file__).parent.parent / "vectors" / "payload.json"
SEED = 7
FUZZ = settings(max_examples=150, derandomize=True, deadline=None, database=None)
SIGNER = (3, 5, 7)

words = st.one_of(st.just(0), st.integers(-3, 40), st.integers(-(1 << 63), (1 << 63) - 1))
any_row = st.tuples(*[words] * 8)
market_words = st.builds(
    lambda op, side, kind, flags, market: op | side << 8 | kind << 16 | flags << 28 | market << 32,
    st.sampled_from([1, 2, 3, 4, 5, 10]), st.integers(0, 1), st.integers(0, 2), st.integers(0, 1),
    st.integers(0, 2),
)  # fmt: skip
likely_row = st.builds(lambda first, row: (first, *row[1:]), market_words, any_row)
row_lists = st.lists(st.one_of(any_row, likely_row), min_size=1, max_size=6)


def packed(*rows_of_words: tuple[int, ...]) -> bytes:
    return b"".join(pack("<8q", *row) for row in rows_of_words)


def command_group(
    key: int, account: int, nonce: int, expires: int, ops: Sequence[tuple[int, ...]]
) -> bytes:
    return packed((len(ops) << 8 | key << 16, account, nonce, expires, *SIGNER, 0), *ops)


def message_group(key: int, account: int, nonce: int, ops: Sequence[tuple[int, ...]]) -> bytes:
    return packed((len(ops) << 8 | key << 16, account, nonce, 0, 1 << 55, 9, 1 << 47, 0), *ops)


accounts = st.sampled_from([0, 1, 2, 900, (1 << 53) - 1])
nonces = st.one_of(st.integers(1, 5), st.integers(1, (1 << 53) - 1))
places = st.one_of(st.just(0), nonces)  # in the L1 queue
commands = st.lists(
    st.builds(command_group, st.sampled_from([0, 1, 4, 253]), accounts, nonces, words, row_lists),
    max_size=4,
)
messages = st.lists(
    st.builds(message_group, st.sampled_from([254, 255]), accounts, places, row_lists), max_size=2
)


@st.composite
def batches(draw: st.DrawFn) -> list[BlockBody]:
    """Valid bodies with arbitrary operations; all with signatures, or all with their root."""
    is_posted = draw(st.booleans())
    out: list[BlockBody] = []
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(commands)
        number = draw(st.integers(0, 3))
        origin = number.to_bytes(32, "big"), number * 12
        size = 65 * len(groups) if is_posted else 32
        out.append(BlockBody(
            draw(st.integers(0, (1 << 53) - 1)), draw(st.integers(0, (1 << 32) - 1)),
            draw(st.integers(0, (1 << 16) - 1)), number, *origin, b"".join(draw(messages)),
            b"".join(groups), draw(st.binary(min_size=size, max_size=size)),
        ))  # fmt: skip
    return out


def without_signers(body: BlockBody) -> BlockBody:
    return body._replace(commands=restore_signers(body.commands, lambda account, key: (0, 0, 0)))


def number_of(data: bytes) -> int:
    with pytest.raises(InvalidPayload) as caught:
        decode(data)
    return caught.value.number


def body_of(commands: bytes, groups: int, messages: bytes = b"") -> BlockBody:
    return BlockBody(
        5000, 1, 2, 9, bytes(range(32)), 4, messages, commands, bytes(range(65)) * groups
    )


GARBAGE = [(i % 5, -1, 1 << 62, -(1 << 63), 0, 7, -9, i) for i in range(8)]
PLACE = (1 | 2 << 32, 40, 100, 2500, 0, 0, 7000, 0)
SMALL = [
    body_of(
        command_group(0, 7, 12, 6000, [PLACE, (4, 40, *[0] * 6)])
        + command_group(2, 7, 3, 6100, [(3 | 2 << 32, 5 << 24 | 77, *[0] * 6)]),
        2,
        message_group(254, 1, 8, [(16, 1 << 55, 9, 1 << 47, 1, 500, 0, 0)]),
    ),
    body_of(command_group(0, 7, 13, 9000, GARBAGE), 1)._replace(time=5100),
]


@FUZZ
@given(batches())
def test_any_batch_of_well_shaped_groups_comes_back_but_for_the_signers(
    batch: list[BlockBody],
) -> None:
    data = encode(batch)
    assert decode(data) == [without_signers(body) for body in batch]
    assert encode(decode(data)) == data
    assert decompress(compress(data)) == data


@FUZZ
@given(batches(), st.data())
def test_a_changed_byte_is_refused_or_means_another_batch_with_exactly_these_bytes(
    batch: list[BlockBody], draw: st.DataObject
) -> None:
    data = bytearray(encode(batch))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    try:
        found = decode(bytes(data))
    except InvalidPayload as error:
        assert 8001 <= error.number <= 8999
        return
    assert encode(found) == data


def test_every_flip_cut_and_appended_byte_of_a_small_payload_is_refused_or_canonical() -> None:
    data = encode(SMALL)
    accepted = 0
    for at in range(len(data)):
        assert 8001 <= number_of(data[:at]) <= 8999
        for bits in (1, 2, 4, 0x80, 0xFF):
            changed = data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]
            try:
                found = decode(changed)
            except InvalidPayload:
                continue
            accepted += 1
            assert encode(found) == changed and found != decode(data)
    assert accepted > 100
    assert number_of(data + b"\0") == payload.TAIL_LENGTH


def test_restored_signers_give_back_the_rows_that_were_signed() -> None:
    bodies = decode(encode(SMALL))
    asked = []

    def lookup(account: int, key: int) -> tuple[int, int, int]:
        asked.append((account, key))
        return SIGNER

    assert [restore_signers(body.commands, lookup) for body in bodies] == [
        body.commands for body in SMALL
    ]
    assert asked == [(7, 0), (7, 2), (7, 0)]
    assert bodies[0].messages == SMALL[0].messages


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (body_of(packed((1 << 8, 1, 1, 1, 0, 0, 0, 0)), 1), rows.GROUP_SHAPE),
        (body_of(b"\0" * 63, 0), rows.GROUP_SHAPE),
        (body_of(packed((65 << 8, 1, 1, 1, 0, 0, 0, 0), *[(1,) * 8] * 65), 1), rows.GROUP_SHAPE),
        (body_of(packed((1 << 8, 1, 1, 1, 0, 0, 0, 1), (1,) * 8), 1), rows.GROUP_SHAPE),
        (body_of(packed((1 | 1 << 8, 1, 1, 1, 0, 0, 0, 0), (1,) * 8), 1), rows.GROUP_SHAPE),
        (body_of(packed((1 << 24 | 1 << 8, 1, 1, 1, 0, 0, 0, 0), (1,) * 8), 1), rows.GROUP_SHAPE),
        (body_of(command_group(254, 1, 1, 1, [(1,) * 8]), 1), rows.GROUP_SHAPE),
        (body_of(command_group(5, 1, 1, 1, [(1,) * 8]), 1), rows.GROUP_SHAPE),
        (body_of(command_group(0, 1, 0, 1, [(1,) * 8]), 1), rows.GROUP_SHAPE),
        (body_of(command_group(0, -1, 1, 1, [(1,) * 8]), 1), rows.GROUP_SHAPE),
        (body_of(b"", 0, message_group(0, 1, 1, [(1,) * 8])), rows.GROUP_SHAPE),
        (body_of(b"", 0, command_group(254, 1, 1, 1, [(1,) * 8])), rows.GROUP_SHAPE),
        (body_of(b"", 0)._replace(time=-1), payload.BLOCK_FIELD),
        (body_of(b"", 0)._replace(round=1 << 32), payload.BLOCK_FIELD),
        (body_of(b"", 0)._replace(l1_hash=b"short"), payload.ORIGIN),
        (body_of(b"", 1), payload.SIGNATURES),
    ],
)
def test_a_body_that_no_valid_block_has_is_not_encoded(body: BlockBody, number: int) -> None:
    with pytest.raises(InvalidPayload) as caught:
        encode([body])
    assert caught.value.number == number


def test_one_l1_block_has_one_hash_and_time_and_a_batch_one_signature_mode() -> None:
    one, two = SMALL
    for other, number in (
        (two._replace(l1_hash=bytes(32)), payload.ORIGIN),
        (two._replace(l1_time=99), payload.ORIGIN),
        (two._replace(signatures=bytes(32)), payload.SIGNATURES),
    ):
        with pytest.raises(InvalidPayload) as caught:
            encode([one, other])
        assert caught.value.number == number
    with pytest.raises(InvalidPayload) as caught:
        encode([])
    assert caught.value.number == payload.BLOCK_COUNT


@pytest.mark.parametrize("column", range(len(payload.COLUMNS)))
def test_a_column_with_one_value_too_many_or_an_empty_highest_plane_is_refused(column: int) -> None:
    data = encode(SMALL)
    at = payload.PREFIX.size + columns.ENTRY.size * column
    end_of_table = payload.PREFIX.size + columns.ENTRY.size * len(payload.COLUMNS)
    entries = columns.read_table(len(payload.COLUMNS), data, payload.PREFIX.size, payload.ROWS_MAX)
    start = end_of_table + sum(count * planes for count, planes in entries[:column])
    count, planes = entries[column]
    stop = start + count * planes

    def swapped(count: int, planes: int, stored: bytes) -> bytes:
        table = data[:at] + columns.ENTRY.pack(count, planes) + data[at + 5 : start]
        return table + stored + data[stop:]

    zeros = data[start:stop] + bytes(count)
    assert number_of(swapped(count, planes + 1, zeros)) == columns.COLUMN_PLANES
    # A zero more in each plane: whatever reads this column stops before its end.
    stored = b"".join(
        data[start + rank * count : start + (rank + 1) * count] + b"\0" for rank in range(planes)
    )
    assert number_of(swapped(count + 1, planes, stored)) == columns.COLUMN_LONG


def with_column(data: bytes, column: int, values: list[int]) -> bytes:
    """`data` with other values in one column, in the column's own canonical form."""
    kind = payload.COLUMNS[column][1]
    stored = [value << 1 ^ value >> 63 if kind == columns.SIGNED else value for value in values]
    used = (max(value % (1 << 64) for value in stored).bit_length() + 7) // 8
    words = b"".join((value % (1 << 64)).to_bytes(8, "little") for value in stored)
    planes = b"".join(words[rank::8] for rank in range(used))
    entries = columns.read_table(len(payload.COLUMNS), data, payload.PREFIX.size, payload.ROWS_MAX)
    at = payload.PREFIX.size + columns.ENTRY.size * column
    start = payload.PREFIX.size + columns.ENTRY.size * len(payload.COLUMNS)
    start += sum(count * ranks for count, ranks in entries[:column])
    stop = start + entries[column][0] * entries[column][1]
    table = data[:at] + columns.ENTRY.pack(len(values), used) + data[at + 5 : start]
    return table + planes + data[stop:]


CANCEL = (3, 5 << 24 | 77, 0, 0, 0, 0, 0, 0)
TWICE = [PLACE, PLACE, (4, 40, 0, 0, 0, 0, 0, 0), CANCEL]


@pytest.mark.parametrize(
    ("column", "honest", "forged", "number"),
    [
        (rows.REFERENCE, [1], [2], rows.REFERENCE_FORM),  # the id was placed again later
        (rows.REFERENCE, [1], [3], rows.REFERENCE_FORM),
        (rows.REFERENCE, [1], [-1], rows.REFERENCE_FORM),
        (rows.SLOT, [77], [1 << 24], rows.REFERENCE_FORM),
        (rows.SLOT, [77], [-1], rows.REFERENCE_FORM),
        (rows.GENERATION, [4], [(1 << 39) - 1], rows.REFERENCE_FORM),
        (rows.FORM, [0, 0, 1, 2], [0, -1, 1, 2], rows.ENTRY_NUMBER),
        (rows.FORM, [0, 0, 1, 2], [0, 2, 1, 2], rows.ENTRY_NUMBER),
        (rows.FORM_MASK, [39, 1, 1], [39, 1, 128], rows.ENTRY_NUMBER),
        (rows.PARTY, [0], [-1], rows.ENTRY_NUMBER),
        (rows.PARTY_KEY, [0], [254], rows.GROUP_SHAPE),
        (rows.COUNT, [3], [64], rows.GROUP_SHAPE),
        (rows.NONCE, [0], [-1], rows.GROUP_SHAPE),
        (rows.LOTS, [25, 25], [25, 250], rows.LOTS_FORM),
        (rows.LOTS_ZEROS, [2, 2], [2, 19], rows.LOTS_FORM),
        (rows.LOTS_ZEROS, [2, 2], [2, 18], rows.LOTS_FORM),  # 25 x 10^18 is wider than a word
        (rows.DUE, [2000, 2000], [2000, -5000], rows.WORD_ZERO),
        (payload.ROUND, [1], [1 << 32], payload.BLOCK_FIELD),
        (payload.MESSAGES, [0], [65], payload.BLOCK_FIELD),
        (payload.COMMANDS, [1], [2], columns.COLUMN_SHORT),
    ],
)
def test_a_second_spelling_or_a_value_outside_its_field_is_refused(
    column: int, honest: list[int], forged: list[int], number: int
) -> None:
    data = encode([body_of(command_group(0, 7, 1, 1, TWICE), 1)])
    assert with_column(data, column, honest) == data
    assert number_of(with_column(data, column, forged)) == number


def test_a_client_id_spelled_out_though_it_was_placed_in_the_batch_is_refused() -> None:
    placed = (1, 40, 100, 1, 0, 0, 0, 0)
    spelled = encode([body_of(command_group(0, 7, 1, 1, [placed, (4, 41, *[0] * 6)]), 1)])
    # The id is written as an exclusive or with the last one placed, 40.
    assert with_column(spelled, rows.CLIENT_OTHER, [1]) == spelled
    assert number_of(with_column(spelled, rows.CLIENT_OTHER, [0])) == rows.REFERENCE_FORM


def refused(frame: bytes, limit: int = payload.PAYLOAD_BYTES_MAX) -> int:
    with pytest.raises(InvalidPayload) as caught:
        decompress(frame, limit)
    return caught.value.number


def test_bombs_and_frames_of_unknown_size_are_refused_before_they_are_unpacked() -> None:
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(200 << 20))
    assert len(bomb) < 20_000 and refused(bomb) == payload.PAYLOAD_TOO_LONG
    honest = compress(encode(SMALL))
    assert refused(honest, 10) == payload.PAYLOAD_TOO_LONG
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(b"abc" * 100)
    assert refused(silent) == payload.CONTENT_SIZE
    # A size that lies low: the content is longer than what the frame announces.
    content = bytes(300)
    lying = bytearray(zstandard.ZstdCompressor(level=1).compress(content))
    lying[lying.index(b"\x2c\x00")] = 0x01
    assert refused(bytes(lying)) == payload.NOT_ZSTD
    for frame in (honest + b"\0", honest + honest, honest[:-1], b"", b"abcd", b"\x50" + honest[1:]):
        assert refused(frame) == payload.NOT_ZSTD


def test_the_golden_payload_is_that_of_the_vector() -> None:
    vector = json.loads(VECTORS.read_text())
    batch = []
    for body in vector["bodies"]:
        fields: dict[str, Any] = {
            name: bytes.fromhex(x) if isinstance(x, str) else x for name, x in body.items()
        }
        batch.append(BlockBody(**fields))
    data = encode(batch)
    assert data.hex() == vector["payload"]
    assert sha256(data).hexdigest() == vector["payload_hash"]
    assert decompress(bytes.fromhex(vector["compressed"])) == data
    assert [without_signers(body) for body in batch] == decode(data)


@pytest.mark.parametrize(("is_hostile", "bytes_max"), [(False, 5), (True, 9)])
def test_a_command_costs_at_most_five_bytes_and_nine_under_attack_without_signatures(
    is_hostile: bool, bytes_max: int
) -> None:
    print(f"seed {SEED}")
    flow = Flow(SEED, is_hostile)
    flow.blocks(20)
    batch = flow.blocks(84)
    bare = encode([body._replace(signatures=sha256(body.signatures).digest()) for body in batch])
    count = len(batch) * BLOCK_COMMANDS
    assert len(compress(bare)) <= bytes_max * count
    groups = sum(len(body.signatures) // 65 for body in batch)
    signed = len(compress(encode(batch))) - len(compress(bare))
    assert abs(signed - 65 * groups) < count // 20, "signatures do not compress"


def test_a_flow_comes_back_and_compresses_to_the_same_bytes_twice() -> None:
    batch = Flow(SEED).blocks(3)
    data = encode(batch)
    assert decode(data) == [without_signers(body) for body in batch]
    assert compress(data) == compress(data)
    assert sum(1 for body in batch for _ in iter_unpack("<8q", body.commands)) > 3000


def test_more_rows_than_a_block_may_have_are_not_encoded_and_not_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = command_group(0, 7, 1, 1, [CANCEL] * 63)
    full = encode([body_of(group * 1024, 1024)])
    assert len(decode(full)[0].commands) == 64 * block.ROWS_MAX
    with pytest.raises(InvalidPayload) as caught:
        encode([body_of(group * 1024 + group, 1025)])
    assert caught.value.number == payload.ROW_COUNT
    monkeypatch.setattr(block, "ROWS_MAX", block.ROWS_MAX - 1)
    assert number_of(full) == payload.ROW_COUNT


def test_a_foreign_prefix_and_a_count_over_the_limit_are_refused() -> None:
    data = encode(SMALL)
    assert number_of(b"\2" + data[1:]) == payload.PREFIX_FORM
    assert number_of(data[:1] + b"\2" + data[2:]) == payload.PREFIX_FORM
    assert number_of(data[:2] + b"\0\0" + data[4:]) == payload.BLOCK_COUNT
    assert number_of(data[:2] + b"\1\x40" + data[4:]) == payload.BLOCK_COUNT
    assert number_of(data[:4] + b"\xff\xff\xff\xff\0" + data[9:]) == columns.COLUMN_COUNT
    assert number_of(data[:3]) == columns.TRUNCATED
    assert number_of(bytes(payload.PAYLOAD_BYTES_MAX + 1)) == payload.PAYLOAD_TOO_LONG
