"""Self-trade modes, icebergs, fill-or-kill, post-only, amends and evictions of the naive twin."""

import pytest
from naive_rows import (
    BUY,
    SELL,
    Floor,
    amend,
    amend_client,
    cancel_all,
    cancel_client,
    list_market,
    market_status,
    outcome,
    place,
    settings,
    trades_of,
)

TAKER = 2
IOC, FOK = 1, 2
SMALL_VISITS = [16, 40_000, 1_000_000, 1_000_000, 64, 4096]


def own_then_other(mode: int, tif: int = 0) -> tuple[Floor, list[tuple[int, ...]]]:
    """Trader 0 meets its own 5 lots, then 4 lots of trader 1, with 8 lots to buy."""
    floor = Floor()
    floor.rest(0, SELL, 100, 5, 1)
    floor.rest(1, SELL, 100, 4, 1)
    return floor, floor.say(0, place(BUY, 100, 8, client=9, stp=mode, tif=tif))


def test_self_trade_mode_one_cancels_the_maker_and_goes_on() -> None:
    floor, events = own_then_other(1)
    assert outcome(events) == [(4, 3), (1, 0), (2, 0), (3, 0)]
    assert floor.book() == [[(100, 4)], []]


def test_self_trade_mode_two_cancels_the_taker_only() -> None:
    floor, events = own_then_other(2)
    assert outcome(events) == [(4, 3)] and events[0][8] == 8 and events[0][6] == 0
    assert floor.book() == [[], [(100, 9)]]


def test_self_trade_mode_three_cancels_both() -> None:
    floor, events = own_then_other(3)
    assert outcome(events) == [(4, 3), (4, 3)]
    assert [event[8] for event in events] == [5, 8]
    assert floor.book() == [[], [(100, 4)]]


def test_self_trade_mode_four_takes_the_smaller_off_both() -> None:
    floor, events = own_then_other(4)
    assert outcome(events) == [(5, 3), (1, 0), (2, 0), (4, 3)] and events[3][8] == 0
    assert events[0][8:10] == (5, 0)
    assert floor.book() == [[], [(100, 1)]]
    assert floor.exchange.venue.markets[0].lots == 3


def test_a_taker_that_decrements_to_nothing_is_reported() -> None:
    floor = Floor()
    floor.rest(0, SELL, 100, 5, 1)
    events = floor.say(0, place(BUY, 100, 3, client=9, stp=4))
    assert outcome(events) == [(5, 3), (4, 3)] and events[1][8] == 0
    assert floor.book() == [[], [(100, 2)]]
    assert floor.funds(0, 0) == (0, 20)


def test_lots_decremented_from_a_resting_taker_do_not_count_as_filled() -> None:
    floor = Floor()
    floor.rest(0, SELL, 100, 5, 1)
    events = floor.say(0, place(BUY, 100, 8, client=9, stp=4))
    assert events[-1][0] == 3 and events[-1][8] == 3
    assert outcome(floor.say(0, amend_client(9, 100, 1))) == [(5, 9)]
    assert floor.book() == [[(100, 1)], []]


def test_the_default_self_trade_mode_is_the_accounts_setting() -> None:
    floor = Floor()
    assert outcome(floor.say(0, settings(2))) == [(14, 0)]
    floor.rest(0, SELL, 100, 5, 1)
    assert outcome(floor.say(0, place(BUY, 100, 8, client=9))) == [(4, 3)]
    assert outcome(floor.say(0, settings(5))) == [(6, 1)]


def test_an_iceberg_shows_its_peak_and_goes_to_the_back_when_refreshed() -> None:
    floor = Floor()
    rested = floor.say(0, place(SELL, 100, 10, client=1, display=4))[0]
    assert rested[8:10] == (10, 4)
    plain = floor.rest(1, SELL, 100, 5, 1)
    events = floor.say(TAKER, place(BUY, 100, 14, client=9))
    ice = rested[6]
    assert trades_of(events) == [(ice, 100, 4), (plain, 100, 5), (ice, 100, 4), (ice, 100, 1)]
    assert [event[3] for event in events[:4]] == [2, 1, 2, 0]
    assert [event[11] for event in events[:4]] == [6, 0, 2, 1]


def test_an_amend_in_place_takes_hidden_lots_first_and_keeps_priority() -> None:
    floor = Floor()
    ice = floor.say(0, place(SELL, 100, 10, client=1, display=4))[0][6]
    floor.rest(1, SELL, 100, 5, 1)
    events = floor.say(0, amend(ice, 100, 5))
    assert outcome(events) == [(5, 9)] and events[0][8:10] == (5, 5)
    order = floor.exchange.venue.markets[0].pool[1]
    assert (order.visible, order.hidden, order.total) == (4, 1, 5)
    assert trades_of(floor.say(TAKER, place(BUY, 100, 1, client=9)))[0][0] == ice


def test_an_amend_that_grows_goes_to_the_back_and_keeps_its_handle() -> None:
    floor = Floor()
    first = floor.rest(0, SELL, 100, 5, 1)
    second = floor.rest(1, SELL, 100, 5, 1)
    events = floor.say(0, amend(first, 100, 6))
    assert outcome(events) == [(3, 0)] and events[0][6] == first
    hit = trades_of(floor.say(TAKER, place(BUY, 100, 6, client=9)))
    assert hit == [(second, 100, 5), (first, 100, 1)]


def test_an_amend_to_no_more_than_was_filled_removes_the_order() -> None:
    floor = Floor()
    handle = floor.rest(0, SELL, 100, 5, 1)
    floor.say(TAKER, place(BUY, 100, 3, client=9))
    events = floor.say(0, amend(handle, 100, 3))
    assert outcome(events) == [(4, 9)] and events[0][8] == 2
    assert floor.book() == [[], []]


def test_fill_or_kill_fills_all_or_changes_nothing() -> None:
    floor = Floor()
    floor.say(0, place(SELL, 100, 10, client=1, display=4))
    floor.rest(1, SELL, 101, 5, 1)
    image = floor.exchange.pack()
    events = floor.say(TAKER, place(BUY, 101, 16, client=9, tif=FOK))
    assert outcome(events) == [(6, 14)] and floor.book()[1] == [(100, 10), (101, 5)]
    assert len(floor.exchange.pack()) == len(image)
    events = floor.say(TAKER, place(BUY, 101, 15, client=9, tif=FOK))
    assert sum(lots for _, _, lots in trades_of(events)) == 15
    assert floor.book() == [[], []]


@pytest.mark.parametrize(("mode", "expected"), [(1, (1, 0)), (2, (6, 14)), (3, (6, 14))])
def test_the_scan_passes_over_or_ends_at_own_orders(mode: int, expected: tuple[int, int]) -> None:
    floor, events = own_then_other_fok(mode)
    assert expected in outcome(events)
    floor.exchange.check()


def own_then_other_fok(mode: int) -> tuple[Floor, list[tuple[int, ...]]]:
    floor = Floor()
    floor.rest(0, SELL, 100, 5, 1)
    floor.rest(1, SELL, 100, 4, 1)
    return floor, floor.say(0, place(BUY, 100, 4, client=9, stp=mode, tif=FOK))


def test_hidden_lots_before_an_own_order_do_not_help_a_fill_or_kill() -> None:
    floor = Floor()
    floor.say(1, place(SELL, 100, 10, client=1, display=4))
    floor.rest(0, SELL, 100, 5, 1)
    assert outcome(floor.say(0, place(BUY, 100, 5, client=9, stp=2, tif=FOK))) == [(6, 14)]
    assert outcome(floor.say(0, place(BUY, 100, 4, client=9, stp=2, tif=FOK)))[0] == (1, 0)


def test_the_scan_counts_refreshes_and_refuses_over_half_the_visits() -> None:
    floor = Floor(parameters=SMALL_VISITS)
    floor.say(0, place(SELL, 100, 9, client=1, display=1))
    assert outcome(floor.say(TAKER, place(BUY, 100, 9, client=9, tif=FOK))) == [(6, 15)]
    floor = Floor(parameters=SMALL_VISITS)
    floor.say(0, place(SELL, 100, 8, client=1, display=1))
    assert len(trades_of(floor.say(TAKER, place(BUY, 100, 8, client=9, tif=FOK)))) == 8


def test_a_minimum_fills_at_once_or_is_refused_and_the_rest_rests() -> None:
    floor = Floor()
    floor.rest(0, SELL, 100, 5, 1)
    assert outcome(floor.say(TAKER, place(BUY, 100, 9, client=9, minimum=6))) == [(6, 14)]
    events = floor.say(TAKER, place(BUY, 100, 9, client=9, minimum=5))
    assert outcome(events) == [(1, 0), (2, 0), (3, 0)]
    assert floor.book() == [[(100, 4)], []]


def test_the_visits_of_the_scan_count_towards_the_limit_of_the_loop() -> None:
    floor = Floor(parameters=SMALL_VISITS)
    for client in range(16):
        floor.rest(0, SELL, 100, 1, client)
    events = floor.say(TAKER, place(BUY, 100, 16, client=9, minimum=8))
    assert len(trades_of(events)) == 8 and events[-1][:2] == (4, 5)


def test_the_visit_limit_cancels_the_rest_while_a_crossed_level_remains() -> None:
    floor = Floor(parameters=SMALL_VISITS)
    for client in range(17):
        floor.rest(0, SELL, 100, 1, client)
    events = floor.say(TAKER, place(BUY, 100, 20, client=9))
    assert len(trades_of(events)) == 16
    assert events[-1][:2] == (4, 5) and events[-1][8] == 4
    assert outcome(floor.say(TAKER, place(BUY, 100, 20, client=9)))[-1] == (3, 0)


def test_post_only_rejects_what_would_take_even_from_itself() -> None:
    floor = Floor()
    floor.rest(0, SELL, 100, 5, 1)
    for trader in (0, 1):
        events = floor.say(trader, place(BUY, 100, 1, client=9, post=1))
        assert outcome(events) == [(6, 13)]
    assert outcome(floor.say(1, place(BUY, 99, 1, client=9, post=1))) == [(3, 0)]


def test_post_only_slides_one_tick_behind_the_touch() -> None:
    floor = Floor()
    floor.rest(0, SELL, 100, 5, 1)
    event = floor.say(1, place(BUY, 120, 2, client=9, post=2))[0]
    assert event[0] == 3 and event[7] == 99
    assert floor.funds(1, 1) == (0, 2 * 99 * 3)
    event = floor.say(1, place(SELL, 50, 2, client=10, post=2))[0]
    assert event[0] == 3 and event[7] == 100


def test_post_only_does_not_slide_out_of_the_domain() -> None:
    floor = Floor()
    floor.rest(0, SELL, 1, 5, 1)
    assert outcome(floor.say(1, place(BUY, 1, 2, client=9, post=2))) == [(6, 13)]


def test_post_only_removes_dead_orders_in_its_way() -> None:
    floor = Floor()
    floor.say(0, place(SELL, 100, 5, client=1, expires=floor.time + 5))
    floor.open(5)
    events = floor.say(1, place(BUY, 100, 2, client=9, post=1))
    assert outcome(events) == [(4, 4), (3, 0)]


def test_an_order_is_dead_at_its_expiry_and_not_before() -> None:
    floor = Floor()
    floor.say(0, place(SELL, 100, 5, client=1, expires=floor.time + 5))
    floor.open(4)
    assert trades_of(floor.say(1, place(BUY, 100, 1, client=1, tif=IOC))) != []
    floor.open(1)
    assert outcome(floor.say(1, place(BUY, 100, 1, client=1, tif=IOC))) == [(4, 4), (4, 2)]


def test_a_quote_budget_never_spends_more_than_itself() -> None:
    floor = Floor(taker=2500)
    floor.rest(0, SELL, 100, 5, 1)
    floor.rest(0, SELL, 101, 5, 2)
    # One lot at 100 costs 300 + ceil(0.75) = 301, at 101 303 + 1 = 304: 5 x 301 + 2 x 304 = 2113.
    events = floor.say(TAKER, place(BUY, 0, 2416, client=9, kind=2, tif=IOC))
    assert [lots for _, _, lots in trades_of(events)] == [5, 2]
    spent = 5 * 300 + 2 * 303
    fee = 6  # ceil(2106 x 0.0025) = ceil(5.265)
    assert events[2][7:10] == (spent, 7, fee)
    assert events[3][:2] == (4, 10) and events[3][8] == 2416 - spent - fee
    assert events[3][7] == (1 << 14) - 2
    assert floor.funds(TAKER, 1) == (-spent - fee, 0)


def small_book(page_bits: int = 6) -> Floor:
    return Floor(market=list_market(pool_bits=6, page_bits=page_bits))


def test_a_full_pool_evicts_the_order_furthest_from_the_touch() -> None:
    floor = small_book()
    handles = [floor.rest(0, BUY, 100 + client, 1, client) for client in range(63)]
    events = floor.say(1, place(BUY, 200, 1, client=1))
    assert outcome(events) == [(4, 6), (3, 0)] and events[0][6] == handles[0]
    assert events[1][6] == handles[0] + (1 << 24)
    assert outcome(floor.say(1, place(BUY, 101, 1, client=2))) == [(4, 7)]


def test_eviction_takes_from_the_longer_side() -> None:
    floor = small_book()
    handles = [floor.rest(0, SELL, 5000 + client, 1, client) for client in range(63)]
    events = floor.say(1, place(BUY, 1, 1, client=1))
    assert outcome(events) == [(4, 6), (3, 0)] and events[0][6] == handles[-1]


def test_a_book_without_pages_evicts_until_one_is_free() -> None:
    floor = Floor(market=list_market(pool_bits=12, page_bits=6))
    for page in range(63):
        floor.rest(0, BUY, 64 * page + 70, 1, 2 * page)
    floor.rest(0, BUY, 71, 1, 1)
    events = floor.say(1, place(BUY, 10_000, 1, client=1))
    assert outcome(events) == [(4, 6), (4, 6), (3, 0)]
    assert [event[7] for event in events] == [70, 71, 10_000]
    assert outcome(floor.say(1, place(BUY, 10, 1, client=2))) == [(4, 7)]


def test_the_client_id_names_a_live_order_and_its_table_slot_is_exclusive() -> None:
    floor = Floor()
    floor.rest(0, BUY, 100, 1, 7)
    assert outcome(floor.say(0, place(BUY, 100, 1, client=7 + 256))) == [(6, 10)]
    assert outcome(floor.say(0, cancel_client(7 + 256))) == [(6, 16)]
    assert outcome(floor.say(0, cancel_client(7))) == [(4, 1)]
    assert outcome(floor.say(0, place(BUY, 100, 1, client=7 + 256))) == [(3, 0)]


def test_cancel_all_walks_the_table_upwards_and_says_where_to_go_on() -> None:
    floor = Floor(parameters=SMALL_VISITS)
    for client in range(20):
        floor.rest(0, BUY, 100, 1, client)
    events = floor.say(0, cancel_all(0, 2))
    assert [event[9] for event in events[:-1]] == list(range(2, 18))
    assert events[-1][0] == 7 and events[-1][6:8] == (16, 18)
    events = floor.say(0, cancel_all(65535, 18))
    assert events[-1][6:8] == (2, 256)
    assert outcome(floor.say(0, cancel_all(9))) == [(6, 2)]
    assert outcome(floor.say(0, cancel_all(0, 256))) == [(6, 1)]


def test_a_halted_market_takes_cancels_and_nothing_else() -> None:
    floor = Floor()
    handle = floor.rest(0, BUY, 100, 1, 7)
    floor.govern(market_status(1))
    assert outcome(floor.say(0, place(BUY, 100, 1, client=1))) == [(6, 3)]
    assert outcome(floor.say(0, amend(handle, 100, 1))) == [(6, 3)]
    assert outcome(floor.say(0, cancel_client(7))) == [(4, 1)]


REFUSED_PLACES = {
    "unknown market": (dict(market=1), 2),
    "reserved tif": (dict(tif=3), 1),
    "post-only that cannot rest": (dict(post=1, tif=1), 1),
    "market order that rests": (dict(kind=1), 1),
    "iceberg that cannot rest": (dict(display=5, tif=1), 1),
    "minimum above lots": (dict(minimum=11), 1),
    "post-only with a minimum": (dict(minimum=1, post=1), 1),
    "client id range": (dict(client=1 << 53), 1),
    "expired": (dict(expires=1), 9),
    "display under a 64th": (dict(lots=1000, display=15), 8),
    "display over lots": (dict(display=11), 8),
    "no lots": (dict(lots=0), 6),
    "too many lots": (dict(lots=1_000_001), 6),
    "reduce-only without a position": (dict(flags=1), 17),
}


@pytest.mark.parametrize("case", REFUSED_PLACES)
def test_a_place_is_refused_by_its_number(case: str) -> None:
    changes, number = REFUSED_PLACES[case]
    terms = dict(side=BUY, price=100, lots=10, client=1) | changes
    assert outcome(Floor().say(0, place(**terms))) == [(6, number)]


def test_limits_of_a_market_refuse_by_their_numbers() -> None:
    floor = Floor(market=list_market(min_notional=300, band=100_000, reference=1000, orders=1))
    assert outcome(floor.say(0, place(BUY, 1101, 10, client=1))) == [(6, 5)]
    assert outcome(floor.say(0, place(BUY, 899, 10, client=1))) == [(6, 5)]
    assert outcome(floor.say(0, place(BUY, 1100, 10, client=1))) == [(3, 0)]
    assert outcome(floor.say(0, place(BUY, 1100, 10, client=2))) == [(6, 11)]
    poor = Floor(market=list_market(min_notional=300))
    assert outcome(poor.say(0, place(BUY, 33, 3, client=1))) == [(6, 7)]
    assert outcome(poor.say(0, place(BUY, 34, 3, client=1))) == [(3, 0)]
