"""Bytes have one form as blobs, and every other is refused by number."""

import json
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.da import blobs as law
from consensus.exceptions import InvalidPayload
from consensus.rollup.batch import BLOBS_MAX

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "blobs.json").read_text())


def number_of(blobs: list[bytes]) -> int:
    with pytest.raises(InvalidPayload) as caught:
        law.unpack(blobs)
    return caught.value.number


def carried(seed: int, length: int) -> bytes:
    return Random(seed).randbytes(length)


def with_byte(blob: bytes, at: int, value: int) -> bytes:
    return blob[:at] + bytes([value]) + blob[at + 1 :]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_a_payload_has_the_blobs_of_its_vector(vector: dict[str, object]) -> None:
    data = carried(int(str(vector["seed"])), int(str(vector["length"])))
    assert sha256(data).hexdigest() == vector["data_sha256"]
    blobs = law.pack(data)
    assert [sha256(blob).hexdigest() for blob in blobs] == vector["blob_sha256"]
    assert law.unpack(blobs) == data


@given(st.integers(0, 2**32), st.integers(1, 4 * law.BLOB_CARRIES_BYTES))
def test_what_is_packed_comes_back_and_no_element_reaches_the_modulus(seed: int, size: int) -> None:
    data = carried(seed, size)
    blobs = law.pack(data)
    assert law.unpack(blobs) == data
    assert len(blobs) == law.blobs_needed(size)
    assert all(not any(blob[::32]) for blob in blobs)


def test_a_blob_is_filled_to_the_last_byte_before_the_next_begins() -> None:
    room = law.BLOB_CARRIES_BYTES - law.PREFIX.size
    for count in (1, 2, BLOBS_MAX):
        full = room + (count - 1) * law.BLOB_CARRIES_BYTES
        assert law.blobs_needed(full) == count
        if count < BLOBS_MAX:
            assert law.blobs_needed(full + 1) == count + 1


@pytest.mark.parametrize("length", [0, BLOBS_MAX * law.BLOB_CARRIES_BYTES - law.PREFIX.size + 1])
def test_nothing_and_too_much_cannot_be_carried(length: int) -> None:
    with pytest.raises(InvalidPayload) as caught:
        law.pack(bytes(length))
    assert caught.value.number == law.CARRIAGE_LENGTH


def test_every_other_form_of_the_same_bytes_is_refused() -> None:
    one, two = law.pack(carried(1, 1000)), law.pack(carried(2, 200_000))
    assert number_of([]) == law.BLOB_COUNT
    assert number_of([*one] * 10) == law.BLOB_COUNT
    assert number_of([*one, bytes(law.BLOB_BYTES)]) == law.BLOB_COUNT
    assert number_of([two[0]]) == law.BLOB_COUNT
    assert number_of([two[1], two[0]]) == law.CARRIAGE_PREFIX
    assert number_of([one[0][:-1]]) == law.BLOB_LENGTH
    assert number_of([with_byte(one[0], 32 * 7, 1)]) == law.ELEMENT_HIGH
    assert number_of([with_byte(one[0], law.BLOB_BYTES - 1, 1)]) == law.CARRIAGE_PADDING
    assert number_of([with_byte(one[0], 1, 0)]) == law.CARRIAGE_PREFIX
    assert number_of([with_byte(one[0], 5, 2)]) == law.CARRIAGE_PREFIX
    assert number_of([with_byte(one[0], 7, 1)]) == law.CARRIAGE_PREFIX
    zero_length = with_byte(with_byte(one[0], 9, 0), 10, 0)
    assert number_of([zero_length]) == law.CARRIAGE_LENGTH


def test_each_flipped_bit_is_refused_or_other_bytes() -> None:
    """No two blobs say the same: a batch names what it carries and nothing else."""
    data = carried(3, 500)
    (blob,) = law.pack(data)
    end = 32 * (-(-(law.PREFIX.size + len(data)) // law.CARRIED_BYTES) + 1)
    seen = {data}
    refused = 0
    for at in range(end):
        bad = with_byte(blob, at, blob[at] ^ 1 << at % 8)
        try:
            seen.add(law.unpack([bad]))
        except InvalidPayload as error:
            assert 8101 <= error.number <= 8106
            refused += 1
    assert len(seen) + refused == end + 1
