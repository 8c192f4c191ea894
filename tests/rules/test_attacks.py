"""The attacks of `rialto bench matcher --adversarial`, at full size and without a clock.

Each must end with the number that docs/protocol/matching.md gives, inside the budgets: visits of a
command, events and leaves that the scratch areas have room for. Interpreted, the queues are
shorter; the rules are the same. Side by side with the naive twin the same attacks run, smaller, in
`test_rule_06_and_07_work.py`.
"""

from collections import Counter
from typing import Final

import pytest
from core_rows import Event, events_of

from consensus import layout
from consensus.execute import housekeeping, run_book
from consensus.matching.operations import market_at
from consensus.state.memory import EVENTS_PER_OPERATION, LEAVES_PER_OPERATION, Memory
from node.bench import attacks
from node.bench.attacks import ATTACKERS, BEHIND, HONEST, MIDDLE, PAGES, ROW, SWEEP_LOTS
from node.bench.exchange import VISITS_MAX, exchange, next_block

Ends = dict[tuple[int, int], int]
EACH_FREE: Final = attacks.EACH  # a client id whose table slot no resting order has


class Market:
    """One market of the bench's exchange."""

    def __init__(self) -> None:
        self.memory: Memory = exchange(500)

    def run(self, rows: bytes) -> None:
        """Rows whose events do not matter, in blocks of their own."""
        at, M, S = 0, self.memory.M, self.memory.S
        while at < len(rows):
            at = run_book(M, S, rows, at, min(len(rows), at + 5000 * ROW.size))
            self.memory.take_events()
            next_block(M, S)

    def say(self, row: bytes) -> list[Event]:
        """One row; its events. What a command may cost at most is asserted here."""
        M, S = self.memory.M, self.memory.S
        next_block(M, S)
        assert run_book(M, S, row, 0, len(row)) == len(row) == ROW.size
        events = events_of(self.memory.take_events())
        assert len(events) <= EVENTS_PER_OPERATION
        assert S[layout.S_DIRTY] <= LEAVES_PER_OPERATION
        assert S[layout.S_VISITS] <= VISITS_MAX + 1
        return events

    def header(self, word: int) -> int:
        M = self.memory.M
        return int(M[market_at(M, 0) + word])


def counted(events: list[Event]) -> Ends:
    return dict(Counter((event.kind, event.reason) for event in events))


def honest_bid(price: int, bits: int = 0, client: int = 0) -> bytes:
    return attacks.place(HONEST[0], layout.BUY, price, 5, client, bits)


@pytest.fixture
def many(core_is_compiled: bool) -> int:
    """How many orders an attacker rests."""
    return 100_000 if core_is_compiled else 6_000


def test_a_fill_or_kill_over_all_own_orders_is_refused_after_half_the_visits(many: int) -> None:
    market = Market()
    market.run(attacks.asks(many, BEHIND))
    (row,) = attacks.fill_or_kill(1)
    before = bytes(market.memory.view())
    events = market.say(row)
    assert counted(events) == {(layout.EVENT_REFUSED, layout.WORK_LIMIT): 1}
    assert market.memory.S[layout.S_VISITS] == VISITS_MAX // 2 + 1
    after = memoryview(bytes(market.memory.view())).cast("q")
    was = memoryview(before).cast("q")
    changed = [n for n in range(layout.HEADER_WORDS) if was[n] != after[n]]
    assert set(changed) <= {layout.HEIGHT, layout.SEQUENCE}
    assert was[layout.HEADER_WORDS :] == after[layout.HEADER_WORDS :]


def test_icebergs_of_one_lot_use_up_the_takers_visits_and_no_more() -> None:
    market = Market()
    (burst,) = attacks.peak(1)
    market.run(burst[: -ROW.size])
    events = market.say(burst[-ROW.size :])
    assert counted(events) == {(layout.EVENT_TRADE, 0): SWEEP_LOTS, (layout.EVENT_TAKEN, 0): 1}
    icebergs = {event.words[0] for event in events if event.kind == layout.EVENT_TRADE}
    assert len(icebergs) == 80
    more = attacks.place(ATTACKERS[98], layout.BUY, MIDDLE, SWEEP_LOTS, 0, attacks.IOC)
    left = 80 * 64 - SWEEP_LOTS
    assert counted(market.say(more))[layout.EVENT_TRADE, 0] == left


def test_a_sweep_of_everything_takes_as_many_commands_as_it_has_thousands(many: int) -> None:
    market = Market()
    market.run(attacks.asks(many, MIDDLE))
    taker = attacks.place(ATTACKERS[99], layout.BUY, MIDDLE, many, EACH_FREE, attacks.IOC)
    left = many if many < 100_000 else many - attacks.EACH  # its own last thousand: self-trade
    for _ in range(left // SWEEP_LOTS):
        ends = counted(market.say(taker))
        assert ends[layout.EVENT_TRADE, 0] == SWEEP_LOTS == VISITS_MAX
        assert ends[layout.EVENT_CANCELED, layout.REASON_WORK_LIMIT] == 1
    market.say(taker)
    assert market.header(layout.BOOK_ORDERS + layout.SELL) == 0


def test_squatters_hold_no_page_that_an_honest_order_needs() -> None:
    market = Market()
    market.run(attacks.squat_before())
    assert market.header(layout.BOOK_PAGES) == PAGES == market.header(layout.BOOK_PAGES_MAX) - 1
    furthest = (MIDDLE // attacks.PAGE_TICKS - 2 * PAGES) * attacks.PAGE_TICKS
    events = market.say(honest_bid(MIDDLE))
    assert [(event.kind, event.reason) for event in events] == [
        (layout.EVENT_CANCELED, layout.REASON_EVICTED),
        (layout.EVENT_RESTED, 0),
    ]
    assert events[0].words[1] == furthest
    for row in attacks.squat(20):
        assert counted(market.say(row)) == {
            (layout.EVENT_CANCELED, layout.REASON_EVICTED): 1, (layout.EVENT_RESTED, 0): 1,
        }  # fmt: skip
    assert market.header(layout.BOOK_PAGES) == PAGES
    worse = attacks.place(HONEST[1], layout.BUY, 64, 1, 0)
    assert counted(market.say(worse)) == {(layout.EVENT_CANCELED, layout.REASON_NO_ROOM): 1}


def test_when_everything_expires_at_once_each_command_clears_its_share(many: int) -> None:
    market = Market()
    M, S = market.memory.M, market.memory.S
    market.run(attacks.asks(many, MIDDLE, 0, 0, M[layout.TIME] + 1))
    next_block(M, S, M[layout.TIME] + 1)
    housekeeping(M, S)
    swept = counted(events_of(market.memory.take_events()))
    assert swept == {(layout.EVENT_CANCELED, layout.REASON_EXPIRED): M[layout.SWEEP_ORDERS]}
    cleared = M[layout.SWEEP_ORDERS]
    bids = [(honest_bid(MIDDLE, attacks.IOC), layout.EVENT_CANCELED)]
    bids.append((honest_bid(MIDDLE, layout.POST_REJECT << 20), layout.EVENT_REFUSED))
    for n in range(many // VISITS_MAX):
        row, kind = bids[n % 2]
        ends = counted(market.say(row))
        gone = ends[layout.EVENT_CANCELED, layout.REASON_EXPIRED]
        cleared += gone
        if cleared < many:
            limit = layout.REASON_WORK_LIMIT if kind == layout.EVENT_CANCELED else layout.WORK_LIMIT
            assert gone == VISITS_MAX and ends[kind, limit] == 1
    market.say(bids[0][0])
    assert market.header(layout.BOOK_ORDERS + layout.SELL) == 0
    rested = counted(market.say(honest_bid(MIDDLE, client=1)))
    assert rested == {(layout.EVENT_RESTED, 0): 1}
