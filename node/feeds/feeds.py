"""All channels of a node, fed from the tape.

What lives here: which event goes to which channel, and the rhythm of the books. What must never
live here: a subscriber's socket, or an event that is not on the tape.

Books are sent every 10 ms at most: a hundred changes of a level in that time are one line, and a
slow reader has less to read. Trades, orders and blocks go out as they come.
"""

from collections import deque
from typing import Final

import trio

from consensus import layout
from consensus.chain import State
from consensus.state.book import Book, checksum
from consensus.state.records import read_records
from node.feeds.channel import Channel
from node.feeds.live_book import LiveBook
from node.rpc.events import EVENT, event_json
from node.tape import BlockKept, Certified, Entry, Happened, Tape

TICK_S: Final = 0.01
CHECKED_LEVELS: Final = 25
SNAPSHOT_LEVELS: Final = 1000
ACCOUNT_CHANNELS_MAX: Final = 4096
ACCOUNT_RING: Final = 512
TRADES_KEPT: Final = 1000
FILLS_KEPT: Final = 10_000


class MarketFeed:
    """One market: its book, and the channels `book`, `bbo` and `trades`."""

    def __init__(self, market: int, book: LiveBook, start: int, operation: int) -> None:
        self.market: Final = market
        self.live: Final = book
        self.book = Channel(start, self._snapshot)
        self.bbo = Channel(start, self._touch)
        self.trades = Channel(start)
        self.recent: deque[dict[str, object]] = deque(maxlen=TRADES_KEPT)
        self.heard = operation  # the last operation whose events the book contains
        self._best: tuple[object, object] = (book.best(0), book.best(1))

    def hear(self, words: tuple[int, ...], time: int) -> None:
        self.live.hear(words)
        self.heard = words[1]
        if words[0] & 255 == layout.EVENT_TRADE:
            trade = event_json(words) | {"time": time}
            self.recent.append(trade)
            self.trades.put(words[1], trade)

    def tick(self) -> None:
        """Send what changed since the last tick."""
        changed = self.live.take_changed()
        if not changed:
            return
        sides: tuple[list[list[int]], list[list[int]]] = ([], [])
        for side, price in changed:
            sides[side].append([price, *self.live.level(side, price)])
        message = {"market": self.market, "bids": sides[0], "asks": sides[1]}
        self.book.put(self.heard, message | {"checksum": self.checksum()})
        best = (self.live.best(0), self.live.best(1))
        if best != self._best:
            self._best = best
            self.bbo.put(self.heard, self._touch())

    def checksum(self) -> int:
        """CRC-32 of the canonical bytes of the best 25 levels of each side."""
        return checksum(self.live.book(CHECKED_LEVELS))

    def _snapshot(self) -> dict[str, object]:
        return {
            "market": self.market,
            **book_json(self.live.book(SNAPSHOT_LEVELS)),
            "checksum": self.checksum(),
        }

    def _touch(self) -> dict[str, object]:
        bid, ask = self.live.best(0), self.live.best(1)
        return {"market": self.market, "bid": bid, "ask": ask, "last": self.live.last}


def book_json(book: Book) -> dict[str, object]:
    return {"bids": [list(level) for level in book.bids], "asks": [list(a) for a in book.asks]}


class Feeds:
    """Every channel. `run` ticks; reading the tape needs no task."""

    def __init__(self, state: State, tape: Tape, now_ms: int) -> None:
        """Start from a state that nothing runs ahead of: before any role runs."""
        start = now_ms * 1000
        operation = state.head.sequence
        records = read_records(memoryview(state.memory.M))
        self.markets = {
            number: MarketFeed(number, LiveBook(market), start, operation)
            for number, market in enumerate(records.markets)
        }
        self.blocks = Channel(start)
        self.certificates = Channel(start)
        self.head = operation
        self.accounts: dict[int, Channel] = {}
        self.fills: dict[int, deque[dict[str, object]]] = {}
        self._start = start
        tape.read_with(self.hear)

    async def run(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        for feed in self.markets.values():
            feed.tick()

    def account(self, account: int) -> Channel | None:
        """The channel of an account's orders; None if there are too many channels already."""
        channel = self.accounts.get(account)
        if channel is None and len(self.accounts) < ACCOUNT_CHANNELS_MAX:
            channel = self.accounts[account] = Channel(self._start, ring=ACCOUNT_RING)
        return channel

    def hear(self, entry: Entry) -> None:
        """One entry of the tape."""
        if isinstance(entry, Happened):
            for words in EVENT.iter_unpack(entry.events):
                self._event(words, entry.time)
        elif isinstance(entry, BlockKept):
            header = entry.block.header
            self.head = header.sequence
            block = {"height": header.height, "hash": "0x" + entry.hash.hex(),
                     "time": header.time, "state_root": "0x" + header.state_root.hex(),
                     "operations": header.commands}  # fmt: skip
            self.blocks.put(header.sequence, block)
        elif isinstance(entry, Certified):
            subject = entry.certificate.subject
            block = {"height": subject.height, "hash": "0x" + subject.hash.hex()}
            self.certificates.put(self.head, block)

    def _event(self, words: tuple[int, ...], time: int) -> None:
        kind = words[0] & 255
        if kind <= layout.EVENT_REDUCED:
            self.markets[words[0] >> 32 & 65535].hear(words, time)
        elif kind == layout.EVENT_SET and words[0] >> 20 & 4095 == layout.OP_LIST_MARKET:
            market = len(self.markets)  # numbers are given in order
            self.markets[market] = MarketFeed(market, LiveBook(), self._start, words[1])
        for account in dict.fromkeys(accounts_of(words)):
            self._tell(account, words, time)

    def _tell(self, account: int, words: tuple[int, ...], time: int) -> None:
        kind = words[0] & 255
        if kind in (layout.EVENT_TRADE, layout.EVENT_TAKEN):
            fills = self.fills.setdefault(account, deque(maxlen=FILLS_KEPT))
            fills.append(event_json(words) | {"time": time})
        channel = self.accounts.get(account)
        if channel is not None:  # without a listener too: one may come back and resume
            channel.put(words[1], event_json(words) | {"time": time})


def accounts_of(words: tuple[int, ...]) -> tuple[int, ...]:
    """The accounts that an event is about."""
    kind = words[0] & 255
    if kind == layout.EVENT_TRADE:
        return words[6] & 0xFFFFFFFF, words[6] >> 32
    if kind == layout.EVENT_TRANSFERRED:
        return words[2], words[6]
    if kind in (layout.EVENT_REFUSED, layout.EVENT_DEPOSITED):
        return (words[2],)
    if kind == layout.EVENT_WITHDRAWN:
        return (words[4] & 0xFFFFFFFF,)
    if kind == layout.EVENT_SET:
        return ()
    return (words[6],)
