"""What a word of the state is called: region, record and field, by the names of the layout.

What lives here: the names of fields, and finding the one of a word. What must never live here: an
offset; `consensus/layout.py` has them, and `consensus/state/integrity.py` has the parts.
"""

from bisect import bisect_right
from typing import Final, NamedTuple

from consensus import layout
from consensus.state.integrity import Part, parts_of
from consensus.state.memory import Memory
from consensus.state.records import read_records

# Names as in consensus/layout.py, behind this prefix.
FIELDS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "schedule": ("SCHEDULE_", ("ACCOUNT", "DUE")),
    "asset": (
        "ASSET_",
        ("SYMBOL", "DECIMALS", "WITHDRAW_MIN", "DEPOSITED", "WITHDRAWN", "LISTED"),
    ),
    "market": ("MARKET_", ("REGION", "WORDS", "STATUS", "SWEEP")),
    "account": (
        "ACCOUNT_",
        ("ADDRESS", "NEXT", "TIER", "STP", "SCHEDULE", "TOKENS", "REFILLED", "GRANTS", "OWNER"),
    ),
    "key": (
        "KEY_",
        ("ADDRESS", "FLAGS", "EXPIRES", "CAP", "USED", "DAY", "MARKETS", "EPOCH", "NONCE", "SEEN",
         "QUOTE"),
    ),
    "balance": ("BALANCE_", ("AVAILABLE", "LOCKED", "DEPOSITED", "WITHDRAWN")),
    "level": ("LEVEL_", ("HEAD", "TAIL", "VISIBLE", "COUNT")),
    "order": (
        "ORDER_",
        ("TAG", "TERMS", "PRICE", "VISIBLE", "HIDDEN", "NEXT", "PREV", "EXPIRES", "PEAK", "TOTAL",
         "CLIENT", "SEQUENCE"),
    ),
    "trader": ("TRADER_", ("NET", "COST", "REALISED", "FEES", "ORDERS", "VOLUME")),
}  # fmt: skip
LEDGER_HEADER: Final = (
    "LAYOUT", "HEIGHT", "TIME", "SEQUENCE", "ACCOUNTS", "ASSETS", "MARKETS", "ACCOUNTS_MAX",
    "ASSETS_MAX", "MARKETS_MAX", "TABLE_SLOTS", "AT_MARKETS", "AT_ACCOUNTS", "AT_KEYS",
    "AT_BALANCES", "AT_TABLES", "END", "CHAIN_STATUS", "L1_ORIGIN", "L1_MESSAGES", "WITHDRAWALS",
    "SCHEDULES", "SWEEP_MARKET", "GOVERNOR", "VALIDATORS_EPOCH", "VALIDATORS_HASH", "VISITS_MAX",
    "LEAVES_MAX", "RATE_PER_S", "RATE_BURST", "SWEEP_ORDERS",
)  # fmt: skip
MARKET_HEADER: Final = (
    "BEST", "ORDERS", "LAST", "TRADES", "LOTS", "QUOTE", "PAGES", "MARKET", "TICKS", "PRICE_LEAF",
    "PRICE_BITS", "DIRECTORY", "PAGE_BITS", "PAGE_LEAF", "SLOT_BITS", "SLOT_LEAF", "AT_PAGES",
    "AT_POOL", "AT_TRADERS", "POOL_MAX", "PAGES_MAX", "BASE", "QUOTE_ASSET", "BASE_PER_LOT",
    "QUOTE_PER_TICK_LOT", "MIN_NOTIONAL", "LOTS_MAX", "BAND", "REFERENCE", "TRADER_ORDERS_MAX",
    "FEES",
)  # fmt: skip


class Field(NamedTuple):
    """`market` None: the ledger. `record` as the integrity walk names it, `field` as the layout."""

    market: int | None
    record: str
    field: str

    def __str__(self) -> str:
        where = "ledger" if self.market is None else f"market {self.market}"
        return f"{where}, {self.record}, {self.field}"


class FieldNames:
    """The names in one sound state; making it reads all of it."""

    def __init__(self, memory: Memory) -> None:
        self._parts = parts_of(read_records(memoryview(memory.M)))
        self._starts = [part.start for _, part in self._parts]

    def of(self, word: int) -> Field:
        region, part = self._parts[bisect_right(self._starts, word) - 1]
        index, offset = divmod(word - part.start, part.width)
        market = region - 1 if region else None
        if part.name.endswith("header"):
            return Field(market, part.name, _header_field(region, offset))
        return Field(market, f"{part.name} {index}", _record_field(part, offset))


def _header_field(region: int, offset: int) -> str:
    if region:
        return _named("BOOK_", MARKET_HEADER, offset)
    return _named("", LEDGER_HEADER, offset)


def _record_field(part: Part, offset: int) -> str:
    if part.name in FIELDS:
        return _named(*FIELDS[part.name], offset)
    return part.fields[0][0] if 0 in part.fields else f"word {offset}"


def _named(prefix: str, names: tuple[str, ...], offset: int) -> str:
    """The last name at or below the offset, and how far above it the word is."""
    known = {int(getattr(layout, prefix + name)): name for name in names}
    at = max((start for start in known if start <= offset), default=None)
    if at is None:
        return f"word {offset}"
    return known[at] if at == offset else f"{known[at]} + {offset - at}"
