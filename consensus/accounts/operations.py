"""The money and key commands of an account: transfer, withdraw, grant, revoke, dead-man, settings.

Also the deposit, which may make an account: addresses form one sorted list through the account
records, so that membership and absence are decided from state, beside a low neighbour that the
group names and the core checks. Rules: docs/protocol/commands.md.
"""

from librt.strings import read_i64_le
from librt.vecs import vec
from mypy_extensions import i64

from consensus.accounts.ledger import account_at, balance_at, credit, saturate
from consensus.layout import (
    ACCOUNT_ADDRESS,
    ACCOUNT_GRANTS,
    ACCOUNT_NEXT,
    ACCOUNT_OWNER,
    ACCOUNT_REFILLED,
    ACCOUNT_SCHEDULE,
    ACCOUNT_STP,
    ACCOUNT_TOKENS,
    ACCOUNTS,
    ACCOUNTS_FULL,
    ACCOUNTS_MAX,
    AMOUNT_MAX,
    AMOUNT_RANGE,
    ASSET_DEPOSITED,
    ASSET_WITHDRAW_MIN,
    ASSET_WITHDRAWN,
    ASSETS,
    AT_ASSETS,
    AT_KEYS,
    AT_SCHEDULES,
    BALANCE_AVAILABLE,
    BALANCE_DEPOSITED,
    BALANCE_WITHDRAWN,
    CHAIN_HALTED,
    CHAIN_STATUS,
    EVENT_DEPOSITED,
    EVENT_GRANTED,
    EVENT_REVOKED,
    EVENT_SCHEDULED,
    EVENT_SET,
    EVENT_TRANSFERRED,
    EVENT_WITHDRAWN,
    EXPIRED,
    FUNDS,
    KEY_ADDRESS,
    KEY_CAP,
    KEY_EPOCH,
    KEY_EXPIRES,
    KEY_FLAGS,
    KEY_LIVE,
    KEY_MARKETS,
    KEY_QUOTE,
    KEY_SLOT,
    KEYS_PER_ACCOUNT,
    L1_MESSAGES,
    MALFORMED,
    RATE_BURST,
    S_ACCOUNT,
    S_LOW,
    S_SIGNER,
    SCHEDULE_ACCOUNT,
    SCHEDULE_DUE,
    SCHEDULE_FULL,
    SCHEDULES,
    SCHEDULES_MAX,
    SUPPLY,
    TIME,
    TIME_NEVER,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ASSET,
    WITHDRAWALS,
)
from consensus.matching.operations import has_words, refuse_row
from consensus.scratch import event, touch


def key_at(M: vec[i64], account: i64, slot: i64) -> i64:
    """First word of session key `slot` (1..4) of an account."""
    return M[AT_KEYS] + ((account * KEYS_PER_ACCOUNT + slot - 1) << 4)


def asset_at(asset: i64) -> i64:
    """First word of an asset record."""
    return AT_ASSETS + (asset << 4)


def is_address(b: bytes, at: i64) -> bool:
    """Whether three words at byte `at` are a 20-byte address other than zero."""
    high: i64 = read_i64_le(b, at)
    middle: i64 = read_i64_le(b, at + 8)
    low: i64 = read_i64_le(b, at + 16)
    if high < 0 or middle < 0 or low < 0 or high >> 56 != 0 or middle >> 56 != 0 or low >> 48 != 0:
        return False
    return high != 0 or middle != 0 or low != 0


def write_address(M: vec[i64], S: vec[i64], at: i64, b: bytes, i: i64) -> None:
    """Copy the three address words at byte `i` to a record."""
    touch(M, S, at)
    M[at] = read_i64_le(b, i)
    M[at + 1] = read_i64_le(b, i + 8)
    M[at + 2] = read_i64_le(b, i + 16)


def compare_signer(M: vec[i64], S: vec[i64], at: i64) -> i64:
    """-1, 0 or 1: the address stored at `at` against the open group's signer."""
    n: i64 = 0
    while n < 3:
        if M[at + n] < S[S_SIGNER + n]:
            return -1
        if M[at + n] > S[S_SIGNER + n]:
            return 1
        n += 1
    return 0


def is_neighbour(M: vec[i64], S: vec[i64], account: i64) -> bool:
    """Whether `account` is the one with the largest address not above the signer's."""
    if account < 0 or account >= M[ACCOUNTS]:
        return False
    record: i64 = account_at(M, account)
    if compare_signer(M, S, record + ACCOUNT_ADDRESS) > 0:
        return False
    after: i64 = M[record + ACCOUNT_NEXT]
    return after == 0 or compare_signer(M, S, account_at(M, after) + ACCOUNT_ADDRESS) > 0


def insert_account(M: vec[i64], S: vec[i64], low: i64, b: bytes, i: i64) -> i64:
    """Make an account for the address at byte `i`, after its low neighbour; there is room."""
    account: i64 = M[ACCOUNTS]
    record: i64 = account_at(M, account)
    before: i64 = account_at(M, low)
    M[ACCOUNTS] = account + 1
    touch(M, S, ACCOUNTS)
    touch(M, S, before)
    touch(M, S, record)
    write_address(M, S, record + ACCOUNT_ADDRESS, b, i)
    write_address(M, S, record + ACCOUNT_OWNER + KEY_ADDRESS, b, i)
    M[record + ACCOUNT_OWNER + KEY_FLAGS] = KEY_LIVE
    M[record + ACCOUNT_NEXT] = M[before + ACCOUNT_NEXT]
    M[before + ACCOUNT_NEXT] = account
    M[record + ACCOUNT_STP] = 1
    M[record + ACCOUNT_TOKENS] = M[RATE_BURST] * 1000
    M[record + ACCOUNT_REFILLED] = M[TIME]
    return account


def deposit_rules(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> i64:
    """0 or why a deposit is refused."""
    asset: i64 = read_i64_le(b, i + 32)
    amount: i64 = read_i64_le(b, i + 40)
    if w0 >> 8 != 0 or not is_address(b, i + 8) or has_words(b, i, 48):
        return MALFORMED
    n: i64 = 0
    while n < 3:
        if read_i64_le(b, i + 8 + (n << 3)) != S[S_SIGNER + n]:
            return MALFORMED
        n += 1
    if asset < 0 or asset >= M[ASSETS]:
        return UNKNOWN_ASSET
    if amount < 1:
        return AMOUNT_RANGE
    deposited: i64 = M[asset_at(asset) + ASSET_DEPOSITED]
    if amount > AMOUNT_MAX - deposited:
        return SUPPLY
    if S[S_ACCOUNT] == 0 and M[ACCOUNTS] >= M[ACCOUNTS_MAX]:
        return ACCOUNTS_FULL
    return 0


def deposit(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Credit an L1 deposit; a refused one is consumed and reported."""
    why: i64 = deposit_rules(M, S, b, i, w0)
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    asset: i64 = read_i64_le(b, i + 32)
    amount: i64 = read_i64_le(b, i + 40)
    account: i64 = S[S_ACCOUNT]
    head: i64 = EVENT_DEPOSITED
    if account == 0:
        account = insert_account(M, S, S[S_LOW], b, i + 8)
        head = head | (1 << 20)
    record: i64 = asset_at(asset)
    balance: i64 = balance_at(M, account, asset)
    touch(M, S, record)
    touch(M, S, balance)
    M[record + ASSET_DEPOSITED] += amount
    M[balance + BALANCE_DEPOSITED] = saturate(M[balance + BALANCE_DEPOSITED] + amount)
    credit(M, S, account, asset, amount)
    event(M, S, head, account, amount, asset, M[L1_MESSAGES] - 1, 0, 0)


def transfer(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Move available funds to another account."""
    to: i64 = read_i64_le(b, i + 8)
    amount: i64 = read_i64_le(b, i + 16)
    asset: i64 = read_i64_le(b, i + 24)
    account: i64 = S[S_ACCOUNT]
    why: i64 = 0
    if w0 >> 8 != 0 or has_words(b, i, 32):
        why = MALFORMED
    elif M[CHAIN_STATUS] != 0:
        why = CHAIN_HALTED
    elif asset < 0 or asset >= M[ASSETS]:
        why = UNKNOWN_ASSET
    elif to < 1 or to >= M[ACCOUNTS] or to == account:
        why = UNKNOWN_ACCOUNT
    elif amount < 1 or amount > AMOUNT_MAX:
        why = AMOUNT_RANGE
    elif M[balance_at(M, account, asset) + BALANCE_AVAILABLE] < amount:
        why = FUNDS
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    credit(M, S, account, asset, -amount)
    credit(M, S, to, asset, amount)
    event(M, S, EVENT_TRANSFERRED, to, amount, asset, 0, account, 0)


def withdraw(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Take available funds out to an L1 address."""
    asset: i64 = read_i64_le(b, i + 8)
    amount: i64 = read_i64_le(b, i + 16)
    account: i64 = S[S_ACCOUNT]
    why: i64 = 0
    if w0 >> 8 != 0 or not is_address(b, i + 24) or has_words(b, i, 48):
        why = MALFORMED
    elif asset < 0 or asset >= M[ASSETS]:
        why = UNKNOWN_ASSET
    elif amount < 1 or amount < M[asset_at(asset) + ASSET_WITHDRAW_MIN] or amount > AMOUNT_MAX:
        why = AMOUNT_RANGE
    elif M[balance_at(M, account, asset) + BALANCE_AVAILABLE] < amount:
        why = FUNDS
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    record: i64 = asset_at(asset)
    balance: i64 = balance_at(M, account, asset)
    index: i64 = M[WITHDRAWALS]
    touch(M, S, WITHDRAWALS)
    touch(M, S, record)
    touch(M, S, balance)
    M[WITHDRAWALS] = index + 1
    M[record + ASSET_WITHDRAWN] += amount
    M[balance + BALANCE_WITHDRAWN] = saturate(M[balance + BALANCE_WITHDRAWN] + amount)
    credit(M, S, account, asset, -amount)
    high: i64 = read_i64_le(b, i + 24)
    middle: i64 = read_i64_le(b, i + 32)
    low: i64 = read_i64_le(b, i + 40)
    event(M, S, EVENT_WITHDRAWN, index, amount, account | (asset << 32), high, middle, low)


def grant_rules(M: vec[i64], b: bytes, i: i64, w0: i64) -> i64:
    """0 or why a grant is refused."""
    expires: i64 = read_i64_le(b, i + 32)
    cap: i64 = read_i64_le(b, i + 40)
    markets: i64 = read_i64_le(b, i + 48)
    w7: i64 = read_i64_le(b, i + 56)
    if w0 >> 8 != 0 or not is_address(b, i + 8) or cap < 1 or cap > AMOUNT_MAX:
        return MALFORMED
    if markets < 0 or markets > AMOUNT_MAX or expires < 0 or expires > TIME_NEVER:
        return MALFORMED
    if w7 & 255 < 1 or w7 & 255 > KEYS_PER_ACCOUNT or (w7 >> 8) & 255 > 1 or w7 >> 32 != 0:
        return MALFORMED
    if M[CHAIN_STATUS] != 0:
        return CHAIN_HALTED
    if expires <= M[TIME]:
        return EXPIRED
    return UNKNOWN_ASSET if (w7 >> 16) & 65535 >= M[ASSETS] else 0


def clear_session(M: vec[i64], S: vec[i64], key: i64) -> None:
    """Zero a session-key record."""
    n: i64 = 0
    touch(M, S, key)
    while n < 16:
        M[key + n] = 0
        n += 1


def grant(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Give a session key its slot, scope and epoch."""
    why: i64 = grant_rules(M, b, i, w0)
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    account: i64 = S[S_ACCOUNT]
    record: i64 = account_at(M, account)
    w7: i64 = read_i64_le(b, i + 56)
    key: i64 = key_at(M, account, w7 & 255)
    touch(M, S, record)
    M[record + ACCOUNT_GRANTS] += 1
    clear_session(M, S, key)
    write_address(M, S, key + KEY_ADDRESS, b, i + 8)
    M[key + KEY_FLAGS] = KEY_LIVE | (((w7 >> 8) & 1) << 1)
    M[key + KEY_EXPIRES] = read_i64_le(b, i + 32)
    M[key + KEY_CAP] = read_i64_le(b, i + 40)
    M[key + KEY_MARKETS] = read_i64_le(b, i + 48)
    M[key + KEY_EPOCH] = M[record + ACCOUNT_GRANTS]
    M[key + KEY_QUOTE] = (w7 >> 16) & 65535
    event(M, S, EVENT_GRANTED, w7 & 255, M[record + ACCOUNT_GRANTS], 0, 0, account, 0)


def revoke(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Take a session key away, from the next operation on."""
    slot: i64 = read_i64_le(b, i + 8)
    if w0 >> 8 != 0 or slot < 1 or slot > KEYS_PER_ACCOUNT or has_words(b, i, 16):
        refuse_row(M, S, b, i, MALFORMED)
        return
    account: i64 = S[S_ACCOUNT]
    key: i64 = key_at(M, account, slot)
    if M[key + KEY_FLAGS] & KEY_LIVE == 0:
        refuse_row(M, S, b, i, KEY_SLOT)
        return
    clear_session(M, S, key)
    event(M, S, EVENT_REVOKED, slot, 0, 0, 0, account, 0)


def drop_schedule(M: vec[i64], S: vec[i64], index: i64) -> None:
    """Disarm entry `index`; the last entry moves into its place."""
    at: i64 = AT_SCHEDULES + (index << 3)
    last: i64 = M[SCHEDULES] - 1
    end: i64 = AT_SCHEDULES + (last << 3)
    record: i64 = account_at(M, M[at + SCHEDULE_ACCOUNT])
    touch(M, S, SCHEDULES)
    touch(M, S, at)
    touch(M, S, end)
    touch(M, S, record)
    M[record + ACCOUNT_SCHEDULE] = 0
    if index != last:
        moved: i64 = account_at(M, M[end + SCHEDULE_ACCOUNT])
        touch(M, S, moved)
        M[moved + ACCOUNT_SCHEDULE] = index + 1
        M[at + SCHEDULE_ACCOUNT] = M[end + SCHEDULE_ACCOUNT]
        M[at + SCHEDULE_DUE] = M[end + SCHEDULE_DUE]
    M[end + SCHEDULE_ACCOUNT] = 0
    M[end + SCHEDULE_DUE] = 0
    M[SCHEDULES] = last


def deadman(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Arm, move or disarm the scheduled cancel-all."""
    due: i64 = read_i64_le(b, i + 8)
    account: i64 = S[S_ACCOUNT]
    record: i64 = account_at(M, account)
    index: i64 = M[record + ACCOUNT_SCHEDULE] - 1
    why: i64 = 0
    if w0 >> 8 != 0 or due < 0 or due > TIME_NEVER or has_words(b, i, 16):
        why = MALFORMED
    elif due != 0:
        if M[CHAIN_STATUS] != 0:
            why = CHAIN_HALTED
        elif due <= M[TIME]:
            why = EXPIRED
        elif index < 0 and M[SCHEDULES] >= SCHEDULES_MAX:
            why = SCHEDULE_FULL
    if why != 0:
        refuse_row(M, S, b, i, why)
        return
    if due == 0:
        if index >= 0:
            drop_schedule(M, S, index)
    else:
        arm_schedule(M, S, account, index, due)
    event(M, S, EVENT_SCHEDULED, due, 0, 0, 0, account, 0)


def arm_schedule(M: vec[i64], S: vec[i64], account: i64, index: i64, due: i64) -> None:
    """Write the account's schedule entry, a new one if `index` is negative and there is room."""
    record: i64 = account_at(M, account)
    touch(M, S, SCHEDULES)
    touch(M, S, record)
    if index < 0:
        index = M[SCHEDULES]
        M[SCHEDULES] = index + 1
        M[record + ACCOUNT_SCHEDULE] = index + 1
    at: i64 = AT_SCHEDULES + (index << 3)
    touch(M, S, at)
    M[at + SCHEDULE_ACCOUNT] = account
    M[at + SCHEDULE_DUE] = due


def settings(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64) -> None:
    """Set the account's default self-trade mode."""
    mode: i64 = read_i64_le(b, i + 8)
    if w0 >> 8 != 0 or mode < 1 or mode > 4 or has_words(b, i, 16):
        refuse_row(M, S, b, i, MALFORMED)
        return
    record: i64 = account_at(M, S[S_ACCOUNT])
    touch(M, S, record)
    M[record + ACCOUNT_STP] = mode
    report_set(M, S, b, i)


def report_set(M: vec[i64], S: vec[i64], b: bytes, i: i64) -> None:
    """Event SET: the row as it took effect."""
    w0: i64 = read_i64_le(b, i)
    head: i64 = EVENT_SET | ((w0 & 255) << 20) | (((w0 >> 32) & 65535) << 32)
    event(
        M,
        S,
        head,
        read_i64_le(b, i + 8),
        read_i64_le(b, i + 16),
        read_i64_le(b, i + 24),
        read_i64_le(b, i + 32),
        read_i64_le(b, i + 40),
        read_i64_le(b, i + 48),
    )
