"""The libp2p host: a transport over TCP, noise and yamux, with gossip.

What lives here: building it, and turning its streams and errors into those of `transport.py`. What
must never live here: rules of living with peers; those are in `peering.py`.

    async with open_network(settings, keys, ["/ip4/127.0.0.1/tcp/0"]) as network: ...
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.crypto.keys import KeyPair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.host.exceptions import HostException
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import identify_handler_for
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from .containment import Contained
from .exceptions import NetworkMisuse
from .gossip import GossipPubsub
from .identity import peer_of
from .peering import Peering, peering
from .penalties import TOO_MANY_STREAMS
from .settings import Settings
from .swarm import build_swarm
from .topics import TOPICS, Names
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

LISTEN_FAILED: Final = 7605

STREAMS_PER_PEER_MAX: Final = 32  # that the peer opened
CLOSE_S_MAX: Final = 5.0
RESET_S_MAX: Final = 1.0

# What libp2p raises when a connection or stream is no more; all are the peer's or the wire's doing.
GONE: Final = (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError)


def open_network(
    settings: Settings, keys: KeyPair, listen: Sequence[str]
) -> AbstractAsyncContextManager[Peering]:
    """A running node of the network; `listen` are multiaddrs, port 0 takes a free one."""
    return peering(Libp2pTransport(keys, listen, settings), settings)


class GuardedHost(BasicHost):
    """A host whose stream handlers cannot end the process, and whose streams are counted.

    It never asks peers to identify themselves: their answer would fill our peerstore, and nothing
    here reads it. It answers them, since js-libp2p asks before it speaks.
    """

    def __init__(self, network: Any, observer: Observer) -> None:
        super().__init__(
            network,
            default_protocols=OrderedDict(
                [
                    (IDENTIFY, identify_handler_for(self, use_varint_format=True)),
                    (PING, PingService(self).handle_ping),
                ]
            ),
            disable_identify_address_discovery=True,
        )
        self._observer = observer
        self._open: Counter[str] = Counter()

    async def _swarm_stream_handler(self, net_stream: INetStream) -> None:
        peer = str(net_stream.muxed_conn.peer_id)
        if self._open[peer] >= STREAMS_PER_PEER_MAX:
            await net_stream.reset()
            self._observer.offended(peer, TOO_MANY_STREAMS)
            return
        self._open[peer] += 1
        try:
            with Contained(self._observer.count, "serving a stream"):
                try:
                    await super()._swarm_stream_handler(net_stream)
                except GONE:
                    self._observer.count("streams_broken")
        finally:
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Nothing: see above."""


class Libp2pStream:
    """Implements `transport.Stream`."""

    def __init__(self, stream: INetStream) -> None:
        assert isinstance(stream, NetStream)
        self._stream = stream

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except GONE as fault:
            raise Broken(BROKEN, f"the stream broke while sending: {fault!r}") from fault

    async def receive(self) -> bytes:
        try:
            return await self._stream.read(RECEIVE_BYTES_MAX)
        except StreamEOF:
            return b""
        except GONE as fault:
            raise Broken(BROKEN, f"the stream broke while receiving: {fault!r}") from fault

    async def close(self) -> None:
        with trio.move_on_after(CLOSE_S_MAX):
            try:
                await self._stream.close_write()
            except GONE:
                pass
            else:
                return
        await self.reset()

    async def reset(self) -> None:
        """Give the stream up. Callers are shielded, so a stuck peer must not hold them: they wait
        a second for their turn to write, and then what one frame may take (`muxer.py`)."""
        with trio.move_on_after(RESET_S_MAX):
            try:
                await self._stream.reset()
            except GONE:
                return  # it is gone already


class Libp2pTransport(INotifee):
    """Implements `transport.Transport`."""

    def __init__(self, keys: KeyPair, listen: Sequence[str], settings: Settings) -> None:
        self.peer = peer_of(keys)
        self._keys = keys
        self._listen = [Multiaddr(address) for address in listen]
        self._settings = settings
        self._names = Names(settings.chain.chain, settings.chain.fork)
        self._observer: Observer
        self._host: GuardedHost
        self._pubsub: GossipPubsub

    @asynccontextmanager
    async def running(self, observer: Observer) -> AsyncIterator[None]:
        self._observer = observer
        # What libp2p logs is written by strangers: an error for each handshake they break off.
        logging.getLogger("libp2p").setLevel(logging.CRITICAL)
        swarm = build_swarm(self._keys, observer, self._settings.peers_max)
        self._host = GuardedHost(swarm, observer)
        sizes = {
            self._names.topic(topic): limits.message_bytes_max for topic, limits in TOPICS.items()
        }
        self._pubsub = GossipPubsub(self._host, observer, sizes)
        swarm.register_notifee(self)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._host.run(self._listen))
            await stack.enter_async_context(background_trio_service(self._pubsub))
            await stack.enter_async_context(background_trio_service(self._pubsub.router))
            await self._pubsub.wait_until_ready()
            if self._listen and not self._host.get_transport_addrs():
                where = ", ".join(map(str, self._listen))
                text = f"cannot listen on {where}: take another port, or stop who has it"
                raise NetworkMisuse(LISTEN_FAILED, text, addresses=where)
            try:
                yield
            finally:
                with trio.move_on_after(CLOSE_S_MAX, shield=True):
                    await self._host.close()

    def addresses(self) -> list[str]:
        return [str(address) for address in self._host.get_addrs()]

    async def dial(self, address: str) -> str:
        try:
            info = info_from_p2p_addr(Multiaddr(address))
        except ValueError as fault:
            raise Unreachable(UNREACHABLE, f"{address} is no address with a peer id") from fault
        try:
            with trio.fail_after(DIAL_S_MAX):
                await self._host.connect(info)
        except (*GONE, trio.TooSlowError) as fault:
            text = f"{address} does not answer: {fault}"
            raise Unreachable(UNREACHABLE, text, address=address) from fault
        return str(info.peer_id)

    async def disconnect(self, peer: str) -> None:
        with trio.move_on_after(CLOSE_S_MAX):
            await self._host.disconnect(ID.from_string(peer))

    async def open(self, peer: str, protocol: str) -> Stream:
        identity = ID.from_string(peer)
        if not self._host.is_peer_connected(identity):
            raise Unreachable(UNREACHABLE, f"not connected with {peer}", peer=peer)
        try:
            with trio.fail_after(OPEN_S_MAX):
                stream = await self._host.new_stream(identity, [TProtocol(protocol)])
        except (*GONE, trio.TooSlowError) as fault:
            refused = isinstance(fault, HostException) and self._host.is_peer_connected(identity)
            if refused:
                text = f"{peer} does not speak {protocol}"
                raise NotSpoken(NOT_SPOKEN, text, protocol=protocol) from fault
            raise Unreachable(UNREACHABLE, f"no stream to {peer}: {fault!r}", peer=peer) from fault
        return Libp2pStream(stream)

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        async def serve(stream: INetStream) -> None:
            await handler(str(stream.muxed_conn.peer_id), Libp2pStream(stream))

        self._host.set_stream_handler(TProtocol(protocol), serve)

    async def join(self, topic: str) -> None:
        await self._pubsub.subscribe(topic)

    async def publish(self, topic: str, data: bytes) -> None:
        await self._pubsub.publish(topic, data)

    # INotifee: what the swarm tells

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        peer = conn.muxed_conn.peer_id
        if len(network.get_connections(peer)) == 1:
            addresses = conn.get_transport_addresses()
            address = str(addresses[0]) if addresses else ""
            outbound = isinstance(conn, SwarmConn) and conn.direction.name == "OUTBOUND"
            self._observer.connected(str(peer), address, outbound)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        peer = conn.muxed_conn.peer_id
        if not network.get_connections(peer):
            self._observer.disconnected(str(peer))

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        await trio.lowlevel.checkpoint()

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        await trio.lowlevel.checkpoint()

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        await trio.lowlevel.checkpoint()

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        await trio.lowlevel.checkpoint()
