"""Nodes as processes of this machine: started one by one, always stopped by their pids.

What lives here: the command line, the log file and the end of each process. What must never live
here: what the processes are asked.

A node is a session of its own, so that Ctrl-C in a terminal reaches whoever started it alone, and
it can stop the nodes in its own order: followers first, the leader last.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from node.config import FOLLOWER, LEADER
from node.exceptions import NodeError

NO_START: Final = 7110
DIED: Final = 7118
L1: Final = "l1"
START_S_MAX: Final = 60
END_S_MAX: Final = 20
ABORT_S_MAX: Final = 3
LOG_LINES_SHOWN: Final = 5
LINE_BYTES_MAX: Final = 1 << 16


@dataclass(frozen=True)
class NodeProcess:
    """A running node, or the L1. `addresses` are what peers dial; `rpc`: port on 127.0.0.1."""

    name: str
    process: trio.Process
    log: Path
    rpc: int
    addresses: tuple[str, ...]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.rpc}"


@asynccontextmanager
async def nodes_of(
    folder: Path,
    genesis: Path,
    keys: list[Path],
    followers: int,
    more: Callable[[int], list[str]] = lambda number: [],
) -> AsyncIterator[list[NodeProcess]]:
    """A leader with `keys[0]` and followers with the next ones, joined to each other.

    `more`: further options of each, by its number.
    Each has `folder/NAME` for its data and `folder/NAME.log`. Leaving ends them all, whatever
    happened. Raises `NodeError` 7110 for one that does not start, 7118 for one that ended before.
    """
    running: list[NodeProcess] = []
    try:
        for number in range(1 + followers):
            name = f"{FOLLOWER}-{number}" if number else LEADER
            peers = [one.addresses[0] for one in running]
            arguments = _arguments(folder / name, genesis, keys[number], name, peers)
            arguments += more(number)
            running.append(await _start(name, arguments, folder / f"{name}.log"))
        yield running
    finally:
        await _ended(running)


@asynccontextmanager
async def l1_of(folder: Path, arguments: list[str]) -> AsyncIterator[NodeProcess]:
    """`rialto l1 serve` on a free port; leaving ends it. Raises `NodeError` 7110, 7118."""
    serve = ["l1", "serve", "--rpc", "127.0.0.1:0", *arguments]
    running = [await _start(L1, serve, folder / f"{L1}.log")]
    try:
        yield running[0]
    finally:
        await _ended(running)


async def _ended(running: list[NodeProcess]) -> None:
    """Stop them all. Raises `NodeError` 7118 for one that ended before it was asked."""
    dead = [one for one in running if one.process.poll() is not None]
    with trio.CancelScope(shield=True):
        await _stop(running)
    if dead:  # whatever else went wrong, this was first
        one = dead[0]
        text = f"{one.name} ended by itself with code {one.process.returncode}; see {one.log}"
        raise NodeError(DIED, text, log=str(one.log))


def _arguments(
    data: Path, genesis: Path, key: Path, name: str, peers: list[str]
) -> list[str]:
    role = LEADER if name == LEADER else FOLLOWER
    found = ["node", "--role", role, "--genesis", str(genesis), "--data-dir", str(data)]
    found += ["--listen", "/ip4/127.0.0.1/tcp/0", "--rpc", "127.0.0.1:0"]
    found += ["--validator-key", str(key)]
    for peer in peers:
        found += ["--peer", peer]
    return found


async def _start(name: str, arguments: list[str], log: Path) -> NodeProcess:
    """Start one and wait for its line. Raises `NodeError` 7110 with the last of its log."""
    with log.open("ab") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "node.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
        )
    line = b""
    try:
        assert process.stdout is not None
        with trio.move_on_after(START_S_MAX):
            while not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
                piece = await process.stdout.receive_some(LINE_BYTES_MAX)
                if not piece:
                    break
                line += bytes(piece)
        facts = json.loads(line)
        return NodeProcess(name, process, log, facts["rpc"], tuple(facts.get("addresses", ())))
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await _end(process)
        if not isinstance(error, ValueError):
            raise
        last = log.read_text("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN:]
        text = f"{name} did not start: {' | '.join(last) or 'it said nothing'}; see {log}"
        raise NodeError(NO_START, text, log=str(log)) from error


async def _stop(running: list[NodeProcess]) -> None:
    """Followers together, then the leader, which seals its open block."""
    async with trio.open_nursery() as nursery:
        for one in running[1:]:
            nursery.start_soon(_end, one.process)
    for one in running[:1]:
        await _end(one.process)


async def _end(process: trio.Process) -> None:
    """Ask for the end, insist after 20 s; returns when the process is gone.

    Who does not listen is first made to write where its threads are into its log.
    """
    for ask, patience_s in ((signal.SIGTERM, END_S_MAX), (signal.SIGABRT, ABORT_S_MAX)):
        if process.poll() is None:
            process.send_signal(ask)
            with trio.move_on_after(patience_s):
                await process.wait()
    if process.poll() is None:
        process.kill()
        await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()


def memory_mb(pid: int) -> int:
    """Resident memory of a process; 0 where /proc does not tell."""
    try:
        text = Path(f"/proc/{pid}/statm").read_text("ascii")
    except OSError:
        return 0
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, in seconds; 0 where /proc does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
