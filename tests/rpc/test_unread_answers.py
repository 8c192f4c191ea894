"""Who asks for much in one read and does not read its answers is answered no further."""

import pytest
import trio
import trio.testing
from websockets.frames import Frame, Opcode

from node.bench.rpc_load import UPGRADE
from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher
from node.rpc.http import HttpConnection
from node.rpc.outbox import UNREAD_BYTES_MAX, Flusher, Outbox
from node.rpc.websocket import WebSocketConnection

CALLS = 500
ANSWER_BYTES = 40_000
CALL = b'{"jsonrpc":"2.0","id":1,"method":"much"}'
POST = b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: %d\r\n\r\n" % len(CALL) + CALL
FRAME = Frame(Opcode.TEXT, CALL).serialize(mask=True)


@pytest.mark.parametrize("protocol", ["http", "websocket"])
async def test_calls_wait_while_half_a_mebibyte_of_answers_is_unread(protocol: str) -> None:
    called: list[None] = []

    def much(params: object, client: object) -> str:
        called.append(None)
        return "x" * ANSWER_BYTES

    ours, theirs = trio.testing.lockstep_stream_pair()
    outbox = Outbox(ours, lambda: pytest.fail("nobody is to be dropped"), Flusher())
    client, dispatcher = Client("nobody", None), Dispatcher({"much": much})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run)
        if protocol == "http":
            http = HttpConnection(ours, client, outbox, dispatcher, {})
            nursery.start_soon(http.run)
            nursery.start_soon(theirs.send_all, POST * CALLS)
        else:
            socket = WebSocketConnection(ours, client, outbox, dispatcher)
            nursery.start_soon(socket.run, UPGRADE + FRAME * CALLS)
        await trio.testing.wait_all_tasks_blocked()
        assert 0 < len(called) <= UNREAD_BYTES_MAX // 2 // ANSWER_BYTES + 2

        read = 0
        while read < CALLS * ANSWER_BYTES:  # who reads gets all of them
            read += len(await theirs.receive_some(1 << 20))
        assert len(called) == CALLS
        nursery.cancel_scope.cancel()
