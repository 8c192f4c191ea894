"""What records must be, each for itself and all together, before anything is worked out from them.

What lives here: ranges of record words, names that must not be given twice, sums that must come
out. What must never live here: an index, which is a function of records (`image.py`).

The integrity walk asks this of a state, the import of a file: after `record_findings` found
nothing, every number in the records is safe to compute an index from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from consensus import layout
from consensus.governance import parameter_high, parameter_low
from consensus.state.image import locks, market_word, table_entry
from consensus.state.records import Market, Order, Records
from consensus.state.shape import key_of

OUT_OF_RANGE: Final = 5701
DUPLICATE: Final = 5702
CONSERVATION: Final = 5703
POSITIONS: Final = 5704
CROSSED: Final = 5705

WORD: Final = (-(1 << 63), (1 << 63) - 1)
AMOUNT: Final = (0, layout.AMOUNT_MAX)
ADDRESS: Final = ((0, (1 << 56) - 1), (0, (1 << 56) - 1), (0, (1 << 48) - 1))
NONCE: Final = (0, layout.TIME_NEVER - 1)
MONEY: Final = (-layout.AMOUNT_MAX, layout.AMOUNT_MAX)
TAG_BITS: Final = (1 << layout.TAG_POST_SHIFT + 2) - 1

KEY_FIELDS: Final = (
    "ADDRESS", "ADDRESS + 1", "ADDRESS + 2", "FLAGS", "EXPIRES", "CAP", "USED", "DAY", "MARKETS",
    "EPOCH", "NONCE", "SEEN", "SEEN + 1", "SEEN + 2", "SEEN + 3", "QUOTE",
)  # fmt: skip
ACCOUNT_FIELDS: Final = (
    "ADDRESS", "ADDRESS + 1", "ADDRESS + 2", "TIER", "STP", "TOKENS", "REFILLED", "GRANTS",
    "NONCE", "SEEN", "SEEN + 1", "SEEN + 2", "SEEN + 3",
)  # fmt: skip
ASSET_FIELDS: Final = ("SYMBOL", "DECIMALS", "WITHDRAW_MIN", "DEPOSITED", "WITHDRAWN")
BALANCE_FIELDS: Final = ("AVAILABLE", "DEPOSITED", "WITHDRAWN")
MARKET_FIELDS: Final = (
    "LAST", "TRADES", "LOTS", "QUOTE", "BASE", "QUOTE_ASSET", "BASE_PER_LOT", "QUOTE_PER_TICK_LOT",
    "MIN_NOTIONAL", "LOTS_MAX", "BAND", "REFERENCE", "TRADER_ORDERS_MAX",
)  # fmt: skip
TRADER_FIELDS: Final = ("NET", "COST", "REALISED", "FEES", "VOLUME")

Bounds = Sequence[tuple[int, int]]


class Finding(NamedTuple):
    """One word, or sum, that is not what it must be. Region 0 is the ledger, 1 + m market m."""

    number: int
    region: int
    record: str
    field: str
    expected: int | str
    seen: int


def ranges(
    region: int, record: str, fields: Iterable[str], bounds: Bounds, words: Iterable[int]
) -> Iterator[Finding]:
    for field, (low, high), word in zip(fields, bounds, words, strict=True):
        if not low <= word <= high:
            yield Finding(OUT_OF_RANGE, region, record, field, f"{low}..{high}", word)


def duplicates(
    region: int, field: str, named: Iterable[tuple[object, str, int]]
) -> Iterator[Finding]:
    """Of (value, record, word to show), every record whose value an earlier one has."""
    first: dict[object, str] = {}
    for value, record, seen in named:
        if first.setdefault(value, record) != record:
            text = f"another than that of {first[value]}"
            yield Finding(DUPLICATE, region, record, field, text, seen)


def record_findings(records: Records) -> Iterator[Finding]:
    """Every record word outside its range and every name given twice."""
    yield from ledger_findings(records)
    yield from account_findings(records)
    for number, market in enumerate(records.markets):
        yield from market_findings(records, number + 1, market)
        for order in market.orders:
            yield from order_findings(records, number + 1, market, order)
        yield from place_findings(records, number + 1, market)
    entries = (
        (table_entry(records.sizes, order), f"market {number}, order {order.slot}", order.client)
        for number, market in enumerate(records.markets)
        for order in market.orders
    )
    yield from duplicates(0, "CLIENT", entries)


def ledger_findings(records: Records) -> Iterator[Finding]:
    key = (*ADDRESS, (1, 1), *[(0, 0)] * 6, NONCE, *[WORD] * 4, (0, 0))
    parameters = [
        (int(parameter_low(word)), int(parameter_high(word)))
        for word in range(layout.PARAMETERS, layout.PARAMETERS + layout.PARAMETER_COUNT)
    ]
    fields = [
        "HEIGHT", "TIME", "SEQUENCE", "CHAIN_STATUS", "L1_ORIGIN", "L1_MESSAGES", "WITHDRAWALS",
        "SWEEP_MARKET", *(f"GOVERNOR {name}" for name in KEY_FIELDS), "VALIDATORS_EPOCH",
        *(f"VALIDATORS_HASH + {n}" for n in range(4)),
        *(f"parameter {n}" for n in range(layout.PARAMETER_COUNT)),
    ]  # fmt: skip
    bounds = [
        AMOUNT, AMOUNT, AMOUNT, (0, 1), AMOUNT, AMOUNT, AMOUNT,
        (0, max(0, len(records.markets) - 1)), *key, AMOUNT, *[WORD] * 4, *parameters,
    ]  # fmt: skip
    yield from ranges(0, "header", fields, bounds, records.words)
    asset = ((1, (1 << 56) - 1), (0, 18), AMOUNT, AMOUNT, AMOUNT)
    for n, words in enumerate(records.assets):
        yield from ranges(0, f"asset {n}", ASSET_FIELDS, asset, words)
    entry = ((1, len(records.accounts)), (1, layout.TIME_NEVER))
    for n, schedule in enumerate(records.schedules):
        yield from ranges(0, f"schedule {n}", ("ACCOUNT", "DUE"), entry, schedule)
    armed = (
        (account, f"schedule {n}", account) for n, (account, _) in enumerate(records.schedules)
    )
    yield from duplicates(0, "ACCOUNT", armed)


def account_findings(records: Records) -> Iterator[Finding]:
    burst = parameter_high(layout.RATE_BURST) * 1000
    account_bounds = (
        *ADDRESS, (0, layout.TIERS - 1), (1, 4), (0, burst), AMOUNT, AMOUNT, NONCE, *[WORD] * 4,
    )  # fmt: skip
    for n, words in enumerate(records.accounts, 1):
        yield from ranges(0, f"account {n}", ACCOUNT_FIELDS, account_bounds, words)
    zero = ((0, 0, 0), "account 0", 0)
    owners = [(words[:3], f"account {n}", words[2]) for n, words in enumerate(records.accounts, 1)]
    yield from duplicates(0, "ADDRESS", [zero, *owners])
    for number, *key in records.keys:
        account, slot = divmod(number, layout.KEYS_PER_ACCOUNT)
        grants = records.accounts[account - 1][7]
        key_bounds = (
            *ADDRESS, (1, 3), (0, layout.TIME_NEVER), (1, layout.AMOUNT_MAX), AMOUNT, AMOUNT,
            AMOUNT, (1, grants), NONCE, *[WORD] * 4, (0, len(records.assets) - 1),
        )  # fmt: skip
        name = f"key {slot + 1} of account {account}"
        yield from ranges(0, name, KEY_FIELDS, key_bounds, key)
    for number, *balance in records.balances:
        account, asset = divmod(number, records.sizes.assets_max)
        name = f"balance of account {account}, asset {asset}"
        yield from ranges(0, name, BALANCE_FIELDS, [AMOUNT] * 3, balance)


def market_findings(records: Records, region: int, market: Market) -> Iterator[Finding]:
    ticks, product = 1 << market.shape.price_bits, layout.PRODUCT_MAX
    asset, size = (0, len(records.assets) - 1), (1, product)
    market_bounds = (
        (0, ticks - 2), AMOUNT, AMOUNT, AMOUNT, asset, asset, size, size, (0, product), size,
        (0, layout.RATE_UNIT), (0, ticks - 2), (1, (1 << 20) - 1),
    )  # fmt: skip
    words = market.words[: len(MARKET_FIELDS)]
    yield from ranges(region, "header", MARKET_FIELDS, market_bounds, words)
    state = (market.status, market.sweep)
    limits = ((0, 1), (1, (1 << market.shape.pool_bits) - 1))
    yield from ranges(region, "market record", ("STATUS", "SWEEP"), limits, state)
    for tier, fees in enumerate(market.words[len(MARKET_FIELDS) :]):
        taker, maker = fees >> 32, (fees & (1 << 32) - 1) - layout.MAKER_BIAS
        rate = (0, layout.RATE_MAX), (-taker, layout.RATE_MAX)
        yield from ranges(region, f"fees of tier {tier}", ("taker", "maker"), rate, (taker, maker))
    lots_max = market_word(market, layout.BOOK_LOTS_MAX)
    for word, factor in (
        (layout.BOOK_QUOTE_PER_TICK_LOT, ticks - 2),
        (layout.BOOK_BASE_PER_LOT, 1),
    ):
        most = product // max(1, factor * market_word(market, word))
        yield from ranges(region, "header", ("LOTS_MAX",), ((1, most),), (lots_max,))


def order_findings(
    records: Records, region: int, market: Market, order: Order
) -> Iterator[Finding]:
    lots = market_word(market, layout.BOOK_LOTS_MAX)
    fields = (
        "slot", "generation", "live", "STP", "post-only", "account", "maker rate", "worst rate",
        "PRICE", "VISIBLE", "HIDDEN", "EXPIRES", "PEAK", "TOTAL", "CLIENT", "SEQUENCE",
    )  # fmt: skip
    words = (
        order.slot, order.tag >> layout.TAG_GENERATION_SHIFT,
        order.tag & (1 << layout.TAG_GENERATION_SHIFT) - 1 & ~TAG_BITS | order.tag & 1,
        order.tag >> layout.TAG_STP_SHIFT & 7, order.tag >> layout.TAG_POST_SHIFT & 3,
        order.account,
        (order.terms >> layout.TERMS_MAKER_SHIFT & layout.TERMS_MAKER_MASK) - layout.MAKER_BIAS,
        order.terms >> layout.TERMS_WORST_SHIFT, *order[3:],
    )  # fmt: skip
    order_bounds = (
        (1, (1 << market.shape.pool_bits) - 1), (1, layout.GENERATION_MAX), (1, 1), (1, 4), (0, 2),
        (1, len(records.accounts)), (-layout.RATE_MAX, layout.RATE_MAX), (0, layout.RATE_MAX),
        (1, (1 << market.shape.price_bits) - 2), (1, order.peak or lots),
        (0, lots if order.peak else 0), (1, layout.TIME_NEVER), (0, lots),
        (order.visible + order.hidden, lots), NONCE, (1, records.words[2]),
    )  # fmt: skip
    yield from ranges(region, f"order {order.slot}", fields, order_bounds, words)


def place_findings(records: Records, region: int, market: Market) -> Iterator[Finding]:
    """Slots, pages and traders."""
    slot_bounds = ((1, (1 << market.shape.pool_bits) - 1), (1, layout.GENERATION_MAX))
    for slot, generation in market.freed:
        record = f"free slot {slot}"
        yield from ranges(region, record, ("slot", "generation"), slot_bounds, (slot, generation))
    used = [(order.slot, f"order {order.slot}", order.slot) for order in market.orders]
    free = [(slot, f"free slot {slot}", slot) for slot, _ in market.freed]
    yield from duplicates(region, "slot", used + free)
    page_bounds = ((1, (1 << market.shape.page_bits) - 1),)
    for (side, group), page in market.pages.items():
        name = f"keys {64 * group}.. of side {side}"
        yield from ranges(region, name, ("DIRECTORY",), page_bounds, (page,))
    named = ((page, f"keys {64 * g}.. of side {s}", page) for (s, g), page in market.pages.items())
    yield from duplicates(region, "DIRECTORY", named)
    trader_bounds = (MONEY, AMOUNT, MONEY, MONEY, AMOUNT)
    for account, *words in market.traders:
        yield from ranges(region, f"trader {account}", TRADER_FIELDS, trader_bounds, words)
        accounts = ((1, len(records.accounts)),)
        yield from ranges(region, f"trader {account}", ("account",), accounts, (account,))


def sum_findings(records: Records) -> Iterator[Finding]:
    """Conservation of every asset and of every market's lots; no market is crossed."""
    held: Counter[int] = Counter()
    for (_, asset), atoms in locks(records).items():
        held[asset] += atoms
    for number, available, *_ in records.balances:
        held[number % records.sizes.assets_max] += available
    for asset, (_, _, _, deposited, withdrawn) in enumerate(records.assets):
        supply = deposited - withdrawn
        if held[asset] != supply:
            field = "AVAILABLE + LOCKED"
            yield Finding(CONSERVATION, 0, f"asset {asset}", field, supply, held[asset])
    for region, market in enumerate(records.markets, 1):
        nets = [net for _, net, *_ in market.traders]
        if sum(nets) and max(map(abs, nets)) < layout.AMOUNT_MAX:  # a sum may saturate
            yield Finding(POSITIONS, region, "traders", "NET", 0, sum(nets))
        best = [
            min(key_of(market.shape, side, o.price) for o in market.orders if o.side == side)
            for side in (layout.BUY, layout.SELL)
            if any(o.side == side for o in market.orders)
        ]
        ticks = 1 << market.shape.price_bits
        if len(best) == 2 and best[0] + best[1] < ticks:
            expected = f"{ticks - best[0]}.."
            yield Finding(CROSSED, region, "header", "BEST + 1", expected, best[1])
