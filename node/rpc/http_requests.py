"""From bytes to HTTP/1.1 requests, with the limits that the parser does not have.

What lives here: what one request is, how large each part may be, which status a bad one gets. What
must never live here: a socket, time, or parsing HTTP itself (httptools does).

The parser refuses what is no HTTP, a length beside chunks, two lengths. It has no limit on heads
and does not ask for a `Host`. A head is counted header by header, and what has no end yet read by
read: one read more than the limit may be taken in. Requests behind one that ends the connection
are ignored.
"""

from typing import Final, NamedTuple

import httptools

HEAD_BYTES_MAX: Final = 16 << 10
BODY_BYTES_MAX: Final = 2 << 20


class Refusal(Exception):
    """A request that ends the connection with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status: Final = status


class Request(NamedTuple):
    """One request. `closes`: the connection ends with its answer."""

    method: bytes
    url: bytes
    headers: dict[bytes, bytes]
    body: bytes
    closes: bool

    @property
    def path(self) -> str:
        return self.url.partition(b"?")[0].decode("latin-1")

    @property
    def target(self) -> str:
        """Path and query."""
        return self.url.decode("latin-1")

    def is_json(self) -> bool:
        """JSON, or the plain text that a page may send without asking first."""
        kind = self.headers.get(b"content-type", b"application/json").lower()
        return kind.startswith((b"application/json", b"text/plain"))


class Requests:
    """Feed it what is read. `has_begun` and `in_body` say how far the present request is;
    `expects` is true once if the client waits for leave to send its body."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[Request] = []
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_size = 0
        self._body_size = 0
        self.has_begun = False
        self.in_body = False
        self.expects = False
        self.begun = 0
        """How many requests began so far."""

    def feed(self, data: bytes | bytearray) -> tuple[list[Request], bytes | None]:
        """The requests that end in `data`; and, if a WebSocket is asked for, that request's bytes
        and what follows it. Raises `Refusal` behind the last good one: see `rest`."""
        head = self.begun if self.has_begun and not self.in_body else 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self.rest(), self._upgrade() + bytes(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            raise (cause if isinstance(cause, Refusal) else Refusal(400)) from error
        except httptools.HttpParserError as error:
            if self._done and self._done[-1].closes:
                return self.rest(), None
            raise Refusal(400) from error
        if head == self.begun and not self.in_body and self.has_begun:  # all of it was head
            self._count(len(data))
        return self.rest(), None

    def rest(self) -> list[Request]:
        """The finished requests, once."""
        done, self._done = self._done, []
        return done

    def _upgrade(self) -> bytes:
        """The upgrade request, written again from its parts. Raises `Refusal`."""
        if self._parser.get_method() != b"GET":
            raise Refusal(405)
        if self._headers.get(b"upgrade", b"").lower() != b"websocket":
            raise Refusal(400)
        lines = [b"GET %b HTTP/1.1" % self._url]
        lines += [b"%b: %b" % header for header in self._headers.items()]
        return b"\r\n".join((*lines, b"", b""))

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_BYTES_MAX:
            raise Refusal(431)

    # -- called by the parser -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.has_begun, self.in_body, self.begun = True, False, self.begun + 1
        self._url, self._headers, self._body = b"", {}, []
        self._head_size = self._body_size = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        name = name.lower()
        if name == b"host" and name in self._headers:
            raise Refusal(400)
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        if b"host" not in self._headers:
            raise Refusal(400)
        length = self._headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            raise Refusal(413 if length.isdigit() else 400)
        self.in_body = True
        self.expects = self._headers.get(b"expect", b"").lower() == b"100-continue"

    def on_body(self, piece: bytes) -> None:
        self._body_size += len(piece)
        if self._body_size > BODY_BYTES_MAX:
            raise Refusal(413)
        self._body.append(piece)

    def on_message_complete(self) -> None:
        self.has_begun = self.in_body = self.expects = False
        if self._parser.should_upgrade():
            return
        method, closes = self._parser.get_method(), not self._parser.should_keep_alive()
        body = b"".join(self._body)
        self._done.append(Request(method, self._url, self._headers, body, closes))
