"""Turn a Bitstamp order-by-order capture into the instructions that caused it.

What lives here: a pure function from the capture's files to messages, and the digest that compares
an engine's fills with the venue's. What it must never know: an engine, the network, a file system.

A capture shows effects (an order appeared, shrank, vanished) and, apart from them, the trades. An
engine needs causes. The venue does not publish order types, so three of them are inferred from the
trades. They are instructions only: which maker, which price, which quantity and in which order
remains for the engine to find out.

Each row of `orders.csv`, in file order, becomes at most one message:

| row                                        | message                                            |
| ------------------------------------------ | -------------------------------------------------- |
| created, the order takes in some trade     | LIMIT, good till cancelled, may match              |
| created, the order takes in none           | LIMIT, post-only: refuse if it would match (1)     |
| created at no price, takes in some trade   | MARKET, immediate or cancel, price 0 (2)           |
| changed                                    | none: it is the effect of a trade (3)              |
| deleted                                    | CANCEL what is left; benign if nothing is (4)      |
| any row of a ghost                         | none (5)                                           |

(1) The venue's "maker or cancel". Two thirds of the orders are created and deleted at once, at a
    price that the opposite side already held: refused post-only orders.
(2) A market order shows price 0 or 999,999,999. One that spends a quote amount shows quantity 0;
    its quantity is then the sum of its own trades.
(3) A row that changes an order which trades nowhere would be an amendment: it is refused with an
    error, and the capture we know has none. So there is no amend message, and no hidden quantity:
    an order's first quantity is its whole quantity.
(4) Orders wholly filled are deleted too, and so are orders refused at (1), orders created before
    the capture began and, at the end, everything that still rests. Cancelling an unknown order
    must change nothing.
(5) A ghost is an order that only the synthetic deletion at the end removes although the market
    traded through its price: the venue must have removed it unseen. Left in, it would keep the
    book crossed.

An order at price 0 or beyond any sensible price that never trades stays a LIMIT at that price (22
bids at 0 and one ask at 483,980,000 rest in the opening snapshot). An engine may refuse such a
price: no trade depends on it. Every price in the known capture is a whole dollar.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import IntEnum
from typing import Final, NamedTuple

from node.exceptions import NodeError

CAPTURE_MALFORMED: Final = 7102

CENTS_PER_USD: Final = 100
LOTS_PER_BTC: Final = 10**8  # one lot is one satoshi
# What the venue shows as the price of an order that has none: selling, buying.
NO_PRICE_CENTS: Final = (0, 999_999_999 * CENTS_PER_USD)

BIDS: Final = {"bid": True, "ask": False}
TAKER_BUYS: Final = {"buy": True, "sell": False}


class SampleFiles(NamedTuple):
    """A capture as it came: three files, decompressed."""

    orders_csv: bytes
    trades_csv: bytes
    meta_json: bytes


class Kind(IntEnum):
    """What a message asks for."""

    LIMIT = 0
    MARKET = 1
    CANCEL = 2


class Message(NamedTuple):
    """One instruction to the engine. A CANCEL has price, quantity and post_only at zero."""

    time_ms: int  # the venue's clock, Unix epoch; never decreases
    kind: Kind
    order: int  # the venue's order id, unique over the whole flow
    buys: bool
    price_cents: int  # 1/100 USD; 0 for MARKET
    quantity: int  # lots of 1e-8 BTC, positive
    post_only: bool


class Trade(NamedTuple):
    """One fill. `taker_buys` is the side of the order that arrived second."""

    taker: int
    maker: int
    price_cents: int
    quantity: int
    taker_buys: bool


class Flow(NamedTuple):
    """A capture turned round: what was asked, and what the venue answered."""

    messages: list[Message]
    trades: list[Trade]
    ghosts: tuple[int, ...]


class OrderRow(NamedTuple):
    seen_ms: int  # when the recorder saw it: the one clock that orders and trades share
    time_ms: int
    order: int
    price_cents: int
    quantity: int
    action: str
    bid: bool


class TradeRow(NamedTuple):
    seen_ms: int
    trade: Trade


def malformed(text: str) -> NodeError:
    return NodeError(CAPTURE_MALFORMED, f"{text}: this is not a capture this reader understands")


def scaled(text: str, units_per_one: int) -> int:
    """A decimal numeral, plain or scientific, as an exact count of units."""
    exact = Decimal(text) * units_per_one
    whole = int(exact)
    if whole != exact or whole < 0:
        raise malformed(f"{text} is not a whole number of 1/{units_per_one}")
    return whole


def read_orders(text: bytes) -> Iterator[OrderRow]:
    for row in csv.DictReader(text.decode("ascii").splitlines()):
        yield OrderRow(
            seen_ms=int(row["timestamp"]),
            time_ms=int(row["exchange_timestamp"]),
            order=int(row["id"]),
            price_cents=scaled(row["price"], CENTS_PER_USD),
            quantity=scaled(row["volume"], LOTS_PER_BTC),
            action=row["action"],
            bid=BIDS[row["direction"]],
        )


def read_trades(text: bytes) -> Iterator[TradeRow]:
    for row in csv.DictReader(text.decode("ascii").splitlines()):
        buyer, seller = int(row["buy_order_id"]), int(row["sell_order_id"])
        buys = TAKER_BUYS[row["side"]]
        trade = Trade(
            taker=buyer if buys else seller,
            maker=seller if buys else buyer,
            price_cents=scaled(row["price"], CENTS_PER_USD),
            quantity=scaled(row["amount"], LOTS_PER_BTC),
            taker_buys=buys,
        )
        yield TradeRow(int(row["timestamp"]), trade)


def find_ghosts(rows: list[OrderRow], trades: list[TradeRow], deleted_at_end: int) -> set[int]:
    """The orders that lived to the end although a later trade went through their price.

    The last `deleted_at_end` rows are the recorder's own deletions of all that still rested.
    """
    survivors = {row.order for row in rows[len(rows) - deleted_at_end :]}
    ghosts = set()
    seen = set()
    for row in rows:
        if row.order in seen:
            continue
        seen.add(row.order)
        if row.order in survivors and any(
            trade.seen_ms > row.seen_ms and traded_through(row, trade.trade.price_cents)
            for trade in trades
        ):
            ghosts.add(row.order)
    return ghosts


def traded_through(row: OrderRow, price_cents: int) -> bool:
    """Whether a trade at this price was worse for its taker than what `row` offered."""
    return price_cents < row.price_cents if row.bid else price_cents > row.price_cents


def placement(row: OrderRow, takers: set[int], traded: Counter[int]) -> Message:
    """The instruction behind a `created` row: notes 1 and 2 of the table above."""
    takes = row.order in takers
    market = takes and row.price_cents in NO_PRICE_CENTS
    quantity = row.quantity or traded[row.order]
    if quantity == 0:
        raise malformed(f"order {row.order} has no quantity and no trade to infer one from")
    return Message(
        time_ms=row.time_ms,
        kind=Kind.MARKET if market else Kind.LIMIT,
        order=row.order,
        buys=row.bid,
        price_cents=0 if market else row.price_cents,
        quantity=quantity,
        post_only=not takes,
    )


def infer_messages(
    rows: list[OrderRow], trades: list[Trade], ghosts: set[int]
) -> Iterator[Message]:
    takers = {trade.taker for trade in trades}
    traded: Counter[int] = Counter()
    for trade in trades:
        traded[trade.taker] += trade.quantity
        traded[trade.maker] += trade.quantity
    for row in rows:
        if row.order in ghosts:
            continue
        if row.action == "created":
            yield placement(row, takers, traded)
        elif row.action == "deleted":
            yield Message(row.time_ms, Kind.CANCEL, row.order, row.bid, 0, 0, False)
        elif row.action != "changed" or row.order not in traded:
            raise malformed(f"order {row.order} is {row.action} and never trades")


def read_flow(files: SampleFiles) -> Flow:
    """The messages and trades of a capture.

    Raises `NodeError` 7102 for a capture that the table above does not cover.
    """
    try:
        rows = list(read_orders(files.orders_csv))
        trade_rows = list(read_trades(files.trades_csv))
        deleted_at_end = int(json.loads(files.meta_json)["synthetic_deleted"])
    except (KeyError, ValueError, ArithmeticError, TypeError) as error:
        raise malformed(f"{type(error).__name__}: {error}") from error
    trades = [row.trade for row in trade_rows]
    ghosts = find_ghosts(rows, trade_rows, deleted_at_end)
    messages = list(infer_messages(rows, trades, ghosts))
    return Flow(messages, trades, tuple(sorted(ghosts)))


def fills_digest(fills: Iterable[Trade]) -> str:
    """SHA-256, in hex, over the fills in order, written as one line of ASCII text:

    `[(taker, maker, price_cents, quantity, 'B'), ...]`, with 'B' or 'S' for the taker's side, one
    space after each comma and decimal numbers.
    """
    written = ", ".join(
        f"({fill.taker}, {fill.maker}, {fill.price_cents}, {fill.quantity}, "
        f"'{'B' if fill.taker_buys else 'S'}')"
        for fill in fills
    )
    return hashlib.sha256(f"[{written}]".encode("ascii")).hexdigest()
