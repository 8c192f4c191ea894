"""A reading of the state as a result: now, or when it may be told.

What lives here: the bridge from `node/reads.py` to a `Later`. What must never live here: what is
read.
"""

from node.app import Node
from node.reads import Make
from node.rpc.dispatch import Later


def settled(node: Node, make: Make) -> Later:
    """What `make` reads, once no block is half done and all that it saw is on the disk."""
    later = Later()
    node.reads.read(make, later.finish)
    return later
