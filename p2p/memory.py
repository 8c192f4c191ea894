"""The network in one process's memory, for simulations: the twin of the libp2p host.

What lives here: links, latency and the faults of a network, from one seeded source of chance. What
must never live here: rules; those are in `peering.py`, which runs above this as it runs above
libp2p. Time is trio's, so that a test's autojump clock makes an hour of it pass in seconds.

    world = World(seed=7, faults=Faults(loss=0.1))
    async with world.network("alice", settings) as network: ...

Gossip floods along links: each message is judged at each hop, lost, doubled, delayed or overtaken
as `Faults` says. Streams are reliable and ordered, as TCP is, until they break. Across a partition
nothing passes, and nobody is told: liveness has to notice. A killed node's links break at once.
"""

import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import trio

from .containment import Contained
from .network import Verdict
from .peering import Peering, peering
from .settings import Settings
from .transport import (
    BROKEN,
    DIAL_S_MAX,
    NOT_SPOKEN,
    OPEN_S_MAX,
    RECEIVE_BYTES_MAX,
    UNREACHABLE,
    Broken,
    NotSpoken,
    Observer,
    Stream,
    StreamHandler,
    Unreachable,
)

WINDOW_BYTES: Final = 1 << 19  # unread bytes of a stream before its writer waits
SEEN_MAX: Final = 1 << 16
RUMOURS_MAX: Final = 4096  # on the way over one link
SCHEME: Final = "memory:"


@dataclass(frozen=True)
class Faults:
    """Chances are per message and link, or per piece of a stream; times in seconds."""

    delay_min_s: float = 0.0005
    delay_max_s: float = 0.002
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_s: float = 0.5  # how much later an overtaken message may come
    breakage: float = 0.0  # of a stream, per piece sent


class World:
    """All nodes of one simulated network, by name; a name is the peer id.

    `listeners` hear (peer, topic, data) of everything that is published, before any fault.
    """

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self._seed = seed
        self._sources: dict[tuple[str, str, str], random.Random] = {}
        self.faults = faults or Faults()
        self._nodes: dict[str, MemoryTransport] = {}
        self._groups: dict[str, int] = {}
        self._healed = trio.Event()
        self.listeners: list[Callable[[str, str, bytes], None]] = []

    def network(self, name: str, settings: Settings) -> AbstractAsyncContextManager[Peering]:
        """A node; a name may be used again when its last bearer has left or was killed."""
        return peering(MemoryTransport(name, self), settings)

    def partition(self, *groups: Iterable[str]) -> None:
        """Only nodes of one group reach each other; those not named are a group of their own."""
        self._groups = {name: number for number, group in enumerate(groups, 1) for name in group}
        self._wake()

    def heal(self) -> None:
        self.partition()

    def kill(self, name: str) -> None:
        """The node is gone as by kill -9: no goodbye, links broken. Cancel its tasks yourself."""
        node = self._nodes.pop(name, None)
        if node is not None:
            node.die()

    def add(self, node: "MemoryTransport") -> None:
        assert node.peer not in self._nodes, f"{node.peer} is running"
        self._nodes[node.peer] = node

    def remove(self, node: "MemoryTransport") -> None:
        if self._nodes.get(node.peer) is node:
            del self._nodes[node.peer]

    def find(self, name: str) -> "MemoryTransport | None":
        return self._nodes.get(name)

    def passable(self, one: str, other: str) -> bool:
        return self._groups.get(one, 0) == self._groups.get(other, 0)

    async def until_passable(self, one: str, other: str) -> None:
        while not self.passable(one, other):
            await self._healed.wait()

    def source(self, use: str, here: str, there: str) -> random.Random:
        """The chance of one use of one link, whatever order the scheduler runs others in."""
        key = (use, here, there)
        if key not in self._sources:
            self._sources[key] = random.Random(f"{self._seed}/{use}/{here}/{there}")
        return self._sources[key]

    def delay(self, source: random.Random) -> float:
        return source.uniform(self.faults.delay_min_s, self.faults.delay_max_s)

    def _wake(self) -> None:
        self._healed.set()
        self._healed = trio.Event()


class MemoryStream:
    """One end of a stream; what this end sends, the other end's queue holds."""

    def __init__(self, world: World, here: str, there: str) -> None:
        self._world = world
        self._here = here
        self._there = there
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._last = 0.0
        self._ended = False  # the other end sends no more
        self._broken = False
        self._lot = trio.lowlevel.ParkingLot()
        self._chance = world.source("streams", here, there)
        self.other: MemoryStream = self

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        for at in range(0, len(data), RECEIVE_BYTES_MAX):
            if self._chance.random() < self._world.faults.breakage:
                await self.reset()
            other = self.other
            while other._size > WINDOW_BYTES and not self._broken:
                await other._lot.park()
            if self._broken:
                raise Broken(BROKEN, f"the stream with {self._there} broke")
            piece = data[at : at + RECEIVE_BYTES_MAX]
            other._last = max(other._last, trio.current_time() + self._world.delay(self._chance))
            other._queue.append((other._last, piece))
            other._size += len(piece)
            other._lot.unpark_all()

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._queue and not self._ended and not self._broken:
            await self._lot.park()
        await self._world.until_passable(self._here, self._there)
        if self._broken:
            raise Broken(BROKEN, f"the stream with {self._there} broke")
        if not self._queue:
            return b""
        due, piece = self._queue.popleft()
        await trio.sleep_until(due)
        self._size -= len(piece)
        self._lot.unpark_all()
        return piece

    async def close(self) -> None:
        self.other._ended = True
        self.other._lot.unpark_all()

    async def reset(self) -> None:
        self.break_off()

    def break_off(self) -> None:
        for end in (self, self.other):
            end._broken = True
            end._lot.unpark_all()


class Rumour(NamedTuple):
    """A gossip message on its way over one link; `due` in trio's time."""

    due: float
    topic: str
    message: tuple[str, int]
    data: bytes


class Link:
    """What one node has of its connection with another."""

    def __init__(self) -> None:
        self.streams: list[MemoryStream] = []
        self._rumours: deque[Rumour] = deque(maxlen=RUMOURS_MAX)
        self._lot = trio.lowlevel.ParkingLot()

    def push(self, rumour: Rumour) -> None:
        """Queue in order; when full the oldest is lost."""
        self._rumours.append(rumour)
        self._lot.unpark()

    async def pop(self) -> Rumour:
        while not self._rumours:
            await self._lot.park()
        return self._rumours.popleft()


class MemoryTransport:
    """Implements `transport.Transport`."""

    def __init__(self, peer: str, world: World) -> None:
        self.peer = peer
        self._world = world
        self._alive = False
        self._observer: Observer
        self._nursery: trio.Nursery
        self._handlers: dict[str, StreamHandler] = {}
        self._topics: set[str] = set()
        self._links: dict[str, Link] = {}
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._published = world.source("numbers", peer, peer).getrandbits(48)

    @asynccontextmanager
    async def running(self, observer: Observer) -> AsyncIterator[None]:
        self._observer = observer
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._world.add(self)
            self._alive = True
            try:
                yield
            finally:
                self._alive = False
                self._world.remove(self)
                with trio.CancelScope(shield=True):
                    for peer in list(self._links):
                        await self.disconnect(peer)
                nursery.cancel_scope.cancel()

    def addresses(self) -> list[str]:
        return [SCHEME + self.peer]

    def die(self) -> None:
        self._alive = False
        for peer in list(self._links):
            self._unlink(peer)
            other = self._world.find(peer)
            if other is not None:
                other._unlink(self.peer)

    async def dial(self, address: str) -> str:
        name = address.removeprefix(SCHEME)
        await trio.sleep(self._world.delay(self._world.source("dials", self.peer, name)))
        with trio.move_on_after(DIAL_S_MAX):
            await self._world.until_passable(self.peer, name)
        other = self._world.find(name)
        if other is None or not self._alive or not self._world.passable(self.peer, name):
            raise Unreachable(UNREACHABLE, f"{name} does not answer", address=address)
        if name in self._links and self.peer in other._links:
            return name
        if not (self._observer.admits(name) and other._observer.admits(self.peer)):
            raise Unreachable(UNREACHABLE, f"{name} does not let us in", address=address)
        self._unlink(name)
        other._unlink(self.peer)
        self._link(name)
        other._link(self.peer)
        self._observer.connected(name, address, True)
        other._observer.connected(self.peer, SCHEME + self.peer, False)
        return name

    async def disconnect(self, peer: str) -> None:
        await trio.lowlevel.checkpoint()
        self._unlink(peer)
        other = self._world.find(peer)
        if other is not None and self.peer in other._links:
            other._nursery.start_soon(other._notice_closed, self.peer)

    async def _notice_closed(self, peer: str) -> None:
        link = self._links.get(peer)
        await self._world.until_passable(self.peer, peer)
        if self._links.get(peer) is link:
            self._unlink(peer)

    def _link(self, peer: str) -> None:
        link = self._links[peer] = Link()
        self._nursery.start_soon(self._listen, peer, link)

    def _unlink(self, peer: str) -> None:
        link = self._links.pop(peer, None)
        if link is not None:
            for stream in list(link.streams):
                stream.break_off()
            self._observer.disconnected(peer)

    async def open(self, peer: str, protocol: str) -> Stream:
        await trio.sleep(self._world.delay(self._world.source("streams", self.peer, peer)))
        if not self._alive or peer not in self._links:
            raise Unreachable(UNREACHABLE, f"not connected with {peer}", peer=peer)
        ours = MemoryStream(self._world, self.peer, peer)
        self._links[peer].streams.append(ours)
        with trio.move_on_after(OPEN_S_MAX) as scope:
            await self._world.until_passable(self.peer, peer)
        if scope.cancelled_caught:
            raise Unreachable(UNREACHABLE, f"{peer} does not answer", peer=peer)
        other = self._world.find(peer)
        if other is None or self.peer not in other._links or ours._broken:
            raise Unreachable(UNREACHABLE, f"not connected with {peer}", peer=peer)
        handler = other._handlers.get(protocol)
        if handler is None:
            raise NotSpoken(NOT_SPOKEN, f"{peer} does not speak {protocol}", protocol=protocol)
        theirs = MemoryStream(self._world, peer, self.peer)
        ours.other, theirs.other = theirs, ours
        other._links[self.peer].streams.append(theirs)
        other._nursery.start_soon(other._serve, handler, self.peer, theirs)
        return ours

    async def _serve(self, handler: StreamHandler, peer: str, stream: MemoryStream) -> None:
        with Contained(self._observer.count, "serving a stream"):
            await handler(peer, stream)
        link = self._links.get(peer)
        if link is not None and stream in link.streams:
            link.streams.remove(stream)

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        self._handlers[protocol] = handler

    async def join(self, topic: str) -> None:
        await trio.lowlevel.checkpoint()
        self._topics.add(topic)

    async def publish(self, topic: str, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        for listener in self._world.listeners:
            listener(self.peer, topic, data)
        self._published += 1
        message = (self.peer, self._published)
        self._see(message)
        self._forward(topic, message, data, frozenset([self.peer]))

    def _forward(
        self, topic: str, message: tuple[str, int], data: bytes, but: frozenset[str]
    ) -> None:
        faults = self._world.faults
        for peer in self._links:
            other = self._world.find(peer)
            if other is None or peer in but or topic not in other._topics:
                continue
            if self.peer not in other._links:
                continue
            chance = self._world.source("gossip", self.peer, peer)
            copies = 1 + (chance.random() < faults.duplication)
            for _ in range(copies):
                if chance.random() < faults.loss:
                    continue
                due = trio.current_time() + self._world.delay(chance)
                if chance.random() < faults.reordering:
                    late = chance.uniform(0, faults.reordering_s)
                    other._nursery.start_soon(
                        other._hear_late, self.peer, Rumour(due + late, topic, message, data)
                    )
                else:
                    other._links[self.peer].push(Rumour(due, topic, message, data))

    async def _hear_late(self, neighbour: str, rumour: "Rumour") -> None:
        await trio.sleep_until(rumour.due)
        self._hear(neighbour, rumour)

    async def _listen(self, neighbour: str, link: "Link") -> None:
        """Hear what comes over one link, in its order."""
        while self._links.get(neighbour) is link:
            rumour = await link.pop()
            await trio.sleep_until(rumour.due)
            if self._links.get(neighbour) is link:
                self._hear(neighbour, rumour)

    def _hear(self, neighbour: str, rumour: "Rumour") -> None:
        _, topic, message, data = rumour
        linked = neighbour in self._links and self._world.passable(self.peer, neighbour)
        if not self._alive or not linked or message in self._seen:
            return
        if not self._observer.passes(topic, neighbour, len(data)):
            return
        self._see(message)
        origin = message[0]
        if self._observer.judge(topic, neighbour, origin, data) is Verdict.ACCEPT:
            self._forward(topic, message, data, frozenset([neighbour, origin]))

    def _see(self, message: tuple[str, int]) -> None:
        self._seen[message] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
