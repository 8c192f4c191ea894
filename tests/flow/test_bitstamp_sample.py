"""The real half hour: its size, its trades, and that its instructions lead to them."""

from collections import Counter, deque

import pytest

from node.exceptions import NodeError
from node.flow.bitstamp import Flow, Kind, Message, Trade, fills_digest, read_flow
from node.flow.fetch import SAMPLE_UNREACHABLE, fetch_sample

pytestmark = pytest.mark.network

VENUE_FILLS_DIGEST = "b278feb97d85602daa90b79149d43b2c4e655de2bea93e39ef659cd62892d0b5"


@pytest.fixture(scope="module")
def flow() -> Flow:
    try:
        return read_flow(fetch_sample())
    except NodeError as error:
        if error.number == SAMPLE_UNREACHABLE:
            pytest.skip(str(error))
        raise


def match(messages: list[Message]) -> list[Trade]:
    """Fills under price-time priority, in the plainest way: a queue per price, no shortcuts."""
    books: dict[bool, dict[int, deque[list[int]]]] = {True: {}, False: {}}
    resting: dict[int, tuple[bool, int]] = {}
    fills = []
    for message in messages:
        if message.kind is Kind.CANCEL:
            if message.order in resting:
                side, price = resting.pop(message.order)
                left = deque(o for o in books[side][price] if o[0] != message.order)
                books[side][price] = left
                if not left:
                    del books[side][price]
            continue
        opposite, remaining = books[not message.buys], message.quantity
        while remaining and opposite:
            best = min(opposite) if message.buys else max(opposite)
            reaches = message.price_cents >= best if message.buys else message.price_cents <= best
            if not reaches and message.kind is Kind.LIMIT:
                break
            if message.post_only:
                remaining = 0
                break
            maker = opposite[best][0]
            quantity = min(maker[1], remaining)
            fills.append(Trade(message.order, maker[0], best, quantity, message.buys))
            remaining -= quantity
            maker[1] -= quantity
            if maker[1] == 0:
                del resting[opposite[best].popleft()[0]]
                if not opposite[best]:
                    del opposite[best]
        if remaining and message.kind is Kind.LIMIT:
            level = books[message.buys].setdefault(message.price_cents, deque())
            level.append([message.order, remaining])
            resting[message.order] = (message.buys, message.price_cents)
    return fills


def test_the_half_hour_is_313787_messages_of_known_kinds(flow: Flow) -> None:
    kinds = Counter((message.kind, message.post_only) for message in flow.messages)
    assert len(flow.messages) == 313_787
    assert kinds == {
        (Kind.LIMIT, True): 156_717,
        (Kind.LIMIT, False): 163,
        (Kind.MARKET, False): 7,
        (Kind.CANCEL, False): 156_900,
    }
    assert flow.ghosts == (2002347642003458, 2002347646152704)


def test_messages_are_in_time_order_whole_dollars_and_unique_orders(flow: Flow) -> None:
    times = [message.time_ms for message in flow.messages]
    assert times == sorted(times)
    placed = [message for message in flow.messages if message.kind is not Kind.CANCEL]
    assert len({message.order for message in placed}) == len(placed)
    assert all(message.quantity > 0 and message.price_cents % 100 == 0 for message in placed)


def test_the_venue_made_284_trades_with_the_known_digest(flow: Flow) -> None:
    assert len(flow.trades) == 284
    assert fills_digest(flow.trades) == VENUE_FILLS_DIGEST


def test_price_time_priority_turns_the_messages_into_the_venues_trades(flow: Flow) -> None:
    assert match(flow.messages) == flow.trades
