"""The naive twin's numbers: operations, refusals, reasons, event kinds, group faults.

What lives here: the numbers of `docs/protocol/{commands,events}.md`, typed a second time on
purpose, and the exception that carries a refusal. What must never live here: an import from the
core, which would turn a wrong number into a number both sides agree on.
"""

from typing import Final

PLACE: Final = 1
AMEND: Final = 2
CANCEL: Final = 3
CANCEL_CLIENT: Final = 4
CANCEL_ALL: Final = 5
TRANSFER: Final = 6
WITHDRAW: Final = 7
GRANT: Final = 8
REVOKE: Final = 9
DEAD_MAN: Final = 10
SETTINGS: Final = 11
DEPOSIT: Final = 16
LIST_ASSET: Final = 32
LIST_MARKET: Final = 33
FEES: Final = 34
MARKET_STATUS: Final = 35
CHAIN_STATUS: Final = 36
VALIDATORS: Final = 37
PARAMETER: Final = 38
TIER: Final = 39
MARKET_LIMITS: Final = 40
GOVERNOR: Final = 41

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
KEY_CAP: Final = 19
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

BY_USER: Final = 1
IOC: Final = 2
SELF_TRADE: Final = 3
BY_EXPIRY: Final = 4  # reason EXPIRED; the refusal of that name is number 9
BY_WORK_LIMIT: Final = 5  # reason WORK_LIMIT; the refusal of that name is number 15
EVICTED: Final = 6
NO_ROOM: Final = 7
DEADMAN: Final = 8
AMENDED: Final = 9
BUDGET: Final = 10
MASS: Final = 11

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

KEY_UNKNOWN: Final = 4004
SIGNER: Final = 4005
GROUP_EXPIRED: Final = 4006
GROUP_FAR: Final = 4007
RATE: Final = 4008
GROUP_SHAPE: Final = 4009
ACCOUNT_UNKNOWN: Final = 4010
HINT: Final = 4011
L1_ORDER: Final = 4013
KEY_EXPIRED: Final = 4014
PHASE: Final = 4015

KEY_OWNER: Final = 0
KEY_GOVERNANCE: Final = 253
KEY_DEPOSIT: Final = 254
KEY_FORCED: Final = 255

BUY: Final = 0
SELL: Final = 1

CLIENT_IDS: Final = 1 << 53  # client ids are 0 .. 2^53 - 1
TIME_MAX: Final = 1 << 53  # ms; as an order's expiry: never
AMOUNT_MAX: Final = (1 << 62) - 1  # atoms
NOTIONAL_MAX: Final = 1 << 61  # quote atoms
ALL_MARKETS: Final = 65535

Row = tuple[int, ...]


class Refused(Exception):
    """The operation is refused by state; `number` goes into its event."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def require(holds: bool, number: int) -> None:
    """Refuse with `number` unless `holds`."""
    if not holds:
        raise Refused(number)
