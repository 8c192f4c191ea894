"""JSON-RPC from the caller's side: one request's bytes, and what an answer means.

What lives here: encoding and judging. What must never live here: a connection.
"""

from typing import Any, Final, TypeVar

import msgspec

from node.client.exceptions import BAD_ANSWER, ClientError, Refused

Value = TypeVar("Value")
encode: Final = msgspec.json.encode


class Fault(msgspec.Struct):
    """The `error` member."""

    code: int
    message: str = ""
    data: Any = None


class Push(msgspec.Struct):
    """The `params` of a notification."""

    subscription: str
    result: dict[str, Any]


class Reply(msgspec.Struct):
    """An answer or a notification; `result` stays raw until its type is known."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: Fault | None = None
    method: str = ""
    params: Push | None = None


_replies: Final = msgspec.json.Decoder(Reply)


def request(number: int, method: str, params: object) -> bytes:
    """One call."""
    return encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def read_reply(text: bytes) -> Reply:
    """Raises `ClientError` 7802."""
    try:
        return _replies.decode(text)
    except (ValueError, RecursionError) as error:
        raise bad_answer(f"{text[:80]!r} is no JSON-RPC answer ({error})") from error


def result_of(reply: Reply, kind: type[Value]) -> Value:
    """The result as a value of this type. Raises `Refused`, or `ClientError` 7802."""
    if reply.error is not None:
        raise Refused(reply.error.code, reply.error.message, reply.error.data)
    try:
        return msgspec.json.decode(reply.result, type=kind)
    except (ValueError, RecursionError) as error:
        raise bad_answer(f"the result is not what this client knows ({error})") from error


def bad_answer(why: str) -> ClientError:
    text = f"{why}; the node is of another version, or no node"
    return ClientError(BAD_ANSWER, text)
