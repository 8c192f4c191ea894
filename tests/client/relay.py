"""A TCP relay between client and node whose connections a test can cut at any byte.

What lives here: bytes passed on, cuts. What must never live here: an expectation.
"""

from dataclasses import dataclass, field

import trio

READ_BYTES = 1 << 16


@dataclass
class Relay:
    """`cut` breaks every connection now; while `deaf`, answers are swallowed."""

    to_port: int
    port: int = 0
    deaf: bool = False
    closed: bool = False
    connections: int = 0
    _scopes: list[trio.CancelScope] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def cut(self) -> None:
        for scope in self._scopes:
            scope.cancel()
        self._scopes.clear()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, near: trio.SocketStream) -> None:
        if self.closed:
            return
        self.connections += 1
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self.to_port)
        except OSError:
            return
        async with near, far:
            with trio.CancelScope() as scope:
                self._scopes.append(scope)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass, near, far, False, scope)
                    nursery.start_soon(self._pass, far, near, True, scope)

    async def _pass(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        answers: bool,
        scope: trio.CancelScope,
    ) -> None:
        try:
            while data := await source.receive_some(READ_BYTES):
                if not (answers and self.deaf):
                    await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()
