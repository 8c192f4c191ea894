"""Rows, groups and events for tests, spelled from the protocol pages.

What lives here: packing and unpacking only, and one small exchange that tests start from. What must
never live here: an expectation.
"""

from collections.abc import Sequence
from struct import iter_unpack, pack
from typing import Final

from consensus.matching.naive import Exchange

START: Final = 1_700_000_000_000  # ms
GOVERNOR: Final = bytes.fromhex("99" * 20)
FEE_OWNER: Final = bytes.fromhex("50" * 20)
FUNDS: Final = 10**15  # atoms of each asset that a trader starts with
AGENTS: Final = (bytes.fromhex("aa" * 20), bytes.fromhex("bb" * 20))
BASE: Final = 0
QUOTE: Final = 1
BUY: Final = 0
SELL: Final = 1
PARAMETERS: Final = [1000, 40_000, 1_000_000, 1_000_000, 64, 4096]

Words = tuple[int, ...]


def row(head: int, *words: int) -> bytes:
    """Return a row of eight words, the missing ones zero."""
    return pack("<8q", head, *words, *(0,) * (7 - len(words)))


def address(number: int) -> bytes:
    """Return the address of test trader `number`, in an order that differs from the numbers'."""
    return bytes([number * 37 % 251 + 1]) + number.to_bytes(19, "big")


def split(where: bytes) -> tuple[int, int, int]:
    """Return the three words of an address."""
    return (
        int.from_bytes(where[:7], "big"),
        int.from_bytes(where[7:14], "big"),
        int.from_bytes(where[14:], "big"),
    )


def group(
    rows: Sequence[bytes], *, account: int, nonce: int, signer: bytes, key: int = 0, expires: int
) -> bytes:
    header = len(rows) << 8 | key << 16, account, nonce, expires, *split(signer), 0
    return pack("<8q", *header) + b"".join(rows)


def place(
    side: int,
    price: int,
    lots: int,
    *,
    client: int,
    market: int = 0,
    tif: int = 0,
    kind: int = 0,
    post: int = 0,
    stp: int = 0,
    flags: int = 0,
    display: int = 0,
    minimum: int = 0,
    expires: int = 0,
) -> bytes:
    head = 1 | side << 8 | tif << 12 | kind << 16 | post << 20 | stp << 24 | flags << 28
    return row(head | market << 32, client, price, lots, display, minimum, expires)


def amend(handle: int, price: int, total: int, *, market: int = 0) -> bytes:
    return row(2 | market << 32, handle, price, total)


def amend_client(client: int, price: int, total: int) -> bytes:
    return row(2 | 1 << 28, client, price, total)


def cancel(handle: int, *, market: int = 0) -> bytes:
    return row(3 | market << 32, handle)


def cancel_client(client: int) -> bytes:
    return row(4, client)


def cancel_all(market: int = 65535, first: int = 0) -> bytes:
    return row(5 | market << 32, first)


def transfer(receiver: int, amount: int, asset: int) -> bytes:
    return row(6, receiver, amount, asset)


def withdraw(asset: int, amount: int, where: bytes) -> bytes:
    return row(7, asset, amount, *split(where))


def grant(
    where: bytes,
    *,
    expires: int,
    cap: int = 1 << 60,
    markets: int = 1,
    slot: int = 1,
    reduce_only: int = 0,
    quote: int = QUOTE,
) -> bytes:
    return row(8, *split(where), expires, cap, markets, slot | reduce_only << 8 | quote << 16)


def revoke(slot: int) -> bytes:
    return row(9, slot)


def dead_man(due: int) -> bytes:
    return row(10, due)


def settings(mode: int) -> bytes:
    return row(11, mode)


def deposit(where: bytes, asset: int, amount: int) -> bytes:
    return row(16, *split(where), asset, amount)


def list_asset(symbol: str, decimals: int = 8, withdraw_min: int = 0) -> bytes:
    return row(32, int.from_bytes(symbol.encode().ljust(7, b"\0"), "big"), decimals, withdraw_min)


def list_market(
    *,
    base: int = BASE,
    quote: int = QUOTE,
    price_bits: int = 14,
    pool_bits: int = 12,
    page_bits: int = 8,
    base_per_lot: int = 10,
    quote_per_tick_lot: int = 3,
    min_notional: int = 0,
    lots_max: int = 1_000_000,
    band: int = 0,
    orders: int = 4096,
    reference: int = 0,
) -> bytes:
    sizes = base | quote << 8 | price_bits << 16 | pool_bits << 24 | page_bits << 32
    limits = band | orders << 20
    return row(
        33, sizes, base_per_lot, quote_per_tick_lot, min_notional, lots_max, limits, reference
    )


def fees(tier: int, taker: int, maker: int, *, market: int = 0) -> bytes:
    return row(34 | market << 32, tier, taker, maker)


def market_status(status: int, *, market: int = 0) -> bytes:
    return row(35 | market << 32, status)


def chain_status(status: int) -> bytes:
    return row(36, status)


def parameter(number: int, value: int) -> bytes:
    return row(38, number, value)


def tier(account: int, number: int) -> bytes:
    return row(39, account, number)


def events_of(data: bytes) -> list[Words]:
    """Return events as (kind, reason, side, flags, market, sequence, words 2..7)."""
    return [
        (
            head & 255, head >> 8 & 255, head >> 16 & 15, head >> 20 & 4095, head >> 32,
            sequence, *words,
        )
        for head, sequence, *words in iter_unpack("<8q", data)
    ]  # fmt: skip


class Floor:
    """An exchange with traders, and the words a test says to it. Trader `n` is account `n + 2`."""

    def __init__(
        self,
        *,
        traders: int = 3,
        market: bytes | None = None,
        taker: int = 0,
        maker: int = 0,
        parameters: Sequence[int] = PARAMETERS,
        table_slots: int = 256,
    ) -> None:
        self.exchange = Exchange(
            assets_max=4, markets_max=4, accounts_max=64, table_slots=table_slots,
            parameters=list(parameters), governor=GOVERNOR, fee_owner=FEE_OWNER, time=START,
        )  # fmt: skip
        self.height = 0
        self.time = START
        self.nonces: dict[tuple[int, int], int] = {}
        self.govern(list_asset("BTC"), list_asset("USD"), market or list_market())
        self.govern(market_status(0), fees(0, taker, maker))
        for trader in range(traders):
            for asset in (BASE, QUOTE):
                self.govern(deposit(address(trader), asset, FUNDS))
        self.open(1)

    def govern(self, *rows: bytes) -> list[Words]:
        for each in rows:
            self.exchange.operate(each)
        events = events_of(self.exchange.take_events())
        assert all(event[0] != 6 for event in events), events
        return events

    def open(self, milliseconds: int) -> None:
        """Open the next block, `milliseconds` later."""
        self.height += 1
        self.time += milliseconds
        self.exchange.open_block(self.height, self.time, self.height)

    def send(self, trader: int, *rows: bytes, key: int = 0, signer: bytes = b"") -> int:
        """Execute one group of `trader`; return what `execute` returned."""
        nonce = self.nonces.get((trader, key), 0) + 1
        self.nonces[trader, key] = nonce
        data = group(
            rows, account=trader + 2, nonce=nonce, signer=signer or address(trader), key=key,
            expires=self.time + 1000,
        )  # fmt: skip
        return self.exchange.execute(data, 2)

    def say(self, trader: int, *rows: bytes, key: int = 0, signer: bytes = b"") -> list[Words]:
        """Execute one group of `trader`, which must be includable; return its events."""
        self.exchange.take_events()
        assert self.send(trader, *rows, key=key, signer=signer) == 0
        self.exchange.check()
        return events_of(self.exchange.take_events())

    def rest(self, trader: int, side: int, price: int, lots: int, client: int) -> int:
        """Place an order that comes to rest; return its handle."""
        events = self.say(trader, place(side, price, lots, client=client))
        assert events[-1][0] == 3, events
        return events[-1][6]

    def funds(self, trader: int, asset: int) -> tuple[int, int]:
        """Return what a trader gained or lost of an asset in all, and what is locked of it."""
        balance = self.exchange.ledger.accounts[trader + 2].balances[asset]
        return balance.available + balance.locked - FUNDS, balance.locked

    def book(self) -> list[list[tuple[int, int]]]:
        """Return (price, lots) of each level of market 0 from the best, buys then sells."""
        sides = self.exchange.venue.markets[0].sides
        return [
            [
                (next(iter(level.values())).price, sum(order.left for order in level.values()))
                for level in (side.levels[key] for key in side.keys)
            ]
            for side in sides
        ]


def trades_of(events: Sequence[Words]) -> list[tuple[int, int, int]]:
    """Return (maker handle, price, lots) of each trade."""
    return [(event[6], event[7], event[8]) for event in events if event[0] == 1]


def outcome(events: Sequence[Words]) -> list[tuple[int, int]]:
    """Return (kind, reason) of each event."""
    return [(event[0], event[1]) for event in events]
