"""The tree over a stream against a recursive oracle, and its proofs against every tampering."""

import random
from hashlib import sha256

import pytest

from consensus.exceptions import CoreFault, InvalidProof
from consensus.streams import (
    DOMAIN_LENGTH,
    LEAVES_LENGTH,
    PATH_LENGTH,
    RANGE_OUTSIDE,
    WRONG_STREAM_ROOT,
    bytes_proof,
    bytes_root,
    verify_bytes_proof,
)

SEED = 20240611
LENGTHS = [
    0,
    1,
    64,
    255,
    256,
    257,
    1024,
    1025,
    4 * 1024,
    4 * 1024 + 1,
    16 * 1024 - 1,
    16 * 1024 + 1,
]


def oracle_root(domain: str, data: bytes) -> bytes:
    """The sentence of the protocol page, written as slowly as it reads."""
    nodes = []
    for i in range(0, len(data), 256):
        nodes.append(sha256(b"\x00" + (data[i : i + 256] + bytes(256))[:256]).digest())
    while len(nodes) > 1:
        nodes += [bytes(32)] * (-len(nodes) % 4)
        nodes = [
            sha256(b"\x01" + b"".join(nodes[i : i + 4])).digest() for i in range(0, len(nodes), 4)
        ]
    node = nodes[0] if nodes else bytes(32)
    name = (domain.encode() + bytes(16))[:16]
    return sha256(b"\x03" + name + len(data).to_bytes(8, "little") + node).digest()


@pytest.mark.parametrize("length", LENGTHS)
def test_the_root_of_a_stream_is_that_of_the_recursive_rule(length: int) -> None:
    data = random.Random(SEED + length).randbytes(length)
    assert bytes_root("events", data) == oracle_root("events", data)
    assert bytes_root("events", memoryview(bytearray(data))) == oracle_root("events", data)


def test_the_root_names_its_stream_and_its_length() -> None:
    data = bytes(256)
    roots = {
        bytes_root(domain, data[:length])
        for domain in ("events", "commands")
        for length in (0, 1, 255, 256)
    }
    assert len(roots) == 8


def test_a_domain_longer_than_its_field_is_our_own_fault() -> None:
    with pytest.raises(CoreFault) as caught:
        bytes_root("seventeen letters", b"")
    assert caught.value.number == DOMAIN_LENGTH


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_every_range_of_leaves_has_a_path_that_verifies(length: int) -> None:
    data = random.Random(SEED + length).randbytes(length)
    root, width = bytes_root("events", data), (length + 255) // 256
    for first in range(width):
        for last in {first, min(first + 1, width - 1), min(first + 6, width - 1), width - 1}:
            path = bytes_proof(data, first, last + 1 - first)
            leaves = data[256 * first : 256 * (last + 1)]
            verify_bytes_proof(root, "events", length, first, leaves, path)


def test_the_path_of_a_whole_stream_is_empty_and_of_a_leaf_at_most_three_digests_a_level() -> None:
    data = random.Random(SEED).randbytes(64 * 256)
    assert bytes_proof(data, 0, 64) == b""
    assert len(bytes_proof(data, 33)) == 3 * 3 * 32


def refusal(
    root: bytes, domain: str, length: int, first: int, leaves: bytes, path: bytes
) -> int | None:
    try:
        verify_bytes_proof(root, domain, length, first, leaves, path)
    except InvalidProof as error:
        return error.number
    return None


def test_every_flipped_byte_and_every_other_claim_is_refused_by_number() -> None:
    data = random.Random(SEED).randbytes(21 * 256 + 100)
    root, length = bytes_root("events", data), len(data)
    first, leaves, path = 6, data[6 * 256 : 9 * 256], bytes_proof(data, 6, 3)
    assert refusal(root, "events", length, first, leaves, path) is None
    for part in (leaves, path):
        for i in range(len(part)):
            bad = part[:i] + bytes([part[i] ^ 1 << i % 8]) + part[i + 1 :]
            given = (bad, path) if part is leaves else (leaves, bad)
            assert refusal(root, "events", length, first, *given) == WRONG_STREAM_ROOT
    assert refusal(root, "commands", length, first, leaves, path) == WRONG_STREAM_ROOT
    assert refusal(root, "events", length + 1, first, leaves, path) == WRONG_STREAM_ROOT
    assert refusal(root, "events", length, 10, leaves, path) == WRONG_STREAM_ROOT
    assert refusal(root, "events", length, 5, leaves, path) == PATH_LENGTH
    assert refusal(root, "events", length, first, leaves[:-1], path) == LEAVES_LENGTH
    assert refusal(root, "events", length, 20, leaves[:512] + b"x", path) == RANGE_OUTSIDE
    assert refusal(root, "events", length, first, b"", path) == RANGE_OUTSIDE
    assert refusal(root, "events", length, first, leaves, path + bytes(32)) == PATH_LENGTH
    assert refusal(root, "events", length, first, leaves, path[:-32]) == PATH_LENGTH
    assert refusal(root, "events", 10 * length, first, leaves, path) == PATH_LENGTH


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0), (4, 1), (3, 2)])
def test_no_path_is_made_for_leaves_that_are_not_there(first: int, count: int) -> None:
    with pytest.raises(InvalidProof) as caught:
        bytes_proof(bytes(1000), first, count)
    assert caught.value.number == RANGE_OUTSIDE
