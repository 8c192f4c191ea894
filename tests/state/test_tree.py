"""The state tree against a recursive oracle, golden vectors and itself rebuilt."""

import json
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from librt.vecs import vec
from mypy_extensions import i64

from consensus.exceptions import CoreFault
from consensus.state import tree as law
from consensus.state.tree import LEAF_WORDS, Region, StateTree, depth_of, tile

VECTORS = Path(__file__).parent.parent / "vectors" / "state_tree.json"
SEED = 20240607


def oracle_subroot(leaves: list[bytes], depth: int) -> bytes:
    """The rule of the protocol page, written as slowly as it reads."""
    if depth == 0:
        return sha256(b"\x00" + (leaves[0] if leaves else bytes(256))).digest()
    quarter = 4 ** (depth - 1)
    parts = [leaves[i * quarter : (i + 1) * quarter] for i in range(4)]
    children = b"".join(oracle_subroot(part, depth - 1) for part in parts)
    return sha256(b"\x01" + children).digest()


def oracle_root(layout_version: int, sizes: list[tuple[int, int]], mem: bytes) -> bytes:
    """`sizes` are (id, words) pairs that tile `mem`."""
    text = b"\x02rialto/state" + layout_version.to_bytes(4, "little")
    text += len(sizes).to_bytes(4, "little")
    base = 0
    for region_id, words in sizes:
        leaves = [mem[8 * w : 8 * w + 256] for w in range(base, base + words, 32)]
        depth = 0
        while 4**depth < len(leaves):
            depth += 1
        text += region_id.to_bytes(4, "little") + words.to_bytes(8, "little")
        text += bytes([depth]) + oracle_subroot(leaves, depth)
        base += words
    return sha256(text).digest()


def random_memory(rng: random.Random, leaves: int, filled: int) -> bytearray:
    mem = bytearray(256 * leaves)
    for leaf in rng.sample(range(leaves), filled):
        mem[256 * leaf : 256 * leaf + 256] = rng.randbytes(256)
    return mem


def built(regions: tuple[Region, ...], mem: bytes | bytearray) -> StateTree:
    tree = StateTree(regions, 1)
    tree.rebuild(mem)
    return tree


@pytest.mark.parametrize("leaves", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 257, 1025, 4099])
def test_the_root_is_that_of_the_recursive_oracle(leaves: int) -> None:
    rng = random.Random(leaves)
    mem = random_memory(rng, leaves + 3, (leaves + 3) // 2)
    tree = built(tile([(0, 3), (9, leaves)]), mem)
    assert tree.root() == oracle_root(1, [(0, 96), (9, 32 * leaves)], bytes(mem))


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text())["roots"], ids=lambda c: c["name"])
def test_golden_vectors_hold(case: dict[str, Any]) -> None:
    sizes = [(region["id"], region["words"]) for region in case["regions"]]
    words = [0] * sum(count for _, count in sizes)
    for index, value in case["memory"].items():
        words[int(index)] = int(value)
    mem = b"".join(word.to_bytes(8, "little", signed=True) for word in words)
    tree = StateTree(tile([(i, count // LEAF_WORDS) for i, count in sizes]), case["layout_version"])
    tree.rebuild(mem)
    for region in case["regions"]:
        assert tree.subroot(region["id"]).hex() == region["subroot"]
    assert tree.root().hex() == case["root"]
    assert oracle_root(case["layout_version"], sizes, mem).hex() == case["root"]


def test_a_fresh_tree_is_the_tree_of_a_zero_memory() -> None:
    regions = tile([(0, 5), (1, 3000)])
    assert StateTree(regions, 1).root() == built(regions, bytes(256 * 3005)).root()


def test_the_words_of_a_vec_are_hashed_little_endian() -> None:
    words = vec[i64]([0] * 64)
    words[33] = -2
    expected = bytes(33 * 8) + (-2).to_bytes(8, "little", signed=True) + bytes(30 * 8)
    tree = StateTree(tile([(0, 2)]), 1)
    tree.update(memoryview(words).cast("B"), [1])
    assert tree.root() == oracle_root(1, [(0, 64)], expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 700), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(0, 1 << 30), max_size=40), min_size=1, max_size=4),
    st.integers(0, 1 << 30),
)
def test_an_updated_tree_is_the_rebuilt_tree(
    sizes: list[int], rounds: list[list[int]], seed: int
) -> None:
    rng = random.Random(seed)
    leaves = sum(sizes)
    regions = tile([(2 * i, size) for i, size in enumerate(sizes)])
    mem = random_memory(rng, leaves, rng.randrange(leaves + 1))
    tree = built(regions, mem)
    for picks in rounds:
        dirty = list(dict.fromkeys(pick % leaves for pick in picks))
        for leaf in dirty:
            value = bytes(256) if leaf % 3 == 0 else rng.randbytes(256)
            mem[256 * leaf : 256 * leaf + 256] = value
        tree.update(mem, dirty)
        assert tree.root() == built(regions, mem).root()


def test_updates_across_page_borders_reach_the_rebuilt_root() -> None:
    rng = random.Random(SEED)
    regions = tile([(0, 1), (1, 40_000), (2, 4097)])
    mem = random_memory(rng, 44_098, 500)
    tree = built(regions, mem)
    dirty = [0, 1, 1024, 1025, 4096, 4097, 16_384, 16_385, 39_999, 40_000, 40_001, 44_097]
    rng.shuffle(dirty)
    for leaf in dirty:
        mem[256 * leaf] ^= 1
    tree.update(mem, dirty)
    assert tree.root() == built(regions, mem).root()
    assert tree.root() == oracle_root(1, [(r.id, r.words) for r in regions], bytes(mem))


def test_restoring_the_leaves_and_updating_again_undoes_a_block() -> None:
    rng = random.Random(SEED)
    regions = tile([(0, 300)])
    mem = random_memory(rng, 300, 200)
    tree = built(regions, mem)
    before, image, dirty = tree.root(), bytes(mem), rng.sample(range(300), 50)
    for leaf in dirty:
        mem[256 * leaf : 256 * leaf + 256] = rng.randbytes(256)
    tree.update(mem, dirty)
    assert tree.root() != before
    mem[:] = image
    tree.update(mem, dirty)
    assert tree.root() == before


def test_a_node_is_hashed_once_however_many_of_its_leaves_are_dirty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def counted(data: bytes) -> object:
        calls.append(len(data))
        return sha256(data)

    tree = StateTree(tile([(0, 4096)]), 1)
    monkeypatch.setattr(law, "sha256", counted)
    tree.update(bytes(256 * 4096), range(1024, 1088))
    # 64 leaves, then 16 + 4 + 1 nodes over exactly them, then 3 levels up to the subroot
    assert (calls.count(257), calls.count(129)) == (64, 16 + 4 + 1 + 3)


def test_an_added_region_enters_the_root() -> None:
    rng = random.Random(SEED)
    mem = random_memory(rng, 70, 50)
    tree = built(tile([(0, 60)]), mem[: 60 * 256])
    tree.add_region(Region(3, 60 * LEAF_WORDS, 10 * LEAF_WORDS))
    tree.update(mem, range(60, 70))
    assert tree.root() == oracle_root(1, [(0, 1920), (3, 320)], bytes(mem))
    assert tree.regions == tile([(0, 60), (3, 10)])


@pytest.mark.parametrize("grown", [1, 5, 16, 17, 64, 2000])
def test_a_grown_region_and_the_moved_ones_after_it_have_the_rebuilt_root(grown: int) -> None:
    rng = random.Random(grown)
    old = random_memory(rng, 7 + 1 + 9, 12)
    tree = built(tile([(0, 7), (1, 1), (2, 9)]), old)
    new = old[: 8 * 256] + bytes(256 * (grown - 1)) + old[8 * 256 :]
    tree.grow_region(1, grown * LEAF_WORDS, new)
    assert tree.regions == tile([(0, 7), (1, grown), (2, 9)])
    new[-256:] = rng.randbytes(256)
    tree.update(new, [len(new) // 256 - 1])
    assert tree.root() == oracle_root(1, [(0, 224), (1, 32 * grown), (2, 288)], bytes(new))


def test_a_region_does_not_shrink() -> None:
    tree = StateTree(tile([(0, 4)]), 1)
    with pytest.raises(CoreFault) as caught:
        tree.grow_region(0, 2 * LEAF_WORDS, bytes(512))
    assert caught.value.number == law.REGION_LAYOUT


def test_the_rotating_check_finds_the_first_write_without_a_mark() -> None:
    mem = random_memory(random.Random(SEED), 90, 40)
    tree = built(tile([(0, 50), (1, 40)]), mem)
    assert tree.rotating_check(mem, 0, 90) == -1
    mem[256 * 61 + 17] ^= 4
    mem[256 * 80] ^= 4
    assert tree.rotating_check(mem, 0, 61) == -1
    assert tree.rotating_check(mem, 0, 62) == 61
    assert tree.rotating_check(mem, 62, 1000) == 80


@pytest.mark.parametrize("regions", [[(0, 2050)], [(0, 7), (3, 30), (4, 2013)]])
def test_the_rotating_check_sees_every_leaf_that_changed_wherever_zeros_surround_it(
    regions: list[tuple[int, int]],
) -> None:
    chance = random.Random(SEED)
    mem = random_memory(chance, 2050, 60)
    tree = built(tile(regions), mem)
    assert tree.rotating_check(mem, 0, 2050) == -1
    for leaf in [0, 6, 7, 15, 16, 36, 37, 1023, 1024, 2049, *chance.sample(range(2050), 40)]:
        at = 256 * leaf
        before = mem[at : at + 256]
        for after in (bytes(256), bytes(255) + b"\x01", chance.randbytes(256)):
            mem[at : at + 256] = after
            expected = -1 if after == before else leaf
            assert tree.rotating_check(mem, 0, 2050) == expected
            assert tree.rotating_check(mem, leaf, 1) == expected
            assert tree.rotating_check(mem, leaf + 1, 2050) == -1
        mem[at : at + 256] = before


def test_size_depth_id_and_version_are_all_in_the_root() -> None:
    roots = [
        StateTree(tile(sizes), version).root()
        for sizes, version in [
            ([(0, 4)], 1),
            ([(0, 4)], 2),
            ([(1, 4)], 1),
            ([(0, 3)], 1),
            ([(0, 4), (1, 4)], 1),
        ]
    ]
    assert len(dict.fromkeys(roots)) == len(roots)


@pytest.mark.parametrize(("leaves", "depth"), [(1, 0), (2, 1), (4, 1), (5, 2), (16, 2), (17, 3)])
def test_the_depth_is_the_smallest_that_holds_the_leaves(leaves: int, depth: int) -> None:
    assert depth_of(leaves) == depth


@pytest.mark.parametrize(
    "regions",
    [
        [Region(0, 32, 32)],
        [Region(0, 0, 32), Region(1, 64, 32)],
        [Region(1, 0, 32), Region(0, 32, 32)],
        [Region(0, 0, 32), Region(0, 32, 32)],
        [Region(0, 0, 33)],
        [Region(0, 0, 0)],
        [Region(1 << 32, 0, 32)],
        [Region(0, 0, 32 << 32)],
        [Region(i, 32 * i, 32) for i in range(law.REGIONS_MAX + 1)],
    ],
)
def test_regions_that_do_not_tile_the_memory_are_our_own_fault(regions: list[Region]) -> None:
    with pytest.raises(CoreFault) as caught:
        StateTree(regions, 1)
    assert caught.value.number == law.REGION_LAYOUT


@pytest.mark.parametrize(
    ("mem", "dirty", "number"),
    [
        (bytes(1024), [4], law.LEAF_RANGE),
        (bytes(1024), [-1], law.LEAF_RANGE),
        (bytes(1280), [0], law.MEMORY_SIZE),
        (bytes(768), [0], law.MEMORY_SIZE),
    ],
)
def test_an_update_outside_of_the_regions_is_refused(
    mem: bytes, dirty: list[int], number: int
) -> None:
    with pytest.raises(CoreFault) as caught:
        StateTree(tile([(0, 4)]), 1).update(mem, dirty)
    assert caught.value.number == number


def test_an_idle_market_costs_the_tree_pages_and_not_a_share_of_its_memory() -> None:
    """A hundred of them then cost under 30 MB, whatever their size."""
    words = 1 << 21
    regions = tile([(i, words // LEAF_WORDS) for i in range(2)])
    mem = bytearray(2 * 8 * words)
    for region in regions:
        mem[8 * region.base] = 1
    tree = built(regions, mem)
    pages = [p for s in tree._subtrees for level in s.levels for p in level if p is not None]
    assert 0 < sum(len(page) for page in pages) < 2 * 300_000
