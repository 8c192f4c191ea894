"""Is this node's memory the state of its head? If not: the first wrong word, by name.

What lives here: looking (a share after every block, all of it before anybody is blamed) and the
report. What must never live here: a repair; a restart replays from what is stored.

Theory. The tree over the memory was compared with a header after every block, so a leaf whose
digest is not the tree's was changed by something other than a block: a flipped bit, a stray write.
Such a fault need not show for hours. So a rotating share of the leaves is rehashed after each
block, before its vote (rule 4), and all of them when a block does not hold, because a node with a
damaged memory must not accuse its leader. A roll-back rehashes what it puts back, so that a fault
in a leaf which the block touched moves into the tree: the root is compared with the head's as well.

The tree holds digests, not values. The report therefore makes the state of the head a second time,
from the stored state and the blocks above it, through the one door, and compares word by word. With
the block at hand, both states execute it group by group: the first operation whose events differ
is named too.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from consensus import layout
from consensus.authority import Recover
from consensus.block import Block
from consensus.chain import EVENT_BYTES, State, genesis_state
from consensus.commands import read_groups
from consensus.exceptions import ConsensusError, InvalidSnapshot
from consensus.execute import PHASE_COMMANDS
from consensus.sealing import roll_back
from consensus.transition import apply_block, begin, reserve_listings, run, run_messages
from node.chain import LiveChain
from node.exceptions import NodeError
from node.field_names import Field, FieldNames
from node.machine import Machine
from storage.database import Database
from storage.exceptions import StorageError
from storage.states import load, resume

MEMORY_DIFFERS: Final = 7420
STORED_DIFFERS: Final = 7421

SHARE_LEAVES: Final = 2048
"""About 1 ms a block; a state of 100 MB is walked once in 200 blocks."""
DIFFERENCES_MAX: Final = 16
log: Final = logging.getLogger(__name__)


class Difference(NamedTuple):
    """A word of the memory that is not what the blocks make it."""

    word: int
    field: Field
    expected: int
    seen: int

    def __str__(self) -> str:
        return f"{self.field} is {self.seen}, must be {self.expected} (word {self.word})"


class Diverged(NodeError):
    """This node's memory is not the state of its head. `operation` is a sequence number."""

    def __init__(
        self, number: int, text: str, height: int, differences: tuple[Difference, ...] = (),
        operation: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(number, text, height=height, operation=operation)
        self.height: Final = height
        self.differences: Final = differences
        self.operation: Final = operation


class Examiner:
    """Examines one chain's memory. Both methods raise `Diverged`; the node stops then."""

    def __init__(
        self, chain: LiveChain, database: Database, machine: Machine, recover: Recover
    ) -> None:
        self._chain = chain
        self._database = database
        self._machine = machine
        self._recover = recover
        self._next_leaf = 0

    async def share(self) -> None:
        """Rehash the next share of the leaves. Between blocks."""
        async with self._chain.lock:
            if await self._machine.compute(self._rotate) >= 0:
                raise logged(await self._machine.compute(lambda: self._report(None)))

    def share_unstored(self) -> None:
        """The same for a leader, who looks before it signs, when its block is not stored yet: the
        report names the records of the leaf, without the values that they should have."""
        found = self._rotate()
        if found >= 0:
            raise logged(self._damaged_leaf(found))

    def _rotate(self) -> int:
        memory = self._chain.state.memory
        view = memory.view()
        first = self._next_leaf
        if first << 8 >= len(view):
            first = 0
        self._next_leaf = first + SHARE_LEAVES
        return memory.tree.rotating_check(view, first, SHARE_LEAVES)

    async def blame(self, block: Block) -> None:
        """Return if the memory is sound, so that the block is to blame."""
        async with self._chain.lock:
            if not await self._machine.compute(lambda: is_sound(self._chain.state)):
                raise logged(await self._machine.compute(lambda: self._report(block)))

    def _damaged_leaf(self, leaf: int) -> Diverged:
        state = self._chain.state
        first = leaf * layout.LEAF_WORDS
        try:
            names = FieldNames(state.memory)
            where = f"between {names.of(first)} and {names.of(first + layout.LEAF_WORDS - 1)}"
        except InvalidSnapshot as error:
            where = f"in a state that cannot be read ({error.text})"
        height = state.head.height
        text = f"the memory is not the state of block {height}: a word {where} was changed"
        advice = "it was not signed; restart to execute the journal again, and test this machine"
        return Diverged(MEMORY_DIFFERS, f"{text}; {advice}", height)

    def _report(self, block: Block | None) -> Diverged:
        state = self._chain.state
        height = state.head.height
        try:
            truth = stored_head(self._chain, self._database, self._recover)
        except (ConsensusError, StorageError) as error:
            text = f"the memory is not the state of block {height}, and the stored state does not"
            sentence = f"{text} lead there either ({error}); restore a backup, check the machine"
            return Diverged(STORED_DIFFERS, sentence, height)
        differences = tuple(differing_words(state, truth))
        operation = first_difference(state, truth, block) if block else None
        shown = "; ".join(map(str, differences[:3])) or "no word of it, only the tree"
        text = f"the memory is not the state of block {height}: {shown}"
        if operation is not None:
            assert block is not None
            text += f"; block {block.header.height} goes wrong at operation {operation}"
        advice = "nothing was voted for; restart to replay, and test this machine's memory"
        return Diverged(MEMORY_DIFFERS, f"{text}; {advice}", height, differences, operation)


def logged(fault: Diverged) -> Diverged:
    """The report belongs into the log, whatever becomes of the process."""
    log.critical("%s", fault)
    return fault


def is_sound(state: State) -> bool:
    """Whether every leaf has its digest, and the tree the head's root."""
    memory = state.memory
    view = memory.view()
    if memory.tree.root() != state.head.state_root:
        return False
    return memory.tree.rotating_check(view, 0, len(view) >> 8) < 0


def stored_head(chain: LiveChain, database: Database, recover: Recover) -> State:
    """The state of the head made a second time. Raises what storage and `apply_block` raise."""
    first = genesis_state(chain.genesis)
    blocks = chain.blocks
    restored = load(database, chain.genesis.hash)
    state = first
    if restored is not None:
        state = resume(first.chain, restored, blocks.header(restored.facts.height))
    for height in range(state.head.height + 1, chain.state.head.height + 1):
        apply_block(state, blocks.block(height), recover)
    return state


def differing_words(ours: State, truth: State) -> list[Difference]:
    """The first `DIFFERENCES_MAX` words that differ."""
    seen, expected = ours.memory.view().cast("q"), truth.memory.view().cast("q")
    step = layout.LEAF_WORDS
    words = [
        word
        for at in range(0, len(expected), step)
        if seen[at : at + step] != expected[at : at + step]
        for word in range(at, at + step)
        if seen[word] != expected[word]
    ][:DIFFERENCES_MAX]
    if not words:
        return []
    names = FieldNames(truth.memory)
    return [Difference(word, names.of(word), expected[word], seen[word]) for word in words]


def first_difference(ours: State, truth: State, block: Block) -> int | None:
    """The first operation of the block whose events differ; both states are rolled back."""
    try:
        for state in (ours, truth):
            reserve_listings(state.memory, list(read_groups(block.commands)))
        return _compare(ours, truth, block)
    finally:
        for state in (ours, truth):
            roll_back(state.memory)


def _compare(ours: State, truth: State, block: Block) -> int | None:
    header = block.header
    results = []
    for state in (ours, truth):
        begin(state.memory, header.height, header.time, header.l1_number)
        results.append(_attempt(partial(_messages, state, block)))
    before = int(truth.memory.M[layout.SEQUENCE])
    if results[0] != results[1]:
        return _operation(results, before)
    for group in read_groups(block.commands):
        before = int(truth.memory.M[layout.SEQUENCE])
        results = [
            _attempt(partial(run, state.memory, group.rows, PHASE_COMMANDS))
            for state in (ours, truth)
        ]
        if results[0] != results[1]:
            return _operation(results, before)
        if results[0] is None:
            return None
    return None


def _messages(state: State, block: Block) -> bytes:
    return run_messages(state.memory, block.messages)[1]


def _attempt(work: Callable[[], bytes]) -> bytes | None:
    """The events, None if the rows cannot be in the block."""
    try:
        return work()
    except (ConsensusError, IndexError, OverflowError):  # a damaged memory may do anything
        return None


def _operation(results: list[bytes | None], before: int) -> int:
    """The sequence of the first event that differs; the first operation if there is none."""
    ours, truth = results
    for at in range(0, min(len(ours or b""), len(truth or b"")), EVENT_BYTES):
        assert truth is not None and ours is not None
        if ours[at : at + EVENT_BYTES] != truth[at : at + EVENT_BYTES]:
            return int.from_bytes(truth[at + 8 : at + 16], "little")
    return before + 1
