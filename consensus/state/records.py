"""The records of a state: what is consensus for itself, without anything that follows from it.

What lives here: the record types, where a state's parts are, and reading the records out of state
words. What must never live here: an index, a sum or a counter that the records determine
(`image.py` works those out), or a judgement on a record (`bounds.py`).

Theory of operation. Two things look like indexes and are history, so they are records: the *queue*
of a level (two orders can get their place in one operation) and the *page* that holds a group of 64
levels (the lowest free one at the time it appeared). Reading must also serve the integrity walk,
whose state may be wrong in any word, so each is read from the words that agree: queue places
by SEQUENCE and, between equals, along PREV; a page by the levels in it, where the directory
contradicts them.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from consensus import layout
from consensus.state.memory import Sizes, ledger_offsets
from consensus.state.shape import (
    Shape,
    Words,
    key_of,
    market_offsets,
    read_shapes,
    read_sizes,
)

LEDGER_WORDS: Final = (
    layout.HEIGHT, layout.TIME, layout.SEQUENCE, layout.CHAIN_STATUS, layout.L1_ORIGIN,
    layout.L1_MESSAGES, layout.WITHDRAWALS, layout.SWEEP_MARKET,
    *range(layout.GOVERNOR, layout.GOVERNOR + 16), layout.VALIDATORS_EPOCH,
    *range(layout.VALIDATORS_HASH, layout.VALIDATORS_HASH + 4),
    *range(layout.PARAMETERS, layout.PARAMETERS + layout.PARAMETER_COUNT),
)  # fmt: skip
ASSET_WORDS: Final = 5  # the first of the record; LISTED is 1
ACCOUNT_WORDS: Final = (
    0, 1, 2, layout.ACCOUNT_TIER, layout.ACCOUNT_STP, layout.ACCOUNT_TOKENS,
    layout.ACCOUNT_REFILLED, layout.ACCOUNT_GRANTS, layout.ACCOUNT_OWNER + layout.KEY_NONCE,
    *range(layout.ACCOUNT_OWNER + layout.KEY_SEEN, layout.ACCOUNT_OWNER + layout.KEY_SEEN + 4),
)  # fmt: skip
BALANCE_WORDS: Final = (
    layout.BALANCE_AVAILABLE, layout.BALANCE_DEPOSITED, layout.BALANCE_WITHDRAWN,
)  # fmt: skip
MARKET_WORDS: Final = (
    layout.BOOK_LAST, layout.BOOK_TRADES, layout.BOOK_LOTS, layout.BOOK_QUOTE,
    *range(layout.BOOK_BASE, layout.BOOK_TRADER_ORDERS_MAX + 1),
    *range(layout.BOOK_FEES, layout.BOOK_FEES + layout.TIERS),
)  # fmt: skip
TRADER_WORDS: Final = (
    layout.TRADER_NET, layout.TRADER_COST, layout.TRADER_REALISED, layout.TRADER_FEES,
    layout.TRADER_VOLUME,
)  # fmt: skip


class Order(NamedTuple):
    """A live order: its slot and its record without NEXT and PREV."""

    slot: int
    tag: int
    terms: int
    price: int
    visible: int
    hidden: int
    expires: int
    peak: int
    total: int
    client: int
    sequence: int

    @property
    def side(self) -> int:
        return self.tag >> layout.TAG_SIDE_SHIFT & 1

    @property
    def account(self) -> int:
        return self.terms & layout.TERMS_ACCOUNT_MASK


@dataclass(slots=True)
class Market:
    """One market. Orders: buys, then sells; keys ascending; each level in its queue's order."""

    shape: Shape
    status: int
    sweep: int
    words: list[int]  # MARKET_WORDS
    pages: dict[tuple[int, int], int]  # (side, key >> 6) -> page
    orders: list[Order]
    freed: list[tuple[int, int]]  # (slot, generation) of free slots that were used
    traders: list[tuple[int, ...]]  # account, TRADER_WORDS; not all zero


@dataclass(slots=True)
class Records:
    """Everything from which a state can be made again. Indexes are places in the lists."""

    sizes: Sizes
    words: list[int]  # LEDGER_WORDS
    assets: list[tuple[int, ...]]
    schedules: list[tuple[int, int]]  # account, due
    accounts: list[tuple[int, ...]]  # ACCOUNT_WORDS, from account 1 on
    keys: list[tuple[int, ...]]  # number (4 x account + slot - 1), 16 words; live ones
    balances: list[tuple[int, ...]]  # number (account x assets_max + asset), words; not all zero
    markets: list[Market]


def read_records(W: Words) -> Records:
    """The records of a state, whatever its indexes say. InvalidSnapshot 5700 if it has no shape."""
    sizes = read_sizes(W)
    at = ledger_offsets(sizes)
    shapes = list(read_shapes(W, sizes))
    accounts, assets = W[layout.ACCOUNTS], W[layout.ASSETS]
    schedules = columns(W, layout.AT_SCHEDULES, 8, W[layout.SCHEDULES], (0, 1))
    keys = columns(W, at[layout.AT_KEYS], 16, layout.KEYS_PER_ACCOUNT * accounts, range(16))
    numbers = accounts * sizes.assets_max
    balances = columns(W, at[layout.AT_BALANCES], 8, numbers, BALANCE_WORDS)
    return Records(
        sizes,
        [W[word] for word in LEDGER_WORDS],
        columns(W, layout.AT_ASSETS, 16, assets, range(ASSET_WORDS)),
        [(account, due) for account, due in schedules],
        columns(W, at[layout.AT_ACCOUNTS], 32, accounts, ACCOUNT_WORDS)[1:],
        [(n, *key) for n, key in enumerate(keys) if key[layout.KEY_FLAGS] and n >= 4],
        [
            (n, *words)
            for n, words in enumerate(balances)
            if any(words) and n >= sizes.assets_max and n % sizes.assets_max < assets
        ],
        [
            read_market(W, k, shape, at[layout.AT_MARKETS] + 16 * market, accounts)
            for market, (k, shape) in enumerate(shapes)
        ],
    )


def columns(
    W: Words, at: int, width: int, count: int, fields: range | tuple[int, ...]
) -> list[tuple[int, ...]]:
    """The words `fields` of `count` records of `width` words."""
    lists = [W[at + field : at + width * count : width].tolist() for field in fields]
    return list(zip(*lists, strict=True))


def read_market(W: Words, k: int, shape: Shape, record: int, accounts: int) -> Market:
    at, _ = market_offsets(shape, 0)
    pool = k + at[layout.BOOK_AT_POOL]
    tags = W[pool : pool + (layout.ORDER_WORDS << shape.pool_bits) : layout.ORDER_WORDS].tolist()
    orders: list[Order] = []
    before: dict[int, int] = {}  # slot -> PREV
    freed: list[tuple[int, int]] = []
    for slot, tag in enumerate(tags):
        if slot and tag & layout.TAG_LIVE:
            start = pool + layout.ORDER_WORDS * slot
            words = W[start : start + layout.ORDER_WORDS].tolist()
            orders.append(Order(slot, *words[:5], *words[7:12]))
            before[slot] = words[layout.ORDER_PREV]
        elif slot and tag:
            freed.append((slot, tag >> layout.TAG_GENERATION_SHIFT))
    levels: dict[tuple[int, int], list[Order]] = {}
    for order in orders:
        levels.setdefault((order.side, key_of(shape, order.side, order.price)), []).append(order)
    traders = columns(W, k + at[layout.BOOK_AT_TRADERS], 8, accounts, TRADER_WORDS)
    return Market(
        shape,
        W[record + layout.MARKET_STATUS],
        W[record + layout.MARKET_SWEEP],
        [W[k + word] for word in MARKET_WORDS],
        read_pages(W, k, shape, levels),
        [order for place in sorted(levels) for order in in_queue(levels[place], before)],
        freed,
        [(account, *words) for account, words in enumerate(traders) if any(words)],
    )


def in_queue(orders: list[Order], before: dict[int, int]) -> list[Order]:
    """The orders of one level by SEQUENCE and, between equals, along PREV."""
    orders.sort(key=lambda order: order.sequence)
    if len({order.sequence for order in orders}) == len(orders):
        return orders
    after = {before[order.slot]: order.slot for order in orders}
    place: dict[int, int] = {}
    slot = after.get(0, 0)
    while slot and slot not in place:
        place[slot] = len(place)
        slot = after.get(slot, 0)
    return sorted(orders, key=lambda order: (order.sequence, place.get(order.slot, len(place))))


def read_pages(
    W: Words, k: int, shape: Shape, levels: dict[tuple[int, int], list[Order]]
) -> dict[tuple[int, int], int]:
    """The page of every group of 64 keys that has a level."""
    at, _ = market_offsets(shape, 0)
    first = k + at[layout.BOOK_AT_PAGES]
    home = {order.slot: (place[0], place[1] >> 6) for place in levels for order in levels[place]}
    pages: dict[tuple[int, int], int] = {}
    doubtful: list[tuple[int, int]] = []

    def owner(page: int) -> tuple[int, int] | None:
        start = first + layout.PAGE_WORDS * page
        words = W[start : start + layout.PAGE_WORDS].tolist()
        for slot in words[layout.LEVEL_HEAD :: 4] + words[layout.LEVEL_TAIL :: 4]:
            if slot in home:
                return home[slot]
        return None

    for side, group in dict.fromkeys((side, key >> 6) for side, key in sorted(levels)):
        inside = 0 <= group < 1 << shape.price_bits - 6
        page = W[k + at[layout.BOOK_DIRECTORY + side] + group] if inside else 0
        pages[side, group] = page
        if not 0 < page < 1 << shape.page_bits or owner(page) != (side, group):
            doubtful.append((side, group))
    if doubtful:
        owners = {owner(page): page for page in range(1, 1 << shape.page_bits)}
        pages |= {place: owners[place] for place in doubtful if place in owners}
    return pages
