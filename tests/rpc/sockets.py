"""A server on a real socket, and clients that speak bytes to it.

What lives here: starting `RpcServer` with methods that a test names, raw HTTP and WebSocket
clients. What must never live here: an expectation.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from msgspec import Raw
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from node.config import Address
from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher, Later, Method, RpcError
from node.rpc.http import Page, Pages
from node.rpc.server import RpcServer

PATIENCE_S = 20


class Methods:
    """Small methods; `kept` are answers that the test gives later, `clients` who subscribed."""

    def __init__(self) -> None:
        self.kept: list[Later] = []
        self.clients: list[Client] = []
        self.notified: list[object] = []

    def echo(self, params: Raw, client: Client) -> object:
        return Raw(bytes(params) or b"null")

    def later(self, params: Raw, client: Client) -> object:
        self.kept.append(Later())
        return self.kept[-1]

    def broken(self, params: Raw, client: Client) -> object:
        raise ZeroDivisionError("inside")

    def unspeakable(self, params: Raw, client: Client) -> object:
        return object()

    def refused(self, params: Raw, client: Client) -> object:
        raise RpcError(7399, "no", {"why": "because"})

    def large(self, params: Raw, client: Client) -> object:
        return "x" * json.loads(bytes(params))[0]

    def note(self, params: Raw, client: Client) -> object:
        self.notified.append(json.loads(bytes(params)))
        return True

    def listen(self, params: Raw, client: Client) -> object:
        self.clients.append(client)
        return True

    def named(self) -> dict[str, Method]:
        names = "echo later broken unspeakable refused large note listen"
        return {name: getattr(self, name) for name in names.split()}


PAGES: Pages = {"/": lambda: Page(b"text/plain", b"front page")}


@asynccontextmanager
async def serving(
    methods: Mapping[str, Method], tls: ssl.SSLContext | None = None
) -> AsyncIterator[RpcServer]:
    server = RpcServer(Address("127.0.0.1", 0), Dispatcher(methods), PAGES, tls)
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield server
            server.stop()


class RawHttp:
    """One TCP connection; `answer` reads one whole response."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.unread = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def post(self, body: bytes | str, *headers: str, path: str = "/") -> None:
        await self.send(request(body, *headers, path=path))

    async def call(self, body: bytes | str) -> Any:
        await self.post(body)
        return json.loads((await self.answer())[2])

    async def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body. Raises EOFError where the server closed instead."""
        with trio.fail_after(PATIENCE_S):
            while b"\r\n\r\n" not in self.unread:
                await self._more()
            head, _, self.unread = self.unread.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            size = int(headers.get("content-length", 0)) if has_body else 0
            while len(self.unread) < size:
                await self._more()
        body, self.unread = self.unread[:size], self.unread[size:]
        return int(first.split()[1]), headers, body

    async def _more(self) -> None:
        data = await self.stream.receive_some(1 << 20)
        if not data:
            raise EOFError(self.unread)
        self.unread += data

    async def is_closed(self) -> bool:
        """Whether the server ends the connection, without another byte."""
        with trio.fail_after(PATIENCE_S):
            try:
                return not self.unread and not await self.stream.receive_some(1)
            except trio.BrokenResourceError:
                return True


def request(body: bytes | str, *headers: str, path: str = "/") -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"POST {path} HTTP/1.1", "Host: node", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join((*lines, "", "")).encode() + data


def call(method: str, params: object = None, ident: object = 1) -> str:
    value: dict[str, object] = {"jsonrpc": "2.0", "method": method, "id": ident}
    if params is not None:
        value["params"] = params
    return json.dumps(value)


@asynccontextmanager
async def http(server: RpcServer) -> AsyncIterator[RawHttp]:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        yield RawHttp(stream)


class Socket:
    """A WebSocket client on the Sans-IO protocol; frames are sent as they are given."""

    def __init__(self, stream: trio.abc.Stream, port: int) -> None:
        self.stream = stream
        self.protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}/"), max_size=64 << 20)
        self.frames: list[Frame] = []
        self.is_over = False

    async def open(self) -> None:
        self.protocol.send_request(self.protocol.connect())
        await self.flush()
        with trio.fail_after(PATIENCE_S):
            while self.protocol.state.name == "CONNECTING":
                await self.read()
        assert self.protocol.state.name == "OPEN", self.protocol.handshake_exc

    async def flush(self) -> None:
        with suppress(trio.BrokenResourceError):
            for data in self.protocol.data_to_send():
                if data:
                    await self.stream.send_all(data)

    async def read(self) -> None:
        try:
            data = await self.stream.receive_some(1 << 16)
        except trio.BrokenResourceError:
            data = b""
        if data:
            self.protocol.receive_data(data)
        else:
            self.is_over = True
            self.protocol.receive_eof()
        self.frames += [one for one in self.protocol.events_received() if isinstance(one, Frame)]
        await self.flush()

    async def send(self, text: str | bytes) -> None:
        self.protocol.send_text(text.encode() if isinstance(text, str) else text)
        await self.flush()

    async def send_frame(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> None:
        await self.stream.send_all(Frame(opcode, data, fin).serialize(mask=True))

    async def message(self) -> Any:
        """The next message, as JSON."""
        with trio.fail_after(PATIENCE_S):
            while True:
                while self.frames:
                    frame = self.frames.pop(0)
                    if frame.opcode is Opcode.TEXT:
                        return json.loads(bytes(frame.data))
                if self.is_over:
                    raise EOFError(self.protocol.close_code, self.protocol.close_reason)
                await self.read()

    async def call(self, method: str, params: object = None, ident: object = 1) -> Any:
        await self.send(call(method, params, ident))
        return await self.message()

    async def close_code(self) -> int | None:
        """Read to the end; the server's close code."""
        with trio.fail_after(PATIENCE_S):
            while not self.is_over:
                await self.read()
        return self.protocol.close_rcvd.code if self.protocol.close_rcvd else None


@asynccontextmanager
async def socket(server: RpcServer) -> AsyncIterator[Socket]:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        one = Socket(stream, server.port)
        await one.open()
        yield one
