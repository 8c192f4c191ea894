"""From capture rows to instructions, on captures small enough to check by eye."""

import pytest

from node.exceptions import NodeError
from node.flow.bitstamp import (
    CAPTURE_MALFORMED,
    Flow,
    Kind,
    Message,
    SampleFiles,
    Trade,
    fills_digest,
    read_flow,
)

ORDERS_HEADER = "id,timestamp,exchange_timestamp,price,volume,action,direction"
TRADES_HEADER = "trade_id,timestamp,exchange_timestamp,price,amount,buy_order_id,sell_order_id,side"


def capture(orders: list[str], trades: list[str] | None = None, deleted_at_end: int = 0) -> Flow:
    return read_flow(
        SampleFiles(
            orders_csv="\n".join([ORDERS_HEADER, *orders]).encode(),
            trades_csv="\n".join([TRADES_HEADER, *(trades or [])]).encode(),
            meta_json=f'{{"synthetic_deleted": {deleted_at_end}}}'.encode(),
        )
    )


def test_an_order_that_takes_in_no_trade_is_post_only() -> None:
    flow = capture(["7,11,10,78319.5,0.25,created,bid", "7,13,12,78319.5,0.25,deleted,bid"])
    assert flow.messages == [
        Message(10, Kind.LIMIT, 7, True, 7831950, 25_000_000, True),
        Message(12, Kind.CANCEL, 7, True, 0, 0, False),
    ]


def test_a_taker_may_match_and_the_changes_of_its_trade_are_not_messages() -> None:
    flow = capture(
        [
            "1,10,10,100,2,created,ask",
            "2,20,20,101,1,created,bid",
            "1,20,20,100,1,changed,ask",
            "2,20,20,101,0,deleted,bid",
        ],
        ["9,21,20,100,1,2,1,buy"],
    )
    assert [(m.kind, m.order, m.post_only) for m in flow.messages] == [
        (Kind.LIMIT, 1, True),
        (Kind.LIMIT, 2, False),
        (Kind.CANCEL, 2, False),
    ]
    assert flow.trades == [Trade(2, 1, 10_000, 100_000_000, True)]


def test_a_selling_taker_is_told_from_its_maker_by_the_side_of_the_trade() -> None:
    flow = capture([], ["9,21,20,100,1,2,1,sell"])
    assert flow.trades == [Trade(1, 2, 10_000, 100_000_000, False)]


def test_a_market_order_without_quantity_has_the_quantity_that_it_traded() -> None:
    flow = capture(
        ["5,1,1,999999999.0,0,created,bid", "5,2,2,100,1e-08,changed,bid"],
        ["1,2,1,100,0.5,5,3,buy", "2,2,1,101,0.25,5,4,buy"],
    )
    assert flow.messages == [Message(1, Kind.MARKET, 5, True, 0, 75_000_000, False)]


def test_a_market_order_with_a_quantity_keeps_it_even_where_less_traded() -> None:
    flow = capture(["5,1,1,0,3,created,ask"], ["1,2,1,100,1,3,5,sell"])
    assert flow.messages == [Message(1, Kind.MARKET, 5, False, 0, 300_000_000, False)]


def test_an_order_resting_at_price_zero_is_a_limit_order_and_not_a_market_order() -> None:
    flow = capture(["5,1,1,0.0,3,created,bid"])
    assert flow.messages == [Message(1, Kind.LIMIT, 5, True, 0, 300_000_000, True)]


@pytest.mark.parametrize(
    ("direction", "trade_price", "is_ghost"),
    [("ask", 101, True), ("ask", 100, False), ("bid", 99, True), ("bid", 100, False)],
)
def test_only_a_survivor_whose_price_was_traded_through_is_a_ghost(
    direction: str, trade_price: int, is_ghost: bool
) -> None:
    rows = [f"5,10,10,100,1,created,{direction}", f"5,90,90,100,1,deleted,{direction}"]
    flow = capture(rows, [f"1,50,50,{trade_price},1,8,9,buy"], deleted_at_end=1)
    assert flow.ghosts == ((5,) if is_ghost else ())
    assert len(flow.messages) == (0 if is_ghost else 2)


def test_an_order_deleted_live_or_created_after_the_trade_is_no_ghost() -> None:
    rows = ["5,10,10,100,1,created,ask", "5,90,90,100,1,deleted,ask"]
    assert capture(rows, ["1,50,50,101,1,8,9,buy"], deleted_at_end=0).ghosts == ()
    assert capture(rows, ["1,10,10,101,1,8,9,buy"], deleted_at_end=1).ghosts == ()


@pytest.mark.parametrize(
    "row",
    [
        "5,1,1,100,1,changed,bid",  # an amendment: nothing of this order trades
        "5,1,1,100,1,vanished,bid",
        "5,1,1,100,0,created,bid",  # neither a quantity nor a trade to infer it from
        "5,1,1,100.001,1,created,bid",  # a fraction of a cent
        "5,1,1,100,1e-09,created,bid",  # a fraction of a satoshi
        "5,1,1,-100,1,created,bid",
        "5,1,1,many,1,created,bid",
        "five,1,1,100,1,created,bid",
        "5,1,1,Infinity,1,created,bid",
        "5,1,1,100,1,created,both",
        "5,1,1",
    ],
)
def test_a_row_outside_the_known_format_is_refused_by_number(row: str) -> None:
    with pytest.raises(NodeError) as refusal:
        capture([row])
    assert refusal.value.number == CAPTURE_MALFORMED


def test_an_unknown_action_is_refused_even_for_an_order_that_trades() -> None:
    with pytest.raises(NodeError) as refusal:
        capture(["5,1,1,100,1,vanished,bid"], ["1,2,1,100,1,5,9,buy"])
    assert refusal.value.number == CAPTURE_MALFORMED


def test_a_ghost_is_judged_by_the_price_at_which_it_was_created() -> None:
    rows = ["5,10,10,102,2,created,ask", "5,20,20,100,1,changed,ask", "5,90,90,100,1,deleted,ask"]
    assert capture(rows, ["1,50,50,101,1,8,5,buy"], deleted_at_end=1).ghosts == ()


def test_a_capture_without_its_count_of_final_deletions_is_refused_by_number() -> None:
    files = SampleFiles(ORDERS_HEADER.encode(), TRADES_HEADER.encode(), b"{}")
    with pytest.raises(NodeError) as refusal:
        read_flow(files)
    assert refusal.value.number == CAPTURE_MALFORMED


def test_the_fills_digest_is_the_hash_of_the_documented_text() -> None:
    # printf "[(2, 1, 10000, 5, 'B'), (1, 4, 9900, 7, 'S')]" | sha256sum
    fills = [Trade(2, 1, 10_000, 5, True), Trade(1, 4, 9_900, 7, False)]
    expected = "f3a6419147b25a0a2dc1162c87a02934a8df8ba1d6c45a72919b677094ce4118"
    assert fills_digest(fills) == expected
    assert fills_digest(reversed(fills)) != expected
