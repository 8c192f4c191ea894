"""Acquaintance with peers: status, liveness, redial, goodbye.

What lives here: the life of a connection from greeting to goodbye. What must never live here:
sockets, and what payloads mean.

Both sides greet: each asks the other's status within seconds of the connection, and again every
ten. The answer is the proof of life that TCP and yamux do not give (a peer whose host vanished
keeps its socket for minutes), the round-trip time, and the peer's head. Two missed answers and the
peer is disconnected.

Addresses in `Settings.dial` are dialled for ever, with jitter so that a restarted leader is not met
by all followers at once. A peer of another chain is told so, disconnected, and tried again only
after minutes.
"""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from .exceptions import PeerFault
from .exchange.goodbye import Goodbye, Reason, decode_goodbye, encode_goodbye
from .exchange.status import Status, decode_status, difference, encode_status
from .network import Head, PeerFacts, Refused
from .penalties import Ledger, Offence
from .settings import Settings
from .topics import GOODBYE, STATUS
from .transport import Transport

STATUS_INTERVAL_S: Final = 10.0
STATUS_MISSES_MAX: Final = 2
REDIAL_FIRST_S: Final = 0.25
REDIAL_LAST_S: Final = 30.0
REDIAL_FOREIGN_S: Final = 600.0
SETTLED_S: Final = 10.0  # an unwanted connection that lived this long resets the redial delay
GOODBYE_S_MAX: Final = 1.0
FAREWELLS_MAX: Final = 256

log: Final = logging.getLogger(__name__)


class Asker(Protocol):
    """The part of a network that acquaintance needs."""

    ledger: Ledger

    def request(self, peer: str, protocol: str, request: bytes) -> AsyncIterator[bytes]: ...
    def count(self, name: str, times: int = 1) -> None: ...


@dataclass
class Acquaintance:
    """One connection; times are trio's."""

    peer: str
    address: str
    outbound: bool
    since: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ready: bool = False
    head: Head | None = None
    rtt_s: float | None = None
    leaving: bool = False
    foreign: bool = False
    unwanted: bool = False  # one side said so in its goodbye
    gone: trio.Event = field(default_factory=trio.Event)


class Acquaintances:
    """Every peer that is connected, and those that should be."""

    def __init__(
        self, network: Asker, transport: Transport, settings: Settings, nursery: trio.Nursery
    ) -> None:
        self._network = network
        self._transport = transport
        self._settings = settings
        self._nursery = nursery
        self._known: dict[str, Acquaintance] = {}
        self._head = Head(0, bytes(32), 0)
        self._leaving = False
        self.farewells: dict[str, str] = {}  # peer -> why the last connection ended

    def start(self) -> None:
        for address in self._settings.dial:
            self._nursery.start_soon(self._keep_dialling, address)

    async def leave(self) -> None:
        """Say goodbye to everybody at once, within a second."""
        self._leaving = True
        async with trio.open_nursery() as nursery:
            for one in list(self._known.values()):
                nursery.start_soon(self._part, one, Goodbye(Reason.LEAVING, "this node stops"))

    def announce(self, head: Head) -> None:
        self._head = head

    def has_room(self, peer: str) -> bool:
        return peer in self._known or len(self._known) < self._settings.peers_max

    def met(self, peer: str, address: str, outbound: bool) -> None:
        one = Acquaintance(peer, address, outbound, trio.current_time())
        self._known[peer] = one
        self._nursery.start_soon(self._attend, one)

    def lost(self, peer: str) -> None:
        one = self._known.pop(peer, None)
        if one is not None:
            one.gone.set()
            one.scope.cancel()

    def leaving(self, peer: str) -> bool:
        """Whether the peer is being shown out: nothing of it counts any more."""
        one = self._known.get(peer)
        return one is not None and one.leaving

    def expel(self, peer: str, offence: Offence) -> None:
        """Disconnect for an offence; at once for the node, in the background for the peer."""
        one = self._known.get(peer)
        if one is not None and not one.leaving:
            self._network.count("expelled")
            goodbye = Goodbye(Reason.PENALTY, f"penalty: {offence.name}")
            self._nursery.start_soon(self._part, one, goodbye)

    def facts(self) -> list[PeerFacts]:
        now = trio.current_time()
        return [
            PeerFacts(
                one.peer,
                one.address,
                one.outbound,
                one.ready,
                one.head,
                None if one.rtt_s is None else one.rtt_s * 1000,
                self._network.ledger.score(one.peer),
                now - one.since,
            )
            for one in self._known.values()
        ]

    # What peers ask

    async def tell_status(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        """Both sides learn from one request, and each asks for itself."""
        self._learn(peer, decode_status(request))
        yield encode_status(self._status())

    async def take_goodbye(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        goodbye = decode_goodbye(request)
        one = self._known.get(peer)
        if one is not None and goodbye.code != Reason.LEAVING:
            one.unwanted = True
        self._note_farewell(peer, f"it left: {goodbye.text} ({goodbye.code})")
        for chunk in list[bytes]():  # an empty answer, by a function that is still a generator
            yield chunk

    # The life of a connection

    async def _attend(self, one: Acquaintance) -> None:
        misses = 0
        with one.scope:
            while not one.leaving:
                if await self._ask_status(one):
                    misses = 0
                else:
                    misses += 1
                    self._network.count("status_missed")
                if misses >= STATUS_MISSES_MAX:
                    text = f"no answer to {misses} status requests"
                    await self._part(one, Goodbye(Reason.SILENT, text))
                    return
                await trio.sleep(STATUS_INTERVAL_S * (0.8 + 0.4 * self._settings.chance()))

    async def _ask_status(self, one: Acquaintance) -> bool:
        started = trio.current_time()
        try:
            ours = encode_status(self._status())
            async for theirs in self._network.request(one.peer, STATUS, ours):
                one.rtt_s = trio.current_time() - started
                self._learn(one.peer, decode_status(theirs))
        except (PeerFault, Refused) as fault:
            log.debug("no status from %s: %s", one.peer, fault)
            return False
        return True

    def _learn(self, peer: str, status: Status) -> None:
        one = self._known.get(peer)
        if one is None or one.leaving:
            return
        foreign = difference(self._settings.chain, status.chain)
        if foreign is None:
            one.ready = True
            one.head = status.head
        else:
            one.foreign = True
            self._network.count("foreign_peers")
            self._nursery.start_soon(self._part, one, Goodbye(Reason.FOREIGN, foreign))

    async def _part(self, one: Acquaintance, goodbye: Goodbye) -> None:
        """Tell the peer why, and close. Never raises."""
        if one.leaving:
            return
        one.leaving = one.unwanted = True
        log.info("parting from %s: %s", one.peer, goodbye.text)
        self._note_farewell(one.peer, goodbye.text)
        with trio.move_on_after(GOODBYE_S_MAX, shield=True):
            await self._say(one.peer, goodbye)
        with trio.CancelScope(shield=True):
            await self._transport.disconnect(one.peer)

    async def _say(self, peer: str, goodbye: Goodbye) -> None:
        try:
            async for _ in self._network.request(peer, GOODBYE, encode_goodbye(goodbye)):
                pass
        except (PeerFault, Refused) as fault:
            log.debug("no goodbye to %s: %s", peer, fault)

    def _note_farewell(self, peer: str, text: str) -> None:
        self.farewells.pop(peer, None)
        self.farewells[peer] = text
        if len(self.farewells) > FAREWELLS_MAX:
            del self.farewells[next(iter(self.farewells))]

    def _status(self) -> Status:
        return Status(self._settings.chain, self._head)

    # Redial

    async def _keep_dialling(self, address: str) -> None:
        delay = REDIAL_FIRST_S
        while not self._leaving:
            try:
                peer = await self._transport.dial(address)
            except PeerFault as fault:
                log.debug("no connection with %s: %s", address, fault)
            else:
                one = self._known.get(peer)
                if one is not None:
                    await one.gone.wait()
                    if one.foreign:
                        delay = REDIAL_FOREIGN_S
                    elif _was_good(one):
                        delay = REDIAL_FIRST_S
            self._network.count("redials")
            await trio.sleep(delay * (0.5 + self._settings.chance()))
            delay = min(delay * 2, REDIAL_LAST_S)


def _was_good(one: Acquaintance) -> bool:
    """Whether to look for this peer at once: its process ended, or it lived with us for a while.

    All wait for a leader that restarts, however often it does.
    """
    return (one.ready and not one.unwanted) or trio.current_time() - one.since >= SETTLED_S
