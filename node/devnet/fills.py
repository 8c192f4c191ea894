"""What came of the flow's orders, read from events as a node tells them in JSON.

What lives here: trades in the venue's terms, and refusals. What must never live here: a connection.

An event names an order by its handle; who placed it is known from the event that said it rests. A
handle is never used twice, so the order in which answers arrive does not matter: trades are put in
order of their operations at the end.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from node.flow.bitstamp import Message, Trade

BUY: Final = "buy"


class Fills:
    """`hear` the events of each command, in any order of commands; `trades` at the end."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self.base: int | None = None  # sequence of the flow's first operation
        self._rested: dict[str, int] = {}
        self._trades: list[dict[str, Any]] = []
        self.refused: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._trades)

    def hear(self, events: Sequence[dict[str, Any]]) -> None:
        for event in events:
            kind = event["event"]
            if kind == "rested":
                self._rested[event["handle"]] = event["sequence"]
            elif kind == "trade":
                self._trades.append(event)
            elif kind == "refused":
                self.refused[event["name"]] += 1

    def trades(self) -> list[Trade]:
        """Every fill, in order, with the venue's numbers of both orders."""
        return [
            Trade(
                self._order(event["sequence"]),
                self._order(self._rested[event["maker_handle"]]),
                event["price"],
                event["lots"],
                event["side"] == BUY,
            )
            for event in sorted(self._trades, key=sequence_of)
        ]

    def places(self) -> list[tuple[object, ...]]:
        """The same as every node's `clob_trades` tells them."""
        return [place_of(event) for event in sorted(self._trades, key=sequence_of)]

    def _order(self, sequence: int) -> int:
        assert self.base is not None, "events come with answers"
        return self._messages[sequence - self.base].order


def sequence_of(event: dict[str, Any]) -> int:
    return int(event["sequence"])


def place_of(event: dict[str, Any]) -> tuple[object, ...]:
    """What must be the same on every node."""
    names = ("sequence", "maker_handle", "price", "lots", "side", "maker", "taker")
    return tuple(event[name] for name in names)
