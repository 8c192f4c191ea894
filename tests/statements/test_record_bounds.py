"""Every word of every record at the ends of its range, and one beyond either end.

The ranges stand here as numbers, as docs/protocol/layout.md and commands.md give them, so that a
bound that moves in the integrity walk is noticed.
"""

from collections.abc import Callable, Iterator, MutableSequence
from typing import Any, Final

import pytest
from live_exchange import live_exchange

from consensus import layout
from consensus.state.bounds import OUT_OF_RANGE, record_findings
from consensus.state.records import Records, read_records

AMOUNT: Final = (0, 2**62 - 1)
MONEY: Final = (-(2**62) + 1, 2**62 - 1)
NONCE: Final = (0, 2**53 - 1)
WIDE: Final = (0, 2**56 - 1)
LOW: Final = (0, 2**48 - 1)
PRODUCT: Final = 2**61
ASSETS: Final = 3

HEADER: Final = {
    "HEIGHT": AMOUNT, "TIME": AMOUNT, "SEQUENCE": AMOUNT, "CHAIN_STATUS": (0, 1),
    "L1_ORIGIN": AMOUNT, "L1_MESSAGES": AMOUNT, "WITHDRAWALS": AMOUNT, "SWEEP_MARKET": (0, 1),
    "GOVERNOR ADDRESS": WIDE, "GOVERNOR ADDRESS + 1": WIDE, "GOVERNOR ADDRESS + 2": LOW,
    "GOVERNOR FLAGS": (1, 1), "GOVERNOR EXPIRES": (0, 0), "GOVERNOR CAP": (0, 0),
    "GOVERNOR USED": (0, 0), "GOVERNOR DAY": (0, 0), "GOVERNOR MARKETS": (0, 0),
    "GOVERNOR EPOCH": (0, 0), "GOVERNOR NONCE": NONCE, None: None, "+1": None, "+2": None,
    "+3": None, "GOVERNOR QUOTE": (0, 0), "VALIDATORS_EPOCH": AMOUNT,
    "hash": None, "hash 1": None, "hash 2": None, "hash 3": None,
    "parameter 0": (16, 5000), "parameter 1": (64, 40_000), "parameter 2": (1, 1_000_000),
    "parameter 3": (64, 1_000_000), "parameter 4": (0, 1024),
}  # fmt: skip
ASSET: Final = {
    "SYMBOL": (1, 2**56 - 1), "DECIMALS": (0, 18), "WITHDRAW_MIN": AMOUNT, "DEPOSITED": AMOUNT,
    "WITHDRAWN": AMOUNT,
}  # fmt: skip
ACCOUNT: Final = {
    "ADDRESS": WIDE, "ADDRESS + 1": WIDE, "ADDRESS + 2": LOW, "TIER": (0, 3), "STP": (1, 4),
    "TOKENS": (0, 10**9), "REFILLED": AMOUNT, "GRANTS": AMOUNT, "NONCE": NONCE,
}  # fmt: skip
KEY: Final = {
    "number": None, "ADDRESS": WIDE, "ADDRESS + 1": WIDE, "ADDRESS + 2": LOW, "FLAGS": (1, 3),
    "EXPIRES": (0, 2**53), "CAP": (1, 2**62 - 1), "USED": AMOUNT, "DAY": AMOUNT, "MARKETS": AMOUNT,
    "epoch": None, "NONCE": NONCE, "seen": None, "+1": None, "+2": None, "+3": None,
    "QUOTE": (0, ASSETS - 1),
}  # fmt: skip
BALANCE: Final = {"number": None, "AVAILABLE": AMOUNT, "DEPOSITED": AMOUNT, "WITHDRAWN": AMOUNT}
SCHEDULE: Final = {"ACCOUNT": (1, 13), "DUE": (1, 2**53)}
MARKET: Final = {
    "LAST": (0, 2**13 - 2), "TRADES": AMOUNT, "LOTS": AMOUNT, "QUOTE": AMOUNT,
    "BASE": (0, ASSETS - 1), "QUOTE_ASSET": (0, ASSETS - 1), "BASE_PER_LOT": (1, PRODUCT),
    "QUOTE_PER_TICK_LOT": (1, PRODUCT), "MIN_NOTIONAL": (0, PRODUCT),
    "lots": None, "BAND": (0, 10**6), "REFERENCE": (0, 2**13 - 2),
    "TRADER_ORDERS_MAX": (1, 2**20 - 1),
}  # fmt: skip
TRADER: Final = {
    "account": (1, 13), "NET": MONEY, "COST": AMOUNT, "REALISED": MONEY, "FEES": MONEY,
    "VOLUME": AMOUNT,
}  # fmt: skip
Place = Callable[[Records], MutableSequence[Any]]
RECORDS: Final[dict[str, tuple[dict[Any, Any], Place, bool]]] = {
    "header": (HEADER, lambda r: r.words, True),
    "asset": (ASSET, lambda r: r.assets, False),
    "account": (ACCOUNT, lambda r: r.accounts, False),
    "key": (KEY, lambda r: r.keys, False),
    "balance": (BALANCE, lambda r: r.balances, False),
    "schedule": (SCHEDULE, lambda r: r.schedules, False),
    "market": (MARKET, lambda r: r.markets[0].words, True),
    "trader": (TRADER, lambda r: r.markets[0].traders, False),
}


@pytest.fixture(scope="module")
def words() -> bytes:
    return bytes(live_exchange().view())


def fresh(words: bytes) -> Records:
    return read_records(memoryview(words).cast("q"))


def cases() -> Iterator[tuple[str, int, str, int, int]]:
    for record, (fields, _, _) in RECORDS.items():
        for at, (name, ends) in enumerate(fields.items()):
            if ends is not None:
                yield record, at, name, *ends


@pytest.mark.parametrize(("record", "at", "name", "low", "high"), list(cases()))
def test_a_word_is_out_of_range_just_beyond_either_end_and_nowhere_nearer(
    words: bytes, record: str, at: int, name: str, low: int, high: int
) -> None:
    for value, beyond in ((low - 1, True), (low, False), (high, False), (high + 1, True)):
        records = fresh(words)
        _, place, is_flat = RECORDS[record]
        target = place(records)
        if is_flat:
            target[at] = value
        else:
            whole = list(target[0])
            whole[at] = value
            target[0] = tuple(whole)
        found = {(f.field, f.seen) for f in record_findings(records) if f.number == OUT_OF_RANGE}
        assert ((name, value) in found) is beyond, value


def test_the_live_exchange_has_a_record_of_each_kind_and_nothing_out_of_range(
    words: bytes,
) -> None:
    records = fresh(words)
    assert all(place(records) for _, place, _ in RECORDS.values())
    assert len(records.assets) == ASSETS
    assert len(records.accounts) == 13
    assert records.markets[0].shape.price_bits == 13
    assert layout.PRODUCT_MAX == PRODUCT
    assert not list(record_findings(records))
