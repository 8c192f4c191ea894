"""Money: locks, fees, settlement, positions. Integers only; every product has its bound beside it.

An order's lock is a function of its record (lots left, price, worst fee at entry), so it is never
stored; an account's LOCKED word is the sum over its orders. Rounding is against the payer.
Rules: docs/protocol/accounts.md.
"""

from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus.layout import (
    ACCOUNTS_MAX,
    AMOUNT_MAX,
    ASSETS_MAX,
    AT_ACCOUNTS,
    AT_BALANCES,
    AT_TABLES,
    BALANCE_AVAILABLE,
    BALANCE_LOCKED,
    BOOK_AT_TRADERS,
    BOOK_BASE,
    BOOK_BASE_PER_LOT,
    BOOK_QUOTE_ASSET,
    BOOK_QUOTE_PER_TICK_LOT,
    BUY,
    RATE_UNIT,
    TABLE_SLOTS,
    TRADER_COST,
    TRADER_FEES,
    TRADER_NET,
    TRADER_REALISED,
    TRADER_VOLUME,
)
from consensus.scratch import touch

FEE_SHORT: Final = 1 << 44  # amounts whose fee needs one product and one division


def account_at(M: vec[i64], account: i64) -> i64:
    """First word of an account record."""
    return M[AT_ACCOUNTS] + (account << 5)


def balance_at(M: vec[i64], account: i64, asset: i64) -> i64:
    """First word of a balance record."""
    return M[AT_BALANCES] + ((account * M[ASSETS_MAX] + asset) << 3)


def table_at(M: vec[i64], account: i64, client: i64) -> i64:
    """The order-table word of a client id; the same slot of all accounts lies together, because
    wallets use their lowest slots."""
    return M[AT_TABLES] + (client & (M[TABLE_SLOTS] - 1)) * M[ACCOUNTS_MAX] + account


def trader_at(M: vec[i64], k: i64, account: i64) -> i64:
    """First word of a trader record in the market at `k`."""
    return k + M[k + BOOK_AT_TRADERS] + (account << 3)


def fee_up(n: i64, rate: i64) -> i64:
    """Ceil of n x rate ppm; n <= 2^61, rate <= 10^5: both products stay below 2^58."""
    if rate == 0:
        return 0
    if n < FEE_SHORT:
        return (n * rate + RATE_UNIT - 1) // RATE_UNIT  # < 2^44 x 2^17
    whole: i64 = n // RATE_UNIT
    return whole * rate + ((n - whole * RATE_UNIT) * rate + RATE_UNIT - 1) // RATE_UNIT


def fee_down(n: i64, rate: i64) -> i64:
    """Floor of n x rate ppm, same bounds."""
    if rate == 0:
        return 0
    if n < FEE_SHORT:
        return n * rate // RATE_UNIT
    whole: i64 = n // RATE_UNIT
    return whole * rate + ((n - whole * RATE_UNIT) * rate) // RATE_UNIT


def lock_of(M: vec[i64], k: i64, side: i64, lots: i64, price: i64, worst: i64) -> i64:
    """Atoms that an order with `lots` left holds; <= 2^61 + 10 % by the market's bounds."""
    if side == BUY:
        q: i64 = lots * price * M[k + BOOK_QUOTE_PER_TICK_LOT]  # <= 2^61
        return q + fee_up(q, worst)
    return lots * M[k + BOOK_BASE_PER_LOT]  # <= 2^61


def locked_asset(M: vec[i64], k: i64, side: i64) -> i64:
    """The asset that an order of `side` locks."""
    if side == BUY:
        return M[k + BOOK_QUOTE_ASSET]
    return M[k + BOOK_BASE]


def lock(M: vec[i64], S: vec[i64], account: i64, asset: i64, amount: i64) -> None:
    """Move `amount` from AVAILABLE to LOCKED; a negative amount moves it back."""
    at: i64 = balance_at(M, account, asset)
    touch(M, S, at)
    M[at + BALANCE_AVAILABLE] -= amount
    M[at + BALANCE_LOCKED] += amount


def credit(M: vec[i64], S: vec[i64], account: i64, asset: i64, amount: i64) -> None:
    """Add `amount`, possibly negative, to AVAILABLE; supply <= 2^62 bounds every balance."""
    at: i64 = balance_at(M, account, asset)
    touch(M, S, at)
    M[at + BALANCE_AVAILABLE] += amount


def saturate(x: i64) -> i64:
    """Clamp to +-2^62; the arguments are sums of two numbers within that."""
    if x > AMOUNT_MAX:
        return AMOUNT_MAX
    if x < -AMOUNT_MAX:
        return -AMOUNT_MAX
    return x


def prorate(a: i64, c: i64, n: i64) -> i64:
    """a x c / n, rounded down, for 0 <= c <= n; the remainder's share is dropped above 2^31."""
    if c == n:
        return a
    whole: i64 = a // n
    part: i64 = whole * c  # <= a
    if n <= 2147483648:
        part += ((a - whole * n) * c) // n  # < 2^31 x 2^31
    return part


def trade_position(
    M: vec[i64], S: vec[i64], at: i64, side: i64, lots: i64, q: i64, fee: i64
) -> None:
    """Book `lots` for `q` quote atoms and `fee` into the trader record at `at` (average cost)."""
    touch(M, S, at)
    M[at + TRADER_VOLUME] = saturate(M[at + TRADER_VOLUME] + q)
    M[at + TRADER_FEES] = saturate(M[at + TRADER_FEES] + fee)
    net: i64 = M[at + TRADER_NET]
    signed: i64 = lots if side == BUY else -lots
    M[at + TRADER_NET] = saturate(net + signed)
    if net == 0 or (net > 0) == (side == BUY):
        M[at + TRADER_COST] = saturate(M[at + TRADER_COST] + q)
        return
    held: i64 = net if net > 0 else -net
    closed: i64 = lots if lots < held else held
    cost: i64 = M[at + TRADER_COST]
    part: i64 = prorate(cost, closed, held)
    got: i64 = prorate(q, closed, lots)
    gain: i64 = got - part if net > 0 else part - got
    M[at + TRADER_REALISED] = saturate(M[at + TRADER_REALISED] + gain)
    M[at + TRADER_COST] = q - got if lots > held else cost - part


def settle_maker(
    M: vec[i64],
    S: vec[i64],
    k: i64,
    maker: i64,
    side: i64,
    lots: i64,
    left: i64,
    value: i64,
    rate: i64,
    worst: i64,
) -> i64:
    """Pay a resting order for `lots` of its `left + lots` at `value` a lot; returns its fee."""
    q: i64 = lots * value  # <= 2^61
    base: i64 = lots * M[k + BOOK_BASE_PER_LOT]  # <= 2^61
    row: i64 = M[AT_BALANCES] + ((maker * M[ASSETS_MAX]) << 3)
    base_at: i64 = row + (M[k + BOOK_BASE] << 3)
    quote_at: i64 = row + (M[k + BOOK_QUOTE_ASSET] << 3)
    fee: i64 = fee_up(q, rate) if rate >= 0 else -fee_down(q, -rate)
    touch(M, S, base_at)
    touch(M, S, quote_at)
    if side == BUY:
        after: i64 = left * value
        release: i64 = q + fee_up(after + q, worst) - fee_up(after, worst)
        if fee > release - q:
            fee = release - q
        M[quote_at + BALANCE_LOCKED] -= release
        M[quote_at + BALANCE_AVAILABLE] += release - q - fee
        M[base_at + BALANCE_AVAILABLE] += base
    else:
        M[base_at + BALANCE_LOCKED] -= base
        M[quote_at + BALANCE_AVAILABLE] += q - fee
    trade_position(M, S, trader_at(M, k, maker), side, lots, q, fee)
    return fee
