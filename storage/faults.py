"""Faults on purpose: every write of an in-memory disk is counted, and the n-th can go wrong.

What lives here: the counter that in-memory database and files share, and the exception of a crash.
What must never live here: what is lost in a crash; each store knows what it had not synced.
"""

import errno


class Crashed(BaseException):
    """The machine stopped inside a write. Not an `Exception`: nothing may survive it by mistake."""


class Faults:
    """Counts writes, syncs and names; stops at one of them.

    `crash_at` n: the n-th (from 1) is done as far as memory goes, is not synced, and `Crashed` is
    raised; so is every later one until the disk is opened anew. `fail_at` n: it raises `OSError`
    and does nothing.
    """

    def __init__(self, *, crash_at: int = 0, fail_at: int = 0) -> None:
        self.crash_at = crash_at
        self.fail_at = fail_at
        self.count = 0

    def before(self) -> None:
        """Count one write; raises `OSError` if it is the one to fail."""
        self.count += 1
        if self.count == self.fail_at:
            raise OSError(errno.EIO, "a write failed on purpose")
        if 0 < self.crash_at < self.count:
            raise Crashed(self.count)

    def done(self) -> None:
        """The write is in memory, not yet on the disk; raises `Crashed` if it is the one."""
        if self.count == self.crash_at:
            raise Crashed(self.count)
