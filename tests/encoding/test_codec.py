"""Strict RLP against Ethereum's own library, against itself, and against damage."""

from collections.abc import Callable

import pytest
import rlp  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import codec
from consensus.codec import Encodable, Item, decode, encode
from consensus.exceptions import InvalidEncoding

FUZZ = settings(max_examples=400, derandomize=True, deadline=None, database=None)
WHOLE = 1 << 20

strings = st.one_of(st.binary(max_size=3), st.binary(min_size=50, max_size=70))
items: st.SearchStrategy[Item] = st.recursive(
    strings, lambda inner: st.lists(inner, max_size=6), max_leaves=40
)


def nested(lists: int) -> bytes:
    """Return the RLP of `lists` lists, each the only item of the one around it."""
    data = b""
    for _ in range(lists):
        data = rlp.codec.length_prefix(len(data), 0xC0) + data
    return data


def depth_of(item: Item) -> int:
    return 1 + max((depth_of(child) for child in item), default=0) if isinstance(item, list) else 0


def number_of(refused: Callable[[], object]) -> int:
    with pytest.raises(InvalidEncoding) as caught:
        refused()
    assert str(caught.value).startswith(f"E{caught.value.number}: ")
    return caught.value.number


def accepted(data: bytes) -> bool:
    """Say whether `data` decodes, having checked that whatever decodes re-encodes to itself."""
    try:
        item = decode(data, limit_bytes=WHOLE)
    except InvalidEncoding as error:
        assert codec.TRUNCATED <= error.number <= codec.TOO_DEEP
        return False
    assert encode(item) == data
    return True


def oracle_accepts(data: bytes) -> bool:
    try:
        rlp.decode(data, strict=True)
    except rlp.exceptions.DecodingError:
        return False
    return True


@pytest.mark.parametrize(
    ("item", "hexadecimal"),
    [
        (b"dog", "83646f67"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        (b"", "80"),
        ([], "c0"),
        (0, "80"),
        (b"\0", "00"),
        (15, "0f"),
        (127, "7f"),
        (128, "8180"),
        (1024, "820400"),
        ((1 << 256) - 1, "a0" + "ff" * 32),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"Lorem ipsum dolor sit amet, consectetur adipisicing elit", "b838" + (
            b"Lorem ipsum dolor sit amet, consectetur adipisicing elit").hex()),
        ([b"a" * 55], "f838b7" + "61" * 55),
        (b"z" * 256, "b90100" + "7a" * 256),
    ],
)  # fmt: skip
def test_the_published_vectors_encode_to_the_published_bytes(
    item: Encodable, hexadecimal: str
) -> None:
    assert encode(item).hex() == hexadecimal
    assert encode(decode(bytes.fromhex(hexadecimal), limit_bytes=WHOLE)).hex() == hexadecimal


@FUZZ
@given(items)
def test_every_item_decodes_to_itself_and_encodes_as_the_reference_library_does(item: Item) -> None:
    if depth_of(item) > codec.DEPTH_MAX:
        assert number_of(lambda: encode(item)) == codec.TOO_DEEP
        return
    data = encode(item)
    assert data == rlp.encode(item)
    assert decode(data, limit_bytes=len(data)) == item


@FUZZ
@given(st.binary(max_size=80))
def test_random_bytes_are_refused_or_are_exactly_their_own_encoding(data: bytes) -> None:
    accepted(data)


@FUZZ
@given(items.filter(lambda item: depth_of(item) < codec.DEPTH_MAX - 1), st.data())
def test_a_damaged_encoding_is_accepted_exactly_when_the_strict_reference_accepts_it(
    item: Item, data: st.DataObject
) -> None:
    whole = encode(item)
    at = data.draw(st.integers(0, len(whole) - 1))
    patch = data.draw(st.binary(max_size=2))
    cut = data.draw(st.integers(0, 2))
    damaged = whole[:at] + patch + whole[at + cut :]
    assert accepted(damaged) == oracle_accepts(damaged)


def test_every_input_of_two_bytes_is_judged_as_the_strict_reference_judges_it() -> None:
    short = [bytes((a,)) for a in range(256)]
    short += [bytes((a, b)) for a in range(256) for b in range(256)]
    verdicts = [accepted(data) for data in short]
    assert verdicts == [oracle_accepts(data) for data in short]
    # 128 bytes and two empties; then 8180 .. 81ff and c100 .. c17f, c180, c1c0
    assert sum(verdicts) == 128 + 2 + 128 + 128 + 2


@pytest.mark.parametrize(
    ("hexadecimal", "number"),
    [
        ("", codec.TRUNCATED),
        ("83646f", codec.TRUNCATED),
        ("b8", codec.TRUNCATED),
        ("b938", codec.TRUNCATED),
        ("c283646f67", codec.TRAILING_BYTES),
        ("c483646f", codec.TRUNCATED),
        ("c3c28364c0", codec.TRAILING_BYTES),
        ("c5c283646f67", codec.TRUNCATED),
        ("bfffffffffffffffff", codec.TRUNCATED),
        ("8080", codec.TRAILING_BYTES),
        ("c000", codec.TRAILING_BYTES),
        ("b837" + "61" * 55, codec.NON_MINIMAL_LENGTH),
        ("b90038" + "61" * 56, codec.NON_MINIMAL_LENGTH),
        ("b800", codec.NON_MINIMAL_LENGTH),
        ("f800", codec.NON_MINIMAL_LENGTH),
        ("f837" + "61" * 55, codec.NON_MINIMAL_LENGTH),
        ("8100", codec.WRAPPED_BYTE),
        ("817f", codec.WRAPPED_BYTE),
        ("c28101", codec.WRAPPED_BYTE),
    ],
)
def test_every_form_but_the_canonical_one_is_refused_by_its_own_number(
    hexadecimal: str, number: int
) -> None:
    assert number_of(lambda: decode(bytes.fromhex(hexadecimal), limit_bytes=WHOLE)) == number
    assert not oracle_accepts(bytes.fromhex(hexadecimal))


def test_a_string_that_runs_out_of_its_list_but_not_of_the_input_is_refused() -> None:
    inner_overrun = bytes.fromhex("c6c283616263") + b"d"
    assert number_of(lambda: decode(inner_overrun, limit_bytes=WHOLE)) == codec.TRUNCATED


def test_bytes_over_the_limit_are_refused_and_bytes_at_the_limit_are_not() -> None:
    data = encode(b"x" * 100)
    assert decode(data, limit_bytes=len(data)) == b"x" * 100
    assert number_of(lambda: decode(data, limit_bytes=len(data) - 1)) == codec.INPUT_TOO_LONG


def test_the_limits_are_those_of_the_protocol_page() -> None:
    assert (codec.DEPTH_MAX, codec.ITEMS_MAX, codec.UINT_BITS_MAX) == (8, 65_536, 256)


def test_items_of_all_depths_count_towards_the_limit() -> None:
    data = encode([b"a", [b"b", []]])
    assert decode(data, limit_bytes=WHOLE, limit_items=5) == [b"a", [b"b", []]]
    refused = number_of(lambda: decode(data, limit_bytes=WHOLE, limit_items=4))
    assert refused == codec.TOO_MANY_ITEMS


def test_the_default_item_limit_stops_a_megabyte_of_empty_lists() -> None:
    bomb = b"\xfa" + (WHOLE - 4).to_bytes(3, "big") + b"\xc0" * (WHOLE - 4)
    assert number_of(lambda: decode(bomb, limit_bytes=WHOLE)) == codec.TOO_MANY_ITEMS
    most = encode([b""] * (codec.ITEMS_MAX - 1))
    assert len(decode(most, limit_bytes=WHOLE)) == codec.ITEMS_MAX - 1


def test_eight_nested_lists_are_accepted_and_nine_are_refused_both_ways() -> None:
    item = decode(nested(codec.DEPTH_MAX), limit_bytes=WHOLE)
    assert depth_of(item) == codec.DEPTH_MAX
    assert encode(item) == nested(codec.DEPTH_MAX)
    deeper = nested(codec.DEPTH_MAX + 1)
    assert number_of(lambda: decode(deeper, limit_bytes=WHOLE)) == codec.TOO_DEEP
    assert number_of(lambda: encode([item])) == codec.TOO_DEEP


def test_ten_thousand_nested_lists_are_refused_without_exhausting_the_stack() -> None:
    assert number_of(lambda: decode(nested(10_000), limit_bytes=WHOLE)) == codec.TOO_DEEP


@pytest.mark.parametrize("item", [True, None, 1.0, "text", bytearray(b"x"), [b"", False]])
def test_a_value_without_an_rlp_form_is_refused(item: Encodable) -> None:
    assert number_of(lambda: encode(item)) == codec.NOT_ENCODABLE


@pytest.mark.parametrize("value", [-1, 1 << 256])
def test_an_integer_outside_256_unsigned_bits_is_refused(value: int) -> None:
    assert number_of(lambda: encode(value)) == codec.UINT_RANGE


@FUZZ
@given(st.integers(0, (1 << 256) - 1), st.integers(1, 256))
def test_an_integer_reads_back_unless_it_is_too_wide_for_its_field(value: int, bits: int) -> None:
    item = decode(encode(value), limit_bytes=33)
    if value < 1 << bits:
        assert codec.read_uint(item, bits) == value
    else:
        assert number_of(lambda: codec.read_uint(item, bits)) == codec.UINT_RANGE


@pytest.mark.parametrize(
    ("read", "number"),
    [
        (lambda: codec.read_uint(b"\0", 64), codec.LEADING_ZERO),
        (lambda: codec.read_uint(b"\0\1", 64), codec.LEADING_ZERO),
        (lambda: codec.read_uint(b"\1" + bytes(8), 64), codec.UINT_RANGE),
        (lambda: codec.read_uint([], 64), codec.NOT_A_STRING),
        (lambda: codec.read_bytes([], 0), codec.NOT_A_STRING),
        (lambda: codec.read_bytes(b"123", 2), codec.WRONG_LENGTH),
        (lambda: codec.read_bytes(b"123", 4), codec.WRONG_LENGTH),
        (lambda: codec.read_string([], 9), codec.NOT_A_STRING),
        (lambda: codec.read_string(b"123", 2), codec.STRING_TOO_LONG),
        (lambda: codec.read_record(b"", 0), codec.NOT_A_LIST),
        (lambda: codec.read_record([b""], 2), codec.WRONG_FIELD_COUNT),
        (lambda: codec.read_record([b"", b""], 1), codec.WRONG_FIELD_COUNT),
        (lambda: codec.read_list(b"", 0), codec.NOT_A_LIST),
        (lambda: codec.read_list([b"", b""], 1), codec.LIST_TOO_LONG),
    ],
)
def test_a_reader_refuses_what_its_field_cannot_hold(
    read: Callable[[], object], number: int
) -> None:
    assert number_of(read) == number


def test_readers_return_what_their_field_holds() -> None:
    assert codec.read_uint(b"", 8) == 0
    assert codec.read_uint(b"\xff", 8) == 255
    assert codec.read_uint(b"\xff" * 8, 64) == (1 << 64) - 1
    assert codec.read_bytes(b"\0" * 20, 20) == bytes(20)
    assert codec.read_string(b"12", 2) == b"12"
    assert codec.read_record([b"a", [b"b"]], 2) == [b"a", [b"b"]]
    assert codec.read_list([b"a"], 1) == [b"a"]
    assert codec.read_list([], 0) == []
