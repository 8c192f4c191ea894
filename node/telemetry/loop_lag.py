"""How late the event loop is: the one number that everything else waits for.

What lives here: a task that sleeps and compares. What must never live here: what to do about it.

Theory. A timer that fires late by x means that something held the loop for x: every socket, vote
and order waited as long. It is measured always, because the cause is gone when somebody looks.
"""

from collections import deque
from typing import Final

import trio
from prometheus_client import CollectorRegistry, Histogram

TICK_S: Final = 0.02
WINDOW_TICKS: Final = 500  # about ten seconds
BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class LoopLag:
    """Run `run` in a nursery."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._window: deque[float] = deque(maxlen=WINDOW_TICKS)
        self._histogram = Histogram(
            "rialto_loop_lag_seconds",
            "How late timers of the event loop fire",
            buckets=BUCKETS_S,
            registry=registry,
        )

    async def run(self) -> None:
        while True:
            due = trio.current_time() + TICK_S
            await trio.sleep_until(due)
            self.note(trio.current_time() - due)

    def note(self, late_s: float) -> None:
        """One timer was late by so much, in seconds."""
        self._window.append(late_s)
        self._histogram.observe(late_s)

    def quantile(self, share: float) -> float:
        """Seconds; of about the last ten. 0 before the first timer fired."""
        ordered = sorted(self._window)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def worst(self) -> float:
        """Seconds; of about the last ten."""
        return max(self._window, default=0.0)
