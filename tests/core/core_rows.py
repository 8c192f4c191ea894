"""Rows and groups for the core's tests: packing, as docs/protocol/commands.md lays words out.

What lives here: bytes from numbers and back. What must never live here: an expectation, or anything
that knows a state.
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final, NamedTuple

ROW: Final = Struct("<8q")
ROW_BYTES: Final = 64
WORD: Final = Struct("<q")

Words = tuple[int, ...]
Address = tuple[int, int, int]


class Event(NamedTuple):
    """One event, its word 0 taken apart; `words` are words 2..7."""

    kind: int
    reason: int
    side: int
    flags: int
    market: int
    sequence: int
    words: Words


def wrapped(value: int) -> int:
    """The signed 64-bit number with the low bits of `value`."""
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def row(head: int, *words: int) -> bytes:
    """A row of eight words, the missing ones zero."""
    return ROW.pack(head, *words, *(0,) * (7 - len(words)))


def address(number: int) -> Address:
    """The address of actor `number`, in an order that differs from the numbers'."""
    return (number * 37 % 251 + 1) << 40, number, number * 3


def address_number(words: Address) -> int:
    """The 160-bit number of an address, by which the account list is sorted."""
    return words[0] << 104 | words[1] << 48 | words[2]


def group(
    rows: Sequence[bytes],
    *,
    account: int,
    signer: Address,
    nonce: int,
    expires: int,
    key: int = 0,
) -> bytes:
    """Header and rows of one group."""
    return ROW.pack(len(rows) << 8 | key << 16, account, nonce, expires, *signer, 0) + b"".join(
        rows
    )


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


def withdraw(asset: int, amount: int, to: Address) -> bytes:
    return row(7, asset, amount, *to)


def grant(
    to: Address,
    *,
    expires: int,
    slot: int = 1,
    cap: int = (1 << 62) - 1,
    markets: int = 1,
    reduce_only: int = 0,
    quote: int = 1,
) -> bytes:
    return row(8, *to, expires, cap, markets, slot | reduce_only << 8 | quote << 16)


def revoke(slot: int) -> bytes:
    return row(9, slot)


def dead_man(due: int) -> bytes:
    return row(10, due)


def settings(mode: int) -> bytes:
    return row(11, mode)


def deposit(to: Address, asset: int, amount: int) -> bytes:
    return row(16, *to, asset, amount)


def list_asset(symbol: int, decimals: int = 8, withdraw_min: int = 0) -> bytes:
    return row(32, symbol, decimals, withdraw_min)


def list_market(
    *,
    base: int = 0,
    quote: int = 1,
    price_bits: int = 12,
    pool_bits: int = 8,
    page_bits: int = 7,
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


def validators(epoch: int, *words: int) -> bytes:
    return row(37, epoch, *words)


def parameter(number: int, value: int) -> bytes:
    return row(38, number, value)


def tier(account: int, number: int) -> bytes:
    return row(39, account, number)


def market_limits(min_notional: int, band: int, orders: int, *, market: int = 0) -> bytes:
    return row(40 | market << 32, min_notional, band, orders)


def governor(to: Address) -> bytes:
    return row(41, *to)


def events_of(data: bytes) -> list[Event]:
    return [
        Event(
            head & 255, head >> 8 & 255, head >> 16 & 15, head >> 20 & 4095, head >> 32 & 65535,
            sequence, tuple(words),
        )
        for head, sequence, *words in ROW.iter_unpack(data)
    ]  # fmt: skip


def told(events: Iterable[Event]) -> list[tuple[int, int]]:
    """(kind, reason) of each event."""
    return [(event.kind, event.reason) for event in events]
