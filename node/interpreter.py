"""How the interpreter is set for a process that is a node: its collector and its threads.

What lives here: the settings of the whole process, made once it is up. What must never live here:
anything that a library or a test would call; these settings belong to whoever owns the process.

Theory. The collector looks for cycles among all objects that it knows. Half a million of a node's
live as long as the process, and one full collection walked them all with the loop standing still
for 100 to 250 ms, about once a second under load. So what exists when the node is up is taken out
of its sight. What a call leaves behind is mostly freed by its reference counts, and need be looked
at a twentieth as often.

A thread that computes gives the interpreter up after the switch interval, 5 ms by default, and the
loop gives it up with every read and every write: beside a busy thread it did two hundred of those
a second. With half a millisecond it does two thousand.
"""

import gc
import sys
from typing import Final

COLLECT_EVERY: Final = (14_000, 10, 10)
"""Allocations to a young collection, those to a middle one, those to a full one; by default 700,
10 and 10."""
SWITCH_S: Final = 0.0005


def settle() -> None:
    """Set this process, once everything is imported and made. Again does no harm."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_EVERY)
    sys.setswitchinterval(SWITCH_S)
