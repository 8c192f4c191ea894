"""Batches and public values: golden vectors, one encoding, nothing that L1 would not rebuild."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from consensus import codec
from consensus.exceptions import ConsensusError
from consensus.rollup import batch as law
from consensus.rollup.batch import Batch

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "batch.json").read_text())


def read(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(bytes.fromhex, value))
    return bytes.fromhex(value) if isinstance(value, str) else value


def batch_of(vector: dict[str, Any]) -> Batch:
    return Batch(**{name: read(value) for name, value in vector["batch"].items()})


BATCH = batch_of(VECTORS[1])


def number_of(batch: Batch) -> int:
    with pytest.raises(ConsensusError) as caught:
        law.encode_batch(batch)
    return caught.value.number


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_a_batch_has_the_bytes_hash_and_public_values_of_its_vector(vector: dict[str, Any]) -> None:
    batch, data = batch_of(vector), bytes.fromhex(vector["rlp"])
    assert law.encode_batch(batch) == data
    assert law.decode_batch(data) == batch
    assert law.batch_hash(batch).hex() == vector["hash"]
    values = law.public_values(
        batch,
        chain_id=vector["chain_id"],
        contract=bytes.fromhex(vector["contract"]),
        evaluations=[int(y, 16) for y in vector["evaluations"]],
    )
    words = [values[i : i + 32].hex() for i in range(0, len(values), 32)]
    assert words == vector["public_values"]
    assert len(words) == 10 + 3 * len(batch.blob_hashes)


def test_every_flipped_byte_of_a_batch_is_refused_or_changes_the_hash() -> None:
    data, seen = law.encode_batch(BATCH), {law.batch_hash(BATCH)}
    for i in range(len(data)):
        for bit in range(8):
            bad = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            try:
                seen.add(law.batch_hash(law.decode_batch(bad)))
            except ConsensusError as error:
                assert error.number in {*range(1001, 1017), 3201, 3202, 3203}
                seen.add(bad)
    assert len(seen) == 1 + 8 * len(data)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"version": 2}, law.UNKNOWN_VERSION),
        ({"number": 0}, law.BATCH_RANGE),
        ({"first_height": 0}, law.BATCH_RANGE),
        ({"first_height": 1401}, law.BATCH_RANGE),
        ({"blob_hashes": ()}, law.BLOBS),
        ({"blob_hashes": (b"\1" * 32, bytes(32))}, law.BLOBS),
        ({"blob_hashes": (b"\1" * 32,) * 10}, codec.LIST_TOO_LONG),
        ({"blob_hashes": (b"\1" * 31,)}, codec.WRONG_LENGTH),
        ({"last_height": 1 << 53}, codec.UINT_RANGE),
        ({"payload_hash": bytes(31)}, codec.WRONG_LENGTH),
    ],
)
def test_a_batch_that_none_can_be_is_neither_sent_nor_read(
    change: dict[str, Any], number: int
) -> None:
    assert number_of(replace(BATCH, **change)) == number
    raw = [getattr(replace(BATCH, **change), field.name) for field in fields(Batch)]
    with pytest.raises(ConsensusError) as caught:
        law.decode_batch(codec.encode(raw))
    assert caught.value.number == number


def test_the_largest_batch_fits_its_limit() -> None:
    largest = replace(
        BATCH,
        number=2**53 - 1,
        first_height=2**53 - 1,
        last_height=2**53 - 1,
        l1_number=2**53 - 1,
        l1_messages=2**53 - 1,
        blob_hashes=(b"\1" * 32,) * law.BLOBS_MAX,
    )
    assert law.decode_batch(law.encode_batch(largest)) == largest


@pytest.mark.parametrize(
    "evaluations", [[], [1, 2], [1, 2, 3, 4], [1, 2, law.BLS_MODULUS], [0, 0, -1]]
)
def test_public_values_want_one_field_element_for_each_blob(evaluations: list[int]) -> None:
    with pytest.raises(ConsensusError) as caught:
        law.public_values(BATCH, chain_id=1, contract=bytes(20), evaluations=evaluations)
    assert caught.value.number == law.PUBLIC_INPUTS


def test_a_point_depends_on_the_blob_and_on_the_payload_and_is_a_field_element() -> None:
    points = {
        law.evaluation_point(bytes([a]) * 32, bytes([b]) * 32) for a in range(8) for b in range(8)
    }
    assert len(points) == 64
    assert all(0 <= z < law.BLS_MODULUS for z in points)


def test_a_contract_that_is_no_address_has_no_public_values() -> None:
    with pytest.raises(ConsensusError) as caught:
        law.public_values(BATCH, chain_id=1, contract=bytes(19), evaluations=[1, 2, 3])
    assert caught.value.number == law.PUBLIC_INPUTS
