"""A progress bar on standard error, for people only.

Standard output belongs to results. The bar is silent when nobody watches: standard error is not a
terminal, or the caller asked for `--json`. (tqdm writes to standard error by default.)
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress(total: int, unit: str, *, quiet: bool = False) -> Iterator[Callable[[int], object]]:
    """Show how much of `total` units is done while the context lasts.

    Yields a function that takes the number of units done since its last call:

        with progress(len(messages), "messages", quiet=arguments.json) as advance:
            for block in blocks:
                ...
                advance(len(block))
    """
    silent = quiet or not sys.stderr.isatty()
    with tqdm(total=total, unit=f" {unit}", unit_scale=True, disable=silent) as bar:
        yield bar.update
