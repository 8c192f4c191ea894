"""The shape of a state: where its parts are, from its sizes and its markets' size classes.

What lives here: the arithmetic of docs/protocol/layout.md for readers and builders of whole states,
and reading sizes out of words that may be anything. What must never live here: a record.

The compiled core works the same offsets out once, at genesis and listing; here they are worked out
without it, so that the integrity walk and the import compare two answers.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from consensus import layout
from consensus.exceptions import InvalidSnapshot
from consensus.state.memory import Sizes, ledger_offsets

UNREADABLE: Final = 5700

SIZE_WORDS: Final = (
    (layout.ASSETS_MAX, "ASSETS_MAX", 4, 64),
    (layout.MARKETS_MAX, "MARKETS_MAX", 4, 4096),
    (layout.ACCOUNTS_MAX, "ACCOUNTS_MAX", 64, 1 << 20),
    (layout.TABLE_SLOTS, "TABLE_SLOTS", 32, 4096),
)
SHAPE_WORDS: Final = (
    (layout.BOOK_TICKS, "TICKS", 6, 28),
    (layout.BOOK_POOL_MAX, "POOL_MAX", 6, 20),
    (layout.BOOK_PAGES_MAX, "PAGES_MAX", 6, 16),
)
Words = memoryview  # of format "q"


class Shape(NamedTuple):
    """A market's size class."""

    price_bits: int
    pool_bits: int
    page_bits: int


def key_of(shape: Shape, side: int, price: int) -> int:
    return price if side == layout.SELL else (1 << shape.price_bits) - 1 - price


def heap_leaf(bits: int) -> int:
    """Words above the last level of a 64-ary heap over 2^bits items."""
    return ((1 << 6 * ((bits + 5) // 6 - 1)) - 1) // 63


def padded(words: int) -> int:
    return (words + layout.LEAF_WORDS - 1) & -layout.LEAF_WORDS


def market_offsets(shape: Shape, accounts_max: int) -> tuple[dict[int, int], int]:
    """Header words that say where a region's parts begin, {word: value}, and the region's size."""
    price, pool, page = shape
    directory = max(layout.LEAF_WORDS, 1 << price - 6)
    parts = (
        (layout.BOOK_PRICE_BITS, padded(heap_leaf(price) + (1 << price - 6))),
        (layout.BOOK_PRICE_BITS + 1, padded(heap_leaf(price) + (1 << price - 6))),
        (layout.BOOK_DIRECTORY, directory),
        (layout.BOOK_DIRECTORY + 1, directory),
        (layout.BOOK_PAGE_BITS, padded(heap_leaf(page) + (1 << page - 6))),
        (layout.BOOK_SLOT_BITS, padded(heap_leaf(pool) + (1 << pool - 6))),
        (layout.BOOK_AT_PAGES, layout.PAGE_WORDS << page),
        (layout.BOOK_AT_POOL, layout.ORDER_WORDS << pool),
        (layout.BOOK_AT_TRADERS, 8 * accounts_max),
    )
    offsets = {
        layout.BOOK_TICKS: 1 << price,
        layout.BOOK_PRICE_LEAF: heap_leaf(price),
        layout.BOOK_PAGE_LEAF: heap_leaf(page),
        layout.BOOK_SLOT_LEAF: heap_leaf(pool),
        layout.BOOK_POOL_MAX: 1 << pool,
        layout.BOOK_PAGES_MAX: 1 << page,
    }
    at = layout.BOOK_HEADER_WORDS
    for word, words in parts:
        offsets[word] = at
        at += words
    return offsets, at


def unreadable(region: int, field: str, rule: str, seen: int) -> InvalidSnapshot:
    text = f"region {region}: {field} must be {rule}, is {seen}; the state cannot be read"
    return InvalidSnapshot(UNREADABLE, text, region=region, field=field, expected=rule, seen=seen)


def read_sizes(W: Words) -> Sizes:
    """The ledger's sizes. InvalidSnapshot 5700 if M cannot be such a ledger."""
    if len(W) < layout.HEADER_WORDS or W[layout.LAYOUT] != layout.LAYOUT_VERSION:
        seen = W[layout.LAYOUT] if len(W) else 0
        raise unreadable(0, "LAYOUT", str(layout.LAYOUT_VERSION), seen)
    for word, field, low, high in SIZE_WORDS:
        if not low <= W[word] <= high or W[word] & W[word] - 1:
            raise unreadable(0, field, f"a power of two in {low}..{high}", W[word])
    sizes = Sizes(*(W[word] for word, *_ in SIZE_WORDS))
    end = ledger_offsets(sizes)[layout.END]
    if end > len(W):
        raise unreadable(0, "END", f"at most {len(W)}", end)
    counts = (
        (layout.ACCOUNTS, "ACCOUNTS", 2, sizes.accounts_max),
        (layout.ASSETS, "ASSETS", 0, sizes.assets_max),
        (layout.MARKETS, "MARKETS", 0, sizes.markets_max),
        (layout.SCHEDULES, "SCHEDULES", 0, layout.SCHEDULES_MAX),
    )
    for word, field, low, high in counts:
        if not low <= W[word] <= high:
            raise unreadable(0, field, f"{low}..{high}", W[word])
    return sizes


def read_shapes(W: Words, sizes: Sizes) -> Iterator[tuple[int, Shape]]:
    """First word and size class of every market. InvalidSnapshot 5700 if one does not fit in M."""
    k = ledger_offsets(sizes)[layout.END]
    for region in range(1, W[layout.MARKETS] + 1):
        bits = []
        for word, field, low, high in SHAPE_WORDS:
            value = W[k + word] if k + layout.BOOK_HEADER_WORDS <= len(W) else 0
            if value <= 0 or value & value - 1 or not low < value.bit_length() <= high + 1:
                raise unreadable(region, field, f"2^{low}..2^{high}", value)
            bits.append(value.bit_length() - 1)
        shape = Shape(*bits)
        words = market_offsets(shape, sizes.accounts_max)[1]
        if k + words > len(W):
            raise unreadable(region, "WORDS", f"at most {len(W) - k}", words)
        yield k, shape
        k += words
