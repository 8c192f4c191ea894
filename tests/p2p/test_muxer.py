"""The memory of one connection."""

import pytest
from libp2p.network.connection.exceptions import RawConnError
from libp2p.peer.id import ID
from networks import keys_of

from p2p.muxer import CONNECTION_BUFFER_BYTES_MAX, FRAME_BYTES_MAX, BoundedYamux


class Wire:
    """A secured connection that only ever receives zeros."""

    is_initiator = False

    async def read(self, length: int) -> bytes:
        return bytes(length)


def muxer_of_a_peer() -> BoundedYamux:
    peer = ID.from_pubkey(keys_of("peer").public_key)
    return BoundedYamux(Wire(), peer)  # type: ignore[arg-type]


async def test_a_connection_buffers_so_much_and_ends_at_the_next_byte() -> None:
    muxer = muxer_of_a_peer()
    muxer.stream_buffers = {
        1: bytearray(CONNECTION_BUFFER_BYTES_MAX // 2),
        3: bytearray(CONNECTION_BUFFER_BYTES_MAX // 2 - 10),
    }
    assert await muxer._read_data_body(10) == bytes(10)
    with pytest.raises(RawConnError, match="11 bytes on top of"):
        await muxer._read_data_body(11)
    muxer.stream_buffers = {}
    with pytest.raises(RawConnError):
        await muxer._read_data_body(FRAME_BYTES_MAX + 1)


def test_windows_do_not_grow_beyond_half_a_mebibyte() -> None:
    """Upstream grows a window when two updates come within four round trips."""
    muxer = muxer_of_a_peer()
    assert muxer.rtt() < 1e-6
