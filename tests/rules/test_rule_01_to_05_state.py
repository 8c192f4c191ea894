"""Rules 1 to 5: handles, hints, records and the indexes that follow from them, marks, leaves."""

import random
from hashlib import sha256

import pytest
from core_rows import (
    address,
    amend,
    cancel,
    cancel_client,
    deposit,
    group,
    list_asset,
    list_market,
    market_status,
    place,
    row,
)
from executors import low_neighbour
from side_by_side import (
    BUY,
    COMMANDS,
    IOC,
    MESSAGES,
    QUOTE,
    SELL,
    Exchange,
    ends,
    refused,
    venue_of,
)
from venues import Market

from consensus import layout
from consensus.matching.operations import market_at
from consensus.state.export import export, import_
from consensus.state.memory import regions_of
from consensus.state.tree import StateTree

# Rule 1


def test_rule_01_a_handle_is_generation_and_slot() -> None:
    exchange = Exchange()
    assert exchange.rest(0, SELL, 100, 1) == 1 << 24 | 1
    assert exchange.rest(0, SELL, 100, 1) == 1 << 24 | 2


def test_rule_01_the_slot_of_a_handle_is_inside_the_pool() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 1)
    for slot in (0, 64, 65, 1 << 20, (1 << 24) - 1):
        assert exchange.refusal(0, cancel(1 << 24 | slot)) == layout.UNKNOWN_ORDER


def test_rule_01_a_handle_names_only_a_live_order() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 1)
    exchange.say(0, cancel(handle))
    assert exchange.word(handle, layout.ORDER_TAG) == 1 << 32
    assert exchange.refusal(0, cancel(handle)) == layout.UNKNOWN_ORDER


def test_rule_01_the_generation_survives_freeing_and_tells_orders_apart() -> None:
    exchange = Exchange()
    handles = []
    for _ in range(4):
        handles.append(exchange.rest(0, SELL, 100, 1))
        exchange.say(0, cancel(handles[-1]))
    last = exchange.rest(0, SELL, 100, 1)
    assert [handle >> 24 for handle in (*handles, last)] == [1, 2, 3, 4, 5]
    for stale in (*handles, last + (1 << 24)):
        assert exchange.refusal(0, cancel(stale)) == layout.UNKNOWN_ORDER


def test_rule_01_the_generation_wraps_to_one() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 1)
    exchange.say(0, cancel(handle))
    M = exchange.core.memory.M
    k = market_at(M, 0)
    at = k + M[k + layout.BOOK_AT_POOL] + (handle & layout.HANDLE_SLOT_MASK) * 16
    M[at] = layout.GENERATION_MAX << layout.TAG_GENERATION_SHIFT
    generations = exchange.twin.exchange.venue.markets[0].generations
    generations[handle & layout.HANDLE_SLOT_MASK] = layout.GENERATION_MAX
    exchange.probe()
    assert exchange.rest(0, SELL, 100, 1) >> 24 == 1


def test_rule_01_a_handle_is_good_for_its_owner_only() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 1)
    assert exchange.refusal(1, cancel(handle)) == layout.UNKNOWN_ORDER
    assert exchange.refusal(1, amend(handle, 100, 5)) == layout.UNKNOWN_ORDER


def test_rule_01_no_word_of_a_user_makes_a_handle() -> None:
    """Every word of a live record, at any shift, aimed at every slot near it: all refused."""
    exchange = Exchange()
    mine = exchange.rest(0, SELL, 100, 4242, client=77)
    theirs = exchange.rest(1, SELL, 101, 4242, client=78)
    words = {exchange.word(mine, n) for n in range(16)} | {4242, 77, 100}
    rows = []
    for word in sorted(words):
        for slot in range(8):
            for handle in (word << 24 | slot, word << 28 | slot, word + slot):
                if handle not in (mine, theirs) and -(1 << 63) <= handle < 1 << 63:
                    rows.append(cancel(handle))
    for start in range(0, len(rows), 64):
        events = exchange.say(0, *rows[start : start + 64])
        assert set(ends(events)) == set(refused(layout.UNKNOWN_ORDER))
    assert exchange.book()[1] == [(100, 4242), (101, 4242)]


def test_rule_01_a_position_shaped_like_an_order_cannot_be_cancelled() -> None:
    """Behind the pool lie the traders: the words of account 4 are those of slot 64 + 2.

    It buys until its net position reads as a live tag of generation 1, and its cost as its own
    account: only the range of the slot is left to refuse the handle.
    """
    lots = (1 << 32) + 1
    market = Market(
        price_bits=8, base_per_lot=1, quote_per_tick_lot=1, lots_max=lots, rates=((0, 0),) * 4
    )
    exchange = Exchange(venue_of(market))
    exchange.rest(0, SELL, 4, lots)
    exchange.say(2, exchange.order(2, BUY, 4, lots, tif=IOC))
    assert exchange.trader(2, layout.TRADER_NET) == 1 << 32 | layout.TAG_LIVE
    assert exchange.trader(2, layout.TRADER_COST) & layout.TERMS_ACCOUNT_MASK == 4
    assert exchange.refusal(2, cancel(1 << 24 | 64 + 2)) == layout.UNKNOWN_ORDER


# Rule 2


def test_rule_02_a_wrong_hint_is_no_refusal_but_a_group_that_no_block_may_contain() -> None:
    exchange = Exchange()
    new = (1 << 50, 1, 2)
    good, _ = low_neighbour(exchange.core.memory.M, new)
    before = exchange.core.image()
    for hint in {-1, 0, 1, 2, 3, 4, 5, 6, 1 << 40} - {good}:
        data = group([deposit(new, 0, 5)], account=hint, signer=new, nonce=0, expires=0, key=254)
        assert exchange.run(data, MESSAGES) == (layout.HINT, [])
        assert exchange.core.image() == before
    assert exchange.deposit(new, 0, 5).kind == layout.EVENT_DEPOSITED


def test_rule_02_an_account_is_found_by_the_low_neighbour_of_its_address() -> None:
    exchange = Exchange()
    low, high = (1, 0, 0), (1 << 55, 0, 0)
    assert exchange.deposit(high, 0, 5).flags == 1
    assert exchange.deposit(low, 0, 5).flags == 1
    for known in (low, high, address(0)):
        assert exchange.deposit(known, 0, 5).flags == 0


def test_rule_02_client_ids_are_decided_by_the_accounts_own_table() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 1, client=5)
    other = exchange.rest(1, SELL, 100, 1, client=5)
    clash = exchange.order(0, SELL, 100, 1, client=5 + 32)
    assert exchange.refusal(0, clash) == layout.CLIENT_ID_TAKEN
    assert exchange.refusal(0, cancel_client(5 + 32)) == layout.UNKNOWN_ORDER
    assert exchange.refusal(2, cancel_client(5)) == layout.UNKNOWN_ORDER
    exchange.say(0, cancel_client(5))
    assert exchange.word(other, layout.ORDER_VISIBLE) == 1


def test_rule_02_the_order_table_bounds_an_accounts_live_orders() -> None:
    exchange = Exchange()
    for client in range(32):
        exchange.rest(0, SELL, 100 + client, 1, client=client)
    for client in (32, 33, 63, (1 << 53) - 1):
        row_ = exchange.order(0, SELL, 100, 1, client=client)
        assert exchange.refusal(0, row_) == layout.CLIENT_ID_TAKEN


# Rule 3


def test_rule_03_a_freed_record_is_zero_but_for_its_generation() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 70, client=9, display=10, expires=exchange.time + 9)
    exchange.say(0, cancel(handle))
    assert [exchange.word(handle, n) for n in range(16)] == [1 << 32, *[0] * 15]


def test_rule_03_allocation_takes_the_lowest_free_slot() -> None:
    exchange = Exchange()
    handles = [exchange.rest(0, SELL, 100 + n, 1) for n in range(6)]
    for n in (4, 1, 2):
        exchange.say(0, cancel(handles[n]))
    slots = [exchange.rest(0, SELL, 90, 1) & layout.HANDLE_SLOT_MASK for _ in range(4)]
    assert slots == [2, 3, 5, 7]


def test_rule_03_the_state_is_its_records_whatever_happened_before() -> None:
    """A busy history and an import of its records have one root, and go on alike."""
    exchange = Exchange()
    chance = random.Random(3)
    live: list[tuple[int, int]] = []
    for _ in range(150):
        trader = chance.randrange(3)
        if live and chance.random() < 0.4:
            who, handle = live.pop(chance.randrange(len(live)))
            exchange.say(who, cancel(handle))
            continue
        side, price = chance.randrange(2), chance.randrange(95, 106)
        events = exchange.say(trader, exchange.order(trader, side, price, chance.randrange(1, 9),
            client=chance.randrange(32), post=2))  # fmt: skip
        live += [(trader, e.words[0]) for e in events if e.kind == layout.EVENT_RESTED]
    root = exchange.core.memory.seal()
    again = import_(export(exchange.core.memory))
    assert again.tree.root() == root
    assert bytes(again.view()) == exchange.core.image() == exchange.twin.image()


# Rule 4


def test_rule_04_no_change_escapes_the_marks() -> None:
    """The incremental root is the rebuilt one after a block of every kind of change."""
    exchange = Exchange(venue_of(Market(price_bits=8, pool_bits=6, lots_max=1000)))
    for _ in range(6):
        handle = exchange.rest(0, SELL, 100, 64, display=2)
        exchange.rest(1, BUY, 90, 5, expires=exchange.time + 1)
        exchange.say(2, exchange.order(2, BUY, 100, 5, tif=IOC))
        exchange.say(0, amend(handle, 100, 20), amend(handle, 101, 30), cancel(handle))
        exchange.open(1)  # compares both roots


@pytest.mark.parametrize("side", [BUY, SELL])
def test_rule_04_both_balances_of_a_maker_are_marked_when_they_lie_in_two_leaves(side: int) -> None:
    exchange = Exchange(venue_of(assets_max=8))
    far = 4  # four balances fill a leaf
    exchange.govern(list_asset(0x44), list_asset(0x45))
    exchange.govern(
        list_market(base=far, quote=1, price_bits=8, pool_bits=6, page_bits=6),
        market_status(0, market=1),
    )
    for trader in (0, 1):
        exchange.deposit(address(trader), far, 10**9)
    exchange.rest(0, side, 100, 5, market=1)
    exchange.open(1)
    exchange.say(1, exchange.order(1, 1 - side, 100, 3, market=1, tif=IOC))
    exchange.open(1)  # compares both roots
    assert exchange.funds(0, QUOTE)[0] == (900 if side == SELL else -900)


def test_rule_04_undo_finds_every_changed_word() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 64, display=2)
    exchange.open(1)
    exchange.core.memory.seal()
    before = exchange.core.image()
    exchange.core.open_block(99, exchange.time + 1, 0)
    rows = [place(BUY, 100, 7, client=3, tif=IOC), place(BUY, 50, 7, client=4)]
    header = exchange.header(1, 0, {})
    data = group(rows, **header)
    assert exchange.core.execute(data, COMMANDS)[0] == 0
    assert exchange.core.image() != before
    exchange.core.memory.undo()
    assert exchange.core.image() == before


# Rule 5


def test_rule_05_the_root_covers_version_regions_and_every_word() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 5)
    memory = exchange.core.memory
    root = memory.seal()
    regions = regions_of(memory.M)
    assert [region.id for region in regions] == [0, 1]
    other = StateTree(regions, layout.LAYOUT_VERSION + 1)
    other.rebuild(memory.view())
    assert other.root() != root
    for word in (0, layout.TIME, layout.AT_ASSETS, int(memory.M[layout.END]) - 1):
        changed = bytearray(memory.view())
        changed[word * 8] ^= 1
        tree = StateTree(regions, layout.LAYOUT_VERSION)
        tree.rebuild(memoryview(changed))
        assert tree.root() != root, word


def test_rule_05_leaves_are_256_bytes_and_records_do_not_cross_them() -> None:
    assert layout.LEAF_WORDS * 8 == 256 and 1 << layout.LEAF_SHIFT == layout.LEAF_WORDS
    for words in (8, 16, 32):  # balance, trader, schedule; order, key, asset, market; account
        assert layout.LEAF_WORDS % words == 0
    exchange = Exchange()
    M = exchange.core.memory.M
    for word in (layout.AT_MARKETS, layout.AT_ACCOUNTS, layout.AT_KEYS, layout.AT_BALANCES):
        assert M[word] % layout.LEAF_WORDS == 0
    assert all(region.base % layout.LEAF_WORDS == 0 for region in regions_of(M))


def test_rule_05_scratch_is_no_state() -> None:
    """Whatever an earlier block left in scratch, the same rows give the same image."""
    images = set()
    for seed in range(3):
        exchange = Exchange()
        chance = random.Random(seed)
        S = exchange.core.memory.S
        kept = (layout.S_LEFT, layout.S_FAULT, layout.S_DIRTY)
        for word in (*range(layout.S_ACCOUNT, layout.S_IMAGES), *range(16, 25)):
            if word not in kept:
                S[word] = chance.randrange(1 << 40)
        exchange.rest(0, SELL, 100, 50, display=10)
        exchange.say(1, exchange.order(1, BUY, 100, 12, tif=IOC))
        images.add(sha256(exchange.core.image()).digest())
    assert len(images) == 1


@pytest.mark.parametrize("op", [0, 12, 15, 17, 31, 42, 255])
def test_an_operation_code_that_nobody_has_is_malformed(op: int) -> None:
    assert Exchange().refusal(0, row(op)) == layout.MALFORMED
