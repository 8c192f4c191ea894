"""Calls over HTTP/1.1: one connection, one call at a time, opened again when it is gone.

What lives here: requests, answers, deadlines. What must never live here: parsing HTTP (httptools
does), or a second try: whether a call may be repeated is the caller's knowledge.
"""

import select
import ssl
from typing import Final

import httptools
import trio

from node.client.calls import Reply, bad_answer, read_reply, request
from node.client.endpoint import BROKEN, Endpoint, open_stream, unreachable

ANSWER_S_MAX: Final = 35
"""The node gives up on an answer after 30 s."""
ANSWER_BYTES_MAX: Final = 64 << 20
READ_BYTES: Final = 1 << 16


class _Response:
    """What httptools tells of one answer."""

    def __init__(self) -> None:
        self.parser: Final = httptools.HttpResponseParser(self)
        self.body = bytearray()
        self.is_complete = False
        self.keeps_alive = False

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.keeps_alive = self.parser.should_keep_alive()  # afterwards it has forgotten


class HttpLink:
    """Calls to one endpoint, in turn. Answers that do not come in `answer_s` are `Unanswered`."""

    def __init__(
        self, endpoint: Endpoint, tls: ssl.SSLContext | None = None, answer_s: float = ANSWER_S_MAX
    ) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._answer_s = answer_s
        self._stream: trio.abc.Stream | None = None
        self._turn = trio.Lock()
        self._number = 0

    async def call(self, method: str, params: object) -> Reply:
        """One call's answer. Raises `Unanswered` 7800, `ClientError` 7802."""
        async with self._turn:
            self._number += 1
            body = request(self._number, method, params)
            try:
                with trio.fail_after(self._answer_s):
                    text = await self._exchange(body)
            except BROKEN as error:
                await self._close()
                raise unreachable(self._endpoint, str(error) or "it took too long") from error
            except BaseException:
                await self._close()
                raise
            return read_reply(text)

    async def aclose(self) -> None:
        await self._close()

    async def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _exchange(self, body: bytes) -> bytes:
        """Send, and read the answer. An idle connection that the node has closed is replaced first;
        one that breaks between request and answer is the caller's to judge."""
        if self._stream is not None and self._is_closed(self._stream):
            await self._close()
        if self._stream is None:
            self._stream = await open_stream(self._endpoint, self._tls)
        head = (
            f"POST / HTTP/1.1\r\nHost: {self._endpoint.authority}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await self._stream.send_all(head.encode("ascii") + body)
        return await self._answer(self._stream)

    def _is_closed(self, stream: trio.abc.Stream) -> bool:
        """Whether an idle connection has anything to read, which can only be its end."""
        plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        assert isinstance(plain, trio.SocketStream), "open_stream makes no other"
        readable = select.poll()
        readable.register(plain.socket.fileno(), select.POLLIN)
        return bool(readable.poll(0))

    async def _answer(self, stream: trio.abc.Stream) -> bytes:
        response = _Response()
        while not response.is_complete:
            data = await stream.receive_some(READ_BYTES)
            if not data:
                raise trio.BrokenResourceError("the node closed the connection")
            try:
                response.parser.feed_data(bytes(data))
            except httptools.HttpParserError as error:
                raise bad_answer(f"no HTTP answer came ({error})") from error
            if len(response.body) > ANSWER_BYTES_MAX:
                raise bad_answer(f"an answer of more than {ANSWER_BYTES_MAX} bytes came")
        status = response.parser.get_status_code()
        if status != 200:
            raise bad_answer(f"HTTP status {status} came")
        if not response.keeps_alive:
            await self._close()
        return bytes(response.body)
