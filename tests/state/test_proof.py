"""Proofs of leaves: every honest one is accepted, every other byte string is not."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.exceptions import CoreFault, InvalidProof
from consensus.state import proof as law
from consensus.state.proof import Proof, decode, prove, verify, words
from consensus.state.tree import LEAF_WORDS, ZERO_DIGESTS, StateTree, tile

VECTORS = Path(__file__).parent.parent / "vectors" / "state_tree.json"
SEED = 77


def state(
    sizes: list[int], filled: float = 0.5, seed: int = SEED
) -> tuple[StateTree, bytearray]:
    """A tree and its memory: regions of these many leaves, a share of them not zero."""
    rng = random.Random(seed)
    mem = bytearray(256 * sum(sizes))
    for leaf in range(sum(sizes)):
        if rng.random() < filled:
            mem[256 * leaf : 256 * leaf + 256] = rng.randbytes(256)
    tree = StateTree(tile([(3 * i, size) for i, size in enumerate(sizes)]), 7)
    tree.rebuild(mem)
    return tree, mem


def number_of(root: bytes, data: bytes) -> int | None:
    """The number these bytes are refused with, or None."""
    try:
        verify(root, decode(data))
    except InvalidProof as error:
        return error.number
    return None


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=4),
    st.lists(st.integers(0, 1 << 30), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    st.integers(0, 1 << 30),
)
def test_a_proof_of_any_leaves_survives_the_wire_and_yields_exactly_them(
    sizes: list[int], picks: list[int], filled: float, seed: int
) -> None:
    tree, mem = state(sizes, filled, seed)
    leaves = sorted(dict.fromkeys(pick % sum(sizes) for pick in picks))
    proof = prove(tree, mem, leaves[::-1])
    data = proof.encode()
    assert decode(data) == proof
    verified = verify(tree.root(), decode(data))
    assert dict(verified) == {leaf: bytes(mem[256 * leaf : 256 * leaf + 256]) for leaf in leaves}
    assert (verified.regions, verified.layout_version) == (tree.regions, 7)


def flips(data: bytes, bits: range) -> Iterator[bytes]:
    for at in range(len(data)):
        for bit in bits:
            yield data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("leaves", "bits"), [([0], 8), ([4, 5], 8), ([9, 10, 69], 8), (list(range(70)), 1)]
)
def test_every_flipped_bit_of_a_proof_of_written_leaves_is_refused(
    leaves: list[int], bits: int
) -> None:
    tree, mem = state([10, 60], 1.0)
    root, data = tree.root(), prove(tree, mem, leaves).encode()
    assert number_of(root, data) is None
    for bad in flips(data, range(bits)):
        assert number_of(root, bad) is not None


def test_a_flipped_bit_never_leaves_a_proof_of_the_leaves_that_were_asked_for() -> None:
    """Among zero leaves a flipped index can name another zero leaf: true, but not what was asked.
    It is the only way to be accepted, and the asked leaf is then not in the result."""
    tree, mem = state([10, 60], 0.2)
    other_truths = 0
    for leaves in ([1], [9, 10, 69], [20, 33]):
        root, data = tree.root(), prove(tree, mem, leaves).encode()
        for bad in flips(data, range(8)):
            if number_of(root, bad) is None:
                other_truths += 1
                verified = verify(root, decode(bad))
                assert list(verified) != leaves
                assert all(verified[i] == mem[256 * i : 256 * i + 256] for i in verified)
    assert other_truths > 0


def test_every_truncation_and_any_trailing_byte_is_refused() -> None:
    tree, mem = state([10, 60])
    root, data = tree.root(), prove(tree, mem, [3, 40]).encode()
    for length in range(len(data)):
        assert number_of(root, data[:length]) == law.TRUNCATED
    assert number_of(root, data + b"\x00") == law.TRAILING


def test_random_bytes_raise_nothing_but_invalid_proof() -> None:
    rng = random.Random(SEED)
    tree, mem = state([10, 60])
    data = prove(tree, mem, [3, 40]).encode()
    for _ in range(3000):
        bad = bytearray(data[: rng.randrange(60)] + rng.randbytes(rng.randrange(60)))
        bad[:1] = b"\x01"
        assert number_of(tree.root(), bytes(bad)) is not None


@pytest.mark.parametrize("size", [1, 2, 4, 5, 16, 17, 21, 63, 65])
def test_the_last_leaves_of_a_region_prove_beside_its_padding(size: int) -> None:
    tree, mem = state([size, 3, size], 1.0)
    for leaf in (0, size - 1, size, size + 2, size + 3, 2 * size + 2):
        verified = verify(tree.root(), prove(tree, mem, [leaf]))
        assert verified[leaf] == mem[256 * leaf : 256 * leaf + 256]


def test_absence_is_a_zero_leaf_and_costs_almost_no_bytes() -> None:
    tree = StateTree(tile([(0, 4**8)]), 1)
    mem = bytes(256 * 4**8)
    proof = prove(tree, mem, [12_345])
    assert verify(tree.root(), proof)[12_345] == bytes(256)
    # header 7, region 8, count 2, index 4, and 1 + 3 * 8 flags in 4 bytes
    assert len(proof.encode()) == 25


def test_a_proof_against_another_root_is_refused() -> None:
    tree, mem = state([30])
    data = prove(tree, mem, [3]).encode()
    mem[256 * 20] ^= 1
    tree.update(mem, [20])
    assert number_of(tree.root(), data) == law.WRONG_ROOT


def test_a_leaf_cannot_be_passed_off_as_its_neighbour() -> None:
    tree, mem = state([16], 1.0)
    proof = prove(tree, mem, [5])
    with pytest.raises(InvalidProof) as caught:
        verify(tree.root(), replace(proof, indexes=(6,)))
    assert caught.value.number == law.WRONG_ROOT


def test_a_region_size_cannot_be_moved_to_its_neighbour() -> None:
    """The sum, so every later base, would stay; the root hashes each size."""
    tree, mem = state([5, 7, 9], 1.0)
    proof = prove(tree, mem, [13])
    moved = replace(proof, regions=tile([(0, 6), (3, 6), (6, 9)]))
    with pytest.raises(InvalidProof) as caught:
        verify(tree.root(), moved)
    assert caught.value.number == law.WRONG_ROOT


def test_zeros_that_are_spelt_out_are_refused() -> None:
    mem = bytearray(256 * 16)
    mem[0] = 1
    tree = StateTree(tile([(0, 16)]), 1)
    tree.rebuild(mem)
    proof = prove(tree, mem, [1])
    assert proof.leaves == (None,)
    at = proof.siblings.index(None)
    siblings = (*proof.siblings[:at], ZERO_DIGESTS[0], *proof.siblings[at + 1 :])
    changes: list[dict[str, Any]] = [{"leaves": (bytes(256),)}, {"siblings": siblings}]
    for change in changes:
        with pytest.raises(InvalidProof) as caught:
            replace(proof, **change)
        assert caught.value.number == law.ZERO_NOT_FLAGGED


def edited(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("at", "new", "number"),
    [
        (0, b"\x02", law.UNKNOWN_FORMAT),
        (5, b"\x01\x10", law.BAD_REGIONS),  # 4097 regions
        (7, b"\x03\x00\x00\x00", law.BAD_REGIONS),  # the id of the second region
        (11, b"\x00\x00\x00\x00", law.BAD_REGIONS),  # a region without leaves
        (23, b"\x00\x00", law.BAD_LEAF_COUNT),
        (23, b"\x01\x40", law.BAD_LEAF_COUNT),  # 16385 leaves
        (25, b"\x08\x00\x00\x00", law.LEAVES_NOT_ASCENDING),
        (29, b"\x46\x00\x00\x00", law.LEAF_OUTSIDE),
        (33, b"\xff", law.PADDING_SET),  # 2 flags of leaves, 5 of siblings, one bit of padding
    ],
)
def test_each_field_is_refused_with_its_own_number(at: int, new: bytes, number: int) -> None:
    tree, mem = state([10, 60], 1.0)
    data = prove(tree, mem, [7, 8]).encode()
    assert number_of(tree.root(), edited(data, at, new)) == number


@pytest.mark.parametrize("leaves", [[], [70], [-1], list(range(law.LEAVES_PER_PROOF_MAX + 1))])
def test_what_cannot_be_proven_is_refused_before_it_is_tried(leaves: list[int]) -> None:
    tree = StateTree(tile([(0, 70)]), 1)
    with pytest.raises(InvalidProof):
        prove(tree, bytes(70 * 256), leaves)


def test_memory_that_moved_on_since_the_tree_was_updated_is_our_own_fault() -> None:
    tree, mem = state([30])
    mem[256 * 4] ^= 1
    with pytest.raises(CoreFault) as caught:
        prove(tree, mem, [4])
    assert caught.value.number == law.STALE_MEMORY


@pytest.mark.parametrize(
    "change",
    [{"leaves": ()}, {"siblings": ()}, {"subroots": (bytes(32),)}, {"leaves": (b"short",)}],
)
def test_a_proof_whose_parts_do_not_fit_cannot_be_made(change: dict[str, Any]) -> None:
    tree, mem = state([30], 1.0)
    with pytest.raises(InvalidProof) as caught:
        replace(prove(tree, mem, [4]), **change)
    assert caught.value.number == law.WRONG_SHAPE


def test_words_are_read_from_proven_leaves_only() -> None:
    mem = bytearray(256 * 12)
    mem[8 * 70 : 8 * 71] = (-5).to_bytes(8, "little", signed=True)
    tree = StateTree(tile([(0, 2), (4, 10)]), 1)
    tree.rebuild(mem)
    verified = verify(tree.root(), prove(tree, mem, [2]))
    assert (verified.word(70), verified.word(71)) == (-5, 0)
    assert words(verified[2])[6] == -5
    assert verified.region(4).base == 2 * LEAF_WORDS
    for index in (63, 96, -1):
        with pytest.raises(InvalidProof) as caught:
            verified.word(index)
        assert caught.value.number == law.NOT_IN_PROOF
    with pytest.raises(InvalidProof):
        verified.region(1)


@pytest.mark.slow
def test_a_leaf_of_a_quarter_million_proves_in_thirteen_hundred_bytes() -> None:
    tree, mem = state([250_000, 64, 64, 64], 1.0)
    data = prove(tree, mem, [123_456]).encode()
    assert len(data) <= 1300
    assert number_of(tree.root(), data) is None


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text())["proofs"], ids=lambda c: c["name"])
def test_golden_proofs_verify_and_are_proven_again_byte_for_byte(case: dict[str, Any]) -> None:
    roots = {root["name"]: root for root in json.loads(VECTORS.read_text())["roots"]}
    given_state = roots[case["name"]]
    sizes = [(region["id"], region["words"] // LEAF_WORDS) for region in given_state["regions"]]
    mem = bytearray(256 * sum(leaves for _, leaves in sizes))
    for index, value in given_state["memory"].items():
        at = 8 * int(index)
        mem[at : at + 8] = int(value).to_bytes(8, "little", signed=True)
    data = bytes.fromhex(case["proof"])
    verified = verify(bytes.fromhex(given_state["root"]), decode(data))
    assert sorted(verified) == case["leaves"]
    for leaf in verified:
        assert verified[leaf] == mem[256 * leaf : 256 * leaf + 256]
    tree = StateTree(tile(sizes), given_state["layout_version"])
    tree.rebuild(mem)
    proof: Proof = prove(tree, mem, case["leaves"])
    assert proof.encode() == data
