"""Roundings, ties and unnamed words: the edges of the pages, against the naive twin."""

from struct import pack, unpack

import pytest
from naive_rows import (
    BUY,
    QUOTE,
    SELL,
    Floor,
    address,
    amend,
    cancel,
    cancel_all,
    cancel_client,
    dead_man,
    grant,
    group,
    list_market,
    outcome,
    place,
    revoke,
    settings,
    transfer,
    withdraw,
)

ROWS = {
    "place": place(BUY, 100, 1, client=1),
    "amend": amend(1 << 24 | 1, 100, 1),
    "cancel": cancel(1 << 24 | 1),
    "cancel by client id": cancel_client(1),
    "cancel all": cancel_all(),
    "transfer": transfer(3, 1, 0),
    "withdraw": withdraw(0, 1, address(1)),
    "grant": grant(address(9), expires=1 << 50),
    "revoke": revoke(1),
    "dead-man": dead_man(1 << 50),
    "settings": settings(1),
}
NAMED_WORDS = {
    "place": 6, "amend": 3, "cancel": 1, "cancel by client id": 1, "cancel all": 1,
    "transfer": 3, "withdraw": 5, "grant": 7, "revoke": 1, "dead-man": 1, "settings": 1,
}  # fmt: skip
MARKET_NAMED = {"place", "amend", "cancel", "cancel all"}


def changed(row: bytes, word: int, bit: int) -> bytes:
    words = list(unpack("<8Q", row))
    words[word] |= 1 << bit
    return pack("<8Q", *words)


@pytest.mark.parametrize("name", ROWS)
def test_a_word_that_an_operation_does_not_name_must_be_zero(name: str) -> None:
    floor = Floor()
    assert outcome(floor.say(0, ROWS[name]))[0] != (6, 1)
    for word in range(1 + NAMED_WORDS[name], 8):
        assert outcome(floor.say(0, changed(ROWS[name], word, 0))) == [(6, 1)]


@pytest.mark.parametrize("name", ROWS)
def test_a_field_that_an_operation_does_not_name_must_be_zero(name: str) -> None:
    bits = [48, 63]
    if name != "place":
        bits += [8, 12, 16, 20, 24] + [28] * (name != "amend")
    if name not in MARKET_NAMED:
        bits += [32, 47]
    for bit in bits:
        assert outcome(Floor().say(0, changed(ROWS[name], 0, bit))) == [(6, 1)], bit


def test_the_fee_of_a_taker_that_rests_leaves_the_lock_of_the_rest_whole() -> None:
    floor = Floor(taker=2500)
    floor.rest(0, SELL, 100, 1, 1)
    events = floor.say(1, place(BUY, 100, 4, client=1))
    # Four lots need 1200 + 3 and three lock 900 + 3: nothing is left for the fee of the first.
    assert events[1][9] == 0
    assert floor.funds(1, QUOTE) == (-300, 903)


def test_the_fee_of_a_maker_is_never_more_than_its_lock_releases() -> None:
    floor = Floor(taker=2500, maker=2500)
    floor.rest(0, BUY, 100, 4, 1)
    events = floor.say(1, place(SELL, 100, 1, client=1))
    assert events[0][9] == 0
    assert floor.funds(0, QUOTE) == (-300, 903)


def test_a_tie_evicts_from_the_newcomers_side() -> None:
    floor = Floor(market=list_market(pool_bits=12, page_bits=6))
    for page in range(31):
        floor.rest(0, BUY, 64 * page + 70, 1, page)
    floor.rest(0, BUY, 71, 1, 40)
    for page in range(32):
        floor.rest(0, SELL, 9000 + 64 * page, 1, 100 + page)
    floor.exchange.check()
    assert len(floor.exchange.venue.markets[0].pool) == 64
    # A tie takes a buy; then the sells are more, and the last of them frees a page.
    events = floor.say(1, place(BUY, 5000, 1, client=1))
    assert [event[7] for event in events] == [70, 9000 + 64 * 31, 5000]


def test_the_display_is_at_least_a_64th_of_the_order() -> None:
    floor = Floor()
    assert outcome(floor.say(0, place(BUY, 1, 1025, client=1, display=16))) == [(6, 8)]
    assert outcome(floor.say(0, place(BUY, 1, 1024, client=1, display=16))) == [(3, 0)]


def test_the_lowest_free_slot_is_taken_first() -> None:
    floor = Floor()
    handles = [floor.rest(0, BUY, 100, 1, client) for client in range(4)]
    for handle in (handles[2], handles[0], handles[1]):
        floor.say(0, cancel(handle))
    taken = [floor.rest(0, BUY, 100, 1, client) & 0xFFFFFF for client in (0, 1, 2, 7)]
    assert taken == [1, 2, 3, 5]


def test_a_nonce_that_was_jumped_over_is_free_whatever_stood_in_its_place() -> None:
    floor = Floor()

    def spend(nonce: int) -> int:
        data = group(
            [cancel(1)], account=2, nonce=nonce, signer=address(0), expires=floor.time + 1
        )
        return floor.exchange.execute(data, 2)

    assert [spend(nonce) for nonce in (1, 256, 258, 257, 257)] == [0, 0, 0, 0, 4001]
