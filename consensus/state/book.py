"""The compressed book: price, visible lots and order count by level, and what changed between two.

What lives here: reading it from the state, deltas, canonical bytes, checksum. What must never live
here: hidden lots, or who owns an order.

Theory of operation. A delta is itself a `Book`: the levels that differ, as they are now, and a
level that is gone with zero lots and orders. So books and deltas share one encoding, `apply` is a
merge by price, and a feed sends a delta with the checksum of the book it must lead to: a receiver
that missed one knows at once. With a limited depth, a level that falls out of sight leaves like one
that emptied.

    encoding = "RLTB" | bids u32 | asks u32 | level x (bids + asks)
    level    = price u32 | visible u64 | orders u32

Little-endian; bids descend, asks ascend. CRC-32 finds accidents (docs/protocol/statements.md);
what rests at a price is proven with a level statement.
"""

import zlib
from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple

from consensus.exceptions import InvalidEncoding
from consensus.layout import (
    BOOK_BEST,
    BOOK_PRICE_BITS,
    BOOK_PRICE_LEAF,
    BOOK_TICKS,
    BUY,
    LEVEL_COUNT,
    LEVEL_VISIBLE,
    SELL,
)
from consensus.matching.book import key_of, level_at
from consensus.matching.heap import next_key
from consensus.matching.operations import market_at
from consensus.state.memory import Memory

MAGIC: Final = b"RLTB"

NOT_A_BOOK: Final = 1600
BOOK_LENGTH: Final = 1601
BOOK_ORDER: Final = 1602
EMPTY_LEVEL: Final = 1603
UNKNOWN_LEVEL: Final = 1604
UNCHANGED_LEVEL: Final = 1605

_HEADER: Final = Struct("<4s2I")
_LEVEL: Final = Struct("<IQI")


class Level(NamedTuple):
    """Ticks, lots, orders."""

    price: int
    visible: int
    orders: int


class Book(NamedTuple):
    """Levels of both sides, best first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


def compressed_book(memory: Memory, market: int, depth: int) -> Book:
    """The best `depth` levels of each side of a listed market."""
    return Book(_side(memory, market, BUY, depth), _side(memory, market, SELL, depth))


def _side(memory: Memory, market: int, side: int, depth: int) -> tuple[Level, ...]:
    M, S = memory.M, memory.S
    k = market_at(M, market)
    bits, leaf, ticks = k + M[k + BOOK_PRICE_BITS + side], M[k + BOOK_PRICE_LEAF], M[k + BOOK_TICKS]
    levels: list[Level] = []
    key = M[k + BOOK_BEST + side]
    while key < ticks and len(levels) < depth:
        at = level_at(M, k, side, key)
        price = key_of(M, k, side, key)
        levels.append(Level(int(price), int(M[at + LEVEL_VISIBLE]), int(M[at + LEVEL_COUNT])))
        key = next_key(M, S, bits, leaf, key, ticks)
    return tuple(levels)


def delta(old: Book, new: Book) -> Book:
    """The levels of `new` that are not in `old`, and those gone, with zero lots and orders."""
    bids, asks = (_changed(was, now) for was, now in zip(old, new, strict=True))
    return Book(tuple(sorted(bids, reverse=True)), tuple(sorted(asks)))


def _changed(old: tuple[Level, ...], new: tuple[Level, ...]) -> list[Level]:
    kept = {level.price for level in new}
    gone = [Level(level.price, 0, 0) for level in old if level.price not in kept]
    before = dict.fromkeys(old)
    return [level for level in new if level not in before] + gone


def apply(old: Book, change: Book) -> Book:
    """The book that `change` leads to: `apply(old, delta(old, new)) == new`.

    InvalidEncoding if the change removes a level that is not there, or repeats one that is.
    """
    bids, asks = (_merged(was, now) for was, now in zip(old, change, strict=True))
    return Book(
        tuple(bids[price] for price in sorted(bids, reverse=True)),
        tuple(asks[price] for price in sorted(asks)),
    )


def _merged(old: tuple[Level, ...], change: tuple[Level, ...]) -> dict[int, Level]:
    levels = {level.price: level for level in old}
    for level in change:
        if level.orders == 0 and level.price not in levels:
            text = f"price {level.price} is removed and was not there; fetch the whole book"
            raise InvalidEncoding(UNKNOWN_LEVEL, text)
        if levels.get(level.price) == level:
            text = f"price {level.price} is sent and did not change; fetch the whole book"
            raise InvalidEncoding(UNCHANGED_LEVEL, text)
        if level.orders == 0:
            del levels[level.price]
        else:
            levels[level.price] = level
    return levels


def encode(book: Book) -> bytes:
    """The canonical bytes of a book or of a delta."""
    header = _HEADER.pack(MAGIC, len(book.bids), len(book.asks))
    return header + b"".join(_LEVEL.pack(*level) for level in book.bids + book.asks)


def decode(data: bytes, *, is_delta: bool = False) -> Book:
    """The book or delta in these bytes; InvalidEncoding for anything but its one encoding."""
    if len(data) < _HEADER.size or data[:4] != MAGIC:
        raise InvalidEncoding(NOT_A_BOOK, f"a book starts with {MAGIC!r} and two counts")
    _, bids, asks = _HEADER.unpack_from(data)
    if len(data) != _HEADER.size + _LEVEL.size * (bids + asks):
        raise InvalidEncoding(BOOK_LENGTH, f"{len(data)} bytes do not hold {bids} + {asks} levels")
    levels = [Level(*entry) for entry in _LEVEL.iter_unpack(data[_HEADER.size :])]
    book = Book(tuple(levels[:bids]), tuple(levels[bids:]))
    for level in levels:
        if (level.visible == 0) != (level.orders == 0) or (level.orders == 0 and not is_delta):
            raise InvalidEncoding(EMPTY_LEVEL, f"price {level.price} has no lots or no orders")
    if any(a.price <= b.price for a, b in pairwise(book.bids)) or any(
        a.price >= b.price for a, b in pairwise(book.asks)
    ):
        raise InvalidEncoding(BOOK_ORDER, "bids must descend and asks ascend, without repetition")
    return book


def checksum(book: Book) -> int:
    """CRC-32 of the canonical bytes."""
    return zlib.crc32(encode(book))
