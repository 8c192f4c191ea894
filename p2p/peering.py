"""`Network` over a transport: the rules of living with peers, the same for libp2p and memory.

What lives here: who may connect, what passes, what is answered, what is charged. What must never
live here: how bytes travel (`transport.py`), frames (`exchange/`), redial and liveness
(`peers.py`).
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from .containment import Contained
from .exceptions import NetworkMisuse
from .exchange.ingest import OPEN_S_MAX, BatchSender
from .exchange.request import FalseAnswer, Unanswered, ask
from .inbox import BoundedInbox
from .network import Check, Handler, Head, IngestHandler, Message, PeerFacts, Verdict
from .peers import Acquaintances
from .penalties import FALSE_RESPONSE, FLOOD, INVALID_MESSAGE, Ledger, Offence, Sentence
from .rates import Meter
from .service import Service
from .settings import Settings
from .topics import EXCHANGES, GOODBYE, INGEST, STATUS, TOPICS, Names
from .transport import Transport

SIZE_EXCEEDED: Final = 7602
INGEST_CLOSED: Final = 7654


class Peering:
    """Implements `network.Network` and `transport.Observer`. Made by `running`."""

    def __init__(self, transport: Transport, settings: Settings, nursery: trio.Nursery) -> None:
        self.peer = transport.peer
        self._transport = transport
        self._nursery = nursery
        self._settings = settings
        self._names = Names(settings.chain.chain, settings.chain.fork)
        self._short = {self._names.topic(topic): topic for topic in TOPICS}
        self._counters: Counter[str] = Counter()
        self.ledger = Ledger(settings.bans, trio.current_time, settings.wall)
        self._checks: dict[str, Check] = {}
        self._inboxes: dict[str, list[BoundedInbox]] = {}
        self._topic_meters = {
            topic: Meter(limits.budget, trio.current_time) for topic, limits in TOPICS.items()
        }
        self._service = Service(self)
        self._acquaintances = Acquaintances(self, transport, settings, nursery)

    def start(self) -> None:
        """Meet, greet and keep dialling."""
        self.serve(STATUS, self._acquaintances.tell_status)
        self.serve(GOODBYE, self._acquaintances.take_goodbye)
        self._acquaintances.start()

    async def leave(self) -> None:
        await self._acquaintances.leave()

    # What node calls

    def addresses(self) -> list[str]:
        return self._transport.addresses()

    async def dial(self, address: str) -> str:
        return await self._transport.dial(address)

    @property
    def farewells(self) -> dict[str, str]:
        """Why the last connection with a peer ended, for who wonders."""
        return self._acquaintances.farewells

    async def publish(self, topic: str, data: bytes) -> None:
        full = self._names.topic(topic)
        within(data, TOPICS[topic].message_bytes_max, "a message", topic)
        await self._transport.publish(full, data)

    def subscribe(self, topic: str) -> BoundedInbox:
        full = self._names.topic(topic)
        limits = TOPICS[topic]
        inbox = BoundedInbox(limits.queue_messages_max, limits.queue_bytes_max)
        if topic not in self._inboxes:
            self._nursery.start_soon(self._transport.join, full)
        self._inboxes.setdefault(topic, []).append(inbox)
        return inbox

    def validate(self, topic: str, check: Check) -> None:
        self._names.topic(topic)
        self._checks[topic] = check

    def serve(self, protocol: str, handler: Handler) -> None:
        full = self._names.protocol(protocol)
        self._transport.handle(full, partial(self._service.answer, protocol, handler))

    async def request(
        self, peer: str, protocol: str, request: bytes
    ) -> AsyncGenerator[bytes, None]:
        full = self._names.protocol(protocol)
        limits = EXCHANGES[protocol]
        within(request, limits.request_bytes_max, "a request", protocol)
        stream = await self._transport.open(peer, full)
        try:
            async for chunk in ask(stream, request, limits):
                yield chunk
        except FalseAnswer:
            self.offend(peer, FALSE_RESPONSE)
            raise
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()

    async def open_ingest(self, peer: str) -> BatchSender:
        sender = BatchSender(await self._transport.open(peer, self._names.protocol(INGEST)))
        self._nursery.start_soon(sender.run)
        with trio.move_on_after(OPEN_S_MAX):
            await sender.opened.wait()
        if sender.broken is not None:
            raise sender.broken
        if not sender.opened.is_set():
            await sender.aclose()
            raise Unanswered(INGEST_CLOSED, "the leader gave no credits: try again later")
        return sender

    def serve_ingest(self, handler: IngestHandler) -> None:
        self._transport.handle(self._names.protocol(INGEST), partial(self._service.ingest, handler))

    def announce(self, head: Head) -> None:
        self._acquaintances.announce(head)

    def offend(self, peer: str, offence: Offence) -> None:
        if peer == self.peer:
            return
        if self.ledger.charge(peer, offence) is not Sentence.NOTED:
            self._acquaintances.expel(peer, offence)

    def peers(self) -> list[PeerFacts]:
        return self._acquaintances.facts()

    def counters(self) -> dict[str, int]:
        charged = {f"offence_{name}": count for name, count in self.ledger.charged.items()}
        return dict(self._counters) | charged

    # What the transport asks and tells

    def admits(self, peer: str) -> bool:
        return not self.ledger.banned(peer) and self._acquaintances.has_room(peer)

    def connected(self, peer: str, address: str, outbound: bool) -> None:
        self._acquaintances.met(peer, address, outbound)

    def disconnected(self, peer: str) -> None:
        self._acquaintances.lost(peer)

    def offended(self, peer: str, offence: Offence) -> None:
        self.offend(peer, offence)

    def count(self, name: str, times: int = 1) -> None:
        self._counters[name] += times

    def passes(self, topic: str, neighbour: str, size: int) -> bool:
        if self._acquaintances.leaving(neighbour):
            return False
        meter = self._topic_meters[self._short[topic]]
        if not meter.within(neighbour, size):
            self.count("gossip_over_peer_rate")
            self.offend(neighbour, FLOOD)
            return False
        if not meter.within_all(size):
            self.count("gossip_over_global_rate")
            return False
        return True

    def judge(self, topic: str, neighbour: str, origin: str, data: bytes) -> Verdict:
        short = self._short[topic]
        verdict = Verdict.ACCEPT
        if short in self._checks:
            verdict = Verdict.IGNORE
            with Contained(self.count, f"checking a message of {short}"):
                verdict = self._checks[short](neighbour, data)
        self.count(f"gossip_{verdict.value}")
        if verdict is Verdict.OFFENCE:
            self.offend(neighbour, INVALID_MESSAGE)
        elif verdict is Verdict.ACCEPT:
            for inbox in self._inboxes.get(short, ()):
                self.count("inbox_dropped", inbox.put(Message(origin, data)))
        return verdict


def within(data: bytes, bytes_max: int, what: str, name: str) -> None:
    """Errors: 7602."""
    if len(data) > bytes_max:
        text = f"{what} of {len(data)} bytes on {name}: at most {bytes_max}"
        raise NetworkMisuse(SIZE_EXCEEDED, text, length=len(data), allowed=bytes_max)


@asynccontextmanager
async def peering(transport: Transport, settings: Settings) -> AsyncIterator[Peering]:
    """A running network; leaving says goodbye to every peer and closes the connections."""
    async with trio.open_nursery() as nursery:
        network = Peering(transport, settings, nursery)
        async with transport.running(network):
            network.start()
            try:
                yield network
            finally:
                with trio.CancelScope(shield=True):
                    await network.leave()
        # Not sooner: the transport's end would be cancelled, and an error on its way out lost.
        nursery.cancel_scope.cancel()
