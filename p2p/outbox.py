"""What one neighbour is still to be sent: encoded RPCs, bounded, the oldest dropped.

What lives here: order, bounds, and joining what waits into one frame. What must never live here:
protobuf; but that two encoded RPCs, one after the other, are the encoding of their union is its
rule (https://protobuf.dev/programming-guides/encoding/#last-one-wins), and the reason that a
message for five neighbours is encoded once.

Upstream keeps 32 RPCs and drops new ones without a word.
"""

from collections import deque
from typing import Final

import trio

OUTBOX_BYTES_MAX: Final = 8 << 20
OUTBOX_RPCS_MAX: Final = 4096
CONTROL_RPCS_MAX: Final = 256
FRAME_BYTES_MAX: Final = 1 << 16  # joined; a larger RPC goes alone
FRAME_RPCS_MAX: Final = 64  # so that a receiver's bound on messages in one RPC holds


class Outbox:
    """One reader, who writes the stream; any number of writers, who never wait."""

    def __init__(self) -> None:
        self.dropped = 0
        self.size = 0
        self.closed = False
        self._data: deque[bytes] = deque()
        self._control: deque[bytes] = deque()
        self._lot = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._data) + len(self._control)

    def push(self, rpc: bytes, control: bool = False) -> int:
        """Queue an encoded RPC; return how many older ones gave way. Control goes first."""
        if self.closed:
            return 0
        before = self.dropped
        if control:
            self._control.append(rpc)
            if len(self._control) > CONTROL_RPCS_MAX:
                self._control.popleft()
                self.dropped += 1
        else:
            self._data.append(rpc)
            self.size += len(rpc)
            while self.size > OUTBOX_BYTES_MAX or len(self._data) > OUTBOX_RPCS_MAX:
                self.size -= len(self._data.popleft())
                self.dropped += 1
        self._lot.unpark()
        return self.dropped - before

    async def pop(self) -> bytes:
        """The next frame's body, in order; b"" once closed."""
        while not len(self) and not self.closed:
            await self._lot.park()
        if self.closed:
            return b""
        parts: list[bytes] = []
        length = 0
        while len(self) and len(parts) < FRAME_RPCS_MAX:
            queue = self._control or self._data
            if parts and length + len(queue[0]) > FRAME_BYTES_MAX:
                break
            part = queue.popleft()
            if queue is self._data:
                self.size -= len(part)
            parts.append(part)
            length += len(part)
        return b"".join(parts)

    def close(self) -> None:
        self.closed = True
        self._lot.unpark()
