"""One WebSocket to a node: calls go out in their order, answers come when they come.

What lives here: JSON-RPC from the asking side, pipelined. What must never live here: reconnecting,
resuming, waiting for a better time: whoever measures a node must see each of its faults.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import msgspec
import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from node.exceptions import NodeError

CALL_FAILED: Final = 7111
GONE: Final = 7112

ANSWER_BYTES_MAX: Final = 16 << 20
READ_BYTES: Final = 1 << 17


class Fault(msgspec.Struct):
    code: int
    message: str


class Answer(msgspec.Struct):
    """What comes back. Notifications have no id."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: Fault | None = None


Done: TypeAlias = Callable[[Answer], None]
_answers: Final = msgspec.json.Decoder(Answer)


class Connection:
    """Made by `connected`. `post` from anywhere on the loop."""

    def __init__(self, url: str, stream: trio.SocketStream) -> None:
        self.url: Final = url
        self._stream = stream
        self._protocol = ClientProtocol(parse_uri(url), max_size=ANSWER_BYTES_MAX)
        self._calls = 0
        self._waiting: dict[int, Done] = {}
        self._out: list[bytes] = []
        self._news = trio.Event()
        self._parts: list[bytes] = []

    def post(self, method: str, params: bytes, done: Done) -> None:
        """Send a call with these JSON parameters; `done` gets the answer."""
        if self._protocol.state is not State.OPEN:
            raise self._gone()
        self._calls += 1
        self._waiting[self._calls] = done
        text = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}'
        self._protocol.send_text(text % (self._calls, method.encode("ascii"), params))
        self._flush()

    async def call(self, method: str, **params: object) -> Any:
        """One call and its result. Raises `NodeError` 7111 with what the node answered."""
        found: list[Answer] = []
        arrived = trio.Event()

        def done(answer: Answer) -> None:
            found.append(answer)
            arrived.set()

        self.post(method, msgspec.json.encode(params), done)
        await arrived.wait()
        return msgspec.json.decode(result_of(found[0], method, self.url))

    def _flush(self) -> None:
        self._out += [data for data in self._protocol.data_to_send() if data]
        self._news.set()

    async def _write(self) -> None:
        while True:
            data, self._out = b"".join(self._out), []
            if data:
                await self._stream.send_all(data)
                continue
            self._news = trio.Event()
            await self._news.wait()

    async def _read(self, task_status: trio.TaskStatus[None]) -> None:
        """Until the connection ends. Raises `NodeError` 7112 then."""
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while self._protocol.state is not State.CLOSED:
            try:
                data = bytes(await self._stream.receive_some(READ_BYTES))
            except trio.BrokenResourceError:
                data = b""
            was_connecting = self._protocol.state is State.CONNECTING
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._hear(event)
            if was_connecting and self._protocol.state is State.OPEN:
                task_status.started()
            self._flush()
            if not data:
                break
        raise self._gone()

    def _gone(self) -> NodeError:
        said = self._protocol.close_reason or "nothing said"
        text = f"{self.url} closed the connection ({self._protocol.close_code}, {said})"
        return NodeError(GONE, f"{text}; the node's log may say why")

    def _hear(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.CONT):
            return
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return
        message, self._parts = b"".join(self._parts), []
        answer = _answers.decode(message)
        done = self._waiting.pop(answer.id, None) if answer.id is not None else None
        if done is not None:
            done(answer)


def result_of(answer: Answer, method: str, url: str) -> msgspec.Raw:
    """The result's JSON. Raises `NodeError` 7111 for an error."""
    if answer.error is not None:
        text = f"{url} refused {method}: {answer.error.code} {answer.error.message}"
        raise NodeError(CALL_FAILED, text, code=answer.error.code)
    return answer.result


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection to the node at this port of 127.0.0.1, for as long as the context lasts."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    connection = Connection(f"ws://127.0.0.1:{port}", stream)
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(connection._write)
        await nursery.start(connection._read)
        yield connection
        nursery.cancel_scope.cancel()
