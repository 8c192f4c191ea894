"""Rules 17 and 18: self-trades, fill-or-kill, post-only, icebergs, quote budgets."""

import random

import pytest
from core_rows import Event, cancel, settings
from side_by_side import BASE, BUY, FOK, IOC, QUOTE, SELL, Exchange, ends, fills, refused, venue_of
from venues import Market

from consensus import layout

MAKER, TAKER, BOTH, DECREMENT = range(1, 5)
GONE = (layout.EVENT_CANCELED, layout.REASON_SELF_TRADE)


def own_then_other(**terms: int) -> tuple[Exchange, int, int]:
    """Trader 0 sells 5 at 100, then trader 1 sells 5 there; fees are on, so a trade would show."""
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((2500, 1000),) * 4)))
    return exchange, exchange.rest(0, SELL, 100, 5, **terms), exchange.rest(1, SELL, 100, 5)


# Rule 17


def test_rule_17_cancel_maker_takes_the_hidden_part_too() -> None:
    exchange, _, other = own_then_other()
    exchange.rest(0, SELL, 99, 30, display=10)
    events = exchange.say(0, exchange.order(0, BUY, 100, 5, stp=MAKER))
    assert ends(events[:1]) == [GONE] and events[0].words[2] == 30
    assert ends(events[1:2]) == [GONE] and fills(events) == [(other, 100, 5)]
    assert exchange.book() == ([], []) and exchange.funds(0, BASE)[1] == 0


def test_rule_17_cancel_taker_stops_and_earlier_fills_stand() -> None:
    exchange, own, _ = own_then_other()
    first = exchange.rest(1, SELL, 99, 2)
    events = exchange.say(0, exchange.order(0, BUY, 100, 9, stp=TAKER))
    assert fills(events) == [(first, 99, 2)]
    assert ends(events[-1:]) == [GONE] and events[-1].words[2] == 7
    assert exchange.word(own, layout.ORDER_VISIBLE) == 5
    assert exchange.book() == ([], [(100, 10)])


def test_rule_17_cancel_both_takes_both() -> None:
    exchange, own, _ = own_then_other()
    events = exchange.say(0, exchange.order(0, BUY, 100, 9, stp=BOTH))
    assert ends(events) == [GONE, GONE]
    assert events[0].words[0] == own and events[1].words[2] == 9
    assert exchange.book() == ([], [(100, 5)])


@pytest.mark.parametrize("lots", [3, 5, 7])
def test_rule_17_decrement_both_takes_the_smaller_off_both(lots: int) -> None:
    exchange, _, other = own_then_other()
    events = exchange.say(0, exchange.order(0, BUY, 100, lots, stp=DECREMENT))
    assert ends(events[:1]) == [(layout.EVENT_REDUCED, layout.REASON_SELF_TRADE)]
    assert events[0].words[2:4] == (min(lots, 5), max(0, 5 - lots))
    assert fills(events) == ([(other, 100, lots - 5)] if lots > 5 else [])
    if lots <= 5:
        assert ends(events[-1:]) == [GONE] and events[-1].words[2] == 0
    assert exchange.book()[1] == [(100, 10 - lots)]


@pytest.mark.parametrize("mode", [MAKER, TAKER, BOTH, DECREMENT])
def test_rule_17_meeting_oneself_is_no_trade_fee_or_volume(mode: int) -> None:
    exchange, _, _ = own_then_other()
    before = exchange.funds(0, QUOTE)[0], exchange.funds(0, BASE)[0]
    exchange.say(0, exchange.order(0, BUY, 100, 4, stp=mode, tif=IOC, minimum=0, client=20))
    if mode != MAKER:
        assert (exchange.funds(0, QUOTE)[0], exchange.funds(0, BASE)[0]) == before
        for word in (layout.TRADER_VOLUME, layout.TRADER_FEES, layout.TRADER_NET):
            assert exchange.trader(0, word) == 0
    assert exchange.trader(0, layout.TRADER_VOLUME) == exchange.trader(1, layout.TRADER_VOLUME)


def test_rule_17_the_takers_mode_wins_and_0_means_the_accounts() -> None:
    exchange, own, _ = own_then_other(stp=MAKER)
    events = exchange.say(0, exchange.order(0, BUY, 100, 1, stp=TAKER))
    assert ends(events) == [GONE] and events[0].words[0] == 0
    exchange.say(0, settings(BOTH))
    events = exchange.say(0, exchange.order(0, BUY, 100, 1))
    assert ends(events) == [GONE, GONE] and events[0].words[0] == own
    for mode in (0, 5, -1):
        assert exchange.refusal(0, settings(mode)) == layout.MALFORMED


def test_rule_17_owner_means_account_not_key() -> None:
    exchange, _, other = own_then_other()
    events = exchange.say(2, exchange.order(2, BUY, 100, 10, stp=TAKER))
    assert len(fills(events)) == 2 and fills(events)[1][0] == other


@pytest.mark.parametrize("mode", [MAKER, TAKER, BOTH, DECREMENT])
def test_rule_17_a_post_only_that_meets_only_its_own_order_crosses(mode: int) -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 5)
    row = exchange.order(0, BUY, 100, 1, post=layout.POST_REJECT, stp=mode)
    assert exchange.refusal(0, row) == layout.POST_ONLY_CROSS


# Rule 18


@pytest.mark.parametrize("mode", [0, MAKER, TAKER, BOTH, DECREMENT])
@pytest.mark.parametrize("seed", range(4))
def test_rule_18_a_fill_or_kill_is_taken_iff_the_same_loop_fills_it(mode: int, seed: int) -> None:
    """The same book, the same order as an IOC: FOK is accepted iff that one is filled."""
    outcomes = []
    for tif in (IOC, FOK):
        chance = random.Random(seed * 8 + mode)
        exchange = Exchange(venue_of(Market(price_bits=8, lots_max=1000)))
        for client in range(14):
            display = chance.choice((0, 0, 2))
            lots = chance.randrange(2, 12)
            exchange.say(chance.choice((0, 1, 1, 2)), exchange.order(
                chance.randrange(3), SELL, chance.randrange(100, 104), lots, client=client,
                display=display, expires=chance.choice((0, 0, exchange.time + 5))))  # fmt: skip
        exchange.open(5)
        depth = sum(lots for _, lots in exchange.book()[1])
        wanted = chance.randrange(1, depth + 10)
        row = exchange.order(0, BUY, 103, wanted, tif=tif, client=30,
            stp=TAKER if mode == DECREMENT and tif == IOC else mode)  # fmt: skip
        events = exchange.say(0, row)
        taken = [event for event in events if event.kind == layout.EVENT_TAKEN]
        filled = bool(taken) and taken[0].words[2] == wanted
        outcomes.append((filled, fills(events) if filled else []))
        if tif == FOK and not filled:
            assert ends(events) == refused(layout.UNFILLABLE)
    assert outcomes[0] == outcomes[1]


def test_rule_18_a_killed_order_changes_nothing() -> None:
    exchange, _, _ = own_then_other()
    row = exchange.order(2, BUY, 100, 11, tif=FOK)
    assert exchange.refusal(2, row) == layout.UNFILLABLE
    assert len(fills(exchange.say(2, exchange.order(2, BUY, 100, 10, tif=FOK)))) == 2


def test_rule_18_a_minimum_is_filled_at_once_or_the_order_is_refused() -> None:
    exchange, _, _ = own_then_other()
    row = exchange.order(2, BUY, 100, 20, minimum=11)
    assert exchange.refusal(2, row) == layout.UNFILLABLE
    events = exchange.say(2, exchange.order(2, BUY, 100, 20, minimum=10))
    assert len(fills(events)) == 2 and exchange.book()[0] == [(100, 10)]


def test_rule_18_an_order_with_a_minimum_decrements_nothing_but_stops() -> None:
    exchange, own, _ = own_then_other()
    exchange.rest(1, SELL, 99, 4)
    events = exchange.say(0, exchange.order(0, BUY, 100, 9, minimum=4, stp=DECREMENT))
    assert len(fills(events)) == 1 and ends(events[-1:]) == [GONE]
    assert exchange.word(own, layout.ORDER_VISIBLE) == 5


@pytest.mark.parametrize("side", [BUY, SELL])
def test_rule_18_a_post_only_slides_once_to_one_tick_behind_the_touch(side: int) -> None:
    exchange = Exchange()
    exchange.rest(1, 1 - side, 100, 5)
    behind = 99 if side == BUY else 101
    strict = exchange.order(0, side, 100, 5, post=layout.POST_REJECT)
    assert exchange.refusal(0, strict) == layout.POST_ONLY_CROSS
    (event,) = exchange.say(0, exchange.order(0, side, 100, 5, post=layout.POST_SLIDE))
    assert event.kind == layout.EVENT_RESTED and event.words[1] == behind
    (event,) = exchange.say(0, exchange.order(0, side, behind, 5, post=layout.POST_SLIDE))
    assert event.words[1] == behind
    exchange.say(1, cancel(1 << 24 | 1))
    assert exchange.book()[side] == [(behind, 10)]  # it does not slide again later


@pytest.mark.parametrize(("side", "edge"), [(BUY, 1), (SELL, 254)])
def test_rule_18_there_is_no_sliding_out_of_the_domain(side: int, edge: int) -> None:
    exchange = Exchange()
    exchange.rest(1, 1 - side, edge, 5)
    row = exchange.order(0, side, edge, 5, post=layout.POST_SLIDE)
    assert exchange.refusal(0, row) == layout.POST_ONLY_CROSS


def test_rule_18_the_lock_of_a_slid_order_is_at_its_new_price() -> None:
    exchange = Exchange()
    exchange.rest(1, SELL, 100, 5)
    exchange.say(0, exchange.order(0, BUY, 200, 5, post=layout.POST_SLIDE))
    assert exchange.funds(0, QUOTE)[1] == 5 * 99 * 3


@pytest.mark.parametrize(
    ("lots", "display", "good"),
    [(64, 1, True), (65, 1, False), (128, 2, True), (129, 2, False), (5, 5, True), (5, 6, False)],
)
def test_rule_18_an_iceberg_shows_a_64th_at_least(lots: int, display: int, good: bool) -> None:
    exchange = Exchange()
    events = exchange.say(0, exchange.order(0, SELL, 100, lots, display=display))
    assert ends(events) == ([(3, 0)] if good else refused(layout.DISPLAY))


def test_rule_18_an_iceberg_shows_the_least_notional() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, min_notional=1500)))
    thin = exchange.order(0, SELL, 100, 50, display=4)
    assert exchange.refusal(0, thin) == layout.DISPLAY
    exchange.rest(0, SELL, 100, 50, display=5)


def test_rule_18_a_refreshed_iceberg_goes_to_the_back_of_its_level() -> None:
    exchange = Exchange()
    iceberg = exchange.rest(0, SELL, 100, 10, display=4)
    plain = exchange.rest(1, SELL, 100, 3)
    assert exchange.book()[1] == [(100, 7)]
    events = exchange.say(2, exchange.order(2, BUY, 100, 13))
    assert fills(events) == [
        (iceberg, 100, 4), (plain, 100, 3), (iceberg, 100, 4), (iceberg, 100, 2),
    ]  # fmt: skip
    shown: list[Event] = [event for event in events if event.kind == layout.EVENT_TRADE]
    assert [event.flags for event in shown] == [2, 1, 2, 1]  # refreshed, done, refreshed, done


def test_rule_18_a_partly_taken_slice_keeps_its_place() -> None:
    exchange = Exchange()
    iceberg = exchange.rest(0, SELL, 100, 10, display=4)
    exchange.rest(1, SELL, 100, 3)
    exchange.say(2, exchange.order(2, BUY, 100, 3))
    assert fills(exchange.say(2, exchange.order(2, BUY, 100, 1))) == [(iceberg, 100, 1)]


@pytest.mark.parametrize("rate", [0, 2500, 100_000])
def test_rule_18_a_budget_buys_whole_lots_with_their_fee(rate: int) -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((rate, 0),) * 4)))
    exchange.rest(0, SELL, 100, 5)
    exchange.rest(0, SELL, 110, 500)
    unit = [p * 3 + -(-p * 3 * rate // 1_000_000) for p in (100, 110)]
    budget = 5 * unit[0] + 7 * unit[1] + unit[1] - 1
    events = exchange.say(1, exchange.order(1, BUY, 0, budget, tif=IOC, kind=2))
    assert [lots for _, _, lots in fills(events)] == [5, 7]
    assert ends(events)[-1] == (layout.EVENT_CANCELED, layout.REASON_BUDGET)
    spent = -exchange.funds(1, QUOTE)[0]
    assert spent <= budget and events[-1].words[2] == budget - spent
    assert exchange.funds(1, QUOTE)[1] == 0


def test_rule_18_a_budget_below_one_lot_stops_at_zero() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 5)
    events = exchange.say(1, exchange.order(1, BUY, 0, 299, tif=IOC, kind=2))
    assert ends(events) == [(layout.EVENT_CANCELED, layout.REASON_BUDGET)]
    assert events[0].words[2] == 299 and exchange.book()[1] == [(100, 5)]


def test_rule_18_a_budget_keeps_its_worst_price_and_its_own_bounds() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, min_notional=50)))
    exchange.rest(0, SELL, 100, 5)
    exchange.rest(0, SELL, 101, 5)
    events = exchange.say(1, exchange.order(1, BUY, 100, 10**6, tif=IOC, kind=2))
    assert fills(events) == [(1 << 24 | 1, 100, 5)]
    for budget, why in ((0, 6), ((1 << 61) + 1, 6), (49, 7), (10**12 + 1, layout.FUNDS)):
        row = exchange.order(1, BUY, 0, budget, tif=IOC, kind=2)
        assert exchange.refusal(1, row) == why
