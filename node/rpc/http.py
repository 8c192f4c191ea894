"""HTTP/1.1 as far as wallets and scrapers need it: POST of JSON-RPC, a few GETs, CORS.

What lives here: one connection's requests in order, their deadlines, their answers, and the
hand-over to WebSocket. What must never live here: parsing (`http_requests.py`), or JSON.

Limits. Head 16 KiB, body 2 MiB; 5 s for a head, 10 s for a body, from their first byte to their
last; 75 s of silence between requests. Answers are in the order of the requests; of pipelined
requests at most 64 wait. CORS is open to every origin: commands authenticate themselves and there
are no cookies, so a page of another origin can do nothing in a person's name.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Final, NamedTuple

import trio

from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher
from node.rpc.http_requests import Refusal, Request, Requests
from node.rpc.outbox import Outbox
from node.rpc.plain_socket import receive

HEAD_S_MAX: Final = 5
BODY_S_MAX: Final = 10
IDLE_S_MAX: Final = 75
ANSWER_S_MAX: Final = 30
REQUESTS_WAITING_MAX: Final = 64
SLICE_S: Final = 0.005

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
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Page(NamedTuple):
    """What a GET gives."""

    content_type: bytes
    body: bytes
    status: int = 200


Pages = Mapping[str, Callable[[], Page]]
"""By path and query, for a mapping that reads queries; else by path."""


def response(
    status: int, body: bytes, content_type: bytes = JSON, *, closes: bool, is_head: bool = False
) -> bytes:
    """A whole response; to HEAD without its body."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS[status])]
    if status != 204:
        lines.append(b"Content-Type: %b\r\nContent-Length: %d\r\n" % (content_type, len(body)))
    if status == 405:
        lines.append(b"Allow: GET, HEAD, OPTIONS, POST\r\n")
    if closes:
        lines.append(b"Connection: close\r\n")
    return b"".join((*lines, CORS, b"\r\n", b"" if is_head else body))


class Slot:
    """The place of one answer among those of earlier requests."""

    __slots__ = ("answer",)

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer


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
        self._requests = Requests()
        self._slots: deque[Slot] = deque()
        self._sent = trio.Event()
        self._is_ending = False
        self._is_waiting = False
        self._reading = trio.CancelScope()

    async def run(self) -> bytes | None:
        """Serve; what the client sent from its upgrade request on, if it wants a WebSocket."""
        upgrade = await self._read()
        with trio.move_on_after(ANSWER_S_MAX):
            while self._slots:
                await self._answered()
            return upgrade
        return None

    def finish(self) -> None:
        """Take no more requests; the answers that are due still go out."""
        self._is_ending = True
        if self._is_waiting and not self._requests.has_begun:
            self._reading.cancel()

    async def _read(self) -> bytes | None:
        """Serve what is read; the deadline of the one scope is moved, because scopes are dear."""
        requests, phase, deadline = self._requests, (0, True), trio.current_time() + HEAD_S_MAX
        with self._reading:
            while not self._is_ending:
                self._reading.deadline, self._is_waiting = deadline, True
                data = await receive(self._stream)
                self._reading.deadline, self._is_waiting = math.inf, False
                if not data:
                    return None
                self._outbox.hold()
                goes_on, upgrade = await self._take(data)
                self._outbox.flush()
                if not goes_on:
                    return upgrade
                before = trio.current_time()
                if self._outbox.is_full:
                    await self._outbox.room()
                while len(self._slots) > REQUESTS_WAITING_MAX:
                    await self._answered()
                now = trio.current_time()
                if phase == (requests.begun, requests.in_body) and requests.has_begun:
                    deadline += now - before  # it is we who held it up
                else:
                    phase, deadline = (requests.begun, requests.in_body), now + self._patience()
        if requests.has_begun and not self._is_ending:
            self._refuse(408)
        return None

    async def _take(self, data: bytes | bytearray) -> tuple[bool, bytes | None]:
        """Serve the requests that end in `data`: whether to read on, and what an upgrade sent."""
        requests = self._requests
        try:
            done, upgrade = requests.feed(data)
        except Refusal as refusal:
            await self._serve_all(requests.rest())
            self._refuse(refusal.status)
            return False, None
        await self._serve_all(done)
        if requests.expects:
            requests.expects = False
            self._outbox.push(CONTINUE)
        return upgrade is None, upgrade

    def _patience(self) -> float:
        if not self._requests.has_begun:
            return IDLE_S_MAX
        return BODY_S_MAX if self._requests.in_body else HEAD_S_MAX

    # -- answers ------------------------------------------------------------------------------

    async def _serve_all(self, requests: list[Request]) -> None:
        """Serve in order; the loop gets its turn every 5 ms."""
        slice_end = perf_counter() + SLICE_S
        for request in requests:
            if self._outbox.is_full:
                await self._outbox.room()
            self._serve(request)
            if request.closes:
                self._is_ending = True
                return
            if perf_counter() > slice_end:
                await trio.lowlevel.checkpoint()
                slice_end = perf_counter() + SLICE_S

    def _serve(self, request: Request) -> None:
        slot = Slot()
        self._slots.append(slot)
        if request.method == b"OPTIONS":
            self._answer(slot, request, 204)
        elif request.method == b"POST" and request.path == "/":
            if not request.is_json():
                self._answer(slot, request, 415)
                return
            self._dispatcher.handle(
                request.body,
                self._client,
                lambda text: self._answer(slot, request, 200 if text else 204, text),
            )
        else:
            self._serve_page(slot, request)

    def _serve_page(self, slot: Slot, request: Request) -> None:
        page = self._pages.get(request.target) or self._pages.get(request.path)
        if page is None and request.path != "/":
            self._answer(slot, request, 404, b"not found\n", b"text/plain")
        elif page is not None and request.method in (b"GET", b"HEAD"):
            made = page()
            self._answer(slot, request, made.status, made.body, made.content_type)
        else:
            self._answer(slot, request, 405)

    def _answer(
        self, slot: Slot, request: Request, status: int, body: bytes = b"", kind: bytes = JSON
    ) -> None:
        is_head = request.method == b"HEAD"
        slot.answer = response(status, body, kind, closes=request.closes, is_head=is_head)
        self._send_ready()

    def _refuse(self, status: int) -> None:
        """The last answer, behind those of earlier requests."""
        self._is_ending = True
        self._slots.append(Slot(response(status, b"", closes=True)))
        self._send_ready()

    def _send_ready(self) -> None:
        """Send what is complete from the front."""
        while self._slots and self._slots[0].answer is not None:
            self._outbox.push(self._slots.popleft().answer or b"", asked=True)
        self._sent.set()

    async def _answered(self) -> None:
        """Return when an answer has left."""
        self._sent = trio.Event()
        await self._sent.wait()
