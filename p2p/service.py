"""Answering the streams that peers open.

What lives here: pace, order of checks, and which failure costs the peer what. What must never live
here: the handlers, and the bytes of frames.
"""

import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, Protocol

import trio

from .containment import Contained
from .exceptions import PeerFault
from .exchange.frames import FrameTooLong
from .exchange.ingest import BatchReceiver, CreditsExceeded
from .exchange.packed import Malformed
from .exchange.request import Unanswered, answer, read_request, refuse
from .network import BUSY, INTERNAL, TOO_FAST, Handler, IngestHandler, Refused
from .penalties import (
    CREDIT_OVERRUN,
    MALFORMED_FRAME,
    OVERSIZED_FRAME,
    REQUEST_FLOOD,
    SLOW_READER,
    UNFINISHED_REQUEST,
    Offence,
)
from .rates import Budget, Meter, Rate
from .topics import EXCHANGES, ExchangeLimits
from .transport import Broken, Stream

INGEST_STREAMS_MAX: Final = 64  # of all peers; one for each is the use
UNBOUNDED: Final = Rate(1e12, 1e12)

log: Final = logging.getLogger(__name__)


class Court(Protocol):
    """Where offences are charged and events counted."""

    def offend(self, peer: str, offence: Offence) -> None: ...
    def count(self, name: str, times: int = 1) -> None: ...


class HandlerFault(Exception):
    """A handler raised what it may not."""


class Service:
    """Serves every protocol of one node."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self._meters = {
            protocol: Meter(request_budget(limits), trio.current_time)
            for protocol, limits in EXCHANGES.items()
        }
        self._running: Counter[str] = Counter()
        self._ingesting: set[str] = set()

    async def answer(self, protocol: str, handler: Handler, peer: str, stream: Stream) -> None:
        """Serve one request stream. Raises nothing of the peer's making."""
        limits = EXCHANGES[protocol]
        try:
            request = await read_request(stream, limits)
        except (PeerFault, Broken) as fault:
            self._charge(peer, fault)
            await drop(stream)
            return
        self._running[protocol] += 1
        try:
            refused = self._paced(protocol, peer, len(request))
            if refused is not None:
                await refuse(stream, refused, limits)
            else:
                async with aclosing(watched(handler(peer, request))) as chunks:
                    await answer(stream, chunks, limits)
        except HandlerFault as fault:
            self._court.count("faults")
            log.error("the handler of %s failed", protocol, exc_info=fault)
            await self._apologise(stream, limits)
        except Malformed:
            self._court.offend(peer, MALFORMED_FRAME)
            await drop(stream)
        except Unanswered:
            self._court.offend(peer, SLOW_READER)
            await drop(stream)
        except Broken:
            self._court.count("streams_broken")
        finally:
            self._running[protocol] -= 1

    async def ingest(self, handler: IngestHandler, peer: str, stream: Stream) -> None:
        """Serve one ingest stream to its end."""
        if peer in self._ingesting or len(self._ingesting) >= INGEST_STREAMS_MAX:
            await drop(stream)
            return
        self._ingesting.add(peer)
        try:
            with Contained(self._court.count, "handling ingest"):
                await self._ingest(handler, peer, stream)
        finally:
            self._ingesting.discard(peer)
            await drop(stream)

    async def _ingest(self, handler: IngestHandler, peer: str, stream: Stream) -> None:
        try:
            await handler(BatchReceiver(peer, stream))
        except PeerFault as fault:
            log.warning("the ingest stream of %s ended: %s", peer, fault)
            self._charge(peer, fault)
        else:
            log.info("the ingest stream of %s was closed", peer)

    def _charge(self, peer: str, fault: PeerFault) -> None:
        """For what was wrong with what a peer sent, or with how."""
        if isinstance(fault, Broken):
            self._court.count("streams_broken")
        elif isinstance(fault, FrameTooLong):
            self._court.offend(peer, OVERSIZED_FRAME)
        elif isinstance(fault, Unanswered):
            self._court.offend(peer, UNFINISHED_REQUEST)
        elif isinstance(fault, CreditsExceeded):
            self._court.offend(peer, CREDIT_OVERRUN)
        else:
            self._court.offend(peer, MALFORMED_FRAME)

    def _paced(self, protocol: str, peer: str, size: int) -> Refused | None:
        """The refusal that pace demands, if any."""
        meter = self._meters[protocol]
        if not meter.within(peer, size):
            self._court.offend(peer, REQUEST_FLOOD)
            return Refused(TOO_FAST, "too many requests from you: wait a second")
        if self._running[protocol] > EXCHANGES[protocol].running_max or not meter.within_all(size):
            self._court.count("requests_busy")
            return Refused(BUSY, "too many requests at once: ask another peer, or in a second")
        return None

    async def _apologise(self, stream: Stream, limits: ExchangeLimits) -> None:
        try:
            await refuse(stream, Refused(INTERNAL, "the request failed here"), limits)
        except PeerFault:
            self._court.count("streams_broken")
            await drop(stream)


async def watched(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The chunks of a handler; what it may not raise becomes a HandlerFault."""
    try:
        async for chunk in chunks:
            yield chunk
    except (Refused, Malformed):
        raise
    except Exception as fault:
        raise HandlerFault(str(fault)) from fault


async def drop(stream: Stream) -> None:
    with trio.CancelScope(shield=True):
        await stream.reset()


def request_budget(limits: ExchangeLimits) -> Budget:
    """Requests are paced by number; their bytes are bounded one by one."""
    return Budget(limits.peer_rate, UNBOUNDED, limits.all_rate, UNBOUNDED)
