"""JSON-RPC 2.0: one message in, one reply out, whatever is in the message.

What lives here: parsing, batches, errors, and replies that come later. What must never live here: a
socket, or what a method does.

Theory. A method returns its result, or a `Later` that finishes when the leader's disk does; so a
thousand commands in flight cost a thousand small objects and no task. Errors of ours keep their
number as the JSON-RPC code; the codes of the standard are for what is wrong with the call itself.
HTTP status is always 200: wallets hide the code of any other (`docs/wallets.md`).

Facts about the parser that decide a line here: bad UTF-8 in a string and deep nesting raise other
errors than `DecodeError`; an id must come back with its own type; wallets leave `params` out.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from consensus.exceptions import ConsensusError
from node.containment import Attempt
from node.exceptions import NodeError
from node.reads import Make
from node.rpc.nesting import DEPTH_MAX, is_too_deep
from storage.exceptions import StorageError

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

BATCH_FULL: Final = 7389

BATCH_CALLS_MAX: Final = 100
BATCH_ANSWER_BYTES_MAX: Final = 4 << 20
"""What a batch has answered when its remaining calls are refused with 7389."""
NOTHING: Final = b""

Reply: TypeAlias = Callable[[bytes], None]


class Request(msgspec.Struct):
    """One call. `id` empty: a notification."""

    method: str
    jsonrpc: str = ""
    params: msgspec.Raw = msgspec.Raw(b"")
    id: msgspec.Raw = msgspec.Raw(b"")


class RpcError(Exception):
    """What a method answers instead of a result; `data` is any JSON value."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.data: Final = data


class Later:
    """A result that is not there yet. Whoever makes it calls `finish`, once."""

    __slots__ = ("_done", "_make")

    def __init__(self) -> None:
        self._done: Callable[[Make], None] | None = None
        self._make: Make | None = None

    def finish(self, make: Make) -> None:
        """`make` gives the result, or raises as a method may; it is called under the same guard."""
        if self._done is None:
            self._make = make
        else:
            self._done(make)

    def then(self, done: Callable[[Make], None]) -> None:
        if self._make is not None:
            done(self._make)
        else:
            self._done = done


Method: TypeAlias = Callable[[msgspec.Raw, Any], object]
"""(params, client) -> result or `Later`; may raise `RpcError` and the numbered errors."""

_requests: Final = msgspec.json.Decoder(Request)
_batches: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ids: Final = msgspec.json.Decoder(str | int | float | None)
_encoder: Final = msgspec.json.Encoder()
encode: Final = _encoder.encode
log: Final = logging.getLogger(__name__)


class Dispatcher:
    """Methods by name. `client` is passed through to them."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self.methods: Final = dict(methods)
        self.calls: dict[str, int] = {}
        self.failures = 0

    def handle(self, message: bytes, client: Any, reply: Reply) -> None:
        """Answer a message: `reply` is called once, now or later; with nothing if nothing is due.

        Never raises.
        """
        if not is_utf8(message):
            reply(_error(b"null", PARSE_ERROR, "not UTF-8"))
        elif is_too_deep(message):
            text = f"not JSON: lists and objects are nested more than {DEPTH_MAX} deep"
            reply(_error(b"null", PARSE_ERROR, text))
        elif message.lstrip()[:1] == b"[":
            self._batch(message, client, reply)
        else:
            self._single(message, client, reply)

    def _single(
        self, message: bytes, client: Any, reply: Reply, *, is_full: bool = False
    ) -> None:
        try:
            request = _requests.decode(message)
            ident = _checked_id(request)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            reply(_unreadable(message, error))
            return
        if is_full:
            text = f"the answers before this one have {BATCH_ANSWER_BYTES_MAX} bytes; ask it alone"
            reply(_error(ident, BATCH_FULL, text) if ident else NOTHING)
            return
        self._call(request, ident, client, reply)

    def _batch(self, message: bytes, client: Any, reply: Reply) -> None:
        try:
            parts = _batches.decode(message)
        except (ValueError, RecursionError) as error:
            reply(_error(b"null", PARSE_ERROR, f"not JSON: {error}"))
            return
        if not 0 < len(parts) <= BATCH_CALLS_MAX:
            text = f"a batch of {len(parts)} calls: give 1 to {BATCH_CALLS_MAX}"
            reply(_error(b"null", INVALID_REQUEST, text))
            return
        gathered: list[bytes] = []
        missing, size = len(parts), 0

        def gather(answer: bytes) -> None:
            nonlocal missing, size
            missing -= 1
            size += len(answer)
            if answer:
                gathered.append(answer)
            if not missing:
                reply(b"[" + b",".join(gathered) + b"]" if gathered else NOTHING)

        for part in parts:
            self._single(bytes(part), client, gather, is_full=size > BATCH_ANSWER_BYTES_MAX)

    def _call(self, request: Request, ident: bytes, client: Any, reply: Reply) -> None:
        method = self.methods.get(request.method)
        if method is None:
            text = f"no method {request.method[:64]!r}; rpc.discover lists them"
            reply(_error(ident, METHOD_NOT_FOUND, text) if ident else NOTHING)
            return
        self.calls[request.method] = self.calls.get(request.method, 0) + 1

        attempt, result = Attempt(), None
        with attempt:
            result = method(request.params, client)
        if attempt.error is not None:
            result = self._failure(attempt.error)
        if isinstance(result, Later):
            result.then(lambda make: reply(self._answer(ident, make)))
        else:
            reply(self._answer(ident, lambda: result))

    def _answer(self, ident: bytes, make: Make) -> bytes:
        """The answer's bytes. What `make` raises, and what cannot be JSON, is answered too."""
        attempt, answer = Attempt(), NOTHING
        with attempt:
            answer = _result(ident, make())
        if attempt.error is not None:
            answer = _result(ident, self._failure(attempt.error))
        return answer

    def _failure(self, error: Exception) -> RpcError:
        """What a caller is told of an exception; ours are counted, and their text stays here."""
        if isinstance(error, RpcError):
            return error
        if isinstance(error, ConsensusError | NodeError | StorageError):
            return RpcError(error.number, error.text)
        if isinstance(error, msgspec.ValidationError | msgspec.DecodeError):
            return RpcError(INVALID_PARAMS, str(error))
        self.failures += 1
        log.error("a method failed", exc_info=error)
        return RpcError(INTERNAL_ERROR, "the node failed on this call; it is in its log")


def is_utf8(message: bytes) -> bool:
    """The parser looks at the strings that it decodes only."""
    if message.isascii():
        return True
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _checked_id(request: Request) -> bytes:
    """The id's own bytes, empty for a notification. Raises `ValidationError` for other types."""
    ident = bytes(request.id)
    if ident:
        _ids.decode(ident)
    return ident


def _result(ident: bytes, result: object) -> bytes:
    if not ident:
        return NOTHING
    if isinstance(result, RpcError):
        return _error(ident, result.code, result.message, result.data)
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (ident, encode(result))


def _error(ident: bytes, code: int, message: str, data: object = None) -> bytes:
    body: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (ident, encode(body))


def _unreadable(message: bytes, error: Exception) -> bytes:
    """Not JSON, or JSON that is no call."""
    try:
        msgspec.json.decode(message, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return _error(b"null", PARSE_ERROR, "not JSON")
    if isinstance(error, msgspec.ValidationError):
        return _error(b"null", INVALID_REQUEST, f"not a call: {error}")
    return _error(b"null", PARSE_ERROR, "not JSON")
