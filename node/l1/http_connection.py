"""One kept HTTP/1.1 connection to a server of the L1: an execution client, a beacon node.

What lives here: connecting, one exchange at a time, a bounded answer. What must never live here:
what is asked, or retries of what may have happened (the caller knows which requests are
idempotent).
"""

import ssl
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httptools
import trio

from node.exceptions import NodeError
from node.l1.surface import L1_UNREACHABLE

L1_URL: Final = 7723
ANSWER_S: Final = 30
ANSWER_BYTES_MAX: Final = 64 << 20
"""A block's receipts and logs fit many times; a server cannot fill our memory."""
READ_BYTES: Final = 1 << 16

BROKEN: Final = (
    OSError, ValueError, trio.BrokenResourceError, trio.TooSlowError, httptools.HttpParserError,
)  # fmt: skip


class _Response:
    """Collects one HTTP response from httptools' callbacks."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.is_whole = False
        self.parser: Final = httptools.HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > ANSWER_BYTES_MAX:
            raise ValueError(f"an answer longer than {ANSWER_BYTES_MAX} bytes")

    def on_message_complete(self) -> None:
        self.is_whole = True


class HttpConnection:
    """Requests to one server, in turn; connects with the first."""

    def __init__(self, url: str) -> None:
        """Raises `NodeError` `L1_URL`."""
        self._url: Final = _checked(url)
        self._turn: Final = trio.Lock()
        self._stream: trio.abc.Stream | None = None

    @property
    def where(self) -> str:
        """Host and port, for errors."""
        return self._url.netloc.rpartition("@")[2]

    async def post(self, body: bytes, what: str) -> bytes:
        """The body of the answer to JSON posted to the URL itself. `what` stands in errors.

        Raises `NodeError` 7721; it is not known then whether the request was carried out.
        """
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        head = f"POST {target} HTTP/1.1\r\nContent-Type: application/json\r\n"
        return (await self._asked(head, body, what))[1]

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of the answer for `path` behind the URL's. Raises `NodeError` 7721."""
        line = f"GET {self._url.path.rstrip('/')}{path} HTTP/1.1\r\n"
        return await self._asked(f"{line}Accept: application/json\r\n", b"", path)

    async def _asked(self, head: str, body: bytes, what: str) -> tuple[int, bytes]:
        request = f"{head}Host: {self.where}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        async with self._turn:
            try:
                with trio.fail_after(ANSWER_S):
                    return await self._sent(request)
            except BROKEN as error:
                await self._drop()
                text = f"no answer to {what} from {self.where}: {error!r}; is it running?"
                raise NodeError(L1_UNREACHABLE, text) from error
            except trio.Cancelled:
                await self._drop()  # half an answer may be in the pipe
                raise

    async def _sent(self, request: bytes) -> tuple[int, bytes]:
        fresh = self._stream is None
        stream = self._stream = self._stream or await self._connect()
        try:
            return await self._exchange(stream, request)
        except (trio.BrokenResourceError, EOFError):
            # A kept connection that the server closed while it was idle: nothing was read.
            if fresh:
                raise trio.BrokenResourceError("the server closed the connection") from None
            await self._drop()
            stream = self._stream = await self._connect()
            return await self._exchange(stream, request)

    async def _exchange(self, stream: trio.abc.Stream, request: bytes) -> tuple[int, bytes]:
        await stream.send_all(request)
        response = _Response()
        while not response.is_whole:
            data = await stream.receive_some(READ_BYTES)
            if not data:
                raise EOFError
            response.parser.feed_data(data)
        if not response.parser.should_keep_alive():
            await self._drop()
        return response.parser.get_status_code(), bytes(response.body)

    async def _connect(self) -> trio.abc.Stream:
        is_tls = self._url.scheme == "https"
        host = self._url.hostname or ""
        stream = await trio.open_tcp_stream(host, self._url.port or (443 if is_tls else 80))
        if not is_tls:
            return stream
        context = ssl.create_default_context()
        return trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)

    async def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def close(self) -> None:
        """Close the connection; a later request opens another."""
        await self._drop()


def _checked(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        text = f"{url!r} is no L1: write http://HOST:PORT or https://HOST/PATH"
        raise NodeError(L1_URL, text)
    return parts
