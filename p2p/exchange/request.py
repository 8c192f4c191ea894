"""One request and its answer in chunks.

What lives here: both ends of a request stream. What must never live here: which protocol it is,
and rates; those are in `topics.py` and `peering.py`.

    client:  u32 length | request                          then it closes its direction
    server:  (1 | u32 length | chunk)*  then  2 | 0 | nothing            the end
                                        or    3 | u32 length | u16 code, UTF-8 reason
"""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import trio

from ..exceptions import PeerFault
from ..network import REFUSAL_REASON_BYTES_MAX, Refused
from ..topics import ExchangeLimits
from ..transport import Stream
from .frames import FRAME_KIND, FrameReader, FrameTooLong, frame, kind_frame

CHUNK: Final = 1
END: Final = 2
REFUSAL: Final = 3

ANSWER_TOO_SLOW: Final = 7630
ANSWER_TOO_LONG: Final = 7631
ANSWER_TRUNCATED: Final = 7632
REFUSAL_MALFORMED: Final = 7633
REQUEST_ABSENT: Final = 7634
ANSWER_UNREAD: Final = 7635

PIECE_BYTES: Final = 1 << 16
PIECE_S_MAX: Final = 4.0  # below the 5 s after which yamux breaks a stream that is not read

CODE: Final = struct.Struct("<H")

T = TypeVar("T")


class FalseAnswer(PeerFault):
    """An answer that breaks its protocol: the peer pays for it."""


class Unanswered(PeerFault):
    """The peer was too slow or broke off; no answer, and no proof of malice."""


async def ask(stream: Stream, request: bytes, limits: ExchangeLimits) -> AsyncIterator[bytes]:
    """Send a request and yield the chunks of the answer; the caller resets the stream on errors.

    Errors: Refused, FalseAnswer, Unanswered, Broken.
    """
    reader = FrameReader(stream)
    body_max = max(limits.chunk_bytes_max, CODE.size + REFUSAL_REASON_BYTES_MAX)
    await in_time(limits, stream.send, frame(request))
    await stream.close()
    chunks = received = 0
    while True:
        try:
            found = await in_time(limits, reader.kind_frame, body_max)
        except FrameTooLong as fault:
            raise FalseAnswer(fault.number, fault.text, **fault.facts) from fault
        if found is None:
            raise Unanswered(ANSWER_TRUNCATED, "the answer ended before its last frame")
        kind, body = found
        if kind == END and not body:
            return
        if kind == REFUSAL:
            raise refusal(body)
        if kind != CHUNK:
            raise FalseAnswer(FRAME_KIND, f"a frame of kind {kind} in an answer", kind=kind)
        chunks += 1
        received += len(body)
        if (
            chunks > limits.chunks_max
            or received > limits.response_bytes_max
            or len(body) > limits.chunk_bytes_max
        ):
            text = f"an answer of {chunks} chunks and {received} bytes, over the limits"
            raise FalseAnswer(ANSWER_TOO_LONG, text, chunks=chunks, received=received)
        yield body


async def in_time(limits: ExchangeLimits, step: Callable[..., Awaitable[T]], *args: object) -> T:
    """One step of an exchange. Errors: 7630 when it takes too long."""
    with trio.move_on_after(limits.chunk_s_max):
        return await step(*args)
    text = f"the peer was silent for {limits.chunk_s_max} s"
    raise Unanswered(ANSWER_TOO_SLOW, text, seconds=limits.chunk_s_max)


async def send_steadily(stream: Stream, data: bytes) -> None:
    """Send in pieces, each of which the peer must take in time. Errors: 7635, Broken."""
    for at in range(0, len(data), PIECE_BYTES):
        with trio.move_on_after(PIECE_S_MAX) as scope:
            await stream.send(data[at : at + PIECE_BYTES])
        if scope.cancelled_caught:
            text = f"the peer took nothing for {PIECE_S_MAX} s"
            raise Unanswered(ANSWER_UNREAD, text, seconds=PIECE_S_MAX)


async def read_request(stream: Stream, limits: ExchangeLimits) -> bytes:
    """The request on a new stream. Errors: 7610, 7611, 7630, 7634, Broken."""
    reader = FrameReader(stream)
    request = await in_time(limits, reader.frame, limits.request_bytes_max)
    if request is None:
        raise Unanswered(REQUEST_ABSENT, "the stream ended before a request")
    return request


async def answer(stream: Stream, chunks: AsyncIterator[bytes], limits: ExchangeLimits) -> None:
    """Send the chunks of a handler, or its refusal. Errors: 7635 (the peer does not read), Broken.

    A chunk over the limits is a fault of the handler: AssertionError.
    """
    sent = count = 0
    try:
        async for chunk in chunks:
            count += 1
            sent += len(chunk)
            assert len(chunk) <= limits.chunk_bytes_max, "a handler's chunk is over its limit"
            assert count <= limits.chunks_max, "a handler yields more chunks than its limit"
            assert sent <= limits.response_bytes_max, "a handler's answer is over its limit"
            await send_steadily(stream, kind_frame(CHUNK, chunk))
    except Refused as refused:
        await refuse(stream, refused, limits)
        return
    await in_time(limits, stream.send, kind_frame(END, b""))
    await stream.close()


async def refuse(stream: Stream, refused: Refused, limits: ExchangeLimits) -> None:
    reason = refused.reason.encode()[:REFUSAL_REASON_BYTES_MAX].decode(errors="ignore").encode()
    body = CODE.pack(refused.code) + reason
    await in_time(limits, stream.send, kind_frame(REFUSAL, body))
    await stream.close()


def refusal(body: bytes) -> Exception:
    """The refusal that a frame carries, or what is wrong with it."""
    try:
        (code,) = CODE.unpack_from(body)
        reason = body[CODE.size :].decode()
    except (struct.error, UnicodeDecodeError):
        return FalseAnswer(REFUSAL_MALFORMED, "a refusal without a code and a UTF-8 reason")
    if len(body) > CODE.size + REFUSAL_REASON_BYTES_MAX:
        return FalseAnswer(REFUSAL_MALFORMED, f"a refusal of {len(body)} bytes")
    return Refused(code, reason)
