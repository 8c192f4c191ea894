"""Where every word of the state lives: offsets, bit fields, operation, refusal and event numbers.

What lives here: constants, and nothing that computes with state. `docs/protocol/layout.md` says the
same with a drawing; `tests/vectors/layout.json` pins it: a changed constant is a new
layout version.

One memory `M` of 64-bit words holds all regions. Ledger offsets are absolute (the ledger starts at
word 0); market offsets are relative to the first word `k` of the market's region. `S` is scratch:
nothing in `M` may depend on what an earlier block left there.
"""

from typing import Final

LAYOUT_VERSION: Final = 1
LEAF_SHIFT: Final = 5  # 32 words = 256 bytes: measured best for CPU, tree memory and witness
LEAF_WORDS: Final = 32

# -- bounds ------------------------------------------------------------------------------------
AMOUNT_MAX: Final = (1 << 62) - 1  # balances, supply, caps, counters that saturate
PRODUCT_MAX: Final = 1 << 61  # price x lots x quote per tick and lot; lots x base per lot
TIME_NEVER: Final = 1 << 53  # ms; also the bound of client ids and nonces
RATE_UNIT: Final = 1000000  # rates are parts per million
RATE_MAX: Final = 100000  # 10 %
MAKER_BIAS: Final = 1 << 20  # maker rates may be negative: stored with this added
GROUP_OPERATIONS_MAX: Final = 64
GROUP_LIFE_MS: Final = 86400000
DAY_MS: Final = 86400000
NONCE_WINDOW: Final = 256
NONCE_AHEAD_MAX: Final = 1 << 20
ALL_MARKETS: Final = 65535

# -- ledger header -----------------------------------------------------------------------------
LAYOUT: Final = 0
HEIGHT: Final = 1
TIME: Final = 2
SEQUENCE: Final = 3
ACCOUNTS: Final = 4
ASSETS: Final = 5
MARKETS: Final = 6
ACCOUNTS_MAX: Final = 7
ASSETS_MAX: Final = 8
MARKETS_MAX: Final = 9
TABLE_SLOTS: Final = 10
AT_MARKETS: Final = 11
AT_ACCOUNTS: Final = 12
AT_KEYS: Final = 13
AT_BALANCES: Final = 14
AT_TABLES: Final = 15
END: Final = 16
CHAIN_STATUS: Final = 17
L1_ORIGIN: Final = 18
L1_MESSAGES: Final = 19
WITHDRAWALS: Final = 20
SCHEDULES: Final = 21
SWEEP_MARKET: Final = 22
GOVERNOR: Final = 24
VALIDATORS_EPOCH: Final = 40
VALIDATORS_HASH: Final = 41
PARAMETERS: Final = 64
VISITS_MAX: Final = 64
LEAVES_MAX: Final = 65
RATE_PER_S: Final = 66
RATE_BURST: Final = 67
SWEEP_ORDERS: Final = 68
PARAMETER_COUNT: Final = 5
HEADER_WORDS: Final = 256

AT_SCHEDULES: Final = 256
SCHEDULES_MAX: Final = 1024
SCHEDULES_PER_BLOCK: Final = 64
SCHEDULE_ACCOUNT: Final = 0
SCHEDULE_DUE: Final = 1

AT_ASSETS: Final = 8448
ASSET_SYMBOL: Final = 0
ASSET_DECIMALS: Final = 1
ASSET_WITHDRAW_MIN: Final = 2
ASSET_DEPOSITED: Final = 3
ASSET_WITHDRAWN: Final = 4
ASSET_LISTED: Final = 5

MARKET_REGION: Final = 0
MARKET_WORDS: Final = 1
MARKET_STATUS: Final = 2
MARKET_SWEEP: Final = 3

# -- accounts ----------------------------------------------------------------------------------
ACCOUNT_ADDRESS: Final = 0
ACCOUNT_NEXT: Final = 3
ACCOUNT_TIER: Final = 4
ACCOUNT_STP: Final = 5
ACCOUNT_SCHEDULE: Final = 7
ACCOUNT_TOKENS: Final = 8
ACCOUNT_REFILLED: Final = 9
ACCOUNT_GRANTS: Final = 10
ACCOUNT_OWNER: Final = 16
FEE_ACCOUNT: Final = 1

KEY_ADDRESS: Final = 0
KEY_FLAGS: Final = 3
KEY_EXPIRES: Final = 4
KEY_CAP: Final = 5
KEY_USED: Final = 6
KEY_DAY: Final = 7
KEY_MARKETS: Final = 8
KEY_EPOCH: Final = 9
KEY_NONCE: Final = 10
KEY_SEEN: Final = 11
KEY_QUOTE: Final = 15
KEY_LIVE: Final = 1
KEY_REDUCE_ONLY: Final = 2
KEYS_PER_ACCOUNT: Final = 4

BALANCE_AVAILABLE: Final = 0
BALANCE_LOCKED: Final = 1
BALANCE_DEPOSITED: Final = 2
BALANCE_WITHDRAWN: Final = 3

# -- market region -----------------------------------------------------------------------------
BUY: Final = 0
SELL: Final = 1
BOOK_BEST: Final = 0  # + side
BOOK_ORDERS: Final = 2  # + side
BOOK_LAST: Final = 4
BOOK_TRADES: Final = 5
BOOK_LOTS: Final = 6
BOOK_QUOTE: Final = 7
BOOK_PAGES: Final = 8
BOOK_MARKET: Final = 32
BOOK_TICKS: Final = 33
BOOK_PRICE_LEAF: Final = 34
BOOK_PRICE_BITS: Final = 35  # + side
BOOK_DIRECTORY: Final = 37  # + side
BOOK_PAGE_BITS: Final = 39
BOOK_PAGE_LEAF: Final = 40
BOOK_SLOT_BITS: Final = 41
BOOK_SLOT_LEAF: Final = 42
BOOK_AT_PAGES: Final = 43
BOOK_AT_POOL: Final = 44
BOOK_AT_TRADERS: Final = 45
BOOK_POOL_MAX: Final = 46
BOOK_PAGES_MAX: Final = 47
BOOK_BASE: Final = 48
BOOK_QUOTE_ASSET: Final = 49
BOOK_BASE_PER_LOT: Final = 50
BOOK_QUOTE_PER_TICK_LOT: Final = 51
BOOK_MIN_NOTIONAL: Final = 52
BOOK_LOTS_MAX: Final = 53
BOOK_BAND: Final = 54
BOOK_REFERENCE: Final = 55
BOOK_TRADER_ORDERS_MAX: Final = 56
BOOK_FEES: Final = 64  # + tier
BOOK_HEADER_WORDS: Final = 128
TIERS: Final = 4

LEVEL_HEAD: Final = 0
LEVEL_TAIL: Final = 1
LEVEL_VISIBLE: Final = 2
LEVEL_COUNT: Final = 3
PAGE_WORDS: Final = 256

ORDER_TAG: Final = 0
ORDER_TERMS: Final = 1
ORDER_PRICE: Final = 2
ORDER_VISIBLE: Final = 3
ORDER_HIDDEN: Final = 4
ORDER_NEXT: Final = 5
ORDER_PREV: Final = 6
ORDER_EXPIRES: Final = 7
ORDER_PEAK: Final = 8
ORDER_TOTAL: Final = 9
ORDER_CLIENT: Final = 10
ORDER_SEQUENCE: Final = 11
ORDER_WORDS: Final = 16

TAG_LIVE: Final = 1
TAG_SIDE_SHIFT: Final = 1
TAG_STP_SHIFT: Final = 2
TAG_POST_SHIFT: Final = 5
TAG_GENERATION_SHIFT: Final = 32
GENERATION_MAX: Final = (1 << 30) - 1
TERMS_ACCOUNT_MASK: Final = (1 << 20) - 1
TERMS_MAKER_SHIFT: Final = 20
TERMS_MAKER_MASK: Final = (1 << 22) - 1
TERMS_WORST_SHIFT: Final = 42
HANDLE_SHIFT: Final = 24
HANDLE_SLOT_MASK: Final = (1 << 24) - 1

TRADER_NET: Final = 0
TRADER_COST: Final = 1
TRADER_REALISED: Final = 2
TRADER_FEES: Final = 3
TRADER_ORDERS: Final = 4
TRADER_VOLUME: Final = 5

# -- rows --------------------------------------------------------------------------------------
KEY_OWNER: Final = 0
KEY_GOVERNANCE: Final = 253
KEY_DEPOSIT: Final = 254
KEY_FORCED: Final = 255

OP_PLACE: Final = 1
OP_AMEND: Final = 2
OP_CANCEL: Final = 3
OP_CANCEL_CLIENT: Final = 4
OP_CANCEL_ALL: Final = 5
OP_TRANSFER: Final = 6
OP_WITHDRAW: Final = 7
OP_GRANT: Final = 8
OP_REVOKE: Final = 9
OP_DEADMAN: Final = 10
OP_SETTINGS: Final = 11
OP_DEPOSIT: Final = 16
OP_LIST_ASSET: Final = 32
OP_LIST_MARKET: Final = 33
OP_FEES: Final = 34
OP_MARKET_STATUS: Final = 35
OP_CHAIN_STATUS: Final = 36
OP_VALIDATORS: Final = 37
OP_PARAMETER: Final = 38
OP_TIER: Final = 39
OP_MARKET_LIMITS: Final = 40
OP_GOVERNOR: Final = 41

TIF_REST: Final = 0
TIF_IOC: Final = 1
TIF_FOK: Final = 2
TYPE_LIMIT: Final = 0
TYPE_MARKET: Final = 1
TYPE_BUDGET: Final = 2
POST_REJECT: Final = 1
POST_SLIDE: Final = 2
STP_CANCEL_MAKER: Final = 1
STP_CANCEL_TAKER: Final = 2
STP_CANCEL_BOTH: Final = 3
STP_DECREMENT: Final = 4

# -- refusals (state) and faults of a group ------------------------------------------------------
MALFORMED: Final = 1
UNKNOWN_MARKET: Final = 2
MARKET_HALTED: Final = 3
PRICE_RANGE: Final = 4
PRICE_BAND: Final = 5
LOTS_RANGE: Final = 6
MIN_NOTIONAL: Final = 7
DISPLAY: Final = 8
EXPIRED: Final = 9
CLIENT_ID_TAKEN: Final = 10
ORDERS_MAX: Final = 11
FUNDS: Final = 12
POST_ONLY_CROSS: Final = 13
UNFILLABLE: Final = 14
WORK_LIMIT: Final = 15
UNKNOWN_ORDER: Final = 16
REDUCE_ONLY: Final = 17
KEY_SCOPE: Final = 18
KEY_CAP_REACHED: Final = 19
UNKNOWN_ASSET: Final = 20
UNKNOWN_ACCOUNT: Final = 21
AMOUNT_RANGE: Final = 22
KEY_SLOT: Final = 23
SCHEDULE_FULL: Final = 24
CHAIN_HALTED: Final = 25
ACCOUNTS_FULL: Final = 26
SUPPLY: Final = 27
LISTING: Final = 28
LISTING_FULL: Final = 29
PARAMETER_RANGE: Final = 30
NOT_ALLOWED: Final = 31

NONCE_USED: Final = 4001
NONCE_OLD: Final = 4002
NONCE_FAR: Final = 4003
KEY_UNKNOWN: Final = 4004
SIGNER: Final = 4005
GROUP_EXPIRED: Final = 4006
GROUP_FAR: Final = 4007
RATE: Final = 4008
GROUP_SHAPE: Final = 4009
ACCOUNT_UNKNOWN: Final = 4010
HINT: Final = 4011
BLOCK_FULL: Final = 4012
L1_ORDER: Final = 4013
GROUP_KEY_EXPIRED: Final = 4014
PHASE: Final = 4015

# -- events ------------------------------------------------------------------------------------
EVENT_WORDS: Final = 8
EVENT_TRADE: Final = 1
EVENT_TAKEN: Final = 2
EVENT_RESTED: Final = 3
EVENT_CANCELED: Final = 4
EVENT_REDUCED: Final = 5
EVENT_REFUSED: Final = 6
EVENT_MASS: Final = 7
EVENT_TRANSFERRED: Final = 8
EVENT_WITHDRAWN: Final = 9
EVENT_DEPOSITED: Final = 10
EVENT_GRANTED: Final = 11
EVENT_REVOKED: Final = 12
EVENT_SCHEDULED: Final = 13
EVENT_SET: Final = 14
TRADE_MAKER_DONE: Final = 1 << 20
TRADE_MAKER_REFRESHED: Final = 2 << 20

REASON_BY_USER: Final = 1
REASON_IOC: Final = 2
REASON_SELF_TRADE: Final = 3
REASON_EXPIRED: Final = 4
REASON_WORK_LIMIT: Final = 5
REASON_EVICTED: Final = 6
REASON_NO_ROOM: Final = 7
REASON_DEADMAN: Final = 8
REASON_AMENDED: Final = 9
REASON_BUDGET: Final = 10
REASON_MASS: Final = 11

# -- scratch -----------------------------------------------------------------------------------
# header 64 | ctz table 64 | bit table 64 | events | marks | dirty leaves | images of dirty leaves
S_EVENT: Final = 0  # where the next event goes
S_EVENT_HIGH: Final = 1  # no operation starts at or above this
S_DIRTY: Final = 2  # how many leaves are in the list
S_LIST: Final = 4  # first word of the list
S_IMAGES: Final = 15  # first word of the images
S_LOW: Final = 26  # low neighbour of the signer of an L1 message
S_DIRTY_HIGH: Final = 25  # no operation starts with this many dirty leaves
S_FAULT: Final = 5  # why execute() stopped: 0 or a group fault
S_LEFT: Final = 6  # operations left of the open group
S_ACCOUNT: Final = 7  # account of the open group; 0 = a forced group without account
S_KEY: Final = 8  # key kind of the open group
S_KEY_AT: Final = 9  # its key record
S_VISITS: Final = 10  # orders visited by the running command
S_SIGNER: Final = 11  # 3 words
S_GROUPS: Final = 14  # groups begun since the block opened
S_FEE: Final = 16  # maker fees of the running command
S_LOTS: Final = 17  # lots left to the running taker
S_SPENT: Final = 18  # quote traded by it
S_FILLED: Final = 19  # lots traded by it
S_STOP: Final = 20  # reason that stopped it, 0 none
S_DECREMENTED: Final = 21  # lots it lost to its own orders
S_BUDGET: Final = 22  # quote left of its budget
S_TRADES: Final = 23  # trades of the running taker
S_NEXT: Final = 24  # where a mass cancel goes on
S_CTZ: Final = 64
S_BIT: Final = 128
S_EVENTS: Final = 192
EVENTS_MAX: Final = 1 << 16  # events that a slice may hold before the caller must take them
S_MARKS: Final = S_EVENTS + EVENTS_MAX * EVENT_WORDS
CTZ_FACTOR: Final = 0x03F79D71B4CB0A89
