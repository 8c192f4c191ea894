"""Reading the state for somebody outside: never half of a block, never what is not on the disk.

What lives here: when a reading may happen, and when its result may leave. What must never live
here: what is read.

Theory. A follower replays a block in a thread, and a leader seals in one; a reading in between
would see half of it, so it waits for the chain's lock. A leader executes ahead of its disk; what it
would tell of that could be gone after a crash. So the reading happens at once, and its result
leaves with the sync that covers it.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import trio

from node.containment import Contained
from node.exceptions import NodeError

READS_BUSY: Final = 7336
WAITING_MAX: Final = 8192

Make: TypeAlias = Callable[[], object]
"""Gives a value or raises."""


class Reads:
    """`when_durable(done)` calls `done` when what was executed so far may be told."""

    def __init__(self, lock: trio.Lock, when_durable: Callable[[Callable[[], None]], None]) -> None:
        self._lock = lock
        self._when_durable = when_durable
        self._waiting: list[tuple[Make, Callable[[Make], None]]] = []
        self._news = trio.Event()

    def read(self, make: Make, done: Callable[[Make], None]) -> None:
        """Read with `make`; `done` gets the result, or what was raised, as a function that gives
        it. Raises `NodeError` 7336."""
        if not self._lock.locked():
            self._tell(make, done)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append((make, done))
            self._news.set()
        else:
            raise NodeError(READS_BUSY, f"{WAITING_MAX} readings wait for the present block; retry")

    async def run(self) -> None:
        """Serve those who wait, whenever the lock is free."""
        while True:
            await self._news.wait()
            async with self._lock:
                waiting, self._waiting = self._waiting, []
                self._news = trio.Event()
                for make, done in waiting:
                    self._tell(make, done)

    def _tell(self, make: Make, done: Callable[[Make], None]) -> None:
        result = _kept(make)
        self._when_durable(lambda: done(result))


def _kept(make: Make) -> Make:
    """The result of `make` as of now."""
    made: list[object] = []
    failed: list[Exception] = []
    with Contained(failed.append):
        made.append(make())

    def give() -> object:
        if failed:
            raise failed[0]
        return made[0]

    return give
