"""The memory of one connection, and the wholeness of its frames."""

import struct

import pytest
import trio
from libp2p.network.connection.exceptions import RawConnError
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import TYPE_DATA, YAMUX_HEADER_FORMAT
from networks import keys_of

from p2p.muxer import CONNECTION_BUFFER_BYTES_MAX, FRAME_BYTES_MAX, WRITE_S_MAX, BoundedYamux


class Wire:
    """A secured connection: what is put in `incoming`, then zeros; it takes when it is `open`."""

    is_initiator = False

    def __init__(self, incoming: bytes = b"") -> None:
        self.incoming = incoming
        self.open = trio.Event()
        self.taken = b""
        self.closed = False

    async def read(self, length: int) -> bytes:
        await trio.lowlevel.checkpoint()
        found, self.incoming = self.incoming[:length], self.incoming[length:]
        return found or bytes(length)

    async def write(self, data: bytes) -> None:
        await self.open.wait()
        self.taken += data

    async def close(self) -> None:
        self.closed = True


def muxer_of_a_peer(wire: Wire | None = None) -> BoundedYamux:
    peer = ID.from_pubkey(keys_of("peer").public_key)
    return BoundedYamux(wire or Wire(), peer)  # type: ignore[arg-type]


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


async def test_a_frame_over_the_limit_ends_the_connection_not_only_its_stream() -> None:
    header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, 1, FRAME_BYTES_MAX + 1)
    wire = Wire(header)
    muxer = muxer_of_a_peer(wire)
    with trio.fail_after(5):
        await muxer.handle_incoming()
    assert muxer.is_closed
    assert wire.closed


async def test_a_frame_that_was_begun_is_sent_whole_although_its_writer_gave_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else noise has counted a message that the peer never gets, and nothing after it is read."""
    wire = Wire()
    muxer = muxer_of_a_peer(wire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opens_later, wire)
        with trio.move_on_after(1) as patience:
            await muxer._write_frame(b"whole")
            await trio.lowlevel.checkpoint()
    assert patience.cancelled_caught
    assert wire.taken == b"whole"
    assert not wire.closed


async def opens_later(wire: Wire) -> None:
    await trio.sleep(WRITE_S_MAX / 2)
    wire.open.set()


async def test_a_peer_that_takes_no_frame_loses_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire()
    muxer = muxer_of_a_peer(wire)
    before = trio.current_time()
    with pytest.raises(RawConnError, match="took no frame"):
        await muxer._write_frame(b"jammed")
    assert trio.current_time() - before == pytest.approx(WRITE_S_MAX)
    assert wire.closed


def test_windows_do_not_grow_beyond_half_a_mebibyte() -> None:
    """Upstream grows a window when two updates come within four round trips."""
    muxer = muxer_of_a_peer()
    assert muxer.rtt() < 1e-6
