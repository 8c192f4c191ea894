"""A market's book kept beside the node's, and checked against it with every message.

What lives here: levels by price, their checksum. What must never live here: a connection.

Theory. Each delta carries the CRC-32 of the best 25 levels of either side as they are behind it.
A book that disagrees is thrown away and asked for again; if that happens three times in a row, the
node or this code is broken, and saying so is better than a fourth time.
"""

from collections.abc import AsyncIterator
from typing import Any, Final, TypeAlias

from sortedcontainers import SortedDict

from consensus.state.book import Book, Level, checksum
from node.client.exceptions import BOOK_DIFFERS, ClientError
from node.client.feed import Feed, Gap, Snapshot

CHECKED_LEVELS: Final = 25
TRIES_MAX: Final = 3

Levels: TypeAlias = "SortedDict[int, tuple[int, int]]"


class LocalBook:
    """Iterate over `changes`; between them `book` and `best` are the node's, as of `operation`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._levels: tuple[Levels, Levels] = (SortedDict(), SortedDict())
        self._failures = 0
        self.operation: int | None = None
        self.is_whole = False
        self.snapshots = 0
        self.checked = 0

    def book(self, depth: int) -> Book:
        """The best `depth` levels of each side."""
        bids, asks = self._levels
        return Book(
            tuple(Level(price, *bids[price]) for price in reversed(bids.keys()[-depth:])),
            tuple(Level(price, *asks[price]) for price in asks.keys()[:depth]),
        )

    def best(self, side: int) -> Level | None:
        """The best level of a side, 0 bids, 1 asks."""
        levels = self._levels[side]
        if not levels:
            return None
        price, (visible, orders) = levels.peekitem(-1 if side == 0 else 0)
        return Level(price, visible, orders)

    async def changes(self) -> AsyncIterator[None]:
        """Once after everything that came together, and only while the book is whole."""
        while True:
            for item in await self._feed.read():
                if isinstance(item, Gap):
                    self.is_whole = False
                elif isinstance(item, Snapshot):
                    self._levels = (SortedDict(), SortedDict())
                    self.is_whole = True
                    self.snapshots += 1
                    self._merge(item.body)
                elif self.is_whole:
                    self.operation = item.operation
                    self._merge(item.body)
            if self.is_whole:
                yield

    def _merge(self, body: dict[str, Any]) -> None:
        for levels, changed in zip(self._levels, (body["bids"], body["asks"]), strict=True):
            for price, visible, orders in changed:
                if orders:
                    levels[price] = (visible, orders)
                else:
                    levels.pop(price, None)
        if checksum(self.book(CHECKED_LEVELS)) == body["checksum"]:
            self._failures = 0
            self.checked += 1
            return
        self._failures += 1
        self.is_whole = False
        if self._failures >= TRIES_MAX:
            text = f"the book differs from the node's {TRIES_MAX} times in a row"
            raise ClientError(BOOK_DIFFERS, f"{text}; report it, with both versions")
        self._feed.restart()
