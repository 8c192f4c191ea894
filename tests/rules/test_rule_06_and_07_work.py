"""Rules 6 and 7: every command's work is bounded, and nobody can squat a book.

The attacks are those that the design was attacked with: a fill-or-kill over one's own orders, an
iceberg that shows one lot, a sweep of tens of thousands, a level page for each bid, everything
expiring at once. Each must end with its documented number after a counted amount of work, and the
honest must still be served. None of this is timed; `rialto bench matcher --adversarial` is.
"""

from typing import Final

import pytest
from core_rows import Event, amend, cancel_all, dead_man, group
from side_by_side import BUY, FOK, IOC, SELL, Exchange, ends, fills, refused, venue_of
from venues import Market

from consensus import layout

WIDE: Final = Market(price_bits=12, pool_bits=10, page_bits=6, lots_max=100_000, orders=4096)


def with_visits(visits: int, *markets: Market) -> Exchange:
    """An exchange whose commands visit at most so many orders."""
    parameters = (visits, 40_000, 1_000_000, 1_000_000, 0)
    return Exchange(venue_of(*markets or (WIDE,), table_slots=1024, parameters=parameters))


def rest_many(
    exchange: Exchange, trader: int, side: int, price: int, count: int, lots: int
) -> None:
    for start in range(0, count, 64):
        rows = [
            exchange.order(trader, side, price, lots) for _ in range(start, min(count, start + 64))
        ]
        exchange.say(trader, *rows)


def visits_of(exchange: Exchange) -> int:
    return int(exchange.core.memory.S[layout.S_VISITS])


def resting(exchange: Exchange, market: int = 0) -> int:
    return sum(len(m.pool) for m in exchange.twin.exchange.venue.markets[market : market + 1])


# Rule 6


def test_rule_06_a_sweep_stops_at_the_visit_limit_and_says_so() -> None:
    exchange = with_visits(100)
    rest_many(exchange, 0, SELL, 100, 130, 1)
    events = exchange.say(1, exchange.order(1, BUY, 200, 130))
    assert len(fills(events)) == 100
    assert ends(events)[-1] == (layout.EVENT_CANCELED, layout.REASON_WORK_LIMIT)
    assert events[-1].words[2] == 30
    assert exchange.book() == ([], [(100, 30)])


def test_rule_06_exactly_the_limit_is_no_limit() -> None:
    exchange = with_visits(100)
    rest_many(exchange, 0, SELL, 100, 100, 1)
    events = exchange.say(1, exchange.order(1, BUY, 200, 101))
    assert len(fills(events)) == 100
    assert events[-1].kind == layout.EVENT_RESTED and exchange.book() == ([(200, 1)], [])


@pytest.mark.parametrize("count", [50, 51, 90])
def test_rule_06_a_fill_or_kill_over_own_orders_scans_half_the_visits(count: int) -> None:
    exchange = with_visits(100)
    rest_many(exchange, 0, SELL, 100, count, 1)
    row = exchange.order(0, BUY, 200, 1, tif=FOK, stp=layout.STP_CANCEL_MAKER)
    wanted = layout.UNFILLABLE if count == 50 else layout.WORK_LIMIT
    assert exchange.refusal(0, row) == wanted
    assert exchange.core.memory.S[layout.S_VISITS] == min(count, 51)
    assert exchange.book()[1] == [(100, count)]


def test_rule_06_slices_of_icebergs_are_visits_of_a_scan() -> None:
    exchange = with_visits(100)
    exchange.rest(0, SELL, 100, 49, display=1)
    exchange.rest(0, SELL, 100, 1)
    fits = exchange.order(1, BUY, 100, 50, tif=FOK)
    exchange.rest(0, SELL, 100, 1)
    assert exchange.refusal(1, fits) == layout.WORK_LIMIT
    more = exchange.order(1, BUY, 100, 52, tif=FOK)
    assert exchange.refusal(1, more) == layout.WORK_LIMIT


def test_rule_06_a_peak_of_one_lot_cannot_hold_a_large_taker_for_ever() -> None:
    exchange = with_visits(200, Market(price_bits=8, pool_bits=6, lots_max=10**6))
    icebergs = [exchange.rest(0, SELL, 100, 64, display=1) for _ in range(20)]
    events = exchange.say(1, exchange.order(1, BUY, 100, 10**6))
    hit = fills(events)
    assert len(hit) == 200 and {handle for handle, _, _ in hit} == set(icebergs)
    assert ends(events)[-1] == (layout.EVENT_CANCELED, layout.REASON_WORK_LIMIT)


def test_rule_06_an_order_that_would_be_a_thousand_slices_is_refused() -> None:
    exchange = Exchange()
    slim = exchange.order(0, SELL, 100, 65, display=1)
    assert exchange.refusal(0, slim) == layout.DISPLAY


def test_rule_06_dead_orders_met_are_visits() -> None:
    exchange = with_visits(20)
    rest_at = [exchange.order(0, SELL, 100, 1, expires=exchange.time + 5) for _ in range(30)]
    exchange.say(0, *rest_at)
    exchange.open(5)
    events = exchange.say(1, exchange.order(1, BUY, 100, 1))
    assert ends(events) == [
        *[(layout.EVENT_CANCELED, layout.REASON_EXPIRED)] * 20,
        (layout.EVENT_CANCELED, layout.REASON_WORK_LIMIT),
    ]
    assert exchange.book()[1] == [(100, 10)]


@pytest.mark.parametrize("post", [layout.POST_REJECT, layout.POST_SLIDE])
def test_rule_06_a_post_only_clears_no_more_dead_orders_than_its_visits(post: int) -> None:
    exchange = with_visits(20)
    exchange.say(
        0, *[exchange.order(0, SELL, 100, 1, expires=exchange.time + 5) for _ in range(30)]
    )
    exchange.open(5)
    row = exchange.order(1, BUY, 100, 1, post=post)
    events = exchange.say(1, row)
    assert ends(events)[-1:] == refused(layout.WORK_LIMIT) and len(events) == 21
    assert ends(exchange.say(1, row))[-1] == (layout.EVENT_RESTED, 0)


def test_rule_06_own_orders_met_are_visits() -> None:
    exchange = with_visits(20)
    exchange.say(0, *[exchange.order(0, SELL, 100, 1) for _ in range(30)])
    events = exchange.say(0, exchange.order(0, BUY, 100, 1, stp=layout.STP_CANCEL_MAKER))
    assert ends(events) == [
        *[(layout.EVENT_CANCELED, layout.REASON_SELF_TRADE)] * 20,
        (layout.EVENT_CANCELED, layout.REASON_WORK_LIMIT),
    ]


def test_rule_06_visits_are_counted_for_each_command_anew() -> None:
    exchange = with_visits(20)
    exchange.say(0, *[exchange.order(0, SELL, 100, 1) for _ in range(60)])
    rows = [exchange.order(1, BUY, 100, 20, tif=IOC) for _ in range(3)]
    assert len(fills(exchange.say(1, *rows))) == 60


def test_rule_06_a_mass_cancel_removes_no_more_than_its_visits() -> None:
    exchange = with_visits(20)
    exchange.say(0, *[exchange.order(0, SELL, 100, 1) for _ in range(50)])
    removed, after = [], 0
    while after < 1024:
        events = exchange.say(0, cancel_all(first=after))
        removed.append(events[-1].words[0])
        assert events[-1].kind == layout.EVENT_MASS
        after = events[-1].words[1]
    assert removed == [20, 20, 10] and resting(exchange) == 0


def test_rule_06_a_full_block_takes_no_other_group() -> None:
    exchange = Exchange(venue_of(parameters=(1000, 64, 1_000_000, 1_000_000, 0), table_slots=64))
    S = exchange.core.memory.S
    price = 10
    while S[layout.S_DIRTY] < 64:
        exchange.rest(0, SELL, price, 1, client=price)
        price += 1
    header = exchange.header(0, 0, {})
    rows = group([exchange.order(0, SELL, 9, 1)], **header)
    before = exchange.core.image()
    assert exchange.core.execute(rows, 2) == (layout.BLOCK_FULL, b"")
    assert exchange.core.image() == before
    exchange.open(1)
    assert exchange.run(rows)[0] == 0


def test_rule_06_dead_man_switches_remove_no_more_than_a_commands_visits_in_a_block() -> None:
    exchange = with_visits(20)
    for trader in (0, 1):
        exchange.say(trader, *[exchange.order(trader, SELL, 100 + trader, 1) for _ in range(15)])
        exchange.say(trader, dead_man(exchange.time + 10))
    left = []
    exchange.open(10)
    for _ in range(2):
        left.append(resting(exchange))
        exchange.open(1)
    assert left == [10, 0]
    assert exchange.core.memory.M[layout.SCHEDULES] == 0


def test_rule_06_the_sweep_inspects_a_bounded_stretch_of_one_market() -> None:
    parameters = (1000, 40_000, 1_000_000, 1_000_000, 4)
    market = Market(price_bits=8, pool_bits=6)
    exchange = Exchange(venue_of(market, market, parameters=parameters))
    for number in (0, 1):
        rows = [
            exchange.order(number, SELL, 100, 1, market=number, expires=exchange.time + 5)
            for _ in range(10)
        ]
        exchange.say(number, *rows)
    removed = [[(e.market, e.words[0] & 0xFF) for e in exchange.open(5)] for _ in range(6)]
    swept = [
        [(m, slot) for slot in range(a, b)] for a, b in ((1, 5), (5, 9), (9, 11)) for m in (0, 1)
    ]
    start = removed.index(next(filter(None, removed)))
    flat = [entry for stretch in removed[start:] for entry in stretch]
    assert all(len(stretch) <= 4 for stretch in removed)
    assert sorted(flat) == sorted({*flat} & {entry for stretch in swept for entry in stretch})


# Rule 7


def test_rule_07_prices_outside_the_band_are_refused() -> None:
    market = Market(price_bits=12, band=100_000, reference=1000, min_notional=0)
    exchange = Exchange(venue_of(market))
    for price, why in ((899, 5), (900, 0), (1100, 0), (1101, 5)):
        order = exchange.order(0, SELL, price, 1)
        if why:
            assert exchange.refusal(0, order) == layout.PRICE_BAND
        else:
            exchange.say(0, order)
    exchange.say(1, exchange.order(1, BUY, 900, 1, tif=IOC))
    for price, good in ((809, False), (810, True), (990, True), (991, False)):
        order = exchange.order(2, BUY, price, 1, tif=IOC)
        assert (ends(exchange.say(2, order))[0] != refused(layout.PRICE_BAND)[0]) == good


def test_rule_07_a_market_order_has_a_worst_price_and_no_band() -> None:
    exchange = Exchange(venue_of(Market(price_bits=12, band=1000, reference=1000)))
    wide = exchange.order(0, BUY, 4000, 1, tif=IOC, kind=1)
    assert ends(exchange.say(0, wide)) == [(layout.EVENT_CANCELED, layout.REASON_IOC)]


@pytest.mark.parametrize(("lots", "good"), [(9, False), (10, True)])
def test_rule_07_orders_have_a_least_notional(lots: int, good: bool) -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, min_notional=10 * 100 * 3)))
    events = exchange.say(0, exchange.order(0, SELL, 100, lots))
    assert (events[0].kind == layout.EVENT_RESTED) == good
    if not good:
        assert ends(events) == refused(layout.MIN_NOTIONAL)


def test_rule_07_a_trader_has_so_many_orders_in_a_market_and_no_more() -> None:
    market = Market(price_bits=8, orders=5)
    exchange = Exchange(venue_of(market, market))
    exchange.say(0, *[exchange.order(0, SELL, 100, 1) for _ in range(5)])
    over = exchange.order(0, SELL, 100, 1)
    assert exchange.refusal(0, over) == layout.ORDERS_MAX
    exchange.say(0, exchange.order(0, BUY, 99, 1, tif=IOC))  # what cannot rest is not counted
    exchange.rest(0, SELL, 100, 1, market=1)
    exchange.rest(1, SELL, 100, 1)


def full_pool(exchange: Exchange) -> None:
    """63 sells of traders 0 and 1 at 100, 101, ..., 162: the pool of 64 has no slot left."""
    for n in range(63):
        exchange.rest(n % 2, SELL, 100 + n, 1)


def test_rule_07_a_full_book_evicts_the_order_furthest_from_the_touch() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, pool_bits=6), table_slots=64))
    full_pool(exchange)
    events = exchange.say(2, exchange.order(2, SELL, 90, 1))
    evicted, rested = events
    assert (evicted.kind, evicted.reason, evicted.words[1]) == (4, layout.REASON_EVICTED, 162)
    assert rested.kind == layout.EVENT_RESTED and exchange.best()[1] == 90
    assert exchange.book()[1][-1] == (161, 1)


def test_rule_07_a_newcomer_no_better_than_the_worst_finds_no_room() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, pool_bits=6), table_slots=64))
    full_pool(exchange)
    for price in (162, 163):
        events = exchange.say(2, exchange.order(2, SELL, price, 1))
        assert ends(events) == [(layout.EVENT_CANCELED, layout.REASON_NO_ROOM)]
    assert exchange.book()[1][-1] == (162, 1)
    assert exchange.funds(2, 0) == (0, 0)


def test_rule_07_eviction_takes_from_the_side_with_more_orders_its_newest_at_the_worst() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, pool_bits=6), table_slots=64))
    for n in range(62):
        exchange.rest(n % 2, SELL, 100 + n, 1)
    newest = exchange.rest(3, SELL, 161, 1)
    events = exchange.say(2, exchange.order(2, BUY, 1, 1))
    assert events[0].reason == layout.REASON_EVICTED and events[0].words[0] == newest
    assert exchange.book() == ([(1, 1)], [(100 + n, 1) for n in range(62)])


def test_rule_07_one_lot_bids_on_every_page_do_not_shut_the_market() -> None:
    """Bids 64 ticks apart take every level page; an honest price still opens its level."""
    exchange = with_visits(1000)
    for n in range(63):
        exchange.rest(0, BUY, 1 + 64 * n, 1)
    M = exchange.core.memory.M
    assert M[int(M[M[layout.AT_MARKETS]]) + layout.BOOK_PAGES] == 63
    events = exchange.say(1, exchange.order(1, BUY, 4090, 5))
    assert ends(events) == [(layout.EVENT_CANCELED, layout.REASON_EVICTED), (3, 0)]
    assert events[0].words[1] == 1
    events = exchange.say(1, exchange.order(1, SELL, 4093, 5))
    assert ends(events) == [(layout.EVENT_CANCELED, layout.REASON_EVICTED), (3, 0)]
    assert exchange.best() == (4090, 4093)


def test_rule_07_one_page_is_worth_at_most_64_evictions() -> None:
    exchange = with_visits(1000)
    rest_many(exchange, 0, BUY, 1, 70, 1)
    for n in range(1, 63):
        exchange.rest(1, BUY, 1 + 64 * n, 1)
    events = exchange.say(2, exchange.order(2, SELL, 4093, 5))
    evicted = [event for event in events if event.reason == layout.REASON_EVICTED]
    assert len(evicted) == 64 and all(event.words[1] == 1 for event in evicted)
    assert ends(events)[-1] == (layout.EVENT_CANCELED, layout.REASON_NO_ROOM)
    assert ends(exchange.say(2, exchange.order(2, SELL, 4093, 5)))[-1] == (3, 0)


def test_rule_07_an_amend_that_moves_keeps_its_slot_in_a_full_pool() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, pool_bits=6), table_slots=64))
    full_pool(exchange)
    handle = 1 << 24 | 1
    events: list[Event] = exchange.say(0, amend(handle, 163, 1))
    assert ends(events) == [(layout.EVENT_RESTED, 0)] and events[0].words[0] == handle
