"""The loop: a taker walks the other side, price then time. Rules: docs/protocol/matching.md.

The running taker lives in scratch words (S_LOTS, S_SPENT, S_FILLED, ...), so that the loop, the
settlement and the report share it without long argument lists. Every maker met is one visit.
"""

from librt.vecs import vec
from mypy_extensions import i64

from consensus.accounts.ledger import (
    credit,
    fee_up,
    lock,
    lock_of,
    locked_asset,
    saturate,
    settle_maker,
    trade_position,
    trader_at,
)
from consensus.layout import (
    BOOK_BASE,
    BOOK_BASE_PER_LOT,
    BOOK_BEST,
    BOOK_LAST,
    BOOK_LOTS,
    BOOK_MARKET,
    BOOK_QUOTE,
    BOOK_QUOTE_ASSET,
    BOOK_QUOTE_PER_TICK_LOT,
    BOOK_TRADES,
    BUY,
    EVENT_REDUCED,
    EVENT_TAKEN,
    EVENT_TRADE,
    FEE_ACCOUNT,
    LEVEL_HEAD,
    LEVEL_VISIBLE,
    MAKER_BIAS,
    ORDER_EXPIRES,
    ORDER_HIDDEN,
    ORDER_PEAK,
    ORDER_PRICE,
    ORDER_SEQUENCE,
    ORDER_TERMS,
    ORDER_TOTAL,
    ORDER_VISIBLE,
    REASON_BUDGET,
    REASON_EXPIRED,
    REASON_SELF_TRADE,
    REASON_WORK_LIMIT,
    S_BUDGET,
    S_DECREMENTED,
    S_FEE,
    S_FILLED,
    S_LOTS,
    S_SPENT,
    S_STOP,
    S_TRADES,
    S_VISITS,
    SEQUENCE,
    STP_CANCEL_MAKER,
    STP_CANCEL_TAKER,
    STP_DECREMENT,
    TERMS_ACCOUNT_MASK,
    TERMS_MAKER_MASK,
    TERMS_MAKER_SHIFT,
    TERMS_WORST_SHIFT,
    TIME,
    TRADE_MAKER_DONE,
    TRADE_MAKER_REFRESHED,
    VISITS_MAX,
)
from consensus.matching.book import key_of, level_at, order_at, to_back, unlink
from consensus.matching.orders import free, handle_of, remove
from consensus.scratch import event, touch


def exhaust(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    level: i64,
    slot: i64,
    order: i64,
    side: i64,
    key: i64,
) -> i64:
    """The visible slice of the head is gone: refresh it or free the order. Returns trade flags."""
    hidden: i64 = M[order + ORDER_HIDDEN]
    if hidden == 0:
        account: i64 = M[order + ORDER_TERMS] & TERMS_ACCOUNT_MASK
        unlink(M, S, k, side, order, key, level)
        free(M, S, k, slot, order, account)
        return TRADE_MAKER_DONE
    visible: i64 = M[order + ORDER_PEAK]
    if hidden < visible:
        visible = hidden
    touch(M, S, order)
    M[order + ORDER_VISIBLE] = visible
    M[order + ORDER_HIDDEN] = hidden - visible
    M[order + ORDER_SEQUENCE] = M[SEQUENCE]
    M[level + LEVEL_VISIBLE] += visible
    to_back(M, S, k, level, order, slot)
    return TRADE_MAKER_REFRESHED


def decrement(M: vec[i64], S: vec[i64], k: i64, level: i64, slot: i64, side: i64, key: i64) -> None:
    """Taker and maker of one account both lose lots: no trade, fee or volume."""
    order: i64 = order_at(M, k, slot)
    price: i64 = M[order + ORDER_PRICE]
    t: i64 = M[order + ORDER_VISIBLE]
    if S[S_LOTS] < t:
        t = S[S_LOTS]
    left: i64 = M[order + ORDER_VISIBLE] + M[order + ORDER_HIDDEN] - t
    terms: i64 = M[order + ORDER_TERMS]
    worst: i64 = terms >> TERMS_WORST_SHIFT
    account: i64 = terms & TERMS_ACCOUNT_MASK
    held: i64 = lock_of(M, k, side, left + t, price, worst)
    keeps: i64 = lock_of(M, k, side, left, price, worst)
    lock(M, S, account, locked_asset(M, k, side), keeps - held)
    head: i64 = EVENT_REDUCED | (REASON_SELF_TRADE << 8) | (side << 16)
    head = head | (M[k + BOOK_MARKET] << 32)
    event(M, S, head, handle_of(M, order, slot), price, t, left, account, 0)
    touch(M, S, order)
    touch(M, S, level)
    M[order + ORDER_TOTAL] -= t
    M[order + ORDER_VISIBLE] -= t
    M[level + LEVEL_VISIBLE] -= t
    if M[order + ORDER_VISIBLE] == 0:
        exhaust(M, S, k, level, slot, order, side, key)
    S[S_LOTS] -= t
    S[S_DECREMENTED] += t


def meet_own(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    level: i64,
    slot: i64,
    side: i64,
    key: i64,
    stp: i64,
) -> None:
    """The taker meets an order of its own account."""
    if stp == STP_DECREMENT:
        decrement(M, S, k, level, slot, side, key)
        return
    if stp != STP_CANCEL_MAKER:
        S[S_STOP] = REASON_SELF_TRADE
    if stp != STP_CANCEL_TAKER:
        remove(M, S, k, slot, REASON_SELF_TRADE)


def affordable(S: vec[i64], value: i64, rate: i64, lots: i64) -> i64:
    """Lots that the budget left buys at `value` a lot with fee, at most `lots`; spends it."""
    unit: i64 = value + fee_up(value, rate)
    t: i64 = S[S_BUDGET] // unit
    if t > lots:
        t = lots
    S[S_BUDGET] -= t * unit  # <= the budget
    return t


def trade(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    level: i64,
    slot: i64,
    order: i64,
    key: i64,
    t: i64,
    price: i64,
    head: i64,
    taker: i64,
) -> None:
    """Trade t lots with the head of `level`; head = event word 0, taker = account << 20 | rate."""
    side: i64 = 1 - ((head >> 16) & 1)
    terms: i64 = M[order + ORDER_TERMS]
    maker: i64 = terms & TERMS_ACCOUNT_MASK
    rate: i64 = ((terms >> TERMS_MAKER_SHIFT) & TERMS_MAKER_MASK) - MAKER_BIAS
    if rate < 0 and rate < -(taker & 1048575):
        rate = -(taker & 1048575)
    visible: i64 = M[order + ORDER_VISIBLE] - t
    left: i64 = visible + M[order + ORDER_HIDDEN]
    value: i64 = price * M[k + BOOK_QUOTE_PER_TICK_LOT]
    fee: i64 = settle_maker(M, S, k, maker, side, t, left, value, rate, terms >> TERMS_WORST_SHIFT)
    handle: i64 = handle_of(M, order, slot)
    touch(M, S, order)
    touch(M, S, level)
    M[order + ORDER_VISIBLE] = visible
    M[level + LEVEL_VISIBLE] -= t
    if visible == 0:
        head = head | exhaust(M, S, k, level, slot, order, side, key)
    event(M, S, head, handle, price, t, fee, maker | ((taker >> 20) << 32), left)
    S[S_FEE] += fee


def walk(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    account: i64,
    side: i64,
    limit: i64,
    stp: i64,
    rate: i64,
    budget: bool,
) -> None:
    """Trade S_LOTS of `account` against the other side down to key `limit`."""
    other: i64 = 1 - side
    visits: i64 = S[S_VISITS]
    visits_max: i64 = M[VISITS_MAX]
    head: i64 = EVENT_TRADE | (side << 16) | (M[k + BOOK_MARKET] << 32)
    taker: i64 = (account << 20) | rate
    lots: i64 = S[S_LOTS]
    trades: i64 = 0
    stop: i64 = 0
    key: i64 = M[k + BOOK_BEST + other]
    touch(M, S, k)
    while key <= limit and lots > 0 and stop == 0:
        level: i64 = level_at(M, k, other, key)
        price: i64 = key_of(M, k, other, key)
        slot: i64 = M[level + LEVEL_HEAD]
        filled: i64 = 0
        while slot != 0 and lots > 0 and stop == 0:
            order: i64 = order_at(M, k, slot)
            if visits >= visits_max:
                stop = REASON_WORK_LIMIT
            elif M[order + ORDER_EXPIRES] <= M[TIME]:
                remove(M, S, k, slot, REASON_EXPIRED)
            elif M[order + ORDER_TERMS] & TERMS_ACCOUNT_MASK == account:
                S[S_LOTS] = lots
                meet_own(M, S, k, level, slot, other, key, stp)
                lots = S[S_LOTS]
                stop = S[S_STOP]
            else:
                t: i64 = M[order + ORDER_VISIBLE]
                if lots < t:
                    t = lots
                if budget:
                    t = affordable(S, price * M[k + BOOK_QUOTE_PER_TICK_LOT], rate, t)
                if t == 0:
                    stop = REASON_BUDGET
                else:
                    trade(M, S, k, level, slot, order, key, t, price, head, taker)
                    lots -= t
                    filled += t
                    trades += 1
            visits += 1
            slot = M[level + LEVEL_HEAD]
        if filled > 0:
            M[k + BOOK_LAST] = price
            S[S_FILLED] += filled
            S[S_SPENT] += filled * price * M[k + BOOK_QUOTE_PER_TICK_LOT]  # <= 2^61
        key = M[k + BOOK_BEST + other]
    S[S_LOTS] = lots
    S[S_STOP] = stop
    S[S_TRADES] = trades
    S[S_VISITS] = visits


def begin(S: vec[i64], lots: i64, budget: i64) -> None:
    """Clear the running taker; visits made by a post-only check or a scan stay counted."""
    S[S_LOTS] = lots
    S[S_BUDGET] = budget
    S[S_SPENT] = 0
    S[S_FILLED] = 0
    S[S_FEE] = 0
    S[S_STOP] = 0
    S[S_DECREMENTED] = 0
    S[S_TRADES] = 0


def settle(M: vec[i64], S: vec[i64], k: i64, account: i64, side: i64, rate: i64, room: i64) -> i64:
    """Pay the taker once; `room` = quote it may spend at most, fee included. Returns its fee."""
    spent: i64 = S[S_SPENT]
    filled: i64 = S[S_FILLED]
    base: i64 = filled * M[k + BOOK_BASE_PER_LOT]  # <= 2^61
    fee: i64 = fee_up(spent, rate)
    if side == BUY:
        if fee > room - spent:
            fee = room - spent
        credit(M, S, account, M[k + BOOK_QUOTE_ASSET], -spent - fee)
        credit(M, S, account, M[k + BOOK_BASE], base)
    else:
        credit(M, S, account, M[k + BOOK_BASE], -base)
        credit(M, S, account, M[k + BOOK_QUOTE_ASSET], spent - fee)
    credit(M, S, FEE_ACCOUNT, M[k + BOOK_QUOTE_ASSET], fee + S[S_FEE])
    trade_position(M, S, trader_at(M, k, account), side, filled, spent, fee)
    touch(M, S, k)
    M[k + BOOK_TRADES] = saturate(M[k + BOOK_TRADES] + S[S_TRADES])
    M[k + BOOK_LOTS] = saturate(M[k + BOOK_LOTS] + filled)
    M[k + BOOK_QUOTE] = saturate(M[k + BOOK_QUOTE] + spent)
    return fee


def report_taken(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    account: i64,
    side: i64,
    handle: i64,
    fee: i64,
    left: i64,
) -> None:
    """Event TAKEN: what the taker traded in all."""
    head: i64 = EVENT_TAKEN | (side << 16) | (M[k + BOOK_MARKET] << 32)
    event(M, S, head, handle, S[S_SPENT], S[S_FILLED], fee, account, left)
