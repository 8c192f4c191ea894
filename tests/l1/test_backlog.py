"""Batches are cut by size or by age, and a backlog above its cap is noticed until it has halved."""

from dataclasses import replace
from functools import cache

import pytest
from bridge_chain import USD
from hypothesis import given
from hypothesis import strategies as st
from signed_chain import address, genesis_of

from consensus.block import Block, Header
from consensus.chain import genesis_state
from consensus.commands import Group, cancel, place, transfer, withdraw
from consensus.da.blobs import BLOB_CARRIES_BYTES
from consensus.layout import KEY_GOVERNANCE, KEY_OWNER
from node.exceptions import NodeError
from node.l1.backlog import COMMITTER_SETTING, Backlog, Batching, only_leaves, weight_of


@cache
def header() -> Header:
    return genesis_state(genesis_of()).head


def block(height: int, signatures: int) -> Block:
    return Block(replace(header(), height=height), b"", b"", bytes(signatures))


def backlog_of(*sizes: int, batching: Batching | None = None) -> Backlog:
    made = Backlog(batching or Batching(blobs_max=2, backlog_blobs=8))
    for height, size in enumerate(sizes, 1):
        made.add(block(height, size))
    return made


def test_nothing_is_due_before_a_blob_is_full_or_a_block_is_old() -> None:
    made = backlog_of(1000, 1000, 1000)
    assert made.cut(3, is_old=False) is None
    cut = made.cut(3, is_old=True)
    assert cut is not None and cut.last == 3
    assert made.cut(2, is_old=True) == made.cut(2, is_old=True)
    assert made.cut(0, is_old=True) is None


def test_by_size_whole_blobs_are_taken_and_the_rest_waits() -> None:
    made = backlog_of(*[40_000] * 10)
    cut = made.cut(10, is_old=False)
    assert cut is not None and cut.last == 6  # 2 blobs of 3 blocks each
    assert cut.weight <= 2 * BLOB_CARRIES_BYTES


def test_a_block_larger_than_a_batch_goes_alone() -> None:
    made = backlog_of(900_000, 1000)
    cut = made.cut(2, is_old=False)
    assert cut is not None and cut.last == 1


def test_only_certified_blocks_are_posted() -> None:
    made = backlog_of(*[120_000] * 4)
    cut = made.cut(1, is_old=True)
    assert cut is not None and cut.last == 1


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=40), st.integers(1, 6), st.booleans())
def test_a_cut_never_holds_more_than_its_blobs(
    sizes: list[int], blobs: int, is_old: bool
) -> None:
    made = backlog_of(*sizes, batching=Batching(blobs_max=blobs))
    cut = made.cut(len(sizes), is_old)
    if cut is None:
        assert not is_old
        return
    assert 1 <= cut.last <= len(sizes)
    weights = [weight_of(block(1, size)) for size in sizes[: cut.last]]
    assert cut.weight == sum(weights)
    assert cut.last == 1 or cut.weight <= blobs * BLOB_CARRIES_BYTES


def test_the_cap_is_crossed_upwards_and_left_half_way_down() -> None:
    made = backlog_of(*[120_000] * 8)
    over = [made.is_over]
    made.add(block(9, 120_000))
    assert [*over, made.is_over] == [False, True]
    made.move(4)
    assert (made.is_over, made.next) == (True, 10)
    made.move(6)
    assert (made.is_over, made.next) == (False, 10)


def test_after_a_reorganisation_the_weights_are_taken_anew() -> None:
    made = backlog_of(*[1000] * 5)
    made.move(4)
    made.move(2)
    assert (made.next, made.weight) == (3, 0)
    made.add(block(9, 1000))  # not the next one
    assert made.next == 3


def test_the_weight_follows_what_batches_come_to() -> None:
    made = backlog_of(*[100_000] * 4)
    cut = made.cut(4, is_old=True)
    assert cut is not None
    for _ in range(12):
        made.learn(cut, cut.weight // 2)
    assert made.ratio == pytest.approx(0.5, abs=0.01)
    assert made.bytes == pytest.approx(made.weight / 2, rel=0.02)


@pytest.mark.parametrize(
    "values",
    [{"blobs_max": 0}, {"blobs_max": 7}, {"deadline_s": 0}, {"deadline_s": 86_401},
     {"backlog_blobs": 11}],
)  # fmt: skip
def test_settings_outside_their_bounds_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(NodeError) as caught:
        Batching(**values)
    assert caught.value.number == COMMITTER_SETTING


def test_who_cancels_or_withdraws_is_let_out_and_the_governor_governs() -> None:
    def group(*rows: bytes, key: int = KEY_OWNER) -> Group:
        return Group(key, 2, 1, 9, (0, 0, 1), b"".join(rows))

    out = withdraw(USD, 5, address("owner 2"))
    order = place(0, 0, 1, 100, 1)
    assert only_leaves(group(cancel(0, 1), out))
    assert not only_leaves(group(cancel(0, 1), order))
    assert not only_leaves(group(transfer(USD, 5, 3)))
    assert only_leaves(group(order, key=KEY_GOVERNANCE))

