"""The ingest stream: batches of orders from a follower to the leader, with credits and acks.

What lives here: both ends of the stream. What must never live here: what a batch holds.

    follower    u32 length | batch                        numbered from 1 in order
    leader      1 | u32 length = 4 | u32 credits          once, first: batches that may be unacked
                2 | u32 length | u64 sequence, reply      one batch is answered: its credit is back

Batches and acknowledgements cross: a follower may have as many batches on the way as it has
credits, and the leader may acknowledge them in any order. That is the whole flow control; the
leader's memory for one follower is at most credits × batch bytes.
"""

import struct
from collections.abc import AsyncIterator
from typing import Final

import trio

from ..exceptions import NetworkMisuse, PeerFault
from ..transport import BROKEN, Broken, Stream
from .frames import FRAME_KIND, FrameReader, frame, kind_frame

CREDITS: Final = 64
BATCH_BYTES_MAX: Final = 1 << 16
REPLY_BYTES_MAX: Final = 1 << 19
OPEN_S_MAX: Final = 10.0

CREDIT: Final = 1
ACK: Final = 2

CREDITS_EXCEEDED: Final = 7650
CREDITS_MALFORMED: Final = 7651
ACK_UNKNOWN: Final = 7652
BATCH_TOO_LARGE: Final = 7653

CREDIT_BODY: Final = struct.Struct("<I")
SEQUENCE: Final = struct.Struct("<Q")


class CreditsExceeded(PeerFault):
    """More batches on the way than credits were given."""


class BatchSender:
    """The follower's end. `run` must run in a task for as long as the stream is used."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._sequence = 0
        self._replies: dict[int, bytes | None] = {}
        self._answered: dict[int, trio.Event] = {}
        self._credits = trio.Semaphore(0)
        self._writing = trio.Lock()
        self._broken: PeerFault | None = None
        self.opened = trio.Event()
        self.ended = trio.Event()

    async def send(self, batch: bytes) -> bytes:
        """See `network.IngestStream.send`. Errors: 7641, 7653."""
        if len(batch) > BATCH_BYTES_MAX:
            text = f"a batch of {len(batch)} bytes: at most {BATCH_BYTES_MAX}, so split it"
            raise NetworkMisuse(BATCH_TOO_LARGE, text, length=len(batch))
        async with self._writing:  # fair, so batches keep the order of the calls
            await self._credits.acquire()
            if self._broken is not None:
                self._credits.release()  # the next one in the queue finds out as well
                raise self._broken
            self._sequence += 1
            sequence = self._sequence
            answered = self._answered[sequence] = trio.Event()
            await self._stream.send(frame(batch))
        await answered.wait()
        reply = self._replies.pop(sequence, None)
        if reply is None:
            assert self._broken is not None
            raise self._broken
        return reply

    async def run(self) -> None:
        """Read credits and acknowledgements until the stream ends; never raises a PeerFault."""
        try:
            await self._read()
            self._broken = Broken(BROKEN, "the leader closed the ingest stream: open it again")
        except PeerFault as fault:
            self._broken = fault
        finally:
            if self._broken is None:
                self._broken = Broken(BROKEN, "the ingest stream was closed")
            self.opened.set()
            self.ended.set()
            for answered in self._answered.values():
                answered.set()
            self._answered.clear()
            self._credits.release()
            with trio.CancelScope(shield=True):
                await self._stream.reset()

    @property
    def broken(self) -> PeerFault | None:
        return self._broken

    async def aclose(self) -> None:
        """Close our direction; unanswered batches raise once the leader closes too."""
        await self._stream.close()

    async def _read(self) -> None:
        reader = FrameReader(self._stream)
        found = await reader.kind_frame(CREDIT_BODY.size)
        if found is None or found[0] != CREDIT or len(found[1]) != CREDIT_BODY.size:
            raise PeerFault(CREDITS_MALFORMED, "the stream did not begin with credits")
        (credit,) = CREDIT_BODY.unpack(found[1])
        for _ in range(min(credit, CREDITS)):
            self._credits.release()
        self.opened.set()
        while True:
            found = await reader.kind_frame(SEQUENCE.size + REPLY_BYTES_MAX)
            if found is None:
                return
            kind, body = found
            if kind != ACK or len(body) < SEQUENCE.size:
                raise PeerFault(FRAME_KIND, f"a frame of kind {kind} where an ack belongs")
            (sequence,) = SEQUENCE.unpack_from(body)
            answered = self._answered.pop(sequence, None)
            if answered is None:
                text = f"an acknowledgement of batch {sequence}, which is not on the way"
                raise PeerFault(ACK_UNKNOWN, text, sequence=sequence)
            self._replies[sequence] = body[SEQUENCE.size :]
            self._credits.release()
            answered.set()


class BatchReceiver:
    """The leader's end: iterate it for batches, and acknowledge each once."""

    def __init__(self, peer: str, stream: Stream) -> None:
        self.peer = peer
        self._stream = stream
        self._sequence = 0
        self._open: set[int] = set()
        self._writing = trio.Lock()

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        """Errors: 7610, 7611, 7650, Broken."""
        reader = FrameReader(self._stream)
        await self._stream.send(kind_frame(CREDIT, CREDIT_BODY.pack(CREDITS)))
        while True:
            batch = await reader.frame(BATCH_BYTES_MAX)
            if batch is None:
                return
            if len(self._open) >= CREDITS:
                text = f"more than {CREDITS} batches without an acknowledgement"
                raise CreditsExceeded(CREDITS_EXCEEDED, text)
            self._sequence += 1
            self._open.add(self._sequence)
            yield self._sequence, batch

    async def ack(self, sequence: int, reply: bytes) -> None:
        """Errors: Broken. A second ack, or a reply that is too long, is our fault."""
        assert len(reply) <= REPLY_BYTES_MAX, "a reply is over its limit"
        self._open.remove(sequence)
        async with self._writing:
            await self._stream.send(kind_frame(ACK, SEQUENCE.pack(sequence) + reply))
