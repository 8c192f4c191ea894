"""The order commands: place, amend, cancel. Checks first, in the documented order; then the book.

Every function reads its fields from the row at byte `i` of `b` and reports at least one event.
Nothing is changed by a command that is refused, but that dead orders met on the way are removed.
"""

from typing import Final

from librt.strings import read_i64_le
from librt.vecs import vec
from mypy_extensions import i64

from consensus.accounts.keys import (
    charge_cap,
    in_scope,
    is_reduce_only,
    is_session,
    reduces,
    within_cap,
)
from consensus.accounts.ledger import (
    account_at,
    balance_at,
    lock,
    lock_of,
    locked_asset,
    table_at,
    trader_at,
)
from consensus.layout import (
    ACCOUNT_STP,
    ALL_MARKETS,
    AT_MARKETS,
    BALANCE_AVAILABLE,
    BOOK_BAND,
    BOOK_BEST,
    BOOK_LAST,
    BOOK_LOTS_MAX,
    BOOK_MARKET,
    BOOK_MIN_NOTIONAL,
    BOOK_QUOTE_PER_TICK_LOT,
    BOOK_REFERENCE,
    BOOK_TICKS,
    BOOK_TRADER_ORDERS_MAX,
    CHAIN_HALTED,
    CHAIN_STATUS,
    CLIENT_ID_TAKEN,
    DISPLAY,
    EVENT_CANCELED,
    EVENT_MASS,
    EVENT_REDUCED,
    EXPIRED,
    FUNDS,
    HANDLE_SHIFT,
    HANDLE_SLOT_MASK,
    KEY_CAP_REACHED,
    KEY_SCOPE,
    LEVEL_VISIBLE,
    LOTS_RANGE,
    MALFORMED,
    MARKET_HALTED,
    MARKET_REGION,
    MARKET_STATUS,
    MARKETS,
    MIN_NOTIONAL,
    ORDER_CLIENT,
    ORDER_HIDDEN,
    ORDER_PEAK,
    ORDER_PRICE,
    ORDER_TAG,
    ORDER_TERMS,
    ORDER_TOTAL,
    ORDER_VISIBLE,
    ORDERS_MAX,
    PRICE_BAND,
    PRICE_RANGE,
    PRODUCT_MAX,
    RATE_UNIT,
    REASON_AMENDED,
    REASON_BUDGET,
    REASON_BY_USER,
    REASON_EXPIRED,
    REASON_IOC,
    REASON_MASS,
    REASON_NO_ROOM,
    REASON_SELF_TRADE,
    REDUCE_ONLY,
    S_ACCOUNT,
    S_DECREMENTED,
    S_FILLED,
    S_LOTS,
    S_NEXT,
    S_SPENT,
    S_STOP,
    STP_CANCEL_TAKER,
    STP_DECREMENT,
    TABLE_SLOTS,
    TAG_LIVE,
    TAG_POST_SHIFT,
    TAG_SIDE_SHIFT,
    TAG_STP_SHIFT,
    TERMS_WORST_SHIFT,
    TIF_FOK,
    TIF_REST,
    TIME,
    TIME_NEVER,
    TRADER_ORDERS,
    TYPE_BUDGET,
    TYPE_LIMIT,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
    VISITS_MAX,
)
from consensus.matching.book import key_of, level_at, order_at, unlink
from consensus.matching.entry import (
    admit,
    fillable,
    make_room,
    post_price,
    rest,
    taker_rate,
    terms_of,
)
from consensus.matching.match import begin, report_taken, settle, walk
from consensus.matching.orders import (
    free,
    handle_of,
    is_dead,
    lock_held,
    opposite_limit,
    remove,
    report_cancel,
    side_of,
    slot_of,
)
from consensus.scratch import event, refuse, touch

PLACE_UNUSUAL: Final = 0xFFFFCE00  # bits of word 0 that a plain limit order, of any tif, leaves 0


def refuse_row(M: vec[i64], S: vec[i64], b: bytes, i: i64, why: i64) -> None:
    """Report the row at `i` as refused."""
    op: i64 = read_i64_le(b, i) & 255
    refuse(
        M,
        S,
        why,
        op,
        read_i64_le(b, i + 8),
        read_i64_le(b, i + 16),
        read_i64_le(b, i + 24),
        read_i64_le(b, i + 32),
        read_i64_le(b, i + 40),
    )


def market_at(M: vec[i64], market: i64) -> i64:
    """First word of a listed market's region."""
    return M[M[AT_MARKETS] + (market << 4) + MARKET_REGION]


def halted(M: vec[i64], market: i64) -> i64:
    """0, CHAIN_HALTED or MARKET_HALTED."""
    if M[CHAIN_STATUS] != 0:
        return CHAIN_HALTED
    if M[M[AT_MARKETS] + (market << 4) + MARKET_STATUS] != 0:
        return MARKET_HALTED
    return 0


def is_malformed_place(
    w0: i64, client: i64, lots: i64, display: i64, minimum: i64, expires: i64
) -> bool:
    """Whether a place row says something that no place can mean."""
    tif: i64 = (w0 >> 12) & 15
    if w0 & PLACE_UNUSUAL == 0 and (client | expires) >> 53 == 0 and minimum | display == 0:
        return lots < 0 or tif > 2  # a plain limit order of either side, the common case
    if client < 0 or client >= TIME_NEVER or expires < 0 or expires > TIME_NEVER:
        return True
    if display < 0 or minimum < 0 or minimum > lots:
        return True
    kind: i64 = (w0 >> 16) & 15
    post: i64 = (w0 >> 20) & 15
    if (w0 >> 8) & 15 > 1 or tif > 2 or kind > 2 or post > 2 or (w0 >> 24) & 15 > 4:
        return True
    if (w0 >> 28) & 15 > 1:
        return True
    if post != 0 and (tif != TIF_REST or minimum != 0):
        return True
    if kind != TYPE_LIMIT and (tif == TIF_REST or post != 0):
        return True
    if display != 0 and tif != TIF_REST:
        return True
    if kind == TYPE_BUDGET:
        return (w0 >> 8) & 15 != 0 or tif == TIF_FOK or minimum != 0 or (w0 >> 28) & 15 != 0
    return False


def outside_band(M: vec[i64], k: i64, price: i64) -> bool:
    """Whether a limit price is too far from the last trade (or the listing's reference)."""
    centre: i64 = M[k + BOOK_LAST]
    if centre == 0:
        centre = M[k + BOOK_REFERENCE]
    if centre == 0 or M[k + BOOK_BAND] == 0:
        return False
    away: i64 = price - centre if price > centre else centre - price
    return away > centre * M[k + BOOK_BAND] // RATE_UNIT  # 2^28 x 10^6


def place_values(M: vec[i64], k: i64, kind: i64, price: i64, lots: i64, display: i64) -> i64:
    """Price, lots, band, notional and display of a place; 0 or the refusal."""
    if price > M[k + BOOK_TICKS] - 2 or price < 0 or (price == 0 and kind != TYPE_BUDGET):
        return PRICE_RANGE
    if kind == TYPE_BUDGET:
        if lots < 1 or lots > PRODUCT_MAX:
            return LOTS_RANGE
        return MIN_NOTIONAL if lots < M[k + BOOK_MIN_NOTIONAL] else 0
    if lots < 1 or lots > M[k + BOOK_LOTS_MAX]:
        return LOTS_RANGE
    if kind == TYPE_LIMIT and outside_band(M, k, price):
        return PRICE_BAND
    unit: i64 = price * M[k + BOOK_QUOTE_PER_TICK_LOT]  # x LOTS_MAX <= 2^61
    if lots * unit < M[k + BOOK_MIN_NOTIONAL]:
        return MIN_NOTIONAL
    if display > 0:
        if display > lots or display * 64 < lots or display * unit < M[k + BOOK_MIN_NOTIONAL]:
            return DISPLAY
    return 0


def place_rules(
    M: vec[i64],
    S: vec[i64],
    w0: i64,
    client: i64,
    price: i64,
    lots: i64,
    display: i64,
    expires: i64,
) -> i64:
    """Everything a well-formed place must pass before its funds are looked at; 0 or the refusal."""
    market: i64 = (w0 >> 32) & 65535
    if market >= M[MARKETS]:
        return UNKNOWN_MARKET
    why: i64 = halted(M, market)
    if why != 0:
        return why
    k: i64 = market_at(M, market)
    session: bool = is_session(S)
    if session and not in_scope(M, S, k, market):
        return KEY_SCOPE
    if expires != 0 and expires <= M[TIME]:
        return EXPIRED
    kind: i64 = (w0 >> 16) & 15
    why = place_values(M, k, kind, price, lots, display)
    if why != 0:
        return why
    account: i64 = S[S_ACCOUNT]
    if M[table_at(M, account, client)] != 0:
        return CLIENT_ID_TAKEN
    if (w0 >> 28) & 15 != 0 or (session and is_reduce_only(M, S)):
        if kind == TYPE_BUDGET or not reduces(M, k, account, (w0 >> 8) & 15, lots):
            return REDUCE_ONLY
    if session and not within_cap(M, S, place_notional(M, k, kind, price, lots)):
        return KEY_CAP_REACHED
    if (w0 >> 12) & 15 == TIF_REST:
        if M[trader_at(M, k, account) + TRADER_ORDERS] >= M[k + BOOK_TRADER_ORDERS_MAX]:
            return ORDERS_MAX
    return 0


def place_notional(M: vec[i64], k: i64, kind: i64, price: i64, lots: i64) -> i64:
    """Quote atoms of a place at its limit; the budget of a budget order. <= 2^61."""
    if kind == TYPE_BUDGET:
        return lots
    return lots * price * M[k + BOOK_QUOTE_PER_TICK_LOT]


def place(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """A new order."""
    client: i64 = read_i64_le(b, i + 8)
    price: i64 = read_i64_le(b, i + 16)
    asked: i64 = read_i64_le(b, i + 24)
    display: i64 = read_i64_le(b, i + 32)
    minimum: i64 = read_i64_le(b, i + 40)
    expires: i64 = read_i64_le(b, i + 48)
    why: i64 = MALFORMED
    if not is_malformed_place(w0, client, asked, display, minimum, expires):
        if read_i64_le(b, i + 56) == 0:
            why = place_rules(M, S, w0, client, price, asked, display, expires)
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    account: i64 = S[S_ACCOUNT]
    k: i64 = market_at(M, (w0 >> 32) & 65535)
    side: i64 = (w0 >> 8) & 15
    kind: i64 = (w0 >> 16) & 15
    terms: i64 = terms_of(M, k, account)
    asked_price: i64 = price
    need: i64 = asked
    lots: i64 = asked
    if kind == TYPE_BUDGET:
        lots = M[k + BOOK_LOTS_MAX]
        if price == 0:
            price = M[k + BOOK_TICKS] - 2
    else:
        need = lock_of(M, k, side, lots, price, terms >> TERMS_WORST_SHIFT)
    if M[balance_at(M, account, locked_asset(M, k, side)) + BALANCE_AVAILABLE] < need:
        refuse_row(M, S, b, i, FUNDS)
        return
    post: i64 = (w0 >> 20) & 15
    if post != 0:
        price = post_price(M, S, k, side, price, post)
        if price < 0:
            refuse_row(M, S, b, i, -price)
            return
    stp: i64 = (w0 >> 24) & 15
    if stp == 0:
        stp = M[account_at(M, account) + ACCOUNT_STP]
    if (w0 >> 12) & 15 == TIF_FOK:
        minimum = lots
    walk_as: i64 = stp
    if minimum > 0:
        if stp == STP_DECREMENT:
            walk_as = STP_CANCEL_TAKER
        limit: i64 = opposite_limit(M, k, side, price)
        why = fillable(M, S, k, account, side, limit, minimum, walk_as)
        if why != 0:
            refuse_row(M, S, b, i, why)
            return
    if is_session(S):
        charge_cap(M, S, place_notional(M, k, kind, asked_price, asked))
    enter(M, S, b, i, w0, k, client, price, lots, need, terms, stp, walk_as)


def enter(
    M: vec[i64],
    S: vec[i64],
    b: bytes,
    i: i64,
    w0: i64,
    k: i64,
    client: i64,
    price: i64,
    lots: i64,
    need: i64,
    terms: i64,
    stp: i64,
    walk_as: i64,
) -> None:
    """An order that passed every check meets the book; settle, then rest or report the rest."""
    account: i64 = S[S_ACCOUNT]
    side: i64 = (w0 >> 8) & 15
    budget: bool = (w0 >> 16) & 15 == TYPE_BUDGET
    limit: i64 = opposite_limit(M, k, side, price)
    left: i64 = lots
    stop: i64 = 0
    rate: i64 = 0
    filled: i64 = 0
    decremented: i64 = 0
    if M[k + BOOK_BEST + 1 - side] <= limit:
        rate = taker_rate(M, k, account)
        begin(S, lots, need)
        walk(M, S, k, account, side, limit, walk_as, rate, budget)
        left = S[S_LOTS]
        stop = S[S_STOP]
        filled = S[S_FILLED]
        decremented = S[S_DECREMENTED]
    rests: bool = (w0 >> 12) & 15 == TIF_REST and stop == 0 and left > 0
    amount: i64 = 0
    if rests:
        amount = lock_of(M, k, side, left, price, terms >> TERMS_WORST_SHIFT)
    fee: i64 = 0
    spent: i64 = 0
    if filled > 0:
        spent = S[S_SPENT]
        fee = settle(M, S, k, account, side, rate, need - amount)
        report_taken(M, S, k, account, side, 0, fee, 0 if budget else left)
    reason: i64 = stop if stop != 0 else REASON_IOC
    if budget:
        left = need - spent - fee
        if stop == 0:
            reason = REASON_BUDGET
    elif rests:
        if make_room(M, S, k, side, price, True):
            flags: i64 = TAG_LIVE | (side << TAG_SIDE_SHIFT) | (stp << TAG_STP_SHIFT)
            flags = flags | (((w0 >> 20) & 15) << TAG_POST_SHIFT)
            expires: i64 = read_i64_le(b, i + 48)
            if expires == 0:
                expires = TIME_NEVER
            total: i64 = lots - decremented
            display: i64 = read_i64_le(b, i + 32)
            slot: i64 = admit(M, S, k, flags, terms, client, expires, display, total)
            order: i64 = order_at(M, k, slot)
            rest(M, S, k, side, slot, order, account, price, left, amount)
            return
        reason = REASON_NO_ROOM
    elif left == 0:
        if decremented == 0:
            return
        reason = REASON_SELF_TRADE
    head: i64 = EVENT_CANCELED | (reason << 8) | (side << 16) | (M[k + BOOK_MARKET] << 32)
    event(M, S, head, 0, price, left, client, account, 0)


def entry_of_client(M: vec[i64], account: i64, client: i64) -> i64:
    """The table word of a live order by client id, or 0."""
    entry: i64 = M[table_at(M, account, client)]
    if entry == 0:
        return 0
    k: i64 = market_at(M, (entry - 1) >> HANDLE_SHIFT)
    order: i64 = order_at(M, k, (entry - 1) & HANDLE_SLOT_MASK)
    return entry if M[order + ORDER_CLIENT] == client else 0


def amend_rules(
    M: vec[i64], S: vec[i64], k: i64, order: i64, price: i64, total: i64, lots: i64
) -> i64:
    """What a re-entering amend must pass up to its funds; 0 or the refusal."""
    side: i64 = side_of(M, order)
    account: i64 = S[S_ACCOUNT]
    if outside_band(M, k, price):
        return PRICE_BAND
    notional: i64 = lots * price * M[k + BOOK_QUOTE_PER_TICK_LOT]  # <= 2^61
    if notional < M[k + BOOK_MIN_NOTIONAL]:
        return MIN_NOTIONAL
    if M[order + ORDER_PEAK] > 0 and M[order + ORDER_PEAK] * 64 < total:
        return DISPLAY
    if is_reduce_only(M, S) and not reduces(M, k, account, side, lots):
        return REDUCE_ONLY
    if not within_cap(M, S, notional):
        return KEY_CAP_REACHED
    worst: i64 = terms_of(M, k, account) >> TERMS_WORST_SHIFT
    need: i64 = lock_of(M, k, side, lots, price, worst) - lock_held(M, k, order)
    if M[balance_at(M, account, locked_asset(M, k, side)) + BALANCE_AVAILABLE] < need:
        return FUNDS
    return 0


def reduce_in_place(M: vec[i64], S: vec[i64], k: i64, slot: i64, lots: i64) -> None:
    """Take `lots` off an order that keeps its place: hidden lots first, then visible."""
    order: i64 = order_at(M, k, slot)
    side: i64 = side_of(M, order)
    account: i64 = S[S_ACCOUNT]
    held: i64 = lock_held(M, k, order)
    from_hidden: i64 = M[order + ORDER_HIDDEN]
    if lots < from_hidden:
        from_hidden = lots
    level: i64 = level_at(M, k, side, key_of(M, k, side, M[order + ORDER_PRICE]))
    touch(M, S, order)
    touch(M, S, level)
    M[order + ORDER_TOTAL] -= lots
    M[order + ORDER_HIDDEN] -= from_hidden
    M[order + ORDER_VISIBLE] -= lots - from_hidden
    M[level + LEVEL_VISIBLE] -= lots - from_hidden
    lock(M, S, account, locked_asset(M, k, side), lock_held(M, k, order) - held)
    left: i64 = M[order + ORDER_VISIBLE] + M[order + ORDER_HIDDEN]
    head: i64 = EVENT_REDUCED | (REASON_AMENDED << 8) | (side << 16)
    head = head | (M[k + BOOK_MARKET] << 32)
    event(
        M,
        S,
        head,
        handle_of(M, order, slot),
        M[order + ORDER_PRICE],
        lots,
        left,
        account,
        0,
    )


def reenter(M: vec[i64], S: vec[i64], k: i64, slot: i64, price: i64, total: i64, lots: i64) -> None:
    """An amended order leaves its queue and meets the book again, keeping slot and handle."""
    order: i64 = order_at(M, k, slot)
    side: i64 = side_of(M, order)
    account: i64 = S[S_ACCOUNT]
    terms: i64 = terms_of(M, k, account)
    worst: i64 = terms >> TERMS_WORST_SHIFT
    rate: i64 = taker_rate(M, k, account)
    lock(M, S, account, locked_asset(M, k, side), -lock_held(M, k, order))
    touch(M, S, k)
    touch(M, S, order)
    key: i64 = key_of(M, k, side, M[order + ORDER_PRICE])
    unlink(M, S, k, side, order, key, level_at(M, k, side, key))
    M[order + ORDER_TERMS] = terms
    M[order + ORDER_PRICE] = price
    begin(S, lots, 0)
    stp: i64 = (M[order + ORDER_TAG] >> TAG_STP_SHIFT) & 7
    walk(M, S, k, account, side, opposite_limit(M, k, side, price), stp, rate, False)
    M[order + ORDER_TOTAL] = total - S[S_DECREMENTED]
    left: i64 = S[S_LOTS]
    stop: i64 = S[S_STOP]
    amount: i64 = 0
    if stop == 0:
        amount = lock_of(M, k, side, left, price, worst)
    if S[S_FILLED] > 0:
        room: i64 = lock_of(M, k, side, lots, price, worst) - amount
        fee: i64 = settle(M, S, k, account, side, rate, room)
        report_taken(M, S, k, account, side, handle_of(M, order, slot), fee, left)
    if stop == 0 and left > 0:
        if make_room(M, S, k, side, price, False):
            rest(M, S, k, side, slot, order, account, price, left, amount)
            return
        stop = REASON_NO_ROOM
    if left > 0 or S[S_DECREMENTED] > 0:
        if left == 0:
            stop = REASON_SELF_TRADE
        report_cancel(M, S, k, order, slot, left, stop)
    free(M, S, k, slot, order, account)


def amend(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Change price or total of a live order."""
    by_client: bool = (w0 >> 28) & 15 == 1
    name: i64 = read_i64_le(b, i + 8)
    market: i64 = (w0 >> 32) & 65535
    account: i64 = S[S_ACCOUNT]
    if (w0 >> 8) & 1048575 != 0 or (w0 >> 28) & 15 > 1 or has_words(b, i, 32):
        refuse_row(M, S, b, i, MALFORMED)
        return
    slot: i64 = 0
    if by_client:
        if market != 0 or name < 0 or name >= TIME_NEVER:
            refuse_row(M, S, b, i, MALFORMED)
            return
        entry: i64 = entry_of_client(M, account, name)
        if entry != 0:
            market = (entry - 1) >> HANDLE_SHIFT
            slot = (entry - 1) & HANDLE_SLOT_MASK
    elif market >= M[MARKETS]:
        refuse_row(M, S, b, i, UNKNOWN_MARKET)
        return
    else:
        slot = slot_of(M, market_at(M, market), name, account)
    why: i64 = UNKNOWN_ORDER
    if slot != 0:
        why = amend_order(M, S, market, slot, read_i64_le(b, i + 16), read_i64_le(b, i + 24))
    if why != 0:
        refuse_row(M, S, b, i, why)


def amend_order(M: vec[i64], S: vec[i64], market: i64, slot: i64, price: i64, total: i64) -> i64:
    """Amend the live order in `slot`; 0 or the refusal."""
    why: i64 = halted(M, market)
    if why != 0:
        return why
    k: i64 = market_at(M, market)
    if not in_scope(M, S, k, market):
        return KEY_SCOPE
    order: i64 = order_at(M, k, slot)
    if is_dead(M, order, M[TIME]):
        remove(M, S, k, slot, REASON_EXPIRED)
        return UNKNOWN_ORDER
    if price < 1 or price > M[k + BOOK_TICKS] - 2:
        return PRICE_RANGE
    if total < 0 or total > M[k + BOOK_LOTS_MAX]:
        return LOTS_RANGE
    before: i64 = M[order + ORDER_TOTAL]
    filled: i64 = before - M[order + ORDER_VISIBLE] - M[order + ORDER_HIDDEN]
    if total <= filled:
        remove(M, S, k, slot, REASON_AMENDED)
        return 0
    if price == M[order + ORDER_PRICE] and total <= before:
        reduce_in_place(M, S, k, slot, before - total)
        return 0
    why = amend_rules(M, S, k, order, price, total, total - filled)
    if why != 0:
        return why
    post: i64 = (M[order + ORDER_TAG] >> TAG_POST_SHIFT) & 3
    notional: i64 = (total - filled) * price * M[k + BOOK_QUOTE_PER_TICK_LOT]  # <= 2^61
    if post != 0:
        price = post_price(M, S, k, side_of(M, order), price, post)
        if price < 0:
            return -price
    charge_cap(M, S, notional)
    reenter(M, S, k, slot, price, total, total - filled)
    return 0


def has_words(b: bytes, i: i64, at: i64) -> bool:
    """Whether any word of the row from byte `at` on is not 0."""
    while at < 64:
        if read_i64_le(b, i + at) != 0:
            return True
        at += 8
    return False


def cancel(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Cancel by handle; idempotent."""
    market: i64 = (w0 >> 32) & 65535
    if (w0 >> 8) & 16777215 != 0 or has_words(b, i, 16):
        refuse_row(M, S, b, i, MALFORMED)
        return
    if market >= M[MARKETS]:
        refuse_row(M, S, b, i, UNKNOWN_MARKET)
        return
    k: i64 = market_at(M, market)
    slot: i64 = slot_of(M, k, read_i64_le(b, i + 8), S[S_ACCOUNT])
    if slot == 0:
        refuse_row(M, S, b, i, UNKNOWN_ORDER)
        return
    remove(M, S, k, slot, REASON_BY_USER)


def cancel_client(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Cancel by client id."""
    client: i64 = read_i64_le(b, i + 8)
    if w0 >> 8 != 0 or has_words(b, i, 16) or client < 0 or client >= TIME_NEVER:
        refuse_row(M, S, b, i, MALFORMED)
        return
    entry: i64 = entry_of_client(M, S[S_ACCOUNT], client)
    if entry == 0:
        refuse_row(M, S, b, i, UNKNOWN_ORDER)
        return
    k: i64 = market_at(M, (entry - 1) >> HANDLE_SHIFT)
    remove(M, S, k, (entry - 1) & HANDLE_SLOT_MASK, REASON_BY_USER)


def remove_all(
    M: vec[i64],
    S: vec[i64],
    account: i64,
    market: i64,
    first: i64,
    most: i64,
    reason: i64,
) -> i64:
    """Remove up to `most` orders, by table slot from `first`; S_NEXT = where to go on."""
    slots: i64 = M[TABLE_SLOTS]
    n: i64 = 0
    while first < slots and n < most:
        entry: i64 = M[table_at(M, account, first)]
        if entry != 0:
            listed: i64 = (entry - 1) >> HANDLE_SHIFT
            if market == ALL_MARKETS or listed == market:
                k: i64 = market_at(M, listed)
                remove(M, S, k, (entry - 1) & HANDLE_SLOT_MASK, reason)
                n += 1
        first += 1
    S[S_NEXT] = first
    return n


def cancel_all(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Mass cancel, bounded; says where to go on."""
    market: i64 = (w0 >> 32) & 65535
    first: i64 = read_i64_le(b, i + 8)
    if (w0 >> 8) & 16777215 != 0 or has_words(b, i, 16) or first < 0 or first >= M[TABLE_SLOTS]:
        refuse_row(M, S, b, i, MALFORMED)
        return
    if market != ALL_MARKETS and market >= M[MARKETS]:
        refuse_row(M, S, b, i, UNKNOWN_MARKET)
        return
    account: i64 = S[S_ACCOUNT]
    n: i64 = remove_all(M, S, account, market, first, M[VISITS_MAX], REASON_MASS)
    event(M, S, EVENT_MASS | (market << 32), n, S[S_NEXT], 0, 0, account, 0)
