"""Pubsub that a stranger cannot stop: every frame and message is judged before it costs anything.

What lives here: what libp2p 0.8.1's Pubsub must not do. What must never live here: the mesh
(`router.py`), queues (`outbox.py`), and what messages mean.

Upstream ends the process on a frame that is no protobuf, on a message with a junk key, and on a
validator that raises; it starts a task for each message of a frame, without a bound and out of
order. Here one task per stream reads 64 kB at a time and takes messages in their order:

    frame: length, form -> number of messages -> each: form, size -> seen? -> rates -> signature
    -> the topic's check -> deliver, forward

The first thing that fails ends it, and costs what `penalties.py` says.
"""

import time
from collections import OrderedDict
from typing import Final

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.exceptions import HostException
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.timed_cache.last_seen_cache import LastSeenCache
from libp2p.utils.varint import encode_uvarint

from .network import Verdict
from .outbox import Outbox
from .penalties import (
    BAD_SIGNATURE,
    FLOOD,
    MALFORMED_RPC,
    OVERSIZED_RPC,
    SLOW_READER,
    TOO_MANY_CONTROLS,
    TOO_MANY_PUBLISHES,
    Offence,
)
from .rates import Bucket, Rate
from .router import MeshRouter, cost, is_excessive, relevant
from .topics import RPC_BYTES_MAX
from .transport import Observer
from .validators import flaw, is_signed_by_origin

PUBLISHES_PER_RPC_MAX: Final = 128
SUBSCRIPTIONS_PER_RPC_MAX: Final = 64
SUBSCRIPTIONS_PER_PEER_MAX: Final = 64
CONTROL_RATE: Final = Rate(50, 1000)  # units of router.cost, of one neighbour
READ_BYTES: Final = 1 << 16
STALLED_S: Final = 4.0  # a write that failed after this long failed for want of a window (5 s)
SEEN_MAX: Final = 1 << 16  # message ids; at 500 messages a second, the last two minutes
VARINT_BYTES_MAX: Final = 4  # holds RPC_BYTES_MAX with room


class BrokenRpc(Exception):
    """A frame that costs its sender the stream."""

    def __init__(self, offence: Offence) -> None:
        super().__init__(offence.name)
        self.offence: Final = offence


class SeenMessages(LastSeenCache):
    """The ids of the last messages; upstream's has a thread and no bound."""

    def __init__(self) -> None:
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def add(self, key: bytes) -> bool:
        is_new = key not in self._ids
        self._ids[key] = None
        if len(self._ids) > SEEN_MAX:
            self._ids.popitem(last=False)
        return is_new

    def has(self, key: bytes) -> bool:
        return key in self._ids

    def length(self) -> int:
        return len(self._ids)


class RpcReader:
    """Length-prefixed RPCs of one stream."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> rpc_pb2.RPC:
        """Errors: BrokenRpc, StreamError at the end of the stream."""
        while (prefix := self._prefix()) is None:
            await self._more()
        start, length = prefix
        if length > RPC_BYTES_MAX:
            raise BrokenRpc(OVERSIZED_RPC)
        while len(self._buffer) < start + length:
            await self._more()
        body = bytes(memoryview(self._buffer)[start : start + length])
        del self._buffer[: start + length]
        try:
            return rpc_pb2.RPC.FromString(body)
        except DecodeError as fault:
            raise BrokenRpc(MALFORMED_RPC) from fault

    def _prefix(self) -> tuple[int, int] | None:
        """(bytes of the prefix, length), once it is there."""
        length = 0
        for at, byte in enumerate(self._buffer[:VARINT_BYTES_MAX]):
            length |= (byte & 0x7F) << (7 * at)
            if byte < 0x80:
                return at + 1, length
        if len(self._buffer) >= VARINT_BYTES_MAX:
            raise BrokenRpc(OVERSIZED_RPC)
        return None

    async def _more(self) -> None:
        self._buffer += await self._stream.read(READ_BYTES)


class GossipPubsub(Pubsub):
    """`topics` gives the most bytes of a payload by full name."""

    router: MeshRouter

    def __init__(self, host: IHost, observer: Observer, topics: dict[str, int]) -> None:
        self._outboxes: dict[ID, Outbox] = {}
        self._observer = observer
        self._topics = topics
        self._reading: dict[ID, Bucket] = {}
        super().__init__(
            host,
            MeshRouter(observer, self._outboxes),
            allowed_topics=set(topics),
            max_subscriptions_per_rpc=SUBSCRIPTIONS_PER_RPC_MAX,
            max_subscriptions_per_peer=SUBSCRIPTIONS_PER_PEER_MAX,
            max_inbound_rpc_size=RPC_BYTES_MAX,
        )
        self.seen_messages.stop()
        self.seen_messages = SeenMessages()
        # Upstream counts from the second of its start: after a restart it would repeat the numbers
        # of the last messages, and neighbours drop what they have seen.
        self.counter = time.time_ns()

    async def stream_handler(self, stream: INetStream) -> None:
        """Read one neighbour's RPCs until the stream ends."""
        peer = stream.muxed_conn.peer_id
        if peer in self._reading:
            await stream.reset()
            return
        self._reading[peer] = Bucket(CONTROL_RATE, trio.current_time)
        reader = RpcReader(stream)
        try:
            while self.manager.is_running:
                await self._take(peer, await reader.next())
        except BrokenRpc as fault:
            self._offend(peer, fault.offence)
            await stream.reset()
        except StreamError:
            self._observer.count("gossip_streams_ended")
        finally:
            del self._reading[peer]

    async def _take(self, peer: ID, rpc: rpc_pb2.RPC) -> None:
        if len(rpc.publish) > PUBLISHES_PER_RPC_MAX:
            raise BrokenRpc(TOO_MANY_PUBLISHES)
        if len(rpc.subscriptions) > SUBSCRIPTIONS_PER_RPC_MAX or is_excessive(rpc.control):
            raise BrokenRpc(TOO_MANY_CONTROLS)
        for message in rpc.publish:
            await self.push_msg(peer, message)
        if not rpc.subscriptions and not rpc.HasField("control"):
            return
        if not self._reading[peer].take(cost(rpc)):
            self._offend(peer, FLOOD)
            return
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            control = relevant(rpc.control, self._topics)
            await self.router.handle_rpc(rpc_pb2.RPC(control=control), peer)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Judge a message of a neighbour, or forward one of our own."""
        if msg_forwarder == self.my_id:
            self._mark_msg_seen(msg)
            await self.router.publish(msg_forwarder, msg)
            return
        found = flaw(msg, self._topics)
        if found is not None:
            self._offend(msg_forwarder, found)
            return
        topic = msg.topicIDs[0]
        if topic not in self.topic_ids or self._is_msg_seen(msg):
            self._observer.count("gossip_duplicate")
            return
        neighbour = str(msg_forwarder)
        if not self._observer.passes(topic, neighbour, len(msg.data)):
            return
        if not is_signed_by_origin(msg):
            self._offend(msg_forwarder, BAD_SIGNATURE)
            return
        self._mark_msg_seen(msg)
        origin = ID(msg.from_id)
        if origin == self.my_id:
            return
        if self._observer.judge(topic, neighbour, str(origin), msg.data) is Verdict.ACCEPT:
            await self.router.publish(msg_forwarder, msg)

    async def _handle_new_peer(self, peer_id: ID) -> None:
        """Open our stream to a neighbour and say hello. Errors: SwarmException, StreamError."""
        if peer_id in self.peers:
            return
        try:
            stream = await self.host.new_stream(peer_id, self.protocols)
        except HostException as fault:  # upstream tries again after this one only
            raise SwarmException(f"no gossip stream to {peer_id}") from fault
        outbox = Outbox()
        outbox.push(self.get_hello_packet().SerializeToString(), control=True)
        self.router.add_peer(peer_id, stream.get_protocol())
        self.peers[peer_id] = stream
        self._outboxes[peer_id] = outbox
        self.manager.run_task(self._write, peer_id, stream, outbox)
        await self._send_recent_messages_to_new_peer(peer_id)

    def _handle_dead_peer(self, peer_id: ID) -> None:
        outbox = self._outboxes.pop(peer_id, None)
        if outbox is not None:
            outbox.close()
        super()._handle_dead_peer(peer_id)

    async def _write(self, peer: ID, stream: INetStream, outbox: Outbox) -> None:
        """Write what the outbox holds. A neighbour that takes nothing for 5 s (yamux) is slow."""
        started = trio.current_time()
        try:
            while body := await outbox.pop():
                started = trio.current_time()
                await stream.write(encode_uvarint(len(body)) + body)
        except (BaseLibp2pError, OSError):
            self._observer.count("gossip_writes_failed")
            if trio.current_time() - started >= STALLED_S:
                self._offend(peer, SLOW_READER)
        finally:
            if self._outboxes.get(peer) is outbox:
                self._handle_dead_peer(peer)

    async def message_all_peers(
        self, raw_msg: bytes, announce: rpc_pb2.RPC.SubOpts | None = None
    ) -> None:
        for outbox in self._outboxes.values():
            outbox.push(raw_msg, control=True)

    def _offend(self, peer: ID, offence: Offence) -> None:
        self._observer.offended(str(peer), offence)
