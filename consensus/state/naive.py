"""The naive twin's packer: the canonical memory image of plain objects.

What lives here: `docs/protocol/layout.md`, read a second time. What must never live here: a rule of
the exchange. The packer decides nothing; it writes down.

Theory. The image is the ledger region and then the market regions in the order of listing, words
of 64 bits, little-endian. Everything not written is zero, so each record is one `pack_into` at its
place. Indexes (bitmaps, directory, levels, the address list) are functions of the records; they are
worked out here from scratch each time, which is how the ones the core keeps up are checked.
"""

from collections.abc import Iterable
from struct import pack_into
from typing import Final

from consensus.accounts.naive import Account, Key, Ledger
from consensus.matching.naive_book import Market, Order

LEAF: Final = 32  # words
ASSETS_AT: Final = 256 + 1024 * 8
HEADER: Final = 128  # words of a market header


def write(image: bytearray, at: int, *words: int) -> None:
    """Write signed words from word `at` on."""
    pack_into(f"<{len(words)}q", image, 8 * at, *words)


def signed(word: int) -> int:
    """Return an unsigned 64-bit pattern as the signed word it is stored as."""
    return word - (1 << 64) if word >> 63 else word


def padded(words: int) -> int:
    return -(-words // LEAF) * LEAF


def address_words(address: int) -> tuple[int, int, int]:
    return address >> 104, address >> 48 & (1 << 56) - 1, address & (1 << 48) - 1


def ledger_parts(ledger: Ledger) -> list[int]:
    """Return the first words of assets, markets, accounts, keys, balances, tables, and the end."""
    sizes = (
        ledger.assets_max * 16,
        ledger.markets_max * 16,
        ledger.accounts_max * 32,
        ledger.accounts_max * 4 * 16,
        ledger.accounts_max * ledger.assets_max * 8,
        ledger.accounts_max * ledger.table_slots,
    )
    starts = [ASSETS_AT]
    for size in sizes:
        starts.append(starts[-1] + padded(size))
    return starts


def ledger_words(ledger: Ledger) -> int:
    return ledger_parts(ledger)[-1]


def depth(bits: int) -> int:
    return -(-bits // 6)


def words_above(bits: int) -> int:
    """Return the words that stand above the last level of a bitmap of 2^bits items."""
    return ((1 << 6 * (depth(bits) - 1)) - 1) // 63


def bitmap_words(bits: int) -> int:
    return padded(words_above(bits) + (1 << bits - 6))


def directory_words(market: Market) -> int:
    return max(LEAF, 1 << market.price_bits - 6)


def market_parts(market: Market, accounts_max: int) -> list[int]:
    """Return the offsets of the parts of a market region, in order, and its size."""
    sizes = (
        bitmap_words(market.price_bits),
        bitmap_words(market.price_bits),
        directory_words(market),
        directory_words(market),
        bitmap_words(market.page_bits),
        bitmap_words(market.pool_bits),
        256 << market.page_bits,
        16 << market.pool_bits,
        8 * accounts_max,
    )
    starts = [HEADER]
    for size in sizes:
        starts.append(starts[-1] + size)
    return starts


def market_words(market: Market, accounts_max: int) -> int:
    return market_parts(market, accounts_max)[-1]


def bitmap(items: Iterable[int], bits: int, *, any_below: bool) -> dict[int, int]:
    """Return the non-zero nodes of a 64-ary heap over `items`, as unsigned words.

    A bit above the last level says that some bit below is 1, or else that all 64 are.
    """
    nodes: dict[int, int] = {}
    row = words_above(bits)
    below: dict[int, int] = {}
    for item in items:
        below[item >> 6] = below.get(item >> 6, 0) | 1 << (item & 63)
    while True:
        nodes.update({row + index: word for index, word in below.items()})
        if row == 0:
            return nodes
        above: dict[int, int] = {}
        for index, word in below.items():
            if any_below or word == (1 << 64) - 1:
                above[index >> 6] = above.get(index >> 6, 0) | 1 << (index & 63)
        below, row = above, (row - 1) // 64


def write_bitmap(image: bytearray, at: int, nodes: dict[int, int]) -> None:
    for node, word in nodes.items():
        write(image, at + node, signed(word))


def key_words(key: Key) -> tuple[int, ...]:
    if not key.live:
        return (0,) * 16
    seen = (signed(key.seen >> shift & (1 << 64) - 1) for shift in (0, 64, 128, 192))
    return (
        *address_words(key.address), 1 | key.reduce_only << 1, key.expires, key.cap, key.used,
        key.day, key.markets, key.epoch, key.nonce, *seen, key.quote,
    )  # fmt: skip


def write_header(image: bytearray, ledger: Ledger, markets: list[Market], end: int) -> None:
    parts = ledger_parts(ledger)
    write(
        image, 0, 1, ledger.height, ledger.time, ledger.sequence, len(ledger.accounts),
        len(ledger.assets), len(markets), ledger.accounts_max, ledger.assets_max,
        ledger.markets_max, ledger.table_slots, *parts[1:6], end, int(ledger.chain_halted),
        ledger.l1_origin, ledger.l1_messages, ledger.withdrawals, len(ledger.schedules),
        ledger.sweep_market,
    )  # fmt: skip
    write(image, 24, *key_words(ledger.governor))
    write(image, 40, ledger.validators_epoch, *ledger.validators_hash)
    write(image, 64, *ledger.parameters)


def write_account(image: bytearray, ledger: Ledger, account: Account, following: int) -> None:
    _, _, at_accounts, at_keys, at_balances, at_tables, _ = ledger_parts(ledger)
    index = account.index
    at = at_accounts + 32 * index
    write(image, at + 3, following)
    if index == 0:
        return
    armed = ledger.schedule_of(index)
    write(
        image, at, *address_words(account.address), following, account.tier, account.stp,
        0, 0 if armed is None else armed + 1, account.tokens, account.refilled,
        account.grants,
    )  # fmt: skip
    write(image, at + 16, *key_words(account.owner))
    for number, session in enumerate(account.sessions):
        write(image, at_keys + 16 * (4 * index + number), *key_words(session))
    for asset, balance in enumerate(account.balances):
        words = balance.available, balance.locked, balance.deposited, balance.withdrawn
        write(image, at_balances + 8 * (index * ledger.assets_max + asset), *words)
    for slot, (market, pool_slot) in account.table.items():
        entry = 1 + (market << 24 | pool_slot)
        write(image, at_tables + slot * ledger.accounts_max + index, entry)


def write_ledger(image: bytearray, ledger: Ledger) -> None:
    for number, schedule in enumerate(ledger.schedules):
        write(image, 256 + 8 * number, schedule.account, schedule.due)
    for number, asset in enumerate(ledger.assets):
        words = asset.symbol, asset.decimals, asset.withdraw_min, asset.deposited, asset.withdrawn
        write(image, ASSETS_AT + 16 * number, *words, 1)
    order = [account for _, account in ledger.by_address]
    for account, following in zip(order, [*order[1:], 0], strict=True):
        write_account(image, ledger, ledger.accounts[account], following)


def order_words(order: Order, following: int, previous: int) -> tuple[int, ...]:
    flags = 1 | order.side << 1 | order.mode << 2 | order.post << 5
    terms = order.account.index | (order.maker_rate + (1 << 20)) << 20 | order.worst_rate << 42
    return (
        order.generation << 32 | flags, terms, order.price, order.visible, order.hidden,
        following, previous, order.expires, order.peak, order.total, order.client, order.sequence,
    )  # fmt: skip


def write_market_header(image: bytearray, market: Market, accounts_max: int) -> None:
    at = market.region
    parts = market_parts(market, accounts_max)
    price_bits_at, directory_at, page_at, slot_at = parts[0:2], parts[2:4], parts[4], parts[5]
    best = (side.keys[0] if side.keys else market.ticks for side in market.sides)
    write(
        image, at, *best, market.sides[0].orders, market.sides[1].orders, market.last,
        market.trades, market.lots, market.volume, market.page_numbers.used,
    )  # fmt: skip
    write(
        image, at + 32, market.number, market.ticks, words_above(market.price_bits),
        *price_bits_at, *directory_at, page_at, words_above(market.page_bits), slot_at,
        words_above(market.pool_bits), *parts[6:9], 1 << market.pool_bits, 1 << market.page_bits,
        market.base, market.quote, market.base_per_lot, market.quote_per_tick_lot,
        market.min_notional, market.lots_max, market.band, market.reference,
        market.trader_orders_max,
    )  # fmt: skip
    write(image, at + 64, *(taker << 32 | maker + (1 << 20) for taker, maker in market.fees))


def write_side(image: bytearray, market: Market, side: int, parts: list[int]) -> None:
    at, book = market.region, market.sides[side]
    keys = bitmap(book.keys, market.price_bits, any_below=True)
    write_bitmap(image, at + parts[side], keys)
    for line, (page, _) in book.pages.items():
        write(image, at + parts[2 + side] + line, page)
    for key, level in book.levels.items():
        page = book.pages[key >> 6][0]
        slots = list(level)
        visible = sum(order.visible for order in level.values())
        level_at = at + parts[6] + 256 * page + 4 * (key & 63)
        write(image, level_at, slots[0], slots[-1], visible, len(slots))
        for order, after, before in zip(
            level.values(), [*slots[1:], 0], [0, *slots[:-1]], strict=True
        ):
            write(image, at + parts[7] + 16 * order.slot, *order_words(order, after, before))


def write_market(image: bytearray, market: Market, accounts_max: int) -> None:
    parts = market_parts(market, accounts_max)
    at = market.region
    write_market_header(image, market, accounts_max)
    pages = [0, *(page for side in market.sides for page, _ in side.pages.values())]
    write_bitmap(image, at + parts[4], bitmap(pages, market.page_bits, any_below=False))
    slots = [0, *market.pool]
    write_bitmap(image, at + parts[5], bitmap(slots, market.pool_bits, any_below=False))
    for slot, generation in market.generations.items():
        write(image, at + parts[7] + 16 * slot, generation << 32)
    write_side(image, market, 0, parts)
    write_side(image, market, 1, parts)
    for account, position in market.traders.items():
        words = position.net, position.cost, position.realised, position.fees
        write(image, at + parts[8] + 8 * account, *words, position.orders, position.volume)


def pack(ledger: Ledger, markets: list[Market]) -> bytes:
    """Return the state as little-endian words: the ledger, then the markets as they were listed."""
    end = ledger_words(ledger)
    if markets:
        end = markets[-1].region + market_words(markets[-1], ledger.accounts_max)
    image = bytearray(8 * end)
    write_header(image, ledger, markets, end)
    write_ledger(image, ledger)
    at_markets = ledger_parts(ledger)[1]
    for market in markets:
        words = market_words(market, ledger.accounts_max)
        record = market.region, words, int(market.halted), market.sweep
        write(image, at_markets + 16 * market.number, *record)
        write_market(image, market, ledger.accounts_max)
    return bytes(image)
