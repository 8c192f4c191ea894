"""What the build promises of the compiled core's indexes: scripts/core_c.py, decision 0010."""

from collections.abc import Callable

import pytest
from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.accounts.ledger import lock, locked_asset, trade_position
from consensus.execute import run_book
from consensus.matching.book import level_at
from consensus.scratch import event, first_touch, forget, tables, touch, undo
from node.build_check import compiled_state

pytestmark = pytest.mark.skipif(
    compiled_state() != "compiled", reason="interpreted, M[-1] is the last word"
)
WORDS = 512
Call = Callable[[vec[i64], vec[i64]], object]


def regions() -> tuple[vec[i64], vec[i64]]:
    """A memory of counting numbers, and scratch for it."""
    M = vec[i64]([7000 + n for n in range(WORDS)])
    S = vec[i64]([0] * (layout.S_MARKS + 8192))
    S[layout.S_EVENT] = layout.S_EVENTS
    S[layout.S_LIST] = layout.S_MARKS + 64
    S[layout.S_IMAGES] = layout.S_MARKS + 128
    tables(S)
    return M, S


def events_at(S: vec[i64], at: int) -> vec[i64]:
    S[layout.S_EVENT] = at
    return S


OUTSIDE: dict[str, Call] = {
    "a word before the region": lambda M, S: locked_asset(M, -1 - layout.BOOK_BASE, 1),
    "a word behind it": lambda M, S: locked_asset(M, WORDS - layout.BOOK_BASE, 1),
    "a record before it": lambda M, S: trade_position(M, S, -8, 0, 1, 1, 0),
    "a record behind it": lambda M, S: trade_position(M, S, WORDS, 0, 1, 1, 0),
    "the lowest index": lambda M, S: touch(M, S, -(1 << 63)),
    "a mark before the marks": lambda M, S: touch(M, S, -((layout.S_MARKS + 1) << 5)),
    "a leaf before the first": lambda M, S: first_touch(M, S, -1),
    "a leaf behind the last": lambda M, S: first_touch(M, S, WORDS >> 5),
    "an account that is none": lambda M, S: lock(M, S, -(1 << 40), 0, 1),
    "a level through a wrong page": lambda M, S: level_at(M, 0, 0, 1 << 40),
    "an event behind the scratch": lambda M, S: event(
        M, events_at(S, len(S) - 7), 1, 2, 3, 4, 5, 6, 7
    ),
    "a row that is not there": lambda M, S: run_book(M, S, bytes(71), 64, 72),
}


@pytest.mark.parametrize("call", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_an_index_outside_its_region_is_an_error_and_changes_nothing(call: Call) -> None:
    M, S = regions()
    S[layout.S_EVENT_HIGH], S[layout.S_DIRTY_HIGH] = 1 << 40, 1 << 40
    before = bytes(memoryview(M)), bytes(memoryview(S))
    with pytest.raises(IndexError):
        call(M, S)
    S[layout.S_EVENT] = layout.S_EVENTS
    assert (bytes(memoryview(M)), bytes(memoryview(S))) == before


def test_the_last_record_of_a_region_can_be_used() -> None:
    M, S = regions()
    trade_position(M, S, WORDS - 8, layout.BUY, 5, 70, 1)
    assert M[WORDS - 8 + layout.TRADER_FEES] == 7000 + WORDS - 8 + layout.TRADER_FEES + 1
    assert S[layout.S_DIRTY] == 1


def test_a_record_that_is_not_whole_is_an_error_though_its_words_are_there() -> None:
    """The check is one for the record: eight words of which six are used."""
    M, S = regions()
    with pytest.raises(IndexError):
        trade_position(M, S, WORDS - 7, layout.BUY, 5, 70, 1)


def test_a_region_shorter_than_its_header_is_refused() -> None:
    with pytest.raises(IndexError, match="shorter than its header"):
        tables(vec[i64]([0] * 255))


def test_after_an_error_the_core_runs_on() -> None:
    """The error leaves every function at once; the next call begins anew."""
    M, S = regions()
    before = bytes(memoryview(M))
    for _ in range(1000):
        with pytest.raises(IndexError):
            touch(M, S, -(1 << 62))
        touch(M, S, 300)
    M[300] = 1
    undo(M, S)
    forget(S)
    assert bytes(memoryview(M)) == before
