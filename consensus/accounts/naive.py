"""The naive twin's ledger: who owns what, in plain objects.

What lives here: assets, accounts, balances, keys with their nonces and rates, positions, and the
arithmetic of fees, as `docs/protocol/{layout,accounts,commands}.md` state them. What must never
live here: anything imported from the core, or a word of the memory image.

Theory. The twin is a second reading of the documents, made to be compared with the compiled core,
so it keeps what the documents *mean* and not how the core stores it. The sorted address list is a
sorted Python list, live orders are the entries of a dict, a session key that is not live is a fresh
`Key`. Integers are unbounded here: where the core splits a product to stay inside 64 bits, the twin
multiplies, and where the documents make the split visible in the result (`prorate`) it follows.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import Final

PPM: Final = 1_000_000
DAY_MS: Final = 86_400_000
SATURATED: Final = (1 << 62) - 1
SCHEDULES_MAX: Final = 1024
FEE_ACCOUNT: Final = 1

VISITS_MAX: Final = 0
LEAVES_MAX: Final = 1
RATE_PER_S: Final = 2
RATE_BURST: Final = 3
SWEEP_ORDERS: Final = 4
PARAMETER_BOUNDS: Final = (
    (16, 5_000),
    (64, 40_000),
    (1, 1_000_000),
    (64, 1_000_000),
    (0, 1_024),
)

NONCE_WINDOW: Final = 256
NONCE_AHEAD_MAX: Final = 1 << 20
NONCE_USED: Final = 4001
NONCE_OLD: Final = 4002
NONCE_FAR: Final = 4003


def saturate(value: int) -> int:
    """Return `value` held inside +-(2^62 - 1)."""
    return max(-SATURATED, min(SATURATED, value))


def ceil_ppm(amount: int, rate: int) -> int:
    """Return `amount x rate` parts per million, rounded up."""
    return (amount * rate + PPM - 1) // PPM


def charge(amount: int, rate: int) -> int:
    """Return the fee on `amount`, rounded against the payer; negative for a rebate."""
    return ceil_ppm(amount, rate) if rate >= 0 else -(amount * -rate // PPM)


def prorate(amount: int, part: int, whole: int) -> int:
    """Return the share `part / whole` of `amount`; coarse above 2^31, as the core must be."""
    if part == whole:
        return amount
    rest = (amount % whole) * part // whole if whole <= 1 << 31 else 0
    return (amount // whole) * part + rest


def address_of(words: tuple[int, ...]) -> int | None:
    """Return the address in three words of 56, 56 and 48 bits, or None if one is out of range."""
    high, middle, low = words
    if not (0 <= high < 1 << 56 and 0 <= middle < 1 << 56 and 0 <= low < 1 << 48):
        return None
    return high << 104 | middle << 48 | low


@dataclass(slots=True)
class Asset:
    symbol: int
    decimals: int
    withdraw_min: int
    deposited: int = 0
    withdrawn: int = 0


@dataclass(slots=True)
class Balance:
    available: int = 0
    locked: int = 0
    deposited: int = 0
    withdrawn: int = 0


@dataclass(slots=True)
class Key:
    """An owner's, session's or governor's key. `seen` is the ring of nonces, bit `n & 255`."""

    address: int = 0
    live: bool = False
    reduce_only: bool = False
    expires: int = 0
    cap: int = 0
    used: int = 0
    day: int = 0
    markets: int = 0
    epoch: int = 0
    nonce: int = 0
    seen: int = 0
    quote: int = 0

    def nonce_fault(self, nonce: int) -> int:
        """Return 0 if `nonce` may be spent now, else the 40xx number."""
        if nonce <= self.nonce - NONCE_WINDOW:
            return NONCE_OLD
        if nonce > self.nonce + NONCE_AHEAD_MAX:
            return NONCE_FAR
        if nonce <= self.nonce and self.seen >> (nonce & 255) & 1:
            return NONCE_USED
        return 0

    def spend_nonce(self, nonce: int) -> None:
        if nonce - self.nonce >= NONCE_WINDOW:
            self.seen = 0
        else:
            for passed in range(self.nonce + 1, nonce + 1):
                self.seen &= ~(1 << (passed & 255))
        self.nonce = max(self.nonce, nonce)
        self.seen |= 1 << (nonce & 255)

    def spent_today(self, today: int) -> int:
        return self.used if self.day == today else 0


@dataclass(slots=True)
class Account:
    """One account. `table` maps an order-table slot to (market, pool slot) of a live order."""

    index: int
    address: int
    balances: list[Balance]
    tier: int = 0
    stp: int = 0
    tokens: int = 0
    refilled: int = 0
    grants: int = 0
    owner: Key = field(default_factory=Key)
    sessions: list[Key] = field(default_factory=lambda: [Key() for _ in range(4)])
    table: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Position:
    """What one account did in one market; `net` in lots, the rest in quote atoms."""

    net: int = 0
    cost: int = 0
    realised: int = 0
    fees: int = 0
    orders: int = 0
    volume: int = 0

    def trade(self, side: int, lots: int, quote: int, fee: int) -> None:
        """Book a fill of `lots` for `quote` on `side` (0 buy, 1 sell)."""
        self.volume = saturate(self.volume + quote)
        self.fees = saturate(self.fees + fee)
        signed = lots if side == 0 else -lots
        if self.net == 0 or (self.net > 0) == (signed > 0):
            self.cost = saturate(self.cost + quote)
        else:
            held = abs(self.net)
            closed = min(held, lots)
            part = prorate(self.cost, closed, held)
            got = prorate(quote, closed, lots)
            gain = got - part if self.net > 0 else part - got
            self.realised = saturate(self.realised + gain)
            self.cost = quote - got if lots > closed else self.cost - part
        self.net = saturate(self.net + signed)


@dataclass(slots=True)
class Schedule:
    account: int
    due: int


@dataclass
class Ledger:
    """Everything that is not a market. `by_address` is sorted and holds (address, account)."""

    assets_max: int
    markets_max: int
    accounts_max: int
    table_slots: int
    parameters: list[int]
    governor: Key
    time: int
    height: int = 0
    sequence: int = 0
    chain_halted: bool = False
    l1_origin: int = 0
    l1_messages: int = 0
    withdrawals: int = 0
    sweep_market: int = 0
    validators_epoch: int = 0
    validators_hash: tuple[int, ...] = (0, 0, 0, 0)
    assets: list[Asset] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    by_address: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accounts.append(Account(0, 0, self._no_balances()))
        self.by_address.append((0, 0))

    def _no_balances(self) -> list[Balance]:
        return [Balance() for _ in range(self.assets_max)]

    def low_neighbour(self, address: int) -> int:
        """Return the account with the largest address that is not above `address`."""
        return self.by_address[bisect_right(self.by_address, (address, self.accounts_max)) - 1][1]

    def account_at(self, address: int) -> Account | None:
        """Return the account of `address`; the sentinel is nobody's."""
        account = self.accounts[self.low_neighbour(address)]
        return account if account.index and account.address == address else None

    def make_account(self, address: int) -> Account:
        account = Account(len(self.accounts), address, self._no_balances())
        account.stp = 1
        account.tokens = 1000 * self.parameters[RATE_BURST]
        account.refilled = self.time
        account.owner = Key(address=address, live=True)
        self.accounts.append(account)
        insort(self.by_address, (address, account.index))
        return account

    def tokens_of(self, account: Account) -> int:
        """Return the rate tokens of `account` now, in thousandths of an operation."""
        waited = min(self.time - account.refilled, DAY_MS)
        refilled = account.tokens + waited * self.parameters[RATE_PER_S]
        return min(1000 * self.parameters[RATE_BURST], refilled)

    def schedule_of(self, account: int) -> int | None:
        """Return the index of the account's armed switch, or None."""
        for index, schedule in enumerate(self.schedules):
            if schedule.account == account:
                return index
        return None

    def disarm(self, index: int) -> None:
        """Remove switch `index`; the last entry takes its place."""
        last = self.schedules.pop()
        if index < len(self.schedules):
            self.schedules[index] = last
