"""An execution client over HTTP: JSON-RPC, one connection, bounded answers.

What lives here: the request, the answer, reconnecting. What must never live here: retries of what
may have happened (the caller knows which requests are idempotent), or what methods mean.
"""

import ssl
from itertools import count
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httptools
import msgspec
import trio

from node.exceptions import NodeError
from node.l1.surface import L1_UNREACHABLE, L1Error, check_method

L1_URL: Final = 7723
ANSWER_S: Final = 30
ANSWER_BYTES_MAX: Final = 64 << 20
"""A block's receipts and logs fit many times; a server cannot fill our memory."""
READ_BYTES: Final = 1 << 16


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


class HttpL1:
    """`request` over HTTP or HTTPS. One request at a time; others wait their turn."""

    def __init__(self, url: str) -> None:
        """Raises `NodeError` `L1_URL`; connects with the first request."""
        self._url: Final = _checked(url)
        self._turn: Final = trio.Lock()
        self._ids: Final = count(1)
        self._stream: trio.abc.Stream | None = None

    async def request(self, method: str, *params: Any) -> Any:
        """As `surface.L1.request`. A broken connection raises 7721; it is not known then whether
        the request was carried out."""
        check_method(method)
        number = next(self._ids)
        body = msgspec.json.encode(
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        )
        async with self._turn:
            try:
                with trio.fail_after(ANSWER_S):
                    answer = msgspec.json.decode(await self._post(body))
            except (
                OSError, ValueError, trio.BrokenResourceError, trio.TooSlowError,
                httptools.HttpParserError,
            ) as error:  # fmt: skip
                await self._drop()
                text = f"no answer to {method} from {self._url.netloc}: {error!r}; is it running?"
                raise NodeError(L1_UNREACHABLE, text) from error
            except trio.Cancelled:
                await self._drop()  # half an answer may be in the pipe
                raise
        return _result(answer)

    async def _post(self, body: bytes) -> bytes:
        fresh = self._stream is None
        stream = self._stream = self._stream or await self._connect()
        try:
            return await self._exchange(stream, body)
        except (trio.BrokenResourceError, EOFError):
            # A kept connection that the server closed while it was idle: nothing was read.
            if fresh:
                raise trio.BrokenResourceError("the server closed the connection") from None
            await self._drop()
            stream = self._stream = await self._connect()
            return await self._exchange(stream, body)

    async def _exchange(self, stream: trio.abc.Stream, body: bytes) -> bytes:
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {self._url.netloc.rpartition('@')[2]}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await stream.send_all(head.encode() + body)
        response = _Response()
        while not response.is_whole:
            data = await stream.receive_some(READ_BYTES)
            if not data:
                raise EOFError
            response.parser.feed_data(data)
        if not response.parser.should_keep_alive():
            await self._drop()
        return bytes(response.body)

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


def _result(answer: Any) -> Any:
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise NodeError(L1_UNREACHABLE, "the server does not speak JSON-RPC; is the URL right?")
    error = answer.get("error")
    if error is None:
        return answer["result"]
    data = error.get("data")
    is_hex = isinstance(data, str) and data.startswith("0x") and len(data) % 2 == 0
    raise L1Error(
        int(error.get("code", 0)),
        str(error.get("message", "")),
        bytes.fromhex(data[2:]) if is_hex else b"",
    )
