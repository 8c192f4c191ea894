"""Frames on a stream.

What lives here: lengths, kinds, and the bounds that are checked before a body is read. What must
never live here: the meaning of a body. All integers are little-endian and unsigned.

    request and batch    u32 length | body
    answer               u8 kind | u32 length | body
"""

import struct
from typing import Final

from ..exceptions import PeerFault
from ..transport import Stream

FRAME_TRUNCATED: Final = 7610
FRAME_TOO_LONG: Final = 7611
FRAME_KIND: Final = 7612

LENGTH: Final = struct.Struct("<I")
KIND: Final = struct.Struct("<BI")


class FrameTooLong(PeerFault):
    """A frame announces more than its protocol allows; the body was not read."""


def frame(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body


def kind_frame(kind: int, body: bytes) -> bytes:
    return KIND.pack(kind, len(body)) + body


class FrameReader:
    """Reads the frames of one stream; buffers what came with the last one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def frame(self, bytes_max: int) -> bytes | None:
        """The next frame; None at the end of the stream. Errors: 7610, 7611, Broken."""
        if not await self._fill(LENGTH.size):
            return None
        (length,) = LENGTH.unpack_from(self._buffer)
        return await self._body(LENGTH.size, length, bytes_max)

    async def kind_frame(self, bytes_max: int) -> tuple[int, bytes] | None:
        """The next (kind, body); None at the end of the stream. Errors: 7610, 7611, Broken."""
        if not await self._fill(KIND.size):
            return None
        kind, length = KIND.unpack_from(self._buffer)
        return kind, await self._body(KIND.size, length, bytes_max)

    async def _body(self, head: int, length: int, bytes_max: int) -> bytes:
        if length > bytes_max:
            text = f"a frame of {length} bytes, where {bytes_max} are allowed"
            raise FrameTooLong(FRAME_TOO_LONG, text, length=length, allowed=bytes_max)
        if not await self._fill(head + length):
            raise self._truncated(head + length)
        body = bytes(memoryview(self._buffer)[head : head + length])
        del self._buffer[: head + length]
        return body

    async def _fill(self, wanted: int) -> bool:
        while len(self._buffer) < wanted:
            piece = await self._stream.receive()
            if not piece:
                if self._buffer:
                    raise self._truncated(wanted)
                return False
            self._buffer += piece
        return True

    def _truncated(self, wanted: int) -> PeerFault:
        text = f"the stream ended inside a frame: {len(self._buffer)} of {wanted} bytes"
        return PeerFault(FRAME_TRUNCATED, text, have=len(self._buffer), wanted=wanted)
