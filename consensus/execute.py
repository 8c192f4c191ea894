"""Running a block's rows: groups, who may do what, which operation, housekeeping.

`execute` is a loop over 64-byte rows with its state in scratch, so that a caller can run a block in
slices of any size with the same result. A group that no block may contain stops it before anything
is changed. Rules: docs/protocol/commands.md.
"""

from typing import Final

from librt.strings import read_i64_le
from librt.vecs import vec
from mypy_extensions import i64

from consensus.accounts.keys import nonce_fault, spend_nonce, spend_tokens, tokens_now
from consensus.accounts.ledger import account_at
from consensus.accounts.operations import (
    compare_signer,
    deadman,
    deposit,
    drop_schedule,
    grant,
    is_neighbour,
    key_at,
    revoke,
    settings,
    transfer,
    withdraw,
)
from consensus.governance import govern
from consensus.layout import (
    ACCOUNT_ADDRESS,
    ACCOUNT_OWNER,
    ACCOUNT_UNKNOWN,
    ACCOUNTS,
    ALL_MARKETS,
    AT_MARKETS,
    AT_SCHEDULES,
    BLOCK_FULL,
    BOOK_POOL_MAX,
    GOVERNOR,
    GROUP_EXPIRED,
    GROUP_FAR,
    GROUP_KEY_EXPIRED,
    GROUP_LIFE_MS,
    GROUP_OPERATIONS_MAX,
    GROUP_SHAPE,
    HEIGHT,
    HINT,
    KEY_ADDRESS,
    KEY_DEPOSIT,
    KEY_EXPIRES,
    KEY_FLAGS,
    KEY_FORCED,
    KEY_GOVERNANCE,
    KEY_LIVE,
    KEY_OWNER,
    KEY_UNKNOWN,
    KEYS_PER_ACCOUNT,
    L1_MESSAGES,
    L1_ORDER,
    L1_ORIGIN,
    LEAVES_MAX,
    MALFORMED,
    MARKET_SWEEP,
    MARKETS,
    NOT_ALLOWED,
    OP_AMEND,
    OP_CANCEL,
    OP_CANCEL_ALL,
    OP_CANCEL_CLIENT,
    OP_DEADMAN,
    OP_DEPOSIT,
    OP_GOVERNOR,
    OP_GRANT,
    OP_LIST_ASSET,
    OP_PLACE,
    OP_REVOKE,
    OP_SETTINGS,
    OP_TRANSFER,
    OP_WITHDRAW,
    ORDER_EXPIRES,
    ORDER_TAG,
    PHASE,
    RATE,
    REASON_DEADMAN,
    REASON_EXPIRED,
    S_ACCOUNT,
    S_DIRTY,
    S_DIRTY_HIGH,
    S_EVENT,
    S_EVENT_HIGH,
    S_FAULT,
    S_GROUPS,
    S_KEY,
    S_KEY_AT,
    S_LEFT,
    S_LOW,
    S_NEXT,
    S_SIGNER,
    S_VISITS,
    SCHEDULE_ACCOUNT,
    SCHEDULE_DUE,
    SCHEDULES,
    SCHEDULES_PER_BLOCK,
    SEQUENCE,
    SIGNER,
    SWEEP_MARKET,
    SWEEP_ORDERS,
    TABLE_SLOTS,
    TAG_LIVE,
    TIME,
    TIME_NEVER,
    UNKNOWN_ACCOUNT,
    VISITS_MAX,
)
from consensus.matching.book import order_at
from consensus.matching.operations import (
    amend,
    cancel,
    cancel_all,
    cancel_client,
    market_at,
    place,
    refuse_row,
    remove_all,
)
from consensus.matching.orders import remove
from consensus.scratch import touch

PHASE_MESSAGES: Final = 1
PHASE_COMMANDS: Final = 2
ROW_BYTES: Final = 64


def open_block(M: vec[i64], S: vec[i64], height: i64, time: i64, l1_origin: i64) -> None:
    """Begin a block: its height, time and L1 origin; scratch counters start anew."""
    touch(M, S, HEIGHT)
    M[HEIGHT] = height
    M[TIME] = time
    M[L1_ORIGIN] = l1_origin
    S[S_LEFT] = 0
    S[S_FAULT] = 0
    S[S_GROUPS] = 0


def group_shape(b: bytes, i: i64, end: i64) -> i64:
    """Operations of the group whose header is at `i`, or 0 if it has no legal shape."""
    w0: i64 = read_i64_le(b, i)
    count: i64 = (w0 >> 8) & 255
    key: i64 = (w0 >> 16) & 255
    if w0 & 255 != 0 or w0 < 0 or w0 >> 24 != 0 or read_i64_le(b, i + 56) != 0:
        return 0
    if count < 1 or count > GROUP_OPERATIONS_MAX or i + ((count + 1) << 6) > end:
        return 0
    if key > KEYS_PER_ACCOUNT and key < KEY_GOVERNANCE:
        return 0
    if key >= KEY_DEPOSIT:
        if read_i64_le(b, i + 24) != 0 or (key == KEY_DEPOSIT and count != 1):
            return 0
        return count
    nonce: i64 = read_i64_le(b, i + 16)
    return count if nonce > 0 and nonce < TIME_NEVER else 0


def message_fault(M: vec[i64], S: vec[i64], b: bytes, i: i64) -> i64:
    """0 or why an L1 message group (keys 254, 255) is not includable."""
    if read_i64_le(b, i + 16) != M[L1_MESSAGES]:
        return L1_ORDER
    return 0 if is_neighbour(M, S, read_i64_le(b, i + 8)) else HINT


def group_key_at(M: vec[i64], account: i64, key: i64) -> i64:
    """First word of the key record that signs the group."""
    if key == KEY_GOVERNANCE:
        return GOVERNOR
    if key == KEY_OWNER:
        return account_at(M, account) + ACCOUNT_OWNER
    return key_at(M, account, key)


def command_fault(M: vec[i64], S: vec[i64], b: bytes, i: i64, key: i64, count: i64) -> i64:
    """0 or why a signed group (keys 0..4, 253) is not includable."""
    account: i64 = read_i64_le(b, i + 8)
    now: i64 = M[TIME]
    if key == KEY_GOVERNANCE:
        if account != 0:
            return ACCOUNT_UNKNOWN
    elif account < 1 or account >= M[ACCOUNTS]:
        return ACCOUNT_UNKNOWN
    at: i64 = group_key_at(M, account, key)
    if M[at + KEY_FLAGS] & KEY_LIVE == 0:
        return KEY_UNKNOWN
    if key >= 1 and key <= KEYS_PER_ACCOUNT and M[at + KEY_EXPIRES] <= now:
        return GROUP_KEY_EXPIRED
    if compare_signer(M, S, at + KEY_ADDRESS) != 0:
        return SIGNER
    expires: i64 = read_i64_le(b, i + 24)
    if expires <= now:
        return GROUP_EXPIRED
    if expires > now + GROUP_LIFE_MS:
        return GROUP_FAR
    why: i64 = nonce_fault(M, S, at, read_i64_le(b, i + 16))
    if why != 0:
        return why
    if key != KEY_GOVERNANCE and tokens_now(M, account) < count * 1000:
        return RATE
    return 0


def open_group(M: vec[i64], S: vec[i64], b: bytes, i: i64, end: i64, phase: i64) -> i64:
    """Check the group whose header is at `i` and open it; 0 or its fault, nothing changed."""
    count: i64 = group_shape(b, i, end)
    if count == 0:
        return GROUP_SHAPE
    if S[S_DIRTY] >= M[LEAVES_MAX]:
        return BLOCK_FULL
    key: i64 = (read_i64_le(b, i) >> 16) & 255
    account: i64 = read_i64_le(b, i + 8)
    if (key >= KEY_DEPOSIT) != (phase == PHASE_MESSAGES):
        return PHASE
    S[S_SIGNER] = read_i64_le(b, i + 32)
    S[S_SIGNER + 1] = read_i64_le(b, i + 40)
    S[S_SIGNER + 2] = read_i64_le(b, i + 48)
    why: i64 = 0
    if key >= KEY_DEPOSIT:
        why = message_fault(M, S, b, i)
    else:
        why = command_fault(M, S, b, i, key, count)
    if why != 0:
        return why
    if key >= KEY_DEPOSIT:
        touch(M, S, L1_MESSAGES)
        M[L1_MESSAGES] += 1
        S[S_LOW] = account
        if compare_signer(M, S, account_at(M, account) + ACCOUNT_ADDRESS) != 0:
            account = 0
    else:
        S[S_KEY_AT] = group_key_at(M, account, key)
        spend_nonce(M, S, S[S_KEY_AT], read_i64_le(b, i + 16))
        if key != KEY_GOVERNANCE:
            spend_tokens(M, S, account, count)
    S[S_KEY] = key
    S[S_ACCOUNT] = account
    S[S_LEFT] = count
    S[S_GROUPS] += 1
    return 0


def permission(S: vec[i64], op: i64) -> i64:
    """0, MALFORMED for an unknown operation, or NOT_ALLOWED under the open group's key."""
    key: i64 = S[S_KEY]
    if op >= OP_PLACE and op <= OP_SETTINGS:
        if key == KEY_OWNER or key == KEY_FORCED:
            return 0
        if key <= KEYS_PER_ACCOUNT and (op <= OP_CANCEL_ALL or op == OP_DEADMAN):
            return 0
        return NOT_ALLOWED
    if op == OP_DEPOSIT:
        return 0 if key == KEY_DEPOSIT else NOT_ALLOWED
    if op >= OP_LIST_ASSET and op <= OP_GOVERNOR:
        return 0 if key == KEY_GOVERNANCE else NOT_ALLOWED
    return MALFORMED


def account_operation(M: vec[i64], S: vec[i64], b: bytes, i: i64, w0: i64, op: i64) -> None:
    """The operations that are not orders."""
    if op == OP_TRANSFER:
        transfer(M, S, b, i, w0)
    elif op == OP_WITHDRAW:
        withdraw(M, S, b, i, w0)
    elif op == OP_GRANT:
        grant(M, S, b, i, w0)
    elif op == OP_REVOKE:
        revoke(M, S, b, i, w0)
    elif op == OP_DEADMAN:
        deadman(M, S, b, i, w0)
    elif op == OP_SETTINGS:
        settings(M, S, b, i, w0)
    elif op == OP_DEPOSIT:
        deposit(M, S, b, i, w0)
    else:
        govern(M, S, b, i, w0, op)


def operate(M: vec[i64], S: vec[i64], b: bytes, i: i64) -> None:
    """One operation row of the open group."""
    w0: i64 = read_i64_le(b, i)
    op: i64 = w0 & 255
    M[SEQUENCE] += 1  # open_block touched its leaf
    S[S_VISITS] = 0
    if S[S_ACCOUNT] == 0 and S[S_KEY] == KEY_FORCED:
        refuse_row(M, S, b, i, UNKNOWN_ACCOUNT)
        return
    why: i64 = permission(S, op)
    if w0 < 0 or w0 >> 48 != 0:
        why = MALFORMED
    if why != 0:
        refuse_row(M, S, b, i, why)
    elif op == OP_PLACE:
        place(M, S, b, i, w0)
    elif op == OP_CANCEL:
        cancel(M, S, b, i, w0)
    elif op == OP_AMEND:
        amend(M, S, b, i, w0)
    elif op == OP_CANCEL_CLIENT:
        cancel_client(M, S, b, i, w0)
    elif op == OP_CANCEL_ALL:
        cancel_all(M, S, b, i, w0)
    else:
        account_operation(M, S, b, i, w0, op)


def execute(M: vec[i64], S: vec[i64], b: bytes, i: i64, end: i64, phase: i64) -> i64:
    """Run rows from byte `i` until `end`, a fault (S_FAULT) or a full scratch area.

    Returns the byte of the first row that was not run; `b` must hold whole groups between calls.
    """
    while i < end and S[S_EVENT] < S[S_EVENT_HIGH] and S[S_DIRTY] < S[S_DIRTY_HIGH]:
        if S[S_LEFT] == 0:
            S[S_FAULT] = open_group(M, S, b, i, end, phase)
            if S[S_FAULT] != 0:
                return i
        else:
            operate(M, S, b, i)
            S[S_LEFT] -= 1
        i += ROW_BYTES
    return i


def run_schedules(M: vec[i64], S: vec[i64]) -> None:
    """Dead-man switches that are due: cancel all, bounded; an unfinished one stays first."""
    n: i64 = 0
    orders: i64 = M[VISITS_MAX]
    index: i64 = 0
    while index < M[SCHEDULES] and n < SCHEDULES_PER_BLOCK:
        at: i64 = AT_SCHEDULES + (index << 3)
        if M[at + SCHEDULE_DUE] > M[TIME]:
            index += 1
        else:
            n += 1
            account: i64 = M[at + SCHEDULE_ACCOUNT]
            orders -= remove_all(M, S, account, ALL_MARKETS, 0, orders, REASON_DEADMAN)
            if S[S_NEXT] < M[TABLE_SLOTS]:
                return
            drop_schedule(M, S, index)


def run_sweep(M: vec[i64], S: vec[i64]) -> None:
    """Remove dead orders from a bounded stretch of one market's pool."""
    slots: i64 = M[SWEEP_ORDERS]
    if M[MARKETS] == 0 or slots == 0:
        return
    market: i64 = M[SWEEP_MARKET]
    record: i64 = M[AT_MARKETS] + (market << 4)
    k: i64 = market_at(M, market)
    slot: i64 = M[record + MARKET_SWEEP]
    touch(M, S, SWEEP_MARKET)
    touch(M, S, record)
    while slots > 0 and slot < M[k + BOOK_POOL_MAX]:
        order: i64 = order_at(M, k, slot)
        if M[order + ORDER_TAG] & TAG_LIVE != 0 and M[order + ORDER_EXPIRES] <= M[TIME]:
            remove(M, S, k, slot, REASON_EXPIRED)
        slot += 1
        slots -= 1
    M[record + MARKET_SWEEP] = slot if slot < M[k + BOOK_POOL_MAX] else 1
    M[SWEEP_MARKET] = market + 1 if market + 1 < M[MARKETS] else 0


def housekeeping(M: vec[i64], S: vec[i64]) -> None:
    """Between a block's L1 messages and its commands: schedules, then the sweep."""
    run_schedules(M, S)
    run_sweep(M, S)


def run_book(M: vec[i64], S: vec[i64], b: bytes, i: i64, end: i64) -> i64:
    """The matcher without groups, for `rialto bench`: before each row its account, one word."""
    S[S_KEY] = KEY_OWNER
    while i < end and S[S_EVENT] < S[S_EVENT_HIGH] and S[S_DIRTY] < S[S_DIRTY_HIGH]:
        S[S_ACCOUNT] = read_i64_le(b, i)
        operate(M, S, b, i + 8)
        i += ROW_BYTES + 8
    return i
