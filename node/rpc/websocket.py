"""WebSocket: messages in, messages out, on the Sans-IO protocol of `websockets`.

What lives here: one connection's messages, limits and liveness. What must never live here: RFC 6455
itself, which the library keeps, or JSON.

Everything that one read brings is handled before anything is sent, and all answers that are ready
go out in one write; most of the speed is that. Between two messages of a read the loop gets its
turn every 5 ms, so that a client who sends many dear calls at once delays itself only; and one who
leaves their answers unread is answered no further (a read can bring a thousand calls). A message
may have 256 KiB in all its frames (the library bounds one frame only) and must be UTF-8. A client
that is silent for 40 s, pings included, is gone. Compression is off: it costs as much as an order,
and would forbid sharing one frame among all subscribers of a feed.
"""

import struct
from time import perf_counter
from typing import Final

import trio
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher, is_utf8
from node.rpc.outbox import Outbox
from node.rpc.plain_socket import receive

MESSAGE_BYTES_MAX: Final = 256 << 10
PING_S: Final = 20
SILENCE_S_MAX: Final = 40
SLICE_S: Final = 0.005
CLOSE_GOING_AWAY: Final = 1001
CLOSE_NOT_UTF8: Final = 1007
CLOSE_TOO_BIG: Final = 1009
CLOSE_TOO_SLOW: Final = 1013
DATA: Final = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))


def text_frame(text: bytes) -> bytes:
    """A whole unmasked text message (RFC 6455, 5.2); the same bytes for every subscriber."""
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    if size < 65536:
        return struct.pack(">BBH", 0x81, 126, size) + text
    return struct.pack(">BBQ", 0x81, 127, size) + text


TOO_SLOW: Final = Frame(
    Opcode.CLOSE, Close(CLOSE_TOO_SLOW, "more than a mebibyte is unread").serialize()
).serialize(mask=False)


class WebSocketConnection:
    """One connection from its upgrade request to its end."""

    def __init__(
        self, stream: trio.abc.Stream, client: Client, outbox: Outbox, dispatcher: Dispatcher
    ) -> None:
        self._stream = stream
        self._client = client
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._protocol = ServerProtocol(max_size=MESSAGE_BYTES_MAX)
        self._parts: list[bytes] = []
        self._size = 0
        self._has_failed = False
        self._is_over = False
        self._heard = trio.current_time()
        outbox.last_word = TOO_SLOW

    async def run(self, upgrade: bytes) -> None:
        """Serve until the client goes or misbehaves."""
        protocol = self._protocol
        data: bytes | bytearray = upgrade
        while True:
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
            self._outbox.hold()
            await self._hear_all()
            self._flush()
            self._outbox.flush()
            if not data or protocol.state is State.CLOSED or protocol.close_expected():
                return
            if self._outbox.is_full:
                await self._outbox.room()
            data = await receive(self._stream)
            self._heard = trio.current_time()

    async def _hear_all(self) -> None:
        outbox, slice_end = self._outbox, perf_counter() + SLICE_S
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                if event.opcode in DATA and not self._has_failed:
                    if outbox.is_full:
                        await outbox.room()
                    self._hear(event)
                if perf_counter() > slice_end:
                    await trio.lowlevel.checkpoint()
                    slice_end = perf_counter() + SLICE_S
            elif isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))

    async def keep_alive(self) -> None:
        """Ping, and return when the client has been silent for too long."""
        while trio.current_time() - self._heard < SILENCE_S_MAX:
            await trio.sleep(PING_S)
            if self._protocol.state is State.OPEN:
                self._protocol.send_ping(b"")
                self._flush()

    def notify(self, text: bytes) -> None:
        """Push a message that is no answer."""
        if text and not self._is_over:
            self._outbox.push(text_frame(text))

    def say_goodbye(self) -> None:
        """The server stops."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CLOSE_GOING_AWAY, "the node is stopping")
            self._flush()

    def _hear(self, frame: Frame) -> None:
        """A piece of a message; ping, pong and close are answered by the protocol."""
        message = bytes(frame.data)
        if self._parts or not frame.fin:
            self._size += len(message)
            if self._size > MESSAGE_BYTES_MAX:
                self._fail(CLOSE_TOO_BIG, f"more than {MESSAGE_BYTES_MAX} bytes")
                return
            if message or not self._parts:
                self._parts.append(message)
            if not frame.fin:
                return
            message, self._parts, self._size = b"".join(self._parts), [], 0
        if not is_utf8(message):
            self._fail(CLOSE_NOT_UTF8, "not UTF-8")
            return
        self._dispatcher.handle(message, self._client, self._reply)
        if self._client.after_reply:
            after, self._client.after_reply = self._client.after_reply, []
            for function in after:
                function()

    def _fail(self, code: int, reason: str) -> None:
        self._has_failed = True
        self._parts.clear()
        self._protocol.fail(code, reason)

    def _reply(self, text: bytes) -> None:
        if text and not self._is_over:
            self._outbox.push(text_frame(text), asked=True)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._outbox.push(data)
        self._is_over = self._protocol.state is not State.OPEN  # behind a close nothing follows
