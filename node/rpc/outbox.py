"""What waits to be sent to one client, and the end of a client that does not read.

What lives here: one bounded queue of bytes and its writer; one task that sends for many. What must
never live here: what the bytes mean.

Theory. Whoever has something for a client pushes it, without waiting: a feed must not be held up
by its slowest reader. The writer sends all that has gathered in one call, which is where the
throughput comes from. A client that has left more than a mebibyte unread when the next piece comes
is dropped: what waits is replaced by a last word, and a second later its scope ends, because its
writer may be stuck in `send_all` and would never look at a flag. One answer may be larger than the
limit; a client that asks for one and reads it gets all of it. Reading from a client stops while
half of the limit waits, and what it has asked already waits with it, so that one who asks and never
reads is held back; it costs half a mebibyte, and its connection when 30 s brought no progress.
The limit is for what nobody asked for. The answers to a thousand pipelined commands come at once,
when the disk has them: eight mebibytes may wait before their reader is slow.

To wake the writer for one answer costs as much as the answer. So whoever reads a client's calls
holds the writer back meanwhile, and then flushes: what the socket takes at once leaves without the
writer, and the rest is its business as ever. Answers that come later, from the disk, come for many
clients at once: one task, the `Flusher`, is woken for all of them and does the same.
"""

import math
from collections.abc import Callable
from typing import Final

import trio

from node.rpc.plain_socket import send_now

UNREAD_BYTES_MAX: Final = 1 << 20
ANSWERS_BYTES_MAX: Final = 8 << 20
SEND_S_MAX: Final = 30


class Outbox:
    """`push` from anywhere on the loop; `run` is the one writer. `last_word` goes to a client that
    is dropped, if it reads at all."""

    def __init__(
        self, stream: trio.abc.SendStream, drop: Callable[[], None], flusher: "Flusher"
    ) -> None:
        """`drop` ends the connection in a moment, whatever the writer does."""
        self._stream = stream
        self._drop = drop
        self._flusher = flusher
        self._is_held = False
        self._is_sending = False
        self._waiting: list[bytes] = []
        self._news = trio.Event()
        self._room = trio.Event()
        self.last_word = b""
        self._unasked = 0  # bytes of notifications among what waits
        self.size = 0
        self.is_dropped = False
        self.is_closing = False

    def push(self, data: bytes, *, asked: bool = False) -> None:
        """Queue bytes, `asked` if they answer; drops the client if it has too many unread."""
        if self.is_dropped or self.is_closing or not data:
            return
        if self._unasked > UNREAD_BYTES_MAX or self.size > ANSWERS_BYTES_MAX:
            self.is_dropped = True
            self._waiting = [self.last_word] if self.last_word else []
            self._drop()
            self.close()
            return
        self._waiting.append(data)
        self.size += len(data)
        self._unasked += 0 if asked else len(data)
        if not self._is_held:
            self._flusher.flush_soon(self)

    def hold(self) -> None:
        """Leave what is pushed from now on to `flush`."""
        self._is_held = True

    def flush(self) -> None:
        """Send what the socket takes without waiting; the writer is woken for the rest."""
        self._is_held = False
        self._send()

    def flush_due(self) -> None:
        """The same, unless whoever holds it will."""
        if not self._is_held:
            self._send()

    def _send(self) -> None:
        if not self._waiting:
            return
        if not self._is_sending and not self.is_closing:
            data = b"".join(self._waiting)
            sent = send_now(self._stream, data)
            self._waiting = [data[sent:]] if sent < len(data) else []
            self.size -= sent
            self._unasked = min(self._unasked, self.size)
            if not self.is_full:
                self._room.set()
        if self._waiting:
            self._news.set()

    def close(self) -> None:
        """End the writer once what waits is sent; nothing can be pushed any more."""
        self.is_closing = True
        self._news.set()

    @property
    def is_full(self) -> bool:
        """Whether half of the limit waits: whose answers these are may not ask more."""
        return self.size > UNREAD_BYTES_MAX // 2

    async def room(self) -> None:
        """Return when less than half of the limit waits."""
        while self.is_full:
            self._news.set()
            self._room = trio.Event()
            await self._room.wait()

    async def run(self) -> None:
        """Send what is pushed, until closed. Raises what the stream raises, and `TooSlowError`."""
        with trio.CancelScope() as patience:  # one for all that is ever sent: scopes are dear
            while True:
                data, unasked = b"".join(self._waiting), self._unasked
                self._waiting.clear()
                if data:
                    patience.deadline = trio.current_time() + SEND_S_MAX
                    self._is_sending = True
                    await self._stream.send_all(data)
                    self._is_sending = False
                    patience.deadline = math.inf
                    self.size -= len(data)
                    self._unasked -= unasked
                    if not self.is_full:
                        self._room.set()
                elif self.is_closing:
                    return
                else:
                    self._news = trio.Event()
                    await self._news.wait()
        raise trio.TooSlowError


class Flusher:
    """Sends for every outbox that has something, with one task."""

    def __init__(self) -> None:
        self._due: dict[Outbox, None] = {}  # a set in order
        self._news = trio.Event()

    def flush_soon(self, outbox: Outbox) -> None:
        self._due[outbox] = None
        self._news.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            due, self._due = self._due, {}
            for outbox in due:
                outbox.flush_due()
