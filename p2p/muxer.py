"""Yamux with bounded memory, whose frames are sent whole.

What lives here: what libp2p 0.8.1 leaves open in its yamux. What must never live here: the use of
streams.

- Upstream logs a peer that sends beyond the window it was given, and buffers what it sent; and it
  lets a window grow to 16 MiB per stream. Here a connection buffers 8 MiB and is closed beyond
  that, and windows stay at 512 KiB, so that sixteen full streams still fit.
- Upstream sends a frame in the task of whoever writes to a stream. If that task is cancelled after
  noise counted the message and before the socket took all of it, the peer cannot read anything
  that follows: one request that is given up ends every stream of the connection. Here a frame that
  was begun is sent to its end, whoever gives up meanwhile.
- Upstream waits without a limit for a peer that no longer reads. Here one that takes no frame for
  five seconds, the GO_AWAY included, has the socket closed under it.
"""

from typing import Final

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.network.connection.exceptions import RawConnError
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID, Yamux

CONNECTION_BUFFER_BYTES_MAX: Final = 8 << 20
FRAME_BYTES_MAX: Final = 1 << 20
WRITE_S_MAX: Final = 5.0  # as long as yamux waits for a window
# The window doubles when two updates come within four round trips: never, at this round trip.
ROUND_TRIP_FOR_WINDOWS_S: Final = 1e-9


class BoundedYamux(Yamux):
    def rtt(self) -> float:
        """Only the growth of windows asks; our own round trips come from status requests."""
        return ROUND_TRIP_FOR_WINDOWS_S

    async def _read_data_body(self, length: int) -> bytes:
        buffered = sum(map(len, self.stream_buffers.values()))
        if length > FRAME_BYTES_MAX or buffered + length > CONNECTION_BUFFER_BYTES_MAX:
            await self._cleanup_on_error()  # upstream takes an error in here for the stream's alone
            raise RawConnError(f"{self.peer_id} sent {length} bytes on top of {buffered} unread")
        return await super()._read_data_body(length)

    async def _write_frame(self, data: bytes) -> None:
        """Raises RawConnError when the peer does not take it: the connection is closed then."""
        async with self._write_lock:
            with trio.move_on_after(WRITE_S_MAX, shield=True) as patience:
                await self.secured_conn.write(data)
            if patience.cancelled_caught:
                await self.secured_conn.close()  # the reader of frames ends on it, and cleans up
                raise RawConnError(f"{self.peer_id} took no frame for {WRITE_S_MAX} s")


class BoundedMuxer(MuxerMultistream):
    """Chooses yamux, and ours: upstream makes its own class whatever it was given."""

    def __init__(self, negotiate_s_max: int) -> None:
        super().__init__({TProtocol(PROTOCOL_ID): BoundedYamux}, negotiate_s_max)

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        muxed = BoundedYamux(conn, peer_id, is_initiator=conn.is_initiator)
        return self._annotate_connection(muxed, conn, protocol)
