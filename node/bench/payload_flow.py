"""Seeded flows of command blocks as the payload sees them: a venue of makers, and an adversary.

What lives here: the flows whose bytes per command are measured and promised. What must never live
here: a book, or the coding.

Both: 1000 accounts, 8 markets, groups of 1 to 8 of one session or owner key, expiry about a minute
after the block, cancels half by handle and half by client id, of orders that may be older than the
batch. Typical: half the groups are from 50 makers, one market in a group, prices around a walking
middle, ids that count up. Hostile: prices and lots uniform below 2^20, random 53-bit ids, markets
random in each operation, accounts uniform.

The flow keeps no book: it knows only what a client would, its live orders with their handles. Slots
are given out lowest first and reused with the next generation, and fills free some, as in a market.
"""

import random
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from math import exp
from struct import pack
from typing import Final

from consensus.da.payload import BlockBody
from consensus.layout import OP_CANCEL, OP_CANCEL_CLIENT, OP_PLACE

ACCOUNTS: Final = 1000
MAKERS: Final = 50
MARKETS: Final = 8
BLOCK_COMMANDS: Final = 1000
BLOCK_MS: Final = 100
START_MS: Final = 1_790_000_000_000


def lots_of(rng: random.Random) -> int:
    """A third round, a quarter in hundreds, the rest log-normal and odd."""
    chance = rng.random()
    if chance < 0.35:
        return rng.choice((1, 2, 5, 10, 20, 50, 100)) * 1000
    if chance < 0.6:
        return rng.randrange(1, 400) * 100
    return max(1, int(exp(rng.gauss(8.5, 1.6))))


class Flow:
    """55 % place, 42 % cancel, 3 % market orders, in groups of 1 to 8, with session keys."""

    def __init__(self, seed: int, is_hostile: bool = False) -> None:
        self.rng = random.Random(seed)
        self.is_hostile = is_hostile
        self.mids = [self.rng.randrange(50_000, 500_000) for _ in range(MARKETS)]
        self.free = [list(range(1, 1 << 15)) for _ in range(MARKETS)]
        for slots in self.free:
            heapify(slots)
        self.generations = [dict[int, int]() for _ in range(MARKETS)]
        self.live: list[list[tuple[int, int, int]]] = [[] for _ in range(ACCOUNTS + 2)]
        self.clients = [self.rng.randrange(1, 100_000) for _ in range(ACCOUNTS + 2)]
        self.nonces = [self.rng.randrange(1, 100_000) for _ in range(ACCOUNTS + 2)]
        self.time = START_MS

    def blocks(self, count: int) -> list[BlockBody]:
        return list(islice(self._blocks(), count))

    def _blocks(self) -> Iterator[BlockBody]:
        while True:
            self.time += BLOCK_MS
            commands, groups, operations = [], 0, 0
            while operations < BLOCK_COMMANDS:
                rows = self._group(min(self.rng.randrange(1, 9), BLOCK_COMMANDS - operations))
                commands += rows
                operations += len(rows) - 1
                groups += 1
            number = 20_000_000 + self.time // 12_000
            yield BlockBody(
                self.time, 0, 0, number, number.to_bytes(32, "big"), number * 12,
                b"", b"".join(commands), self.rng.randbytes(65 * groups),
            )  # fmt: skip

    def _group(self, count: int) -> list[bytes]:
        rng = self.rng
        if rng.random() < 0.5 and not self.is_hostile:
            account = 2 + rng.randrange(MAKERS)
        else:
            account = 2 + rng.randrange(ACCOUNTS)
        self.nonces[account] += 1
        market = rng.randrange(MARKETS)
        expires = self.time + 60_000 - rng.randrange(200)
        key = 1 if account % 10 else 0
        header = (count << 8 | key << 16, account, self.nonces[account], expires, 1, 2, 3, 0)
        return [pack("<8q", *header), *(self._row(account, market) for _ in range(count))]

    def _row(self, account: int, market: int) -> bytes:
        rng, chance = self.rng, self.rng.random()
        if self.is_hostile:
            market = rng.randrange(MARKETS)
        if 0.55 <= chance < 0.97 and self.live[account]:
            return self._cancel(account)
        if rng.random() < 0.002:
            self.mids[market] += rng.choice((-1, 1))
        self.clients[account] += 1
        side = rng.randrange(2)
        away = int(rng.gauss(0, 1) ** 2 * 40) + 1
        price = self.mids[market] + (away if side else -away)
        lots, client = lots_of(rng), self.clients[account]
        if self.is_hostile:
            price, lots = rng.randrange(1, 1 << 20), rng.randrange(1, 1 << 20)
            client = rng.getrandbits(53)
        word = OP_PLACE | side << 8 | market << 32
        if chance >= 0.97:
            price = self.mids[market] * (101 - 2 * side) // 100
            word |= 1 << 12 | 1 << 16
            self._fill(market)
        else:
            word |= rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 1)) << 20
            slot = heappop(self.free[market])
            generation = self.generations[market].get(slot, 0) + 1
            self.generations[market][slot] = generation
            self.live[account].append((market, generation << 24 | slot, client))
        return pack("<8q", word, client, price, lots, 0, 0, 0, 0)

    def _fill(self, market: int) -> None:
        """Four resting orders somewhere are filled: 55 % + 3 % come, 42 % + 13 % go."""
        for _ in range(4):
            account = 2 + self.rng.randrange(ACCOUNTS)
            if self.live[account]:
                gone, handle, _ = self.live[account].pop(0)
                heappush(self.free[gone], handle & 0xFFFFFF)

    def _cancel(self, account: int) -> bytes:
        live = self.live[account]
        market, handle, client = live.pop(self.rng.randrange(len(live)))
        heappush(self.free[market], handle & 0xFFFFFF)
        if self.rng.random() < 0.5:
            return pack("<8q", OP_CANCEL | market << 32, handle, 0, 0, 0, 0, 0, 0)
        return pack("<8q", OP_CANCEL_CLIENT, client, 0, 0, 0, 0, 0, 0)
