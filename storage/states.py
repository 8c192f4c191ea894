"""The state on disk: leaves of the state memory, written behind the blocks.

What lives here: collecting what blocks changed, one atomic write of it, and the way back into a
memory that can run. What must never live here: execution; the blocks above the stored state are
replayed by the caller, through `apply_block`.

Theory. The blocks are the log; the stored state only saves replaying all of them. So it may lag,
and is not synced: after a crash the database holds the state of some earlier flush, whole, because
a flush is one batch together with the height and root it belongs to. Leaves are coalesced over many
blocks: a busy account is written once per flush, not once per block. Zero leaves are absent.

A state is believed when the tree rebuilt over its leaves has the stored root, and that root is the
one in the header of its block.

Old states (archive): the states between snapshots are not kept. An archive keeps snapshots at
intervals and every block, and rebuilds the state at any height by replay from the snapshot below
(`backup.plan`). Pre-images per block would cost as much disk as the blocks for states that hardly
anybody asks for.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from librt.vecs import vec
from mypy_extensions import i64

from consensus import codec
from consensus.block import HASH_BYTES, Header, block_hash
from consensus.chain import Chain, State
from consensus.exceptions import ConsensusError
from consensus.layout import LAYOUT_VERSION
from consensus.state.memory import Memory
from consensus.state.snapshot import WORDS_MAX, Facts, Restored
from consensus.state.tree import (
    LEAF_BYTES,
    REGIONS_MAX,
    ZERO_LEAF,
    Region,
    StateTree,
    layout_fault,
    nonzero_leaves,
    tile,
)
from storage import schema
from storage.database import Database, Reader, after, chunks, forget
from storage.exceptions import StorageDamaged, StorageRefused

STATE_DAMAGED: Final = 7530
STATE_FOREIGN_LAYOUT: Final = 7531
STATE_TOO_LARGE: Final = 7532
STATE_OF_ANOTHER_BLOCK: Final = 7533

FLUSH_BLOCKS: Final = 32
FLUSH_LEAVES: Final = 65_536
"""16 MiB: a flush is due after so many blocks or leaves, whichever comes first."""
_RECORD_BYTES_MAX: Final = 64 * 1024 + 128


class Flush(NamedTuple):
    """Leaves that changed, by number, and the record of the state that they lead to."""

    changed: dict[int, bytes]
    record: bytes


class States:
    """The state of the chain in a database.

    `note` and `take` belong to the thread that runs the core, between blocks; `write` to any.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed: dict[int, bytes] = {}
        self._blocks = 0

    def is_due(self) -> bool:
        return self._blocks >= FLUSH_BLOCKS or len(self._changed) >= FLUSH_LEAVES

    def note(self, memory: Memory, leaves: Iterable[int]) -> None:
        """Take over what a block changed: `Outcome.leaves`, right after it was applied."""
        view, changed = memory.view(), self._changed
        for leaf in leaves:
            changed[leaf] = bytes(view[leaf << 8 : (leaf << 8) + LEAF_BYTES])
        self._blocks += 1

    def take(self, state: State) -> Flush:
        """All changes up to the state's head, for `write`."""
        changed, self._changed, self._blocks = self._changed, {}, 0
        return Flush(changed, _record(state))

    def write(self, flush: Flush) -> None:
        """Store what `take` gave, in its order; not synced."""
        batch: list[tuple[bytes, bytes | None]] = [
            (schema.leaf_key(leaf), None if data == ZERO_LEAF else data)
            for leaf, data in flush.changed.items()
        ]
        batch.append((schema.STATE, flush.record))
        self._database.write(batch, sync=False)

    def begin(self, state: State) -> None:
        """Replace whatever is stored by this state; durable on return.

        A crash on the way leaves no stored state: `load` then finds None.
        """
        self._changed, self._blocks = {}, 0
        self._database.write([(schema.STATE, None)], sync=True)
        forget(self._database, *_LEAVES)
        view = state.memory.view()
        for region in state.memory.tree.regions:
            leaves = (region.first_leaf + at for at in nonzero_leaves(view, region))
            for chunk in chunks(leaves):
                batch = [
                    (schema.leaf_key(leaf), bytes(view[leaf << 8 : (leaf << 8) + LEAF_BYTES]))
                    for leaf in chunk
                ]
                self._database.write(batch, sync=False)
        self._database.write([(schema.STATE, _record(state))], sync=True)


_LEAVES: Final = (schema.LEAF, after(schema.LEAF))


def stored_height(reader: Reader) -> int | None:
    """The height of the stored state, None if there is none."""
    data = reader.get(schema.STATE)
    return None if data is None else _read_record(data)[0]


def load(reader: Reader, genesis_hash: bytes, words_max: int = WORDS_MAX) -> Restored | None:
    """The stored state, its root rebuilt and compared; None if there is none.

    Raises `StorageDamaged` 7530, `StorageRefused` 7531 or 7532.
    """
    data = reader.get(schema.STATE)
    if data is None:
        return None
    height, layout, hashed, root, regions = _read_record(data)
    if layout != LAYOUT_VERSION:
        text = f"the stored state has layout {layout}, this version reads {LAYOUT_VERSION}"
        raise StorageRefused(STATE_FOREIGN_LAYOUT, f"{text}; use the version that wrote it")
    words = sum(region.words for region in regions)
    if words > words_max:
        text = f"the stored state has {words} words, this node takes {words_max}"
        raise StorageRefused(STATE_TOO_LARGE, f"{text}; give it more memory")
    memory = bytearray(8 * words)
    for key, leaf in reader.scan(*_LEAVES):
        at = int.from_bytes(key[1:], "big") * LEAF_BYTES
        if len(leaf) != LEAF_BYTES or at >= len(memory):
            raise _damaged(height, f"leaf {at // LEAF_BYTES} does not belong to it")
        memory[at : at + LEAF_BYTES] = leaf
    tree = StateTree(regions, layout)
    tree.rebuild(memory)
    if tree.root() != root:
        raise _damaged(height, "its leaves do not have its root")
    facts = Facts(layout, genesis_hash, height, hashed, root)
    return Restored(facts, regions, memory, tree)


def resume(chain: Chain, restored: Restored, header: Header) -> State:
    """The state of `header`'s block, which the caller trusts, ready for the block above it.

    Raises `StorageRefused` 7533 if what was restored is another state.
    """
    facts = restored.facts
    seen = (facts.genesis_hash, facts.height, facts.block_hash, facts.state_root)
    if seen != (chain.genesis_hash, header.height, block_hash(header), header.state_root):
        text = f"a state of height {facts.height} and root {facts.state_root.hex()}"
        sentence = f"{text} is not that of block {header.height}; do not use it"
        raise StorageRefused(STATE_OF_ANOTHER_BLOCK, sentence)
    words = vec[i64](memoryview(restored.memory).cast("q"))
    return State(chain, Memory(words, restored.tree), header, facts.block_hash)


def _record(state: State) -> bytes:
    regions = [(region.id, region.leaves) for region in state.memory.tree.regions]
    head = state.head
    return codec.encode((head.height, LAYOUT_VERSION, state.head_hash, head.state_root, regions))


def _read_record(data: bytes) -> tuple[int, int, bytes, bytes, tuple[Region, ...]]:
    """Height, layout version, block hash, state root, regions."""
    try:
        item = codec.decode(data, limit_bytes=_RECORD_BYTES_MAX)
        height, layout, hashed, root, table = codec.read_record(item, 5)
        sizes = [codec.read_record(entry, 2) for entry in codec.read_list(table, REGIONS_MAX)]
        regions = tile([(codec.read_uint(a, 32), codec.read_uint(b, 32)) for a, b in sizes])
        fault = layout_fault(regions)
        if fault is not None:
            raise schema.bad_value(f"the state's table of regions ({fault})")
        return (
            codec.read_uint(height, 53),
            codec.read_uint(layout, 32),
            codec.read_bytes(hashed, HASH_BYTES),
            codec.read_bytes(root, HASH_BYTES),
            regions,
        )
    except ConsensusError as error:
        raise schema.bad_value("the state's record") from error


def _damaged(height: int, why: str) -> StorageDamaged:
    text = f"the stored state of height {height} is damaged: {why}"
    sentence = f"{text}; start from a snapshot, a backup or the genesis file"
    return StorageDamaged(STATE_DAMAGED, sentence, height=height)
