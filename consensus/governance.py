"""Governance commands: list assets and markets, fees, halts, validator set, parameters.

Also where a market's region gets its words: everything about its shape follows from the size class.
Rules: docs/protocol/commands.md and layout.md.
"""

from librt.strings import read_i64_le
from librt.vecs import vec
from mypy_extensions import i64

from consensus.accounts.ledger import account_at
from consensus.accounts.operations import (
    asset_at,
    is_address,
    report_set,
    write_address,
)
from consensus.layout import (
    ACCOUNT_TIER,
    ACCOUNTS,
    ACCOUNTS_MAX,
    AMOUNT_MAX,
    ASSET_DECIMALS,
    ASSET_LISTED,
    ASSET_SYMBOL,
    ASSET_WITHDRAW_MIN,
    ASSETS,
    ASSETS_MAX,
    AT_MARKETS,
    BOOK_AT_PAGES,
    BOOK_AT_POOL,
    BOOK_AT_TRADERS,
    BOOK_BAND,
    BOOK_BASE,
    BOOK_BASE_PER_LOT,
    BOOK_BEST,
    BOOK_DIRECTORY,
    BOOK_FEES,
    BOOK_HEADER_WORDS,
    BOOK_LOTS_MAX,
    BOOK_MARKET,
    BOOK_MIN_NOTIONAL,
    BOOK_PAGE_BITS,
    BOOK_PAGE_LEAF,
    BOOK_PAGES_MAX,
    BOOK_POOL_MAX,
    BOOK_PRICE_BITS,
    BOOK_PRICE_LEAF,
    BOOK_QUOTE_ASSET,
    BOOK_QUOTE_PER_TICK_LOT,
    BOOK_REFERENCE,
    BOOK_SLOT_BITS,
    BOOK_SLOT_LEAF,
    BOOK_TICKS,
    BOOK_TRADER_ORDERS_MAX,
    CHAIN_STATUS,
    END,
    GOVERNOR,
    KEY_ADDRESS,
    LEAVES_MAX,
    LISTING,
    LISTING_FULL,
    MAKER_BIAS,
    MALFORMED,
    MARKET_REGION,
    MARKET_STATUS,
    MARKET_SWEEP,
    MARKET_WORDS,
    MARKETS,
    MARKETS_MAX,
    OP_CHAIN_STATUS,
    OP_FEES,
    OP_GOVERNOR,
    OP_LIST_ASSET,
    OP_LIST_MARKET,
    OP_MARKET_LIMITS,
    OP_MARKET_STATUS,
    OP_PARAMETER,
    OP_TIER,
    PARAMETER_COUNT,
    PARAMETER_RANGE,
    PARAMETERS,
    PRODUCT_MAX,
    RATE_BURST,
    RATE_MAX,
    RATE_PER_S,
    RATE_UNIT,
    SWEEP_ORDERS,
    TIERS,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ASSET,
    UNKNOWN_MARKET,
    VALIDATORS_EPOCH,
    VALIDATORS_HASH,
    VISITS_MAX,
)
from consensus.matching.operations import has_words, market_at, refuse_row
from consensus.scratch import touch


def padded(words: i64) -> i64:
    """Rounded up to whole leaves."""
    return (words + 31) & ~31


def heap_leaf(bits: i64) -> i64:
    """Nodes above the last level of a 64-ary heap over 2^bits items."""
    leaf: i64 = 0
    span: i64 = bits - 6
    while span > 0:
        leaf = (leaf << 6) + 1
        span -= 6
    return leaf


def is_bad_listing(b: bytes, i: i64, w0: i64) -> bool:
    """Whether a listing has fields outside their ranges."""
    w1: i64 = read_i64_le(b, i + 8)
    w6: i64 = read_i64_le(b, i + 48)
    price_bits: i64 = (w1 >> 16) & 255
    pool_bits: i64 = (w1 >> 24) & 255
    page_bits: i64 = (w1 >> 32) & 255
    if w0 >> 8 != 0 or w1 < 0 or w1 >> 40 != 0 or w6 < 0 or w6 >> 40 != 0:
        return True
    if price_bits < 6 or price_bits > 28 or pool_bits < 6 or pool_bits > 20:
        return True
    if page_bits < 6 or page_bits > 16 or w6 & 1048575 > RATE_UNIT or w6 >> 20 == 0:
        return True
    if read_i64_le(b, i + 16) < 1 or read_i64_le(b, i + 24) < 1 or read_i64_le(b, i + 40) < 1:
        return True
    notional: i64 = read_i64_le(b, i + 32)
    if notional < 0 or notional > PRODUCT_MAX:
        return True
    reference: i64 = read_i64_le(b, i + 56)
    return reference < 0 or reference > (1 << (price_bits & 63)) - 2


def listing_rules(M: vec[i64], b: bytes, i: i64, w0: i64) -> i64:
    """0 or why a market cannot be listed."""
    if is_bad_listing(b, i, w0):
        return MALFORMED
    w1: i64 = read_i64_le(b, i + 8)
    base: i64 = w1 & 255
    quote: i64 = (w1 >> 8) & 255
    if base >= M[ASSETS] or quote >= M[ASSETS]:
        return UNKNOWN_ASSET
    lots: i64 = read_i64_le(b, i + 40)
    dearest: i64 = (1 << ((w1 >> 16) & 63)) - 2
    if base == quote or lots > PRODUCT_MAX // read_i64_le(b, i + 16):
        return LISTING
    if lots > PRODUCT_MAX // read_i64_le(b, i + 24) // dearest:
        return LISTING
    if M[MARKETS] >= M[MARKETS_MAX]:
        return LISTING_FULL
    return 0


def region_words(price_bits: i64, pool_bits: i64, page_bits: i64, accounts: i64) -> i64:
    """Size of a market region."""
    prices: i64 = 1 << ((price_bits - 6) & 63)
    words: i64 = BOOK_HEADER_WORDS + 2 * padded(heap_leaf(price_bits) + prices) + 2 * padded(prices)
    words += padded(heap_leaf(page_bits) + (1 << ((page_bits - 6) & 63)))
    words += padded(heap_leaf(pool_bits) + (1 << ((pool_bits - 6) & 63)))
    return words + (256 << (page_bits & 63)) + (16 << (pool_bits & 63)) + (accounts << 3)


def shape_region(
    M: vec[i64], S: vec[i64], k: i64, price_bits: i64, pool_bits: i64, page_bits: i64
) -> None:
    """Write the offsets of a market's parts, and take page 0 and slot 0 out of use."""
    prices: i64 = 1 << ((price_bits - 6) & 63)
    at: i64 = BOOK_HEADER_WORDS
    touch(M, S, k)
    touch(M, S, k + BOOK_TICKS)
    M[k + BOOK_TICKS] = 1 << (price_bits & 63)
    M[k + BOOK_BEST] = 1 << (price_bits & 63)
    M[k + BOOK_BEST + 1] = 1 << (price_bits & 63)
    M[k + BOOK_PRICE_LEAF] = heap_leaf(price_bits)
    M[k + BOOK_PRICE_BITS] = at
    at += padded(heap_leaf(price_bits) + prices)
    M[k + BOOK_PRICE_BITS + 1] = at
    at += padded(heap_leaf(price_bits) + prices)
    M[k + BOOK_DIRECTORY] = at
    at += padded(prices)
    M[k + BOOK_DIRECTORY + 1] = at
    at += padded(prices)
    M[k + BOOK_PAGE_BITS] = at
    M[k + BOOK_PAGE_LEAF] = heap_leaf(page_bits)
    touch(M, S, k + at + heap_leaf(page_bits))
    M[k + at + heap_leaf(page_bits)] = 1
    at += padded(heap_leaf(page_bits) + (1 << ((page_bits - 6) & 63)))
    M[k + BOOK_SLOT_BITS] = at
    M[k + BOOK_SLOT_LEAF] = heap_leaf(pool_bits)
    touch(M, S, k + at + heap_leaf(pool_bits))
    M[k + at + heap_leaf(pool_bits)] = 1
    at += padded(heap_leaf(pool_bits) + (1 << ((pool_bits - 6) & 63)))
    M[k + BOOK_AT_PAGES] = at
    at += 256 << (page_bits & 63)
    M[k + BOOK_AT_POOL] = at
    at += 16 << (pool_bits & 63)
    M[k + BOOK_AT_TRADERS] = at
    M[k + BOOK_POOL_MAX] = 1 << (pool_bits & 63)
    M[k + BOOK_PAGES_MAX] = 1 << (page_bits & 63)


def list_market(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Open a region at END for a new market; it starts halted and without fees."""
    why: i64 = listing_rules(M, b, i, w0)
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    w1: i64 = read_i64_le(b, i + 8)
    w6: i64 = read_i64_le(b, i + 48)
    market: i64 = M[MARKETS]
    k: i64 = M[END]
    price_bits: i64 = (w1 >> 16) & 255
    pool_bits: i64 = (w1 >> 24) & 255
    page_bits: i64 = (w1 >> 32) & 255
    words: i64 = region_words(price_bits, pool_bits, page_bits, M[ACCOUNTS_MAX])
    shape_region(M, S, k, price_bits, pool_bits, page_bits)
    record: i64 = M[AT_MARKETS] + (market << 4)
    touch(M, S, MARKETS)
    touch(M, S, record)
    touch(M, S, k + BOOK_FEES)
    M[MARKETS] = market + 1
    M[END] = k + words
    M[record + MARKET_REGION] = k
    M[record + MARKET_WORDS] = words
    M[record + MARKET_STATUS] = 1
    M[record + MARKET_SWEEP] = 1
    M[k + BOOK_MARKET] = market
    M[k + BOOK_BASE] = w1 & 255
    M[k + BOOK_QUOTE_ASSET] = (w1 >> 8) & 255
    M[k + BOOK_BASE_PER_LOT] = read_i64_le(b, i + 16)
    M[k + BOOK_QUOTE_PER_TICK_LOT] = read_i64_le(b, i + 24)
    M[k + BOOK_MIN_NOTIONAL] = read_i64_le(b, i + 32)
    M[k + BOOK_LOTS_MAX] = read_i64_le(b, i + 40)
    M[k + BOOK_BAND] = w6 & 1048575
    M[k + BOOK_TRADER_ORDERS_MAX] = w6 >> 20
    M[k + BOOK_REFERENCE] = read_i64_le(b, i + 56)
    tier: i64 = 0
    while tier < TIERS:
        M[k + BOOK_FEES + tier] = MAKER_BIAS
        tier += 1
    report_set(M, S, b, i)


def list_asset(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Append an asset."""
    symbol: i64 = read_i64_le(b, i + 8)
    decimals: i64 = read_i64_le(b, i + 16)
    least: i64 = read_i64_le(b, i + 24)
    why: i64 = 0
    if w0 >> 8 != 0 or has_words(b, i, 32) or symbol < 1 or symbol >> 56 != 0:
        why = MALFORMED
    if decimals < 0 or decimals > 18 or least < 0 or least > AMOUNT_MAX:
        why = MALFORMED
    if why == 0 and M[ASSETS] >= M[ASSETS_MAX]:
        why = LISTING_FULL
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    record: i64 = asset_at(M[ASSETS])
    touch(M, S, ASSETS)
    touch(M, S, record)
    M[ASSETS] += 1
    M[record + ASSET_SYMBOL] = symbol
    M[record + ASSET_DECIMALS] = decimals
    M[record + ASSET_WITHDRAW_MIN] = least
    M[record + ASSET_LISTED] = 1
    report_set(M, S, b, i)


def market_setting(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64, op: i64) -> i64:
    """Fees, status and limits of a market; 0 or the refusal."""
    market: i64 = (w0 >> 32) & 65535
    a: i64 = read_i64_le(b, i + 8)
    c: i64 = read_i64_le(b, i + 16)
    d: i64 = read_i64_le(b, i + 24)
    used: i64 = 16 if op == OP_MARKET_STATUS else 32
    if (w0 >> 8) & 16777215 != 0 or has_words(b, i, used):
        return MALFORMED
    if market >= M[MARKETS]:
        return UNKNOWN_MARKET
    k: i64 = market_at(M, market)
    if op == OP_FEES:
        if a < 0 or a >= TIERS or c < 0 or c > RATE_MAX or d < -c or d > RATE_MAX:
            return PARAMETER_RANGE
        touch(M, S, k + BOOK_FEES)
        M[k + BOOK_FEES + a] = (c << 32) | (d + MAKER_BIAS)
    elif op == OP_MARKET_STATUS:
        if a < 0 or a > 1:
            return PARAMETER_RANGE
        record: i64 = M[AT_MARKETS] + (market << 4)
        touch(M, S, record)
        M[record + MARKET_STATUS] = a
    else:
        if a < 0 or a > PRODUCT_MAX or c < 0 or c > RATE_UNIT or d < 1 or d > 1048575:
            return PARAMETER_RANGE
        touch(M, S, k + BOOK_MIN_NOTIONAL)
        M[k + BOOK_MIN_NOTIONAL] = a
        M[k + BOOK_BAND] = c
        M[k + BOOK_TRADER_ORDERS_MAX] = d
    return 0


def parameter_low(at: i64) -> i64:
    """Smallest value of the parameter in header word `at`."""
    if at == VISITS_MAX:
        return 16
    if at == LEAVES_MAX or at == RATE_BURST:
        return 64
    return 0 if at == SWEEP_ORDERS else 1


def parameter_high(at: i64) -> i64:
    """Largest value of the parameter in header word `at`."""
    if at == VISITS_MAX:
        return 5000
    if at == LEAVES_MAX:
        return 40000
    if at == RATE_PER_S or at == RATE_BURST:
        return 1000000
    return 1024  # SWEEP_ORDERS


def chain_setting(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64, op: i64) -> i64:
    """Chain status, parameter, tier, governor; 0 or the refusal."""
    a: i64 = read_i64_le(b, i + 8)
    c: i64 = read_i64_le(b, i + 16)
    used: i64 = 24
    if op == OP_CHAIN_STATUS:
        used = 16
    elif op == OP_GOVERNOR:
        used = 32
    if w0 >> 8 != 0 or has_words(b, i, used):
        return MALFORMED
    if op == OP_CHAIN_STATUS:
        if a < 0 or a > 1:
            return PARAMETER_RANGE
        touch(M, S, CHAIN_STATUS)
        M[CHAIN_STATUS] = a
    elif op == OP_PARAMETER:
        if a < 0 or a >= PARAMETER_COUNT:
            return PARAMETER_RANGE
        if c < parameter_low(PARAMETERS + a) or c > parameter_high(PARAMETERS + a):
            return PARAMETER_RANGE
        touch(M, S, PARAMETERS)
        M[PARAMETERS + a] = c
    elif op == OP_TIER:
        if a < 1 or a >= M[ACCOUNTS]:
            return UNKNOWN_ACCOUNT
        if c < 0 or c >= TIERS:
            return PARAMETER_RANGE
        touch(M, S, account_at(M, a))
        M[account_at(M, a) + ACCOUNT_TIER] = c
    else:
        if not is_address(b, i + 8):
            return MALFORMED
        write_address(M, S, GOVERNOR + KEY_ADDRESS, b, i + 8)
    return 0


def validators(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> i64:
    """Name the next validator set by its hash; 0 or the refusal."""
    epoch: i64 = read_i64_le(b, i + 8)
    if w0 >> 8 != 0 or has_words(b, i, 48):
        return MALFORMED
    if epoch != M[VALIDATORS_EPOCH] + 1:
        return PARAMETER_RANGE
    touch(M, S, VALIDATORS_EPOCH)
    M[VALIDATORS_EPOCH] = epoch
    M[VALIDATORS_HASH] = read_i64_le(b, i + 16)
    M[VALIDATORS_HASH + 1] = read_i64_le(b, i + 24)
    M[VALIDATORS_HASH + 2] = read_i64_le(b, i + 32)
    M[VALIDATORS_HASH + 3] = read_i64_le(b, i + 40)
    return 0


def govern(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64, op: i64) -> None:
    """One governance row."""
    if op == OP_LIST_ASSET:
        list_asset(M, S, b, i, w0)
        return
    if op == OP_LIST_MARKET:
        list_market(M, S, b, i, w0)
        return
    why: i64 = 0
    if op <= OP_MARKET_STATUS or op == OP_MARKET_LIMITS:
        why = market_setting(M, S, b, i, w0, op)
    elif op == OP_CHAIN_STATUS or op == OP_PARAMETER or op == OP_TIER or op == OP_GOVERNOR:
        why = chain_setting(M, S, b, i, w0, op)
    else:
        why = validators(M, S, b, i, w0)
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    report_set(M, S, b, i)
