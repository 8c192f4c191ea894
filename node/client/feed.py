"""One channel as its reader sees it: numbered messages in order, snapshots, and gaps that are told.

What lives here: the place in the channel, what a message means for it, the queue to the reader.
What must never live here: a connection; the link brings messages and opens the channel again.

Theory. The node numbers the messages of a channel and names in each the one before it. As long as
`previous` is the last that we have, nothing is missing. After a lost connection the link asks to go
on behind the last; if the node still has what follows, it comes, and the reader sees nothing of it.
Otherwise a channel with a state (book, bbo) sends a whole snapshot, and one without (trades,
orders, blocks, certificates) cannot be made whole from here: the reader gets a `Gap` that names the
chain's operations on both sides, and reads what lies between from blocks or fills.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, TypeAlias

import trio

from node.client.exceptions import READER_SLOW, ClientError

WAITING_MESSAGES_MAX: Final = 65_536
WITH_SNAPSHOT: Final = ("book", "bbo")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state of the channel; forget what was before."""

    sequence: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """The next message. `operation` is the chain's number of the last operation in it."""

    sequence: int
    operation: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages are missing behind operation `after`; None if there was none yet."""

    after: int | None


Item: TypeAlias = Snapshot | Update | Gap


@dataclass(frozen=True, slots=True)
class Channel:
    """Which channel: book, bbo, trades (market), orders (account), blocks, certificates."""

    name: str
    market: int | str | None = None
    account: int | str | None = None

    def params(self, resume: int | None) -> dict[str, Any]:
        """What `clob_subscribe` is asked."""
        asked: dict[str, Any] = {"channel": self.name}
        if self.market is not None:
            asked["market"] = self.market
        if self.account is not None:
            asked["account"] = self.account
        if resume is not None:
            asked["resume"] = str(resume)
        return asked


@dataclass(slots=True)
class Feed:
    """Iterate over it. Reading too slowly ends it: `ClientError` 7805."""

    channel: Channel
    again: Callable[["Feed"], None]  # asks for a snapshot: the feed is opened again from nothing
    last: int | None = None
    operation: int | None = None
    gaps: int = 0
    _items: list[Item] = field(default_factory=list)
    _news: trio.Event = field(default_factory=trio.Event)
    _end: Exception | None = None

    def take(self, message: dict[str, Any]) -> None:
        """One message of the node. What does not follow is not passed on as if it did."""
        sequence = int(message["sequence"])
        if message.get("snapshot"):
            self.last = sequence
            self._put(Snapshot(sequence, message))
            return
        if message.get("gap"):
            self._gap()
            self.last = sequence
            return
        if self.last is not None and int(message["previous"]) != self.last:
            self._gap()
            if self.channel.name in WITH_SNAPSHOT:
                self.restart()
                return
        elif self.last is None and self.channel.name in WITH_SNAPSHOT:
            return  # a delta on the way while a snapshot was asked for
        self.last, self.operation = sequence, int(message["operation"])
        self._put(Update(sequence, self.operation, message))

    def restart(self) -> None:
        """Forget the place and ask for a snapshot."""
        self.last = None
        self.again(self)

    def end(self, error: Exception) -> None:
        """What is queued can still be read, then this is raised."""
        self._end = self._end or error
        self._news.set()

    def _gap(self) -> None:
        self.gaps += 1
        self._put(Gap(self.operation))

    def _put(self, item: Item) -> None:
        if len(self._items) >= WAITING_MESSAGES_MAX:
            text = f"{WAITING_MESSAGES_MAX} messages of {self.channel.name} wait unread"
            self.end(ClientError(READER_SLOW, f"{text}; read faster, or follow less"))
        if self._end is None:
            self._items.append(item)
            self._news.set()

    async def read(self, patience_s: float = inf) -> list[Item]:
        """All that has come, at least one item; none only if `patience_s` have passed."""
        with trio.move_on_after(patience_s):
            while not self._items:
                if self._end is not None:
                    raise self._end
                self._news = trio.Event()
                await self._news.wait()
        items, self._items = self._items, []
        return items
