"""Logical export: a state as its records, without anything that can be worked out from them.

What lives here: records <-> bytes. What must never live here: an index, or leniency.

Theory of operation. Records are consensus and indexes are functions of them, so
`root(import_(export(S))) == root(S)`. An export leaves out the address list, order tables, locked
balances, counters, bitmaps, directories, levels and queue links. It keeps slot numbers with their
generations (free slots too: an old handle must never name a new order), the queue order (the order
of the file) and the page of each group of levels: the lowest free page at the time a group appeared
is history that no record tells.

There is one export of a state. The import judges every record, builds the state, and compares its
root with the one in the file and its own export with the file; what differs is refused.
Layout: docs/protocol/statements.md.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.exceptions import InvalidSnapshot
from consensus.state.bounds import Finding, record_findings, sum_findings
from consensus.state.image import build, market_bases
from consensus.state.memory import Memory, Sizes, regions_of
from consensus.state.records import (
    ACCOUNT_WORDS,
    ASSET_WORDS,
    BALANCE_WORDS,
    LEDGER_WORDS,
    MARKET_WORDS,
    TRADER_WORDS,
    Market,
    Order,
    Records,
    read_records,
)
from consensus.state.shape import SHAPE_WORDS, SIZE_WORDS, Shape, key_of
from consensus.state.snapshot import WORDS_MAX
from consensus.state.tree import StateTree

MAGIC: Final = b"RLTE"
EXPORT_FORMAT: Final = 1

NOT_AN_EXPORT: Final = 5600
UNKNOWN_FORMAT: Final = 5601
UNKNOWN_LAYOUT: Final = 5602
TRUNCATED: Final = 5603
TRAILING: Final = 5604
BAD_SIZES: Final = 5605
TOO_LARGE: Final = 5606
BAD_COUNT: Final = 5607
BAD_RECORD: Final = 5608
BAD_SUM: Final = 5609
WRONG_ROOT: Final = 5610
NOT_CANONICAL: Final = 5611

_HEADER: Final = Struct("<4sII32s")  # magic, format, layout version, state root
_ORDER_WORDS: Final = len(Order._fields)


def export(memory: Memory) -> bytes:
    """The records of a sealed state and its root. InvalidSnapshot 5700 if it has no shape."""
    W = memoryview(memory.M)
    return encode(read_records(W), memory.tree.root())


def encode(records: Records, root: bytes) -> bytes:
    words = [*_words(records)]
    header = _HEADER.pack(MAGIC, EXPORT_FORMAT, layout.LAYOUT_VERSION, root)
    return header + Struct(f"<{len(words)}q").pack(*words)


def _words(records: Records) -> Iterator[int]:
    sizes = records.sizes
    yield from (sizes.assets_max, sizes.markets_max, sizes.accounts_max, sizes.table_slots)
    yield from records.words
    lists: tuple[Iterable[tuple[int, ...]], ...] = (
        records.assets, records.schedules, records.accounts, records.keys, records.balances,
    )  # fmt: skip
    for rows in lists:
        yield from _listed(list(rows))
    yield len(records.markets)
    for market in records.markets:
        yield from (*market.shape, market.status, market.sweep, *market.words)
        for rows in (
            [(market.pages[place],) for place in sorted(market.pages)],
            market.orders, market.freed, market.traders,
        ):  # fmt: skip
            yield from _listed(list(rows))


def _listed(rows: list[tuple[int, ...]]) -> Iterator[int]:
    yield len(rows)
    for row in rows:
        yield from row


def import_(data: bytes, words_max: int = WORDS_MAX) -> Memory:
    """The state of an export. InvalidSnapshot, by number, for anything but an export of a sound
    state with at most `words_max` words. The caller compares the root with a certified header."""
    root, records = decode(data)
    total = market_bases(records)[-1]
    if total > words_max:
        raise InvalidSnapshot(TOO_LARGE, f"{total} words of state, this node takes {words_max}")
    for number, findings in (
        (BAD_RECORD, record_findings(records)),
        (BAD_SUM, sum_findings(records)),
    ):
        for finding in findings:
            raise _refusal(number, finding)
    words = vec[i64](memoryview(build(records)).cast("q"))
    tree = StateTree(regions_of(words), layout.LAYOUT_VERSION)
    tree.rebuild(memoryview(words).cast("B"))
    if tree.root() != root:
        raise InvalidSnapshot(WRONG_ROOT, "the records do not have the state root they claim")
    memory = Memory(words, tree)
    if export(memory) != data:
        raise InvalidSnapshot(NOT_CANONICAL, "the same state has another export; export it again")
    return memory


def _refusal(number: int, finding: Finding) -> InvalidSnapshot:
    where = f"region {finding.region}, {finding.record}, {finding.field}"
    text = f"{where}: {finding.seen} is not {finding.expected} (finding {finding.number})"
    return InvalidSnapshot(number, text, finding=finding)


class _Reader:
    """Takes words from the front; a count is believed only as far as words follow."""

    def __init__(self, words: memoryview) -> None:
        self.words: Final = words
        self.at = 0

    def take(self, count: int) -> list[int]:
        if count > len(self.words) - self.at:
            raise InvalidSnapshot(TRUNCATED, f"the export ends after word {len(self.words)}")
        taken: list[int] = self.words[self.at : self.at + count].tolist()
        self.at += count
        return taken

    def rows(self, name: str, width: int, most: int) -> list[tuple[int, ...]]:
        """A count and that many rows of `width` words."""
        (count,) = self.take(1)
        if not 0 <= count <= most:
            raise InvalidSnapshot(BAD_COUNT, f"{count} {name}, not 0..{most}")
        flat = iter(self.take(width * count))
        return list(zip(*[flat] * width, strict=True))


def decode(data: bytes) -> tuple[bytes, Records]:
    """State root and records, whose shape and numbers are safe to judge; nothing else is."""
    if len(data) < _HEADER.size or data[:4] != MAGIC:
        raise InvalidSnapshot(NOT_AN_EXPORT, f"the file does not start with {MAGIC!r}")
    _, version, layout_version, root = _HEADER.unpack_from(data)
    if version != EXPORT_FORMAT:
        raise InvalidSnapshot(UNKNOWN_FORMAT, f"this version reads format {EXPORT_FORMAT} only")
    if layout_version != layout.LAYOUT_VERSION:
        text = f"the export has layout {layout_version}, this version {layout.LAYOUT_VERSION}"
        raise InvalidSnapshot(UNKNOWN_LAYOUT, text)
    if (len(data) - _HEADER.size) % 8:
        raise InvalidSnapshot(TRUNCATED, "the export ends inside a word; fetch it again")
    reader = _Reader(memoryview(data[_HEADER.size :]).cast("q"))
    records = _read(reader)
    if reader.at != len(reader.words):
        raise InvalidSnapshot(TRAILING, f"{len(reader.words) - reader.at} words after the records")
    return root, records


def _read(reader: _Reader) -> Records:
    numbers = reader.take(len(SIZE_WORDS))
    for (_, name, low, high), value in zip(SIZE_WORDS, numbers, strict=True):
        if not low <= value <= high or value & value - 1:
            text = f"{name} is {value}, not a power of two in {low}..{high}"
            raise InvalidSnapshot(BAD_SIZES, text)
    sizes = Sizes(*numbers)
    words = reader.take(len(LEDGER_WORDS))
    assets = reader.rows("assets", ASSET_WORDS, sizes.assets_max)
    schedules = reader.rows("schedules", 2, layout.SCHEDULES_MAX)
    accounts = reader.rows("accounts", len(ACCOUNT_WORDS), sizes.accounts_max - 1)
    if not accounts:
        raise InvalidSnapshot(BAD_COUNT, "no accounts; the fee account exists from the beginning")
    keys = reader.rows("keys", 17, layout.KEYS_PER_ACCOUNT * len(accounts))
    balances = reader.rows("balances", 1 + len(BALANCE_WORDS), sizes.assets_max * len(accounts))
    for name, rows, each, used in (
        ("key", keys, layout.KEYS_PER_ACCOUNT, layout.KEYS_PER_ACCOUNT),
        ("balance", balances, sizes.assets_max, len(assets)),
    ):
        for number, *_ in rows:
            if not each <= number < each * (len(accounts) + 1) or number % each >= used:
                text = f"{name} {number} belongs to no account or asset"
                raise InvalidSnapshot(BAD_RECORD, text)
    (count,) = reader.take(1)
    if not 0 <= count <= sizes.markets_max:
        raise InvalidSnapshot(BAD_COUNT, f"{count} markets, not 0..{sizes.markets_max}")
    markets = [_read_market(reader, len(accounts)) for _ in range(count)]
    due = [(account, time) for account, time in schedules]
    return Records(sizes, words, assets, due, accounts, keys, balances, markets)


def _read_market(reader: _Reader, accounts: int) -> Market:
    shape = Shape(*reader.take(len(SHAPE_WORDS)))
    for (_, name, low, high), bits in zip(SHAPE_WORDS, shape, strict=True):
        if not low <= bits <= high:
            raise InvalidSnapshot(BAD_SIZES, f"{name} is 2^{bits}, not 2^{low}..2^{high}")
    status, sweep = reader.take(2)
    words = reader.take(len(MARKET_WORDS))
    numbers = reader.rows("pages", 1, (1 << shape.page_bits) - 1)
    slots = (1 << shape.pool_bits) - 1
    orders = [Order(*row) for row in reader.rows("orders", _ORDER_WORDS, slots)]
    groups = {(o.side, key_of(shape, o.side, o.price) >> 6): 0 for o in orders}
    if len(groups) != len(numbers):
        raise InvalidSnapshot(BAD_COUNT, f"{len(numbers)} pages, the orders need {len(groups)}")
    pages = {place: page for place, (page,) in zip(sorted(groups), numbers, strict=True)}
    freed = [(slot, generation) for slot, generation in reader.rows("free slots", 2, slots)]
    traders = reader.rows("traders", 1 + len(TRADER_WORDS), accounts)
    return Market(shape, status, sweep, words, pages, orders, freed, traders)
