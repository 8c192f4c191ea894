"""The tape: what happened, in order, as far as it may be told.

What lives here: one stream of events that feeds, receipts and metrics read. What must never live
here: an event that is not yet on the disk of the node that executed it.

Theory. A leader puts each group on the tape when its journal is synced, a follower each block when
it is applied and kept. Readers are plain functions, called in order on the loop; they must be quick
and must not raise, so whoever has more to do keeps a bounded queue of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from consensus.block import Block
from consensus.finality.votes import Certificate


class Happened(NamedTuple):
    """Events of 64 bytes each, of one block, in order. A block may come in several pieces."""

    height: int
    time: int  # of the block, ms
    events: bytes


@dataclass(frozen=True, slots=True)
class BlockKept:
    """All events of the block are on the tape, and the block is on the disk."""

    block: Block
    hash: bytes


@dataclass(frozen=True, slots=True)
class Certified:
    """A quorum of validators replayed this block."""

    certificate: Certificate


Entry: TypeAlias = Happened | BlockKept | Certified
Reader: TypeAlias = Callable[[Entry], None]


class Tape:
    """Entries go to every reader, in the order in which the readers came."""

    def __init__(self) -> None:
        self._readers: Final[list[Reader]] = []

    def read_with(self, reader: Reader) -> None:
        """Call `reader` with every later entry."""
        self._readers.append(reader)

    def put(self, entry: Entry) -> None:
        for reader in self._readers:
            reader(entry)
