"""The ports: who may connect, how many, how a connection begins and how all of them end.

What lives here: listeners, TLS, limits on connections, stopping. What must never live here: a
request.
"""

import logging
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from node.config import Address
from node.containment import Contained
from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher
from node.rpc.http import HttpConnection, Pages, response
from node.rpc.outbox import Flusher, Outbox
from node.rpc.websocket import WebSocketConnection

CONNECTIONS_MAX: Final = 2000
CONNECTIONS_PER_HOST_MAX: Final = 1200
HANDSHAKE_S_MAX: Final = 10
GRACE_S: Final = 2
DROP_S: Final = 1
LINGER_S: Final = 2
LINGER_BYTES_MAX: Final = 4 << 20
BACKLOG: Final = 1024

GONE: Final = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    ssl.SSLError,
    OSError,
)
"""What a client's going away looks like; nobody's fault."""
log: Final = logging.getLogger(__name__)


class RpcServer:
    """One port. `run` serves until `stop`; `port` is known once it is started."""

    def __init__(
        self,
        address: Address,
        dispatcher: Dispatcher,
        pages: Pages,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address
        self._dispatcher = dispatcher
        self._pages = pages
        self._tls = tls
        self._hosts: Counter[str] = Counter()
        self._sockets: set[WebSocketConnection] = set()
        self._plain: set[HttpConnection] = set()
        self._flusher = Flusher()
        self._accepting = trio.CancelScope()
        self._connections = trio.CancelScope()
        self.port = address.port
        self.dropped = 0
        self.refused = 0
        self.failures = 0
        self.ended: Final = trio.Event()

    @property
    def connections(self) -> int:
        return self._hosts.total()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        host, port = self._address
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        self.port = int(listeners[0].socket.getsockname()[1])
        async with trio.open_nursery() as around:
            around.start_soon(self._flusher.run)
            with self._connections:
                async with trio.open_nursery() as nursery:
                    with self._accepting:
                        task_status.started()
                        await trio.serve_listeners(
                            self._connection, listeners, handler_nursery=nursery
                        )
                    self._connections.deadline = trio.current_time() + GRACE_S
            around.cancel_scope.cancel()
        self.ended.set()

    def stop(self) -> None:
        """Accept nobody, say goodbye to everybody, end within two seconds."""
        self._accepting.cancel()
        for socket in list(self._sockets):
            socket.say_goodbye()
        for plain in list(self._plain):
            plain.finish()

    async def _connection(self, stream: trio.SocketStream) -> None:
        try:
            host = str(stream.socket.getpeername()[0])
        except OSError:  # gone already
            await trio.aclose_forcefully(stream)
            return
        is_full = self.connections >= CONNECTIONS_MAX
        self._hosts[host] += 1
        try:
            if is_full or self._hosts[host] > CONNECTIONS_PER_HOST_MAX:
                self.refused += 1
                with trio.move_on_after(1):
                    await stream.send_all(response(503, b"", closes=True))
                return
            with Contained(self._failed):
                try:
                    await self._serve(await self._secured(stream), host)
                except* GONE:
                    pass
        finally:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _secured(self, stream: trio.SocketStream) -> trio.abc.Stream:
        if self._tls is None:
            return stream
        secured = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        with trio.fail_after(HANDSHAKE_S_MAX):
            await secured.do_handshake()
        return secured

    def _failed(self, error: Exception) -> None:
        """A fault of ours costs one connection, never the server."""
        self.failures += 1
        log.error("a connection failed", exc_info=error)

    async def _serve(self, stream: trio.abc.Stream, host: str) -> None:
        async with trio.open_nursery() as nursery:
            outbox = Outbox(stream, self._dropper(nursery), self._flusher)
            client = Client(host, None)
            written = trio.Event()
            nursery.start_soon(self._write, outbox, stream, written)
            try:
                await self._talk(stream, client, outbox, nursery)
            finally:
                client.close()
            outbox.close()
            await written.wait()
            await _linger(stream)
            nursery.cancel_scope.cancel()

    async def _talk(
        self, stream: trio.abc.Stream, client: Client, outbox: Outbox, nursery: trio.Nursery
    ) -> None:
        """HTTP, and WebSocket if it comes to that, until the connection should end."""
        http = HttpConnection(stream, client, outbox, self._dispatcher, self._pages)
        self._plain.add(http)
        try:
            upgrade = await http.run()
        finally:
            self._plain.discard(http)
        if upgrade is None:
            return
        socket = WebSocketConnection(stream, client, outbox, self._dispatcher)
        client.notify = socket.notify
        self._sockets.add(socket)
        nursery.start_soon(self._watch, socket, nursery)
        try:
            await socket.run(upgrade)
        finally:
            self._sockets.discard(socket)

    def _dropper(self, nursery: trio.Nursery) -> Callable[[], None]:
        def drop() -> None:
            self.dropped += 1
            nursery.cancel_scope.deadline = trio.current_time() + DROP_S

        return drop

    async def _write(self, outbox: Outbox, stream: trio.abc.Stream, written: trio.Event) -> None:
        try:
            await outbox.run()
        except trio.TooSlowError:
            self.dropped += 1
            raise
        if isinstance(stream, trio.SocketStream):
            await stream.send_eof()
        written.set()

    async def _watch(self, socket: WebSocketConnection, nursery: trio.Nursery) -> None:
        await socket.keep_alive()
        nursery.cancel_scope.cancel()


async def _linger(stream: trio.abc.Stream) -> None:
    """Read on for a moment: to close over unread bytes resets the connection, and takes the last
    answer away from who has not read it yet."""
    read = 0
    with trio.move_on_after(LINGER_S):
        while read < LINGER_BYTES_MAX:
            data = await stream.receive_some(1 << 16)
            if not data:
                return
            read += len(data)


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """A server's context for PEM files; raises what `ssl` raises for files that do not fit."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
