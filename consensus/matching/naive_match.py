"""The naive twin's matcher: how a taker meets the book, is settled and comes to rest.

What lives here: the loop, settlement, self-trade modes, icebergs, eviction, resting, and the scans
of post-only and minimum orders, as `docs/protocol/{matching,accounts}.md` state them. What must
never live here: the checks of a command before it meets the book (`naive_orders`).
"""

from dataclasses import dataclass
from typing import Final

from consensus.accounts.naive import (
    FEE_ACCOUNT,
    VISITS_MAX,
    Account,
    ceil_ppm,
    charge,
)
from consensus.matching.naive_book import Market, Order, Side, Venue
from consensus.matching.naive_numbers import (
    BUDGET,
    BUY,
    BY_EXPIRY,
    BY_WORK_LIMIT,
    EVENT_CANCELED,
    EVENT_REDUCED,
    EVENT_RESTED,
    EVENT_TAKEN,
    EVENT_TRADE,
    EVICTED,
    IOC,
    NO_ROOM,
    POST_ONLY_CROSS,
    SELF_TRADE,
    UNFILLABLE,
    WORK_LIMIT,
    Refused,
    require,
)

EVICTIONS_MAX: Final = 64


@dataclass(slots=True)
class Taker:
    """A command that meets the book. `order` is the re-entering order of an amend."""

    account: Account
    side: int
    price: int
    lots: int
    total: int
    need: int
    mode: int
    stored_mode: int
    post: int
    rests: bool
    client: int
    expires: int
    peak: int
    taker_rate: int
    maker_rate: int
    worst_rate: int
    budget: int | None = None
    order: Order | None = None
    visits: int = 0
    filled: int = 0
    spent: int = 0
    decremented: int = 0
    maker_fees: int = 0
    budget_left: int = 0
    stopped: bool = False
    spent_out: bool = False
    limited: bool = False
    last: int = 0

    @property
    def handle(self) -> int:
        return self.order.handle if self.order else 0


def opposite(market: Market, side: int, price: int) -> tuple[Side, int]:
    """Return the side a taker meets and the highest key it crosses there."""
    return market.sides[1 - side], market.key(1 - side, price)


def meet_book(venue: Venue, market: Market, taker: Taker) -> None:
    """Run a checked taker through the book, settle it, and rest or cancel what is left."""
    run_loop(venue, market, taker)
    settle_taker(venue, market, taker)
    finish(venue, market, taker)


def run_loop(venue: Venue, market: Market, taker: Taker) -> None:
    book, limit = opposite(market, taker.side, taker.price)
    now = venue.ledger.time
    visits_max = venue.ledger.parameters[VISITS_MAX]
    taker.budget_left = taker.budget or 0
    while taker.lots > 0 and book.crossed(limit) and taker.visits < visits_max:
        maker = book.head()
        taker.visits += 1
        if maker.expires <= now:
            venue.remove(market, maker, BY_EXPIRY)
        elif maker.account is taker.account:
            meet_own(venue, market, taker, maker)
            if taker.stopped:
                break
        else:
            lots = tradable(market, taker, maker)
            if lots == 0:
                taker.spent_out = True
                break
            trade(venue, market, taker, maker, lots)
    unfinished = taker.lots > 0 and not taker.spent_out and book.crossed(limit)
    taker.limited = unfinished and taker.visits >= visits_max
    if taker.last:
        market.last = taker.last


def tradable(market: Market, taker: Taker, maker: Order) -> int:
    """Return the lots the taker takes of `maker` now; charges them to a quote budget."""
    lots = min(taker.lots, maker.visible)
    if taker.budget is None:
        return lots
    unit = market.notional(1, maker.price)
    unit += ceil_ppm(unit, taker.taker_rate)
    lots = min(lots, taker.budget_left // unit)
    taker.budget_left -= lots * unit
    return lots


def meet_own(venue: Venue, market: Market, taker: Taker, maker: Order) -> None:
    if taker.mode in (2, 3):
        taker.stopped = True
    if taker.mode in (1, 3):
        venue.remove(market, maker, SELF_TRADE)
    if taker.mode != 4:
        return
    lots = min(taker.lots, maker.visible)
    taker.lots -= lots
    taker.total -= lots
    taker.decremented += lots
    venue.unlock(market, maker, maker.left, maker.left - lots)
    maker.visible -= lots
    maker.total -= lots
    words = (maker.handle, maker.price, lots, maker.left, maker.account.index, 0)
    venue.emit(
        EVENT_REDUCED, words, market=market.number, side=maker.side, reason=SELF_TRADE
    )
    after_visible(venue, market, maker)


def after_visible(venue: Venue, market: Market, maker: Order) -> int:
    """Refresh or free a maker whose visible lots are gone; return the flags of its trade."""
    if maker.visible > 0:
        return 0
    if maker.hidden == 0:
        market.unlink(maker)
        market.free(maker, venue.ledger.table_slots)
        return 1
    maker.visible = min(maker.peak, maker.hidden)
    maker.hidden -= maker.visible
    maker.sequence = venue.ledger.sequence
    market.requeue(maker)
    return 2


def trade(venue: Venue, market: Market, taker: Taker, maker: Order, lots: int) -> None:
    quote = market.notional(lots, maker.price)
    fee = settle_maker(market, taker, maker, lots, quote)
    market.trader(maker.account).trade(maker.side, lots, quote, fee)
    market.count_trade(lots, quote)
    taker.lots -= lots
    taker.filled += lots
    taker.spent += quote
    taker.maker_fees += fee
    taker.last = maker.price
    maker.visible -= lots
    left = maker.left
    flags = after_visible(venue, market, maker)
    parties = maker.account.index | taker.account.index << 32
    words = (maker.handle, maker.price, lots, fee, parties, left)
    venue.emit(EVENT_TRADE, words, market=market.number, side=taker.side, flags=flags)


def settle_maker(market: Market, taker: Taker, maker: Order, lots: int, quote: int) -> int:
    """Move the maker's funds for a trade, before its lots are taken off; return its fee."""
    fee = charge(quote, max(maker.maker_rate, -taker.taker_rate))
    quotes = maker.account.balances[market.quote]
    bases = maker.account.balances[market.base]
    if maker.side == BUY:
        before, after = maker.left, maker.left - lots
        release = market.lock_of(maker, before) - market.lock_of(maker, after)
        fee = min(fee, release - quote)
        quotes.locked -= release
        quotes.available += release - quote - fee
        bases.available += lots * market.base_per_lot
    else:
        bases.locked -= lots * market.base_per_lot
        quotes.available += quote - fee
    return fee


def settle_taker(venue: Venue, market: Market, taker: Taker) -> None:
    if taker.filled == 0:
        return
    fee = ceil_ppm(taker.spent, taker.taker_rate)
    quotes = taker.account.balances[market.quote]
    bases = taker.account.balances[market.base]
    if taker.side == BUY:
        resting = taker.lots if taker.rests and not taker.stopped and not taker.limited else 0
        rest_lock = market.lock(BUY, resting, taker.price, taker.worst_rate)
        fee = min(fee, taker.need - taker.spent - rest_lock)
        quotes.available -= taker.spent + fee
        bases.available += taker.filled * market.base_per_lot
    else:
        bases.available -= taker.filled * market.base_per_lot
        quotes.available += taker.spent - fee
    house = venue.ledger.accounts[FEE_ACCOUNT]
    house.balances[market.quote].available += fee + taker.maker_fees
    market.trader(taker.account).trade(taker.side, taker.filled, taker.spent, fee)
    if taker.budget is not None:
        taker.budget -= taker.spent + fee
    left = taker.lots if taker.budget is None else 0
    words = (taker.handle, taker.spent, taker.filled, fee, taker.account.index, left)
    venue.emit(EVENT_TAKEN, words, market=market.number, side=taker.side)


def finish(venue: Venue, market: Market, taker: Taker) -> None:
    """Rest, cancel or end what the loop left of the taker."""
    if taker.stopped:
        reason = SELF_TRADE
    elif taker.limited:
        reason = BY_WORK_LIMIT
    else:
        reason = IOC
    if taker.budget is not None:
        cancel_taker(venue, market, taker, taker.budget, BUDGET if reason == IOC else reason)
    elif taker.lots > 0:
        if not taker.rests or reason != IOC:
            cancel_taker(venue, market, taker, taker.lots, reason)
        elif make_room(venue, market, taker):
            rest(venue, market, taker)
        else:
            cancel_taker(venue, market, taker, taker.lots, NO_ROOM)
    elif taker.decremented:
        cancel_taker(venue, market, taker, 0, SELF_TRADE)
    elif taker.order:
        market.free(taker.order, venue.ledger.table_slots)


def cancel_taker(venue: Venue, market: Market, taker: Taker, lots: int, reason: int) -> None:
    if taker.order:
        market.free(taker.order, venue.ledger.table_slots)
    words = (taker.handle, taker.price, lots, taker.client, taker.account.index, 0)
    venue.emit(EVENT_CANCELED, words, market=market.number, side=taker.side, reason=reason)


def make_room(venue: Venue, market: Market, taker: Taker) -> bool:
    """Evict until the taker has a slot and a page; say whether it has."""
    key = market.key(taker.side, taker.price)
    if taker.order is None and market.slots.none_left:
        if not evict(venue, market, taker.side, key):
            return False
    own = market.sides[taker.side]
    for _ in range(EVICTIONS_MAX):
        if key >> 6 in own.pages or not market.page_numbers.none_left:
            return True
        if not evict(venue, market, taker.side, key):
            return False
    return not market.page_numbers.none_left


def evict(venue: Venue, market: Market, side: int, key: int) -> bool:
    """Remove the order furthest from the touch, unless the newcomer is no better; say if so."""
    own, other = market.sides[side], market.sides[1 - side]
    if other.orders > own.orders:
        venue.remove(market, other.last_of_worst(), EVICTED)
        return True
    if key >= own.keys[-1]:
        return False
    venue.remove(market, own.last_of_worst(), EVICTED)
    return True


def rest(venue: Venue, market: Market, taker: Taker) -> None:
    visible = min(taker.lots, taker.peak) if taker.peak else taker.lots
    sequence = venue.ledger.sequence
    order = taker.order
    if order is None:
        slot, generation = market.new_slot()
        order = Order(
            taker.account, slot, generation, taker.side, taker.price, visible,
            taker.lots - visible, taker.peak, taker.total, taker.client, taker.expires,
            taker.stored_mode, taker.post, taker.maker_rate, taker.worst_rate, sequence,
        )  # fmt: skip
        market.pool[slot] = order
        table_slot = taker.client & (venue.ledger.table_slots - 1)
        taker.account.table[table_slot] = market.number, slot
        market.trader(taker.account).orders += 1
    else:
        order.price, order.total, order.sequence = taker.price, taker.total, sequence
        order.visible, order.hidden = visible, taker.lots - visible
        order.maker_rate, order.worst_rate = taker.maker_rate, taker.worst_rate
    lock = market.lock_of(order, order.left)
    balance = taker.account.balances[market.locked_asset(taker.side)]
    balance.available -= lock
    balance.locked += lock
    market.link(order)
    words = (order.handle, order.price, order.left, visible, taker.account.index, order.client)
    venue.emit(EVENT_RESTED, words, market=market.number, side=taker.side)


def post_only_price(venue: Venue, market: Market, side: int, price: int, post: int) -> int:
    """Return the price a post-only order takes, having removed the dead orders in its way."""
    book, limit = opposite(market, side, price)
    visits = 0
    while book.crossed(limit) and book.head().expires <= venue.ledger.time:
        visits += 1
        require(visits <= venue.ledger.parameters[VISITS_MAX], WORK_LIMIT)
        venue.remove(market, book.head(), BY_EXPIRY)
    if not book.crossed(limit):
        return price
    require(post == 2, POST_ONLY_CROSS)
    best = book.head().price
    slid = best - 1 if side == BUY else best + 1
    require(1 <= slid <= market.ticks - 2, POST_ONLY_CROSS)
    return slid


def scan_minimum(venue: Venue, market: Market, taker: Taker, minimum: int) -> int:
    """Refuse unless the loop would fill `minimum` lots at once; return the visits it took."""
    book, limit = opposite(market, taker.side, taker.price)
    visits_max = venue.ledger.parameters[VISITS_MAX] // 2
    visits = found = 0
    for key in book.keys:
        if key > limit:
            break
        refreshes = hidden = 0
        for maker in book.levels[key].values():
            visits += 1
            require(visits <= visits_max, WORK_LIMIT)
            if maker.expires <= venue.ledger.time:
                continue
            if maker.account is taker.account:
                if taker.mode == 1:
                    continue
                raise Refused(UNFILLABLE)
            found += maker.visible
            if found >= minimum:
                return visits
            if maker.hidden:
                refreshes += -(-maker.hidden // maker.peak)
                hidden += maker.hidden
        visits += refreshes
        require(visits <= visits_max, WORK_LIMIT)
        found += hidden
        if found >= minimum:
            return visits
    raise Refused(UNFILLABLE)
