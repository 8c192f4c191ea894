"""One line of `rialto doctor`.

What lives here: the value. What must never live here: a check.
"""

from typing import Final, NamedTuple

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "FAIL"


class Finding(NamedTuple):
    """`advice` says what to do; it is printed unless the level is `ok`."""

    level: str
    name: str
    seen: str
    advice: str


def graded(
    name: str, seen: str, advice: str, *, warn: bool = False, fail: bool = False
) -> Finding:
    return Finding(FAIL if fail else WARN if warn else OK, name, seen, advice)
