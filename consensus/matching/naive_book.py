"""The naive twin's book: orders, levels, pages and slots of one market, in plain objects.

What lives here: the resting orders of a market and the one way each of them can leave it, as
`docs/protocol/{layout,matching}.md` state it, and the list of events. What must never live here:
the rules of meeting the book (`naive_match`) or of entering it (`naive_orders`).

Theory. A side keeps a sorted list of keys and, for each, an ordered dict of orders, oldest first:
that is price-time priority said in two containers. Slots and pages are numbers that are visible
outside (handles, page directory), so they are handed out as the documents say, lowest free first:
a heap of what came back, and below it nothing, above it what was never used.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from struct import Struct
from typing import Final

from consensus.accounts.naive import Account, Ledger, Position, ceil_ppm, saturate
from consensus.matching.naive_numbers import BUY, EVENT_CANCELED

EVENT: Final = Struct("<8q")
GENERATION_MAX: Final = (1 << 30) - 1


@dataclass(slots=True, eq=False)
class Order:
    """One resting order; `filled = total - visible - hidden`."""

    account: Account
    slot: int
    generation: int
    side: int
    price: int
    visible: int
    hidden: int
    peak: int
    total: int
    client: int
    expires: int
    mode: int
    post: int
    maker_rate: int
    worst_rate: int
    sequence: int

    @property
    def handle(self) -> int:
        return self.generation << 24 | self.slot

    @property
    def left(self) -> int:
        return self.visible + self.hidden


class Numbers:
    """Numbers 1 .. limit - 1, handed out lowest first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.fresh = 1
        self.returned: list[int] = []

    def take(self) -> int:
        if self.returned:
            return heappop(self.returned)
        self.fresh += 1
        return self.fresh - 1

    def give_back(self, number: int) -> None:
        heappush(self.returned, number)

    @property
    def used(self) -> int:
        return self.fresh - 1 - len(self.returned)

    @property
    def none_left(self) -> bool:
        return self.used == self.limit - 1


@dataclass(slots=True)
class Side:
    """One side of a book. `pages` maps `key >> 6` to (page number, levels on that page)."""

    keys: list[int] = field(default_factory=list)
    levels: dict[int, OrderedDict[int, Order]] = field(default_factory=dict)
    pages: dict[int, tuple[int, int]] = field(default_factory=dict)
    orders: int = 0

    def crossed(self, limit: int) -> bool:
        """Say whether the best level has a key at or below `limit`."""
        return bool(self.keys) and self.keys[0] <= limit

    def head(self) -> Order:
        """Return the oldest order of the best level, which must exist."""
        return next(iter(self.levels[self.keys[0]].values()))

    def last_of_worst(self) -> Order:
        """Return the newest order of the level furthest from the touch, which must exist."""
        return next(reversed(self.levels[self.keys[-1]].values()))


@dataclass
class Market:
    """One market: its terms, its book and who traded on it."""

    number: int
    region: int
    price_bits: int
    pool_bits: int
    page_bits: int
    base: int
    quote: int
    base_per_lot: int
    quote_per_tick_lot: int
    min_notional: int
    lots_max: int
    band: int
    reference: int
    trader_orders_max: int
    halted: bool = True
    sweep: int = 1
    last: int = 0
    trades: int = 0
    lots: int = 0
    volume: int = 0
    fees: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * 4)
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))
    pool: dict[int, Order] = field(default_factory=dict)
    generations: dict[int, int] = field(default_factory=dict)
    traders: dict[int, Position] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ticks = 1 << self.price_bits
        self.slots = Numbers(1 << self.pool_bits)
        self.page_numbers = Numbers(1 << self.page_bits)

    def key(self, side: int, price: int) -> int:
        return self.ticks - 1 - price if side == BUY else price

    def trader(self, account: Account) -> Position:
        return self.traders.setdefault(account.index, Position())

    def notional(self, lots: int, price: int) -> int:
        return lots * price * self.quote_per_tick_lot

    def lock(self, side: int, lots: int, price: int, worst_rate: int) -> int:
        """Return what `lots` resting at `price` lock: quote atoms of a buy, base of a sell."""
        if side == BUY:
            quote = lots * price * self.quote_per_tick_lot
            return quote + ceil_ppm(quote, worst_rate)
        return lots * self.base_per_lot

    def lock_of(self, order: Order, lots: int) -> int:
        return self.lock(order.side, lots, order.price, order.worst_rate)

    def locked_asset(self, side: int) -> int:
        return self.quote if side == BUY else self.base

    def link(self, order: Order) -> None:
        """Put `order` at the back of its level; its page must be there or be free."""
        side = self.sides[order.side]
        key = self.key(order.side, order.price)
        level = side.levels.get(key)
        if level is None:
            level = side.levels[key] = OrderedDict()
            insort(side.keys, key)
            page, levels = side.pages.get(key >> 6) or (self.page_numbers.take(), 0)
            side.pages[key >> 6] = page, levels + 1
        level[order.slot] = order
        side.orders += 1

    def unlink(self, order: Order) -> None:
        """Take `order` out of its queue, and out with its level and page if they end with it."""
        side = self.sides[order.side]
        key = self.key(order.side, order.price)
        level = side.levels[key]
        del level[order.slot]
        side.orders -= 1
        if level:
            return
        del side.levels[key]
        del side.keys[bisect_left(side.keys, key)]
        page, levels = side.pages.pop(key >> 6)
        if levels > 1:
            side.pages[key >> 6] = page, levels - 1
        else:
            self.page_numbers.give_back(page)

    def requeue(self, order: Order) -> None:
        """Put `order` behind the others of its level; the level and its page stay."""
        key = self.key(order.side, order.price)
        self.sides[order.side].levels[key].move_to_end(order.slot)

    def new_slot(self) -> tuple[int, int]:
        """Take the lowest free slot; return it and its next generation."""
        slot = self.slots.take()
        before = self.generations.get(slot, 0)
        self.generations[slot] = before + 1 if before < GENERATION_MAX else 1
        return slot, self.generations[slot]

    def free(self, order: Order, table_slots: int) -> None:
        """Give back the slot and the table entry of an order that is in no queue."""
        del self.pool[order.slot]
        self.slots.give_back(order.slot)
        del order.account.table[order.client & (table_slots - 1)]
        self.traders[order.account.index].orders -= 1

    def count_trade(self, lots: int, quote: int) -> None:
        self.trades = saturate(self.trades + 1)
        self.lots = saturate(self.lots + lots)
        self.volume = saturate(self.volume + quote)


@dataclass
class Venue:
    """The whole state, and the events since the block was opened."""

    ledger: Ledger
    markets: list[Market] = field(default_factory=list)
    events: bytearray = field(default_factory=bytearray)

    def emit(
        self,
        kind: int,
        words: tuple[int, int, int, int, int, int],
        *,
        market: int = 0,
        side: int = 0,
        reason: int = 0,
        flags: int = 0,
    ) -> None:
        head = kind | reason << 8 | side << 16 | flags << 20 | market << 32
        self.events += EVENT.pack(head, self.ledger.sequence, *words)

    def unlock(self, market: Market, order: Order, before: int, after: int) -> None:
        """Move what `before` lots locked beyond `after` lots from locked to available."""
        released = market.lock_of(order, before) - market.lock_of(order, after)
        balance = order.account.balances[market.locked_asset(order.side)]
        balance.locked -= released
        balance.available += released

    def remove(self, market: Market, order: Order, reason: int) -> None:
        """Take a resting order off the book, release its lock and report it."""
        left = order.left
        self.unlock(market, order, left, 0)
        market.unlink(order)
        market.free(order, self.ledger.table_slots)
        words = (order.handle, order.price, left, order.client, order.account.index, 0)
        self.emit(EVENT_CANCELED, words, market=market.number, side=order.side, reason=reason)
