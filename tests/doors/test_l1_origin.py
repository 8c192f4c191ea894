"""Origins: what a block must carry of the L1 queue, made by the proposer, checked by everybody."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_chain import USD, SignedChain, address, fingerprint

from consensus.block import MESSAGES_MAX, queue_hash
from consensus.chain import low_neighbour
from consensus.commands import deposit_group
from consensus.exceptions import InvalidBlock
from consensus.proposal import Opening
from consensus.rollup.origin import (
    ITEM_EARLY,
    ITEM_EXPIRED,
    ITEM_SKIPPED,
    ORIGIN_OTHER,
    QUEUE_OTHER,
    AddressOrder,
    Item,
    Origin,
    check_deadline,
    check_origin_block,
    check_queue,
    is_full,
    place_messages,
)
from consensus.signatures import address_words

L1 = Origin(7, bytes([7] * 32), 1_735_689_600)


def queue(*rows: bytes) -> list[Item]:
    """Items of one L1 block each, from number 1 on."""
    items, before = [], bytes(32)
    for index, one in enumerate(rows):
        before = queue_hash(before, one)
        items.append(Item(index, index + 1, 100 + index, before, one))
    return items


def deposits(*names: str) -> list[Item]:
    return queue(
        *[deposit_group(0, n, address(name), USD, 10 + n).rows for n, name in enumerate(names)]
    )


def opening(chain: SignedChain) -> Opening:
    return Opening(chain.leader.head.time + 250, L1.number, L1.hash, L1.time)


def placed(chain: SignedChain, items: list[Item]) -> bytes:
    return place_messages(chain.leader, opening(chain).time, L1, items, AddressOrder())


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12))
@settings(max_examples=30)
def test_a_proposer_finds_the_hints_of_accounts_that_its_own_messages_make(
    names: list[int],
) -> None:
    chain = SignedChain()
    items = deposits(*[f"newcomer {n}" for n in names])
    before = fingerprint(chain.leader)
    messages = placed(chain, items)
    assert fingerprint(chain.leader) == before
    chain.step(messages=messages)
    assert chain.follower.head.l1_messages == len(items)
    assert chain.follower.head.l1_queue_hash == items[-1].queue_hash


@given(st.lists(st.integers(0, 30), max_size=20))
@settings(max_examples=30)
def test_the_order_of_addresses_gives_the_neighbour_that_the_list_gives(names: list[int]) -> None:
    chain, order = SignedChain(), AddressOrder()
    M = chain.leader.memory.M
    for n in names:
        words = address_words(address(f"newcomer {n}"))
        assert order.low(M, words) == low_neighbour(M, words)
        chain.step(messages=chain.deposit(f"newcomer {n}", USD, 1))
        assert order.low(M, words) == low_neighbour(M, words)


def test_accounts_of_a_block_that_was_taken_back_are_forgotten() -> None:
    chain, order = SignedChain(), AddressOrder()
    items = deposits("newcomer 1", "newcomer 2", "newcomer 1")
    for _ in range(3):
        place_messages(chain.leader, opening(chain).time, L1, items, order)
        words = address_words(address("newcomer 1"))
        M = chain.leader.memory.M
        assert order.low(M, words) == low_neighbour(M, words)


def test_a_block_takes_sixty_four_items() -> None:
    chain = SignedChain()
    items = deposits(*["newcomer"] * (MESSAGES_MAX + 6))
    chain.step(messages=placed(chain, items))
    assert chain.leader.head.l1_messages == MESSAGES_MAX


def test_a_full_block_leaves_items_to_the_next_and_only_a_full_one_may() -> None:
    chain = SignedChain(leaves_max=64)  # each new account touches two leaves
    items = deposits(*[f"newcomer {n}" for n in range(40)])
    messages = placed(chain, items)
    taken = len(messages) // (2 * 64)
    assert 20 < taken < len(items)
    parent, before = chain.follower.head, fingerprint(chain.follower)
    block, _ = chain.propose(messages=messages)
    assert is_full(chain.follower, block.header, messages)
    assert not is_full(chain.follower, block.header, messages[: 2 * 64 * (taken - 1)])
    assert fingerprint(chain.follower) == before
    check_queue(parent, block.header, items, lambda: True)
    with pytest.raises(InvalidBlock) as caught:
        check_queue(parent, block.header, items, lambda: False)
    assert caught.value.number == ITEM_SKIPPED


def test_messages_that_no_block_can_have_do_not_fill_one() -> None:
    chain = SignedChain()
    messages = chain.deposit("newcomer", USD, 1)
    wrong = messages[:16] + (9).to_bytes(8, "little") + messages[24:]
    before = fingerprint(chain.follower)
    assert not is_full(chain.follower, chain.follower.head, wrong)
    assert fingerprint(chain.follower) == before


@pytest.mark.parametrize(
    ("taken", "hashed", "number"),
    [
        (2, 2, 0), (1, 1, ITEM_SKIPPED), (0, 0, ITEM_SKIPPED), (3, 3, ITEM_EARLY),
        (2, 1, QUEUE_OTHER), (1, 2, QUEUE_OTHER), (0, 2, QUEUE_OTHER), (-1, 0, ITEM_SKIPPED),
    ],
)  # fmt: skip
def test_a_block_consumes_what_its_origin_brought(taken: int, hashed: int, number: int) -> None:
    chain = SignedChain()
    items = deposits("one", "two", "three")
    parent = replace(chain.leader.head, l1_messages=5)
    hashes = [parent.l1_queue_hash, *[one.queue_hash for one in items]]
    header = replace(parent, l1_messages=5 + taken, l1_queue_hash=hashes[hashed])
    if number == 0:
        check_queue(parent, header, items[:2], lambda: False)
        return
    with pytest.raises(InvalidBlock) as caught:
        check_queue(parent, header, items[:2], lambda: False)
    assert caught.value.number == number


def test_an_origin_is_the_final_block_of_its_number() -> None:
    header = replace(SignedChain().leader.head, l1_number=7, l1_hash=L1.hash, l1_time=L1.time)
    check_origin_block(header, L1)
    for other in (replace(L1, hash=sha256().digest()), replace(L1, time=L1.time + 1)):
        with pytest.raises(InvalidBlock) as caught:
            check_origin_block(header, other)
        assert caught.value.number == ORIGIN_OTHER


def test_an_item_expires_to_the_millisecond_and_only_above_the_origin() -> None:
    item = Item(3, 20, 1000, bytes(32), b"")
    header = replace(SignedChain().leader.head, l1_number=19, time=1000 * (1000 + 60))
    check_deadline(header, item, 60)
    late = replace(header, time=header.time + 1)
    check_deadline(replace(late, l1_number=20), item, 60)  # then its block must be full
    with pytest.raises(InvalidBlock) as caught:
        check_deadline(late, item, 60)
    assert caught.value.number == ITEM_EXPIRED
