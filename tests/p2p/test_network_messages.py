"""The packed messages: each value has one encoding, and nothing else is read."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import CHAIN

from p2p.exchange.blocks import (
    BlockRange,
    decode_hashes,
    decode_range,
    encode_hashes,
    encode_range,
)
from p2p.exchange.goodbye import Goodbye, decode_goodbye, encode_goodbye
from p2p.exchange.packed import Malformed
from p2p.exchange.snapshots import (
    ChunkRange,
    SnapshotFacts,
    decode_chunk_range,
    decode_snapshots,
    encode_chunk_range,
    encode_snapshots,
)
from p2p.exchange.status import Chain, Status, decode_status, encode_status
from p2p.network import Head
from p2p.topics import EXCHANGES, GOODBYE, STATUS

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
HASH = st.binary(min_size=32, max_size=32)

HEADS = st.tuples(U64, HASH, U64).map(lambda t: Head(max(t[0], t[2]), t[1], min(t[0], t[2])))
STATUSES = st.builds(Status, st.builds(Chain, U64, U32, HASH), HEADS)
RANGES = st.builds(BlockRange, U64, st.integers(1, 256))
HASHES = st.lists(HASH, min_size=1, max_size=64, unique=True)
GOODBYES = st.builds(Goodbye, st.integers(0, 65535), st.text(max_size=50))
SNAPSHOTS = st.lists(
    st.builds(SnapshotFacts, U64, HASH, st.integers(1, 1 << 20), U64),
    max_size=64,
    unique_by=lambda one: one.height,
).map(lambda found: sorted(found, key=lambda one: -one.height))
CHUNKS = st.builds(ChunkRange, U64, HASH, U32, st.integers(1, 64))

FORMS: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any], Any]] = {
    "status": (encode_status, decode_status, STATUSES),
    "range": (encode_range, decode_range, RANGES),
    "hashes": (encode_hashes, decode_hashes, HASHES),
    "goodbye": (encode_goodbye, decode_goodbye, GOODBYES),
    "snapshots": (encode_snapshots, decode_snapshots, SNAPSHOTS),
    "chunks": (encode_chunk_range, decode_chunk_range, CHUNKS),
}


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_what_is_encoded_is_decoded(form: str, data: st.DataObject) -> None:
    encode, decode, values = FORMS[form]
    value = data.draw(values)
    assert decode(encode(value)) == value


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_any_bytes_are_refused_with_a_number_or_are_the_one_encoding(
    form: str, data: st.DataObject
) -> None:
    encode, decode, values = FORMS[form]
    valid = encode(data.draw(values))
    at = data.draw(st.integers(0, len(valid)))
    junk = data.draw(st.binary(max_size=3))
    drop = data.draw(st.integers(0, 3))
    changed = valid[:at] + junk + valid[at + drop :]
    try:
        value = decode(changed)
    except Malformed as fault:
        assert fault.number in (7613, 7614, 7615)
    else:
        assert encode(value) == changed


@pytest.mark.parametrize(
    ("decode", "data", "number"),
    [
        (decode_status, b"", 7615),
        (decode_status, b"\2" + bytes(92), 7615),
        (decode_status, b"\1" + bytes(91), 7613),
        (decode_range, bytes(8) + b"\1\1", 7614),  # 257 blocks
        (decode_range, bytes(10), 7614),  # none
        (decode_range, bytes(11), 7613),
        (decode_hashes, b"\2\0" + bytes(64), 7614),  # the same hash twice
        (decode_hashes, b"\x41\0" + bytes(65 * 32), 7614),
        (decode_hashes, b"\1\0" + bytes(31), 7613),
        (decode_goodbye, b"\1", 7613),
        (decode_goodbye, b"\1\0\xff", 7614),
        (decode_goodbye, bytes(203), 7613),
        (decode_snapshots, b"", 7613),
        (decode_snapshots, b"\1\0" + bytes(52), 7614),  # without chunks
        (decode_snapshots, b"\x41\0" + bytes(65 * 52), 7614),
        (decode_chunk_range, bytes(46), 7614),
        (decode_chunk_range, bytes(45), 7613),
    ],
)
def test_each_fault_has_its_number(
    decode: Callable[[bytes], object], data: bytes, number: int
) -> None:
    with pytest.raises(Malformed) as caught:
        decode(data)
    assert caught.value.number == number


def test_the_golden_bytes_are_those_of_the_protocol_page() -> None:
    status = Status(CHAIN, Head(41, b"\x11" * 32, 40))
    assert encode_status(status).hex() == (
        "01"
        "0700000000000000"
        "01000000" + "07" * 32 + "2900000000000000" + "11" * 32 + "2800000000000000"
    )
    assert encode_range(BlockRange(100, 256)).hex() == "64000000000000000001"
    assert encode_goodbye(Goodbye(3, "another chain")).hex() == "0300" + b"another chain".hex()
    assert len(encode_status(status)) <= EXCHANGES[STATUS].request_bytes_max
    assert EXCHANGES[GOODBYE].request_bytes_max >= 202
