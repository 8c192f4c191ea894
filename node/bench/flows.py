"""Seeded order flows for the matcher bench: normal, deep, sweep.

What lives here: making rows. What must never live here: a clock. A flow is generated against the
core itself (it needs the handles that the core issues and must know which orders live), then
replayed from the recorded rows on a fresh exchange, where the same rows give the same handles.

Prices walk at random around the middle of the domain. A resting order lies a geometric distance
from the middle, an aggressive one is immediate-or-cancel through the middle. Cancels take a random
live order; one in ten amends instead. The rate of cancels rises with the root of the number that
rest, so a flow settles near its target; the shares below are those at the target.

| flow   | resting | aggressive      | cancel or amend | mean lots, resting and aggressive |
| ------ | ------- | --------------- | --------------- | --------------------------------- |
| normal | 4k      | 30 %            | 30 %            | 50, 50                            |
| deep   | 150k    | 10 %            | 40 %            | 50, 50                            |
| sweep  | 4k      | 10 %, 200 ticks | 5 %             | 50, 400                           |
"""

import heapq
import math
import random
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from consensus import layout
from consensus.execute import run_book
from consensus.state.memory import Memory
from node.bench.exchange import FIRST_TRADER, TABLE_SLOTS, Start, exchange, next_block

ROW: Final = struct.Struct("<q8q")
ROW_BYTES: Final = ROW.size
EVENT: Final = struct.Struct("<8q")
TRADERS: Final = 500
BLOCK: Final = 10_000
"""Messages between two block boundaries."""
MIDDLE: Final = 1 << 20
AMEND_SHARE: Final = 0.1
ICEBERG_SHARE: Final = 0.03


@dataclass(frozen=True)
class Shape:
    """What a flow looks like.

    `near` is the chance of each tick nearer to the middle, `spread` the ticks over which the
    preload lies, `reach` how far through the middle an aggressive order goes.
    """

    target: int
    preload: int
    aggressive: float
    cancel: float
    lots: int
    aggressive_lots: int
    near: float
    spread: int
    reach: int


SHAPES: Final = {
    "normal": Shape(4_000, 4_000, 0.30, 0.30, 50, 50, 0.05, 60, 5),
    "deep": Shape(150_000, 130_000, 0.10, 0.40, 50, 50, 0.002, 2000, 5),
    "sweep": Shape(4_000, 4_000, 0.10, 0.05, 50, 400, 0.05, 60, 200),
}


@dataclass(frozen=True)
class Flow:
    """Rows of `ROW_BYTES`: account, then the operation row; they begin at `start`."""

    name: str
    start: Start
    rows: bytes
    messages: int
    events: int
    resting: tuple[int, int]
    levels: int
    refusals: dict[int, int]

    def describe(self) -> str:
        low, high = self.resting
        return (
            f"{self.name}: {self.messages:,} messages, {low:,} to {high:,} resting, "
            f"{self.levels:,} levels, {self.events / self.messages:.2f} events per message, "
            f"refusals by number {self.refusals or 'none'}"
        )


@dataclass
class Order:
    """A live order as its owner knows it."""

    account: int
    client: int
    price: int
    lots: int


@dataclass
class Book:
    """Which orders live, by the events; a random one can be picked."""

    orders: dict[int, Order] = field(default_factory=dict)
    handles: list[int] = field(default_factory=list)

    def add(self, handle: int, order: Order) -> None:
        if handle not in self.orders:
            self.handles.append(handle)
        self.orders[handle] = order

    def pick(self, rng: random.Random) -> int:
        """A random live handle, 0 if there is none; the dead are dropped when met."""
        while self.handles:
            n = rng.randrange(len(self.handles))
            if self.handles[n] in self.orders:
                return self.handles[n]
            self.handles[n] = self.handles[-1]
            self.handles.pop()
        return 0


def is_end(event: tuple[int, ...]) -> bool:
    """Whether the order of word 2 is gone after this event."""
    kind = event[0] & 255
    if kind == layout.EVENT_TRADE:
        return event[0] & layout.TRADE_MAKER_DONE != 0
    # An amended order that crossed and was filled has no other last event.
    return kind == layout.EVENT_CANCELED or (kind == layout.EVENT_TAKEN and event[7] == 0)


class Generator:
    """Makes rows one by one on its own exchange and remembers which orders live."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.random = random.Random(seed)
        self.memory: Memory = exchange(TRADERS)
        self.rows = bytearray()
        self.book = Book()
        self.free = {
            account: list(range(TABLE_SLOTS))
            for account in range(FIRST_TRADER, FIRST_TRADER + TRADERS)
        }
        self.middle = float(MIDDLE)
        self.placed = 0
        self.events = 0
        self.refusals: Counter[int] = Counter()

    def emit(self, account: int, *words: int) -> None:
        """Run one row, record it, follow what became of the orders."""
        row = ROW.pack(account, *words, *[0] * (8 - len(words)))
        if not len(self.rows) // ROW_BYTES % BLOCK:
            next_block(self.memory.M, self.memory.S)
        self.rows += row
        if run_book(self.memory.M, self.memory.S, row, 0, ROW_BYTES) != ROW_BYTES:
            raise RuntimeError("the scratch area is full in the middle of a block")
        for event in EVENT.iter_unpack(self.memory.take_events()):
            self.events += 1
            kind = event[0] & 255
            if kind == layout.EVENT_RESTED:
                self.book.add(event[2], Order(event[6], event[7], event[3], event[4]))
            elif kind == layout.EVENT_REFUSED:
                self.refusals[event[0] >> 8 & 255] += 1
            elif is_end(event):
                self.forget(event[2])

    def forget(self, handle: int) -> None:
        """The order is gone, and its table slot is free again."""
        order = self.book.orders.pop(handle, None)
        if order is not None:
            heapq.heappush(self.free[order.account], order.client % TABLE_SLOTS)

    def geometric(self, mean: float) -> int:
        """1, 2, ... with the given mean."""
        return 1 + int(math.log(1.0 - self.random.random()) / math.log(1.0 - 1.0 / mean))

    def place(self, side: int, price: int, lots: int, tif: int = 0, display: int = 0) -> None:
        """A limit order of a random trader, who names the lowest free slot of its table."""
        account = self.random.randrange(FIRST_TRADER, FIRST_TRADER + TRADERS)
        slot = heapq.heappop(self.free[account])
        self.placed += 1
        client = self.placed * TABLE_SLOTS + slot
        self.emit(account, layout.OP_PLACE | side << 8 | tif << 12, client, price, lots, display)
        handle = self.book.handles[-1] if self.book.handles else 0
        order = self.book.orders.get(handle)
        if order is None or order.client != client:
            heapq.heappush(self.free[account], slot)
        else:
            order.lots = lots

    def step(self) -> None:
        """One message of the flow."""
        rng, shape = self.random, self.shape
        self.middle += rng.gauss(0, 0.15)
        cancel = min(0.5, shape.cancel * (len(self.book.orders) / shape.target) ** 0.5)
        draw = rng.random()
        handle = self.book.pick(rng) if draw < cancel else 0
        if handle:
            self.change(handle)
            return
        side, middle = rng.getrandbits(1), int(self.middle)
        ahead = 1 if side == layout.BUY else -1
        if draw < cancel + shape.aggressive:
            lots = self.geometric(shape.aggressive_lots)
            self.place(side, middle + ahead * shape.reach, lots, layout.TIF_IOC)
            return
        away = self.geometric(1 / shape.near)
        lots = self.geometric(shape.lots)
        display = max(1, lots // 8) if rng.random() < ICEBERG_SHARE else 0
        self.place(side, middle - ahead * away, lots, 0, display)

    def change(self, handle: int) -> None:
        """Cancel an order, or halve it in place, or move it a tick or two."""
        rng, order = self.random, self.book.orders[handle]
        if rng.random() >= AMEND_SHARE:
            self.emit(order.account, layout.OP_CANCEL, handle)
            return
        away = rng.choice((0, 0, 0, -2, -1, 1, 2))
        total = order.lots if away else max(1, order.lots // 2)
        self.emit(order.account, layout.OP_AMEND, handle, order.price + away, total)
        if (amended := self.book.orders.get(handle)) is not None:
            amended.lots = total

    def preload(self) -> None:
        """Rest the orders that are there before the measured ones."""
        rng, middle = self.random, int(self.middle)
        for _ in range(self.shape.preload):
            away = 1 + int(rng.random() ** 2 * self.shape.spread)
            side = rng.getrandbits(1)
            price = middle - away if side == layout.BUY else middle + away
            self.place(side, price, self.geometric(self.shape.lots))


def make(name: str, messages: int, seed: int) -> Flow:
    """The flow `name` of `messages` messages, on its preloaded exchange."""
    generator = Generator(SHAPES[name], seed)
    generator.preload()
    memory = generator.memory
    next_block(memory.M, memory.S)
    start = Start(memory)
    generator.rows = bytearray()
    generator.events = 0
    generator.refusals.clear()
    low = high = len(generator.book.orders)
    for _ in range(messages):
        generator.step()
        low, high = min(low, len(generator.book.orders)), max(high, len(generator.book.orders))
    return Flow(
        name=name,
        start=start,
        rows=bytes(generator.rows),
        messages=messages,
        events=generator.events,
        resting=(low, high),
        levels=len({order.price for order in generator.book.orders.values()}),
        refusals=dict(sorted(generator.refusals.items())),
    )
