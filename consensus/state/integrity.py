"""The integrity walk: every word of a state that breaks a law, by name; and statistics.

What lives here: comparing a state with the image of its own records, and naming what differs. What
must never live here: a repair.

Theory of operation. A state is its records and what follows from them. The walk reads the records,
judges them (`bounds.py`), works everything else out again (`image.py`) and compares every word,
so an index, a sum, a counter and a word that must be zero are all checked by one comparison, and
none can be forgotten. It stops early where going on would only repeat one fault a thousand times:
no shape (5700), or a record outside its range (5701, 5702).
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from consensus import layout
from consensus.exceptions import InvalidSnapshot
from consensus.state.bounds import Finding, record_findings, sum_findings
from consensus.state.image import build, market_bases
from consensus.state.memory import Memory, ledger_offsets
from consensus.state.records import Records, read_records
from consensus.state.shape import Words, market_offsets

NOT_ZERO: Final = 5710
HEADER: Final = 5711
ADDRESS_LIST: Final = 5712
OWNER: Final = 5713
SCHEDULE: Final = 5714
LOCKED: Final = 5715
TABLE: Final = 5716
MARKET_RECORD: Final = 5717
ASSET: Final = 5718
MARKET_HEADER: Final = 5720
BEST: Final = 5721
ORDERS: Final = 5722
PAGES: Final = 5723
PRICE_BITMAP: Final = 5724
DIRECTORY: Final = 5725
PAGE_BITMAP: Final = 5726
SLOT_BITMAP: Final = 5727
LEVEL: Final = 5728
QUEUE: Final = 5729
TRADER_ORDERS: Final = 5730

FINDINGS_MAX: Final = 1000
CHUNK_WORDS: Final = 8192  # compared at once


class Part(NamedTuple):
    """A run of records of one kind: where it starts, words each, its name, its derived fields."""

    start: int
    width: int
    name: str
    fields: Mapping[int, tuple[str, int]]  # offset -> field, number; -1: every word


def walk(memory: Memory) -> list[Finding]:
    """Everything that is wrong, at most `FINDINGS_MAX` findings; [] if the state is sound."""
    return walk_words(memoryview(memory.M))


def walk_words(W: Words) -> list[Finding]:
    """`walk` over state words, which may be anything and may be followed by words not in use."""
    try:
        records = read_records(W)
    except InvalidSnapshot as error:
        facts = error.facts
        region, seen = facts["region"], facts["seen"]
        assert isinstance(region, int) and isinstance(seen, int)
        return [
            Finding(
                error.number, region, "header", str(facts["field"]), str(facts["expected"]), seen
            )
        ]
    findings = list(record_findings(records))
    if not findings:
        findings = [*differences(W, records), *sum_findings(records)]
    return findings[:FINDINGS_MAX]


def differences(W: Words, records: Records) -> Iterator[Finding]:
    """Words that are not what the records make them, in order."""
    image = memoryview(build(records)).cast("q")
    parts = parts_of(records)
    starts = [part.start for _, part in parts]
    for at in range(0, len(image), CHUNK_WORDS):
        expected = image[at : at + CHUNK_WORDS]
        seen = W[at : at + len(expected)]
        if expected == seen:
            continue
        for n, (wanted, word) in enumerate(zip(expected, seen, strict=True)):
            if wanted != word:
                region, part = parts[bisect_right(starts, at + n) - 1]
                yield finding(region, part, at + n, wanted, word)


def finding(region: int, part: Part, word: int, expected: int, seen: int) -> Finding:
    index, offset = divmod(word - part.start, part.width)
    record = part.name if part.name.endswith("header") else f"{part.name} {index}"
    field, number = part.fields.get(offset, part.fields.get(-1, (f"word {offset}", NOT_ZERO)))
    return Finding(number, region, record, field, expected, seen)


def parts_of(records: Records) -> list[tuple[int, Part]]:
    """Every part of the state with its region, in order of words."""
    parts = [(0, part) for part in ledger_parts(records)]
    for region, k in enumerate(market_bases(records)[:-1], 1):
        offsets, _ = market_offsets(records.markets[region - 1].shape, 0)
        parts += [(region, part) for part in market_parts(k, offsets)]
    return parts


def ledger_parts(records: Records) -> list[Part]:
    at = ledger_offsets(records.sizes)
    owner = layout.ACCOUNT_OWNER
    header = {
        word: (name, HEADER)
        for word, name in (
            (layout.AT_MARKETS, "AT_MARKETS"), (layout.AT_ACCOUNTS, "AT_ACCOUNTS"),
            (layout.AT_KEYS, "AT_KEYS"), (layout.AT_BALANCES, "AT_BALANCES"),
            (layout.AT_TABLES, "AT_TABLES"), (layout.END, "END"),
        )
    }  # fmt: skip
    account = {
        layout.ACCOUNT_NEXT: ("NEXT", ADDRESS_LIST),
        layout.ACCOUNT_SCHEDULE: ("SCHEDULE", SCHEDULE),
        **{owner + n: (f"OWNER + {n}", OWNER) for n in range(layout.KEY_FLAGS + 1)},
    }
    market = {
        layout.MARKET_REGION: ("REGION", MARKET_RECORD),
        layout.MARKET_WORDS: ("WORDS", MARKET_RECORD),
    }
    return [
        Part(0, layout.AT_SCHEDULES, "header", header),
        Part(layout.AT_SCHEDULES, 8, "schedule", {}),
        Part(layout.AT_ASSETS, 16, "asset", {layout.ASSET_LISTED: ("LISTED", ASSET)}),
        Part(at[layout.AT_MARKETS], 16, "market", market),
        Part(at[layout.AT_ACCOUNTS], 32, "account", account),
        Part(at[layout.AT_KEYS], 16, "key", {}),
        Part(at[layout.AT_BALANCES], 8, "balance", {layout.BALANCE_LOCKED: ("LOCKED", LOCKED)}),
        Part(at[layout.AT_TABLES], 1, "table entry", {0: ("order", TABLE)}),
    ]


def market_parts(k: int, at: Mapping[int, int]) -> list[Part]:
    counters = {
        layout.BOOK_BEST: ("BEST", BEST),
        layout.BOOK_BEST + 1: ("BEST + 1", BEST),
        layout.BOOK_ORDERS: ("ORDERS", ORDERS),
        layout.BOOK_ORDERS + 1: ("ORDERS + 1", ORDERS),
        layout.BOOK_PAGES: ("PAGES", PAGES),
    }
    shape = {
        word: (f"word {word}", MARKET_HEADER)
        for word in range(layout.BOOK_MARKET, layout.BOOK_PAGES_MAX + 1)
    }
    level = {n: (name, LEVEL) for n, name in enumerate(("HEAD", "TAIL", "VISIBLE", "COUNT"))}
    queue = {layout.ORDER_NEXT: ("NEXT", QUEUE), layout.ORDER_PREV: ("PREV", QUEUE)}
    price = (layout.BOOK_PRICE_BITS, PRICE_BITMAP), (layout.BOOK_PRICE_BITS + 1, PRICE_BITMAP)
    pages = (layout.BOOK_DIRECTORY, DIRECTORY), (layout.BOOK_DIRECTORY + 1, DIRECTORY)
    bits = (layout.BOOK_PAGE_BITS, PAGE_BITMAP), (layout.BOOK_SLOT_BITS, SLOT_BITMAP)
    names = {
        PRICE_BITMAP: "price bitmap node", DIRECTORY: "directory entry",
        PAGE_BITMAP: "page bitmap node", SLOT_BITMAP: "slot bitmap node",
    }  # fmt: skip
    return [
        Part(k, layout.BOOK_HEADER_WORDS, "header", counters | shape),
        *(
            Part(k + at[word], 1, names[number], {0: ("bits" if "bit" in names[number] else "page",
                number)}) for word, number in (*price, *pages, *bits)
        ),
        Part(k + at[layout.BOOK_AT_PAGES], 4, "level", level),
        Part(k + at[layout.BOOK_AT_POOL], layout.ORDER_WORDS, "order", queue),
        Part(
            k + at[layout.BOOK_AT_TRADERS], 8, "trader",
            {layout.TRADER_ORDERS: ("ORDERS", TRADER_ORDERS)},
        ),
    ]  # fmt: skip


def statistics(memory: Memory) -> dict[str, object]:
    """Counts, volumes and memory of a sound state; lots and atoms are integers."""
    M = memory.M
    records = read_records(memoryview(M))
    bases = market_bases(records)
    return {
        "height": int(M[layout.HEIGHT]),
        "time": int(M[layout.TIME]),
        "sequence": int(M[layout.SEQUENCE]),
        "accounts": len(records.accounts),
        "accounts_max": records.sizes.accounts_max,
        "session_keys": len(records.keys),
        "schedules": len(records.schedules),
        "withdrawals": int(M[layout.WITHDRAWALS]),
        "assets": [
            {"asset": n, "deposited": words[3], "withdrawn": words[4]}
            for n, words in enumerate(records.assets)
        ],
        "markets": [market_statistics(records, number, bases) for number in range(len(bases) - 1)],
        "memory_bytes": 8 * bases[-1],
    }


def market_statistics(records: Records, number: int, bases: list[int]) -> dict[str, object]:
    market = records.markets[number]
    last, trades, lots, quote = market.words[:4]
    return {
        "market": number,
        "halted": market.status != 0,
        "orders": len(market.orders),
        "orders_max": (1 << market.shape.pool_bits) - 1,
        "levels": len({(order.side, order.price) for order in market.orders}),
        "pages": len(market.pages),
        "pages_max": (1 << market.shape.page_bits) - 1,
        "traders": len(market.traders),
        "visible_lots": sum(order.visible for order in market.orders),
        "hidden_lots": sum(order.hidden for order in market.orders),
        "last_price": last,
        "trades": trades,
        "lots": lots,
        "quote": quote,
        "memory_bytes": 8 * (bases[number + 1] - bases[number]),
    }
