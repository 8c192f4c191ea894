"""The invariants every book must hold, one named test each, against the naive twin."""

from naive_rows import (
    BUY,
    SELL,
    Floor,
    amend,
    cancel,
    events_of,
    list_market,
    outcome,
    place,
    trades_of,
)

TAKER = 2
UNKNOWN_ORDER = [(6, 16)]
IOC = 1


def ladder(*lots: int, price: int = 100) -> tuple[Floor, list[int]]:
    """Return a floor whose trader 0 sells `lots` in one queue, and the handles."""
    floor = Floor()
    handles = [floor.rest(0, SELL, price, each, client) for client, each in enumerate(lots)]
    return floor, handles


def sweep(floor: Floor, lots: int, price: int = 16_000) -> list[tuple[int, int, int]]:
    return trades_of(floor.say(TAKER, place(BUY, price, lots, client=200, tif=IOC)))


def test_cancel_in_the_middle_of_a_level_then_sweep() -> None:
    floor, (first, middle, last) = ladder(5, 6, 7)
    assert outcome(floor.say(0, cancel(middle))) == [(4, 1)]
    assert sweep(floor, 100) == [(first, 100, 5), (last, 100, 7)]
    assert floor.book() == [[], []]


def test_cancel_of_the_head_of_a_level_then_sweep() -> None:
    floor, (head, second, third) = ladder(5, 6, 7)
    floor.say(0, cancel(head))
    assert sweep(floor, 100) == [(second, 100, 6), (third, 100, 7)]


def test_scattered_cancels_in_a_deep_queue_keep_the_others_in_order() -> None:
    floor, handles = ladder(*range(1, 101))
    for handle in handles[::3]:
        floor.say(0, cancel(handle))
    kept = [(h, 100, lots) for lots, h in enumerate(handles, 1) if (lots - 1) % 3]
    assert floor.book()[1] == [(100, sum(lots for _, _, lots in kept))]
    assert sweep(floor, 10_000) == kept


def test_an_ioc_walks_levels_from_the_best_and_stops_at_its_price() -> None:
    floor = Floor()
    far = floor.rest(0, SELL, 103, 5, 1)
    best = floor.rest(0, SELL, 101, 5, 2)
    near = floor.rest(0, SELL, 102, 5, 3)
    events = floor.say(TAKER, place(BUY, 102, 20, client=9, tif=IOC))
    assert trades_of(events) == [(best, 101, 5), (near, 102, 5)]
    assert events[-1][:2] == (4, 2) and events[-1][8] == 10
    assert floor.book() == [[], [(103, 5)]]
    assert far in [order.handle for order in floor.exchange.venue.markets[0].pool.values()]


def test_the_residual_of_a_marketable_limit_becomes_the_best_price() -> None:
    floor, _ = ladder(5)
    events = floor.say(TAKER, place(BUY, 101, 8, client=9))
    assert outcome(events) == [(1, 0), (2, 0), (3, 0)]
    assert floor.book() == [[(101, 3)], []]


def test_an_amend_of_a_buy_that_crosses_fills_at_the_makers_price() -> None:
    floor, (maker,) = ladder(5)
    handle = floor.rest(1, BUY, 90, 4, 1)
    events = floor.say(1, amend(handle, 120, 4))
    assert trades_of(events) == [(maker, 100, 4)]
    assert events[1][6] == handle
    assert floor.book() == [[], [(100, 1)]]


def test_an_amend_of_a_sell_that_crosses_fills_at_the_makers_price() -> None:
    floor = Floor()
    maker = floor.rest(0, BUY, 100, 5, 1)
    handle = floor.rest(1, SELL, 120, 7, 1)
    events = floor.say(1, amend(handle, 90, 7))
    assert trades_of(events) == [(maker, 100, 5)]
    assert floor.book() == [[], [(90, 2)]]


def test_a_sibling_survives_an_amend_on_a_shared_level() -> None:
    floor, (moved, sibling) = ladder(5, 6)
    floor.say(0, amend(moved, 110, 5))
    assert floor.book()[1] == [(100, 6), (110, 5)]
    assert sweep(floor, 11) == [(sibling, 100, 6), (moved, 110, 5)]


def test_a_partly_filled_order_cancels_for_the_rest() -> None:
    floor, (handle,) = ladder(9)
    assert sweep(floor, 4) == [(handle, 100, 4)]
    events = floor.say(0, cancel(handle))
    assert outcome(events) == [(4, 1)] and events[0][8] == 5
    assert floor.book() == [[], []]


def test_a_stale_cancel_or_amend_after_a_full_fill_is_refused() -> None:
    floor, (handle,) = ladder(4)
    sweep(floor, 4)
    assert outcome(floor.say(0, cancel(handle))) == UNKNOWN_ORDER
    assert outcome(floor.say(0, amend(handle, 100, 9))) == UNKNOWN_ORDER


def test_a_slot_used_again_after_cancel_or_fill_has_a_new_handle() -> None:
    floor, (old,) = ladder(4)
    floor.say(0, cancel(old))
    second = floor.rest(0, SELL, 100, 4, 0)
    assert (old, second) == (1 << 24 | 1, 2 << 24 | 1)
    sweep(floor, 4)
    third = floor.rest(0, SELL, 100, 4, 0)
    assert third == 3 << 24 | 1
    for stale in (old, second):
        assert outcome(floor.say(0, cancel(stale))) == UNKNOWN_ORDER
    assert floor.book() == [[], [(100, 4)]]


def test_no_phantom_level_is_left_when_the_best_is_cancelled() -> None:
    floor, (best,) = ladder(5)
    floor.rest(0, SELL, 101, 6, 7)
    floor.say(0, cancel(best))
    assert floor.book()[1] == [(101, 6)]
    events = floor.say(TAKER, place(BUY, 100, 5, client=9))
    assert outcome(events) == [(3, 0)]


def test_the_residual_of_an_ioc_never_rests() -> None:
    floor, _ = ladder(5)
    events = floor.say(TAKER, place(BUY, 100, 8, client=9, tif=IOC))
    assert outcome(events) == [(1, 0), (2, 0), (4, 2)]
    assert floor.book() == [[], []]


def test_handles_that_were_never_issued_are_refused() -> None:
    floor, (handle,) = ladder(5)
    hostile = [0, -1, 1, handle + 1, handle + (1 << 24), handle | 1 << 60, -handle, 1 << 24]
    for name in [*hostile, (1 << 24) + 4096, -(1 << 63), (1 << 63) - 1]:
        assert outcome(floor.say(0, cancel(name))) == UNKNOWN_ORDER, name
    assert outcome(floor.say(1, cancel(handle))) == UNKNOWN_ORDER
    assert floor.book()[1] == [(100, 5)]


def test_a_deep_level_is_first_in_first_out_across_calls() -> None:
    floor, handles = ladder(*[2] * 50)
    hit = [trade for _ in range(20) for trade in sweep(floor, 5)]
    assert [handle for handle, _, _ in hit] == sorted(handle for handle, _, _ in hit)
    assert sum(lots for _, _, lots in hit) == 100
    assert {handle for handle, _, _ in hit} == set(handles)


def test_prices_at_both_ends_of_the_domain_trade() -> None:
    floor = Floor()
    top = (1 << 14) - 2
    high = floor.rest(0, SELL, top, 3, 1)
    low = floor.rest(1, BUY, 1, 3, 1)
    assert floor.book() == [[(1, 3)], [(top, 3)]]
    assert sweep(floor, 3, top) == [(high, top, 3)]
    sold = floor.say(TAKER, place(SELL, 1, 3, client=9, tif=IOC))
    assert trades_of(sold) == [(low, 1, 3)]
    for price in (0, top + 1, -1, 1 << 62):
        assert outcome(floor.say(0, place(BUY, price, 1, client=2))) == [(6, 4)]


def test_five_thousand_fills_in_one_sweep() -> None:
    market = list_market(pool_bits=13, orders=8192)
    parameters = [5000, 40_000, 1_000_000, 1_000_000, 0, 4096]
    floor = Floor(market=market, parameters=parameters, table_slots=4096)
    for trader in (0, 1):
        for start in range(0, 2560, 64):
            rows = [place(SELL, 100 + n % 7, 1, client=n) for n in range(start, start + 64)]
            assert floor.send(trader, *rows) == 0
    floor.exchange.check()
    events = floor.say(TAKER, place(BUY, 16_000, 6000, client=9))
    assert len(trades_of(events)) == 5000
    assert events[-1][:2] == (4, 5)
    assert sum(lots for _, lots in floor.book()[1]) == 120


def test_price_goes_before_time() -> None:
    floor = Floor()
    late_better = [(101, 1), (100, 2), (102, 3), (100, 4)]
    handles = [floor.rest(0, SELL, p, lots, lots) for p, lots in late_better]
    order = [handle for handle, _, _ in sweep(floor, 10)]
    assert order == [handles[1], handles[3], handles[0], handles[2]]


def test_events_are_sixty_four_bytes_and_carry_the_sequence() -> None:
    floor, _ = ladder(5)
    floor.exchange.take_events()
    before = floor.exchange.ledger.sequence
    assert floor.send(TAKER, place(BUY, 100, 2, client=1), cancel(77)) == 0
    data = floor.exchange.take_events()
    assert len(data) == 64 * 3
    assert [event[5] for event in events_of(data)] == [before + 1, before + 1, before + 2]
    assert floor.exchange.take_events() == b""
