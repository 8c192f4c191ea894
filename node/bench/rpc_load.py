"""A client that is cheaper than the server it drives: raw sockets, frames made beforehand.

What lives here: connecting, pipelining, an open loop. What must never live here: parsing of what
comes back beyond counting and ids; errors are counted and end a measurement.
"""

import re
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

from node.exceptions import NodeError

RPC_BENCH: Final = 7305
READ_BYTES: Final = 1 << 16
MARK: Final = b'{"jsonrpc"'
ERROR: Final = b'"error"'
IDENT: Final = re.compile(rb'"id":(\d+)[,}]')
UPGRADE: Final = (
    b"GET / HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
TICK_S: Final = 0.001
PATIENCE_S: Final = 60


def frame(text: bytes) -> bytes:
    """A masked text message; the mask is zero, which is a mask."""
    return struct.pack(">BBHI", 0x81, 0xFE, len(text), 0) + text


def post(text: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: %d\r\n\r\n" % len(text) + text


def connect(port: int, *, is_websocket: bool) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if is_websocket:
        one.sendall(UPGRADE)
        head = b""
        while b"\r\n\r\n" not in head:
            head += one.recv(1)
    return one


class Lane:
    """One connection: `window` calls are on their way at once."""

    def __init__(self, one: socket.socket, calls: Sequence[bytes], window: int) -> None:
        self.socket = one
        self._calls = calls
        self._window = window
        self._sent = self._answered = 0
        self._tail = b""

    @property
    def is_done(self) -> bool:
        return self._answered == len(self._calls)

    def send(self) -> None:
        """Fill the window again once half of it is answered."""
        if self._sent - self._answered > self._window // 2:
            return
        until = min(len(self._calls), self._answered + self._window)
        if until > self._sent:
            self.socket.sendall(b"".join(self._calls[self._sent : until]))
            self._sent = until

    def read(self) -> None:
        data = self._tail + self.socket.recv(READ_BYTES)
        if ERROR in data or len(data) == len(self._tail):
            raise NodeError(RPC_BENCH, f"the node answered {data[:300]!r}; see its log")
        self._answered += data.count(MARK)
        self._tail = data[-(len(MARK) - 1) :]


def closed_loop(lanes: Sequence[Lane]) -> int:
    """Drive all lanes to their end; nanoseconds. Raises `NodeError` 7305 on any error."""
    with selectors.DefaultSelector() as selector:
        for lane in lanes:
            selector.register(lane.socket, selectors.EVENT_READ, lane)
        begun = time.perf_counter_ns()
        left = len(lanes)
        for lane in lanes:
            lane.send()
        while left:
            ready = selector.select(PATIENCE_S)
            if not ready:
                raise NodeError(RPC_BENCH, f"no answer for {PATIENCE_S} s; see the node's log")
            for key, _ in ready:
                key.data.read()
                if key.data.is_done:
                    selector.unregister(key.fileobj)
                    left -= 1
                else:
                    key.data.send()
        return time.perf_counter_ns() - begun


def open_loop(
    sockets: Sequence[socket.socket], calls: Sequence[Sequence[bytes]], per_s: int
) -> list[int]:
    """Send at a fixed rate whatever comes back; ns from the scheduled time to the answer."""
    step = 1e9 / per_s
    total = sum(map(len, calls))
    spent: list[int] = []
    tails = [b""] * len(sockets)
    with selectors.DefaultSelector() as selector:
        for n, one in enumerate(sockets):
            selector.register(one, selectors.EVENT_READ, n)
        begun, sent = time.perf_counter_ns(), 0
        while len(spent) < total:
            now = time.perf_counter_ns()
            due = min(total, int((now - begun) / step) + 1)  # the first is due at once
            for n, one in enumerate(sockets):
                mine = range((sent - n + len(sockets) - 1) // len(sockets),
                             (due - n + len(sockets) - 1) // len(sockets))  # fmt: skip
                if mine:
                    one.sendall(b"".join(calls[n][mine.start : mine.stop]))
            sent = due
            for key, _ in selector.select(TICK_S):
                n = key.data
                data = tails[n] + sockets[n].recv(READ_BYTES)
                now = time.perf_counter_ns()
                if ERROR in data:
                    raise NodeError(RPC_BENCH, f"the node answered {data[:300]!r}; see its log")
                end = 0
                for found in IDENT.finditer(data):
                    place = int(found[1]) - int(_first(calls[n]))
                    at = begun + (place * len(sockets) + n) * step
                    spent.append(round(now - at))
                    end = found.end()
                tails[n] = data[max(end, len(data) - 40) :]
    return spent


def _first(calls: Sequence[bytes]) -> bytes:
    found = re.search(rb'"id": (\d+),', calls[0])
    assert found is not None, "calls carry ids"
    return found[1]
