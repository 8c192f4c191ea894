"""The one protocol that `node` sees: publish, subscribe, request, ingest, and who is there.

What lives here: names and shapes. What must never live here: a line that does anything. Its two
implementations share `peering.py` and differ in what carries the bytes: libp2p
(`host.open_network`) or one process's memory (`memory.World`).

A *peer* is a peer id in its text form. A gossip message has two: the neighbour that handed it to
us, who is judged and pays, and the origin that signed it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Final, NamedTuple, Protocol

import trio

from .penalties import Offence


class Verdict(Enum):
    """What a check says of a gossip message.

    ACCEPT delivers and forwards it. IGNORE does neither, without blame: we have it, or cannot tell
    yet. OFFENCE does neither and charges the neighbour, who should have seen it.
    """

    ACCEPT = "accept"
    IGNORE = "ignore"
    OFFENCE = "offence"


class Refused(Exception):
    """A request was answered with a refusal: raised by a handler, and again at who asked.

    `code` fits 16 bits: those below 100 are the network's own, others are the handler's; `reason`
    is a sentence of at most 200 bytes.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"refused ({code}): {reason}")
        self.code: Final = code
        self.reason: Final = reason


BUSY: Final = 1  # too many requests at once: ask another peer, or again in a second
TOO_FAST: Final = 2  # this peer's own rate is used up
INTERNAL: Final = 3  # the handler failed
REFUSAL_REASON_BYTES_MAX: Final = 200


class Message(NamedTuple):
    """A gossip message as delivered: `peer` is the origin that signed it."""

    peer: str
    data: bytes


class Head(NamedTuple):
    """What a node says of its chain; heights in blocks."""

    height: int
    block_hash: bytes  # 32 bytes
    certified_height: int


class PeerFacts(NamedTuple):
    """One connected peer."""

    peer: str
    address: str
    outbound: bool
    ready: bool  # its status was checked: same chain, fork and genesis
    head: Head | None
    rtt_ms: float | None
    score: float
    connected_s: float


Check = Callable[[str, bytes], Verdict]
Handler = Callable[[str, bytes], AsyncIterator[bytes]]


class Inbox(Protocol):
    """The messages of one topic in order of arrival. When full, the oldest are dropped, counted."""

    dropped: int

    async def receive(self) -> Message: ...
    def receive_nowait(self) -> Message: ...
    def __aiter__(self) -> AsyncIterator[Message]: ...


class IngestStream(Protocol):
    """Our long-lived order stream to a leader. `ended` is set once it broke or was closed."""

    ended: trio.Event

    async def send(self, batch: bytes) -> bytes:
        """Send a batch when there is credit for it; return the leader's acknowledgement.

        Batches of concurrent calls are sent in the order of the calls, and are not waited for one
        by one: start as many as you like. Errors: 7641 when the stream broke (the batch may or may
        not have arrived), 7602 when the batch is too large.
        """

    async def aclose(self) -> None: ...


class IngestSession(Protocol):
    """The other end: one follower's batches, in its order."""

    peer: str

    def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        """(sequence from 1, batch); ends when the stream does."""

    async def ack(self, sequence: int, reply: bytes) -> None:
        """Acknowledge one batch, in any order, which gives its credit back."""


IngestHandler = Callable[[IngestSession], Awaitable[None]]


class Network(Protocol):
    """What a node does with other nodes. Names are those of `topics.py`."""

    peer: str

    def addresses(self) -> list[str]:
        """Where others can dial this node."""

    async def dial(self, address: str) -> str:
        """Connect once; the peer id. Errors: 7640."""

    async def publish(self, topic: str, data: bytes) -> None:
        """Gossip `data`, signed by our peer key. Errors: 7601 name, 7602 size."""

    def subscribe(self, topic: str) -> Inbox:
        """Join a topic; every call gives a new inbox. Our own messages do not come back."""

    def validate(self, topic: str, check: Check) -> None:
        """Judge each message of `topic` before it is delivered and forwarded.

        The check runs on the loop, so it must be quick; it must not raise. If it does the message
        is ignored and the fault counted. A topic without a check accepts.
        """

    def serve(self, protocol: str, handler: Handler) -> None:
        """Answer requests: `handler(peer, request)` yields chunks, or raises Refused."""

    def request(self, peer: str, protocol: str, request: bytes) -> AsyncIterator[bytes]:
        """Ask one peer; the chunks of its answer, bounded in size, number and time.

        Exhaust it, or close it with `contextlib.aclosing`. Errors: Refused; 7601, 7602; PeerFault
        when the peer is unreachable, broke off, or answered beyond the limits.
        """

    async def open_ingest(self, peer: str) -> IngestStream: ...

    def serve_ingest(self, handler: IngestHandler) -> None: ...

    def announce(self, head: Head) -> None:
        """What our status says from now on."""

    def offend(self, peer: str, offence: Offence) -> None:
        """Charge a peer; disconnects or bans it at the thresholds of `penalties.py`."""

    def peers(self) -> list[PeerFacts]: ...

    def counters(self) -> dict[str, int]:
        """Monotonic counts by name (drops, faults, offences), for metrics."""
