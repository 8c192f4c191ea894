"""The live book, fed with events only, is the book of the state; and so is what a channel's reader
makes of a snapshot and deltas."""

import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from random_traffic import LISTING, RandomTraffic
from signed_chain import FIRST_OWNER, OWNERS, Signed, SignedChain

from consensus import commands, layout
from consensus.authority import verify_groups
from consensus.exceptions import InvalidBlock, NotIncludable
from consensus.proposal import Proposal
from consensus.signatures import recover_many
from consensus.state.book import Book, Level, apply, checksum, compressed_book
from node.feeds.feeds import CHECKED_LEVELS, SNAPSHOT_LEVELS, Feeds
from node.tape import Happened, Tape

DEEP = 1 << 20
SEED = 20_261_125


class Reader:
    """A subscriber of one book: what the documentation tells a client to do, and no more."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self.sequence = 0
        self.messages: Counter[str] = Counter()

    def hear(self, body: bytes) -> None:
        message = msgspec.json.decode(body)
        if message.get("snapshot"):
            self.book = _book(message)
            self.messages["snapshot"] += 1
        else:
            assert self.book is not None, "deltas come after a snapshot"
            assert message["previous"] == self.sequence
            self.book = _changed(self.book, _book(message))
            self.messages["delta"] += 1
        self.sequence = message["sequence"]
        best = Book(self.book.bids[:CHECKED_LEVELS], self.book.asks[:CHECKED_LEVELS])
        assert checksum(best) == message["checksum"]


def _book(message: dict[str, Any]) -> Book:
    bids, asks = ([Level(*level) for level in message[side]] for side in ("bids", "asks"))
    bids.sort(reverse=True)
    return Book(tuple(bids), tuple(sorted(asks)))


def _changed(book: Book, change: Book) -> Book:
    sides = []
    for old, new in zip(book, change, strict=True):
        levels = {level.price: level for level in (*old, *new)}
        sides.append(sorted(level for level in levels.values() if level.orders))
    return Book(tuple(reversed(sides[0])), tuple(sides[1]))


class Run:
    """Random signed traffic through the core, its events into the feeds."""

    def __init__(self, seed: int) -> None:
        self.chain = SignedChain(rate_per_s=100_000, rate_burst=100_000, leaves_max=4000)
        self.traffic = RandomTraffic(self.chain, seed)
        self.tape = Tape()
        self.feeds = Feeds(self.chain.leader, self.tape, 1_000)
        self.seen: Counter[str] = Counter()

    @property
    def markets(self) -> int:
        return int(self.chain.leader.memory.M[layout.MARKETS])

    def block(self, groups: int) -> None:
        chain, traffic = self.chain, self.traffic
        chance = traffic.chance
        messages = b"".join(traffic.message() for _ in range(chance.choice((0, 0, 1))))
        signed = [traffic.group() for _ in range(groups)] + self.reductions()
        verified = verify_groups(chain.leader, signed, recover_many)
        opening = chain.opening(chance.randrange(1, 900))
        proposal = Proposal(chain.leader, opening, messages, LISTING)
        pieces = [proposal.opening_events]
        for group in verified:
            assert group is not None
            try:
                pieces.append(proposal.add(group))
            except (NotIncludable, InvalidBlock) as error:
                self.seen[f"E{error.number}"] += 1
        _, outcome = proposal.seal()
        assert b"".join(pieces) == outcome.events
        for piece in pieces:
            self.tape.put(Happened(chain.leader.head.height, chain.leader.head.time, piece))
        traffic.learn(outcome.events)
        for at in range(0, len(outcome.events), 64):
            head = int.from_bytes(outcome.events[at : at + 8], "little")
            self.seen[f"event {head & 255} {head >> 8 & 255}"] += 1

    def reductions(self) -> list[Signed]:
        """An order that rests, amended at its own price, most often to less."""
        live = [
            (account, market, handle, order.price)
            for account, market, handle in self.traffic.handles[-40:]
            if (order := self.feeds.markets[market].live.order(handle)) is not None
        ]
        if not live:
            return []
        account, market, handle, price = self.traffic.chance.choice(live)
        total = self.traffic.chance.randrange(1, 500)
        return [self.chain.group(account, [commands.amend(market, handle, price, total)])]

    def agree(self) -> None:
        for market in range(self.markets):
            live = self.feeds.markets[market].live.book(DEEP)
            assert live == compressed_book(self.chain.leader.memory, market, DEEP)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_live_book_is_the_book_of_the_state_after_every_block(
    seed: int, long_run: bool
) -> None:
    print("seed", SEED + seed)
    run = Run(SEED + seed)
    for _ in range(3000 if long_run else 150):
        run.block(run.traffic.chance.randrange(8))
        run.agree()
    for kind, reason in (
        (layout.EVENT_TRADE, 0),
        (layout.EVENT_RESTED, 0),
        (layout.EVENT_CANCELED, layout.REASON_EXPIRED),
        (layout.EVENT_CANCELED, layout.REASON_SELF_TRADE),
        (layout.EVENT_REDUCED, layout.REASON_AMENDED),
    ):
        assert run.seen[f"event {kind} {reason}"] > 0, (kind, reason)
    assert run.markets > 1, "a market was listed while the feeds ran"


def test_a_feed_that_starts_late_has_the_same_book() -> None:
    run = Run(SEED)
    for _ in range(40):
        run.block(8)
    again = Feeds(run.chain.leader, Tape(), 1_000)
    for market, feed in run.feeds.markets.items():
        assert again.markets[market].live.book(DEEP) == feed.live.book(DEEP)
    run.tape.read_with(again.hear)
    for _ in range(40):
        run.block(8)
        for market, feed in run.feeds.markets.items():
            assert again.markets[market].live.book(DEEP) == feed.live.book(DEEP)


def test_a_snapshot_and_deltas_lead_to_the_book_whatever_the_ticks_are() -> None:
    run = Run(SEED + 10)
    chance = random.Random(SEED)
    readers: list[Reader] = []
    for n in range(200):
        if n % 20 == 0:
            readers.append(Reader())
            run.feeds.markets[0].book.listen(readers[-1].hear, None)
        run.block(chance.randrange(6))
        if chance.random() < 0.5:
            run.feeds.tick()
            for reader in readers:
                assert reader.book == compressed_book(run.chain.leader.memory, 0, DEEP)
                assert reader.sequence == run.feeds.markets[0].book.sequence
    assert readers[0].messages["delta"] > 50
    assert all(reader.messages["snapshot"] == 1 for reader in readers)


def test_the_touch_is_sent_when_it_changes_and_only_then() -> None:
    run = Run(SEED + 20)
    heard: list[dict[str, Any]] = []
    run.feeds.markets[0].bbo.listen(lambda body: heard.append(msgspec.json.decode(body)), None)
    changes = 0
    for _ in range(150):
        before = [run.feeds.markets[0].live.best(side) for side in (0, 1)]
        run.block(3)
        run.feeds.tick()
        now = [run.feeds.markets[0].live.best(side) for side in (0, 1)]
        changes += before != now
        touch = [tuple(heard[-1][side]) if heard[-1][side] else None for side in ("bid", "ask")]
        assert touch == now
    assert len(heard) == 1 + changes > 20


def test_trades_and_orders_reach_their_channels_in_order() -> None:
    run = Run(SEED + 30)
    trades: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    run.feeds.markets[0].trades.listen(lambda body: trades.append(msgspec.json.decode(body)), None)
    account = run.feeds.account(FIRST_OWNER)
    assert account is not None
    account.listen(lambda body: orders.append(msgspec.json.decode(body)), None)
    for _ in range(100):
        run.block(6)
    assert len(trades) == run.seen[f"event {layout.EVENT_TRADE} 0"] > 50
    for channel in (trades, orders):
        assert [one["sequence"] - one["previous"] for one in channel] == [1] * len(channel)
        operations = [one["operation"] for one in channel]
        assert operations == sorted(operations)
    for one in orders:
        named = [one.get(name) for name in ("account", "maker", "taker", "to")]
        assert FIRST_OWNER in named, one
    mine = [one for one in orders if one["event"] == "trade"]
    seen = [one for one in trades if FIRST_OWNER in (one["maker"], one["taker"])]
    assert [one["operation"] for one in mine] == [one["operation"] for one in seen]


def test_a_deep_book_is_told_up_to_the_depth_of_a_snapshot() -> None:
    chain = SignedChain(rate_per_s=1_000_000, rate_burst=1_000_000)
    tape = Tape()
    feeds = Feeds(chain.leader, tape, 1_000)
    assert SNAPSHOT_LEVELS >= CHECKED_LEVELS
    for n in range(OWNERS):
        rows = [commands.place(0, n % 2, 100 + k, 1900 + 200 * (n % 2) + k, 5) for k in range(16)]
        outcome = chain.step([chain.group(FIRST_OWNER + n, rows)])
        tape.put(Happened(chain.leader.head.height, chain.leader.head.time, outcome.events))
    book = feeds.markets[0].live.book(3)
    assert book == compressed_book(chain.leader.memory, 0, 3)
    change = feeds.markets[0].live.book(DEEP)
    assert apply(Book((), ()), change) == compressed_book(chain.leader.memory, 0, DEEP)
