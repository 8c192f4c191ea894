"""The image of a state: every word that follows from its records, worked out in one go.

What lives here: records -> state words. What must never live here: a second way to keep an index up
while commands run (that is the core's), or a check (the caller has made sure that every number
in the records is within its bounds: `bounds.py`).

Theory of operation. Everything not written is zero, so the image of records that were read from a
state differs from it exactly in the words that broke a law. The import and the integrity walk
are both this comparison.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from struct import pack_into
from typing import Final

from consensus import layout
from consensus.state.memory import Sizes, ledger_offsets
from consensus.state.records import (
    ACCOUNT_WORDS,
    BALANCE_WORDS,
    LEDGER_WORDS,
    MARKET_WORDS,
    TRADER_WORDS,
    Market,
    Order,
    Records,
)
from consensus.state.shape import heap_leaf, key_of, market_offsets

FULL: Final = (1 << 64) - 1
OWNER_ADDRESS: Final = layout.ACCOUNT_OWNER + layout.KEY_ADDRESS
OWNER_FLAGS: Final = layout.ACCOUNT_OWNER + layout.KEY_FLAGS


def write(image: bytearray, at: int, words: Sequence[int]) -> None:
    pack_into(f"<{len(words)}q", image, 8 * at, *words)


def wrapped(total: int) -> int:
    """A sum as a word: only the sums of a damaged state do not fit."""
    return (total + (1 << 63) & FULL) - (1 << 63)


def market_bases(records: Records) -> list[int]:
    """First word of every market's region, and last the end of all."""
    bases = [ledger_offsets(records.sizes)[layout.END]]
    for market in records.markets:
        bases.append(bases[-1] + market_offsets(market.shape, records.sizes.accounts_max)[1])
    return bases


def fee_up(n: int, rate: int) -> int:
    """Ceil of n x rate ppm (docs/protocol/accounts.md)."""
    return -(-n * rate // layout.RATE_UNIT)


def market_word(market: Market, word: int) -> int:
    """One of the market header's own words."""
    return market.words[MARKET_WORDS.index(word)]


def lock_of(market: Market, order: Order) -> tuple[int, int]:
    """Asset and atoms that a resting order holds."""
    lots = order.visible + order.hidden
    if order.side == layout.SELL:
        base = market_word(market, layout.BOOK_BASE)
        return base, lots * market_word(market, layout.BOOK_BASE_PER_LOT)
    q = lots * order.price * market_word(market, layout.BOOK_QUOTE_PER_TICK_LOT)
    worst = order.terms >> layout.TERMS_WORST_SHIFT
    return market_word(market, layout.BOOK_QUOTE_ASSET), q + fee_up(q, worst)


def locks(records: Records) -> Counter[tuple[int, int]]:
    """Atoms locked by (account, asset)."""
    held: Counter[tuple[int, int]] = Counter()
    for market in records.markets:
        for order in market.orders:
            asset, atoms = lock_of(market, order)
            held[order.account, asset] += atoms
    return held


def table_entry(sizes: Sizes, order: Order) -> int:
    """The word of the order tables that names the order."""
    return (order.client & sizes.table_slots - 1) * sizes.accounts_max + order.account


def bitmap(items: Iterable[int], leaf: int, *, any_below: bool) -> dict[int, int]:
    """The non-zero nodes of a 64-ary heap over `items`, signed.

    A bit above the last level says that some bit below is 1, or else that all 64 are.
    """
    nodes: dict[int, int] = {}
    level: dict[int, int] = {}
    for item in items:
        level[leaf + (item >> 6)] = level.get(leaf + (item >> 6), 0) | 1 << (item & 63)
    while level:
        nodes |= level
        above: dict[int, int] = {}
        for node, word in level.items():
            if node and (any_below or word == FULL):
                parent, j = divmod(node - 1, 64)
                above[parent] = above.get(parent, 0) | 1 << j
        level = above
    return {node: word - (1 << 64) if word >> 63 else word for node, word in nodes.items()}


def build(records: Records) -> bytearray:
    """All state words of the records, little-endian."""
    bases = market_bases(records)
    image = bytearray(8 * bases[-1])
    write_header(image, records, bases)
    write_accounts(image, records)
    write_balances(image, records)
    for number, (market, k) in enumerate(zip(records.markets, bases[:-1], strict=True)):
        words = market_offsets(market.shape, records.sizes.accounts_max)[1]
        at = ledger_offsets(records.sizes)[layout.AT_MARKETS] + 16 * number
        write(image, at, (k, words, market.status, market.sweep))
        write_market_header(image, records, number, k)
        write_indexes(image, market, k)
        write_levels(image, market, k)
        write_traders(image, market, k)
    return image


def write_header(image: bytearray, records: Records, bases: list[int]) -> None:
    sizes, offsets = records.sizes, ledger_offsets(records.sizes)
    derived = offsets | {
        layout.LAYOUT: layout.LAYOUT_VERSION,
        layout.ACCOUNTS: len(records.accounts) + 1,
        layout.ASSETS: len(records.assets),
        layout.MARKETS: len(records.markets),
        layout.ACCOUNTS_MAX: sizes.accounts_max,
        layout.ASSETS_MAX: sizes.assets_max,
        layout.MARKETS_MAX: sizes.markets_max,
        layout.TABLE_SLOTS: sizes.table_slots,
        layout.SCHEDULES: len(records.schedules),
        layout.END: bases[-1],
    }
    for word, value in [*derived.items(), *zip(LEDGER_WORDS, records.words, strict=True)]:
        write(image, word, (value,))
    for n, schedule in enumerate(records.schedules):
        write(image, layout.AT_SCHEDULES + 8 * n, schedule)
    for n, asset in enumerate(records.assets):
        write(image, layout.AT_ASSETS + 16 * n, (*asset, 1))


def write_accounts(image: bytearray, records: Records) -> None:
    """Accounts with the sorted address list, session keys, order tables."""
    offsets = ledger_offsets(records.sizes)
    at, tables = offsets[layout.AT_ACCOUNTS], offsets[layout.AT_TABLES]
    for number, market in enumerate(records.markets):
        for order in market.orders:
            entry = 1 + (number << layout.HANDLE_SHIFT | order.slot)
            write(image, tables + table_entry(records.sizes, order), (entry,))
    for account, words in enumerate(records.accounts, 1):
        record = at + 32 * account
        for word, value in zip(ACCOUNT_WORDS, words, strict=True):
            write(image, record + word, (value,))
        write(image, record + OWNER_ADDRESS, words[:3])
        write(image, record + OWNER_FLAGS, (layout.KEY_LIVE,))
    for index, (account, _) in enumerate(records.schedules, 1):
        write(image, at + 32 * account + layout.ACCOUNT_SCHEDULE, (index,))
    ordered = sorted(range(1, len(records.accounts) + 1), key=lambda n: records.accounts[n - 1][:3])
    for account, following in zip([0, *ordered], [*ordered, 0], strict=True):
        write(image, at + 32 * account + layout.ACCOUNT_NEXT, (following,))
    for number, *key in records.keys:
        write(image, offsets[layout.AT_KEYS] + 16 * number, key)


def write_balances(image: bytearray, records: Records) -> None:
    at = ledger_offsets(records.sizes)[layout.AT_BALANCES]
    for number, *words in records.balances:
        for word, value in zip(BALANCE_WORDS, words, strict=True):
            write(image, at + 8 * number + word, (value,))
    for (account, asset), atoms in locks(records).items():
        number = account * records.sizes.assets_max + asset
        write(image, at + 8 * number + layout.BALANCE_LOCKED, (wrapped(atoms),))


def write_market_header(image: bytearray, records: Records, number: int, k: int) -> None:
    market = records.markets[number]
    offsets, _ = market_offsets(market.shape, records.sizes.accounts_max)
    own = zip(MARKET_WORDS, market.words, strict=True)
    for word, value in [(layout.BOOK_MARKET, number), *offsets.items(), *own]:
        write(image, k + word, (value,))
    for side in (layout.BUY, layout.SELL):
        keys = [key_of(market.shape, side, o.price) for o in market.orders if o.side == side]
        best = min(keys, default=1 << market.shape.price_bits)
        write(image, k + layout.BOOK_BEST + side, (best,))
        write(image, k + layout.BOOK_ORDERS + side, (len(keys),))
    write(image, k + layout.BOOK_PAGES, (len(market.pages),))


def write_indexes(image: bytearray, market: Market, k: int) -> None:
    """Price, page and slot bitmaps, and the page directory."""
    at, _ = market_offsets(market.shape, 0)
    price_leaf, pool_leaf, page_leaf = (heap_leaf(bits) for bits in market.shape)
    nodes = [
        (layout.BOOK_PAGE_BITS, bitmap([0, *market.pages.values()], page_leaf, any_below=False)),
        (
            layout.BOOK_SLOT_BITS,
            bitmap([0, *(order.slot for order in market.orders)], pool_leaf, any_below=False),
        ),
    ]
    for side in (layout.BUY, layout.SELL):
        keys = [key_of(market.shape, side, o.price) for o in market.orders if o.side == side]
        bits = bitmap(dict.fromkeys(keys), price_leaf, any_below=True)
        nodes.append((layout.BOOK_PRICE_BITS + side, bits))
    for part, words in nodes:
        for node, word in words.items():
            write(image, k + at[part] + node, (word,))
    for (side, group), page in market.pages.items():
        write(image, k + at[layout.BOOK_DIRECTORY + side] + group, (page,))


def write_levels(image: bytearray, market: Market, k: int) -> None:
    """Order records with their queue links, levels, and the generations of free slots."""
    at, _ = market_offsets(market.shape, 0)
    pages, pool = k + at[layout.BOOK_AT_PAGES], k + at[layout.BOOK_AT_POOL]
    levels: dict[tuple[int, int], list[Order]] = {}
    for order in market.orders:
        key = key_of(market.shape, order.side, order.price)
        levels.setdefault((order.side, key), []).append(order)
    for (side, key), queue in levels.items():
        slots = [order.slot for order in queue]
        level = pages + layout.PAGE_WORDS * market.pages[side, key >> 6] + 4 * (key & 63)
        visible = wrapped(sum(order.visible for order in queue))
        write(image, level, (slots[0], slots[-1], visible, len(slots)))
        links = zip(queue, [*slots[1:], 0], [0, *slots[:-1]], strict=True)
        for order, following, previous in links:
            words = (*order[1:6], following, previous, *order[6:])
            write(image, pool + layout.ORDER_WORDS * order.slot, words)
    for slot, generation in market.freed:
        tag = generation << layout.TAG_GENERATION_SHIFT
        write(image, pool + layout.ORDER_WORDS * slot, (tag,))


def write_traders(image: bytearray, market: Market, k: int) -> None:
    first = k + market_offsets(market.shape, 0)[0][layout.BOOK_AT_TRADERS]
    for account, *words in market.traders:
        for word, value in zip(TRADER_WORDS, words, strict=True):
            write(image, first + 8 * account + word, (value,))
    for account, count in Counter(order.account for order in market.orders).items():
        write(image, first + 8 * account + layout.TRADER_ORDERS, (count,))
