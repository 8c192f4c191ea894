"""JSON-RPC 2.0 on both transports: whatever is sent, one answer comes, and the server stays."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
from sockets import Methods, call, http, serving, socket

from node.rpc import dispatch
from node.rpc.dispatch import BATCH_CALLS_MAX, Dispatcher

Ask: TypeAlias = Callable[[bytes | str], Awaitable[Any]]


@asynccontextmanager
async def asking(transport: str) -> AsyncIterator[Ask]:
    """A function that sends a message and returns the answer, as JSON."""
    async with serving(Methods().named()) as on:
        if transport == "http":
            async with http(on) as client:
                yield client.call
        else:
            async with socket(on) as one:

                async def ask(message: bytes | str) -> Any:
                    await one.send(message)
                    return await one.message()

                yield ask


both = pytest.mark.parametrize("transport", ["http", "websocket"])


@both
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"method":"echo","id":1} x', -32700),
        (b"[" * 60_000, -32700),
        (b'{"method":"echo","id":1,"params":' + b"[" * 60_000, -32700),
        (b'{"a":' * 30_000, -32700),
        (b"[" + b"[" * 60_000 + b"]" * 60_000 + b"]", -32700),
        (b"5", -32600),
        (b'"echo"', -32600),
        (b"null", -32600),
        (b"{}", -32600),
        (b'{"id":1}', -32600),
        (b'{"id":1,"method":5}', -32600),
        (b'{"id":true,"method":"echo"}', -32600),
        (b'{"id":{},"method":"echo"}', -32600),
        (b'{"id":[1],"method":"echo"}', -32600),
        (b"[]", -32600),
    ],
)
async def test_what_is_no_call_gets_an_error_without_an_id(
    transport: str, message: bytes, code: int
) -> None:
    async with asking(transport) as ask:
        answer = await ask(message)
        assert (answer["id"], answer["error"]["code"]) == (None, code)
        assert "result" not in answer
        assert (await ask(call("echo", [1])))["result"] == [1]


async def test_bytes_that_are_not_utf8_are_not_json_over_http() -> None:
    async with asking("http") as ask:
        params = b'{"id":1,"method":"note","params":["\xff"]}'
        named = b'{"id":1,"method":"\xff"}'
        for message in (named, b"[" + named + b"]", b"\xff", params):
            answer = await ask(message)
            assert (answer["id"], answer["error"]["code"]) == (None, -32700)


@both
@pytest.mark.parametrize("ident", ["0", "1", "-7", "1.5", '"a"', '""', "null", "90071992547409930"])
async def test_an_id_comes_back_with_its_own_type(transport: str, ident: str) -> None:
    async with asking(transport) as ask:
        answer = await ask(f'{{"id":{ident},"method":"echo","params":[{ident}]}}')
        assert answer["id"] == json.loads(ident)
        assert type(answer["id"]) is type(json.loads(ident))
        assert "error" not in answer


@both
async def test_params_may_be_absent(transport: str) -> None:
    async with asking(transport) as ask:
        assert (await ask('{"jsonrpc":"2.0","id":0,"method":"echo"}'))["result"] is None


@both
@pytest.mark.parametrize(
    ("method", "code"),
    [("nowhere", -32601), ("broken", -32603), ("unspeakable", -32603), ("refused", 7399)],
)
async def test_a_method_that_fails_answers_and_the_server_stays(
    transport: str, method: str, code: int
) -> None:
    async with asking(transport) as ask:
        answer = await ask(call(method, ident="x"))
        assert (answer["id"], answer["error"]["code"]) == ("x", code)
        assert "inside" not in answer["error"]["message"]
        assert ("data" in answer["error"]) == (method == "refused")
        assert (await ask(call("echo", [1])))["result"] == [1]


@both
async def test_a_late_result_that_fails_answers_and_the_server_stays(transport: str) -> None:
    methods = Methods()

    def fail() -> object:
        raise ZeroDivisionError

    answers: list[bytes] = []
    dispatcher = Dispatcher(methods.named())
    dispatcher.handle(call("later").encode(), None, answers.append)
    assert not answers
    methods.kept[0].finish(fail)
    assert json.loads(answers[0])["error"]["code"] == -32603
    assert dispatcher.failures == 1


@both
async def test_a_batch_is_answered_item_by_item(transport: str) -> None:
    async with asking(transport) as ask:
        batch = [call("echo", [n], n) for n in range(3)]
        batch += [call("nowhere", ident="n"), "5", "[]", '{"method":"note","params":[1]}']
        answers = await ask("[" + ",".join(batch) + "]")
        by_id = {answer["id"]: answer for answer in answers if answer["id"] is not None}
        assert [by_id[n]["result"] for n in range(3)] == [[0], [1], [2]]
        assert by_id["n"]["error"]["code"] == -32601
        nameless = [answer for answer in answers if answer["id"] is None]
        assert [answer["error"]["code"] for answer in nameless] == [-32600, -32600]
        assert len(answers) == 6  # the notification has none


@both
async def test_a_batch_has_a_limit(transport: str) -> None:
    async with asking(transport) as ask:
        batch = [call("echo", ident=n) for n in range(BATCH_CALLS_MAX)]
        assert len(await ask("[" + ",".join(batch) + "]")) == BATCH_CALLS_MAX
        answer = await ask("[" + ",".join([*batch, call("echo")]) + "]")
        assert (answer["id"], answer["error"]["code"]) == (None, -32600)
        assert str(BATCH_CALLS_MAX) in answer["error"]["message"]


@both
async def test_a_batch_does_not_gather_without_end(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "BATCH_ANSWER_BYTES_MAX", 1000)
    async with asking(transport) as ask:
        batch = [call("large", [600], n) for n in range(5)]
        answers = await ask("[" + ",".join(batch) + "]")
        assert ["result" in answer for answer in answers] == [True, True, False, False, False]
        assert {answer["error"]["code"] for answer in answers[2:]} == {dispatch.BATCH_FULL}


async def test_a_notification_has_no_answer() -> None:
    methods = Methods()
    silent = ['{"method":"note","params":[1]}', '{"method":"nowhere"}', '{"method":"broken"}']
    batch = "[" + ",".join(silent) + "]"
    async with serving(methods.named()) as on:
        async with http(on) as client:
            for message in (*silent, batch):
                await client.post(message)
                status, _, body = await client.answer()
                assert (status, body) == (204, b"")
        async with socket(on) as one:
            for message in (*silent, batch):
                await one.send(message)
            assert (await one.call("echo", ["next"]))["result"] == ["next"]
    assert methods.notified == [[1]] * 4
