"""The book: levels on pages, queues of order records, and how an order enters and leaves.

    directory[key >> 6] -> page -> level[key & 63] = HEAD TAIL VISIBLE COUNT
                                       |     |
                          order 5 <-> order 9 <-> order 7      (NEXT and PREV are pool slots)

A key is a price turned so that the best is the lowest on both sides; one code path serves both.
What lives here knows records and indexes. It never decides who may do what.
"""

from librt.vecs import vec
from mypy_extensions import i64

from consensus.layout import (
    BOOK_AT_PAGES,
    BOOK_AT_POOL,
    BOOK_BEST,
    BOOK_DIRECTORY,
    BOOK_ORDERS,
    BOOK_PAGE_BITS,
    BOOK_PAGE_LEAF,
    BOOK_PAGES,
    BOOK_PRICE_BITS,
    BOOK_PRICE_LEAF,
    BOOK_TICKS,
    LEVEL_COUNT,
    LEVEL_HEAD,
    LEVEL_TAIL,
    LEVEL_VISIBLE,
    ORDER_NEXT,
    ORDER_PREV,
    ORDER_VISIBLE,
    SELL,
)
from consensus.matching.heap import clear_key, give_back, next_key, set_key, take_lowest
from consensus.scratch import touch


def key_of(M: vec[i64], k: i64, side: i64, price: i64) -> i64:
    """Key of a price on `side`; its own inverse."""
    if side == SELL:
        return price
    return M[k + BOOK_TICKS] - 1 - price


def order_at(M: vec[i64], k: i64, slot: i64) -> i64:
    """First word of the order record in `slot`."""
    return k + M[k + BOOK_AT_POOL] + (slot << 4)


def level_at(M: vec[i64], k: i64, side: i64, key: i64) -> i64:
    """First word of the level of `key`, whose page exists."""
    page: i64 = M[k + M[k + BOOK_DIRECTORY + side] + (key >> 6)]
    return k + M[k + BOOK_AT_PAGES] + (page << 8) + ((key & 63) << 2)


def take_page(M: vec[i64], S: vec[i64], k: i64, entry: i64) -> None:
    """Give a directory entry the lowest free page; one is free."""
    touch(M, S, entry)
    M[entry] = take_lowest(M, S, k + M[k + BOOK_PAGE_BITS], M[k + BOOK_PAGE_LEAF])
    M[k + BOOK_PAGES] += 1


def close_level(M: vec[i64], S: vec[i64], k: i64, side: i64, key: i64) -> None:
    """Take the empty level of `key` away, and its page if it was the last of 64."""
    bits: i64 = k + M[k + BOOK_PRICE_BITS + side]
    leaf: i64 = M[k + BOOK_PRICE_LEAF]
    if key == M[k + BOOK_BEST + side]:
        M[k + BOOK_BEST + side] = next_key(M, S, bits, leaf, key, M[k + BOOK_TICKS])
    clear_key(M, S, bits, leaf, key)
    if M[bits + leaf + (key >> 6)] == 0:
        entry: i64 = k + M[k + BOOK_DIRECTORY + side] + (key >> 6)
        give_back(M, S, k + M[k + BOOK_PAGE_BITS], M[k + BOOK_PAGE_LEAF], M[entry])
        touch(M, S, entry)
        M[entry] = 0
        M[k + BOOK_PAGES] -= 1


def link(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    side: i64,
    slot: i64,
    order: i64,
    key: i64,
    visible: i64,
) -> None:
    """Put an order at the back of the level of `key`; a page is free, the caller touched both k and
    the order."""
    entry: i64 = k + M[k + BOOK_DIRECTORY + side] + (key >> 6)
    if M[entry] == 0:
        take_page(M, S, k, entry)
    level: i64 = k + M[k + BOOK_AT_PAGES] + (M[entry] << 8) + ((key & 63) << 2)
    tail: i64 = M[level + LEVEL_TAIL]
    touch(M, S, level)
    if tail != 0:
        last: i64 = order_at(M, k, tail)
        touch(M, S, last)
        M[last + ORDER_NEXT] = slot
    else:
        M[level + LEVEL_HEAD] = slot
        set_key(M, S, k + M[k + BOOK_PRICE_BITS + side], M[k + BOOK_PRICE_LEAF], key)
        if key < M[k + BOOK_BEST + side]:
            M[k + BOOK_BEST + side] = key
    M[order + ORDER_NEXT] = 0
    M[order + ORDER_PREV] = tail
    M[level + LEVEL_TAIL] = slot
    M[level + LEVEL_VISIBLE] += visible
    M[level + LEVEL_COUNT] += 1
    M[k + BOOK_ORDERS + side] += 1


def unlink(M: vec[i64], S: vec[i64], k: i64, side: i64, order: i64, key: i64, level: i64) -> None:
    """Take an order out of its level, which goes if it is empty then; the caller touched k."""
    after: i64 = M[order + ORDER_NEXT]
    before: i64 = M[order + ORDER_PREV]
    touch(M, S, level)
    M[level + LEVEL_VISIBLE] -= M[order + ORDER_VISIBLE]
    M[level + LEVEL_COUNT] -= 1
    M[k + BOOK_ORDERS + side] -= 1
    if after != 0:
        following: i64 = order_at(M, k, after)
        touch(M, S, following)
        M[following + ORDER_PREV] = before
    else:
        M[level + LEVEL_TAIL] = before
    if before != 0:
        previous: i64 = order_at(M, k, before)
        touch(M, S, previous)
        M[previous + ORDER_NEXT] = after
    else:
        M[level + LEVEL_HEAD] = after
        if after == 0:
            close_level(M, S, k, side, key)


def to_back(M: vec[i64], S: vec[i64], k: i64, level: i64, order: i64, slot: i64) -> None:
    """Move the head of `level` to its back: an iceberg's next slice. Both are touched already."""
    after: i64 = M[order + ORDER_NEXT]
    if after == 0:
        return
    tail: i64 = M[level + LEVEL_TAIL]
    following: i64 = order_at(M, k, after)
    last: i64 = order_at(M, k, tail)
    touch(M, S, following)
    touch(M, S, last)
    M[level + LEVEL_HEAD] = after
    M[following + ORDER_PREV] = 0
    M[last + ORDER_NEXT] = slot
    M[order + ORDER_PREV] = tail
    M[order + ORDER_NEXT] = 0
    M[level + LEVEL_TAIL] = slot
