"""Multiproofs: some leaves of the state, believed on the strength of a state root alone.

What lives here: the proof value, its one canonical encoding, proving and verifying. What must never
live here: what a leaf means (accounts, orders, absence are read from `VerifiedLeaves` elsewhere),
or any trust in the party that sent the proof.

Theory of operation. Verifier and prover both know, from the leaf indexes and the region table
alone, which digests the verifier cannot compute (`missing_nodes`). So the proof carries those
digests in that order, and neither counts nor positions. A subtree of zeros is one flag bit, and a
position beyond the region's last leaf is not even that: it is padding by definition. Whatever
could be said in two ways is refused in all but the shortest, so a root and a set of leaves have
exactly one proof. A changed index may still make a true proof of another leaf (a zero leaf has many
equals), so a reader takes the leaf it asked for from the result, by index, never "the leaf".
Layout: docs/protocol/state-tree.md.

Multiproofs with flags instead of positions follow the ones of OpenZeppelin's MerkleProof and the
SSZ generalised-index proofs of the Ethereum consensus specifications.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from consensus.exceptions import CoreFault, InvalidProof
from consensus.state.tree import (
    DIGEST_BYTES,
    LEAF_BYTES,
    LEAF_WORDS,
    REGIONS_MAX,
    ZERO_DIGESTS,
    ZERO_LEAF,
    Memory,
    Region,
    StateTree,
    depth_of,
    layout_fault,
    leaf_digest,
    node_digest,
    state_root,
    tile,
)

PROOF_FORMAT: Final = 1
# 4 MiB of leaves: a witness of a full block; bounds the work of a verifier at about a second.
LEAVES_PER_PROOF_MAX: Final = 16_384

TRUNCATED: Final = 5000
TRAILING: Final = 5001
UNKNOWN_FORMAT: Final = 5002
BAD_REGIONS: Final = 5003
BAD_LEAF_COUNT: Final = 5004
LEAVES_NOT_ASCENDING: Final = 5005
LEAF_OUTSIDE: Final = 5006
ZERO_NOT_FLAGGED: Final = 5007
PADDING_SET: Final = 5008
WRONG_ROOT: Final = 5009
NOT_IN_PROOF: Final = 5010
WRONG_SHAPE: Final = 5011

STALE_MEMORY: Final = 9104


@dataclass(frozen=True, slots=True)
class Proof:
    """A well-formed proof: the fields fit each other. Only `verify` says whether it holds."""

    layout_version: int
    regions: tuple[Region, ...]  # all of the state's
    indexes: tuple[int, ...]  # of the proven leaves, absolute, ascending
    subroots: tuple[bytes, ...]  # of the regions without a proven leaf, in order of id
    leaves: tuple[bytes | None, ...]  # 256 bytes each, None is a leaf of zeros
    siblings: tuple[bytes | None, ...]  # as `missing_nodes` lists them, None is all zeros

    def __post_init__(self) -> None:
        _check_regions(self.regions)
        _check_indexes(self.indexes, self.regions)
        missing, absent = _shape(self.regions, self.indexes)
        if (len(self.subroots), len(self.leaves), len(self.siblings)) != (
            absent,
            len(self.indexes),
            len(missing),
        ):
            raise InvalidProof(WRONG_SHAPE, "leaves, subroots or siblings do not fit the indexes")
        digests = self.subroots + self.siblings
        for items, size in ((self.leaves, LEAF_BYTES), (digests, DIGEST_BYTES)):
            if any(item is not None and len(item) != size for item in items):
                raise InvalidProof(WRONG_SHAPE, f"an item of the proof is not {size} bytes")
        if ZERO_LEAF in self.leaves or any(
            sibling == ZERO_DIGESTS[level]
            for (level, _), sibling in zip(missing, self.siblings, strict=True)
        ):
            raise InvalidProof(ZERO_NOT_FLAGGED, "zeros are spelt out; say them with a flag bit")

    def encode(self) -> bytes:
        """The canonical bytes."""
        parts = [
            PROOF_FORMAT.to_bytes(1, "little"),
            self.layout_version.to_bytes(4, "little"),
            len(self.regions).to_bytes(2, "little"),
        ]
        for region in self.regions:
            parts.append(region.id.to_bytes(4, "little") + region.leaves.to_bytes(4, "little"))
        parts.append(len(self.indexes).to_bytes(2, "little"))
        parts += [index.to_bytes(4, "little") for index in self.indexes]
        flagged = self.leaves + self.siblings
        bits = int("".join("01"[item is not None] for item in reversed(flagged)), 2)
        parts.append(bits.to_bytes((len(flagged) + 7) // 8, "little"))
        parts += self.subroots
        parts += [item for item in flagged if item is not None]
        return b"".join(parts)


class VerifiedLeaves(Mapping[int, bytes]):
    """Leaves known to be in the state: absolute leaf index -> 256 bytes, and the region table."""

    def __init__(
        self, layout_version: int, regions: tuple[Region, ...], leaves: dict[int, bytes]
    ) -> None:
        self.layout_version: Final = layout_version
        self.regions: Final = regions
        self._leaves: Final = leaves

    def __getitem__(self, index: int) -> bytes:
        return self._leaves[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    def word(self, index: int) -> int:
        """M[index], signed. InvalidProof if its leaf was not proven."""
        leaf = self._leaves.get(index // LEAF_WORDS)
        if leaf is None:
            raise InvalidProof(NOT_IN_PROOF, f"word {index} is not in the proof; ask for its leaf")
        return words(leaf)[index % LEAF_WORDS]

    def region(self, region_id: int) -> Region:
        """The region's place in M. InvalidProof if the state has no such region."""
        for region in self.regions:
            if region.id == region_id:
                return region
        raise InvalidProof(NOT_IN_PROOF, f"the state has no region {region_id}")


def words(leaf: bytes) -> tuple[int, ...]:
    """The 32 signed words of a leaf."""
    return tuple(
        int.from_bytes(leaf[i : i + 8], "little", signed=True) for i in range(0, LEAF_BYTES, 8)
    )


def missing_nodes(positions: Sequence[int], leaves: int) -> Iterator[tuple[int, int]]:
    """(level, index) of each sibling that these leaves of one region do not determine.

    `positions` ascend, counted within the region. Levels ascend, then indexes. Padding is left out.
    """
    known = dict.fromkeys(positions)
    width = leaves
    for level in range(depth_of(leaves)):
        parents = dict.fromkeys(index >> 2 for index in known)
        for parent in parents:
            for index in range(4 * parent, min(4 * parent + 4, width)):
                if index not in known:
                    yield level, index
        known, width = parents, (width + 3) // 4


def prove(tree: StateTree, mem: Memory, leaves: Sequence[int]) -> Proof:
    """The proof of these leaves (absolute indexes, any order) against `tree.root()`.

    `mem` is the memory the tree was last updated with; CoreFault if one of the leaves has moved on.
    """
    view = memoryview(mem).cast("B")
    indexes = sorted(dict.fromkeys(leaves))
    _check_indexes(indexes, tree.regions)
    values: list[bytes] = []
    siblings: list[bytes | None] = []
    subroots: list[bytes] = []
    for region, positions in _by_region(tree.regions, indexes):
        if not positions:
            subroots.append(tree.subroot(region.id))
            continue
        for position in positions:
            offset = (region.first_leaf + position) * LEAF_BYTES
            values.append(view[offset : offset + LEAF_BYTES].tobytes())
            if leaf_digest(values[-1]) != tree.node(region.id, 0, position):
                raise CoreFault(STALE_MEMORY, "memory and tree differ; update the tree, then prove")
        for level, index in missing_nodes(positions, region.leaves):
            digest = tree.node(region.id, level, index)
            siblings.append(None if digest == ZERO_DIGESTS[level] else digest)
    return Proof(
        tree.layout_version,
        tree.regions,
        tuple(indexes),
        tuple(subroots),
        tuple(None if value == ZERO_LEAF else value for value in values),
        tuple(siblings),
    )


def verify(root: bytes, proof: Proof) -> VerifiedLeaves:
    """The proven leaves, if the proof leads to `root`; InvalidProof if it does not."""
    leaves = [ZERO_LEAF if leaf is None else leaf for leaf in proof.leaves]
    values, siblings, subroots = iter(leaves), iter(proof.siblings), iter(proof.subroots)
    tops: list[tuple[Region, bytes]] = []
    for region, positions in _by_region(proof.regions, proof.indexes):
        if not positions:
            tops.append((region, next(subroots)))
            continue
        digests = {(0, position): leaf_digest(next(values)) for position in positions}
        for level, index in missing_nodes(positions, region.leaves):
            sibling = next(siblings)
            digests[level, index] = ZERO_DIGESTS[level] if sibling is None else sibling
        tops.append((region, _fold(digests, positions, depth_of(region.leaves))))
    if state_root(proof.layout_version, tops) != root:
        raise InvalidProof(WRONG_ROOT, "the proof is of another state; ask for the root's height")
    proven = dict(zip(proof.indexes, leaves, strict=True))
    return VerifiedLeaves(proof.layout_version, proof.regions, proven)


def decode(data: bytes) -> Proof:
    """The proof in these bytes; InvalidProof for anything but its one canonical encoding."""
    reader = _Reader(data)
    if reader.integer(1) != PROOF_FORMAT:
        raise InvalidProof(UNKNOWN_FORMAT, f"the proof does not start with format {PROOF_FORMAT}")
    layout_version, region_count = reader.integer(4), reader.integer(2)
    if region_count > REGIONS_MAX:
        raise InvalidProof(BAD_REGIONS, f"{region_count} regions, at most {REGIONS_MAX}")
    regions = tile([(reader.integer(4), reader.integer(4)) for _ in range(region_count)])
    _check_regions(regions)
    leaf_count = reader.integer(2)
    if not 0 < leaf_count <= LEAVES_PER_PROOF_MAX:
        raise InvalidProof(BAD_LEAF_COUNT, f"{leaf_count} leaves, not 1..{LEAVES_PER_PROOF_MAX}")
    indexes = tuple(reader.integer(4) for _ in range(leaf_count))
    _check_indexes(indexes, regions)
    missing, absent = _shape(regions, indexes)
    flags = reader.integer((leaf_count + len(missing) + 7) // 8)
    if flags >> leaf_count + len(missing):
        raise InvalidProof(PADDING_SET, "bits after the last flag are set")
    present = [bit == "1" for bit in f"{flags:0{leaf_count + len(missing)}b}"[::-1]]
    subroots = tuple(reader.take(DIGEST_BYTES) for _ in range(absent))
    leaves = tuple(reader.take(LEAF_BYTES) if bit else None for bit in present[:leaf_count])
    siblings = tuple(reader.take(DIGEST_BYTES) if bit else None for bit in present[leaf_count:])
    if reader.offset != len(data):
        raise InvalidProof(TRAILING, f"{len(data) - reader.offset} bytes after the proof")
    return Proof(layout_version, regions, indexes, subroots, leaves, siblings)


class _Reader:
    """Takes bytes from the front and never allocates more than is there."""

    def __init__(self, data: bytes) -> None:
        self.data: Final = data
        self.offset = 0

    def take(self, count: int) -> bytes:
        end = self.offset + count
        if end > len(self.data):
            raise InvalidProof(TRUNCATED, f"the proof ends before byte {end}; fetch it again")
        taken, self.offset = self.data[self.offset : end], end
        return taken

    def integer(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")


def _by_region(
    regions: Sequence[Region], indexes: Sequence[int]
) -> Iterator[tuple[Region, list[int]]]:
    """Every region with the positions, within it, of the ascending `indexes` that it holds."""
    low = 0
    for region in regions:
        high = low
        while high < len(indexes) and indexes[high] < region.first_leaf + region.leaves:
            high += 1
        yield region, [index - region.first_leaf for index in indexes[low:high]]
        low = high


def _shape(
    regions: Sequence[Region], indexes: Sequence[int]
) -> tuple[list[tuple[int, int]], int]:
    """The siblings a proof must carry, and how many subroots."""
    missing: list[tuple[int, int]] = []
    absent = 0
    for region, positions in _by_region(regions, indexes):
        absent += not positions
        missing += missing_nodes(positions, region.leaves) if positions else ()
    return missing, absent


def _fold(digests: dict[tuple[int, int], bytes], positions: list[int], depth: int) -> bytes:
    """The subroot above these positions; a digest that is neither known nor given is padding."""
    known = dict.fromkeys(positions)
    for level in range(depth):
        known = dict.fromkeys(index >> 2 for index in known)
        zero = ZERO_DIGESTS[level]
        for parent in known:
            children = [digests.get((level, 4 * parent + i), zero) for i in range(4)]
            digests[level + 1, parent] = node_digest(b"".join(children))
    return digests[depth, 0]


def _check_regions(regions: Sequence[Region]) -> None:
    fault = layout_fault(regions)
    if fault is not None:
        raise InvalidProof(BAD_REGIONS, fault)


def _check_indexes(indexes: Sequence[int], regions: Sequence[Region]) -> None:
    if not 0 < len(indexes) <= LEAVES_PER_PROOF_MAX:
        raise InvalidProof(BAD_LEAF_COUNT, f"{len(indexes)} leaves, not 1..{LEAVES_PER_PROOF_MAX}")
    if any(left >= right for left, right in pairwise(indexes)):
        raise InvalidProof(LEAVES_NOT_ASCENDING, "leaf indexes repeat or descend; sort them")
    last = regions[-1].first_leaf + regions[-1].leaves if regions else 0
    if indexes[0] < 0 or indexes[-1] >= last:
        raise InvalidProof(LEAF_OUTSIDE, f"the state ends before leaf {last}; ask for less")
