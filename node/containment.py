"""Whatever a piece of work raises, kept inside it.

What lives here: two context managers. What must never live here: an opinion about the error;
whoever contains it says what becomes of it.

A client's input must not end the server, and no list of exceptions is long enough to promise that.
Cancellation is no `Exception` and passes.
"""

from collections.abc import Callable
from types import TracebackType


class Attempt:
    """`with attempt: ...`; afterwards `error` is the `Exception` that ended it, or None."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
            return True
        return False


class Contained(Attempt):
    """`with Contained(failed): ...`: an `Exception` inside is given to `failed` and ends there."""

    __slots__ = ("_failed",)

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        super().__init__()
        self._failed = failed

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        is_ended = super().__exit__(kind, error, trace)
        if self.error is not None:
            self._failed(self.error)
        return is_ended
