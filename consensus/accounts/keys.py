"""Session-key scope, notional caps, nonces and rate: what a key may do, and how often.

A session key never moves money out and never grants; that list is in `consensus/execute.py`.
Caps count by block time. Rules: docs/protocol/commands.md.
"""

from librt.vecs import vec
from mypy_extensions import i64

from consensus.accounts.ledger import account_at, trader_at
from consensus.layout import (
    ACCOUNT_REFILLED,
    ACCOUNT_TOKENS,
    BOOK_QUOTE_ASSET,
    BUY,
    DAY_MS,
    KEY_CAP,
    KEY_DAY,
    KEY_FLAGS,
    KEY_MARKETS,
    KEY_NONCE,
    KEY_QUOTE,
    KEY_REDUCE_ONLY,
    KEY_SEEN,
    KEY_USED,
    KEYS_PER_ACCOUNT,
    NONCE_AHEAD_MAX,
    NONCE_FAR,
    NONCE_OLD,
    NONCE_USED,
    NONCE_WINDOW,
    RATE_BURST,
    RATE_PER_S,
    S_BIT,
    S_KEY,
    S_KEY_AT,
    TIME,
    TRADER_NET,
)
from consensus.scratch import touch


def is_session(S: vec[i64]) -> bool:
    """Whether the open group is signed by a session key."""
    return S[S_KEY] >= 1 and S[S_KEY] <= KEYS_PER_ACCOUNT


def in_scope(M: vec[i64], S: vec[i64], k: i64, market: i64) -> bool:
    """Whether the open group's key may trade in the market at `k`."""
    if not is_session(S):
        return True
    key: i64 = S[S_KEY_AT]
    if market > 61 or M[key + KEY_MARKETS] & S[S_BIT + (market & 63)] == 0:
        return False
    return M[key + KEY_QUOTE] == M[k + BOOK_QUOTE_ASSET]


def reduces(M: vec[i64], k: i64, account: i64, side: i64, lots: i64) -> bool:
    """Whether `lots` on `side` only bring the position nearer to zero."""
    net: i64 = M[trader_at(M, k, account) + TRADER_NET]
    if side == BUY:
        return net < 0 and lots <= -net
    return net > 0 and lots <= net


def is_reduce_only(M: vec[i64], S: vec[i64]) -> bool:
    """Whether the open group's key may only reduce positions."""
    return is_session(S) and M[S[S_KEY_AT] + KEY_FLAGS] & KEY_REDUCE_ONLY != 0


def within_cap(M: vec[i64], S: vec[i64], notional: i64) -> bool:
    """Whether the key's daily notional cap leaves room; both terms are <= 2^62."""
    if not is_session(S):
        return True
    key: i64 = S[S_KEY_AT]
    used: i64 = 0
    if M[key + KEY_DAY] == M[TIME] // DAY_MS:
        used = M[key + KEY_USED]
    return notional <= M[key + KEY_CAP] - used


def charge_cap(M: vec[i64], S: vec[i64], notional: i64) -> None:
    """Count `notional`, which is within the cap, against today."""
    if not is_session(S):
        return
    key: i64 = S[S_KEY_AT]
    day: i64 = M[TIME] // DAY_MS
    touch(M, S, key)
    if M[key + KEY_DAY] != day:
        M[key + KEY_DAY] = day
        M[key + KEY_USED] = 0
    M[key + KEY_USED] += notional


def nonce_fault(M: vec[i64], S: vec[i64], key: i64, nonce: i64) -> i64:
    """0 if the key may use `nonce`, else the group fault."""
    high: i64 = M[key + KEY_NONCE]
    if nonce <= high - NONCE_WINDOW:
        return NONCE_OLD
    if nonce > high + NONCE_AHEAD_MAX:
        return NONCE_FAR
    if nonce <= high and M[key + KEY_SEEN + ((nonce >> 6) & 3)] & S[S_BIT + (nonce & 63)] != 0:
        return NONCE_USED
    return 0


def spend_nonce(M: vec[i64], S: vec[i64], key: i64, nonce: i64) -> None:
    """Mark an acceptable nonce as used; the ring forgets what falls out of the window."""
    touch(M, S, key + KEY_NONCE)  # the governor's record lies across two leaves
    n: i64 = M[key + KEY_NONCE]
    if nonce >= n + NONCE_WINDOW:
        M[key + KEY_SEEN] = 0
        M[key + KEY_SEEN + 1] = 0
        M[key + KEY_SEEN + 2] = 0
        M[key + KEY_SEEN + 3] = 0
        M[key + KEY_NONCE] = nonce
    elif nonce > n:
        M[key + KEY_NONCE] = nonce
        while n < nonce:
            n += 1
            word: i64 = key + KEY_SEEN + ((n >> 6) & 3)
            M[word] = M[word] & ~S[S_BIT + (n & 63)]
    at: i64 = key + KEY_SEEN + ((nonce >> 6) & 3)
    M[at] = M[at] | S[S_BIT + (nonce & 63)]


def tokens_now(M: vec[i64], account: i64) -> i64:
    """Thousandths of an operation the account may spend at the block time."""
    record: i64 = account_at(M, account)
    elapsed: i64 = M[TIME] - M[record + ACCOUNT_REFILLED]
    if elapsed > DAY_MS:
        elapsed = DAY_MS
    tokens: i64 = M[record + ACCOUNT_TOKENS] + elapsed * M[RATE_PER_S]  # < 2^27 x 2^20
    most: i64 = M[RATE_BURST] * 1000
    return tokens if tokens < most else most


def spend_tokens(M: vec[i64], S: vec[i64], account: i64, operations: i64) -> None:
    """Refill and take tokens that are known to be there."""
    record: i64 = account_at(M, account)
    tokens: i64 = tokens_now(M, account)
    touch(M, S, record)
    M[record + ACCOUNT_TOKENS] = tokens - operations * 1000
    M[record + ACCOUNT_REFILLED] = M[TIME]
