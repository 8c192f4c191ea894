"""`rialto bench rpc`: orders through the server, from a client's socket and back.

What lives here: the rounds and the bars. What must never live here: how load is made
(`rpc_load.py`) or taken (`rpc_server.py`).

Server and client are two processes; a rate is wall time of the client, closed loop, so on a machine
with other work both suffer; `server_us_per_order` is the server's CPU time and suffers less. `ws`
and `http` stop before the sequencer; `ws_signed` goes through signature, core and journal (in
memory). The answer to a signed order is the leader's promise.
"""

import os
import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from consensus.genesis import parse
from node.bench import Advance
from node.bench.figures import AT_LEAST, AT_MOST, Bar, percentile, rounded
from node.bench.rpc_load import Lane, closed_loop, connect, frame, open_loop, post
from node.bench.rpc_orders import WALLETS, rpc_genesis, signed_orders, unsigned_orders
from node.bench.rpc_server import Server, rpc_server

MESSAGES: Final = 80_000
ROUNDS: Final = 3
STEPS: Final = 4
SOCKETS: Final = 8
CONNECTIONS: Final = 32
IN_FLIGHT: Final = 64
IDLE: Final = 1000
PACED_PER_S: Final = 5000
PAGE_BYTES: Final = 4096

BARS: Final[dict[str, Bar]] = {
    "ws.orders_per_s": (AT_LEAST, 75_000),
    "ws_signed.orders_per_s": (AT_LEAST, 14_000),
    "ws_signed_p99_ms": (AT_MOST, 3),
    "http.orders_per_s": (AT_LEAST, 20_000),
    "idle_ws_kb": (AT_MOST, 40),
}


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """`messages` unsigned orders a round, a quarter as many by HTTP and signed; `seed` changes
    nothing. Raises `NodeError` 7305 if the node answers with an error."""
    data = rpc_genesis(time.time_ns() // 1_000_000)
    genesis = parse(data)
    fewer = messages // 4
    with rpc_server(data, is_signed=False) as server:
        idle = idle_bytes(server)
        advance(1)
    with rpc_server(data, is_signed=False) as server:  # one that has not to clear up after those
        texts = unsigned_orders(genesis, messages // SOCKETS)
        ws = [_round(server, SOCKETS, [frame(text) for text in texts], True) for _ in range(rounds)]
        advance(1)
        calls = [post(text) for text in texts[: fewer // CONNECTIONS]]
        http = [_round(server, CONNECTIONS, calls, False) for _ in range(rounds)]
        advance(1)
    signed, paced = _signed(data, fewer, rounds)
    advance(1)
    return {
        "ws": _figures(ws),
        "ws_signed": _figures(signed),
        "ws_signed_p50_ms": rounded(percentile(paced, 0.5) / 1e6),
        "ws_signed_p99_ms": rounded(percentile(paced, 0.99) / 1e6),
        "http": _figures(http),
        "idle_ws_kb": rounded(idle / 1024),
        "workload": f"orders of 413 bytes, immediate or cancel; {messages} unsigned over {SOCKETS} "
        f"WebSockets with {IN_FLIGHT} in flight each, {fewer} over {CONNECTIONS} HTTP connections "
        f"one at a time, {fewer} signed over {SOCKETS} WebSockets; p50 and p99: open loop at "
        f"{PACED_PER_S}/s from the scheduled time; {IDLE} idle WebSockets; seed {seed}; "
        f"median of {rounds} rounds, wall time of the client",
    }


class Round(NamedTuple):
    """Orders per second, and the server's CPU time of one order, all of its threads."""

    orders_per_s: float
    server_us: float


def _figures(rounds: list[Round]) -> dict[str, float]:
    """Medians."""
    return {
        "orders_per_s": rounded(median(one.orders_per_s for one in rounds)),
        "server_us_per_order": rounded(median(one.server_us for one in rounds)),
    }


def _round(server: Server, lanes: int, calls: list[bytes], is_websocket: bool) -> Round:
    """One closed loop over new connections."""
    sockets = [connect(server.port, is_websocket=is_websocket) for _ in range(lanes)]
    window = IN_FLIGHT if is_websocket else 1
    figures = measured(server, [Lane(one, calls, window) for one in sockets], len(calls))
    for one in sockets:
        one.close()
    return figures


def measured(server: Server, lanes: list[Lane], each: int) -> Round:
    """One closed loop of `each` orders a lane."""
    orders, used = len(lanes) * each, _cpu_s(server.pid)
    spent = closed_loop(lanes)
    return Round(orders * 1e9 / spent, (_cpu_s(server.pid) - used) * 1e6 / orders)


def _signed(data: bytes, messages: int, rounds: int) -> tuple[list[Round], list[int]]:
    """Rounds of the closed loop, and ascending times of the open one, ns."""
    each = messages // WALLETS
    done: list[Round] = []
    genesis = parse(data)
    with rpc_server(data, is_signed=True) as server:
        sockets = [connect(server.port, is_websocket=True) for _ in range(WALLETS)]
        for n in range(rounds + 1):
            calls = [
                [frame(text) for text in signed_orders(genesis, wallet, each, n * each)]
                for wallet in range(WALLETS)
            ]
            if n == rounds:
                return done, sorted(open_loop(sockets, calls, PACED_PER_S))
            lanes = [Lane(*lane, IN_FLIGHT) for lane in zip(sockets, calls, strict=True)]
            done.append(measured(server, lanes, each))
    raise AssertionError("the last round returns")


def idle_bytes(server: Server) -> float:
    """Resident bytes of the server for each idle WebSocket."""
    before = _resident(server.pid)
    sockets = [connect(server.port, is_websocket=True) for _ in range(IDLE)]
    each = (_resident(server.pid) - before) / IDLE
    for one in sockets:
        one.close()
    return each


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE_BYTES
