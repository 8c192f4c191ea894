"""What a client of the exchange knows (accounts, keys, nonces, live orders), from events only.

What lives here: memory of what was sent and what was answered. What must never live here: a look
into the state of an executor, or a random choice.
"""

from collections import deque
from dataclasses import dataclass, field
from struct import iter_unpack

from core_rows import ROW_BYTES, Address, Event, address, address_number, events_of
from venues import FEE_OWNER, FIRST_TRADER, GOVERNOR, START, Venue

DEAD_KEPT = 64  # handles of orders that are gone, for stale commands


@dataclass
class Key:
    """A key that signs groups; `used` are its nonces inside the window."""

    address: Address
    expires: int = 1 << 60
    live: bool = True
    markets: int = -1
    quote: int = 1
    highest: int = 0
    used: set[int] = field(default_factory=set)

    def spend(self, nonce: int) -> None:
        self.highest = max(self.highest, nonce)
        self.used.add(nonce)
        if len(self.used) > 400:
            self.used = {n for n in self.used if n > self.highest - 256}


@dataclass
class LiveOrder:
    """A resting order as its events tell."""

    market: int
    handle: int
    account: int
    side: int
    price: int
    left: int
    client: int


@dataclass
class ExchangeView:
    """The client's view. `owners` lists accounts by number; 0 is the sentinel."""

    venue: Venue
    height: int = 0
    time: int = START
    sequence: int = 0
    l1_messages: int = 0
    assets: int = 3
    markets: int = 0
    armed: int = 0
    chain_halted: bool = False
    halted: set[int] = field(default_factory=set)
    owners: list[Key] = field(default_factory=list)
    sessions: dict[tuple[int, int], Key] = field(default_factory=dict)
    governor: Key = field(default_factory=lambda: Key(GOVERNOR))
    by_address: list[tuple[int, int]] = field(default_factory=list)
    orders: dict[tuple[int, int], LiveOrder] = field(default_factory=dict)
    of_account: dict[int, dict[tuple[int, int], LiveOrder]] = field(default_factory=dict)
    net: dict[tuple[int, int], int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    dead: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=DEAD_KEPT))

    def __post_init__(self) -> None:
        self.sequence = len(self.venue.rows())
        self.markets = len(self.venue.markets)
        owners = [(0, 0, 0), FEE_OWNER, *(address(n) for n in range(self.venue.traders))]
        for owner in owners:
            self._know(owner)

    def _know(self, owner: Address) -> None:
        self.by_address.append((address_number(owner), len(self.owners)))
        self.by_address.sort()
        self.owners.append(Key(owner))

    def low_neighbour(self, who: Address) -> int:
        """The account with the largest address not above `who`."""
        number = address_number(who)
        return max(pair for pair in self.by_address if pair[0] <= number)[1]

    @property
    def traders(self) -> range:
        return range(FIRST_TRADER, len(self.owners))

    def key_of(self, account: int, kind: int) -> Key | None:
        if kind == 253:
            return self.governor
        return self.owners[account] if kind == 0 else self.sessions.get((account, kind))

    def learn(self, rows: bytes, events: bytes, kind: int) -> list[tuple[int, Event]]:
        """Take in the answer to one group that was executed; returns (operation, event) pairs."""
        words = list(iter_unpack("<8q", rows))[1:]
        told = []
        for event in events_of(events):
            row = words[event.sequence - self.sequence - 1]
            told.append((row[0] & 255, event))
            self._hear(row, event, kind)
        self.sequence += len(rows) // ROW_BYTES - 1
        return told

    def hear_housekeeping(self, events: bytes) -> list[Event]:
        heard = events_of(events)
        for event in heard:
            self._hear((0,) * 8, event, 0)
        return heard

    def _hear(self, row: tuple[int, ...], event: Event, kind: int) -> None:
        words = event.words
        if event.kind <= 5:
            self._hear_order(event)
        elif event.kind == 10 and event.flags & 1:
            self._know((row[1], row[2], row[3]))
        elif event.kind == 11:
            self.sessions[words[4], words[0]] = Key(
                (row[1], row[2], row[3]), row[4], True, row[6], row[7] >> 16 & 65535
            )
        elif event.kind == 12:
            self.sessions[words[4], words[0]].live = False
        elif event.kind == 14:
            self._hear_setting(event)

    def _hear_setting(self, event: Event) -> None:
        op, words = event.flags, event.words
        if op == 32:
            self.assets += 1
        elif op == 33:
            self.halted.add(self.markets)
            self.markets += 1
        elif op == 35 and words[0]:
            self.halted.add(event.market)
        elif op == 35:
            self.halted.discard(event.market)
        elif op == 36:
            self.chain_halted = words[0] == 1
        elif op == 41:
            self.governor.address = (words[0], words[1], words[2])

    def _hear_order(self, event: Event) -> None:
        words, market = event.words, event.market
        name = market, words[0]
        if event.kind == 1:
            maker, taker = words[4] & 0xFFFFFFFF, words[4] >> 32
            signed = words[2] if event.side == 0 else -words[2]
            self.net[market, taker] = self.net.get((market, taker), 0) + signed
            self.net[market, maker] = self.net.get((market, maker), 0) - signed
            self.last[market] = words[1]
            if event.flags & 1:
                self._forget(name)
            else:
                self.orders[name].left = words[5]
        elif event.kind == 2:
            if words[0] and words[5] == 0:
                self._forget(name)
        elif event.kind == 3:
            handle, price, lots, _, account, client = words
            order = LiveOrder(market, handle, account, event.side, price, lots, client)
            self.orders[name] = order
            self.of_account.setdefault(words[4], {})[name] = order
        elif event.kind == 4:
            if words[0]:
                self._forget(name)
        elif words[3] == 0:
            self._forget(name)
        else:
            self.orders[name].left = words[3]

    def _forget(self, name: tuple[int, int]) -> None:
        order = self.orders.pop(name, None)
        if order is not None:
            del self.of_account[order.account][name]
            self.dead.append((*name, order.account))
