"""Connections: at most one with each peer, admitted, and bounded while half open.

What lives here: what libp2p 0.8.1's Swarm leaves open. What must never live here: streams.

- Upstream holds an inbound slot until the *swarm* ends, not the connection, so a node refuses
  everybody after as many inbound connections as it has slots. Here the slot goes back with the
  connection.
- Half-open connections (no handshake yet) are few, and when there is one too many, the oldest
  gives way: 150 silent sockets do not keep an honest peer out.
- Who is banned, or one too many, is refused after the handshake, when we know who it is.
- Two nodes that dial each other at once get two connections. Both keep the one dialled by the
  smaller id; a second one in the same direction replaces the first, for then the peer restarted.
- A failed dial is not remembered: `peers.py` has its own pace.
"""

from collections import OrderedDict
from typing import Any, Final

import trio
from libp2p.abc import IMuxedConn, IPeerStore
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from .muxer import BoundedMuxer, BoundedYamux
from .transport import Observer

HALF_OPEN_MAX: Final = 32
HANDSHAKE_S_MAX: Final = 5.0
NEGOTIATION_S_MAX: Final = 5.0
DIAL_S_MAX: Final = 5.0
SPARE_CONNECTIONS: Final = 64  # between handshake and refusal


def build_swarm(keys: KeyPair, observer: Observer, peers_max: int) -> "BoundedSwarm":
    """A swarm that speaks TCP, noise and yamux, and nothing else.

    The default host of libp2p 0.8.1 also offers plaintext, over which a peer is who it says it is.
    """
    peer = ID.from_pubkey(keys.public_key)
    peerstore: IPeerStore = PeerStore()
    peerstore.add_key_pair(peer, keys)
    noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
    upgrader = TransportUpgrader({NOISE: noise}, {})
    upgrader.muxer_multistream = BoundedMuxer(int(NEGOTIATION_S_MAX))
    connections = peers_max + HALF_OPEN_MAX + SPARE_CONNECTIONS
    config = ConnectionConfig(
        max_connections=connections,
        min_connections=0,
        low_watermark=0,
        high_watermark=connections,
        max_connections_per_peer=1,
        dial_timeout=DIAL_S_MAX,
        inbound_upgrade_timeout=HANDSHAKE_S_MAX,
        outbound_upgrade_timeout=HANDSHAKE_S_MAX,
        inbound_stream_protocol_negotiation_timeout=NEGOTIATION_S_MAX,
        outbound_stream_protocol_negotiation_timeout=NEGOTIATION_S_MAX,
    )
    return BoundedSwarm(
        peer,
        peerstore,
        upgrader,
        [TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=config,
        observer=observer,
    )


class BoundedSwarm(Swarm):
    def __init__(self, *args: Any, observer: Observer, **options: Any) -> None:
        super().__init__(*args, **options)
        self._observer = observer
        self._half_open: OrderedDict[int, trio.CancelScope] = OrderedDict()

    async def _do_handle_inbound_connection(
        self, read_write_closer: ReadWriteCloser, maddr: Multiaddr, failure_event: object
    ) -> None:
        raw = RawConnection(read_write_closer, False)
        # Twice the handshake: upstream waits for ever for a muxer that ended while it started.
        scope = trio.CancelScope(deadline=trio.current_time() + 2 * HANDSHAKE_S_MAX)
        self._half_open[id(scope)] = scope
        if len(self._half_open) > HALF_OPEN_MAX:
            _, oldest = self._half_open.popitem(last=False)
            oldest.cancel()
            self._observer.count("half_open_evicted")
        muxed: IMuxedConn | None = None
        try:
            with scope:
                muxed = await self.upgrade_inbound_raw_conn(raw, maddr)
        except (SwarmException, OSError) as fault:
            self._observer.count("inbound_failed")
            raise SwarmException(f"inbound connection failed: {fault}") from fault
        finally:
            self._half_open.pop(id(scope), None)
            if muxed is None:
                with trio.CancelScope(shield=True):
                    await raw.close()
        if isinstance(muxed, BoundedYamux):
            await muxed.event_closed.wait()

    async def dial_peer(self, peer_id: ID) -> list[Any]:
        self._negative_peer_cache.evict(str(peer_id))
        return await super().dial_peer(peer_id)

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> SwarmConn:
        """Errors: SwarmException when the peer may not connect."""
        peer = muxed_conn.peer_id
        rivals = [one for one in self.connections.get(peer, ()) if not one.is_closed]
        if not self._observer.admits(str(peer)) or not self._prefers(peer, direction, rivals):
            await muxed_conn.close()
            raise SwarmException(f"no connection with {peer}: banned, one too many, or a second")
        connection = await super().add_conn(muxed_conn, direction)
        for rival in rivals:
            await rival.close()
        return connection

    def _prefers(self, peer: ID, direction: str, rivals: list[Any]) -> bool:
        """Whether a new connection is better than those there are."""
        if not rivals or any(one.direction.name.lower() == direction for one in rivals):
            return True
        we_are_smaller = self.get_peer_id().to_bytes() < peer.to_bytes()
        return we_are_smaller == (direction == "outbound")
