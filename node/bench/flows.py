"""Seeded order flows for the matcher bench: normal, deep, sweep.

What lives here: making rows. A flow is generated against the core itself (it needs the handles that
the core issues and to know which orders live), then replayed from the recorded rows on a fresh
exchange, where the same rows give the same handles.

| flow   | resting | aggressive | size of an aggressive order | about          |
| ------ | ------- | ---------- | --------------------------- | -------------- |
| normal | 4k      | 30 %       | as a resting one            | 110 levels     |
| deep   | 100k+   | 10 %       | as a resting one            | 3,300 levels   |
| sweep  | 4k      | 20 %       | ten times                   | 2.5 events/op  |
"""

import math
import random
import struct
from dataclasses import dataclass
from typing import Final

from consensus import layout
from consensus.execute import operate, run_book
from consensus.state.memory import Memory, Sizes, empty_ledger

ROW: Final = struct.Struct("<q8q")
ROW_BYTES: Final = ROW.size
TRADERS: Final = 500
ACCOUNTS_MAX: Final = 1024
FUNDS: Final = 1 << 50
TABLE_SLOTS: Final = 1024


@dataclass(frozen=True)
class Shape:
    """What a flow looks like; `spread` is in ticks from the middle."""

    preload: int
    target: int
    aggressive: float
    size: int
    near: float
    spread: int


SHAPES: Final = {
    "normal": Shape(0, 4000, 0.30, 1, 0.05, 60),
    "deep": Shape(100_000, 150_000, 0.10, 1, 0.002, 2000),
    "sweep": Shape(0, 4000, 0.20, 10, 0.05, 60),
}


def exchange(pool_bits: int = 18, traders: int = TRADERS) -> Memory:
    """A market with fees, locks and funded traders (accounts 2 ... traders + 1), at time 1000."""
    sizes = Sizes(assets_max=4, markets_max=4, accounts_max=ACCOUNTS_MAX, table_slots=TABLE_SLOTS)
    parameters = (5000, 40000, 1_000_000, 1_000_000, 64)
    memory = Memory(empty_ledger(sizes, parameters, (0, 0, 1), (0, 0, 2), 1000))
    memory.reserve(memory.M[layout.END] + (24 << 20))
    symbols = [int.from_bytes(name, "big") for name in (b"USD", b"BTC")]
    shape = 1 | 24 << 16 | pool_bits << 24 | 12 << 32
    govern = [(layout.OP_LIST_ASSET, symbol, 2, 0) for symbol in symbols]
    govern.append((layout.OP_LIST_MARKET, shape, 1, 1, 0, 1 << 31, 1_000_000 << 20, 0))
    govern.extend((layout.OP_FEES, tier, 500, 100) for tier in range(layout.TIERS))
    govern.append((layout.OP_MARKET_STATUS, 0))
    memory.S[layout.S_KEY] = layout.KEY_GOVERNANCE
    for words in govern:
        operate(memory.M, memory.S, _row(*words), 0)
    memory.S[layout.S_KEY] = layout.KEY_DEPOSIT
    for trader in range(traders):
        _fund(memory, 1000 + trader)
    memory.take_events()
    memory.seal()
    return memory


def _fund(memory: Memory, name: int) -> None:
    for asset in (0, 1):
        newest = memory.M[layout.ACCOUNTS] - 1
        memory.S[layout.S_LOW] = newest
        memory.S[layout.S_ACCOUNT] = newest if asset else 0
        for n, word in enumerate((0, 0, name)):
            memory.S[layout.S_SIGNER + n] = word
        row = _row(layout.OP_DEPOSIT, 0, 0, name, asset, FUNDS)
        operate(memory.M, memory.S, row, 0)


def _row(*words: int) -> bytes:
    return struct.pack("<8q", *words, *[0] * (8 - len(words)))


class Generator:
    """Makes rows one by one on its own exchange and remembers which orders live."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.random = random.Random(seed)
        self.memory = exchange()
        self.rows = bytearray()
        self.live: dict[int, tuple[int, int, int]] = {}
        self.list: list[int] = []
        self.middle = float(1 << 20)
        self.placed = 0

    def emit(self, account: int, *words: int) -> None:
        """Run one row, record it, follow what became of the orders."""
        row = ROW.pack(account, *words, *[0] * (8 - len(words)))
        self.rows += row
        run_book(self.memory.M, self.memory.S, row, 0, ROW_BYTES)
        for event in struct.iter_unpack("<8q", self.memory.take_events()):
            kind = event[0] & 255
            if kind == layout.EVENT_RESTED:
                if event[2] not in self.live:
                    self.list.append(event[2])
                self.live[event[2]] = (event[6], event[3], event[4])
            elif kind == layout.EVENT_CANCELED or (
                kind == layout.EVENT_TRADE and event[0] & layout.TRADE_MAKER_DONE
            ):
                self.live.pop(event[2], None)

    def size(self, mean: int) -> int:
        """Geometric lots with the given mean."""
        return 1 + int(math.log(1.0 - self.random.random()) / math.log(1.0 - 1.0 / mean))

    def place(self, side: int, price: int, lots: int, tif: int = 0, display: int = 0) -> None:
        """A limit order of a random trader, who names its lowest free table slot."""
        account = self.random.randrange(2, TRADERS + 2)
        M = self.memory.M
        table = M[layout.AT_TABLES] + account
        slot = 0
        while M[table + slot * ACCOUNTS_MAX]:
            slot += 1
        self.placed += 1
        word = layout.OP_PLACE | side << 8 | tif << 12
        self.emit(account, word, self.placed * TABLE_SLOTS + slot, price, lots, display)

    def pick(self) -> int:
        """A random live handle, 0 if there is none."""
        while self.list:
            n = self.random.randrange(len(self.list))
            if self.list[n] in self.live:
                return self.list[n]
            self.list[n] = self.list[-1]
            self.list.pop()
        return 0

    def step(self) -> None:
        """One operation of the flow."""
        rng, shape = self.random, self.shape
        self.middle += rng.gauss(0, 0.15)
        cancel = min(0.5, 0.30 * (len(self.live) / shape.target) ** 0.5)
        draw = rng.random()
        handle = self.pick() if draw < cancel else 0
        if handle:
            account, price, lots = self.live[handle]
            if rng.random() < 0.1:
                away = rng.choice((0, 0, 0, -2, -1, 1, 2))
                total = max(1, lots // 2) if away == 0 else lots
                self.emit(account, layout.OP_AMEND, handle, price + away, total)
            else:
                self.emit(account, layout.OP_CANCEL, handle)
            return
        side, middle = rng.getrandbits(1), int(self.middle)
        if draw < cancel + shape.aggressive:
            reach = 200 if shape.size > 1 else 5
            price = middle + reach if side == layout.BUY else middle - reach
            self.place(side, price, self.size(50 * shape.size), layout.TIF_IOC)
            return
        away = 1 + int(math.log(1.0 - rng.random()) / math.log(1.0 - shape.near))
        price = middle - away if side == layout.BUY else middle + away
        lots = self.size(50)
        self.place(side, price, lots, 0, max(1, lots // 8) if rng.random() < 0.03 else 0)

    def preload(self) -> None:
        """Rest the orders that are there before the measured ones."""
        rng = self.random
        for _ in range(self.shape.preload):
            away = 1 + int(rng.random() ** 2 * self.shape.spread)
            side = rng.getrandbits(1)
            price = int(self.middle) - away if side == layout.BUY else int(self.middle) + away
            self.place(side, price, self.size(50))


def make(name: str, operations: int, seed: int) -> tuple[bytes, bytes]:
    """Rows to preload and rows to measure, each 72 bytes: account, then the operation row."""
    generator = Generator(SHAPES[name], seed)
    generator.preload()
    preload = bytes(generator.rows)
    generator.rows = bytearray()
    for n in range(operations):
        generator.step()
        if n % 10_000 == 0:
            generator.memory.seal()
    return preload, bytes(generator.rows)
