"""Rows of honest traders and of those who want to slow them down, for `adversarial.py`.

What lives here: making rows, on a market of `node/bench/exchange.py`. What must never live here: a
clock, or a look into the state: everybody cancels by client id, so the same rows can be sent
whatever happened to the orders.

Honest traders (accounts 2 .. 401): 55 % orders at a geometric distance from the middle, 42 %
cancels, 3 % immediate orders through the middle. Attackers (402 .. 501) act in bursts between them:

| attack | rests before | a burst |
| --- | --- | --- |
| squat  | a one-lot bid on every free level page | a bid one page nearer: evicts the furthest |
| fok    | 100,000 one-lot asks | an own order that must fill all of them or nothing |
| peak   | nothing | 80 icebergs of 64 lots that show one, and a taker of 5,000 lots |
| sweep  | 60,000 one-lot asks | a taker of 5,000, or 1,000 new ones |
| expiry | 100,000 one-lot asks, all dead from the first block on | a taker who meets them |
"""

import math
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from consensus import layout
from node.bench.exchange import FIRST_TRADER, TABLE_SLOTS

ROW: Final = struct.Struct("<q8q")  # account, then the operation row
HONEST: Final = range(FIRST_TRADER, FIRST_TRADER + 400)
ATTACKERS: Final = range(HONEST.stop, HONEST.stop + 100)
MIDDLE: Final = 1 << 20
PAGE_TICKS: Final = 64
PAGES: Final = 4095
EACH: Final = 1000  # resting orders of an attacker
SWEEP_LOTS: Final = 5000  # the most orders that one command visits
BEHIND: Final = MIDDLE + 150  # behind nearly all honest asks
NEVER_FILLS: Final = 1 << 20  # lots; affordable, and more than rests
IOC: Final = layout.TIF_IOC << 12
FOK: Final = layout.TIF_FOK << 12
CANCEL_MAKER: Final = layout.STP_CANCEL_MAKER << 24


def place(
    account: int, side: int, price: int, lots: int, client: int, bits: int = 0, *more: int
) -> bytes:
    """An order; `bits` of word 0, `more` are the words from display on."""
    head = layout.OP_PLACE | side << 8 | bits
    return ROW.pack(account, head, client, price, lots, *more, *[0] * (4 - len(more)))


def cancel(account: int, client: int) -> bytes:
    return ROW.pack(account, layout.OP_CANCEL_CLIENT, client, *[0] * 6)


def geometric(chance: random.Random, mean: float) -> int:
    return 1 + int(math.log(1.0 - chance.random()) / math.log(1.0 - 1.0 / mean))


def honest(messages: int, seed: int) -> tuple[bytes, bytes]:
    """What rests before (4,000 orders), and `messages` rows."""
    chance = random.Random(seed)
    placed: dict[int, list[int]] = {account: [] for account in HONEST}
    named = dict.fromkeys(HONEST, 0)

    def passive(account: int) -> bytes:
        side = chance.getrandbits(1)
        away = geometric(chance, 20)
        price = MIDDLE - away if side == layout.BUY else MIDDLE + away
        placed[account].append(named[account])
        named[account] += 1
        return place(account, side, price, geometric(chance, 50), named[account] - 1)

    def message() -> bytes:
        account = chance.choice(HONEST)
        draw = chance.random()
        if draw < 0.42 and placed[account]:
            client = placed[account].pop(chance.randrange(len(placed[account])))
            return cancel(account, client)
        if draw > 0.97:
            side = chance.getrandbits(1)
            price = MIDDLE + 200 if side == layout.BUY else MIDDLE - 200
            named[account] += 1
            return place(account, side, price, geometric(chance, 50), named[account] - 1, IOC)
        return passive(account)

    before = b"".join(passive(chance.choice(HONEST)) for _ in range(4000))
    return before, b"".join(message() for _ in range(messages))


@dataclass(frozen=True)
class Attack:
    """`before` rests; then a burst from `bursts` after every `every` honest messages."""

    before: Callable[[], bytes]
    bursts: Callable[[int], Iterator[bytes]]  # of how many bursts at most
    every: int
    dead_after: int = 0  # ms after the market's time at which the first measured block is


def asks(count: int, price: int, *more: int) -> bytes:
    """`count` one-lot asks of the attackers, `EACH` of each, under the client ids 0, 1, ..."""
    return b"".join(
        place(ATTACKERS[n // EACH % 100], layout.SELL, price, 1, n % EACH, 0, *more)
        for n in range(count)
    )


def squat_before() -> bytes:
    first = MIDDLE // PAGE_TICKS - 2 * PAGES
    return b"".join(squatting(first, n) for n in range(PAGES))


def squat(bursts: int) -> Iterator[bytes]:
    first = MIDDLE // PAGE_TICKS - 2 * PAGES
    for n in range(min(bursts, PAGES - 16)):
        yield squatting(first, PAGES + n)


def squatting(first: int, n: int) -> bytes:
    """Bid `n`, one page above the bid before; a client id is free again when its bid is evicted."""
    account, client = ATTACKERS[n % 100], n // 100
    return place(account, layout.BUY, (first + n) * PAGE_TICKS, 1, client)


def fill_or_kill(bursts: int) -> Iterator[bytes]:
    for n in range(bursts):
        account = ATTACKERS[n % 100]
        yield place(account, layout.BUY, BEHIND, NEVER_FILLS, EACH, FOK | CANCEL_MAKER)


def peak(bursts: int) -> Iterator[bytes]:
    for n in range(bursts):
        icebergs = [place(ATTACKERS[m], layout.SELL, MIDDLE, 64, n % EACH, 0, 1) for m in range(80)]
        taker = place(ATTACKERS[99], layout.BUY, MIDDLE, SWEEP_LOTS, n % EACH, IOC)
        yield b"".join(icebergs) + taker


def sweep(bursts: int) -> Iterator[bytes]:
    """60,000 orders swept in twelve bursts, and placed again in sixty."""
    for n in range(bursts):
        turn = n % 72
        if turn < 12:
            yield place(ATTACKERS[99], layout.BUY, MIDDLE, SWEEP_LOTS, n % EACH, IOC)
        else:
            account = ATTACKERS[turn - 12]
            yield b"".join(place(account, layout.SELL, MIDDLE, 1, m) for m in range(EACH))


def expiry(bursts: int) -> Iterator[bytes]:
    for n in range(bursts):
        yield place(ATTACKERS[99], layout.BUY, MIDDLE, SWEEP_LOTS, EACH + n % 24, IOC)


def attacks(now: int, messages: int) -> dict[str, Attack]:
    """The attacks on a market whose time is `now` ms, during `messages` honest messages."""
    return {
        "squat": Attack(squat_before, squat, 50),
        "fok": Attack(lambda: asks(100_000, BEHIND), fill_or_kill, 50),
        "peak": Attack(bytes, peak, 500),
        "sweep": Attack(lambda: asks(60_000, MIDDLE), sweep, 500),
        "expiry": Attack(
            lambda: asks(100_000, MIDDLE, 0, 0, now + 1), expiry, max(50, messages // 40), 1
        ),
    }


def groups(now: int) -> dict[str, tuple[bytes, int, bytes]]:
    """By name: what rests before, ms until the block, and 64 commands of the dearest kind."""
    icebergs = [
        place(account, layout.SELL, MIDDLE, 64, n, 0, 1)
        for n in range(60)
        for account in ATTACKERS[:90]
    ]
    takers = b"".join(
        place(ATTACKERS[99], layout.BUY, MIDDLE, SWEEP_LOTS, EACH + n % 24, IOC)
        for n in range(layout.GROUP_OPERATIONS_MAX)
    )
    killed = b"".join(fill_or_kill(layout.GROUP_OPERATIONS_MAX))
    return {
        "fok": (asks(99_000, BEHIND), 0, killed),
        "peak": (b"".join(icebergs), 0, takers),
        "sweep": (asks(99_000, MIDDLE), 0, takers),
        "expiry": (asks(99_000, MIDDLE, 0, 0, now + 1), 1, takers),
    }


def contiguous(messages: int, seed: int) -> tuple[bytes, bytes]:
    """100,000 orders under contiguous client ids; then ids that wrap onto theirs."""
    chance = random.Random(seed)
    ids = {(account, client): client for account in ATTACKERS for client in range(EACH)}
    rows = []
    for n in range(messages):
        account, slot = chance.choice(ATTACKERS), chance.randrange(EACH)
        live = ids[account, slot]
        price = BEHIND + chance.randrange(1000)
        if n % 3 == 0:  # refused: its table slot is taken
            rows.append(place(account, layout.SELL, price, 1, live + TABLE_SLOTS))
        elif n % 3 == 1:
            rows.append(cancel(account, live))
            ids[account, slot] = live + TABLE_SLOTS
        else:
            rows.append(place(account, layout.SELL, price, 1, live))
    return asks(100_000, BEHIND), b"".join(rows)


def swept(messages: int) -> tuple[bytes, bytes]:
    """100,000 one-lot orders, and takers of 5,000, until `messages` rows."""
    takers = b"".join(place(HONEST[n], layout.BUY, MIDDLE, SWEEP_LOTS, n, IOC) for n in range(20))
    cycle = asks(100_000, MIDDLE) + takers
    times = max(1, messages * ROW.size // len(cycle))
    return b"", cycle * times


def ends(messages: int, seed: int, ticks: int) -> tuple[bytes, bytes]:
    """Orders at the two lowest and two highest prices of the domain: rest, trade, cancel."""
    chance = random.Random(seed)
    rows = []
    for n in range(messages):
        account, client = chance.choice(HONEST), n % 8
        low = chance.random() < 0.5
        price = chance.choice((1, 2) if low else (ticks - 3, ticks - 2))
        if n % 3 == 2:
            rows.append(cancel(account, client))
        else:
            side = layout.BUY if low != (n % 3 == 1 and chance.random() < 0.1) else layout.SELL
            rows.append(place(account, side, price, 1, client))
    return b"", b"".join(rows)
