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
LEAF_BYTES = {
    "commands": 2048,
    "signatures": 2048,
    "events": 2048,
    "withdrawals": 256,
    "promises": 256,
}
STREAMS = [
    (domain, length)
    for domain, leaf in LEAF_BYTES.items()
    for length in (
        1,
        64,
        leaf - 1,
        leaf,
        leaf + 1,
        4 * leaf,
        4 * leaf + 1,
        16 * leaf,
        16 * leaf + 1,
        64 * leaf - 1,
        64 * leaf + 1,
    )
]


def oracle_root(domain: str, data: bytes) -> bytes:
    """The sentence of the protocol page, written as slowly as it reads."""
    nodes = []
    size = LEAF_BYTES[domain]
    for i in range(0, len(data), size):
        nodes.append(sha256(b"\x00" + (data[i : i + size] + bytes(size))[:size]).digest())
    while len(nodes) > 1:
        nodes += [bytes(32)] * (-len(nodes) % 4)
        nodes = [
            sha256(b"\x01" + b"".join(nodes[i : i + 4])).digest() for i in range(0, len(nodes), 4)
        ]
    node = nodes[0] if nodes else bytes(32)
    name = (domain.encode() + bytes(16))[:16]
    return sha256(b"\x03" + name + len(data).to_bytes(8, "little") + node).digest()


@pytest.mark.parametrize(("domain", "length"), [("events", 0), ("withdrawals", 0), *STREAMS])
def test_the_root_of_a_stream_is_that_of_the_recursive_rule(domain: str, length: int) -> None:
    data = random.Random(SEED + length).randbytes(length)
    assert bytes_root(domain, data) == oracle_root(domain, data)
    assert bytes_root(domain, memoryview(bytearray(data))) == oracle_root(domain, data)


def test_the_root_names_its_stream_and_its_length() -> None:
    data = bytes(2048)
    roots = {
        bytes_root(domain, data[:length])
        for domain in LEAF_BYTES
        for length in (0, 1, 255, 256, 2047, 2048)
    }
    assert len(roots) == 30


def test_a_domain_longer_than_its_field_is_our_own_fault() -> None:
    with pytest.raises(CoreFault) as caught:
        bytes_root("seventeen letters", b"")
    assert caught.value.number == DOMAIN_LENGTH


@pytest.mark.parametrize(("domain", "length"), STREAMS)
def test_every_range_of_leaves_has_a_path_that_verifies(domain: str, length: int) -> None:
    data, size = random.Random(SEED + length).randbytes(length), LEAF_BYTES[domain]
    root, width = bytes_root(domain, data), (length + size - 1) // size
    for first in range(width):
        for last in {first, min(first + 1, width - 1), min(first + 6, width - 1), width - 1}:
            path = bytes_proof(data, first, last + 1 - first, size)
            leaves = data[size * first : size * (last + 1)]
            verify_bytes_proof(root, domain, length, first, leaves, path)


@pytest.mark.parametrize("size", [256, 2048])
def test_the_path_of_a_whole_stream_is_empty_and_of_a_leaf_at_most_three_digests_a_level(
    size: int,
) -> None:
    data = random.Random(SEED).randbytes(64 * size)
    assert bytes_proof(data, 0, 64, size) == b""
    assert len(bytes_proof(data, 33, 1, size)) == 3 * 3 * 32


def refusal(
    root: bytes, domain: str, length: int, first: int, leaves: bytes, path: bytes
) -> int | None:
    try:
        verify_bytes_proof(root, domain, length, first, leaves, path)
    except InvalidProof as error:
        return error.number
    return None


@pytest.mark.parametrize(("domain", "other"), [("events", "commands"), ("withdrawals", "promises")])
def test_every_flipped_byte_and_every_other_claim_is_refused_by_number(
    domain: str, other: str
) -> None:
    size = LEAF_BYTES[domain]
    data = random.Random(SEED).randbytes(21 * size + 100)
    root, length = bytes_root(domain, data), len(data)
    first, leaves, path = 6, data[6 * size : 9 * size], bytes_proof(data, 6, 3, size)
    assert refusal(root, domain, length, first, leaves, path) is None
    for part in (leaves, path):
        for i in range(len(part)):
            bad = part[:i] + bytes([part[i] ^ 1 << i % 8]) + part[i + 1 :]
            given = (bad, path) if part is leaves else (leaves, bad)
            assert refusal(root, domain, length, first, *given) == WRONG_STREAM_ROOT
    assert refusal(root, other, length, first, leaves, path) == WRONG_STREAM_ROOT
    assert refusal(root, domain, length + 1, first, leaves, path) == WRONG_STREAM_ROOT
    assert refusal(root, domain, length, 10, leaves, path) == WRONG_STREAM_ROOT
    assert refusal(root, domain, length, 5, leaves, path) == PATH_LENGTH
    assert refusal(root, domain, length, first, leaves[:-1], path) == LEAVES_LENGTH
    assert refusal(root, domain, length, 20, leaves[: 2 * size] + b"x", path) == RANGE_OUTSIDE
    assert refusal(root, domain, length, first, b"", path) == RANGE_OUTSIDE
    assert refusal(root, domain, length, first, leaves, path + bytes(32)) == PATH_LENGTH
    assert refusal(root, domain, length, first, leaves, path[:-32]) == PATH_LENGTH
    assert refusal(root, domain, 10 * length, first, leaves, path) == PATH_LENGTH


def test_leaves_of_another_length_hold_under_no_root_of_a_block() -> None:
    """A path through leaves of 256 bytes proves withdrawals, never events."""
    data = random.Random(SEED).randbytes(16 * 2048)
    events, withdrawals = bytes_root("events", data), bytes_root("withdrawals", data)
    leaf, size = data[2048:4096], len(data)
    small, large = bytes_proof(data, 8, 8), bytes_proof(data, 1, 1, 2048)
    assert len(small) == len(large)
    assert refusal(events, "events", size, 1, leaf, large) is None
    assert refusal(withdrawals, "withdrawals", size, 8, leaf, small) is None
    assert refusal(events, "events", size, 1, leaf, small) == WRONG_STREAM_ROOT
    assert refusal(events, "withdrawals", size, 8, leaf, small) == WRONG_STREAM_ROOT
    assert refusal(withdrawals, "events", size, 1, leaf, large) == WRONG_STREAM_ROOT


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0), (4, 1), (3, 2)])
def test_no_path_is_made_for_leaves_that_are_not_there(first: int, count: int) -> None:
    with pytest.raises(InvalidProof) as caught:
        bytes_proof(bytes(1000), first, count)
    assert caught.value.number == RANGE_OUTSIDE
