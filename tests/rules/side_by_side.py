"""The compiled core and its naive twin, told the same words; whatever they do is compared.

What lives here: a small exchange with funded traders, saying commands to both, and the probes made
after every message: events, the whole memory image, the integrity walk (levels, best prices,
bitmaps, queues, locks, conservation). What must never live here: what a command should do.

Trader `n` is account `n + 2` and is called by `n` everywhere.
"""

from typing import Any, Final

from core_rows import (
    Address,
    Event,
    address,
    deposit,
    events_of,
    group,
    place,
)
from executors import Core, Twin, low_neighbour
from venues import FIRST_TRADER, GOVERNOR, START, Market, Venue

from consensus import layout
from consensus.accounts.ledger import account_at, balance_at, trader_at
from consensus.matching.book import order_at
from consensus.matching.operations import market_at
from consensus.state.book import compressed_book
from consensus.state.integrity import walk
from consensus.state.memory import regions_of
from consensus.state.tree import StateTree

MESSAGES: Final = 1
COMMANDS: Final = 2
BUY: Final = 0
SELL: Final = 1
BASE: Final = 0
QUOTE: Final = 1
FUNDS: Final = 10**12
IOC: Final = 1
FOK: Final = 2

PLAIN: Final = Market(price_bits=8, pool_bits=6, page_bits=6, lots_max=100_000, rates=((0, 0),) * 4)


def venue_of(*markets: Market, funds: int = FUNDS, **sizes: Any) -> Venue:
    """A venue whose traders hold `funds` atoms of each of three assets."""
    given: dict[str, Any] = {"table_slots": 32, "traders": 4, "parameters": PARAMETERS, **sizes}
    return Venue("rules", markets or (PLAIN,), (funds,), **given)


PARAMETERS: Final = (1000, 40_000, 1_000_000, 1_000_000, 0)


class Exchange:
    """Core and twin of one venue, in an open block."""

    def __init__(self, venue: Venue | None = None) -> None:
        self.venue = venue or venue_of()
        self.core, self.twin = Core(self.venue), Twin(self.venue)
        self.height, self.time = 0, START
        self.nonces: dict[tuple[int, int], int] = {}
        self.clients: dict[int, int] = {}
        self.open(1)

    # Blocks

    def open(self, milliseconds: int) -> list[Event]:
        """Seal, open the next block so much later, run its housekeeping; returns its events."""
        root = self.core.memory.seal()
        tree = StateTree(regions_of(self.core.memory.M), layout.LAYOUT_VERSION)
        tree.rebuild(self.core.memory.view())
        assert tree.root() == root, "a leaf was changed without being marked"
        self.height += 1
        self.time += milliseconds
        for one in (self.core, self.twin):
            one.open_block(self.height, self.time, self.height)
        events = self.core.housekeeping()
        assert events == self.twin.housekeeping()
        self.probe()
        return events_of(events)

    # Saying things

    def header(self, trader: int, key: int, changes: dict[str, Any]) -> dict[str, Any]:
        """The header of the next good group of a trader's key, with `changes`."""
        of_governor = key == layout.KEY_GOVERNANCE
        good: dict[str, Any] = {
            "account": 0 if of_governor else trader + FIRST_TRADER,
            "signer": GOVERNOR if of_governor else address(trader if key == 0 else 900 + key),
            "nonce": self.nonces.get((trader, key), 0) + 1,
            "expires": self.time + 1000,
            "key": key,
        }
        return good | changes

    def run(self, data: bytes, phase: int = COMMANDS) -> tuple[int, list[Event]]:
        """Rows to both; the fault, the events, everything compared."""
        fault, events = self.core.execute(data, phase)
        assert (fault, events) == self.twin.execute(data, phase)
        self.probe()
        return fault, events_of(events)

    def send(
        self, trader: int, *rows: bytes, key: int = 0, **changes: Any
    ) -> tuple[int, list[Event]]:
        """One group; `changes` replace fields of a good header."""
        header = self.header(trader, key, changes)
        fault, events = self.run(group(rows, **header))
        if not fault:
            before = self.nonces.get((trader, key), 0)
            self.nonces[trader, key] = max(before, header["nonce"])
        return fault, events

    def say(self, trader: int, *rows: bytes, key: int = 0, **changes: Any) -> list[Event]:
        """One group that is includable; its events."""
        fault, events = self.send(trader, *rows, key=key, **changes)
        assert fault == 0, f"not includable: {fault}"
        return events

    def govern(self, *rows: bytes) -> list[Event]:
        """One group of the governor, of which nothing is refused."""
        events = self.say(-1, *rows, key=layout.KEY_GOVERNANCE)
        assert all(event.kind != layout.EVENT_REFUSED for event in events), events
        return events

    def fault(self, trader: int, *rows: bytes, key: int = 0, **changes: Any) -> int:
        """The number of a group that is not includable, and that it changed nothing."""
        before = self.core.image()
        fault, events = self.send(trader, *rows, key=key, **changes)
        assert not events
        assert self.core.image() == before
        return fault

    def refusal(self, trader: int, row: bytes, key: int = 0) -> int:
        """The refusal number of an operation, and that it changed nothing but nonce and tokens."""
        before = self.core.image()
        events = self.say(trader, row, key=key)
        assert [event.kind for event in events] == [layout.EVENT_REFUSED], events
        self.same_but_for_the_group(before, trader, key)
        return events[0].reason

    def same_but_for_the_group(self, before: bytes, trader: int, key: int) -> None:
        M = self.core.memory.M
        account = account_at(M, trader + FIRST_TRADER)
        at = {0: account + layout.ACCOUNT_OWNER, layout.KEY_GOVERNANCE: layout.GOVERNOR}.get(
            key, M[layout.AT_KEYS] + ((trader + FIRST_TRADER) * 4 + key - 1) * 16
        )
        free = {layout.SEQUENCE, account + layout.ACCOUNT_TOKENS, account + layout.ACCOUNT_REFILLED}
        free |= {at + layout.KEY_NONCE + n for n in range(5)}
        was, now = memoryview(before).cast("q"), memoryview(self.core.image()).cast("q")
        changed = {n for n in range(len(was)) if was[n] != now[n]} if was != now else set()
        assert changed <= free, f"a refused command changed words {sorted(changed - free)}"

    def message(self, signer: Address, *rows: bytes, key: int, **changes: Any) -> list[Event]:
        """One L1 message group; its events."""
        low, _ = low_neighbour(self.core.memory.M, signer)
        header: dict[str, Any] = {"account": low, "signer": signer, "expires": 0, "key": key}
        header["nonce"] = int(self.core.memory.M[layout.L1_MESSAGES])
        data = group(rows, **(header | changes))
        fault, events = self.run(data, MESSAGES)
        assert fault == 0, fault
        return events

    def deposit(self, signer: Address, asset: int, amount: int) -> Event:
        return self.message(signer, deposit(signer, asset, amount), key=layout.KEY_DEPOSIT)[0]

    def rest(self, trader: int, side: int, price: int, lots: int, **terms: int) -> int:
        """An order that comes to rest, under the trader's next client id; its handle."""
        events = self.say(trader, self.order(trader, side, price, lots, **terms))
        assert events[-1].kind == layout.EVENT_RESTED, events
        return events[-1].words[0]

    def order(self, trader: int, side: int, price: int, lots: int, **terms: int) -> bytes:
        """A place row under the trader's next client id, unless the terms name one."""
        if "client" not in terms:
            terms["client"] = self.clients[trader] = self.clients.get(trader, -1) + 1
        return place(side, price, lots, **terms)

    # Looking

    def probe(self) -> None:
        """Both images are one, and the integrity walk finds nothing in it."""
        assert self.core.image() == self.twin.image()
        findings = walk(self.core.memory)
        assert not findings, findings[:3]

    def book(self, market: int = 0) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(price, visible lots) of every level, best first: bids and asks."""
        bids, asks = compressed_book(self.core.memory, market, 1 << 20)
        return [level[:2] for level in bids], [level[:2] for level in asks]

    def best(self, market: int = 0) -> tuple[int, int]:
        """Best bid and ask; 0 where there is none."""
        bids, asks = self.book(market)
        return bids[0][0] if bids else 0, asks[0][0] if asks else 0

    def funds(self, trader: int, asset: int) -> tuple[int, int]:
        """What a trader gained of an asset in all since genesis, and what is locked of it."""
        at = balance_at(self.core.memory.M, trader + FIRST_TRADER, asset)
        available = int(self.core.memory.M[at + layout.BALANCE_AVAILABLE])
        locked = int(self.core.memory.M[at + layout.BALANCE_LOCKED])
        held = self.venue.funds[trader % len(self.venue.funds)] if trader >= 0 else 0
        return available + locked - held, locked

    def word(self, handle: int, offset: int, market: int = 0) -> int:
        """A word of the order record that a handle names."""
        M = self.core.memory.M
        at = order_at(M, market_at(M, market), handle & layout.HANDLE_SLOT_MASK)
        return int(M[at + offset])

    def trader(self, trader: int, offset: int, market: int = 0) -> int:
        """A word of a trader record."""
        M = self.core.memory.M
        return int(M[trader_at(M, market_at(M, market), trader + FIRST_TRADER) + offset])


def fills(events: list[Event]) -> list[tuple[int, int, int]]:
    """(maker handle, price, lots) of each trade."""
    trades = (event.words for event in events if event.kind == layout.EVENT_TRADE)
    return [(words[0], words[1], words[2]) for words in trades]


def ends(events: list[Event]) -> list[tuple[int, int]]:
    """(kind, reason) of each event."""
    return [(event.kind, event.reason) for event in events]


def refused(number: int) -> list[tuple[int, int]]:
    """What `ends` says of one refusal."""
    return [(layout.EVENT_REFUSED, number)]
