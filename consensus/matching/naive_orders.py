"""The naive twin's order commands: place, amend, cancel.

What lives here: the checks of `docs/protocol/commands.md` for operations 1 to 5, in their order;
each `require` is one arrow of that page. What must never live here: the form of rows (`naive_rows`
has refused `MALFORMED` before), or how an order meets the book (`naive_match`).
"""

from dataclasses import dataclass

from consensus.accounts.naive import (
    DAY_MS,
    PPM,
    VISITS_MAX,
    Account,
    Key,
)
from consensus.matching.naive_book import Market, Order, Venue
from consensus.matching.naive_match import Taker, meet_book, post_only_price, scan_minimum
from consensus.matching.naive_numbers import (
    ALL_MARKETS,
    AMENDED,
    BUY,
    BY_EXPIRY,
    BY_USER,
    CHAIN_HALTED,
    CLIENT_ID_TAKEN,
    DISPLAY,
    EVENT_MASS,
    EVENT_REDUCED,
    EXPIRED,
    FUNDS,
    KEY_CAP,
    KEY_SCOPE,
    LOTS_RANGE,
    MARKET_HALTED,
    MASS,
    MIN_NOTIONAL,
    NOTIONAL_MAX,
    ORDERS_MAX,
    PRICE_BAND,
    PRICE_RANGE,
    REDUCE_ONLY,
    TIME_MAX,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
    Row,
    require,
)


@dataclass(slots=True)
class Actor:
    """Who acts: the account, its session key if that signed, and the group's signer."""

    account: Account
    session: Key | None
    kind: int
    signer: int
    l1_index: int


def market_of(venue: Venue, row: Row) -> Market:
    number = row[0] >> 32 & 65535
    require(number < len(venue.markets), UNKNOWN_MARKET)
    return venue.markets[number]


def check_open(venue: Venue, market: Market, actor: Actor) -> None:
    require(not venue.ledger.chain_halted, CHAIN_HALTED)
    require(not market.halted, MARKET_HALTED)
    key = actor.session
    if key is not None:
        inside = market.number < 62 and key.markets >> market.number & 1 == 1
        require(inside and market.quote == key.quote, KEY_SCOPE)


def check_band(market: Market, price: int) -> None:
    centre = market.last or market.reference
    if market.band and centre:
        require(abs(price - centre) <= centre * market.band // PPM, PRICE_BAND)


def check_reduces(market: Market, actor: Actor, side: int, lots: int) -> None:
    net = market.trader(actor.account).net
    held = -net if side == BUY else net
    require(held > 0 and lots <= held, REDUCE_ONLY)


def check_cap(venue: Venue, actor: Actor, notional: int) -> None:
    key = actor.session
    if key is not None:
        today = venue.ledger.time // DAY_MS
        require(key.spent_today(today) + notional <= key.cap, KEY_CAP)


def spend_cap(venue: Venue, actor: Actor, notional: int) -> None:
    key = actor.session
    if key is not None:
        today = venue.ledger.time // DAY_MS
        key.used, key.day = key.spent_today(today) + notional, today


def place(venue: Venue, actor: Actor, row: Row) -> None:
    head, client, price, lots, display, minimum, expires, _ = row
    side, tif, kind = head >> 8 & 15, head >> 12 & 15, head >> 16 & 15
    post, stp, reduce_only = head >> 20 & 15, head >> 24 & 15, head >> 28 & 1
    ledger, account = venue.ledger, actor.account
    market = market_of(venue, row)
    check_open(venue, market, actor)
    require(expires == 0 or expires > ledger.time, EXPIRED)
    budget = lots if kind == 2 else None
    if kind == 2 and price == 0:
        price = market.ticks - 2
    require(1 <= price <= market.ticks - 2, PRICE_RANGE)
    require(1 <= lots <= (NOTIONAL_MAX if kind == 2 else market.lots_max), LOTS_RANGE)
    if kind == 0:
        check_band(market, price)
    notional = lots if kind == 2 else market.notional(lots, price)
    require(notional >= market.min_notional, MIN_NOTIONAL)
    if display:
        require(display <= lots and 64 * display >= lots, DISPLAY)
        require(market.notional(display, price) >= market.min_notional, DISPLAY)
    require(client & (ledger.table_slots - 1) not in account.table, CLIENT_ID_TAKEN)
    if reduce_only or (actor.session is not None and actor.session.reduce_only):
        require(kind != 2, REDUCE_ONLY)
        check_reduces(market, actor, side, lots)
    check_cap(venue, actor, notional)
    if tif == 0:
        require(market.trader(account).orders < market.trader_orders_max, ORDERS_MAX)
    taker_rate, maker_rate = market.fees[account.tier]
    worst = max(taker_rate, maker_rate, 0)
    need = lots if kind == 2 else market.lock(side, lots, price, worst)
    require(account.balances[market.locked_asset(side)].available >= need, FUNDS)
    if post:
        price = post_only_price(venue, market, side, price, post)
    mode = stp or account.stp
    wanted = lots if tif == 2 else minimum
    taker = Taker(
        account, side, price, lots if budget is None else market.lots_max, lots, need,
        2 if wanted and mode == 4 else mode, mode, post, tif == 0, client,
        expires or TIME_MAX, display, taker_rate, maker_rate, worst, budget,
    )  # fmt: skip
    if wanted:
        taker.visits = scan_minimum(venue, market, taker, wanted)
    spend_cap(venue, actor, notional)
    meet_book(venue, market, taker)


def order_by_handle(market: Market, account: Account, handle: int) -> Order:
    order = market.pool.get(handle & 0xFFFFFF) if handle > 0 else None
    if order is None or order.generation != handle >> 24 or order.account is not account:
        require(False, UNKNOWN_ORDER)
    assert order is not None
    return order


def order_by_client(venue: Venue, account: Account, client: int) -> tuple[Market, Order]:
    entry = account.table.get(client & (venue.ledger.table_slots - 1))
    require(entry is not None, UNKNOWN_ORDER)
    assert entry is not None
    market = venue.markets[entry[0]]
    order = market.pool[entry[1]]
    require(order.client == client, UNKNOWN_ORDER)
    return market, order


def amend(venue: Venue, actor: Actor, row: Row) -> None:
    head, name, price, total = row[:4]
    if head >> 28 & 1:
        market, order = order_by_client(venue, actor.account, name)
    else:
        market = market_of(venue, row)
        order = order_by_handle(market, actor.account, name)
    check_open(venue, market, actor)
    if order.expires <= venue.ledger.time:
        venue.remove(market, order, BY_EXPIRY)
        require(False, UNKNOWN_ORDER)
    require(1 <= price <= market.ticks - 2, PRICE_RANGE)
    require(0 <= total <= market.lots_max, LOTS_RANGE)
    if total <= order.total - order.left:
        venue.remove(market, order, AMENDED)
    elif price == order.price and total <= order.total:
        reduce_in_place(venue, market, order, order.total - total)
    else:
        reenter(venue, market, actor, order, price, total)


def reduce_in_place(venue: Venue, market: Market, order: Order, lots: int) -> None:
    venue.unlock(market, order, order.left, order.left - lots)
    order.total -= lots
    from_hidden = min(lots, order.hidden)
    order.hidden -= from_hidden
    order.visible -= lots - from_hidden
    words = (order.handle, order.price, lots, order.left, order.account.index, 0)
    venue.emit(EVENT_REDUCED, words, market=market.number, side=order.side, reason=AMENDED)


def reenter(
    venue: Venue, market: Market, actor: Actor, order: Order, price: int, total: int
) -> None:
    side, account = order.side, order.account
    lots = total - (order.total - order.left)
    check_band(market, price)
    notional = market.notional(lots, price)
    require(notional >= market.min_notional, MIN_NOTIONAL)
    require(order.peak == 0 or 64 * order.peak >= total, DISPLAY)
    if actor.session is not None and actor.session.reduce_only:
        check_reduces(market, actor, side, lots)
    check_cap(venue, actor, notional)
    taker_rate, maker_rate = market.fees[account.tier]
    worst = max(taker_rate, maker_rate, 0)
    need = market.lock(side, lots, price, worst)
    own = market.lock_of(order, order.left)
    require(account.balances[market.locked_asset(side)].available + own >= need, FUNDS)
    if order.post:
        price = post_only_price(venue, market, side, price, order.post)
    spend_cap(venue, actor, notional)
    venue.unlock(market, order, order.left, 0)
    market.unlink(order)
    taker = Taker(
        account, side, price, lots, total, need, order.mode, order.mode, order.post, True,
        order.client, order.expires, order.peak, taker_rate, maker_rate, worst, order=order,
    )  # fmt: skip
    meet_book(venue, market, taker)


def cancel(venue: Venue, actor: Actor, row: Row) -> None:
    market = market_of(venue, row)
    venue.remove(market, order_by_handle(market, actor.account, row[1]), BY_USER)


def cancel_client(venue: Venue, actor: Actor, row: Row) -> None:
    market, order = order_by_client(venue, actor.account, row[1])
    venue.remove(market, order, BY_USER)


def cancel_all(venue: Venue, actor: Actor, row: Row) -> None:
    number = row[0] >> 32 & 65535
    if number != ALL_MARKETS:
        market_of(venue, row)
    removed = 0
    reached = venue.ledger.table_slots
    for slot in sorted(slot for slot in actor.account.table if slot >= row[1]):
        of_market, pool_slot = actor.account.table[slot]
        if number not in (ALL_MARKETS, of_market):
            continue
        market = venue.markets[of_market]
        venue.remove(market, market.pool[pool_slot], MASS)
        removed += 1
        if removed == venue.ledger.parameters[VISITS_MAX]:
            reached = slot + 1
            break
    words = (removed, reached, 0, 0, actor.account.index, 0)
    venue.emit(EVENT_MASS, words, market=number)
