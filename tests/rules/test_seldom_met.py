"""Situations that random flow seldom meets, core and twin side by side.

Balances of one account in two leaves, more markets than a session key can name, an account that
waited longer than a day, times and funds that are just enough, a large market listed in the middle
of life.
"""

from typing import Final

import pytest
from core_rows import (
    address,
    cancel,
    cancel_all,
    dead_man,
    grant,
    list_asset,
    list_market,
    market_status,
    parameter,
    transfer,
    withdraw,
)
from side_by_side import (
    BUY,
    FUNDS,
    IOC,
    PLAIN,
    QUOTE,
    SELL,
    Exchange,
    ends,
    fills,
    refused,
    venue_of,
)
from venues import FIRST_TRADER, Market

from consensus import layout

DAY: Final = 86_400_000
KEY: Final = 1


def test_a_trade_marks_both_leaves_when_base_and_quote_lie_in_different_ones() -> None:
    exchange = Exchange(venue_of(PLAIN, assets_max=8))
    exchange.govern(list_asset(0x44, 6), list_asset(0x45, 6), list_asset(0x46, 6))
    exchange.govern(list_market(base=0, quote=5, price_bits=8, pool_bits=6, page_bits=6))
    exchange.govern(market_status(0, market=1))
    for trader in (0, 1):
        exchange.deposit(address(trader), 5, FUNDS)
    for side in (BUY, SELL):
        exchange.open(10)
        handle = exchange.rest(0, side, 100, 10, market=1)
        exchange.open(10)  # so that the next block begins with clean leaves
        assert (
            fills(exchange.say(1, exchange.order(1, 1 - side, 100, 10, market=1)))[0][0] == handle
        )
    exchange.open(10)


def test_a_session_key_reaches_markets_0_to_61_and_no_market_above() -> None:
    small = Market(price_bits=6, pool_bits=6, page_bits=6)
    exchange = Exchange(venue_of(*[small] * 66, markets_max=128))
    scope = {"markets": layout.AMOUNT_MAX, "expires": exchange.time + DAY}
    exchange.say(0, grant(address(900 + KEY), slot=KEY, **scope))
    for market in (0, 1, 60, 61):
        exchange.say(0, exchange.order(0, BUY, 9, 1, market=market), key=KEY)
    for market in (62, 63, 64, 65):
        row = exchange.order(0, BUY, 9, 1, market=market)
        assert exchange.refusal(0, row, key=KEY) == layout.KEY_SCOPE


def test_tokens_come_back_for_at_most_one_day() -> None:
    exchange = Exchange(venue_of(parameters=(1000, 40_000, 1, 64, 0)))
    exchange.govern(parameter(3, 1_000_000))
    exchange.open(3 * DAY)
    exchange.say(0, cancel(0))
    M = exchange.core.memory.M
    record = M[layout.AT_ACCOUNTS] + (FIRST_TRADER << 5)
    assert M[record + layout.ACCOUNT_TOKENS] == 64_000 + DAY - 1000


def test_the_longest_wait_gives_one_days_tokens_and_no_overflow() -> None:
    exchange = Exchange(venue_of(parameters=(1000, 40_000, 1_000_000, 1_000_000, 0)))
    exchange.open(1 << 52)
    assert ends(exchange.say(0, cancel(0))) == refused(layout.UNKNOWN_ORDER)


def test_an_order_is_dead_in_the_millisecond_in_which_it_expires() -> None:
    exchange = Exchange()
    early = exchange.rest(0, SELL, 100, 5, expires=exchange.time + 10)
    exchange.rest(0, SELL, 101, 5, expires=exchange.time + 11)
    exchange.open(10)
    events = exchange.say(1, exchange.order(1, BUY, 101, 7, tif=IOC))
    assert ends(events)[0] == (layout.EVENT_CANCELED, layout.REASON_EXPIRED)
    assert events[0].words[0] == early
    assert [trade[1:] for trade in fills(events)] == [(101, 5)]


@pytest.mark.parametrize("minimum", [{"minimum": 5}, {"tif": 2}])
def test_a_scan_does_not_count_an_order_that_expires_now(minimum: dict[str, int]) -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 5, expires=exchange.time + 10)
    exchange.open(10)
    terms = {"tif": IOC} | minimum
    assert exchange.refusal(1, exchange.order(1, BUY, 100, 5, **terms)) == layout.UNFILLABLE


def test_a_post_only_order_clears_those_that_expire_now_out_of_its_way() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 5, expires=exchange.time + 10)
    exchange.open(10)
    events = exchange.say(1, exchange.order(1, BUY, 100, 5, post=1))
    assert ends(events) == [
        (layout.EVENT_CANCELED, layout.REASON_EXPIRED),
        (layout.EVENT_RESTED, 0),
    ]


def test_a_post_only_order_at_the_very_price_of_the_other_side_crosses() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 5)
    assert exchange.refusal(1, exchange.order(1, BUY, 100, 5, post=1)) == layout.POST_ONLY_CROSS


@pytest.mark.parametrize(("side", "price"), [(SELL, 254), (BUY, 1)])
def test_a_sliding_order_that_would_leave_the_ladder_is_refused(side: int, price: int) -> None:
    """The other side rests at the last tick, so that one tick behind it there is no price."""
    exchange = Exchange()
    exchange.rest(0, 1 - side, price, 5)
    assert exchange.refusal(1, exchange.order(1, side, price, 5, post=2)) == layout.POST_ONLY_CROSS


@pytest.mark.parametrize(("side", "price", "slid"), [(SELL, 253, 254), (BUY, 2, 1)])
def test_a_sliding_order_may_rest_at_the_last_tick(side: int, price: int, slid: int) -> None:
    exchange = Exchange()
    exchange.rest(0, 1 - side, price, 5)
    events = exchange.say(1, exchange.order(1, side, price, 5, post=2))
    assert events[-1].kind == layout.EVENT_RESTED
    assert events[-1].words[1] == slid


@pytest.mark.parametrize("visits", [16, 17])
def test_a_post_only_order_clears_at_most_visits_max_dead_orders(visits: int) -> None:
    exchange = Exchange(venue_of(parameters=(16, 40_000, 1_000_000, 1_000_000, 0)))
    for _ in range(visits):
        exchange.rest(0, SELL, 100, 1, expires=exchange.time + 10)
    exchange.open(10)
    events = exchange.say(1, exchange.order(1, BUY, 100, 5, post=1))
    gone = [(layout.EVENT_CANCELED, layout.REASON_EXPIRED)] * 16
    last = (layout.EVENT_RESTED, 0) if visits == 16 else refused(layout.WORK_LIMIT)[0]
    assert ends(events) == [*gone, last]


@pytest.mark.parametrize("cleared", [0, 5])
def test_what_a_post_only_order_cleared_counts_as_visited(cleared: int) -> None:
    """A post-only order does not trade; its visits show in scratch, where a scan adds."""
    exchange = Exchange(venue_of(parameters=(16, 40_000, 1_000_000, 1_000_000, 0)))
    for _ in range(cleared):
        exchange.rest(0, SELL, 100, 1, expires=exchange.time + 10)
    exchange.open(10)
    exchange.say(1, exchange.order(1, BUY, 100, 5, post=1))
    assert exchange.core.memory.S[layout.S_VISITS] == cleared


def test_all_of_the_funds_can_be_moved_and_taken_out_and_not_one_atom_more() -> None:
    exchange = Exchange()
    assert exchange.refusal(0, transfer(3, FUNDS + 1, QUOTE)) == layout.FUNDS
    assert exchange.say(0, transfer(3, FUNDS, QUOTE))[0].kind == layout.EVENT_TRANSFERRED
    assert exchange.refusal(1, withdraw(0, FUNDS + 1, (1, 2, 3))) == layout.FUNDS
    assert exchange.say(1, withdraw(0, FUNDS, (1, 2, 3)))[0].kind == layout.EVENT_WITHDRAWN


def test_the_supply_may_reach_its_bound_and_not_pass_it() -> None:
    exchange = Exchange()
    left = layout.AMOUNT_MAX - 4 * FUNDS
    assert exchange.deposit(address(0), QUOTE, left + 1).reason == layout.SUPPLY
    assert exchange.deposit(address(0), QUOTE, left).kind == layout.EVENT_DEPOSITED
    assert exchange.deposit(address(0), QUOTE, 1).reason == layout.SUPPLY


def test_a_switch_that_is_due_now_fires_and_one_due_a_millisecond_later_does_not() -> None:
    exchange = Exchange()
    for trader in (0, 1):
        exchange.rest(trader, BUY, 90, 5)
        exchange.say(trader, dead_man(exchange.time + 10 + trader))
    events = exchange.open(10)
    assert ends(events) == [(layout.EVENT_CANCELED, layout.REASON_DEADMAN)]
    assert events[0].words[4] == FIRST_TRADER


def test_the_sweep_takes_an_order_in_the_millisecond_in_which_it_expires() -> None:
    exchange = Exchange(venue_of(parameters=(1000, 40_000, 1_000_000, 1_000_000, 64)))
    exchange.rest(0, SELL, 100, 5, expires=exchange.time + 10)
    assert ends(exchange.open(9)) == []
    assert ends(exchange.open(1)) == [(layout.EVENT_CANCELED, layout.REASON_EXPIRED)]


def test_a_market_whose_heaps_have_three_levels_is_listed_word_for_word_as_the_twin_does() -> None:
    exchange = Exchange(venue_of(PLAIN))
    core = exchange.core
    core.memory.seal()
    core.memory.reserve(core.memory.M[layout.END] + 1_600_000)
    core.open_block(exchange.height, exchange.time, exchange.height)
    exchange.govern(list_market(price_bits=13, pool_bits=13, page_bits=12))
    exchange.govern(market_status(0, market=1))
    assert exchange.rest(0, BUY, 8000, 3, market=1)
    assert ends(exchange.say(0, cancel_all(1)))[-1][0] == layout.EVENT_MASS


def test_the_sixty_fourth_eviction_is_the_last_for_one_page() -> None:
    """Every other bid rests on a page of its own; the newcomer needs a page and finds none."""
    market = Market(price_bits=13, pool_bits=9, page_bits=6, lots_max=1000, orders=4096)
    exchange = Exchange(venue_of(market, table_slots=512))
    for page in range(63):
        exchange.rest(0, BUY, 64 * (page + 1) + 1, 1)
    crowded = 64 + 1
    for _ in range(64):
        exchange.rest(1, BUY, crowded, 1)
    events = exchange.say(2, exchange.order(2, BUY, 64 * 70, 1))
    assert ends(events).count((layout.EVENT_CANCELED, layout.REASON_EVICTED)) == 64
    assert ends(events)[-1] == (layout.EVENT_CANCELED, layout.REASON_NO_ROOM)
    events = exchange.say(2, exchange.order(2, BUY, 64 * 70, 1))
    assert ends(events)[-1][0] == layout.EVENT_RESTED


def test_a_generation_after_the_last_is_the_first() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, BUY, 90, 1)
    exchange.say(0, cancel(handle))
    slot = handle & layout.HANDLE_SLOT_MASK
    last = layout.GENERATION_MAX
    for generation, following in ((last - 2, last - 1), (last - 1, last), (last, 1)):
        set_generation(exchange, slot, generation)
        handle = exchange.rest(0, BUY, 90, 1)
        assert handle >> layout.HANDLE_SHIFT == following
        exchange.say(0, cancel(handle))


def set_generation(exchange: Exchange, slot: int, generation: int) -> None:
    """Write the tag of a free slot into core and twin, as a billion orders would."""
    M = exchange.core.memory.M
    k = M[M[layout.AT_MARKETS] + layout.MARKET_REGION]
    at = k + M[k + layout.BOOK_AT_POOL] + slot * layout.ORDER_WORDS
    M[at + layout.ORDER_TAG] = generation << layout.TAG_GENERATION_SHIFT
    exchange.twin.exchange.venue.markets[0].generations[slot] = generation


def test_a_forced_order_is_not_bound_by_the_key_that_signed_the_group_before() -> None:
    exchange = Exchange()
    scope = {"expires": exchange.time + DAY, "reduce_only": 1, "cap": 1}
    exchange.say(0, grant(address(900 + KEY), slot=KEY, **scope))
    refusal = exchange.refusal(0, exchange.order(0, BUY, 90, 5), key=KEY)
    assert refusal == layout.REDUCE_ONLY
    row = exchange.order(0, BUY, 90, 5)
    events = exchange.message(address(0), row, key=layout.KEY_FORCED)
    assert ends(events) == [(layout.EVENT_RESTED, 0)]


@pytest.mark.parametrize("signer", [(0, 0, 0), (1 << 56, 1, 1), (1, 1 << 56, 1), (1, 1, 1 << 48)])
def test_a_deposit_for_what_is_no_address_opens_no_account(signer: tuple[int, int, int]) -> None:
    exchange = Exchange()
    accounts = exchange.core.memory.M[layout.ACCOUNTS]
    assert exchange.deposit(signer, QUOTE, 5).reason == layout.MALFORMED
    assert exchange.core.memory.M[layout.ACCOUNTS] == accounts
