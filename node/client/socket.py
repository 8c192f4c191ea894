"""One WebSocket connection from a client's side, on the Sans-IO protocol of `websockets`.

What lives here: the handshake, whole messages in and out, liveness. What must never live here:
JSON, or what happens after the connection is gone.

Everything that waits to be sent goes out in one write. A node that is silent for 40 s, pongs
included, is taken for gone: a cable that was pulled tells nobody.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from node.client.endpoint import BROKEN, CONNECT_S_MAX, Endpoint, open_stream, unreachable

MESSAGE_BYTES_MAX: Final = 64 << 20
PING_S: Final = 15
SILENCE_S_MAX: Final = 40
READ_BYTES: Final = 1 << 16


class Socket:
    """An open connection. `run` in a nursery; `messages` until it ends; `send` never waits."""

    def __init__(self, endpoint: Endpoint, stream: trio.abc.Stream) -> None:
        self._endpoint = endpoint
        self._stream = stream
        scheme = "wss" if endpoint.secure else "ws"
        uri = parse_uri(f"{scheme}://{endpoint.authority}/")
        self._protocol = ClientProtocol(uri, max_size=MESSAGE_BYTES_MAX)
        self._waiting: list[bytes] = []
        self._news = trio.Event()
        self._parts: list[bytes] = []
        self._heard = trio.current_time()

    def send(self, text: bytes) -> None:
        """Queue one message."""
        self._protocol.send_text(text)
        self._flush()

    async def shake_hands(self) -> None:
        """Become a WebSocket. Raises `Unanswered` 7800 if the other side will not."""
        try:
            with trio.fail_after(CONNECT_S_MAX):
                self._protocol.send_request(self._protocol.connect())
                while self._protocol.state is State.CONNECTING:
                    self._flush()
                    await self._write()
                    self._protocol.receive_data(bytes(await self._read()))
                    if self._protocol.handshake_exc is not None:
                        why = f"it is no WebSocket server ({self._protocol.handshake_exc})"
                        raise unreachable(self._endpoint, why)
        except BROKEN as error:
            raise unreachable(self._endpoint, str(error) or "no handshake in time") from error

    async def messages(self) -> AsyncIterator[bytes]:
        """Whole messages, until the connection ends, for whatever reason."""
        while True:
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode in (
                    Opcode.TEXT,
                    Opcode.BINARY,
                    Opcode.CONT,
                ):
                    self._parts.append(bytes(event.data))
                    if sum(map(len, self._parts)) > MESSAGE_BYTES_MAX:
                        return
                    if event.fin:
                        message, self._parts = b"".join(self._parts), []
                        yield message
            self._flush()
            if self._protocol.state is State.CLOSED or self._protocol.close_expected():
                return
            try:
                self._protocol.receive_data(bytes(await self._read()))
            except BROKEN:
                return
            self._heard = trio.current_time()

    async def run(self) -> None:
        """Send what is queued, ping; returns when the connection is gone or silent."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive, nursery.cancel_scope)
            while True:
                try:
                    await self._write()
                except BROKEN:
                    nursery.cancel_scope.cancel()
                    return
                self._news = trio.Event()
                await self._news.wait()

    async def close(self) -> None:
        """Say goodbye if that takes no time, and let go."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        with trio.move_on_after(1, shield=True):
            with suppress(*BROKEN):
                await self._write()
        await trio.aclose_forcefully(self._stream)

    async def _keep_alive(self, scope: trio.CancelScope) -> None:
        while trio.current_time() - self._heard < SILENCE_S_MAX:
            await trio.sleep(PING_S)
            if self._protocol.state is State.OPEN:
                self._protocol.send_ping(b"")
                self._flush()
        scope.cancel()

    def _flush(self) -> None:
        self._waiting += self._protocol.data_to_send()
        self._news.set()

    async def _write(self) -> None:
        while self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            if data:
                await self._stream.send_all(data)

    async def _read(self) -> bytes | bytearray:
        data = await self._stream.receive_some(READ_BYTES)
        if not data:
            raise trio.BrokenResourceError("the node closed the connection")
        return data


async def open_socket(endpoint: Endpoint, tls: ssl.SSLContext | None = None) -> Socket:
    """A connection that has shaken hands. Raises `Unanswered` 7800."""
    stream = await open_stream(endpoint, tls)
    socket = Socket(endpoint, stream)
    try:
        await socket.shake_hands()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return socket
