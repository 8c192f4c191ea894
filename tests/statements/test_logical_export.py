"""Export and import: the records alone make the same state, and only sound ones make any."""

import random
import struct
from collections.abc import Callable

import pytest
from live_exchange import SEED, Exchange, live_exchange

from consensus import layout
from consensus.exceptions import InvalidSnapshot
from consensus.state import export as law
from consensus.state.export import encode, export, import_
from consensus.state.image import build
from consensus.state.memory import Memory, regions_of
from consensus.state.records import Records, read_records
from consensus.state.tree import StateTree


@pytest.fixture(scope="module")
def memory() -> Memory:
    return live_exchange()


@pytest.fixture(scope="module")
def data(memory: Memory) -> bytes:
    return export(memory)


def number_of(data: bytes) -> int | None:
    try:
        import_(data)
    except InvalidSnapshot as error:
        return error.number
    return None


@pytest.mark.parametrize("seed", range(6))
def test_the_import_of_an_export_has_the_same_root_and_the_same_words(seed: int) -> None:
    print("seed", seed)
    exchange = Exchange(seed)
    for steps in (0, 30, 200, 400):
        memory = exchange.run(steps)
        made = import_(export(memory))
        assert made.tree.root() == memory.tree.root()
        assert made.view() == memory.view()


def test_an_export_has_no_index_and_is_a_fraction_of_the_state(memory: Memory, data: bytes) -> None:
    assert len(data) < len(memory.view()) // 10


def test_an_imported_state_goes_on_as_the_original_does() -> None:
    one, two = Exchange(SEED), Exchange(SEED)
    one.run(300)
    two.run(300)
    two.memory = import_(export(two.memory))
    two.memory.reserve(len(one.memory.M))
    for _ in range(8):
        assert one.run(60).tree.root() == two.run(60).tree.root()
        assert one.events == two.events


def test_page_numbers_are_history_and_survive(memory: Memory) -> None:
    pages = read_records(memoryview(memory.M)).markets[0].pages
    assert [pages[place] for place in sorted(pages)] != sorted(pages.values())


def test_two_orders_of_one_operation_keep_their_queue_order(memory: Memory) -> None:
    """A taker that sweeps two icebergs of a level gives both the same SEQUENCE."""
    exchange = Exchange(SEED, traders=4)
    middle, run = 3000, exchange.operate
    for client, account in ((1, 2), (2, 3), (3, 4)):
        head = layout.OP_PLACE | layout.SELL << 8
        run(layout.KEY_OWNER, account, head, client, middle, 40, 10)
    head = layout.OP_PLACE | layout.BUY << 8 | layout.TIF_IOC << 12
    run(layout.KEY_OWNER, 5, head, 4, middle, 35)
    exchange.seal()
    orders = read_records(memoryview(exchange.memory.M)).markets[0].orders
    assert [(o.account, o.visible, o.hidden) for o in orders] == [
        (2, 5, 20),
        (3, 10, 20),
        (4, 10, 20),
    ]
    assert len({o.sequence for o in orders}) == 1
    again = import_(export(exchange.memory))
    assert again.tree.root() == exchange.memory.tree.root()


def test_every_damaged_byte_of_an_export_is_refused(data: bytes) -> None:
    rng = random.Random(SEED)
    print("seed", SEED)
    places = [*range(60), *rng.sample(range(60, len(data)), 250)]
    for at in places:
        bad = data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :]
        assert number_of(bad) is not None, at


def test_every_truncation_is_refused(data: bytes) -> None:
    assert number_of(data) is None
    for length in range(len(data)):
        with pytest.raises(InvalidSnapshot) as caught:
            law.decode(data[:length])
        assert caught.value.number in (law.NOT_AN_EXPORT, law.TRUNCATED)


@pytest.mark.parametrize(
    ("edit", "number"),
    [
        (lambda d: b"RLTX" + d[4:], law.NOT_AN_EXPORT),
        (lambda d: d[:4] + b"\2" + d[5:], law.UNKNOWN_FORMAT),
        (lambda d: d[:8] + b"\2" + d[9:], law.UNKNOWN_LAYOUT),
        (lambda d: d + bytes(3), law.TRUNCATED),
        (lambda d: d + bytes(8), law.TRAILING),
        (lambda d: d[:44] + struct.pack("<q", 5) + d[52:], law.BAD_SIZES),
        (lambda d: d[:44] + struct.pack("<q", 128) + d[52:], law.BAD_SIZES),
        (lambda d: d[:12] + bytes(32) + d[44:], law.WRONG_ROOT),
    ],
)
def test_a_file_that_is_no_export_is_refused_by_number(
    data: bytes, edit: Callable[[bytes], bytes], number: int
) -> None:
    assert number_of(edit(data)) == number


def test_a_node_takes_no_state_larger_than_it_asked_for(memory: Memory, data: bytes) -> None:
    words = memory.M[layout.END]
    assert import_(data, words).tree.root() == memory.tree.root()
    with pytest.raises(InvalidSnapshot) as caught:
        import_(data, words - 1)
    assert caught.value.number == law.TOO_LARGE


def changed(memory: Memory, change: Callable[[Records], object]) -> bytes:
    """An export by a liar: changed records under the root that they really have."""
    records = read_records(memoryview(memory.M))
    change(records)
    image = build(records)
    tree = StateTree(regions_of(memoryview(image).cast("q")), layout.LAYOUT_VERSION)
    tree.rebuild(image)
    return encode(records, tree.root())


def give(records: Records) -> None:
    number, available, *rest = records.balances[0]
    records.balances[0] = (number, available + 1, *rest)


def spell_zero(records: Records) -> None:
    records.balances.append((records.sizes.assets_max * len(records.accounts), 0, 0, 0))


def swap_markets_queue(records: Records) -> None:
    """Two orders of one level against their SEQUENCE."""
    orders = records.markets[0].orders
    at = next(
        n for n in range(len(orders) - 1)
        if (orders[n].side, orders[n].price) == (orders[n + 1].side, orders[n + 1].price)
    )  # fmt: skip
    orders[at], orders[at + 1] = orders[at + 1], orders[at]


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (give, law.BAD_SUM),
        (lambda r: r.balances.reverse(), law.NOT_CANONICAL),
        (spell_zero, law.NOT_CANONICAL),
        (lambda r: r.keys.reverse(), law.NOT_CANONICAL),
        (lambda r: r.markets[0].freed.reverse(), law.NOT_CANONICAL),
        (lambda r: r.markets[0].traders.reverse(), law.NOT_CANONICAL),
        (lambda r: r.markets[0].orders.reverse(), law.NOT_CANONICAL),
        (swap_markets_queue, law.NOT_CANONICAL),
        (lambda r: r.words.__setitem__(3, 2), law.BAD_RECORD),
        (lambda r: r.schedules.append(r.schedules[0]), law.BAD_RECORD),
        (lambda r: setattr(r.markets[1], "status", 2), law.BAD_RECORD),
        (lambda r: setattr(r.markets[1], "sweep", 0), law.BAD_RECORD),
    ],
)
def test_an_export_by_a_liar_is_refused_by_number(
    change: Callable[[Records], None], number: int
) -> None:
    memory = Exchange(SEED).run(1200)
    assert number_of(changed(memory, lambda records: None)) is None
    assert number_of(changed(memory, change)) == number


def test_counts_and_numbers_that_no_memory_could_hold_are_refused(memory: Memory) -> None:
    def refused(change: Callable[[Records], object]) -> int | None:
        records = read_records(memoryview(memory.M))
        change(records)
        return number_of(encode(records, bytes(32)))

    assert refused(lambda r: r.assets.extend(r.assets)) == law.BAD_COUNT
    assert refused(lambda r: r.accounts.clear()) == law.BAD_COUNT
    assert refused(lambda r: r.accounts.extend(r.accounts * 5)) == law.BAD_COUNT
    assert refused(lambda r: r.markets.extend(r.markets * 2)) == law.BAD_COUNT
    assert refused(lambda r: r.markets[0].pages.popitem()) == law.BAD_COUNT
    assert refused(lambda r: r.keys.append((1 << 40, *[1] * 16))) == law.BAD_RECORD
    assert refused(lambda r: r.keys.append((-1, *[1] * 16))) == law.BAD_RECORD
    assert refused(lambda r: r.balances.append((3, 1, 1, 1))) == law.BAD_RECORD
    assert refused(lambda r: r.balances.append((4 + 3, 1, 1, 1))) == law.BAD_RECORD
    shape = read_records(memoryview(memory.M)).markets[0].shape
    for bits in ({"price_bits": 29}, {"pool_bits": 5}, {"page_bits": 1 << 62}):
        records = read_records(memoryview(memory.M))
        records.markets[0].shape = shape._replace(**bits)
        assert number_of(encode(records, bytes(32))) == law.BAD_SIZES
