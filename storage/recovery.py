"""Start-up is recovery: from what is on the disk to the state of the head.

What lives here: choosing where to start, replay, and keeping a new block. What must never live
here: the journal's tail, which only a leader has and re-executes, or a thread.

Theory. Every start is the start after a crash; there is no other path to get wrong. The stored
state, else the newest snapshot that can be read, else genesis is the state of some block; the
blocks above it are walked (first damage named by height), then applied through the one door, which
compares every root. Nothing is believed because this node wrote it.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from consensus.authority import Recover
from consensus.block import Block, Header
from consensus.chain import State, genesis_state
from consensus.exceptions import ConsensusError
from consensus.genesis import Genesis
from consensus.sealing import Outcome
from consensus.signatures import recover_many
from consensus.state.snapshot import Restored
from consensus.transition import apply_block
from storage.blocks import Blocks, damaged
from storage.database import Database
from storage.exceptions import StorageDamaged, StorageRefused
from storage.migration import migrate
from storage.schema import Identity, claim
from storage.snapshots import Snapshots
from storage.states import States, load, resume

NO_STATE: Final = 7534

Progress = Callable[[int, int], object]
"""Called with (height, head) after each replayed block."""


class Chain(NamedTuple):
    """A chain at rest and its running state."""

    blocks: Blocks
    states: States
    state: State


def identity_of(genesis: Genesis) -> Identity:
    return Identity(genesis.chain_id, genesis.hash)


def recover_chain(
    genesis: Genesis,
    database: Database,
    snapshots: Snapshots,
    *,
    recover: Recover = recover_many,
    progress: Progress | None = None,
) -> Chain:
    """Open the chain in this database, or begin it, and bring its state to the head.

    Raises `StorageRefused` (another chain, 7534), `StorageDamaged` with the height.
    """
    claim(database, identity_of(genesis))
    migrate(database)
    blocks, states = Blocks(database), States(database)
    first = genesis_state(genesis)
    if blocks.is_empty():
        blocks.begin(first.head)
        states.begin(first)
        return Chain(blocks, states, first)
    state = _start(first, blocks, states, database, snapshots)
    head = blocks.walk(state.head.height + 1)
    for height in range(state.head.height + 1, head.height + 1):
        block = blocks.block(height)
        try:
            outcome = apply_block(state, block, recover)
        except ConsensusError as error:
            raise damaged(height, f"it cannot be applied again ({error})") from error
        states.note(state.memory, outcome.leaves)
        if states.is_due():
            states.write(states.take(state))
        if progress is not None:
            progress(height, head.height)
    return Chain(blocks, states, state)


def keep_block(chain: Chain, block: Block, outcome: Outcome, certificate: bytes = b"") -> None:
    """Store a block that was just applied to `chain.state`; durable on return.

    The stored state follows when it is due. A node that must not wait for it calls `append`,
    `note`, `take` and `write` itself, each where it belongs.
    """
    chain.blocks.append(block, outcome.events, certificate)
    chain.states.note(chain.state.memory, outcome.leaves)
    if chain.states.is_due():
        chain.states.write(chain.states.take(chain.state))


def _start(
    first: State, blocks: Blocks, states: States, database: Database, snapshots: Snapshots
) -> State:
    """The state to replay from: stored, of a snapshot, or genesis."""
    head, foundation = blocks.head(), blocks.foundation()
    restored = load(database, first.chain.genesis_hash)
    if restored is not None:
        height = restored.facts.height
        if not foundation.height <= height <= head.height:
            text = f"the stored state of height {height} is not between the blocks kept"
            raise StorageDamaged(NO_STATE, f"{text}; restore a backup")
        return resume(first.chain, restored, blocks.header(height))
    for manifest in reversed(snapshots.kept()):
        if foundation.height <= manifest.height <= head.height:
            header = blocks.header(manifest.height)
            state = resume(first.chain, snapshots.read(manifest), header)
            states.begin(state)
            return state
    if foundation.height == 0:
        states.begin(first)
        return first
    text = f"the blocks start above height {foundation.height} and no state at or above it is kept"
    raise StorageRefused(NO_STATE, f"{text}; restore a backup, or synchronise into a new directory")


def adopt_snapshot(
    genesis: Genesis, database: Database, snapshots: Snapshots, height: int
) -> Chain:
    """Begin an empty database at a kept snapshot, whose header the caller has found certified.

    Raises `StorageRefused` 7534 if there is no snapshot of that height.
    """
    manifest = snapshots.newest(height)
    if manifest is None or manifest.height != height:
        raise StorageRefused(NO_STATE, f"no snapshot of height {height} is kept; fetch it first")
    return adopt_state(genesis, database, manifest.header, snapshots.read(manifest))


def adopt_state(genesis: Genesis, database: Database, header: Header, restored: Restored) -> Chain:
    """The same with a snapshot that was read already: the state of the certified `header`."""
    state = resume(genesis_state(genesis).chain, restored, header)
    claim(database, identity_of(genesis))
    blocks, states = Blocks(database), States(database)
    blocks.begin(header)
    states.begin(state)
    return Chain(blocks, states, state)
