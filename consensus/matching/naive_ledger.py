"""The naive twin's other commands: funds, keys, switches, listing and governance.

What lives here: operations 6 to 11, 16 and 32 to 41 of `docs/protocol/commands.md`, each check in
its order. What must never live here: anything that meets a book.
"""

from typing import Final

from consensus.accounts.naive import (
    PARAMETER_BOUNDS,
    SCHEDULES_MAX,
    Asset,
    Key,
    Schedule,
    address_of,
    saturate,
)
from consensus.matching.naive_book import Market, Venue
from consensus.matching.naive_numbers import (
    ACCOUNTS_FULL,
    AMOUNT_MAX,
    AMOUNT_RANGE,
    CHAIN_HALTED,
    EVENT_DEPOSITED,
    EVENT_GRANTED,
    EVENT_REVOKED,
    EVENT_SCHEDULED,
    EVENT_SET,
    EVENT_TRANSFERRED,
    EVENT_WITHDRAWN,
    EXPIRED,
    FUNDS,
    KEY_SLOT,
    LISTING,
    LISTING_FULL,
    NOTIONAL_MAX,
    PARAMETER_RANGE,
    SCHEDULE_FULL,
    SUPPLY,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ASSET,
    Row,
    require,
)
from consensus.matching.naive_orders import Actor, market_of
from consensus.state.naive import ledger_words, market_words

FEE_MAX: Final = 100_000  # ppm


def report_set(venue: Venue, row: Row) -> None:
    words = (row[1], row[2], row[3], row[4], row[5], row[6])
    venue.emit(EVENT_SET, words, flags=row[0] & 255, market=row[0] >> 32 & 65535)


def address_in(words: Row) -> int:
    """Return the address in three words whose form was checked."""
    address = address_of(words)
    assert address is not None
    return address


def transfer(venue: Venue, actor: Actor, row: Row) -> None:
    receiver, amount, asset = row[1:4]
    ledger, sender = venue.ledger, actor.account
    require(not ledger.chain_halted, CHAIN_HALTED)
    require(0 <= asset < len(ledger.assets), UNKNOWN_ASSET)
    require(1 <= receiver < len(ledger.accounts), UNKNOWN_ACCOUNT)
    require(receiver != sender.index, UNKNOWN_ACCOUNT)
    require(1 <= amount <= AMOUNT_MAX, AMOUNT_RANGE)
    require(sender.balances[asset].available >= amount, FUNDS)
    sender.balances[asset].available -= amount
    ledger.accounts[receiver].balances[asset].available += amount
    venue.emit(EVENT_TRANSFERRED, (receiver, amount, asset, 0, sender.index, 0))


def withdraw(venue: Venue, actor: Actor, row: Row) -> None:
    number, amount = row[1:3]
    ledger, account = venue.ledger, actor.account
    require(0 <= number < len(ledger.assets), UNKNOWN_ASSET)
    asset = ledger.assets[number]
    require(max(1, asset.withdraw_min) <= amount <= AMOUNT_MAX, AMOUNT_RANGE)
    balance = account.balances[number]
    require(balance.available >= amount, FUNDS)
    balance.available -= amount
    balance.withdrawn = saturate(balance.withdrawn + amount)
    asset.withdrawn += amount
    who = account.index | number << 32
    venue.emit(EVENT_WITHDRAWN, (ledger.withdrawals, amount, who, row[3], row[4], row[5]))
    ledger.withdrawals += 1


def grant(venue: Venue, actor: Actor, row: Row) -> None:
    account, expires, quote = actor.account, row[4], row[7] >> 16
    require(not venue.ledger.chain_halted, CHAIN_HALTED)
    require(expires > venue.ledger.time, EXPIRED)
    require(quote < len(venue.ledger.assets), UNKNOWN_ASSET)
    slot = row[7] & 255
    account.grants += 1
    account.sessions[slot - 1] = Key(
        address=address_in(row[1:4]),
        live=True,
        reduce_only=row[7] >> 8 & 1 == 1,
        expires=expires,
        cap=row[5],
        markets=row[6],
        epoch=account.grants,
        quote=quote,
    )
    venue.emit(EVENT_GRANTED, (slot, account.grants, 0, 0, account.index, 0))


def revoke(venue: Venue, actor: Actor, row: Row) -> None:
    slot = row[1]
    require(actor.account.sessions[slot - 1].live, KEY_SLOT)
    actor.account.sessions[slot - 1] = Key()
    venue.emit(EVENT_REVOKED, (slot, 0, 0, 0, actor.account.index, 0))


def dead_man(venue: Venue, actor: Actor, row: Row) -> None:
    due, ledger = row[1], venue.ledger
    if due:
        require(not ledger.chain_halted, CHAIN_HALTED)
        require(due > ledger.time, EXPIRED)
    armed = ledger.schedule_of(actor.account.index)
    if due and armed is None:
        require(len(ledger.schedules) < SCHEDULES_MAX, SCHEDULE_FULL)
        ledger.schedules.append(Schedule(actor.account.index, due))
    elif due and armed is not None:
        ledger.schedules[armed].due = due
    elif armed is not None:
        ledger.disarm(armed)
    venue.emit(EVENT_SCHEDULED, (due, 0, 0, 0, actor.account.index, 0))


def settings(venue: Venue, actor: Actor, row: Row) -> None:
    actor.account.stp = row[1]
    report_set(venue, row)


def deposit(venue: Venue, actor: Actor, row: Row) -> None:
    number, amount, ledger = row[4], row[5], venue.ledger
    require(0 <= number < len(ledger.assets), UNKNOWN_ASSET)
    asset = ledger.assets[number]
    require(amount >= 1, AMOUNT_RANGE)
    require(asset.deposited - asset.withdrawn + amount <= AMOUNT_MAX, SUPPLY)
    require(asset.deposited + amount <= AMOUNT_MAX, SUPPLY)
    address = address_in(row[1:4])
    account = ledger.account_at(address)
    made = account is None
    if account is None:
        require(len(ledger.accounts) < ledger.accounts_max, ACCOUNTS_FULL)
        account = ledger.make_account(address)
    balance = account.balances[number]
    balance.available += amount
    balance.deposited = saturate(balance.deposited + amount)
    asset.deposited += amount
    words = (account.index, amount, number, actor.l1_index, 0, 0)
    venue.emit(EVENT_DEPOSITED, words, flags=int(made))


def list_asset(venue: Venue, actor: Actor, row: Row) -> None:
    require(len(venue.ledger.assets) < venue.ledger.assets_max, LISTING_FULL)
    venue.ledger.assets.append(Asset(row[1], row[2], row[3]))
    report_set(venue, row)


def list_market(venue: Venue, actor: Actor, row: Row) -> None:
    _, sizes, base_per_lot, quote_per_tick_lot, min_notional, lots_max, limits, reference = row
    base, quote = sizes & 255, sizes >> 8 & 255
    price_bits, pool_bits, page_bits = sizes >> 16 & 255, sizes >> 24 & 255, sizes >> 32 & 255
    require(max(base, quote) < len(venue.ledger.assets), UNKNOWN_ASSET)
    require(base != quote, LISTING)
    dearest = (1 << price_bits) - 2
    require(dearest * lots_max * quote_per_tick_lot <= NOTIONAL_MAX, LISTING)
    require(lots_max * base_per_lot <= NOTIONAL_MAX, LISTING)
    require(len(venue.markets) < venue.ledger.markets_max, LISTING_FULL)
    region = ledger_words(venue.ledger)
    if venue.markets:
        last = venue.markets[-1]
        region = last.region + market_words(last, venue.ledger.accounts_max)
    market = Market(
        len(venue.markets), region, price_bits, pool_bits, page_bits, base, quote,
        base_per_lot, quote_per_tick_lot, min_notional, lots_max,
        limits & 0xFFFFF, reference, limits >> 20,
    )  # fmt: skip
    venue.markets.append(market)
    report_set(venue, row)


def fees(venue: Venue, actor: Actor, row: Row) -> None:
    market = market_of(venue, row)
    tier, taker, maker = row[1:4]
    require(0 <= tier <= 3, PARAMETER_RANGE)
    require(0 <= taker <= FEE_MAX and -taker <= maker <= FEE_MAX, PARAMETER_RANGE)
    market.fees[tier] = taker, maker
    report_set(venue, row)


def market_status(venue: Venue, actor: Actor, row: Row) -> None:
    market = market_of(venue, row)
    require(row[1] in (0, 1), PARAMETER_RANGE)
    market.halted = row[1] == 1
    report_set(venue, row)


def chain_status(venue: Venue, actor: Actor, row: Row) -> None:
    require(row[1] in (0, 1), PARAMETER_RANGE)
    venue.ledger.chain_halted = row[1] == 1
    report_set(venue, row)


def validators(venue: Venue, actor: Actor, row: Row) -> None:
    require(row[1] == venue.ledger.validators_epoch + 1, PARAMETER_RANGE)
    venue.ledger.validators_epoch = row[1]
    venue.ledger.validators_hash = row[2:6]
    report_set(venue, row)


def parameter(venue: Venue, actor: Actor, row: Row) -> None:
    number, value = row[1:3]
    require(0 <= number < len(PARAMETER_BOUNDS), PARAMETER_RANGE)
    lowest, highest = PARAMETER_BOUNDS[number]
    require(lowest <= value <= highest, PARAMETER_RANGE)
    venue.ledger.parameters[number] = value
    report_set(venue, row)


def tier(venue: Venue, actor: Actor, row: Row) -> None:
    require(1 <= row[1] < len(venue.ledger.accounts), UNKNOWN_ACCOUNT)
    require(0 <= row[2] <= 3, PARAMETER_RANGE)
    venue.ledger.accounts[row[1]].tier = row[2]
    report_set(venue, row)


def market_limits(venue: Venue, actor: Actor, row: Row) -> None:
    market = market_of(venue, row)
    require(0 <= row[1] <= NOTIONAL_MAX, PARAMETER_RANGE)
    require(0 <= row[2] <= 1_000_000, PARAMETER_RANGE)
    require(1 <= row[3] < 1 << 20, PARAMETER_RANGE)
    market.min_notional, market.band, market.trader_orders_max = row[1:4]
    report_set(venue, row)


def governor(venue: Venue, actor: Actor, row: Row) -> None:
    venue.ledger.governor.address = address_in(row[1:4])
    report_set(venue, row)
