"""Rules 15 and 16: what a cancel may be said twice, mass cancel, and what an amend keeps."""

import pytest
from core_rows import amend, amend_client, cancel, cancel_all, cancel_client, tier
from side_by_side import BASE, BUY, IOC, QUOTE, SELL, Exchange, ends, fills, refused, venue_of
from venues import Market

from consensus import layout

AMENDED = [(layout.EVENT_REDUCED, layout.REASON_AMENDED)]
RESTED = [(layout.EVENT_RESTED, 0)]

# Rule 15


def test_rule_15_a_cancel_by_handle_said_twice_does_nothing_more() -> None:
    """Even when the slot and the client id live again."""
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 5, client=3)
    exchange.say(0, cancel(handle))
    again = exchange.rest(0, SELL, 100, 5, client=3)
    assert again & layout.HANDLE_SLOT_MASK == handle & layout.HANDLE_SLOT_MASK
    assert exchange.refusal(0, cancel(handle)) == layout.UNKNOWN_ORDER
    assert exchange.book()[1] == [(100, 5)]


def test_rule_15_a_cancel_by_client_id_is_stopped_by_its_nonce() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 5, client=3)
    exchange.say(0, cancel_client(3), nonce=9)
    exchange.rest(0, SELL, 100, 5, client=3)
    assert exchange.fault(0, cancel_client(3), nonce=9) == layout.NONCE_USED
    assert exchange.book()[1] == [(100, 5)]


def test_rule_15_client_ids_are_unique_among_live_orders_over_all_markets() -> None:
    market = Market(price_bits=8)
    exchange = Exchange(venue_of(market, market))
    exchange.rest(0, SELL, 100, 5, client=3)
    there = exchange.order(0, SELL, 100, 5, client=3, market=1)
    assert exchange.refusal(0, there) == layout.CLIENT_ID_TAKEN
    exchange.say(0, cancel_client(3))
    exchange.say(0, there)
    assert ends(exchange.say(0, cancel_client(3))) == [(4, layout.REASON_BY_USER)]


def test_rule_15_mass_cancel_walks_the_table_upwards_and_reports_where_to_go_on() -> None:
    parameters = (16, 40_000, 1_000_000, 1_000_000, 0)
    exchange = Exchange(venue_of(parameters=parameters))
    clients = [30, 2, 17, 5, 11, *range(18, 30), 0, 1]
    for client in clients:
        exchange.rest(0, SELL, 100 + client, 1, client=client)
    exchange.rest(1, SELL, 99, 1)
    first = exchange.say(0, cancel_all())
    assert [event.words[3] for event in first[:-1]] == sorted(clients)[:16]
    assert all(event.reason == layout.REASON_MASS for event in first[:-1])
    assert first[-1].words[:2] == (16, sorted(clients)[15] + 1)
    rest = exchange.say(0, cancel_all(first=first[-1].words[1]))
    assert [event.words[3] for event in rest[:-1]] == sorted(clients)[16:]
    assert rest[-1].words[:2] == (len(clients) - 16, 32)
    assert exchange.book() == ([], [(99, 1)])


def test_rule_15_mass_cancel_of_one_market_leaves_the_others() -> None:
    market = Market(price_bits=8)
    exchange = Exchange(venue_of(market, market))
    for number in (0, 1, 0, 1):
        exchange.rest(0, SELL, 100, 1, market=number)
    events = exchange.say(0, cancel_all(market=1))
    assert [event.market for event in events[:-1]] == [1, 1]
    assert events[-1].words[:2] == (2, 32)
    assert exchange.book(0)[1] == [(100, 2)] and exchange.book(1)[1] == []


def test_rule_15_mass_cancel_begins_inside_the_table() -> None:
    exchange = Exchange()
    for first in (-1, 32, 1 << 40):
        assert exchange.refusal(0, cancel_all(first=first)) == layout.MALFORMED
    assert exchange.refusal(0, cancel_all(market=1)) == layout.UNKNOWN_MARKET
    (event,) = exchange.say(0, cancel_all(first=31))
    assert event.words[:2] == (0, 32)


# Rule 16


@pytest.mark.parametrize("by_client", [False, True])
def test_rule_16_an_amend_states_the_total(by_client: bool) -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 10, client=3)
    exchange.say(1, exchange.order(1, BUY, 100, 4, tif=IOC))

    def change(price: int, total: int) -> bytes:
        return amend_client(3, price, total) if by_client else amend(handle, price, total)

    (event,) = exchange.say(0, change(100, 7))
    assert (event.words[2], event.words[3]) == (3, 3)  # taken off, left
    assert exchange.book()[1] == [(100, 3)]
    (event,) = exchange.say(0, change(100, 9))
    assert event.kind == layout.EVENT_RESTED and event.words[2] == 5
    (event,) = exchange.say(0, change(100, 4))
    assert (event.kind, event.reason) == (layout.EVENT_CANCELED, layout.REASON_AMENDED)
    assert event.words[2] == 5 and exchange.book() == ([], [])


def test_rule_16_a_total_of_zero_cancels() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 10)
    assert ends(exchange.say(0, amend(handle, 7, 0))) == [(4, layout.REASON_AMENDED)]


def test_rule_16_the_same_price_and_less_keeps_priority() -> None:
    exchange = Exchange()
    first, second = (exchange.rest(0, SELL, 100, 10) for _ in range(2))
    assert ends(exchange.say(0, amend(first, 100, 6))) == AMENDED
    assert ends(exchange.say(0, amend(first, 100, 6))) == AMENDED  # nothing off: still in place
    hit = fills(exchange.say(1, exchange.order(1, BUY, 100, 7, tif=IOC)))
    assert hit == [(first, 100, 6), (second, 100, 1)]


@pytest.mark.parametrize(("price", "total"), [(100, 11), (99, 6), (101, 6)])
def test_rule_16_anything_else_goes_to_the_back(price: int, total: int) -> None:
    exchange = Exchange()
    first = exchange.rest(0, SELL, 100, 10)
    sibling = exchange.rest(1, SELL, price, 1)
    assert ends(exchange.say(0, amend(first, price, total))) == RESTED
    hit = fills(exchange.say(2, exchange.order(2, BUY, 101, 2, tif=IOC)))
    assert hit == [(sibling, price, 1), (first, price, 1)]


def test_rule_16_a_reduction_takes_hidden_lots_first() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 30, display=10)
    behind = exchange.rest(1, SELL, 100, 1)
    exchange.say(0, amend(handle, 100, 12))
    assert exchange.word(handle, layout.ORDER_VISIBLE) == 10
    assert exchange.word(handle, layout.ORDER_HIDDEN) == 2
    exchange.say(0, amend(handle, 100, 9))
    assert exchange.word(handle, layout.ORDER_VISIBLE) == 9
    assert exchange.word(handle, layout.ORDER_HIDDEN) == 0
    hit = fills(exchange.say(2, exchange.order(2, BUY, 100, 10, tif=IOC)))
    assert hit == [(handle, 100, 9), (behind, 100, 1)]


def test_rule_16_locks_are_checked_before_anything_changes() -> None:
    exchange = Exchange(venue_of(funds=3000))
    handle = exchange.rest(0, BUY, 100, 10)  # locks all 3000
    assert exchange.funds(0, QUOTE) == (0, 3000)
    assert exchange.refusal(0, amend(handle, 101, 10)) == layout.FUNDS
    assert exchange.refusal(0, amend(handle, 100, 11)) == layout.FUNDS
    exchange.say(0, amend(handle, 200, 5))  # its own lock counts as available
    assert exchange.funds(0, QUOTE) == (0, 3000)
    exchange.say(0, amend(handle, 150, 5))
    assert exchange.funds(0, QUOTE) == (0, 2250)


def test_rule_16_an_amend_enters_again_with_its_flags() -> None:
    exchange = Exchange()
    exchange.rest(1, SELL, 100, 5)
    strict = exchange.rest(0, BUY, 90, 5, post=layout.POST_REJECT)
    sliding = exchange.rest(0, BUY, 90, 5, post=layout.POST_SLIDE)
    assert exchange.refusal(0, amend(strict, 100, 5)) == layout.POST_ONLY_CROSS
    (event,) = exchange.say(0, amend(sliding, 105, 5))
    assert event.kind == layout.EVENT_RESTED and event.words[1] == 99
    iceberg = exchange.rest(0, BUY, 80, 64, display=2)
    assert exchange.refusal(0, amend(iceberg, 80, 129)) == layout.DISPLAY
    (event,) = exchange.say(0, amend(iceberg, 81, 128))
    assert event.words[2:4] == (128, 2)


def test_rule_16_an_amend_enters_again_with_its_stored_self_trade_mode() -> None:
    exchange = Exchange()
    mine = exchange.rest(0, SELL, 100, 5)
    taker = exchange.rest(0, BUY, 90, 5, stp=layout.STP_CANCEL_TAKER)
    events = exchange.say(0, amend(taker, 100, 6))
    assert ends(events) == [(layout.EVENT_CANCELED, layout.REASON_SELF_TRADE)]
    assert events[0].words[0] == taker
    assert exchange.book() == ([], [(100, 5)]) and exchange.word(mine, layout.ORDER_VISIBLE) == 5


def test_rule_16_an_amend_is_stamped_with_the_tier_of_the_moment() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((0, 0), (100_000, 0)) * 2)))
    handle = exchange.rest(0, BUY, 100, 10)
    exchange.govern(tier(2, 1))
    assert exchange.funds(0, QUOTE)[1] == 3000
    exchange.say(0, amend(handle, 100, 9))  # in place: the old terms
    assert exchange.funds(0, QUOTE)[1] == 2700
    exchange.say(0, amend(handle, 100, 10))
    assert exchange.funds(0, QUOTE)[1] == 3300


def test_rule_16_an_amend_obeys_band_and_least_notional() -> None:
    market = Market(price_bits=8, min_notional=1500, band=100_000, reference=100)
    exchange = Exchange(venue_of(market))
    handle = exchange.rest(0, SELL, 100, 10)
    assert exchange.refusal(0, amend(handle, 111, 10)) == layout.PRICE_BAND
    assert exchange.refusal(0, amend(handle, 101, 4)) == layout.MIN_NOTIONAL
    assert exchange.refusal(0, amend(handle, 99, 5)) == layout.MIN_NOTIONAL
    exchange.say(0, amend(handle, 101, 5))
    assert exchange.funds(0, BASE)[1] == 50


def test_rule_16_amending_the_dead_removes_them() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 10, expires=exchange.time + 5)
    exchange.open(5)
    events = exchange.say(0, amend(handle, 100, 5))
    assert ends(events) == [(4, layout.REASON_EXPIRED), *refused(layout.UNKNOWN_ORDER)]
