"""What a node takes from the machine that it runs on: the time, and threads for blocking work.

What lives here: the protocol `Machine` and the real one. What must never live here: a rule, a file
or a socket. A simulation passes its own: there the clock is trio's and blocking work runs at once.

Theory. Synced writes and pairings would stop the loop for milliseconds. Disk work keeps its order:
one thread. The journal's syncs, which answers wait for, have a thread of their own: behind a block
that is being stored they would wait for all of it. Between the two nothing is in order but by
waiting. Curve arithmetic leaves the interpreter lock: as many threads as there are cores.
"""

import os
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import trio

Result = TypeVar("Result")


class Machine(Protocol):
    def now_ms(self) -> int:
        """Unix time, ms. May step; whoever needs durations uses `trio.current_time`."""

    def entropy(self, count: int) -> bytes:
        """So many unpredictable bytes."""

    async def disk(self, work: Callable[[], Result]) -> Result:
        """Run blocking disk work: one at a time, in the order of the calls, never cancelled."""

    async def journal(self, work: Callable[[], Result]) -> Result:
        """The same beside `disk`, for the journal alone."""

    async def compute(self, work: Callable[[], Result]) -> Result:
        """Run work that leaves the interpreter lock for most of its time; never cancelled."""


class RealMachine:
    """The machine itself."""

    def __init__(self) -> None:
        self._disk: Final = trio.CapacityLimiter(1)
        self._journal: Final = trio.CapacityLimiter(1)
        self._compute: Final = trio.CapacityLimiter(os.cpu_count() or 1)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def entropy(self, count: int) -> bytes:
        return os.urandom(count)

    async def disk(self, work: Callable[[], Result]) -> Result:
        return await trio.to_thread.run_sync(work, limiter=self._disk)

    async def journal(self, work: Callable[[], Result]) -> Result:
        return await trio.to_thread.run_sync(work, limiter=self._journal)

    async def compute(self, work: Callable[[], Result]) -> Result:
        return await trio.to_thread.run_sync(work, limiter=self._compute)
