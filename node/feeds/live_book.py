"""One market's book as the tape has told it: levels by price, orders by handle.

What lives here: following events, levels that changed, a depth-limited book. What must never live
here: a look into the state. A leader's state runs ahead of its disk, and what is not on the disk
must not be told.

Theory. Every change of a visible level is an event, but for one number: an iceberg's next slice. It
is the smaller of the order's display and what is left of it, and the display is what was visible
when more than that rested. So the book needs the orders' display, visible and left; nothing else.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from sortedcontainers import SortedDict

from consensus import layout
from consensus.state.book import Book, Level
from consensus.state.records import Market

AMENDED: Final = layout.REASON_AMENDED
Levels: TypeAlias = "SortedDict[int, tuple[int, int]]"
"""Price -> visible lots, orders."""


@dataclass(slots=True)
class Resting:
    """A resting order. `display` 0: all of it is visible."""

    side: int
    price: int
    visible: int
    left: int
    display: int


class LiveBook:
    """Feed it the market's events in order; `changed` are the (side, price) touched since asked."""

    def __init__(self, market: Market | None = None) -> None:
        """Start empty, or from the records of a state that nothing runs ahead of."""
        self._orders: dict[int, Resting] = {}
        self._levels: tuple[Levels, Levels] = (SortedDict(), SortedDict())
        self.changed: set[tuple[int, int]] = set()
        self.last = 0
        for order in market.orders if market else ():
            generation = order.tag >> layout.TAG_GENERATION_SHIFT
            handle = generation << layout.HANDLE_SHIFT | order.slot
            left = order.visible + order.hidden
            self._add(handle, Resting(order.side, order.price, order.visible, left, order.peak))
        self.changed.clear()

    def hear(self, words: tuple[int, ...]) -> None:
        """One event of this market, as eight words."""
        kind = words[0] & 255
        if kind == layout.EVENT_TRADE:
            self.last = words[3]
            self._filled(words[2], words[4], words[7])
        elif kind == layout.EVENT_RESTED:
            self._remove(words[2])
            left, visible = words[4], words[5]
            display = visible if visible < left else 0
            side = words[0] >> 16 & 15
            self._add(words[2], Resting(side, words[3], visible, left, display))
        elif kind == layout.EVENT_CANCELED or (kind == layout.EVENT_TAKEN and words[7] == 0):
            self._remove(words[2])
        elif kind == layout.EVENT_REDUCED:
            self._reduced(words[2], words[4], words[5], words[0] >> 8 & 255 == AMENDED)

    def order(self, handle: int) -> Resting | None:
        """A resting order."""
        return self._orders.get(handle)

    def book(self, depth: int) -> Book:
        """The best `depth` levels of each side."""
        bids, asks = self._levels
        return Book(
            tuple(_level(price, bids[price]) for price in reversed(bids.keys()[-depth:])),
            tuple(_level(price, asks[price]) for price in asks.keys()[:depth]),
        )

    def level(self, side: int, price: int) -> tuple[int, int]:
        """Visible lots and orders at a price."""
        visible, orders = self._levels[side].get(price, (0, 0))
        return visible, orders

    def best(self, side: int) -> tuple[int, int, int] | None:
        """Price, visible lots and orders of the best level."""
        levels = self._levels[side]
        if not levels:
            return None
        price, (visible, orders) = levels.peekitem(-1 if side == layout.BUY else 0)
        return price, visible, orders

    def take_changed(self) -> list[tuple[int, int]]:
        """The (side, price) pairs touched since the last call, in order."""
        changed, self.changed = sorted(self.changed), set()
        return changed

    def _add(self, handle: int, order: Resting) -> None:
        self._orders[handle] = order
        self._shift(order, order.visible, 1)

    def _remove(self, handle: int) -> None:
        order = self._orders.pop(handle, None)
        if order is not None:
            self._shift(order, -order.visible, -1)

    def _filled(self, handle: int, lots: int, left: int) -> None:
        order = self._orders.get(handle)
        if order is None:
            return
        if left == 0:
            self._remove(handle)
            return
        order.left = left
        self._show(order, order.visible - lots)

    def _reduced(self, handle: int, lots: int, left: int, amended: bool) -> None:
        order = self._orders.get(handle)
        if order is None:
            return
        if left == 0:
            self._remove(handle)
            return
        hidden = order.left - order.visible
        order.left = left
        self._show(order, order.visible - (max(0, lots - hidden) if amended else lots))

    def _show(self, order: Resting, visible: int) -> None:
        """Set the visible lots; an empty slice is followed by the next one."""
        if visible == 0:
            visible = min(order.display, order.left) or order.left
        self._shift(order, visible - order.visible, 0)
        order.visible = visible

    def _shift(self, order: Resting, visible: int, orders: int) -> None:
        levels = self._levels[order.side]
        was_visible, was_orders = levels.get(order.price, (0, 0))
        now = (was_visible + visible, was_orders + orders)
        if now[1]:
            levels[order.price] = now
        else:
            del levels[order.price]
        self.changed.add((order.side, order.price))


def _level(price: int, level: tuple[int, int]) -> Level:
    return Level(price, *level)
