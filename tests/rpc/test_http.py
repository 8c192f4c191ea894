"""HTTP as wallets, scrapers and abusers use it: every limit, on real sockets."""

import json
from collections.abc import Callable

import pytest
import trio
import trio.testing
from sockets import Methods, RawHttp, call, http, request, serving

from node.rpc import http as http_module
from node.rpc import http_requests, server
from node.rpc.plain_socket import READ_BYTES

METHODS = Methods().named()


async def test_a_call_is_answered_and_the_connection_stays() -> None:
    async with serving(METHODS) as on, http(on) as client:
        for n in range(3):
            answer = await client.call(call("echo", [n], n))
            assert answer == {"jsonrpc": "2.0", "id": n, "result": [n]}


async def test_a_body_of_200_mb_is_refused_without_being_kept() -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 209715200\r\n\r\n")
        sent = 0
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(200):
                await client.send(bytes(1 << 20))
                sent += 1
        assert sent < 30
        status, _, _ = await client.answer()
        assert status == 413


async def test_a_chunked_body_is_counted_while_it_comes() -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(http_requests.BODY_BYTES_MAX // 0x10000 + 1):
            await client.send(piece)
        assert (await client.answer())[0] == 413
        assert await client.is_closed()


async def test_the_largest_body_is_taken() -> None:
    async with serving(METHODS) as on, http(on) as client:
        text = call("note", ["x"])
        await client.post(text + " " * (http_requests.BODY_BYTES_MAX - len(text)))
        assert (await client.answer())[0] == 200
        await client.post(text + " " * (http_requests.BODY_BYTES_MAX - len(text) + 1))
        assert (await client.answer())[0] == 413


HEADS = {
    "one header": b"X: " + b"y" * (17 << 10) + b"\r\n\r\n",
    "many headers": b"".join(b"X%d: y\r\n" % n for n in range(4000)) + b"\r\n",
    "a header without end": b"X: " + b"y" * (100 << 10),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
async def test_an_oversized_head_is_refused(head: bytes) -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + head)
        assert (await client.answer())[0] == 431
        assert await client.is_closed()


async def test_an_oversized_url_is_refused() -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(b"GET /" + b"y" * (17 << 10) + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer())[0] == 431


async def drip(client: RawHttp, data: bytes, seconds: float) -> None:
    """A byte every so often; until the server has enough of it."""
    for n in range(len(data)):
        await client.send(data[n : n + 1])
        await trio.sleep(seconds)


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\n", b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n", b"y" * 99),
    ],
    ids=["head", "body"],
)
async def test_a_byte_now_and_then_does_not_buy_more_time(
    begin: bytes, rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "HEAD_S_MAX", 0.3)
    monkeypatch.setattr(http_module, "BODY_S_MAX", 0.3)
    async with serving(METHODS) as on, http(on) as client:
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            await client.send(begin)
            nursery.start_soon(drip, client, rest, 0.05)
            assert (await client.answer())[0] == 408
            nursery.cancel_scope.cancel()
        assert 0.25 < trio.current_time() - begun < 3


async def test_a_silent_connection_is_closed_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_module, "IDLE_S_MAX", 0.2)
    async with serving(METHODS) as on, http(on) as client:
        await client.call(call("echo"))
        assert await client.is_closed()


BAD_REQUESTS = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "a length of 5000 digits": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n"
    % (b"9" * 5000),
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n",
    "a zero in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "TLS to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an upgrade to h2c": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
    b"Upgrade: h2c\r\n\r\n",
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("data", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
async def test_what_is_no_request_is_refused_and_closed(data: bytes) -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(data)
        assert (await client.answer())[0] in (400, 413)
        assert await client.is_closed()


async def test_pipelined_answers_come_in_the_order_of_the_requests() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, http(on) as client:
        bodies = [call("later", ident=0), call("echo", ["a"], 1), call("later", ident=2)]
        await client.send(b"".join(request(body) for body in bodies))
        while len(methods.kept) < 2:
            await trio.sleep(0)
        methods.kept[1].finish(lambda: "second")
        methods.kept[0].finish(lambda: "first")
        results = [json.loads((await client.answer())[2])["result"] for _ in bodies]
        assert results == ["first", ["a"], "second"]


async def test_a_refusal_waits_for_the_answers_before_it() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, http(on) as client:
        await client.send(request(call("later")) + request(call("echo")) + b"nonsense\r\n\r\n")
        while not methods.kept:
            await trio.sleep(0)
        methods.kept[0].finish(lambda: "first")
        assert json.loads((await client.answer())[2])["result"] == "first"
        assert json.loads((await client.answer())[2])["result"] is None
        assert (await client.answer())[0] == 400


async def test_of_pipelined_requests_only_so_many_wait() -> None:
    methods = Methods()
    limit = http_module.REQUESTS_WAITING_MAX
    per_read = READ_BYTES // len(request(call("later"))) + 1
    async with (
        serving(methods.named()) as on,
        http(on) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.send, request(call("later")) * 20_000)
        for _ in range(200):
            await trio.sleep(0.002)
        assert limit < len(methods.kept) <= limit + per_read
        nursery.cancel_scope.cancel()


async def test_a_page_of_any_origin_may_ask() -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(
            b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://dex.example\r\n"
            b"Access-Control-Request-Method: POST\r\n"
            b"Access-Control-Request-Headers: content-type\r\n\r\n"
        )
        status, headers, body = await client.answer()
        assert (status, body) == (204, b"")
        assert headers["access-control-allow-origin"] == "*"
        assert "post" in headers["access-control-allow-methods"]
        assert "content-type" in headers["access-control-allow-headers"]
        await client.post(call("echo"), "Origin: https://dex.example")
        assert (await client.answer())[1]["access-control-allow-origin"] == "*"


async def test_head_is_get_without_the_body() -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        _, get, body = await client.answer()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        status, head, _ = await client.answer(has_body=False)
        assert (status, head, body) == (200, get, b"front page")
        assert (await client.call(call("echo", [1])))["result"] == [1]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (request(call("echo"), path="/nowhere"), 404),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (request(call("echo"), "Content-Type: text/xml"), 415),
        (request(call("echo"), "Content-Type: application/json; charset=utf-8"), 200),
        (request(call("echo"), "Content-Type: text/plain;charset=UTF-8"), 200),
        (request(call("echo"), path="/?key=value"), 200),
    ],
)
async def test_other_paths_methods_and_types(data: bytes, status: int) -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(data)
        found, headers, _ = await client.answer()
        assert found == status
        assert ("allow" in headers) == (status == 405)
        assert (await client.call(call("echo", [1])))["result"] == [1]


async def test_connection_close_is_obeyed_and_what_follows_is_ignored() -> None:
    async with serving(METHODS) as on, http(on) as client:
        last = request(call("echo", ["last"]), "Connection: close")
        await client.send(request(call("echo")) + last + request(call("echo")))
        assert (await client.answer())[0] == 200
        _, headers, body = await client.answer()
        assert json.loads(body)["result"] == ["last"]
        assert headers["connection"] == "close"
        assert await client.is_closed()


async def test_http_1_0_is_served_and_closed() -> None:
    async with serving(METHODS) as on, http(on) as client:
        await client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert (await client.answer())[2] == b"front page"
        assert await client.is_closed()


async def test_who_says_no_more_still_gets_the_pending_answer() -> None:
    methods = Methods()
    async with serving(methods.named()) as on, http(on) as client:
        await client.post(call("later"))
        await client.stream.send_eof()
        while not methods.kept:
            await trio.sleep(0)
        await trio.testing.wait_all_tasks_blocked()
        methods.kept[0].finish(lambda: "late")
        assert json.loads((await client.answer())[2])["result"] == "late"
        assert await client.is_closed()


async def test_who_asks_whether_to_go_on_is_told_to() -> None:
    async with serving(METHODS) as on, http(on) as client:
        body = call("echo", [7]).encode()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        await client.send(head % len(body))
        assert (await client.answer())[0] == 100
        await client.send(body)
        assert json.loads((await client.answer())[2])["result"] == [7]


async def test_a_large_answer_reaches_who_reads_it() -> None:
    async with serving(METHODS) as on, http(on) as client:
        answer = await client.call(call("large", [8 << 20]))
        assert len(answer["result"]) == 8 << 20
        assert on.dropped == 0


async def test_who_asks_and_never_reads_is_held_back_then_dropped() -> None:
    async with serving(METHODS) as on, http(on) as client:
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(60):
            while True:
                await client.post(call("large", [1 << 20]) , "X: " + "y" * 200)
        assert on.failures == 0


async def test_connections_of_one_host_and_of_all_are_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_PER_HOST_MAX", 2)
    async with serving(METHODS) as on, http(on) as first, http(on) as second:
        await first.call(call("echo"))
        await second.call(call("echo"))
        async with http(on) as third:
            assert (await third.answer())[0] == 503
            assert await third.is_closed()
        assert on.refused == 1
        await first.call(call("echo"))
        await first.stream.aclose()
        while on.connections > 1:
            await trio.sleep(0.001)
        async with http(on) as fourth:
            await fourth.call(call("echo"))


async def test_a_fault_of_ours_costs_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Callable[[], None]:
        raise ZeroDivisionError

    async with serving(METHODS) as on, http(on) as other:
        await other.call(call("echo"))
        with monkeypatch.context() as patched:
            patched.setattr(server, "HttpConnection", broken)
            async with http(on) as client:
                assert await client.is_closed()
        assert on.failures == 1
        await other.call(call("echo"))
