"""Rules 11 to 14: nonces and life of groups, what is signed, session keys, bulk."""

from typing import Any, Final

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
    governor,
    grant,
    group,
    list_asset,
    revoke,
    row,
    settings,
    transfer,
    withdraw,
)
from side_by_side import BUY, IOC, PLAIN, SELL, Exchange, ends, refused, venue_of
from venues import GOVERNOR, Market

from consensus import layout
from consensus.signatures import sign
from consensus.typed_data import Domain, domain_separator, session_digest

DAY: Final = 86_400_000
NOTHING: Final = cancel(0)  # refused by state, so it shows whether its group was let in
KEY: Final = 1


def with_key(exchange: Exchange, **scope: int) -> None:
    """Trader 0 grants session key 1 to address 901."""
    given = {"expires": exchange.time + 10 * DAY} | scope
    events = exchange.say(0, grant(address(900 + KEY), slot=KEY, **given))
    assert events[0].kind == layout.EVENT_GRANTED, events


# Rule 11


def test_rule_11_a_nonce_is_good_once_though_its_command_was_refused() -> None:
    exchange = Exchange()
    assert ends(exchange.say(0, NOTHING, nonce=5)) == refused(layout.UNKNOWN_ORDER)
    assert exchange.fault(0, NOTHING, nonce=5) == layout.NONCE_USED


def test_rule_11_nonces_come_in_any_order_inside_the_window() -> None:
    exchange = Exchange()
    exchange.say(0, NOTHING, nonce=300)
    assert exchange.fault(0, NOTHING, nonce=300 - 256) == layout.NONCE_OLD
    for nonce in (300 - 255, 299, 128):
        exchange.say(0, NOTHING, nonce=nonce)
        assert exchange.fault(0, NOTHING, nonce=nonce) == layout.NONCE_USED


def test_rule_11_a_nonce_runs_ahead_by_no_more_than_a_million() -> None:
    exchange = Exchange()
    exchange.say(0, NOTHING, nonce=7)
    far = 7 + (1 << 20)
    assert exchange.fault(0, NOTHING, nonce=far + 1) == layout.NONCE_FAR
    exchange.say(0, NOTHING, nonce=far)


@pytest.mark.parametrize("step", [1, 63, 64, 255, 256, 257, 1000])
def test_rule_11_the_ring_forgets_exactly_what_leaves_the_window(step: int) -> None:
    exchange = Exchange()
    used = [1000, 1000 - 255, 1000 - 100]
    for nonce in used:
        exchange.say(0, NOTHING, nonce=nonce)
    exchange.say(0, NOTHING, nonce=1000 + step)
    for nonce in used:
        inside = nonce > 1000 + step - 256
        wanted = layout.NONCE_USED if inside else layout.NONCE_OLD
        assert exchange.fault(0, NOTHING, nonce=nonce) == wanted
    if step > 1:
        exchange.say(0, NOTHING, nonce=1000 + step - 1)


def test_rule_11_each_key_has_its_own_nonces() -> None:
    exchange = Exchange()
    with_key(exchange)
    exchange.say(0, NOTHING, nonce=50)
    exchange.say(0, NOTHING, nonce=50, key=KEY)
    exchange.say(1, NOTHING, nonce=50)


@pytest.mark.parametrize("nonce", [0, -1, 1 << 53, -(1 << 63)])
def test_rule_11_a_nonce_outside_its_range_has_no_shape(nonce: int) -> None:
    assert Exchange().fault(0, NOTHING, nonce=nonce) == layout.GROUP_SHAPE


def test_rule_11_every_command_expires_within_a_day() -> None:
    exchange = Exchange()
    assert exchange.fault(0, NOTHING, expires=exchange.time) == layout.GROUP_EXPIRED
    assert exchange.fault(0, NOTHING, expires=0) == layout.GROUP_EXPIRED
    assert exchange.fault(0, NOTHING, expires=exchange.time + DAY + 1) == layout.GROUP_FAR
    exchange.say(0, NOTHING, expires=exchange.time + DAY)
    exchange.say(0, NOTHING, expires=exchange.time + 1)


def test_rule_11_who_is_not_the_key_gets_in_nowhere() -> None:
    exchange = Exchange()
    assert exchange.fault(0, NOTHING, signer=address(1)) == layout.SIGNER
    assert exchange.fault(0, NOTHING, account=0) == layout.ACCOUNT_UNKNOWN
    assert exchange.fault(0, NOTHING, account=6) == layout.ACCOUNT_UNKNOWN
    assert exchange.fault(0, NOTHING, account=-1) == layout.ACCOUNT_UNKNOWN
    assert exchange.fault(0, NOTHING, key=KEY) == layout.KEY_UNKNOWN
    assert exchange.fault(0, NOTHING, key=5) == layout.GROUP_SHAPE
    assert exchange.fault(0, NOTHING, key=253, account=2) == layout.ACCOUNT_UNKNOWN
    assert exchange.fault(0, NOTHING, key=253, signer=address(0)) == layout.SIGNER
    for key in (254, 255):
        assert exchange.fault(0, NOTHING, key=key, nonce=0, expires=0) == layout.PHASE
        assert exchange.fault(0, NOTHING, key=key, nonce=0) == layout.GROUP_SHAPE
    two = exchange.fault(0, NOTHING, NOTHING, key=254, nonce=0, expires=0)
    assert two == layout.GROUP_SHAPE


def test_rule_11_l1_messages_come_in_their_order_and_phase() -> None:
    exchange = Exchange()
    for nonce in (1, -1):
        with pytest.raises(AssertionError, match=str(layout.L1_ORDER)):
            exchange.message(address(0), NOTHING, key=255, nonce=nonce)
    exchange.message(address(0), NOTHING, key=255)
    assert exchange.core.memory.M[layout.L1_MESSAGES] == 1
    with pytest.raises(AssertionError, match=str(layout.L1_ORDER)):
        exchange.message(address(0), NOTHING, key=255, nonce=0)


# Rule 12


def test_rule_12_an_owners_digest_names_chain_contract_and_genesis() -> None:
    here = Domain(1337, bytes(20), bytes(32))
    others = [
        here,
        Domain(1338, bytes(20), bytes(32)),
        Domain(1337, bytes(19) + b"\1", bytes(32)),
        Domain(1337, bytes(20), bytes(31) + b"\1"),
    ]
    assert len({domain_separator(each) for each in others}) == 4


def test_rule_12_a_sessions_digest_names_every_field() -> None:
    fields: list[Any] = [bytes(32), 3, 1, 5, 9, 1_700_000_000_000, bytes(64)]
    other: list[Any] = [bytes(31) + b"\1", 4, 2, 6, 10, 1_700_000_000_001, bytes(128)]
    digests = {session_digest(*fields)}
    for n, value in enumerate(other):
        changed = fields.copy()
        changed[n] = value
        digests.add(session_digest(*changed))
    assert len(digests) == 8


def test_rule_12_revoke_and_grant_again_makes_a_new_epoch() -> None:
    """The epoch is in what a session key signs, so old signatures name a key that is no more."""
    exchange = Exchange()
    M = exchange.core.memory.M
    at = M[layout.AT_KEYS] + 2 * 4 * 16
    epochs = []
    for _ in range(3):
        with_key(exchange)
        epochs.append(int(M[at + layout.KEY_EPOCH]))
        exchange.say(0, revoke(KEY))
        assert exchange.fault(0, NOTHING, key=KEY) == layout.KEY_UNKNOWN
    assert epochs == [1, 2, 3]
    digests = {session_digest(bytes(32), 2, KEY, epoch, 1, 9, NOTHING) for epoch in epochs}
    assert len(digests) == 3
    assert len({sign(each, b"\7" * 32) for each in digests}) == 3


def test_rule_12_a_new_grant_begins_its_nonces_anew() -> None:
    exchange = Exchange()
    with_key(exchange)
    exchange.say(0, NOTHING, key=KEY, nonce=900)
    with_key(exchange)
    exchange.say(0, NOTHING, key=KEY, nonce=900)
    exchange.say(0, NOTHING, key=KEY, nonce=899)


# Rule 13


def test_rule_13_a_session_key_never_moves_money_out_and_never_grants() -> None:
    exchange = Exchange()
    with_key(exchange)
    forbidden = [
        transfer(3, 5, 0), withdraw(0, 5, address(0)), revoke(KEY), settings(1),
        grant(address(5), slot=2, expires=exchange.time + 5),
        list_asset(0x41), fees(0, 0, 0), chain_status(1), governor(address(5)),
    ]  # fmt: skip
    for each in forbidden:
        assert exchange.refusal(0, each, key=KEY) == layout.NOT_ALLOWED
    allowed = [
        exchange.order(0, SELL, 100, 5), amend(1 << 24 | 1, 100, 4), cancel(1 << 24 | 1),
        exchange.order(0, SELL, 100, 5), cancel_client(1), cancel_all(), dead_man(0),
    ]  # fmt: skip
    for each in allowed:
        (event,) = exchange.say(0, each, key=KEY)[-1:]
        assert event.kind != layout.EVENT_REFUSED, event


def test_rule_13_who_may_do_what() -> None:
    exchange = Exchange()
    for op in range(32, 42):
        assert exchange.refusal(0, row(op)) == layout.NOT_ALLOWED
    assert exchange.refusal(0, row(layout.OP_DEPOSIT)) == layout.NOT_ALLOWED
    for op in (*range(1, 12), layout.OP_DEPOSIT):
        events = exchange.say(-1, row(op), key=253)
        assert ends(events) == refused(layout.NOT_ALLOWED)


def test_rule_13_revocation_acts_from_the_next_operation() -> None:
    exchange = Exchange()
    with_key(exchange)
    exchange.say(0, revoke(KEY))
    assert exchange.fault(0, NOTHING, key=KEY) == layout.KEY_UNKNOWN
    assert exchange.refusal(0, revoke(KEY)) == layout.KEY_SLOT


def test_rule_13_a_session_key_expires_at_its_time() -> None:
    exchange = Exchange()
    with_key(exchange, expires=exchange.time + 10)
    exchange.open(9)
    exchange.say(0, NOTHING, key=KEY)
    exchange.open(1)
    assert exchange.fault(0, NOTHING, key=KEY) == layout.GROUP_KEY_EXPIRED
    dead = grant(address(5), slot=2, expires=exchange.time)
    assert exchange.refusal(0, dead) == layout.EXPIRED


def test_rule_13_a_session_key_trades_in_its_markets_and_quote_asset_only() -> None:
    exchange = Exchange(venue_of(PLAIN, Market(price_bits=8, quote=2), PLAIN))
    with_key(exchange, markets=0b011)
    exchange.say(0, exchange.order(0, SELL, 100, 1, client=1), key=KEY)
    for market in (1, 2):
        order = exchange.order(0, SELL, 100, 1, client=2, market=market)
        assert exchange.refusal(0, order, key=KEY) == layout.KEY_SCOPE
    mine = exchange.rest(0, SELL, 100, 1, client=3, market=2)
    assert exchange.refusal(0, amend(mine, 101, 1, market=2), key=KEY) == layout.KEY_SCOPE
    assert exchange.say(0, cancel(mine, market=2), key=KEY)[0].kind == layout.EVENT_CANCELED


def test_rule_13_the_cap_counts_by_the_day_of_block_time() -> None:
    exchange = Exchange()
    cap = 10 * 100 * 3
    with_key(exchange, cap=cap)
    exchange.open(DAY - exchange.time % DAY - 1)  # the last millisecond of a day
    exchange.say(0, exchange.order(0, BUY, 100, 6, tif=IOC), key=KEY)
    assert exchange.refusal(0, exchange.order(0, BUY, 100, 5), key=KEY) == layout.KEY_CAP_REACHED
    exchange.say(0, exchange.order(0, BUY, 100, 4), key=KEY)
    one = exchange.order(0, BUY, 1, 1)
    assert exchange.refusal(0, one, key=KEY) == layout.KEY_CAP_REACHED
    exchange.say(0, one)  # the owner has no cap
    exchange.open(1)
    exchange.say(0, exchange.order(0, BUY, 100, 10), key=KEY)
    assert exchange.refusal(0, exchange.order(0, BUY, 1, 1), key=KEY) == layout.KEY_CAP_REACHED


def test_rule_13_an_amend_that_enters_again_counts_against_the_cap() -> None:
    exchange = Exchange()
    with_key(exchange, cap=10 * 100 * 3)
    exchange.say(0, exchange.order(0, BUY, 100, 5), key=KEY)
    handle = 1 << 24 | 1
    assert exchange.refusal(0, amend(handle, 100, 6), key=KEY) == layout.KEY_CAP_REACHED
    exchange.say(0, amend(handle, 100, 4), key=KEY)  # in place: free
    exchange.say(0, amend(handle, 99, 5), key=KEY)
    assert exchange.refusal(0, amend(handle, 98, 1), key=KEY) == layout.KEY_CAP_REACHED


def test_rule_13_a_budget_order_counts_its_budget() -> None:
    exchange = Exchange()
    with_key(exchange, cap=500)
    budget = exchange.order(0, BUY, 0, 501, tif=IOC, kind=2)
    assert exchange.refusal(0, budget, key=KEY) == layout.KEY_CAP_REACHED
    exchange.say(0, exchange.order(0, BUY, 0, 500, tif=IOC, kind=2), key=KEY)
    assert exchange.refusal(0, exchange.order(0, BUY, 1, 1), key=KEY) == layout.KEY_CAP_REACHED


def test_rule_13_a_reduce_only_key_only_brings_positions_nearer_to_zero() -> None:
    exchange = Exchange()
    with_key(exchange, reduce_only=1)
    for side in (BUY, SELL):
        assert exchange.refusal(0, exchange.order(0, side, 100, 1), key=KEY) == layout.REDUCE_ONLY
    exchange.rest(1, SELL, 100, 5)
    exchange.say(0, exchange.order(0, BUY, 100, 5))
    assert exchange.refusal(0, exchange.order(0, BUY, 90, 1), key=KEY) == layout.REDUCE_ONLY
    assert exchange.refusal(0, exchange.order(0, SELL, 100, 6), key=KEY) == layout.REDUCE_ONLY
    budget = exchange.order(0, BUY, 0, 50, tif=IOC, kind=2)
    assert exchange.refusal(0, budget, key=KEY) == layout.REDUCE_ONLY
    exchange.say(0, exchange.order(0, SELL, 200, 5, client=7), key=KEY)
    flagged = exchange.order(0, SELL, 200, 6, flags=1)
    assert exchange.refusal(0, flagged) == layout.REDUCE_ONLY


def test_rule_13_an_owner_without_wallet_keys_grants_through_the_l1_queue() -> None:
    exchange = Exchange()
    row_ = grant(address(900 + KEY), slot=KEY, expires=exchange.time + DAY)
    (event,) = exchange.message(address(0), row_, key=255)
    assert event.kind == layout.EVENT_GRANTED
    exchange.say(0, NOTHING, key=KEY)
    stranger = exchange.message((9, 9, 9), row_, key=255)
    assert ends(stranger) == refused(layout.UNKNOWN_ACCOUNT)


@pytest.mark.parametrize("slot", [0, 5, 255])
def test_rule_13_session_keys_have_slots_one_to_four(slot: int) -> None:
    exchange = Exchange()
    bad = grant(address(5), slot=slot, expires=exchange.time + 5)
    assert exchange.refusal(0, bad) == layout.MALFORMED
    assert exchange.refusal(0, revoke(slot)) == layout.MALFORMED
    for good in (1, 4):
        exchange.say(0, grant(address(5), slot=good, expires=exchange.time + 5))


# Rule 14


def test_rule_14_a_group_has_one_to_sixty_four_operations() -> None:
    exchange = Exchange()
    assert exchange.fault(0) == layout.GROUP_SHAPE
    assert len(exchange.say(0, *[NOTHING] * 64)) == 64
    assert exchange.fault(0, *[NOTHING] * 65) == layout.GROUP_SHAPE


def test_rule_14_a_group_is_included_whole_or_not_at_all() -> None:
    exchange = Exchange()
    before = exchange.core.image()
    header = exchange.header(0, 0, {})
    data = group([exchange.order(0, SELL, 100, 1)] * 3, **header)
    for end in (64, 128, 192, 255):
        assert exchange.run(data[:end]) == (layout.GROUP_SHAPE, [])
        assert exchange.core.image() == before


def test_rule_14_operations_of_a_group_are_independent_and_in_order() -> None:
    exchange = Exchange()
    rows = [
        exchange.order(0, SELL, 100, 1), NOTHING, cancel(1 << 24 | 1), NOTHING,
        exchange.order(0, SELL, 101, 1),
    ]  # fmt: skip
    events = exchange.say(0, *rows)
    kinds = [layout.EVENT_RESTED, layout.EVENT_REFUSED, layout.EVENT_CANCELED]
    kinds += [layout.EVENT_REFUSED, layout.EVENT_RESTED]
    assert [event.kind for event in events] == kinds
    first = events[0].sequence
    assert [event.sequence for event in events] == list(range(first, first + 5))
    assert exchange.core.memory.M[layout.GOVERNOR + layout.KEY_ADDRESS] == GOVERNOR[0]


def test_rule_14_a_group_costs_one_nonce_and_a_token_for_each_operation() -> None:
    exchange = Exchange(venue_of(parameters=(1000, 40_000, 2, 64, 0)))
    exchange.say(0, *[NOTHING] * 63)
    assert exchange.fault(0, NOTHING, NOTHING) == layout.RATE
    exchange.say(0, NOTHING)
    assert exchange.fault(0, NOTHING) == layout.RATE
    exchange.say(1, NOTHING)  # another account has its own tokens
    exchange.open(499)
    assert exchange.fault(0, NOTHING) == layout.RATE
    exchange.open(1)
    exchange.say(0, NOTHING)
    assert exchange.fault(0, NOTHING) == layout.RATE
    exchange.open(DAY)
    assert exchange.fault(0, *[NOTHING] * 64, *[NOTHING]) == layout.GROUP_SHAPE
    exchange.say(0, *[NOTHING] * 64)
    assert exchange.fault(0, NOTHING) == layout.RATE
