"""Rules 19 and 20, and what halts: expiry by block time, dead-man switches, locks, halts."""

import pytest
from core_rows import (
    address,
    amend,
    cancel,
    cancel_all,
    cancel_client,
    chain_status,
    dead_man,
    fees,
    grant,
    group,
    list_market,
    market_status,
    parameter,
    revoke,
    settings,
    transfer,
    withdraw,
)
from side_by_side import BASE, BUY, IOC, PARAMETERS, QUOTE, SELL, Exchange, ends, fills, venue_of
from venues import Market

from consensus import layout

EXPIRED = (layout.EVENT_CANCELED, layout.REASON_EXPIRED)

# Rule 19


def test_rule_19_an_order_is_dead_at_its_time_and_not_before() -> None:
    exchange = Exchange()
    for trader in (0, 1):
        exchange.rest(trader, SELL, 100, 5, expires=exchange.time + 10)
    exchange.open(9)
    assert len(fills(exchange.say(2, exchange.order(2, BUY, 100, 1, tif=IOC)))) == 1
    exchange.open(1)
    events = exchange.say(2, exchange.order(2, BUY, 100, 1, tif=IOC))
    assert ends(events) == [EXPIRED, EXPIRED, (4, layout.REASON_IOC)]
    assert exchange.book() == ([], []) and exchange.funds(1, BASE) == (0, 0)


@pytest.mark.parametrize("late", [0, -1, 1])
def test_rule_19_an_order_dead_on_arrival_is_refused(late: int) -> None:
    exchange = Exchange()
    row = exchange.order(0, SELL, 100, 5, expires=exchange.time + late)
    if late > 0:
        exchange.say(0, row)
    else:
        assert exchange.refusal(0, row) == layout.EXPIRED


def test_rule_19_the_sweep_removes_the_dead_that_nobody_meets() -> None:
    exchange = Exchange(venue_of(parameters=(*PARAMETERS[:4], 64)))
    handles = [exchange.rest(0, SELL, 100, 5, expires=exchange.time + n) for n in (5, 6, 0)[:2]]
    forever = exchange.rest(0, SELL, 100, 5)
    events = exchange.open(5)
    assert [(event.words[0], event.reason) for event in events] == [
        (handles[0], layout.REASON_EXPIRED)
    ]
    assert [event.words[0] for event in exchange.open(1)] == [handles[1]]
    assert exchange.book()[1] == [(100, 5)] and exchange.word(forever, layout.ORDER_VISIBLE) == 5


def test_rule_19_block_time_is_fixed_when_the_block_opens() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 5, expires=exchange.time + 1)
    for _ in range(70):
        exchange.say(1, cancel(0))
    assert fills(exchange.say(2, exchange.order(2, BUY, 100, 5))) == [(handle, 100, 5)]


def test_rule_19_a_dead_order_may_still_be_cancelled_by_its_owner() -> None:
    exchange = Exchange()
    handle = exchange.rest(0, SELL, 100, 5, expires=exchange.time + 1)
    exchange.open(1)
    assert ends(exchange.say(0, cancel(handle))) == [(4, layout.REASON_BY_USER)]


def test_a_dead_man_switch_cancels_everything_of_its_account_when_due() -> None:
    market = Market(price_bits=8)
    exchange = Exchange(venue_of(market, market))
    for n in range(3):
        exchange.rest(0, SELL, 100 + n, 1, market=n % 2)
    exchange.rest(1, SELL, 110, 1)
    exchange.say(0, dead_man(exchange.time + 10))
    assert exchange.open(9) == []
    events = exchange.open(1)
    assert ends(events) == [(layout.EVENT_CANCELED, layout.REASON_DEADMAN)] * 3
    assert exchange.book(0)[1] == [(110, 1)] and exchange.book(1)[1] == []
    exchange.rest(0, SELL, 100, 1)
    assert exchange.open(1) == []  # once


def test_a_dead_man_switch_can_be_moved_and_disarmed() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 1)
    assert exchange.refusal(0, dead_man(exchange.time)) == layout.EXPIRED
    assert exchange.refusal(0, dead_man(-1)) == layout.MALFORMED
    assert exchange.refusal(0, dead_man((1 << 53) + 1)) == layout.MALFORMED
    exchange.say(0, dead_man(exchange.time + 1))
    exchange.say(0, dead_man(exchange.time + 5))
    assert exchange.core.memory.M[layout.SCHEDULES] == 1
    assert exchange.open(4) == []
    exchange.say(0, dead_man(0), dead_man(0))
    assert exchange.core.memory.M[layout.SCHEDULES] == 0
    assert exchange.open(5) == [] and exchange.book()[1] == [(100, 1)]


def test_rule_06_of_1024_switches_at_most_64_act_in_a_block() -> None:
    exchange = Exchange(venue_of(accounts_max=2048, traders=1026))
    due = exchange.time + 9
    arm = [group([dead_man(due)], **exchange.header(trader, 0, {})) for trader in range(1024)]
    exchange.run(b"".join(arm))
    exchange.nonces = {(trader, 0): 1 for trader in range(1024)}
    assert exchange.core.memory.M[layout.SCHEDULES] == layout.SCHEDULES_MAX
    assert exchange.refusal(1024, dead_man(exchange.time + 9)) == layout.SCHEDULE_FULL
    exchange.say(5, dead_man(exchange.time + 99))  # moving one's own needs no room
    exchange.say(6, dead_man(0))
    exchange.say(1024, dead_man(exchange.time + 9))
    left = []
    for _ in range(3):
        exchange.open(9)
        left.append(int(exchange.core.memory.M[layout.SCHEDULES]))
    assert left == [1024 - 64, 1024 - 128, 1024 - 192]  # at most 64 in a block


# Rule 20


def test_rule_20_a_buy_locks_its_limit_with_the_worst_fee_and_a_sell_its_lots() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((2500, 1000), (900, 4000)) * 2)))
    exchange.rest(0, BUY, 99, 7)
    exchange.rest(1, BUY, 99, 7)
    exchange.rest(2, SELL, 120, 7)
    q = 7 * 99 * 3
    assert exchange.funds(0, QUOTE)[1] == q + 6  # 2500 ppm of 2079 is 5.2
    assert exchange.funds(1, QUOTE)[1] == q + 9  # the maker's 4000 ppm is the worst: 8.3
    assert exchange.funds(2, BASE)[1] == 70 and exchange.funds(2, QUOTE)[1] == 0


def test_rule_20_the_whole_order_must_be_covered_at_its_limit_even_if_it_cannot_rest() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((10_000, 0),) * 4), funds=3030))
    exchange.rest(1, SELL, 50, 1)
    for tif in (0, IOC, layout.TIF_FOK):
        row = exchange.order(0, BUY, 100, 11, tif=tif)
        assert exchange.refusal(0, row) == layout.FUNDS
    exchange.say(0, exchange.order(0, BUY, 100, 10))  # 3000 and 30 of fee: all there is
    assert exchange.funds(0, QUOTE)[1] == 9 * 100 * 3 + 27
    assert exchange.refusal(2, exchange.order(2, SELL, 100, 304)) == layout.FUNDS


def test_rule_20_the_improvement_of_a_taker_is_not_locked() -> None:
    exchange = Exchange()
    exchange.rest(1, SELL, 50, 4)
    exchange.say(0, exchange.order(0, BUY, 100, 10))
    assert exchange.funds(0, QUOTE) == (-4 * 50 * 3, 6 * 100 * 3)


@pytest.mark.parametrize("maker", [1000, 0, -1000])
def test_rule_20_each_fill_releases_its_share_and_the_last_the_exact_rest(maker: int) -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((2500, maker),) * 4)))
    exchange.rest(0, BUY, 99, 7)
    for left in range(6, -1, -1):
        exchange.say(1, exchange.order(1, SELL, 99, 1, tif=IOC, client=5))
        q = left * 99 * 3
        assert exchange.funds(0, QUOTE)[1] == q + -(-q * 2500 // 1_000_000)
    gained, locked = exchange.funds(0, QUOTE)
    # 0.297 a fill is charged as 1, but never more than the lock holds for it: 6 in all.
    assert locked == 0 and gained == -7 * 99 * 3 - (6 if maker > 0 else 0)


def test_rule_20_cancel_releases_the_exact_lock_after_any_history() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((3333, 777),) * 4)))
    handle = exchange.rest(0, BUY, 97, 64, display=3)
    for lots in (1, 5, 2, 9):
        exchange.say(1, exchange.order(1, SELL, 97, lots, tif=IOC, client=5))
    exchange.say(0, amend(handle, 97, 50))
    exchange.say(0, amend(handle, 96, 55))
    exchange.say(0, cancel(handle))
    assert exchange.funds(0, QUOTE)[1] == 0


def test_rule_20_a_change_of_fees_never_raises_those_of_a_resting_order() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((0, 0),) * 4)))
    handle = exchange.rest(0, BUY, 100, 10)
    exchange.govern(fees(0, 100_000, 50_000))
    assert exchange.funds(0, QUOTE)[1] == 3000
    exchange.say(1, exchange.order(1, SELL, 100, 4, tif=IOC))
    assert exchange.funds(0, QUOTE) == (-1200, 1800)
    exchange.say(0, cancel(handle))
    assert exchange.funds(0, QUOTE) == (-1200, 0)


def test_rule_20_rate_limits_are_words_of_the_state() -> None:
    exchange = Exchange(venue_of(parameters=(1000, 40_000, 1, 64, 0)))
    M = exchange.core.memory.M
    record = M[layout.AT_ACCOUNTS] + 2 * 32
    assert M[record + layout.ACCOUNT_TOKENS] == 64_000
    exchange.say(0, *[cancel(0)] * 10)
    assert M[record + layout.ACCOUNT_TOKENS] == 54_000
    exchange.open(500)
    exchange.say(0, cancel(0))
    assert M[record + layout.ACCOUNT_TOKENS] == 53_500
    assert M[record + layout.ACCOUNT_REFILLED] == exchange.time


def test_rule_14_no_more_than_a_day_of_tokens_comes_at_once() -> None:
    exchange = Exchange(venue_of(parameters=(1000, 40_000, 1, 64, 0)))
    exchange.govern(parameter(3, 1_000_000))
    for _ in range(3):
        exchange.open(86_400_000)
    exchange.say(0, cancel(0))
    M = exchange.core.memory.M
    assert M[M[layout.AT_ACCOUNTS] + 2 * 32 + layout.ACCOUNT_TOKENS] == 64_000 + 86_400_000 - 1000


# Halts


def test_a_halted_market_takes_cancels_only() -> None:
    market = Market(price_bits=8)
    exchange = Exchange(venue_of(market, market))
    first, second = (exchange.rest(0, SELL, 100, 5) for _ in range(2))
    exchange.govern(market_status(1))
    for row in (exchange.order(0, SELL, 100, 1), amend(first, 100, 4), amend(first, 100, 0)):
        assert exchange.refusal(0, row) == layout.MARKET_HALTED
    exchange.rest(0, SELL, 100, 1, market=1)
    assert ends(exchange.say(0, cancel(first))) == [(4, layout.REASON_BY_USER)]
    exchange.govern(market_status(0))
    exchange.say(0, amend(second, 100, 4))


def test_a_market_is_listed_halted() -> None:
    exchange = Exchange()
    exchange.govern(list_market(price_bits=6, pool_bits=6, page_bits=6, lots_max=100))
    row = exchange.order(0, SELL, 5, 1, market=1)
    assert exchange.refusal(0, row) == layout.MARKET_HALTED
    exchange.govern(market_status(0, market=1))
    exchange.say(0, row)


def test_a_halted_chain_takes_cancels_withdrawals_and_revocations_only() -> None:
    exchange = Exchange()
    handles = [exchange.rest(0, SELL, 100 + n, 5, client=n) for n in range(4)]
    exchange.say(0, grant(address(901), slot=1, expires=exchange.time + 9))
    exchange.govern(chain_status(1))
    closed = [
        exchange.order(0, SELL, 100, 1, client=9), amend(handles[0], 100, 4), transfer(3, 1, 0),
        grant(address(901), slot=2, expires=exchange.time + 9), dead_man(exchange.time + 9),
    ]  # fmt: skip
    for row in closed:
        assert exchange.refusal(0, row) == layout.CHAIN_HALTED
    exchange.say(0, dead_man(0), settings(2))
    to = (1, 1, 1)
    open_ = [cancel(handles[0]), cancel_client(1), cancel_all(), withdraw(0, 5, to), revoke(1)]
    for row in open_:
        events = exchange.say(0, row)
        assert events[-1].kind != layout.EVENT_REFUSED
    assert exchange.deposit((9, 9, 9), 0, 5).kind == layout.EVENT_DEPOSITED
    exchange.govern(chain_status(0))
    exchange.rest(0, SELL, 100, 1, client=9)
