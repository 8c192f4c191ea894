"""A channel: numbered messages for any number of subscribers, and the last ones for latecomers.

What lives here: the chain of numbers, the ring, who listens. What must never live here: what a
message says.

Theory. Every message carries its `sequence`, and `previous`, that of the message before it in the
same channel. A subscriber that sees another `previous` than it expects has missed something; it
subscribes again and names the last sequence it has: if the next message is still in the ring, it
goes on from there, else a snapshot comes, or, where there is none, a message that says `gap`.
Sequences are a node's own. They start from its clock, so those of an earlier run are below all of
this one and are never taken for a place in it; what is common to all nodes is `operation`, the
chain's number of the last operation in a message.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

RING_MESSAGES: Final = 4096

encode: Final = msgspec.json.encode


def notification(subscription: str, body: bytes) -> bytes:
    """A message of a subscription: `{"jsonrpc", "method": "clob_subscription", "params"}`."""
    return (
        b'{"jsonrpc":"2.0","method":"clob_subscription","params":{"subscription":"%b","result":%b}}'
        % (subscription.encode(), body)
    )


class Channel:
    """`start` is the sequence that the first message follows: microseconds of the clock.

    `snapshot` makes a whole picture as of the last message; a channel of things that just happen
    (trades, blocks) has none.
    """

    def __init__(
        self,
        start: int,
        snapshot: Callable[[], dict[str, object]] | None = None,
        ring: int = RING_MESSAGES,
    ) -> None:
        self.sequence = start
        self._snapshot = snapshot
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=ring)
        self._listeners: dict[int, Callable[[bytes], None]] = {}
        self._next = 0

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def put(self, operation: int, message: dict[str, object]) -> None:
        """Send a message to everybody; `operation` is the last one that it contains.

        An event's own `sequence` is that operation; here the name is the channel's.
        """
        self.sequence += 1
        places = {"sequence": self.sequence, "previous": self.sequence - 1}
        body = encode({**message, **places, "operation": operation})
        self._ring.append((self.sequence, body))
        for listener in list(self._listeners.values()):
            listener(body)

    def listen(self, listener: Callable[[bytes], None], resume: int | None) -> Callable[[], None]:
        """Send what is missing since `resume` or a snapshot, then everything; returns the end."""
        for body in self._missing(resume):
            listener(body)
        number = self._next
        self._next += 1
        self._listeners[number] = listener

        def end() -> None:
            self._listeners.pop(number, None)

        return end

    def _missing(self, resume: int | None) -> list[bytes]:
        if resume == self.sequence:
            return []
        if resume is not None and self._ring and self._ring[0][0] <= resume + 1 <= self.sequence:
            return [body for sequence, body in self._ring if sequence > resume]
        if self._snapshot is None:
            lost = {"sequence": self.sequence, "gap": True}
            return [] if resume is None else [encode(lost)]
        return [encode({"sequence": self.sequence, "snapshot": True, **self._snapshot()})]
