"""The memory of one exchange: state words `M`, scratch `S`, and the tree over them.

What lives here: making an empty ledger, giving the core room, what a block left dirty, undo. What
must never live here: a rule of the exchange. The core sees two vectors; this file owns them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.scratch import forget, tables, undo
from consensus.state.tree import Region, StateTree

# One operation: every visit one event, evictions, its own reports; leaves: maker's and taker's
# records, balances, tables, levels, bitmaps for each visit.
EVENTS_PER_OPERATION: Final = 5000 + 256
LEAVES_PER_OPERATION: Final = 5000 * 12 + 1024
IMAGES_AT_FIRST: Final = LEAVES_PER_OPERATION + 16384


@dataclass(frozen=True)
class Sizes:
    """How many of each thing a ledger has room for; powers of two (docs/protocol/layout.md)."""

    assets_max: int
    markets_max: int
    accounts_max: int
    table_slots: int


def ledger_offsets(sizes: Sizes) -> dict[int, int]:
    """Header words that say where the ledger's parts begin: {word: offset}."""
    at = layout.AT_ASSETS + _padded(sizes.assets_max * 16)
    parts = (
        (layout.AT_MARKETS, sizes.markets_max * 16),
        (layout.AT_ACCOUNTS, sizes.accounts_max * 32),
        (layout.AT_KEYS, sizes.accounts_max * layout.KEYS_PER_ACCOUNT * 16),
        (layout.AT_BALANCES, sizes.accounts_max * sizes.assets_max * 8),
        (layout.AT_TABLES, sizes.accounts_max * sizes.table_slots),
    )
    offsets = {}
    for word, words in parts:
        offsets[word] = at
        at += _padded(words)
    offsets[layout.END] = at
    return offsets


def empty_ledger(
    sizes: Sizes,
    parameters: Sequence[int],
    governor: tuple[int, int, int],
    fee_owner: tuple[int, int, int],
    time: int,
) -> vec[i64]:
    """The ledger before anything happened: sizes, parameters, governor and the fee account."""
    offsets = ledger_offsets(sizes)
    M = _zeros(offsets[layout.END])
    for word, value in offsets.items():
        M[word] = value
    M[layout.LAYOUT] = layout.LAYOUT_VERSION
    M[layout.TIME] = time
    M[layout.ACCOUNTS] = 2
    M[layout.ACCOUNTS_MAX] = sizes.accounts_max
    M[layout.ASSETS_MAX] = sizes.assets_max
    M[layout.MARKETS_MAX] = sizes.markets_max
    M[layout.TABLE_SLOTS] = sizes.table_slots
    for parameter, value in enumerate(parameters):
        M[layout.PARAMETERS + parameter] = value
    for n in range(3):
        M[layout.GOVERNOR + layout.KEY_ADDRESS + n] = governor[n]
    M[layout.GOVERNOR + layout.KEY_FLAGS] = layout.KEY_LIVE
    sentinel = offsets[layout.AT_ACCOUNTS]
    record = sentinel + 32 * layout.FEE_ACCOUNT
    M[sentinel + layout.ACCOUNT_NEXT] = layout.FEE_ACCOUNT
    for n in range(3):
        M[record + layout.ACCOUNT_ADDRESS + n] = fee_owner[n]
        M[record + layout.ACCOUNT_OWNER + layout.KEY_ADDRESS + n] = fee_owner[n]
    M[record + layout.ACCOUNT_OWNER + layout.KEY_FLAGS] = layout.KEY_LIVE
    M[record + layout.ACCOUNT_STP] = layout.STP_CANCEL_MAKER
    M[record + layout.ACCOUNT_TOKENS] = M[layout.RATE_BURST] * 1000
    M[record + layout.ACCOUNT_REFILLED] = time
    return M


def regions_of(M: Sequence[int] | vec[i64]) -> list[Region]:
    """The regions that the ledger's market records describe, in id order."""
    markets = M[layout.AT_MARKETS]
    first = M[markets + layout.MARKET_REGION] if M[layout.MARKETS] else M[layout.END]
    regions = [Region(0, 0, int(first))]
    for market in range(M[layout.MARKETS]):
        record = markets + market * 16
        base, words = M[record + layout.MARKET_REGION], M[record + layout.MARKET_WORDS]
        regions.append(Region(market + 1, int(base), int(words)))
    return regions


class Memory:
    """State words `M`, scratch `S` and the tree over `M`.

    `M` and `S` are replaced when they grow: take them anew after `reserve` or `make_room`.
    """

    def __init__(self, words: vec[i64], tree: StateTree | None = None) -> None:
        self.M = words
        self._images_max = IMAGES_AT_FIRST
        self._new_scratch()
        self.tree = tree or StateTree(regions_of(words), layout.LAYOUT_VERSION)
        if tree is None:
            self.tree.rebuild(self.view())

    def view(self) -> memoryview:
        """All regions as little-endian bytes; valid until `M` grows."""
        return memoryview(self.M).cast("B")[: self.M[layout.END] * 8]

    def _new_scratch(self) -> None:
        leaves = len(self.M) >> layout.LEAF_SHIFT
        marks = layout.S_MARKS
        images = marks + 2 * leaves
        S = _zeros(images + self._images_max * layout.LEAF_WORDS)
        tables(S)
        S[layout.S_EVENT] = layout.S_EVENTS
        S[layout.S_EVENT_HIGH] = marks - EVENTS_PER_OPERATION * layout.EVENT_WORDS
        S[layout.S_LIST] = marks + leaves
        S[layout.S_IMAGES] = images
        S[layout.S_DIRTY_HIGH] = self._images_max - LEAVES_PER_OPERATION
        self.S = S

    def reserve(self, words: int) -> None:
        """Let `M` hold at least `words`; new words are zero. Only between blocks."""
        if words > len(self.M):
            grown = bytearray(_padded(words) * 8)
            grown[: self.M[layout.END] * 8] = self.view()
            self.M = vec[i64](memoryview(grown).cast("q"))
            self._new_scratch()

    def make_room(self) -> None:
        """Let a block that runs long keep more images; nothing of the block is lost."""
        if self.S[layout.S_DIRTY] < self.S[layout.S_DIRTY_HIGH]:
            return
        more = self._images_max
        kept = bytearray(memoryview(self.S).cast("B"))
        kept.extend(bytes(more * layout.LEAF_WORDS * 8))
        self._images_max += more
        self.S = vec[i64](memoryview(kept).cast("q"))
        self.S[layout.S_DIRTY_HIGH] = self._images_max - LEAVES_PER_OPERATION

    def take_events(self) -> bytes:
        """The events since the last call, 64 bytes each; the event area is empty again."""
        end = self.S[layout.S_EVENT]
        self.S[layout.S_EVENT] = layout.S_EVENTS
        return bytes(memoryview(self.S).cast("B")[layout.S_EVENTS * 8 : end * 8])

    def dirty_leaves(self) -> list[int]:
        """Leaves touched since the last seal or undo, each once, in order of first touch."""
        first = self.S[layout.S_LIST]
        return memoryview(self.S)[first : first + self.S[layout.S_DIRTY]].tolist()

    def seal(self) -> bytes:
        """Bring the tree up to date with the block's dirty leaves; returns the state root."""
        dirty = self.dirty_leaves()
        known = len(self.tree.regions)
        for region in regions_of(self.M)[known:]:
            self.tree.add_region(region)
        self.tree.update(self.view(), dirty)
        forget(self.S)
        return self.tree.root()

    def undo(self) -> None:
        """Back to the last seal, to the last word."""
        undo(self.M, self.S)
        forget(self.S)
        self.S[layout.S_EVENT] = layout.S_EVENTS


def _zeros(words: int) -> vec[i64]:
    return vec[i64](memoryview(bytes(words * 8)).cast("q"))


def _padded(words: int) -> int:
    return (words + layout.LEAF_WORDS - 1) & -layout.LEAF_WORDS
