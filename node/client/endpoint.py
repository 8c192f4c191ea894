"""Where a node is: its URL, and a stream to it.

What lives here: the four schemes, TLS, the time a connection may take. What must never live here:
what is said over it.
"""

import ssl
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import trio

from node.client.exceptions import BAD_URL, UNREACHABLE, ClientError, Unanswered

CONNECT_S_MAX: Final = 10
SCHEMES: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}

BROKEN: Final = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    ssl.SSLError,
    OSError,
)
"""What a connection that is gone looks like."""


class Endpoint(NamedTuple):
    """A node's port. `pushes`: the scheme is a WebSocket's."""

    host: str
    port: int
    secure: bool
    pushes: bool

    @property
    def authority(self) -> str:
        """`host:port` as it stands in a URL and in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def read_endpoint(url: str) -> Endpoint:
    """The endpoint of `http://`, `https://`, `ws://` or `wss://`. Raises `ClientError` 7801."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(url) from error
    if parts.scheme not in SCHEMES or not parts.hostname or parts.path not in ("", "/"):
        raise _bad(url)
    if parts.username is not None or parts.query or parts.fragment:
        raise _bad(url)
    secure, pushes = parts.scheme in ("https", "wss"), parts.scheme in ("ws", "wss")
    return Endpoint(parts.hostname, port or SCHEMES[parts.scheme], secure, pushes)


async def open_stream(endpoint: Endpoint, tls: ssl.SSLContext | None = None) -> trio.abc.Stream:
    """A connection; `tls` replaces the machine's own trust. Raises `Unanswered` 7800."""
    try:
        with trio.fail_after(CONNECT_S_MAX):
            stream: trio.abc.Stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            if not endpoint.secure:
                return stream
            secured = trio.SSLStream(
                stream,
                tls or ssl.create_default_context(),
                server_hostname=endpoint.host,
                https_compatible=True,
            )
            await secured.do_handshake()
            return secured
    except BROKEN as error:
        raise unreachable(endpoint, str(error) or "no connection in time") from error


def unreachable(endpoint: Endpoint, why: str) -> Unanswered:
    text = f"no answer from {endpoint.authority}: {why}; is the node running, is the URL right?"
    return Unanswered(UNREACHABLE, text)


def _bad(url: str) -> ClientError:
    text = f"{url[:200]!r} is no node's URL: give ws://HOST:PORT or http://HOST:PORT (wss, https)"
    return ClientError(BAD_URL, text)
