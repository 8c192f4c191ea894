"""A follower whose core is the generated C: it executes blocks and computes roots, checks nothing.

What lives here: one block's rows through the C, and the tree over its words. What must never live
here: a comparison, or how the blocks were made.
"""

import tempfile
from pathlib import Path
from typing import Final

from consensus import layout
from consensus.block import Block
from consensus.chain import State
from consensus.execute import PHASE_COMMANDS, PHASE_MESSAGES
from consensus.state.memory import regions_of
from consensus.state.tree import StateTree
from consensus.streams import bytes_root
from node.build_check import ROOT
from node.ctwin import CTwin, build

ENTRIES: Final = ("execute", "forget", "housekeeping", "open_block", "operate", "undo")


class GeneratedFollower:
    """It starts from a genesis state of its own and follows by `apply`."""

    def __init__(self, genesis: State) -> None:
        memory = genesis.memory
        folder = Path(tempfile.gettempdir()) / "rialto-ctwin"
        library = build(ROOT, folder, "overflow", entries=ENTRIES)
        self._twin = CTwin(library, bytes(memoryview(memory.M)), bytes(memoryview(memory.S)))
        self._M, self._S = self._twin.memory("M"), self._twin.memory("S")
        self._tree = StateTree(regions_of(self._M), layout.LAYOUT_VERSION)
        self._tree.rebuild(self._view())

    def apply(self, block: Block) -> tuple[bytes, bytes]:
        """State root and events root after the block's rows."""
        header = block.header
        self._twin.call("open_block", b"", header.height, header.time, header.l1_number)
        events = self._run(block.messages, PHASE_MESSAGES)
        self._twin.call("housekeeping")
        events += self._take_events() + self._run(block.commands, PHASE_COMMANDS)
        first = self._S[layout.S_LIST]
        dirty = self._S[first : first + self._S[layout.S_DIRTY]].tolist()
        self._tree.update(self._view(), dirty)
        self._twin.call("forget")
        return self._tree.root(), bytes_root("events", events)

    def _run(self, rows: bytes, phase: int) -> bytes:
        at = self._twin.call("execute", rows, 0, len(rows), phase)
        assert at == len(rows), f"stopped at byte {at} with fault {self._S[layout.S_FAULT]}"
        return self._take_events()

    def _take_events(self) -> bytes:
        events = self._S[layout.S_EVENTS : self._S[layout.S_EVENT]].tobytes()
        self._S[layout.S_EVENT] = layout.S_EVENTS
        return events

    def _view(self) -> memoryview:
        return self._M[: self._M[layout.END]].cast("B")
