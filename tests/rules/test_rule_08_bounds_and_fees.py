"""Rule 8: bounds at the door, fees rounded against the payer, funds conserved per asset."""

import random
from typing import Final

import pytest
from core_rows import (
    amend,
    cancel,
    deposit,
    fees,
    list_asset,
    list_market,
    market_limits,
    parameter,
    place,
    tier,
    transfer,
    withdraw,
)
from side_by_side import BASE, BUY, FOK, FUNDS, IOC, QUOTE, SELL, Exchange, ends, refused, venue_of
from venues import Market

from consensus import layout
from consensus.accounts.ledger import fee_down, fee_up

TICKS: Final = 256
TO: Final = (5, 5, 5)
HALF: Final = 1 << 61


def tried(exchange: Exchange, *rows: bytes) -> list[int]:
    """The refusal number of each of the governor's rows, 0 where it took effect."""
    events = [exchange.say(-1, row, key=253)[0] for row in rows]
    return [event.reason if event.kind == layout.EVENT_REFUSED else 0 for event in events]


# Prices and lots


@pytest.mark.parametrize("side", [BUY, SELL])
def test_rule_08_prices_go_from_one_to_ticks_minus_two(side: int) -> None:
    exchange = Exchange()
    for price in (-(1 << 63), -1, 0, TICKS - 1, TICKS, 1 << 40, (1 << 63) - 1):
        order = exchange.order(0, side, price, 1)
        assert exchange.refusal(0, order) == layout.PRICE_RANGE
    handle = exchange.rest(0, side, 1, 1)
    for price in (0, TICKS - 1):
        assert exchange.refusal(0, amend(handle, price, 1)) == layout.PRICE_RANGE
    exchange.say(0, amend(handle, TICKS - 2, 1))
    exchange.rest(0, side, TICKS - 2, 1)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_rule_08_lots_go_from_one_to_the_markets_most(side: int) -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, lots_max=1000)))
    for lots in (0, 1001, 1 << 40, (1 << 63) - 1):
        assert exchange.refusal(0, exchange.order(0, side, 5, lots)) == layout.LOTS_RANGE
    for lots in (-1, -(1 << 63)):
        assert exchange.refusal(0, exchange.order(0, side, 5, lots)) in (
            layout.MALFORMED,
            layout.LOTS_RANGE,
        )
    handle = exchange.rest(0, side, 5, 1)
    for total in (-1, 1001):
        assert exchange.refusal(0, amend(handle, 5, total)) == layout.LOTS_RANGE
    exchange.say(0, amend(handle, 5, 1000))
    exchange.rest(0, side, 5, 1000)


def test_rule_08_client_ids_times_and_terms_have_ranges() -> None:
    exchange = Exchange()
    bad: list[dict[str, int]] = [
        {"client": -1}, {"client": 1 << 53}, {"expires": -1}, {"expires": (1 << 53) + 1},
        {"display": -1}, {"minimum": -1}, {"minimum": 11}, {"tif": 3, "client": 0}, {"kind": 3},
        {"post": 3}, {"stp": 5}, {"flags": 2}, {"post": 1, "tif": IOC}, {"post": 1, "minimum": 1},
        {"kind": 1}, {"kind": 2}, {"display": 5, "tif": IOC}, {"tif": FOK, "kind": 2},
        {"tif": IOC, "kind": 2, "minimum": 1}, {"tif": IOC, "kind": 2, "flags": 1},
    ]  # fmt: skip
    for terms in bad:
        row = place(BUY, 100, 10, **({"client": 1} | terms))
        assert exchange.refusal(0, row) == layout.MALFORMED, terms
    assert exchange.refusal(0, place(2, 100, 10, client=1)) == layout.MALFORMED
    sell_budget = place(SELL, 100, 10, client=1, tif=IOC, kind=2)
    assert exchange.refusal(0, sell_budget) == layout.MALFORMED
    exchange.say(0, place(BUY, 100, 10, client=(1 << 53) - 1, expires=1 << 53))


def test_rule_08_a_markets_largest_order_fits_sixty_one_bits() -> None:
    exchange = Exchange()
    dearest = TICKS - 2
    most = HALF // 7 // dearest
    good = list_market(price_bits=8, pool_bits=6, page_bits=6, base_per_lot=1,
        quote_per_tick_lot=7, lots_max=most)  # fmt: skip
    over = list_market(price_bits=8, pool_bits=6, page_bits=6, base_per_lot=1,
        quote_per_tick_lot=7, lots_max=most + 1)  # fmt: skip
    base = list_market(price_bits=8, pool_bits=6, page_bits=6, base_per_lot=1 << 30,
        quote_per_tick_lot=1, lots_max=(1 << 31) + 1)  # fmt: skip
    fits = list_market(price_bits=8, pool_bits=6, page_bits=6, base_per_lot=1 << 30,
        quote_per_tick_lot=1, lots_max=1 << 31)  # fmt: skip
    same = list_market(base=1, quote=1)
    assert tried(exchange, over, good, base, fits, same) == [28, 0, 28, 0, 28]


@pytest.mark.parametrize(
    "change",
    [
        {"price_bits": 5}, {"price_bits": 29}, {"pool_bits": 5}, {"pool_bits": 21},
        {"page_bits": 5}, {"page_bits": 17}, {"base_per_lot": 0}, {"quote_per_tick_lot": 0},
        {"lots_max": 0}, {"min_notional": -1}, {"min_notional": HALF + 1}, {"band": 1_000_001},
        {"orders": 0}, {"reference": -1}, {"reference": TICKS - 1},
    ],
    ids=str,
)  # fmt: skip
def test_rule_08_a_listing_has_ranges(change: dict[str, int]) -> None:
    given = {"price_bits": 8, "pool_bits": 6, "page_bits": 6} | change
    assert tried(Exchange(), list_market(**given)) == [layout.MALFORMED]


def test_rule_08_markets_assets_and_accounts_end_at_their_sizes() -> None:
    exchange = Exchange(venue_of(accounts_max=64))
    small = list_market(price_bits=6, pool_bits=6, page_bits=6, lots_max=100)
    assert tried(exchange, small, small, small, small) == [0, 0, 0, layout.LISTING_FULL]
    assert tried(exchange, list_asset(0x42), list_asset(0x43)) == [0, layout.LISTING_FULL]
    M = exchange.core.memory.M
    for n in range(64 - int(M[layout.ACCOUNTS])):
        assert exchange.deposit((1 << 54, 0, n + 1), 0, 5).kind == layout.EVENT_DEPOSITED
    late = exchange.deposit((1 << 54, 1, 1), 0, 5)
    assert (late.kind, late.reason) == (layout.EVENT_REFUSED, layout.ACCOUNTS_FULL)
    assert M[layout.L1_MESSAGES] == 64 - 6 + 1  # a refused deposit is consumed
    assert exchange.deposit((1 << 54, 0, 1), 0, 5).kind == layout.EVENT_DEPOSITED


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (fees(4, 0, 0), 30), (fees(-1, 0, 0), 30), (fees(3, 100_000, -100_000), 0),
        (fees(0, 100_001, 0), 30), (fees(0, -1, 0), 30), (fees(0, 500, -501), 30),
        (fees(0, 0, 100_000), 0), (fees(0, 0, 100_001), 30),
        (market_limits(HALF, 1_000_000, 1_048_575), 0), (market_limits(HALF + 1, 0, 1), 30),
        (market_limits(0, 1_000_001, 1), 30), (market_limits(0, 0, 0), 30),
        (market_limits(0, 0, 1 << 20), 30), (market_limits(-1, 0, 1), 30),
        (parameter(0, 15), 30), (parameter(0, 16), 0), (parameter(0, 5000), 0),
        (parameter(0, 5001), 30), (parameter(1, 63), 30), (parameter(1, 64), 0),
        (parameter(1, 40_000), 0), (parameter(1, 40_001), 30), (parameter(2, 0), 30),
        (parameter(2, 1_000_000), 0), (parameter(2, 1_000_001), 30), (parameter(3, 63), 30),
        (parameter(3, 64), 0), (parameter(3, 1_000_001), 30), (parameter(4, -1), 30),
        (parameter(4, 0), 0), (parameter(4, 1024), 0), (parameter(4, 1025), 30),
        (parameter(5, 1), 30), (tier(2, 3), 0), (tier(2, 4), 30), (tier(0, 1), 21),
        (tier(6, 1), 21),
    ],
)  # fmt: skip
def test_rule_08_what_governance_sets_has_bounds(row: bytes, why: int) -> None:
    assert tried(Exchange(), row) == [why]


# Money


def test_rule_08_supply_stays_below_two_to_the_62() -> None:
    exchange = Exchange()
    M = exchange.core.memory.M
    held = int(M[layout.AT_ASSETS + layout.ASSET_DEPOSITED])
    most = layout.AMOUNT_MAX - held
    over = exchange.deposit((9, 9, 9), 0, most + 1)
    assert (over.kind, over.reason) == (layout.EVENT_REFUSED, layout.SUPPLY)
    for amount in (0, -1, -(1 << 63)):
        assert exchange.deposit((9, 9, 9), 0, amount).reason == layout.AMOUNT_RANGE
    assert exchange.deposit((9, 9, 9), 3, 1).reason == layout.UNKNOWN_ASSET
    assert exchange.deposit((9, 9, 9), 0, most).kind == layout.EVENT_DEPOSITED
    assert exchange.deposit((9, 9, 9), 0, 1).reason == layout.SUPPLY
    assert M[layout.AT_ASSETS + layout.ASSET_DEPOSITED] == layout.AMOUNT_MAX


def test_rule_08_an_invalid_deposit_is_consumed_with_an_event() -> None:
    exchange = Exchange()
    other = exchange.message((9, 9, 9), deposit((9, 9, 8), 0, 5), key=254)
    assert ends(other) == refused(layout.MALFORMED)
    assert exchange.core.memory.M[layout.L1_MESSAGES] == 1
    assert exchange.core.memory.M[layout.ACCOUNTS] == 6


def test_rule_08_transfers_and_withdrawals_move_available_funds_only() -> None:
    exchange = Exchange()
    exchange.rest(0, SELL, 100, 10)  # locks 100 base
    free = FUNDS - 100
    assert exchange.refusal(0, transfer(3, free + 1, BASE)) == layout.FUNDS
    assert exchange.refusal(0, withdraw(BASE, free + 1, TO)) == layout.FUNDS
    for amount in (0, -1, 1 << 62):
        assert exchange.refusal(0, transfer(3, amount, BASE)) == layout.AMOUNT_RANGE
        assert exchange.refusal(0, withdraw(BASE, amount, TO)) == layout.AMOUNT_RANGE
    for receiver in (0, 2, 6, -1, 1 << 40):
        assert exchange.refusal(0, transfer(receiver, 1, BASE)) == layout.UNKNOWN_ACCOUNT
    for asset in (-1, 3, 4, 1 << 40):
        assert exchange.refusal(0, transfer(3, 1, asset)) == layout.UNKNOWN_ASSET
        assert exchange.refusal(0, withdraw(asset, 1, TO)) == layout.UNKNOWN_ASSET
    assert exchange.refusal(0, withdraw(QUOTE, 4, TO)) == layout.AMOUNT_RANGE  # least is 5
    for nobody in ((0, 0, 0), (1 << 56, 0, 0), (0, -1, 0), (0, 0, 1 << 48)):
        assert exchange.refusal(0, withdraw(BASE, 5, nobody)) == layout.MALFORMED
    exchange.say(0, transfer(3, free - 7, BASE), withdraw(BASE, 7, TO), withdraw(QUOTE, 5, TO))
    assert exchange.funds(0, BASE) == (100 - FUNDS, 100)
    assert exchange.funds(1, BASE) == (free - 7, 0)


# Fees


@pytest.mark.parametrize("rate", [1, 7, 2500, 99_999, 100_000])
def test_rule_08_split_arithmetic_is_the_exact_quotient(rate: int) -> None:
    chance = random.Random(rate)
    for n in (0, 1, 999_999, 1_000_000, 1_000_001, HALF, HALF - 1, *(chance.randrange(HALF)
        for _ in range(300))):  # fmt: skip
        assert fee_up(n, rate) == -(-n * rate // 1_000_000)
        assert fee_down(n, rate) == n * rate // 1_000_000


def traded(
    taker: int, maker: int, lots: int, taker_side: int, price: int = 101
) -> tuple[int, int, int]:
    """What taker, maker and fee account gained in quote beyond the price, for one trade."""
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((taker, maker),) * 4)))
    exchange.rest(0, 1 - taker_side, price, lots)
    exchange.say(1, exchange.order(1, taker_side, price, lots, tif=IOC))
    q = lots * price * 3
    paid = q if taker_side == BUY else -q
    gains = exchange.funds(1, QUOTE)[0] + paid, exchange.funds(0, QUOTE)[0] - paid
    fee_account = exchange.funds(-1, QUOTE)[0]
    assert sum(gains) + fee_account == 0
    return *gains, fee_account


@pytest.mark.parametrize("side", [BUY, SELL])
def test_rule_08_fees_round_against_the_payer(side: int) -> None:
    """q = 303: 2500 ppm is 0.7575, up to 1; 1000 ppm is 0.303, up to 1."""
    assert traded(2500, 1000, 1, side) == (-1, -1, 2)
    assert traded(0, 0, 1, side) == (0, 0, 0)
    assert traded(1, 1, 1, side) == (-1, -1, 2)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_rule_08_rebates_round_down(side: int) -> None:
    """q = 3030: taker 2500 ppm is 7.575, up to 8; rebate 1000 ppm is 3.03, down to 3."""
    assert traded(2500, -1000, 10, side) == (-8, 3, 5)
    assert traded(2500, -1000, 1, side) == (-1, 0, 1)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_rule_08_a_rebate_is_never_more_than_the_takers_rate(side: int) -> None:
    """The maker's tier promises 50,000 ppm; the taker's tier pays 1,000: that is the rebate."""
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((50_000, -50_000), (1_000, 0)) * 2)))
    exchange.rest(0, 1 - side, 100, 100)
    exchange.say(1, exchange.order(1, side, 100, 100, tif=IOC))  # trader 1 is in tier 1
    q = 100 * 100 * 3
    assert exchange.funds(0, QUOTE)[0] == (q if side == BUY else -q) + q // 1000
    assert exchange.funds(-1, QUOTE)[0] == 0


def test_rule_08_the_taker_pays_once_for_all_its_fills() -> None:
    exchange = Exchange(venue_of(Market(price_bits=8, rates=((1, 0),) * 4)))
    for price in (100, 101, 102):
        exchange.rest(0, SELL, price, 1)
    events = exchange.say(1, exchange.order(1, BUY, 102, 3, tif=IOC))
    taken = next(event for event in events if event.kind == layout.EVENT_TAKEN)
    assert taken.words[3] == 1 and exchange.funds(-1, QUOTE)[0] == 1


# Conservation


def test_rule_08_funds_are_conserved_per_asset_after_every_message() -> None:
    """`Exchange.probe` walks the state after each message: its sum of balances is the supply."""
    market = Market(price_bits=8, lots_max=1000, rates=((2500, -1000), (100_000, 33_333)) * 2)
    exchange = Exchange(venue_of(market))
    chance = random.Random(8)
    for n in range(120):
        trader = n % 4
        side = chance.randrange(2)
        rows = [
            exchange.order(trader, side, chance.randrange(90, 111), chance.randrange(1, 200),
                client=chance.randrange(32), tif=chance.randrange(3), stp=chance.randrange(5)),
            cancel(chance.randrange(1, 3) << 24 | chance.randrange(1, 30)),
            transfer(chance.randrange(2, 6), chance.randrange(1, 9), chance.randrange(3)),
            withdraw(chance.randrange(3), chance.randrange(1, 9), TO),
        ]  # fmt: skip
        exchange.say(trader, *rows)
    M = exchange.core.memory.M
    for asset in range(3):
        record = layout.AT_ASSETS + asset * 16
        supply = M[record + layout.ASSET_DEPOSITED] - M[record + layout.ASSET_WITHDRAWN]
        assert sum(exchange.funds(t, asset)[0] for t in range(-1, 4)) + 4 * FUNDS == supply
        assert M[record + layout.ASSET_WITHDRAWN] > 0
