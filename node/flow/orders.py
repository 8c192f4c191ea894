"""A recorded flow as signed commands: which wallet an order belongs to, and its row.

What lives here: the rules that turn `Message` into rows, and the JSON-lines form of a flow. What it
must never know: keys, blocks, and what the core answered.

| message | row |
| --- | --- |
| LIMIT | place, type limit, rests; post-only ones with post 1 (reject) |
| MARKET | place, type market, immediate or cancel; worst price: the end of the market's domain |
| CANCEL | cancel by client id |

A price outside the domain or a quantity above the market's limit is sent as it is: the core refuses
it, and the report counts it.

The flow has no owners, so they are invented. An account never trades with itself, but the venue's
takers and makers all met, so the two must not share a wallet. The last quarter of the wallets
belongs to orders that may take; such an order goes to the one of them with the fewest orders at
the time. Orders that only make are spread over the others by bits 20 and up of the venue's order
id, which rises with time: neighbours in time belong to one wallet, as with a market maker's bursts,
and share a group and a signature.

A client id names a slot of its account's order table: `n x table_slots + slot`, n from 1. The slot
is taken when the order is placed and given back when the venue's cancel for it comes, so it is free
in the core at that time too. A cancel for an order that the flow never placed names n = 0, which no
order has.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from consensus import commands
from consensus.layout import BUY, POST_REJECT, SELL, TIF_IOC, TYPE_MARKET
from node.exceptions import NodeError
from node.flow.bitstamp import Kind, Message

FLOW_LINE: Final = 7103
ORDER_TWICE: Final = 7104
SLOTS_USED_UP: Final = 7105
WALLET_COUNT: Final = 7106

WALLETS_MIN: Final = 2
WALLETS_MAX: Final = 512
MARKET: Final = 0
ORDER_SHIFT: Final = 20
INTEGER_MAX: Final = (1 << 53) - 1
LINE_CHARACTERS_MAX: Final = 1024
"""Seven members need 200; a deeper nesting than this holds could exhaust the parser's stack."""
KINDS: Final = {kind.name.lower(): kind for kind in Kind}


class Terms(NamedTuple):
    """What rows need to know about the chain."""

    table_slots: int
    ticks: int  # prices are 1 .. ticks - 2


class Placed(NamedTuple):
    wallet: int
    client: int


def check_wallets(wallets: int) -> None:
    """Raise `NodeError` 7106 for a number of wallets that no flow can be spread over."""
    if not WALLETS_MIN <= wallets <= WALLETS_MAX:
        raise NodeError(WALLET_COUNT, f"{wallets} wallets: give {WALLETS_MIN} to {WALLETS_MAX}")


class Translator:
    """Messages to rows, one by one in order; it remembers which orders have a table slot."""

    def __init__(self, wallets: int, terms: Terms) -> None:
        check_wallets(wallets)
        self._terms = terms
        self._makers = wallets - max(1, wallets // 4)
        self._free = [list(range(terms.table_slots))[::-1] for _ in range(wallets)]
        self._placed: dict[int, Placed] = {}
        self._orders = 0

    def row(self, message: Message) -> tuple[int, bytes]:
        """The wallet that sends the message, and its 64 bytes.

        Raises `NodeError` 7104 or 7105.
        """
        if message.kind is Kind.CANCEL:
            placed = self._take_back(message.order)
            return placed.wallet, commands.cancel_client(placed.client)
        placed = self._give(message)
        side = BUY if message.buys else SELL
        if message.kind is Kind.MARKET:
            worst = self._terms.ticks - 2 if message.buys else 1
            row = commands.place(
                MARKET,
                side,
                placed.client,
                worst,
                message.quantity,
                tif=TIF_IOC,
                kind=TYPE_MARKET,
            )
        else:
            post = POST_REJECT if message.post_only else 0
            row = commands.place(
                MARKET, side, placed.client, message.price_cents, message.quantity, post=post
            )
        return placed.wallet, row

    def _give(self, message: Message) -> Placed:
        order = message.order
        if order in self._placed:
            text = f"order {order} is placed a second time before it was cancelled"
            raise NodeError(ORDER_TWICE, text, order=order)
        wallet = self._maker(order) if message.post_only else self._taker()
        if not self._free[wallet]:
            slots = self._terms.table_slots
            text = f"wallet {wallet} has {slots} orders that were not cancelled; give more wallets"
            raise NodeError(SLOTS_USED_UP, text, order=order)
        self._orders += 1
        client = self._orders * self._terms.table_slots + self._free[wallet].pop()
        self._placed[order] = Placed(wallet, client)
        return self._placed[order]

    def _take_back(self, order: int) -> Placed:
        placed = self._placed.pop(order, None)
        if placed is None:
            return Placed(self._maker(order), order % self._terms.table_slots)
        self._free[placed.wallet].append(placed.client % self._terms.table_slots)
        return placed

    def _maker(self, order: int) -> int:
        return (order >> ORDER_SHIFT) % self._makers

    def _taker(self) -> int:
        """The taking wallet with the most free slots; the first of equals."""
        takers = range(self._makers, len(self._free))
        return max(takers, key=lambda wallet: (len(self._free[wallet]), -wallet))


def read_lines(lines: Iterable[str]) -> Iterator[Message]:
    """The messages of a flow in JSON lines, docs/operators.md. Raises `NodeError` 7103."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _read_line(number, line)


def _read_line(number: int, line: str) -> Message:
    if len(line) > LINE_CHARACTERS_MAX:
        raise _bad_line(number, f"more than {LINE_CHARACTERS_MAX} characters")
    try:
        given = json.loads(line)
        kind = KINDS[given["kind"]]
        message = Message(
            time_ms=given["time_ms"],
            kind=kind,
            order=given["order"],
            buys=given["buys"],
            price_cents=given.get("price_cents", 0),
            quantity=given.get("quantity", 0),
            post_only=given.get("post_only", False),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _bad_line(number, f"{type(error).__name__} {error}") from error
    integers = (message.time_ms, message.order, message.price_cents, message.quantity)
    if any(type(value) is not int or not 0 <= value <= INTEGER_MAX for value in integers):
        raise _bad_line(number, "time_ms, order, price_cents, quantity are integers up to 2^53 - 1")
    if type(message.buys) is not bool or type(message.post_only) is not bool:
        raise _bad_line(number, "buys and post_only are true or false")
    return message


def _bad_line(number: int, why: str) -> NodeError:
    return NodeError(FLOW_LINE, f"line {number} is no message: {why}", line=number)
