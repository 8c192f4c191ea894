"""The snapshot container: what is written comes back, and nothing else does."""

import json
import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard

from consensus.exceptions import InvalidSnapshot
from consensus.state import snapshot as law
from consensus.state.snapshot import WINDOW_LEAVES, Facts, read, restore, write
from consensus.state.tree import Region, StateTree, tile

VECTORS = Path(__file__).parent.parent / "vectors" / "state_tree.json"
SEED = 4242

Regions = tuple[Region, ...]


def facts_of(tree: StateTree) -> Facts:
    return Facts(tree.layout_version, b"g" * 32, 1_234_567, b"b" * 32, tree.root())


def state(sizes: list[int], filled: list[int]) -> tuple[StateTree, bytearray]:
    """Regions of these many leaves; the absolute leaves in `filled` get random bytes."""
    rng = random.Random(SEED)
    mem = bytearray(256 * sum(sizes))
    for leaf in filled:
        mem[256 * leaf : 256 * leaf + 256] = rng.randbytes(256)
    tree = StateTree(tile([(5 * i, size) for i, size in enumerate(sizes)]), 3)
    tree.rebuild(mem)
    return tree, mem


def written(tree: StateTree, mem: bytes | bytearray) -> bytes:
    return b"".join(write(tree.regions, mem, facts_of(tree)))


def number_of(data: bytes) -> int | None:
    """The number these bytes are refused with, or None."""
    try:
        restore(data)
    except InvalidSnapshot as error:
        return error.number
    return None


def sealed(body: bytes) -> bytes:
    """What a malicious writer would do: a right digest over wrong bytes."""
    return body + sha256(body).digest()


SMALL = [3, 70, 9]
SMALL_FILLED = [0, 3, 4, 5, 40, 72, 81]


@pytest.mark.parametrize(
    ("sizes", "filled"),
    [
        ([1], []),
        ([1], [0]),
        (SMALL, SMALL_FILLED),
        (SMALL, list(range(82))),
        ([2, 3 * WINDOW_LEAVES + 5, 7], [1, 2, WINDOW_LEAVES + 1, WINDOW_LEAVES + 2, 12_294]),
        ([WINDOW_LEAVES], list(range(WINDOW_LEAVES))),
    ],
)
def test_a_state_survives_the_round_trip(sizes: list[int], filled: list[int]) -> None:
    tree, mem = state(sizes, filled)
    restored = restore(written(tree, mem))
    assert restored.memory == mem
    assert restored.regions == tree.regions
    assert restored.facts == facts_of(tree)
    assert restored.tree.root() == tree.root()


def test_reading_yields_runs_of_whole_leaves_without_the_zero_ones() -> None:
    tree, mem = state(SMALL, SMALL_FILLED)
    facts, regions, runs = read(written(tree, mem))
    assert (facts, regions) == (facts_of(tree), tree.regions)
    assert [(word // 32, len(run) // 256) for word, run in runs] == [
        (0, 1),
        (3, 3),
        (40, 1),
        (72, 1),
        (81, 1),
    ]


def test_a_hundred_idle_markets_take_a_few_kilobytes() -> None:
    tree, mem = state([2048] * 100, [2048 * i for i in range(1)])
    assert len(written(tree, mem)) < 2000


def test_the_writer_streams_pieces_of_about_a_mebibyte() -> None:
    tree, mem = state([3 * WINDOW_LEAVES], list(range(3 * WINDOW_LEAVES)))
    pieces = list(write(tree.regions, mem, facts_of(tree)))
    assert len(pieces) == 5
    assert max(len(piece) for piece in pieces) < 1_060_000


def test_every_flipped_bit_of_a_snapshot_is_refused() -> None:
    tree, mem = state(SMALL, SMALL_FILLED)
    data = written(tree, mem)
    assert number_of(data) is None
    for at in range(len(data)):
        for bit in (0, 3, 7):
            bad = bytearray(data)
            bad[at] ^= 1 << bit
            assert number_of(bytes(bad)) is not None, (at, bit)


def test_random_damage_to_a_large_snapshot_is_refused() -> None:
    rng = random.Random(SEED)
    tree, mem = state([9000], rng.sample(range(9000), 3000))
    data = written(tree, mem)
    for _ in range(60):
        at = rng.randrange(len(data))
        assert number_of(data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :])


def test_every_truncation_and_a_trailing_byte_is_refused() -> None:
    tree, mem = state(SMALL, SMALL_FILLED)
    data = written(tree, mem)
    for length in range(len(data)):
        assert number_of(data[:length]) is not None, length
    assert number_of(data + b"\x00") == law.DAMAGED


def test_damage_under_a_right_total_digest_is_still_refused_or_changes_only_the_facts() -> None:
    tree, mem = state(SMALL, SMALL_FILLED)
    body = written(tree, mem)[:-32]
    # genesis hash, height and block hash are not functions of the state: a header settles them
    claims = set(range(10, 82))
    for at in range(len(body)):
        bad = bytearray(body)
        bad[at] ^= 1
        assert (number_of(sealed(bytes(bad))) is None) == (at in claims), at


def chunk(number: int, window: int, count: int, content: bytes) -> bytes:
    packed = zstandard.ZstdCompressor().compress(content)
    return raw_chunk(number, window, count, packed)


def raw_chunk(number: int, window: int, count: int, packed: bytes) -> bytes:
    fields = (number, window, count, len(packed))
    return b"".join(f.to_bytes(4, "little") for f in fields) + sha256(packed).digest() + packed


def bitmap(*positions: int) -> bytes:
    return sum(1 << p for p in positions).to_bytes(law.BITMAP_BYTES, "little")


LEAF = b"\x07" * 256
GOOD = chunk(0, 0, 1, bitmap(0) + LEAF)
NEXT = chunk(1, 0, 1, bitmap(4) + LEAF)


@pytest.mark.parametrize(
    ("chunks", "claimed", "number"),
    [
        ([NEXT, GOOD], 2, law.CHUNK_MISPLACED),
        ([GOOD, GOOD], 2, law.CHUNK_MISPLACED),
        ([chunk(2, 0, 1, bitmap(0) + LEAF)], 1, law.CHUNK_MISPLACED),
        ([chunk(1, 4, 1, bitmap(0) + LEAF)], 1, law.CHUNK_MISPLACED),
        ([chunk(1, WINDOW_LEAVES, 1, bitmap(0) + LEAF)], 1, law.CHUNK_MISPLACED),
        ([chunk(0, 0, 0, bitmap())], 1, law.CHUNK_MISPLACED),
        ([chunk(0, 0, 4, bitmap(0, 1, 2, 3) + 4 * LEAF)], 1, law.CHUNK_MISPLACED),
        ([chunk(0, 0, 1, bitmap(3) + LEAF)], 1, law.CHUNK_NOT_CANONICAL),
        ([chunk(0, 0, 1, bitmap(0, 1) + LEAF)], 1, law.CHUNK_NOT_CANONICAL),
        ([chunk(0, 0, 1, bitmap(0) + bytes(256))], 1, law.CHUNK_NOT_CANONICAL),
        ([chunk(0, 0, 1, bitmap(0) + 2 * LEAF)], 1, law.CHUNK_SIZE),
        ([chunk(0, 0, 1, bytes(1 << 30))], 1, law.CHUNK_SIZE),
        ([raw_chunk(0, 0, 1, b"not a frame")], 1, law.CHUNK_SIZE),
        ([raw_chunk(0, 0, 1, GOOD[48:] + b"\x00")], 1, law.CHUNK_SIZE),
        ([GOOD[:-1]], 1, law.TRUNCATED),
        ([GOOD[:20]], 1, law.TRUNCATED),
        ([GOOD[:16] + bytes(32) + GOOD[48:]], 1, law.CHUNK_DAMAGED),
        ([GOOD, NEXT], 1, law.CHUNK_COUNT),
        ([GOOD], 2, law.CHUNK_COUNT),
        ([GOOD], 1, law.WRONG_STATE_ROOT),
        ([GOOD, NEXT], 2, None),
    ],
)
def test_a_malicious_writer_is_refused_by_number(
    chunks: list[bytes], claimed: int, number: int | None
) -> None:
    tree = StateTree(tile([(0, 3), (1, 70)]), 3)
    mem = LEAF + bytes(256 * 6) + LEAF + bytes(256 * 65)
    tree.rebuild(mem)
    header = next(write(tree.regions, mem, facts_of(tree)))
    footer = b"\xff\xff\xff\xff" + claimed.to_bytes(4, "little")
    assert number_of(sealed(header + b"".join(chunks) + footer)) == number


@pytest.mark.parametrize(
    ("edit", "number"),
    [
        (lambda body: b"RLTT" + body[4:], law.NOT_A_SNAPSHOT),
        (lambda body: body[:4] + b"\x02\x00" + body[6:], law.UNKNOWN_FORMAT),
        (lambda body: body[:114] + b"\x01\x10" + body[116:], law.BAD_REGIONS),
        (lambda body: body[:114] + b"\xff\x00" + body[116:], law.BAD_REGIONS),
        (lambda body: body[:120] + bytes(4) + body[124:], law.BAD_REGIONS),
        (lambda body: body[:120] + b"\xff\xff\xff\x0f" + body[124:], law.TOO_LARGE),
        (lambda body: body[:-8] + bytes(4) + body[-4:], law.CHUNK_COUNT),
    ],
)
def test_a_malicious_header_is_refused_by_number(
    edit: Callable[[bytes], bytes], number: int
) -> None:
    tree, mem = state([3], [0])
    assert number_of(sealed(edit(written(tree, mem)[:-32]))) == number


def test_a_node_takes_no_state_larger_than_it_asked_for() -> None:
    tree, mem = state(SMALL, [])
    data = written(tree, mem)
    assert restore(data, words_max=82 * 32).memory == mem
    with pytest.raises(InvalidSnapshot) as caught:
        restore(data, words_max=82 * 32 - 1)
    assert caught.value.number == law.TOO_LARGE


def test_a_snapshot_that_claims_another_state_root_is_refused() -> None:
    tree, mem = state(SMALL, SMALL_FILLED)
    wrong = facts_of(tree)._replace(state_root=bytes(32))
    data = b"".join(write(tree.regions, mem, wrong))
    assert number_of(data) == law.WRONG_STATE_ROOT


@pytest.mark.parametrize(
    ("regions", "size", "change", "number"),
    [
        (tile([(0, 3)]), 2, {}, law.BAD_REGIONS),
        ((Region(0, 32, 96),), 3, {}, law.BAD_REGIONS),
        (tile([(0, 3)]), 3, {"height": -1}, law.BAD_FACTS),
        (tile([(0, 3)]), 3, {"block_hash": b""}, law.BAD_FACTS),
    ],
)
def test_what_cannot_be_written_is_refused(
    regions: Regions, size: int, change: dict[str, Any], number: int
) -> None:
    facts = Facts(3, bytes(32), 1, bytes(32), bytes(32))._replace(**change)
    with pytest.raises(InvalidSnapshot) as caught:
        list(write(regions, bytes(256 * size), facts))
    assert caught.value.number == number


def test_the_golden_snapshot_still_restores() -> None:
    vectors = json.loads(VECTORS.read_text())
    case = vectors["snapshots"][0]
    restored = restore(bytes.fromhex(case["snapshot"]))
    assert restored.facts.height == case["height"]
    assert restored.facts.state_root.hex() == case["state_root"]
    assert case["state_root"] in [root["root"] for root in vectors["roots"]]
