"""HTTP/1.1 as far as wallets and scrapers need it: POST of JSON-RPC, a few GETs, CORS.

What lives here: one connection's requests, their limits and deadlines, and the hand-over to
WebSocket. What must never live here: parsing HTTP (httptools does), or JSON.

Limits. Head 16 KiB, body 2 MiB; 5 s for a head, 10 s for a body, 75 s of silence between requests.
Answers are in the order of the requests; of pipelined requests at most 64 wait. `Host` is
required. CORS is open to every origin: commands authenticate themselves and there are no cookies,
so a page of another origin can do nothing in a person's name.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import httptools
import trio

from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher
from node.rpc.outbox import Outbox

HEAD_BYTES_MAX: Final = 16 << 10
BODY_BYTES_MAX: Final = 2 << 20
HEAD_S_MAX: Final = 5
BODY_S_MAX: Final = 10
IDLE_S_MAX: Final = 75
ANSWER_S_MAX: Final = 30
REQUESTS_WAITING_MAX: Final = 64
DRAIN_BYTES_MAX: Final = 4 << 20
READ_BYTES: Final = 1 << 16

CORS: Final = (
    b"Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: content-type\r\nAccess-Control-Max-Age: 86400\r\n"
)
REASONS: Final = {
    200: b"OK",
    204: b"No Content",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}
JSON: Final = b"application/json"


class Page(NamedTuple):
    """What a GET gives."""

    content_type: bytes
    body: bytes
    status: int = 200


Pages = Mapping[str, Callable[[], Page]]


class Refusal(Exception):
    """A request that ends the connection with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status: Final = status


def response(status: int, body: bytes, content_type: bytes = JSON, *, closes: bool) -> bytes:
    length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
    closing = b"Connection: close\r\n" if closes else b""
    head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\n" % (status, REASONS[status], content_type)
    return b"".join((head, length, CORS, closing, b"\r\n", body))


class Slot:
    """The place of one answer among those of earlier requests."""

    __slots__ = ("answer", "closes")

    def __init__(self, closes: bool) -> None:
        self.answer: bytes | None = None
        self.closes = closes


class HttpConnection:
    """One connection until it ends or becomes a WebSocket."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        client: Client,
        outbox: Outbox,
        dispatcher: Dispatcher,
        pages: Pages,
    ) -> None:
        self._stream = stream
        self._client = client
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._pages = pages
        self._parser = httptools.HttpRequestParser(self)
        self._slots: deque[Slot] = deque()
        self._room = trio.Event()
        self._raw = bytearray()  # of the head being read, for an upgrade
        self._in_body = False
        self._in_message = False
        self._ending = False
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0

    async def run(self) -> bytes | None:
        """Serve; the bytes of the upgrade request if the client wants a WebSocket."""
        upgrade = await self._read()
        with trio.move_on_after(ANSWER_S_MAX):
            while self._slots:
                await self._answered()
        return upgrade

    async def _answered(self) -> None:
        """Return when an answer has left."""
        self._room = trio.Event()
        await self._room.wait()

    async def _read(self) -> bytes | None:
        deadline = trio.current_time() + HEAD_S_MAX
        while not self._ending:
            with trio.move_on_at(deadline) as scope:
                data = await self._stream.receive_some(READ_BYTES)
            if scope.cancelled_caught:
                if self._in_message:
                    await self._refuse(408)
                return None
            if not data:
                return None
            try:
                upgrade = self._feed(bytes(data))
            except Refusal as refusal:
                await self._refuse(refusal.status)
                return None
            if upgrade is not None:
                return upgrade
            await self._outbox.room()
            while len(self._slots) > REQUESTS_WAITING_MAX:
                await self._answered()
            wait = BODY_S_MAX if self._in_body else HEAD_S_MAX if self._in_message else IDLE_S_MAX
            deadline = trio.current_time() + wait
        return None

    def _feed(self, data: bytes) -> bytes | None:
        """Parse a piece; the upgrade request's bytes if it ends one."""
        if not self._in_body:
            self._raw += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return bytes(self._raw)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            raise (cause if isinstance(cause, Refusal) else Refusal(400)) from error
        except httptools.HttpParserError as error:
            raise Refusal(400) from error
        if self._in_message and not self._in_body and len(self._raw) > HEAD_BYTES_MAX:
            raise Refusal(431)
        return None

    # -- called by the parser -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_message, self._in_body = True, False
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > HEAD_BYTES_MAX:
            raise Refusal(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if b"host" not in self._headers:
            raise Refusal(400)
        length = self._headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            raise Refusal(413 if length.isdigit() else 400)
        self._in_body = True
        if not self._parser.should_upgrade():
            self._raw.clear()
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._outbox.push(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > BODY_BYTES_MAX:
            raise Refusal(413)
        self._body.append(piece)

    def on_message_complete(self) -> None:
        self._in_message = self._in_body = False
        if self._parser.should_upgrade():
            return
        slot = Slot(closes=not self._parser.should_keep_alive())
        self._ending = slot.closes
        self._slots.append(slot)
        self._serve(self._parser.get_method(), slot)

    # -- answers ------------------------------------------------------------------------------

    def _serve(self, method: bytes, slot: Slot) -> None:
        path = self._url.partition(b"?")[0].decode("latin-1")
        if method == b"OPTIONS":
            self._answer(slot, 204, b"")
        elif method == b"POST" and path == "/":
            kind = self._headers.get(b"content-type", JSON).lower()
            if not kind.startswith((JSON, b"text/plain")):
                self._answer(slot, 415, b"")
                return
            message = b"".join(self._body)
            self._dispatcher.handle(message, self._client, lambda text: self._rpc(slot, text))
        elif method in (b"GET", b"HEAD"):
            make = self._pages.get(path)
            page = make() if make else Page(b"text/plain", b"not found\n", 404)
            body = page.body if method == b"GET" else b""
            self._answer(slot, page.status, body, page.content_type)
        else:
            self._answer(slot, 405, b"")

    def _rpc(self, slot: Slot, text: bytes) -> None:
        self._answer(slot, 200 if text else 204, text)

    def _answer(
        self, slot: Slot, status: int, body: bytes, content_type: bytes = JSON
    ) -> None:
        """Fill the slot, then send what is complete from the front."""
        slot.answer = response(status, body, content_type, closes=slot.closes)
        while self._slots and self._slots[0].answer is not None:
            self._outbox.push(self._slots[0].answer)
            if self._slots.popleft().closes:
                self._outbox.close()
        self._room.set()

    async def _refuse(self, status: int) -> None:
        """Answer, then read on for a moment: a reset would take the answer away unread."""
        self._outbox.push(response(status, b"", closes=True))
        self._outbox.close()
        read = 0
        with trio.move_on_after(2):
            while read < DRAIN_BYTES_MAX:
                data = await self._stream.receive_some(READ_BYTES)
                if not data:
                    return
                read += len(data)


