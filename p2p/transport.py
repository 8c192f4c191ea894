"""What carries the bytes: the seam between `peering.py` and libp2p or memory.

What lives here: two shapes and their errors. What must never live here: rules. A transport
authenticates peers, keeps at most one connection with each, and reports what happens to an
`Observer`; it decides nothing.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from .exceptions import PeerFault
from .network import Verdict
from .penalties import Offence

UNREACHABLE: Final = 7640
BROKEN: Final = 7641
NOT_SPOKEN: Final = 7642

RECEIVE_BYTES_MAX: Final = 1 << 16
DIAL_S_MAX: Final = 10.0
OPEN_S_MAX: Final = 5.0


class Unreachable(PeerFault):
    """There is no connection with the peer, and none could be made."""


class Broken(PeerFault):
    """The stream was reset, or its connection is gone."""


class NotSpoken(PeerFault):
    """The peer does not speak the protocol."""


class Stream(Protocol):
    """A reliable ordered byte stream with one peer."""

    async def send(self, data: bytes) -> None:
        """Returns when the data is on its way. Errors: Broken."""

    async def receive(self) -> bytes:
        """1 to 65,536 bytes, or none at the end of what the peer sends. Errors: Broken."""

    async def close(self) -> None:
        """We send no more; the peer may. Never raises."""

    async def reset(self) -> None:
        """Drop the stream in both directions. Never raises."""


StreamHandler = Callable[[str, Stream], Awaitable[None]]


class Observer(Protocol):
    """Who is told, and asked. None of these may raise or wait."""

    def admits(self, peer: str) -> bool:
        """Whether a connection with this peer may exist."""

    def connected(self, peer: str, address: str, outbound: bool) -> None: ...
    def disconnected(self, peer: str) -> None: ...
    def offended(self, peer: str, offence: Offence) -> None: ...

    def passes(self, topic: str, neighbour: str, size: int) -> bool:
        """Whether rates allow a gossip message: asked before its signature is checked."""

    def judge(self, topic: str, neighbour: str, origin: str, data: bytes) -> Verdict:
        """Judge a signed message; on ACCEPT it has been delivered and is to be forwarded."""

    def count(self, name: str, times: int = 1) -> None:
        """Add to a counter."""


class Transport(Protocol):
    """Connections, streams and gossip; topics and protocols by full name."""

    peer: str

    def running(self, observer: Observer) -> AbstractAsyncContextManager[None]:
        """Listen until left; leaving closes every connection."""

    def addresses(self) -> list[str]:
        """Where others can dial us."""

    async def dial(self, address: str) -> str:
        """Connect, in about DIAL_S_MAX; the peer id. Errors: Unreachable."""

    async def disconnect(self, peer: str) -> None:
        """Close the connection. Never raises."""

    async def open(self, peer: str, protocol: str) -> Stream:
        """Open a stream, in at most OPEN_S_MAX. Errors: Unreachable, NotSpoken."""

    def handle(self, protocol: str, handler: StreamHandler) -> None: ...

    async def join(self, topic: str) -> None: ...

    async def publish(self, topic: str, data: bytes) -> None: ...
