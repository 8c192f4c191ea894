"""Reading and writing where the stream is a plain socket, without what trio's stream costs.

What lives here: the two calls, for any stream. What must never live here: what the bytes mean.

Theory. A stream first tries, is told that nothing is there, waits, tries again, and gives the loop
a turn behind its success: two system calls, an exception and a turn for each request. A client that
waits for its answer has nothing there when we look again. So wait first, then read once.
"""

import os
from typing import Final

import trio

READ_BYTES: Final = 1 << 16


async def receive(stream: trio.abc.Stream) -> bytes | bytearray:
    """Some bytes, none at the end. Raises what the stream raises, or `OSError`."""
    if isinstance(stream, trio.SocketStream):
        await trio.lowlevel.wait_readable(stream.socket)
        return os.read(stream.socket.fileno(), READ_BYTES)
    return await stream.receive_some(READ_BYTES)


def send_now(stream: trio.abc.SendStream, data: bytes) -> int:
    """How many bytes the socket took at once: none of another stream, or of a broken one."""
    if not isinstance(stream, trio.SocketStream):
        return 0
    try:
        return os.write(stream.socket.fileno(), data)
    except OSError:
        return 0
