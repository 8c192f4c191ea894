"""Headers and blocks: golden vectors, one encoding, no byte that does not matter."""

import json
import re
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from consensus import block as law
from consensus import codec
from consensus.block import Block, Header
from consensus.exceptions import ConsensusError, InvalidBlock, InvalidEncoding

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "header.json").read_text())
INTEGERS = [field.name for field in fields(Header) if field.type in (int, "int")]
HASHES = [field.name for field in fields(Header) if field.type in (bytes, "bytes")]
WIDTHS = {"version": 16, "round": 32, "proposer": 16}


def header_of(values: dict[str, int | str]) -> Header:
    return Header(
        **{  # type: ignore[arg-type]
            name: bytes.fromhex(value) if isinstance(value, str) else value
            for name, value in values.items()
        }
    )


HEADER = header_of(VECTORS[0]["header"])


def with_field(name: str, value: int | bytes) -> Header:
    changes: dict[str, Any] = {name: value}
    return replace(HEADER, **changes)


def group(key: int, operations: int, account: int = 7) -> bytes:
    head = operations << 8 | key << 16
    rows = [head.to_bytes(8, "little") + account.to_bytes(8, "little") + bytes(48)]
    rows += [bytes([1]) * 64] * operations
    return b"".join(rows)


def sealed(messages: bytes, commands: bytes, signatures: bytes) -> Block:
    block = Block(HEADER, messages, commands, signatures)
    header = replace(
        HEADER,
        commands_root=law.commands_root(block),
        signatures_root=law.signatures_root(block),
    )
    return replace(block, header=header)


BLOCK = sealed(group(254, 1) + group(255, 2), group(0, 3) + group(2, 1), bytes(range(130)))


def number_of(block: Block) -> int:
    with pytest.raises(InvalidBlock) as caught:
        law.check_body(block)
    return caught.value.number


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_a_header_has_the_bytes_and_the_hash_of_its_vector(vector: dict[str, object]) -> None:
    values = vector["header"]
    assert isinstance(values, dict)
    header, data = header_of(values), bytes.fromhex(str(vector["rlp"]))
    assert law.encode_header(header) == data
    assert law.decode_header(data) == header
    assert law.block_hash(header).hex() == vector["hash"]
    assert sha256(b"rialto/header/1" + data).hexdigest() == vector["hash"]


def test_every_flipped_byte_of_a_header_is_refused_or_changes_the_hash() -> None:
    data, seen = law.encode_header(HEADER), {law.block_hash(HEADER)}
    for i in range(len(data)):
        for bit in range(8):
            bad = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            try:
                seen.add(law.block_hash(law.decode_header(bad)))
            except InvalidEncoding as error:
                assert 1001 <= error.number <= 1016
                seen.add(bad)
    assert len(seen) == 1 + 8 * len(data)


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_wider_than_its_field_is_neither_sent_nor_read(name: str) -> None:
    bits = WIDTHS.get(name, 53)
    largest = with_field(name, (1 << bits) - 1)
    assert law.decode_header(law.encode_header(largest)) == largest
    assert len(law.encode_header(largest)) <= law.HEADER_BYTES_MAX
    with pytest.raises(InvalidEncoding) as caught:
        law.encode_header(with_field(name, 1 << bits))
    assert caught.value.number == codec.UINT_RANGE


@pytest.mark.parametrize("name", HASHES)
def test_a_hash_of_another_length_is_neither_sent_nor_read(name: str) -> None:
    for length in (0, 31, 33):
        with pytest.raises(InvalidEncoding) as caught:
            law.encode_header(with_field(name, bytes(length)))
        assert caught.value.number == codec.WRONG_LENGTH


def test_the_header_fields_are_those_of_the_protocol_page_in_order() -> None:
    page = Path(__file__).parents[2] / "docs" / "protocol" / "blocks.md"
    text = page.read_text().split("## Header")[1].split("Block hash")[0]
    cells = [line.split("|")[2] for line in text.splitlines() if line.startswith("|")]
    named = [name for cell in cells for name in re.findall("`(.+?)`", cell)]
    assert named == [field.name for field in fields(Header)]


def test_a_block_comes_back_from_its_bytes() -> None:
    assert law.decode_block(law.encode_block(BLOCK)) == BLOCK
    law.check_body_roots(BLOCK)


def test_every_flipped_byte_of_a_block_is_refused_by_number_or_changes_its_hash() -> None:
    """Header bytes change the hash; body bytes leave it and are refused by 3007, 3008 or 3009."""
    data, hash_before = law.encode_block(BLOCK), law.block_hash(BLOCK.header)
    numbers = []
    for i in range(len(data)):
        bad = data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :]
        try:
            block = law.decode_block(bad)
            if law.block_hash(block.header) != hash_before:
                continue
            law.check_body(block)
            law.check_body_roots(block)
        except ConsensusError as error:
            numbers.append(error.number)
        else:
            pytest.fail(f"byte {i} may change")
    assert {law.BODY_SHAPE, law.COMMANDS_ROOT, law.SIGNATURES_ROOT} <= set(numbers)
    assert all(1001 <= number <= 1016 or number in (3007, 3008, 3009) for number in numbers)


def test_a_block_above_its_limit_is_neither_sent_nor_read() -> None:
    room = law.BLOCK_BYTES_MAX - len(law.encode_block(replace(BLOCK, commands=b""))) - 4
    full = replace(BLOCK, commands=bytes(room))
    over = replace(BLOCK, commands=bytes(room + 8))
    assert law.decode_block(law.encode_block(full)) == full
    with pytest.raises(InvalidEncoding) as caught:
        law.encode_block(over)
    assert caught.value.number == codec.INPUT_TOO_LONG
    with pytest.raises(InvalidEncoding) as caught:
        law.decode_block(bytes(law.BLOCK_BYTES_MAX + 1))
    assert caught.value.number == codec.INPUT_TOO_LONG


def test_rows_are_cut_into_groups_at_their_header_rows() -> None:
    rows = group(0, 3) + group(2, 1) + group(253, 64)
    assert list(law.groups(rows)) == [(0, 3, 0), (4, 1, 2), (6, 64, 253)]
    assert list(law.groups(b"")) == []
    assert law.check_body(BLOCK) == 7


@pytest.mark.parametrize(
    "rows",
    [
        group(0, 1)[:-1],
        group(0, 0),
        group(0, 65),
        group(0, 2)[:-64],
        group(0, 1) + group(0, 1)[:64],
    ],
    ids=["part of a row", "no operation", "65 operations", "a row too few", "a header row alone"],
)
def test_rows_that_are_no_groups_break_the_body_shape(rows: bytes) -> None:
    signatures = bytes(65 * 2)
    assert number_of(Block(HEADER, b"", rows, signatures)) == law.BODY_SHAPE
    assert number_of(Block(HEADER, rows, b"", b"")) == law.BODY_SHAPE


def test_the_limits_of_a_body_are_exact() -> None:
    most = group(254, 1) * law.MESSAGES_MAX
    assert law.check_body(Block(HEADER, most, b"", b"")) == law.MESSAGES_MAX
    assert number_of(Block(HEADER, most + group(254, 1), b"", b"")) == law.BODY_SHAPE
    rows = group(0, 1) * (law.ROWS_MAX // 2)
    signatures = bytes(65 * (law.ROWS_MAX // 2))
    assert law.check_body(Block(HEADER, b"", rows, signatures)) == law.ROWS_MAX // 2
    assert number_of(Block(HEADER, group(254, 1), rows, signatures)) == law.BODY_SHAPE
    for length in (64, 66, 0, 130):
        assert number_of(Block(HEADER, b"", group(0, 3), bytes(length))) == law.BODY_SHAPE


def test_the_queue_hash_chains_items_and_leaves_the_hint_of_the_proposer_out() -> None:
    items = [group(254, 1, account=0), group(255, 2, account=0)]
    expected = law.HASH_ZERO
    for item in items:
        expected = sha256(b"rialto/queue/1" + expected + item).digest()
    assert law.queue_hash(law.HASH_ZERO, b"".join(items)) == expected
    hinted = group(254, 1, account=9) + group(255, 2, account=12)
    assert law.queue_hash(law.HASH_ZERO, hinted) == expected
    halfway = law.queue_hash(law.HASH_ZERO, items[0])
    assert law.queue_hash(halfway, items[1]) == expected
    assert law.queue_hash(expected, b"") == expected
    with pytest.raises(InvalidBlock):
        law.queue_hash(law.HASH_ZERO, group(0, 1))
