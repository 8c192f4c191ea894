"""Where a fault of one handler or check ends.

What lives here: the one place that lets an unexpected error end a task instead of the process.
What must never live here: errors that we expect; those are caught where they belong, by name. What
is contained here is a fault of our own code that a peer may have found how to trigger: it is
logged with its trace and counted (`faults`), never silent, and the peer is not blamed for it.
"""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final

log: Final = logging.getLogger(__name__)


class Contained:
    """`with Contained(count, "what was running"):` ends an Exception raised inside."""

    def __init__(self, count: Callable[[str], None], doing: str) -> None:
        self._count = count
        self._doing = doing
        self.fault: Exception | None = None

    def __enter__(self) -> "Contained":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(fault, Exception):
            return False  # nothing happened, or a cancellation, which is not ours to stop
        self.fault = fault
        self._count("faults")
        log.error("a fault while %s was contained", self._doing, exc_info=fault)
        return True
