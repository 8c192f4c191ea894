"""The compressed book: the orders of the state, summed; deltas lead from one book to the next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_exchange import SEED, Exchange

from consensus.exceptions import InvalidEncoding
from consensus.state import book as law
from consensus.state.book import Book, Level, apply, checksum, compressed_book, delta
from consensus.state.memory import Memory
from consensus.state.records import read_records

DEEP = 1 << 20


def summed(memory: Memory, market: int) -> Book:
    """The book, counted order by order."""
    sides: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
    for order in read_records(memoryview(memory.M)).markets[market].orders:
        sides[order.side].setdefault(order.price, []).append(order.visible)
    bids, asks = (
        [Level(price, sum(lots), len(lots)) for price, lots in sorted(side.items())]
        for side in sides
    )
    return Book(tuple(reversed(bids)), tuple(asks))


def levels(descending: bool) -> st.SearchStrategy[tuple[Level, ...]]:
    lots, orders = st.integers(1, (1 << 62) - 1), st.integers(1, 1 << 20)
    entries = st.dictionaries(st.integers(1, 40), st.tuples(lots, orders), max_size=20)
    return entries.map(
        lambda found: tuple(
            Level(price, *found[price]) for price in sorted(found, reverse=descending)
        )
    )


books = st.builds(Book, levels(True), levels(False))


def test_the_book_is_the_sum_of_its_orders_at_every_depth() -> None:
    print("seed", SEED)
    exchange = Exchange(SEED)
    for _ in range(20):
        memory = exchange.run(40)
        for market in (0, 1):
            whole = summed(memory, market)
            for depth in (0, 1, 3, DEEP):
                cut = Book(whole.bids[:depth], whole.asks[:depth])
                assert compressed_book(memory, market, depth) == cut
    assert len(whole.bids) > 5 and len(whole.asks) > 5


def test_the_deltas_of_a_session_lead_from_each_book_to_the_next() -> None:
    exchange = Exchange(SEED + 1)
    for depth in (5, DEEP):
        seen = compressed_book(exchange.memory, 0, depth)
        for _ in range(60):
            now = compressed_book(exchange.run(7), 0, depth)
            change = law.decode(law.encode(delta(seen, now)), is_delta=True)
            seen = apply(seen, change)
            assert seen == now and checksum(seen) == checksum(now)


@given(books, books)
def test_apply_undoes_delta_for_any_two_books(old: Book, new: Book) -> None:
    change = delta(old, new)
    assert apply(old, change) == new
    assert law.decode(law.encode(change), is_delta=True) == change
    assert (change == Book((), ())) == (old == new)


@given(books)
def test_a_book_survives_its_bytes(book: Book) -> None:
    assert law.decode(law.encode(book)) == book


@given(books, books)
def test_different_books_have_different_bytes(old: Book, new: Book) -> None:
    assert (law.encode(old) == law.encode(new)) == (old == new)


def test_a_lost_delta_shows_in_the_checksum_of_the_next_book() -> None:
    first = Book((Level(10, 5, 1),), (Level(12, 7, 2),))
    second = Book((Level(10, 6, 1),), (Level(12, 7, 2),))
    third = Book((Level(10, 6, 1),), (Level(12, 9, 2),))
    wrong = apply(first, delta(second, third))
    assert checksum(wrong) != checksum(third)


def test_the_checksum_is_crc_32_of_the_canonical_bytes() -> None:
    book = Book((Level(10, 5, 1),), (Level(12, 7, 2),))
    assert law.encode(book).hex() == (
        "524c54420100000001000000" "0a000000050000000000000001000000"
        "0c000000070000000000000002000000"
    )  # fmt: skip
    assert checksum(book) == 0x3222_8C67


BOOK = Book((Level(11, 1, 1), Level(10, 5, 1)), (Level(12, 7, 2), Level(14, 1, 1)))


@pytest.mark.parametrize(
    ("book", "number"),
    [
        (Book(BOOK.bids[::-1], BOOK.asks), law.BOOK_ORDER),
        (Book(BOOK.bids, BOOK.asks[::-1]), law.BOOK_ORDER),
        (Book(BOOK.bids[:1] * 2, ()), law.BOOK_ORDER),
        (Book((), BOOK.asks[:1] * 2), law.BOOK_ORDER),
        (Book((Level(9, 0, 0),), ()), law.EMPTY_LEVEL),
        (Book((Level(9, 0, 1),), ()), law.EMPTY_LEVEL),
        (Book((Level(9, 1, 0),), ()), law.EMPTY_LEVEL),
    ],
)
def test_bytes_that_are_no_canonical_book_are_refused_by_number(book: Book, number: int) -> None:
    with pytest.raises(InvalidEncoding) as caught:
        law.decode(law.encode(book))
    assert caught.value.number == number


def test_every_other_length_and_magic_is_refused() -> None:
    data = law.encode(BOOK)
    for cut in range(len(data)):
        with pytest.raises(InvalidEncoding) as caught:
            law.decode(data[:cut])
        assert caught.value.number in (law.NOT_A_BOOK, law.BOOK_LENGTH)
    for other in (data + b"\0", b"RLTA" + data[4:]):
        with pytest.raises(InvalidEncoding):
            law.decode(other)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (Book((Level(9, 0, 0),), ()), law.UNKNOWN_LEVEL),
        (Book((), (Level(12, 7, 2),)), law.UNCHANGED_LEVEL),
    ],
)
def test_a_delta_of_another_book_is_refused(change: Book, number: int) -> None:
    with pytest.raises(InvalidEncoding) as caught:
        apply(BOOK, change)
    assert caught.value.number == number


def test_hidden_lots_are_not_in_the_book() -> None:
    exchange = Exchange(SEED)
    memory = exchange.run(300)
    orders = read_records(memoryview(memory.M)).markets[0].orders
    assert sum(order.hidden for order in orders) > 0
    book = compressed_book(memory, 0, DEEP)
    shown = sum(level.visible for level in book.bids + book.asks)
    assert shown == sum(order.visible for order in orders)
