"""One seed, one run: trio with a seeded scheduler and a clock that jumps.

What lives here: how a simulated run is started. What must never live here: what is simulated.

Theory. Trio shuffles the tasks that are ready, so that nobody relies on their order; its source of
chance is private and can be seeded, which Hypothesis does too (`trio._core._run`). With the clock
that jumps to the next deadline when nothing is ready, a run is a function of its seed.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from unittest.mock import patch

import trio
import trio._core._run as scheduler
from trio.testing import MockClock

Result = TypeVar("Result")


def run_seeded(main: Callable[[], Awaitable[Result]], seed: int) -> Result:
    """Run `main` to its end in simulated time, the same way for the same seed."""
    scheduler._r.seed(seed)
    with patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
        return trio.run(main, clock=MockClock(autojump_threshold=0))
