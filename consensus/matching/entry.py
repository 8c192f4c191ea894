"""What an order must pass before it meets the book, and how its rest comes to lie there.

Post-only, minimum and fill-or-kill, room and eviction. Rules: docs/protocol/matching.md.
"""

from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus.accounts.ledger import (
    account_at,
    lock,
    locked_asset,
    table_at,
    trader_at,
)
from consensus.layout import (
    ACCOUNT_TIER,
    BOOK_BEST,
    BOOK_DIRECTORY,
    BOOK_FEES,
    BOOK_MARKET,
    BOOK_ORDERS,
    BOOK_PAGES,
    BOOK_PAGES_MAX,
    BOOK_POOL_MAX,
    BOOK_PRICE_BITS,
    BOOK_PRICE_LEAF,
    BOOK_SLOT_BITS,
    BOOK_SLOT_LEAF,
    BOOK_TICKS,
    BUY,
    EVENT_RESTED,
    GENERATION_MAX,
    HANDLE_SHIFT,
    LEVEL_HEAD,
    MAKER_BIAS,
    ORDER_CLIENT,
    ORDER_EXPIRES,
    ORDER_HIDDEN,
    ORDER_NEXT,
    ORDER_PEAK,
    ORDER_PRICE,
    ORDER_SEQUENCE,
    ORDER_TAG,
    ORDER_TERMS,
    ORDER_TOTAL,
    ORDER_VISIBLE,
    POST_ONLY_CROSS,
    POST_REJECT,
    REASON_EXPIRED,
    S_VISITS,
    SEQUENCE,
    STP_CANCEL_MAKER,
    TAG_GENERATION_SHIFT,
    TERMS_ACCOUNT_MASK,
    TERMS_MAKER_MASK,
    TERMS_MAKER_SHIFT,
    TERMS_WORST_SHIFT,
    TIME,
    TRADER_ORDERS,
    UNFILLABLE,
    VISITS_MAX,
    WORK_LIMIT,
)
from consensus.matching.book import key_of, level_at, link, order_at
from consensus.matching.heap import next_key, take_lowest
from consensus.matching.orders import evict, handle_of, remove
from consensus.scratch import event, touch

EVICTIONS_MAX: Final = 64  # for one level page


def terms_of(M: vec[i64], k: i64, account: i64) -> i64:
    """The TERMS word of an order entering now: account, maker rate, worst rate of its tier."""
    fees: i64 = M[k + BOOK_FEES + M[account_at(M, account) + ACCOUNT_TIER]]
    maker: i64 = fees & TERMS_MAKER_MASK
    worst: i64 = fees >> 32
    if maker - MAKER_BIAS > worst:
        worst = maker - MAKER_BIAS
    return account | (maker << TERMS_MAKER_SHIFT) | (worst << TERMS_WORST_SHIFT)


def taker_rate(M: vec[i64], k: i64, account: i64) -> i64:
    """The account's taker rate here, ppm."""
    return M[k + BOOK_FEES + M[account_at(M, account) + ACCOUNT_TIER]] >> 32


def post_price(M: vec[i64], S: vec[i64], k: i64, side: i64, price: i64, mode: i64) -> i64:
    """The price at which a post-only order rests, or minus its refusal."""
    other: i64 = 1 - side
    limit: i64 = key_of(M, k, other, price)
    key: i64 = M[k + BOOK_BEST + other]
    while key <= limit:
        slot: i64 = M[level_at(M, k, other, key) + LEVEL_HEAD]
        if M[order_at(M, k, slot) + ORDER_EXPIRES] > M[TIME]:
            break
        if S[S_VISITS] >= M[VISITS_MAX]:
            return -WORK_LIMIT
        S[S_VISITS] += 1
        remove(M, S, k, slot, REASON_EXPIRED)
        key = M[k + BOOK_BEST + other]
    if key > limit:
        return price
    if mode == POST_REJECT:
        return -POST_ONLY_CROSS
    behind: i64 = key_of(M, k, other, key)
    behind = behind - 1 if side == BUY else behind + 1
    if behind < 1 or behind > M[k + BOOK_TICKS] - 2:
        return -POST_ONLY_CROSS
    return behind


def fillable(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    account: i64,
    side: i64,
    limit: i64,
    need: i64,
    stp: i64,
) -> i64:
    """0 if the loop would fill `need` lots at once, else the refusal. Counts visits only."""
    other: i64 = 1 - side
    bits: i64 = k + M[k + BOOK_PRICE_BITS + other]
    budget: i64 = M[VISITS_MAX] >> 1
    key: i64 = M[k + BOOK_BEST + other]
    while key <= limit:
        hidden: i64 = 0
        slot: i64 = M[level_at(M, k, other, key) + LEVEL_HEAD]
        slices: i64 = 0
        while slot != 0:
            S[S_VISITS] += 1
            if S[S_VISITS] > budget:
                return WORK_LIMIT
            order: i64 = order_at(M, k, slot)
            slot = M[order + ORDER_NEXT]
            if M[order + ORDER_EXPIRES] <= M[TIME]:
                continue
            if M[order + ORDER_TERMS] & TERMS_ACCOUNT_MASK == account:
                if stp != STP_CANCEL_MAKER:
                    return UNFILLABLE
                continue
            need -= M[order + ORDER_VISIBLE]
            if need <= 0:
                return 0
            if M[order + ORDER_HIDDEN] > 0:
                peak: i64 = M[order + ORDER_PEAK]
                hidden += M[order + ORDER_HIDDEN]
                slices += (M[order + ORDER_HIDDEN] + peak - 1) // peak
        S[S_VISITS] += slices
        if S[S_VISITS] > budget:
            return WORK_LIMIT
        need -= hidden
        if need <= 0:
            return 0
        key = next_key(M, S, bits, M[k + BOOK_PRICE_LEAF], key, M[k + BOOK_TICKS])
    return UNFILLABLE


def make_room(M: vec[i64], S: vec[i64], k: i64, side: i64, price: i64, fresh: bool) -> bool:
    """See to a free slot (for a fresh order) and a page for `price`, evicting if need be."""
    if fresh and M[k + BOOK_ORDERS] + M[k + BOOK_ORDERS + 1] >= M[k + BOOK_POOL_MAX] - 1:
        if not evict(M, S, k, side, price):
            return False
    entry: i64 = k + M[k + BOOK_DIRECTORY + side] + (key_of(M, k, side, price) >> 6)
    n: i64 = 0
    while M[entry] == 0 and M[k + BOOK_PAGES] >= M[k + BOOK_PAGES_MAX] - 1:
        if n == EVICTIONS_MAX or not evict(M, S, k, side, price):
            return False
        n += 1
    return True


def rest(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    side: i64,
    slot: i64,
    order: i64,
    account: i64,
    price: i64,
    lots: i64,
    amount: i64,
) -> None:
    """Let an order record rest: lots, lock of `amount` atoms, queue, event RESTED."""
    visible: i64 = M[order + ORDER_PEAK]
    if visible == 0 or lots < visible:
        visible = lots
    touch(M, S, k)
    touch(M, S, order)
    M[order + ORDER_PRICE] = price
    M[order + ORDER_VISIBLE] = visible
    M[order + ORDER_HIDDEN] = lots - visible
    M[order + ORDER_SEQUENCE] = M[SEQUENCE]
    lock(M, S, account, locked_asset(M, k, side), amount)
    link(M, S, k, side, slot, order, key_of(M, k, side, price), visible)
    head: i64 = EVENT_RESTED | (side << 16) | (M[k + BOOK_MARKET] << 32)
    handle: i64 = handle_of(M, order, slot)
    event(M, S, head, handle, price, lots, visible, account, M[order + ORDER_CLIENT])


def admit(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    flags: i64,
    terms: i64,
    client: i64,
    expires: i64,
    peak: i64,
    total: i64,
) -> i64:
    """Take the lowest free slot for a new order, open its next generation and write what will not
    change; returns the slot."""
    slot: i64 = take_lowest(M, S, k + M[k + BOOK_SLOT_BITS], M[k + BOOK_SLOT_LEAF])
    order: i64 = order_at(M, k, slot)
    account: i64 = terms & TERMS_ACCOUNT_MASK
    entry: i64 = table_at(M, account, client)
    trader: i64 = trader_at(M, k, account)
    touch(M, S, order)
    touch(M, S, entry)
    touch(M, S, trader)
    generation: i64 = (M[order + ORDER_TAG] >> TAG_GENERATION_SHIFT) + 1
    if generation > GENERATION_MAX:
        generation = 1
    M[order + ORDER_TAG] = (generation << TAG_GENERATION_SHIFT) | flags
    M[order + ORDER_TERMS] = terms
    M[order + ORDER_CLIENT] = client
    M[order + ORDER_EXPIRES] = expires
    M[order + ORDER_PEAK] = peak
    M[order + ORDER_TOTAL] = total
    M[entry] = ((M[k + BOOK_MARKET] << HANDLE_SHIFT) | slot) + 1
    M[trader + TRADER_ORDERS] += 1
    return slot
