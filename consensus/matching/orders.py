"""Order records: allocation, removal, lookup, eviction.

A slot's TAG keeps its generation after the order is gone, so that an old handle never names a new
order; everything else of a freed record is zero. A handle is checked slot range, live, generation,
owner, in that order (docs/protocol/commands.md).
"""

from librt.vecs import vec
from mypy_extensions import i64

from consensus.accounts.ledger import (
    lock,
    lock_of,
    locked_asset,
    table_at,
    trader_at,
)
from consensus.layout import (
    BOOK_MARKET,
    BOOK_ORDERS,
    BOOK_POOL_MAX,
    BOOK_PRICE_BITS,
    BOOK_PRICE_LEAF,
    BOOK_SLOT_BITS,
    BOOK_SLOT_LEAF,
    EVENT_CANCELED,
    HANDLE_SHIFT,
    HANDLE_SLOT_MASK,
    LEVEL_TAIL,
    ORDER_CLIENT,
    ORDER_EXPIRES,
    ORDER_HIDDEN,
    ORDER_NEXT,
    ORDER_PEAK,
    ORDER_PREV,
    ORDER_PRICE,
    ORDER_SEQUENCE,
    ORDER_TAG,
    ORDER_TERMS,
    ORDER_TOTAL,
    ORDER_VISIBLE,
    REASON_EVICTED,
    SELL,
    TAG_GENERATION_SHIFT,
    TAG_LIVE,
    TAG_SIDE_SHIFT,
    TERMS_ACCOUNT_MASK,
    TERMS_WORST_SHIFT,
    TRADER_ORDERS,
)
from consensus.matching.book import key_of, level_at, order_at, unlink
from consensus.matching.heap import give_back, highest_key
from consensus.scratch import event, touch


def side_of(M: vec[i64], order: i64) -> i64:
    """0 buy, 1 sell."""
    return (M[order + ORDER_TAG] >> TAG_SIDE_SHIFT) & 1


def handle_of(M: vec[i64], order: i64, slot: i64) -> i64:
    """generation << 24 | slot."""
    return ((M[order + ORDER_TAG] >> TAG_GENERATION_SHIFT) << HANDLE_SHIFT) | slot


def slot_of(M: vec[i64], k: i64, handle: i64, account: i64) -> i64:
    """Slot of the live order that `handle` names and `account` owns, or 0."""
    slot: i64 = handle & HANDLE_SLOT_MASK
    if handle <= 0 or slot == 0 or slot >= M[k + BOOK_POOL_MAX]:
        return 0
    order: i64 = order_at(M, k, slot)
    tag: i64 = M[order + ORDER_TAG]
    if tag & TAG_LIVE == 0 or tag >> TAG_GENERATION_SHIFT != handle >> HANDLE_SHIFT:
        return 0
    if M[order + ORDER_TERMS] & TERMS_ACCOUNT_MASK != account:
        return 0
    return slot


def free(M: vec[i64], S: vec[i64], k: i64, slot: i64, order: i64, account: i64) -> None:
    """Return the slot of an order that is out of the queue, holds no funds and is touched."""
    entry: i64 = table_at(M, account, M[order + ORDER_CLIENT])
    trader: i64 = trader_at(M, k, account)
    touch(M, S, entry)
    touch(M, S, trader)
    M[entry] = 0
    M[trader + TRADER_ORDERS] -= 1
    generation: i64 = M[order + ORDER_TAG] >> TAG_GENERATION_SHIFT
    M[order + ORDER_TAG] = generation << TAG_GENERATION_SHIFT
    M[order + ORDER_TERMS] = 0
    M[order + ORDER_PRICE] = 0
    M[order + ORDER_VISIBLE] = 0
    M[order + ORDER_HIDDEN] = 0
    M[order + ORDER_NEXT] = 0
    M[order + ORDER_PREV] = 0
    M[order + ORDER_EXPIRES] = 0
    M[order + ORDER_PEAK] = 0
    M[order + ORDER_TOTAL] = 0
    M[order + ORDER_CLIENT] = 0
    M[order + ORDER_SEQUENCE] = 0
    give_back(M, S, k + M[k + BOOK_SLOT_BITS], M[k + BOOK_SLOT_LEAF], slot)


def lock_held(M: vec[i64], k: i64, order: i64) -> i64:
    """Atoms that a live order holds now."""
    lots: i64 = M[order + ORDER_VISIBLE] + M[order + ORDER_HIDDEN]
    worst: i64 = M[order + ORDER_TERMS] >> TERMS_WORST_SHIFT
    return lock_of(M, k, side_of(M, order), lots, M[order + ORDER_PRICE], worst)


def report_cancel(
    M: vec[i64], S: vec[i64], k: i64, order: i64, slot: i64, lots: i64, reason: i64
) -> None:
    """Event CANCELED for an order record."""
    tag: i64 = M[order + ORDER_TAG]
    head: i64 = EVENT_CANCELED | (reason << 8) | (((tag >> TAG_SIDE_SHIFT) & 1) << 16)
    head = head | (M[k + BOOK_MARKET] << 32)
    handle: i64 = ((tag >> TAG_GENERATION_SHIFT) << HANDLE_SHIFT) | slot
    account: i64 = M[order + ORDER_TERMS] & TERMS_ACCOUNT_MASK
    event(
        M,
        S,
        head,
        handle,
        M[order + ORDER_PRICE],
        lots,
        M[order + ORDER_CLIENT],
        account,
        0,
    )


def remove(M: vec[i64], S: vec[i64], k: i64, slot: i64, reason: i64) -> None:
    """Take a live order off the book: queue, funds, table, counters, slot, and say so."""
    order: i64 = order_at(M, k, slot)
    side: i64 = side_of(M, order)
    terms: i64 = M[order + ORDER_TERMS]
    price: i64 = M[order + ORDER_PRICE]
    account: i64 = terms & TERMS_ACCOUNT_MASK
    lots: i64 = M[order + ORDER_VISIBLE] + M[order + ORDER_HIDDEN]
    key: i64 = key_of(M, k, side, price)
    report_cancel(M, S, k, order, slot, lots, reason)
    touch(M, S, k)
    touch(M, S, order)
    unlink(M, S, k, side, order, key, level_at(M, k, side, key))
    held: i64 = lock_of(M, k, side, lots, price, terms >> TERMS_WORST_SHIFT)
    lock(M, S, account, locked_asset(M, k, side), -held)
    free(M, S, k, slot, order, account)


def evict(M: vec[i64], S: vec[i64], k: i64, side: i64, price: i64) -> bool:
    """Make room for a better newcomer at the cost of the order furthest from the touch."""
    victim: i64 = side
    if M[k + BOOK_ORDERS + 1 - side] > M[k + BOOK_ORDERS + side]:
        victim = 1 - side
    if M[k + BOOK_ORDERS + victim] == 0:
        return False
    worst: i64 = highest_key(M, k + M[k + BOOK_PRICE_BITS + victim], M[k + BOOK_PRICE_LEAF])
    if victim == side and key_of(M, k, side, price) >= worst:
        return False
    remove(M, S, k, M[level_at(M, k, victim, worst) + LEVEL_TAIL], REASON_EVICTED)
    return True


def is_dead(M: vec[i64], order: i64, now: i64) -> bool:
    """Whether the order has expired at `now`."""
    return M[order + ORDER_EXPIRES] <= now


def opposite_limit(M: vec[i64], k: i64, side: i64, price: i64) -> i64:
    """The taker's limit as a key of the other side."""
    return key_of(M, k, SELL - side, price)
