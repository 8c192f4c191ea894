"""A progress bar on standard error, for people only.

Standard output belongs to results. The bar is silent when nobody watches: standard error is not a
terminal, or the caller asked for `--json`. (tqdm writes to standard error by default.)
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from tqdm import tqdm


class Progress:
    """A bar; call it with the number of units done since the last call."""

    def __init__(self, bar: "tqdm[NoReturn]") -> None:
        self._bar: Final = bar

    def __call__(self, units: int) -> None:
        self._bar.update(units)

    def say(self, text: str) -> None:
        """Behind the bar, until something else is said."""
        self._bar.set_postfix_str(text)


@contextmanager
def progress(total: int, unit: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Show how much of `total` units is done while the context lasts:

        with progress(len(messages), "messages", quiet=arguments.json) as advance:
            for block in blocks:
                ...
                advance(len(block))
    """
    silent = quiet or not sys.stderr.isatty()
    with tqdm(total=total, unit=f" {unit}", unit_scale=True, disable=silent) as bar:
        yield Progress(bar)
