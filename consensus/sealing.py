"""The end of a block: what execution computed, and keeping it or taking it back.

What lives here: the results that a proposer writes into a header and everybody else compares with
one, commit and roll-back of words and tree. What must never live here: a check.

Theory. The tree is brought up to date before anybody knows whether the block is good, because the
root is part of the question. Images and marks are therefore kept until `commit`; `roll_back` puts
the words back and rehashes the same leaves, which brings back the digests as well.
"""

from dataclasses import dataclass
from typing import Final

from consensus import layout
from consensus.block import queue_hash
from consensus.chain import EVENT_BYTES, State
from consensus.layout import LAYOUT_VERSION
from consensus.scratch import forget
from consensus.state.memory import Memory, regions_of
from consensus.state.tree import StateTree
from consensus.streams import bytes_root

WITHDRAWN: Final = bytes((layout.EVENT_WITHDRAWN,))


@dataclass(frozen=True, slots=True)
class Results:
    """The header fields that follow from execution, by their names there, and the withdrawals."""

    l1_messages: int
    l1_queue_hash: bytes
    state_root: bytes
    events_root: bytes
    withdrawals_root: bytes
    commands: int
    sequence: int
    withdrawals: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a block: the new head, its hash and its events, 64 bytes each.

    `leaves` are those of the state that it touched, each once (word index >> 5).
    """

    hash: bytes
    events: bytes
    withdrawals: bytes
    operations: int
    leaves: list[int]


def results_of(state: State, messages: bytes, events: bytes, operations: int) -> Results:
    """What the block that was just executed computed; words and tree can still be rolled back."""
    memory = state.memory
    withdrawn = withdrawals_in(events)
    return Results(
        l1_messages=int(memory.M[layout.L1_MESSAGES]),
        l1_queue_hash=queue_hash(state.head.l1_queue_hash, messages),
        state_root=_root(memory),
        events_root=bytes_root("events", events),
        withdrawals_root=bytes_root("withdrawals", withdrawn),
        commands=operations,
        sequence=int(memory.M[layout.SEQUENCE]),
        withdrawals=withdrawn,
    )


def withdrawals_in(events: bytes) -> bytes:
    """The WITHDRAWN events among `events`, in order."""
    kinds = events[::EVENT_BYTES]
    found = []
    at = kinds.find(WITHDRAWN)
    while at >= 0:
        found.append(events[at * EVENT_BYTES : (at + 1) * EVENT_BYTES])
        at = kinds.find(WITHDRAWN, at + 1)
    return b"".join(found)


def commit(memory: Memory) -> list[int]:
    """Keep the executed block: its images are no longer needed. The leaves that it touched."""
    leaves = memory.dirty_leaves()
    forget(memory.S)
    return leaves


def roll_back(memory: Memory) -> None:
    """Words and tree as they were before the block, whatever was reached of it."""
    dirty = memory.dirty_leaves()
    memory.undo()
    regions = regions_of(memory.M)
    if len(memory.tree.regions) > len(regions):
        memory.tree = StateTree(regions, LAYOUT_VERSION)
        memory.tree.rebuild(memory.view())
        return
    leaves = memory.M[layout.END] >> layout.LEAF_SHIFT
    memory.tree.update(memory.view(), [leaf for leaf in dirty if leaf < leaves])


def _root(memory: Memory) -> bytes:
    known = len(memory.tree.regions)
    if memory.M[layout.MARKETS] >= known:
        for region in regions_of(memory.M)[known:]:
            memory.tree.add_region(region)
    memory.tree.update(memory.view(), memory.dirty_leaves())
    return memory.tree.root()
