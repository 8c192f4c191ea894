"""Locks, fees, positions, keys, nonces, rate, funds and switches of the naive twin."""

import pytest
from naive_rows import (
    BASE,
    BUY,
    FUNDS,
    GOVERNOR,
    PARAMETERS,
    QUOTE,
    SELL,
    START,
    Floor,
    address,
    amend,
    cancel,
    chain_status,
    dead_man,
    deposit,
    events_of,
    fees,
    grant,
    group,
    list_asset,
    list_market,
    outcome,
    parameter,
    place,
    revoke,
    tier,
    transfer,
    withdraw,
)

from consensus.accounts.naive import Position

DAY = 86_400_000
AGENT = bytes.fromhex("aa" * 20)


def test_a_buy_locks_its_notional_and_its_worst_fee() -> None:
    floor = Floor(taker=2500, maker=1000)
    floor.rest(0, BUY, 101, 7, 1)
    # 7 x 101 x 3 = 2121, and 2121 x 0.0025 = 5.3 rounds up.
    assert floor.funds(0, QUOTE) == (0, 2121 + 6)
    floor.rest(1, SELL, 200, 7, 1)
    assert floor.funds(1, BASE) == (0, 70)


def test_fees_of_maker_and_taker_go_to_the_fee_account() -> None:
    floor = Floor(taker=2500, maker=1000)
    floor.rest(0, BUY, 101, 7, 1)
    floor.say(1, place(SELL, 90, 5, client=1))
    # 5 x 101 x 3 = 1515: maker ceil(1.515) = 2, taker ceil(3.7875) = 4.
    assert floor.funds(0, QUOTE) == (-1517, 606 + 2)
    assert floor.funds(1, QUOTE) == (1511, 0)
    assert floor.funds(0, BASE) == (50, 0)
    assert floor.exchange.ledger.accounts[1].balances[QUOTE].available == 6


def test_a_rebate_is_rounded_down_and_never_above_the_takers_rate() -> None:
    floor = Floor(taker=2500, maker=-2000)
    floor.rest(0, SELL, 101, 5, 1)
    floor.say(1, place(BUY, 120, 5, client=1))
    # Rebate floor(1515 x 0.002) = 3; the taker pays 4.
    assert floor.funds(0, QUOTE) == (1518, 0)
    assert floor.funds(1, QUOTE) == (-1519, 0)
    floor.rest(0, SELL, 101, 5, 1)
    floor.govern(fees(1, 1000, 0), tier(3, 1))
    floor.say(1, place(BUY, 120, 5, client=1))
    # The taker of tier 1 pays ceil(1.515) = 2, so the rebate is floor(1515 x 0.001) = 1.
    assert floor.funds(0, QUOTE) == (1518 + 1516, 0)
    assert floor.funds(1, QUOTE) == (-1519 - 1517, 0)


def test_improvement_is_released_and_the_last_fill_releases_the_rest() -> None:
    floor = Floor(taker=2500)
    floor.rest(0, SELL, 90, 3, 1)
    floor.say(1, place(BUY, 100, 7, client=1))
    # Spent 810 + ceil(2.025) = 813; what rests locks 1200 + 3.
    assert floor.funds(1, QUOTE) == (-813, 1203)
    floor.say(2, place(SELL, 95, 4, client=2))
    assert floor.funds(1, QUOTE) == (-813 - 1200, 0)


def test_funds_must_cover_the_whole_order_at_its_limit() -> None:
    floor = Floor(taker=2500)
    floor.say(0, transfer(3, FUNDS - 1000, QUOTE))
    # 3 x 110 x 3 = 990 + ceil(2.475) = 993; one lot more is 1323.
    assert outcome(floor.say(0, place(BUY, 110, 4, client=1, tif=1))) == [(6, 12)]
    assert outcome(floor.say(0, place(BUY, 110, 3, client=1))) == [(3, 0)]


def test_an_amend_counts_its_own_lock_as_funds() -> None:
    floor = Floor()
    floor.say(0, transfer(3, FUNDS - 900, QUOTE))
    handle = floor.rest(0, BUY, 100, 3, 1)
    assert outcome(floor.say(0, amend(handle, 99, 3))) == [(3, 0)]
    assert outcome(floor.say(0, amend(handle, 101, 3))) == [(6, 12)]
    assert floor.funds(0, QUOTE)[1] == 891


def test_a_position_follows_average_cost_through_a_reversal() -> None:
    position = Position()
    position.trade(BUY, 10, 1000, 1)
    position.trade(BUY, 5, 800, 1)
    assert (position.net, position.cost) == (15, 1800)
    position.trade(SELL, 6, 900, -1)
    # 6 of 15 lots cost 720.
    assert (position.net, position.cost, position.realised) == (9, 1080, 180)
    position.trade(SELL, 12, 1200, 0)
    # 9 of the 12 lots close for 900; 3 lots short stand at 300.
    assert (position.net, position.cost, position.realised) == (-3, 300, 0)
    position.trade(BUY, 3, 240, 0)
    assert (position.net, position.cost, position.realised) == (0, 0, 60)
    assert (position.fees, position.volume) == (1, 4140)


def test_reduce_only_lets_a_position_shrink_and_not_turn() -> None:
    floor = Floor()
    floor.rest(0, SELL, 100, 5, 1)
    floor.say(1, place(BUY, 100, 5, client=1))
    assert outcome(floor.say(1, place(SELL, 100, 6, client=1, flags=1))) == [(6, 17)]
    assert outcome(floor.say(1, place(BUY, 100, 1, client=1, flags=1))) == [(6, 17)]
    assert outcome(floor.say(1, place(SELL, 100, 5, client=1, flags=1))) == [(3, 0)]


def test_transfers_and_withdrawals_move_exactly_their_amount() -> None:
    floor = Floor()
    assert outcome(floor.say(0, transfer(3, 500, BASE))) == [(8, 0)]
    assert floor.funds(0, BASE)[0] == -500 and floor.funds(1, BASE)[0] == 500
    event = floor.say(0, withdraw(QUOTE, 70, AGENT))[0]
    assert event[0] == 9 and event[6:9] == (0, 70, 2 | QUOTE << 32)
    assert floor.say(0, withdraw(QUOTE, 1, AGENT))[0][6] == 1
    assert floor.exchange.ledger.assets[QUOTE].withdrawn == 71
    for receiver in (0, 2, 9, -1):
        assert outcome(floor.say(0, transfer(receiver, 5, BASE))) == [(6, 21)]
    assert outcome(floor.say(0, transfer(3, 0, BASE))) == [(6, 22)]
    assert outcome(floor.say(0, transfer(3, 1, 2))) == [(6, 20)]
    assert outcome(floor.say(0, withdraw(QUOTE, FUNDS, AGENT))) == [(6, 12)]
    assert outcome(floor.say(0, withdraw(QUOTE, 1, bytes(20)))) == [(6, 1)]


def test_a_session_key_acts_in_its_markets_within_its_cap_until_it_expires() -> None:
    floor = Floor()
    floor.say(0, grant(AGENT, expires=floor.time + 2 * DAY, cap=1000))
    assert outcome(floor.say(0, place(BUY, 100, 3, client=1), key=1, signer=AGENT)) == [(3, 0)]
    assert outcome(floor.say(0, place(BUY, 100, 1, client=2), key=1, signer=AGENT)) == [(6, 19)]
    assert outcome(floor.say(0, transfer(3, 1, BASE), key=1, signer=AGENT)) == [(6, 31)]
    floor.open(DAY)
    assert outcome(floor.say(0, place(BUY, 100, 3, client=2), key=1, signer=AGENT)) == [(3, 0)]
    floor.open(DAY)
    assert floor.send(0, cancel(1), key=1, signer=AGENT) == 4014


def test_a_session_key_outside_its_scope_is_refused() -> None:
    floor = Floor()
    floor.say(0, grant(AGENT, expires=floor.time + DAY, markets=2))
    assert outcome(floor.say(0, place(BUY, 9, 3, client=1), key=1, signer=AGENT)) == [(6, 18)]
    floor.say(0, grant(AGENT, expires=floor.time + DAY, quote=BASE, slot=2))
    assert outcome(floor.say(0, place(BUY, 9, 3, client=1), key=2, signer=AGENT)) == [(6, 18)]
    floor.say(0, grant(AGENT, expires=floor.time + DAY, reduce_only=1, slot=3))
    assert outcome(floor.say(0, place(BUY, 9, 3, client=1), key=3, signer=AGENT)) == [(6, 17)]


def test_revocation_acts_at_once_and_a_new_grant_starts_a_new_epoch() -> None:
    floor = Floor()
    assert floor.say(0, grant(AGENT, expires=floor.time + DAY, slot=4))[0][6:8] == (4, 1)
    assert floor.send(0, cancel(1), key=4, signer=AGENT) == 0
    assert outcome(floor.say(0, revoke(4))) == [(12, 0)]
    assert floor.send(0, cancel(1), key=4, signer=AGENT) == 4004
    assert outcome(floor.say(0, revoke(4))) == [(6, 23)]
    assert floor.say(0, grant(AGENT, expires=floor.time + DAY, slot=4))[0][6:8] == (4, 2)
    assert floor.exchange.ledger.accounts[2].sessions[3].nonce == 0


def test_nonces_are_spent_once_inside_their_window() -> None:
    floor = Floor()

    def spend(nonce: int) -> int:
        data = group(
            [cancel(1)], account=2, nonce=nonce, signer=address(0), expires=floor.time + 1
        )
        return floor.exchange.execute(data, 2)

    assert [spend(300), spend(300), spend(45), spend(44), spend(299)] == [0, 4001, 0, 4002, 0]
    assert spend(301 + (1 << 20)) == 4003
    assert [spend(301), spend(45), spend(46)] == [0, 4002, 0]
    assert [spend(557), spend(301), spend(302), spend(300)] == [0, 4002, 0, 4002]
    assert spend(300 + (1 << 20)) == 0
    assert floor.exchange.ledger.accounts[2].owner.seen.bit_count() == 1


def test_groups_that_no_block_may_contain_have_their_numbers_and_change_nothing() -> None:
    floor = Floor()
    rows = [cancel(1)]
    far = floor.time + DAY
    terms = dict(account=2, nonce=1, signer=address(0), expires=far)
    cases: list[tuple[dict[str, object], int, int]] = [
        (dict(nonce=0), 2, 4009),
        (dict(key=5), 2, 4009),
        (dict(nonce=1 << 53), 2, 4009),
        (dict(), 1, 4015),
        (dict(key=255, expires=0), 2, 4015),
        (dict(key=255, expires=0), 1, 4013),
        (dict(key=255, expires=0, nonce=0, account=1), 1, 4011),
        (dict(account=99), 2, 4010),
        (dict(account=0), 2, 4010),
        (dict(key=253), 2, 4010),
        (dict(key=1), 2, 4004),
        (dict(signer=address(1)), 2, 4005),
        (dict(expires=floor.time), 2, 4006),
        (dict(expires=far + 1), 2, 4007),
    ]
    image = floor.exchange.pack()
    for change, phase, number in cases:
        data = group(rows, **(terms | change))  # type: ignore[arg-type]
        assert floor.exchange.execute(data, phase) == number, change
    whole = group(rows * 2, **terms)  # type: ignore[arg-type]
    for cut in (whole[:-64], whole[:-1], whole[:64], whole[:60], b"\1"):
        assert floor.exchange.execute(cut, 2) == 4009
    assert floor.exchange.pack() == image


def test_the_rate_is_a_bucket_that_refills_with_block_time() -> None:
    floor = Floor(parameters=[1000, 40_000, 2, 64, 0, 4096])
    rows = [cancel(1)] * 64
    assert floor.send(0, *rows) == 0
    assert floor.send(0, cancel(1)) == 4008
    floor.open(499)
    assert floor.send(0, cancel(1)) == 4008
    floor.open(1)
    assert floor.send(0, cancel(1)) == 0
    assert floor.send(0, cancel(1)) == 4008


def l1(floor: Floor, row: bytes, key: int, account: int, signer: bytes) -> int:
    nonce = floor.exchange.ledger.l1_messages
    data = group([row], account=account, nonce=nonce, signer=signer, key=key, expires=0)
    return floor.exchange.execute(data, 1)


def test_a_deposit_makes_an_account_behind_its_low_neighbour() -> None:
    floor = Floor()
    low = floor.exchange.ledger.low_neighbour(int.from_bytes(AGENT, "big"))
    for wrong in {0, 1, 2, 3, 4, 5, -1} - {low}:
        assert l1(floor, deposit(AGENT, BASE, 5), 254, wrong, AGENT) == 4011
    floor.exchange.take_events()
    assert l1(floor, deposit(AGENT, BASE, 5), 254, low, AGENT) == 0
    event = events_of(floor.exchange.take_events())[0]
    assert (event[0], event[3], *event[6:10]) == (10, 1, 5, 5, BASE, 0)
    assert l1(floor, deposit(AGENT, BASE, 6), 254, low, AGENT) == 4011
    assert l1(floor, deposit(AGENT, BASE, 6), 254, 5, AGENT) == 0
    assert events_of(floor.exchange.take_events())[0][6:10] == (5, 6, BASE, 1)
    assert l1(floor, deposit(AGENT, 3, 6), 254, 5, AGENT) == 0
    assert outcome(events_of(floor.exchange.take_events())) == [(6, 20)]
    assert l1(floor, deposit(AGENT, BASE, 1 << 62), 254, 5, AGENT) == 0
    assert outcome(events_of(floor.exchange.take_events())) == [(6, 27)]
    assert floor.exchange.ledger.l1_messages == 4
    floor.exchange.check()


def test_a_forced_group_acts_for_the_account_of_its_signer_or_for_nobody() -> None:
    floor = Floor()
    floor.exchange.take_events()
    assert l1(floor, withdraw(BASE, 9, AGENT), 255, 2, address(0)) == 0
    assert outcome(events_of(floor.exchange.take_events())) == [(9, 0)]
    low = floor.exchange.ledger.low_neighbour(int.from_bytes(AGENT, "big"))
    assert l1(floor, withdraw(BASE, 9, AGENT), 255, low, AGENT) == 0
    assert outcome(events_of(floor.exchange.take_events())) == [(6, 21)]
    assert l1(floor, withdraw(BASE, 9, AGENT), 255, 0, bytes(20)) == 0
    assert outcome(events_of(floor.exchange.take_events())) == [(6, 21)]


def test_governance_needs_the_governors_key_and_keeps_to_its_operations() -> None:
    floor = Floor()
    terms = dict(account=0, signer=GOVERNOR, key=253, expires=floor.time + 1)
    rows = [list_asset("ETH"), parameter(0, 15), cancel(1), list_market(base=1), fees(0, 5, -6)]
    floor.exchange.take_events()
    assert floor.exchange.execute(group(rows, nonce=1, **terms), 2) == 0  # type: ignore[arg-type]
    events = events_of(floor.exchange.take_events())
    assert outcome(events) == [(14, 0), (6, 30), (6, 31), (6, 28), (6, 30)]
    assert events[0][3] == 32
    assert outcome(floor.say(0, list_asset("ETH"))) == [(6, 31)]


def test_a_halted_chain_lets_money_out_and_nothing_in_the_book() -> None:
    floor = Floor()
    handle = floor.rest(0, BUY, 100, 1, 1)
    floor.govern(chain_status(1))
    refused = [place(BUY, 100, 1, client=2), transfer(3, 1, BASE), dead_man(floor.time + 9)]
    for row in [*refused, grant(AGENT, expires=floor.time + 9)]:
        assert outcome(floor.say(0, row)) == [(6, 25)]
    assert outcome(floor.say(0, cancel(handle), withdraw(BASE, 1, AGENT), dead_man(0))) == [
        (4, 1), (9, 0), (13, 0),
    ]  # fmt: skip


def test_a_switch_that_is_due_removes_every_order_of_its_account() -> None:
    floor = Floor()
    for client in range(5):
        floor.rest(0, BUY, 100, 1, client)
    kept = floor.rest(1, BUY, 100, 1, 1)
    floor.say(0, dead_man(floor.time + 10))
    floor.say(1, dead_man(floor.time + 99))
    floor.open(9)
    floor.exchange.housekeeping()
    assert floor.exchange.take_events() == b""
    floor.open(1)
    floor.exchange.housekeeping()
    assert outcome(events_of(floor.exchange.take_events())) == [(4, 8)] * 5
    assert [schedule.account for schedule in floor.exchange.ledger.schedules] == [3]
    assert outcome(floor.say(1, cancel(kept), dead_man(0))) == [(4, 1), (13, 0)]
    assert floor.exchange.ledger.schedules == []
    assert outcome(floor.say(1, dead_man(floor.time))) == [(6, 9)]


def test_a_switch_goes_on_in_the_next_block_when_its_budget_is_spent() -> None:
    floor = Floor(parameters=[16, *PARAMETERS[1:]])
    for client in range(20):
        floor.rest(0, BUY, 100, 1, client)
    floor.say(0, dead_man(floor.time + 1))
    removed = []
    for _ in range(3):
        floor.open(1)
        floor.exchange.housekeeping()
        removed.append(len(floor.exchange.take_events()) // 64)
    assert removed == [16, 4, 0]
    assert floor.exchange.ledger.schedules == []


def test_the_sweep_removes_dead_orders_a_few_slots_per_block() -> None:
    floor = Floor(parameters=[*PARAMETERS[:4], 2, 4096], market=list_market(pool_bits=6))
    rows = [place(BUY, 100, 1, client=n, expires=floor.time + 1 + 9 * (n == 1)) for n in range(4)]
    floor.say(0, *rows)
    removed = []
    for _ in range(34):
        floor.open(1)
        floor.exchange.housekeeping()
        removed.append(len(floor.exchange.take_events()) // 64)
    assert removed[:3] == [1, 2, 0] and removed[32:] == [1, 0]


def test_fees_and_parameters_outside_their_bounds_are_refused() -> None:
    floor = Floor()
    rows = [fees(4, 0, 0), fees(0, 100_001, 0), fees(0, 0, 100_001), parameter(6, 1)]
    for row in [*rows, parameter(3, 63), tier(2, 4)]:
        floor.exchange.operate(row)
        assert outcome(events_of(floor.exchange.take_events())) == [(6, 30)]


def test_an_expiry_of_zero_is_never_and_two_to_the_53_is_the_last() -> None:
    floor = Floor()
    floor.say(0, place(BUY, 100, 1, client=1))
    assert floor.exchange.venue.markets[0].pool[1].expires == 1 << 53
    assert outcome(floor.say(0, place(BUY, 9, 1, client=2, expires=(1 << 53) + 1))) == [(6, 1)]
    with pytest.raises(AssertionError, match="available"):
        floor.exchange.ledger.accounts[2].balances[0].available = -1
        floor.exchange.check()
    assert floor.time > START
