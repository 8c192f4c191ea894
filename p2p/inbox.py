"""A bounded queue of gossip messages for one subscriber.

What lives here: order, bounds, and what is dropped: the oldest, because a reader that fell behind
wants the head of the chain and fetches the gap by range. What must never live here: judgement.
A memory channel of trio drops the newest, and cannot be bounded in bytes.
"""

from collections import deque
from collections.abc import AsyncIterator

import trio

from .network import Message


class BoundedInbox:
    """One reader; any number of writers, who never wait."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self.dropped = 0
        self.size = 0  # bytes of payload in the queue
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._queue: deque[Message] = deque()
        self._lot = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Message) -> int:
        """Append; return how many old messages gave way."""
        before = self.dropped
        self._queue.append(message)
        self.size += len(message.data)
        while len(self._queue) > self._messages_max or self.size > self._bytes_max:
            self.size -= len(self._queue.popleft().data)
            self.dropped += 1
        self._lot.unpark()
        return self.dropped - before

    async def receive(self) -> Message:
        await trio.lowlevel.checkpoint()
        while not self._queue:
            await self._lot.park()
        return self.receive_nowait()

    def receive_nowait(self) -> Message:
        """Errors: trio.WouldBlock when there is none."""
        if not self._queue:
            raise trio.WouldBlock
        message = self._queue.popleft()
        self.size -= len(message.data)
        return message

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            yield await self.receive()
