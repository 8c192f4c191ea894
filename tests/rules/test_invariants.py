"""The invariants every book must hold, one named test each, on both sides of the book.

`Exchange` compares the compiled core with the naive twin after every message: events, balances,
locks, levels, best prices and bitmaps. A level that is stale for one message is seen at once, even
if the next trade would heal it. What each test adds is what the events and the book must *be*.
"""

import pytest
from core_rows import amend, cancel
from side_by_side import BUY, IOC, SELL, Exchange, ends, fills, refused, venue_of
from venues import Market

from consensus import layout

TAKER = 2
BOTH_SIDES = pytest.mark.parametrize("side", [SELL, BUY], ids=["asks", "bids"])


def better(side: int, ticks: int) -> int:
    """A price `ticks` better than 100 for a taker: lower asks, higher bids."""
    return 100 - ticks if side == SELL else 100 + ticks


def levels(exchange: Exchange, side: int) -> list[tuple[int, int]]:
    return exchange.book()[side]


def queue(side: int, *lots: int) -> tuple[Exchange, list[int]]:
    """An exchange whose trader 0 rests `lots` in one queue at 100; the handles."""
    market = Market(price_bits=8, pool_bits=8, lots_max=100_000)
    exchange = Exchange(venue_of(market, table_slots=256))
    return exchange, [exchange.rest(0, side, 100, each) for each in lots]


def sweep(exchange: Exchange, side: int, lots: int) -> list[tuple[int, int, int]]:
    """An immediate order through everything on `side`; its trades."""
    price = 254 if side == SELL else 1
    row = exchange.order(TAKER, 1 - side, price, lots, tif=IOC)
    return fills(exchange.say(TAKER, row))


@BOTH_SIDES
def test_cancel_in_the_middle_of_a_level_then_sweep(side: int) -> None:
    exchange, (first, middle, last) = queue(side, 5, 6, 7)
    assert ends(exchange.say(0, cancel(middle))) == [(layout.EVENT_CANCELED, layout.REASON_BY_USER)]
    assert levels(exchange, side) == [(100, 12)]
    assert sweep(exchange, side, 100) == [(first, 100, 5), (last, 100, 7)]
    assert exchange.book() == ([], [])
    assert exchange.funds(0, 0)[1] == exchange.funds(0, 1)[1] == 0


@BOTH_SIDES
def test_cancel_of_the_head_of_a_level_then_sweep(side: int) -> None:
    exchange, (head, second, third) = queue(side, 5, 6, 7)
    exchange.say(0, cancel(head))
    assert levels(exchange, side) == [(100, 13)]
    assert sweep(exchange, side, 100) == [(second, 100, 6), (third, 100, 7)]


@BOTH_SIDES
def test_scattered_cancels_in_a_deep_queue_keep_the_others_in_order(side: int) -> None:
    exchange, handles = queue(side, *range(1, 101))
    for handle in handles[::3] + handles[1::9]:
        exchange.say(0, cancel(handle))
    gone = {*handles[::3], *handles[1::9]}
    kept = [(h, 100, lots) for lots, h in enumerate(handles, 1) if h not in gone]
    assert levels(exchange, side) == [(100, sum(lots for _, _, lots in kept))]
    assert sweep(exchange, side, 10_000) == kept


@BOTH_SIDES
def test_an_ioc_walks_levels_from_the_best(side: int) -> None:
    exchange = Exchange()
    far, best, near = (exchange.rest(0, side, better(side, n), 5 + n) for n in (1, 3, 2))
    row = exchange.order(TAKER, 1 - side, better(side, 1), 16, tif=IOC)
    events = exchange.say(TAKER, row)
    assert fills(events) == [
        (best, better(side, 3), 8), (near, better(side, 2), 7), (far, better(side, 1), 1),
    ]  # fmt: skip
    assert levels(exchange, side) == [(better(side, 1), 5)]


@BOTH_SIDES
def test_the_residual_of_a_taker_becomes_the_best_price(side: int) -> None:
    exchange, (only,) = queue(side, 5)
    events = exchange.say(TAKER, exchange.order(TAKER, 1 - side, 100, 8))
    assert fills(events) == [(only, 100, 5)]
    assert events[-1].kind == layout.EVENT_RESTED
    assert levels(exchange, side) == []
    assert exchange.best()[1 - side] == 100 and levels(exchange, 1 - side) == [(100, 3)]


@BOTH_SIDES
def test_an_amend_that_crosses_fills_at_the_makers_price(side: int) -> None:
    exchange = Exchange()
    maker = exchange.rest(0, side, 100, 5)
    mover = exchange.rest(TAKER, 1 - side, better(side, 10), 9)
    through = 100 + 7 if side == SELL else 100 - 7
    events = exchange.say(TAKER, amend(mover, through, 9))
    assert fills(events) == [(maker, 100, 5)]
    taken = next(event for event in events if event.kind == layout.EVENT_TAKEN)
    assert taken.words[:3] == (mover, 5 * 100 * 3, 5)
    assert levels(exchange, 1 - side) == [(through, 4)] and levels(exchange, side) == []


@BOTH_SIDES
def test_a_sibling_survives_an_amend_on_their_level(side: int) -> None:
    exchange, (first, sibling) = queue(side, 5, 6)
    away = 100 + 3 if side == SELL else 100 - 3
    exchange.say(0, amend(first, away, 5))
    assert levels(exchange, side) == [(100, 6), (away, 5)]
    exchange.say(0, amend(first, 100, 5))
    assert levels(exchange, side) == [(100, 11)]
    assert sweep(exchange, side, 100) == [(sibling, 100, 6), (first, 100, 5)]


@BOTH_SIDES
def test_cancel_after_a_partial_fill_takes_off_what_is_left(side: int) -> None:
    exchange, (handle,) = queue(side, 9)
    assert sweep(exchange, side, 4) == [(handle, 100, 4)]
    (event,) = exchange.say(0, cancel(handle))
    assert event.reason == layout.REASON_BY_USER and event.words[2] == 5
    assert exchange.book() == ([], [])
    assert exchange.funds(0, 0)[1] == exchange.funds(0, 1)[1] == 0


@BOTH_SIDES
def test_a_stale_cancel_or_amend_after_a_full_fill_is_refused(side: int) -> None:
    exchange, (handle,) = queue(side, 4)
    sweep(exchange, side, 4)
    assert exchange.refusal(0, cancel(handle)) == layout.UNKNOWN_ORDER
    assert exchange.refusal(0, amend(handle, 100, 9)) == layout.UNKNOWN_ORDER


@BOTH_SIDES
def test_a_slot_used_again_after_cancel_or_fill_has_a_new_handle(side: int) -> None:
    exchange, (old,) = queue(side, 4)
    exchange.say(0, cancel(old))
    second = exchange.rest(0, side, 100, 4)
    sweep(exchange, side, 4)
    third = exchange.rest(0, side, 100, 4)
    assert (old, second, third) == tuple(n << 24 | 1 for n in (1, 2, 3))
    for stale in (old, second):
        assert exchange.refusal(0, cancel(stale)) == layout.UNKNOWN_ORDER
        assert exchange.refusal(0, amend(stale, 100, 1)) == layout.UNKNOWN_ORDER
    assert levels(exchange, side) == [(100, 4)]


@BOTH_SIDES
def test_a_client_id_can_be_used_again_after_cancel_and_after_fill(side: int) -> None:
    exchange = Exchange()
    first = exchange.rest(0, side, 100, 4, client=7)
    taken = exchange.order(0, side, 100, 4, client=7)
    assert exchange.refusal(0, taken) == layout.CLIENT_ID_TAKEN
    exchange.say(0, cancel(first))
    assert ends(exchange.say(0, taken)) == [(layout.EVENT_RESTED, 0)]
    sweep(exchange, side, 4)
    assert ends(exchange.say(0, taken)) == [(layout.EVENT_RESTED, 0)]


@BOTH_SIDES
def test_no_phantom_level_is_left_when_the_best_is_cancelled(side: int) -> None:
    exchange, (best,) = queue(side, 5)
    behind = 101 if side == SELL else 99
    exchange.rest(0, side, behind, 6)
    exchange.say(0, cancel(best))
    assert exchange.best()[side] == behind and levels(exchange, side) == [(behind, 6)]
    events = exchange.say(TAKER, exchange.order(TAKER, 1 - side, 100, 5))
    assert ends(events) == [(layout.EVENT_RESTED, 0)]


@BOTH_SIDES
def test_the_residual_of_an_ioc_never_rests(side: int) -> None:
    exchange, _ = queue(side, 5)
    events = exchange.say(TAKER, exchange.order(TAKER, 1 - side, 100, 8, tif=IOC))
    assert ends(events) == [
        (layout.EVENT_TRADE, 0),
        (layout.EVENT_TAKEN, 0),
        (layout.EVENT_CANCELED, layout.REASON_IOC),
    ]
    assert events[-1].words[2] == 3
    assert exchange.book() == ([], [])
    assert exchange.funds(TAKER, 0)[1] == exchange.funds(TAKER, 1)[1] == 0


@BOTH_SIDES
def test_a_marketable_limit_stops_at_its_own_price(side: int) -> None:
    exchange = Exchange()
    near = exchange.rest(0, side, better(side, 2), 5)
    far = exchange.rest(0, side, better(side, 1), 5)
    events = exchange.say(TAKER, exchange.order(TAKER, 1 - side, better(side, 2), 9))
    assert fills(events) == [(near, better(side, 2), 5)]
    assert levels(exchange, 1 - side) == [(better(side, 2), 4)]
    assert levels(exchange, side) == [(better(side, 1), 5)]
    assert exchange.word(far, layout.ORDER_VISIBLE) == 5


def test_handles_that_were_never_issued_are_refused() -> None:
    exchange, (handle,) = queue(SELL, 5)
    never = [0, -1, 1, handle + 1, handle + (1 << 24), handle | 1 << 60, -handle, 1 << 24]
    never += [(1 << 24) + 255, (1 << 24) + 256, (1 << 24) + (1 << 20), -(1 << 63), (1 << 63) - 1]
    for name in never:
        assert exchange.refusal(0, cancel(name)) == layout.UNKNOWN_ORDER, name
        assert exchange.refusal(0, amend(name, 100, 1)) == layout.UNKNOWN_ORDER, name
    assert exchange.refusal(1, cancel(handle)) == layout.UNKNOWN_ORDER
    assert levels(exchange, SELL) == [(100, 5)]


@BOTH_SIDES
def test_a_deep_level_is_first_in_first_out_across_calls(side: int) -> None:
    exchange, handles = queue(side, *[2] * 60)
    taken = [trade for _ in range(24) for trade in sweep(exchange, side, 5)]
    owed = [handle for handle in handles for _ in range(2)]
    hit = [handle for handle, _, lots in taken for _ in range(lots)]
    assert hit == owed


def test_prices_at_both_ends_of_the_domain_rest_and_trade() -> None:
    exchange = Exchange()
    top = (1 << 8) - 2
    high, low = exchange.rest(0, SELL, top, 3), exchange.rest(1, BUY, 1, 3)
    assert exchange.book() == ([(1, 3)], [(top, 3)]) and exchange.best() == (1, top)
    assert sweep(exchange, SELL, 3) == [(high, top, 3)]
    assert sweep(exchange, BUY, 3) == [(low, 1, 3)]
    high, low = exchange.rest(0, BUY, top, 3), exchange.rest(0, BUY, 1, 2)
    assert sweep(exchange, BUY, 5) == [(high, top, 3), (low, 1, 2)]
    high, low = exchange.rest(0, SELL, top, 3), exchange.rest(0, SELL, 1, 2)
    assert sweep(exchange, SELL, 5) == [(low, 1, 2), (high, top, 3)]


def test_five_thousand_fills_in_one_sweep() -> None:
    market = Market(price_bits=8, pool_bits=13, orders=8192, lots_max=10_000)
    exchange = Exchange(
        venue_of(market, table_slots=4096, parameters=(5000, 40_000, 1_000_000, 1_000_000, 0))
    )
    for trader in (0, 1):
        for start in range(0, 2560, 64):
            rows = [exchange.order(trader, SELL, 100 + n % 7, 1) for n in range(start, start + 64)]
            exchange.say(trader, *rows)
    events = exchange.say(TAKER, exchange.order(TAKER, BUY, 254, 6000))
    assert len(fills(events)) == 5000
    assert ends(events)[-1] == (layout.EVENT_CANCELED, layout.REASON_WORK_LIMIT)
    assert events[-1].words[2] == 1000
    assert exchange.book()[0] == [] and sum(lots for _, lots in exchange.book()[1]) == 120
    assert sweep(exchange, SELL, 6000)[0][1] == exchange.best()[1] or exchange.best()[1] == 0


def test_price_goes_before_time() -> None:
    exchange = Exchange()
    handles = [exchange.rest(0, SELL, price, 1) for price in (101, 100, 102, 100)]
    taken = [handle for handle, _, _ in sweep(exchange, SELL, 4)]
    assert taken == [handles[1], handles[3], handles[0], handles[2]]


def test_an_operation_that_names_no_market_or_order_changes_nothing() -> None:
    exchange, (handle,) = queue(SELL, 5)
    assert exchange.refusal(0, cancel(handle, market=1)) == layout.UNKNOWN_MARKET
    assert exchange.refusal(0, amend(handle, 100, 1, market=1)) == layout.UNKNOWN_MARKET
    unlisted = exchange.order(0, SELL, 100, 1, market=1)
    assert ends(exchange.say(0, unlisted)) == refused(layout.UNKNOWN_MARKET)
