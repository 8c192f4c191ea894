"""The HTTP client answers as the embedded L1 behind the same server does, and survives bad ones."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from l1_wallets import address, hexed, new_l1

from node.exceptions import NodeError
from node.l1.http import HttpL1
from node.l1.http_connection import L1_URL
from node.l1.surface import L1_METHOD, L1_UNREACHABLE, L1Error

Answer = Callable[[bytes], bytes | None]


async def _serve(answer: Answer, is_kept: bool, stream: trio.SocketStream) -> None:
    waiting = b""
    while data := await stream.receive_some():
        waiting += data
        head, found, body = waiting.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0")
        if not found or len(body) < length:
            continue
        waiting = body[length:]
        reply = answer(body[:length])
        if reply is None:
            break
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
        if not is_kept:
            break
    await stream.aclose()


@asynccontextmanager
async def client(answer: Answer, *, is_kept: bool = True) -> AsyncIterator[HttpL1]:
    async with trio.open_nursery() as nursery:
        serve = partial(_serve, answer, is_kept)
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        l1 = HttpL1(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        yield l1
        await l1.close()
        nursery.cancel_scope.cancel()


def embedded() -> Answer:
    l1 = new_l1()

    def answer(body: bytes) -> bytes:
        asked = json.loads(body)
        out = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            out["result"] = l1.answer(asked["method"], *asked["params"])
        except L1Error as error:
            out["error"] = {"code": error.code, "message": error.message, "data": "0x0a"}
        return json.dumps(out).encode()

    return answer


@pytest.mark.parametrize("is_kept", [True, False])
async def test_the_client_says_what_the_server_says(is_kept: bool) -> None:
    async with client(embedded(), is_kept=is_kept) as l1:
        twin = new_l1()
        for method, *params in (
            ("eth_chainId",),
            ("eth_getBlockByNumber", "latest", True),
            ("eth_getBalance", hexed(address("operator")), "latest"),
        ):
            assert await l1.request(method, *params) == twin.answer(method, *params)
        with pytest.raises(L1Error) as caught:
            await l1.request("eth_sendRawTransaction", "0x03")
        assert (caught.value.code, caught.value.data) == (-32000, b"\n")


async def test_many_callers_get_their_own_answers() -> None:
    answers = []

    async def ask(l1: HttpL1, method: str) -> None:
        answers.append((method, await l1.request(method)))

    async with client(embedded()) as l1, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask, l1, "eth_chainId")
            nursery.start_soon(ask, l1, "eth_blockNumber")
    assert sorted(set(answers)) == [("eth_blockNumber", "0x0"), ("eth_chainId", "0x539")]


@pytest.mark.parametrize("reply", [b"not JSON", b"[]", b"{}", None])
async def test_a_server_that_does_not_speak_json_rpc_is_named(reply: bytes | None) -> None:
    async with client(lambda _: reply) as l1:
        with pytest.raises(NodeError) as caught:
            await l1.request("eth_chainId")
        assert caught.value.number == L1_UNREACHABLE


async def test_a_caller_that_gives_up_does_not_leave_its_answer_to_the_next() -> None:
    asked: list[bytes] = []

    def slow(body: bytes) -> bytes:
        asked.append(body)
        number = json.loads(body)["id"]
        return json.dumps({"jsonrpc": "2.0", "id": number, "result": number}).encode()

    async with client(slow) as l1:
        with trio.CancelScope() as scope:
            scope.cancel()
            await l1.request("eth_chainId")
        assert await l1.request("eth_chainId") == 2


async def test_nobody_listening_and_urls_that_are_none_are_errors_with_numbers() -> None:
    with pytest.raises(NodeError) as caught:
        await HttpL1("http://127.0.0.1:1").request("eth_chainId")
    assert caught.value.number == L1_UNREACHABLE
    with pytest.raises(NodeError) as caught:
        await HttpL1("http://127.0.0.1:1").request("anvil_mine")
    assert caught.value.number == L1_METHOD
    for url in ("127.0.0.1:8545", "ws://127.0.0.1", "http://"):
        with pytest.raises(NodeError) as caught:
            HttpL1(url)
        assert caught.value.number == L1_URL
