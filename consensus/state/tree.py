"""The state root: a dense 4-ary SHA-256 tree over the leaves of the state memory.

What lives here: regions, the digests of leaves, nodes and the root, and the tree that a node keeps
in memory and brings up to date at every block. What must never live here: the meaning of a word, or
a second copy of the memory. The byte-exact rules are in docs/protocol/state-tree.md.

Theory of operation. The memory M is tiled, without a gap, by regions in ascending order of id. The
root hashes `words` and not `base`, because tiling makes every base the sum of the words before it:
an absolute word index in a proof is as good as the root. Each region has its own tree, so listing a
market never deepens another region's paths.

The call to SHA-256 costs more than its compressions, hence four children per node: half the CPU of
a binary tree and the fewest compressions per path, which is what a proving machine pays for. An
update walks level by level over sorted, unique indexes, so every node above a dirty leaf is hashed
once. A level is a list of pages, and a page that was never written is absent and means zero digests
of its level: a market that sits idle costs a page per level, not a sixth of its memory.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from consensus.exceptions import CoreFault

LEAF_WORDS: Final = 32
LEAF_BYTES: Final = 8 * LEAF_WORDS
DIGEST_BYTES: Final = 32
DEPTH_MAX: Final = 16  # 4^16 leaves: an absolute leaf index fits 32 bits
LEAVES_MAX: Final = 4**DEPTH_MAX - 1  # of all regions together
REGIONS_MAX: Final = 4096

LEAF_TAG: Final = b"\x00"
NODE_TAG: Final = b"\x01"
ROOT_TAG: Final = b"\x02rialto/state"

ZERO_LEAF: Final = bytes(LEAF_BYTES)

REGION_LAYOUT: Final = 9100
MEMORY_SIZE: Final = 9101
LEAF_RANGE: Final = 9102
REGION_UNKNOWN: Final = 9103

# 1024 digests are 32 KiB and stand for 256 KiB of state.
_PAGE_BITS: Final = 10
_PAGE_NODES: Final = 1 << _PAGE_BITS
_SCAN_LEAVES: Final = 256  # compared with zero at once: 64 KiB
_CHECK_LEAVES: Final = 16  # the same, by the rotating check; divides a page

Memory = bytes | bytearray | memoryview


class Region(NamedTuple):
    """One contiguous range of M, in words; `base` and `words` are multiples of LEAF_WORDS."""

    id: int
    base: int
    words: int

    @property
    def first_leaf(self) -> int:
        return self.base // LEAF_WORDS

    @property
    def leaves(self) -> int:
        return self.words // LEAF_WORDS


def layout_fault(regions: Sequence[Region]) -> str | None:
    """The sentence that says why these regions do not tile a memory in order of id, or None."""
    if len(regions) > REGIONS_MAX:
        return f"{len(regions)} regions, at most {REGIONS_MAX} are allowed"
    base, last = 0, -1
    for region in regions:
        if not last < region.id < 1 << 32:
            return f"region id {region.id} after {last}: ids are u32 and ascend"
        if region.words <= 0 or region.words % LEAF_WORDS:
            return f"region {region.id} has {region.words} words, not a multiple of {LEAF_WORDS}"
        if region.base != base:
            return f"region {region.id} starts at word {region.base}, the one before ends at {base}"
        base, last = base + region.words, region.id
    if base // LEAF_WORDS > LEAVES_MAX:
        return f"{base // LEAF_WORDS} leaves, at most {LEAVES_MAX} can be numbered"
    return None


def tile(sizes: Sequence[tuple[int, int]]) -> tuple[Region, ...]:
    """Regions from (id, leaves) pairs, each starting where the one before ends; nothing checked."""
    regions, base = [], 0
    for region_id, leaves in sizes:
        regions.append(Region(region_id, base, leaves * LEAF_WORDS))
        base += leaves * LEAF_WORDS
    return tuple(regions)


def depth_of(leaves: int) -> int:
    """The smallest depth whose 4^depth positions hold `leaves` leaves."""
    return ((leaves - 1).bit_length() + 1) // 2


def leaf_digest(leaf: Memory) -> bytes:
    """SHA-256(0x00, 256 bytes)."""
    return sha256(LEAF_TAG + leaf).digest()


def node_digest(children: Memory) -> bytes:
    """SHA-256(0x01, four digests)."""
    return sha256(NODE_TAG + children).digest()


def _zero_digests() -> tuple[bytes, ...]:
    digests = [leaf_digest(ZERO_LEAF)]
    for _ in range(DEPTH_MAX):
        digests.append(node_digest(digests[-1] * 4))
    return tuple(digests)


ZERO_DIGESTS: Final = _zero_digests()  # by level: the root of 4^level zero leaves


def state_root(layout_version: int, subroots: Sequence[tuple[Region, bytes]]) -> bytes:
    """SHA-256(0x02, "rialto/state", version u32, count u32, (id u32, words u64, depth u8, 32)*)."""
    parts = [ROOT_TAG, layout_version.to_bytes(4, "little"), len(subroots).to_bytes(4, "little")]
    for region, subroot in subroots:
        parts.append(region.id.to_bytes(4, "little"))
        parts.append(region.words.to_bytes(8, "little"))
        parts.append(depth_of(region.leaves).to_bytes(1, "little"))
        parts.append(subroot)
    return sha256(b"".join(parts)).digest()


def nonzero_leaves(mem: Memory, region: Region) -> Iterator[int]:
    """Positions within `region`, ascending, of the leaves that hold anything but zeros."""
    view = memoryview(mem)
    zeros = bytes(_SCAN_LEAVES * LEAF_BYTES)
    start = region.first_leaf
    for position in range(0, region.leaves, _SCAN_LEAVES):
        count = min(_SCAN_LEAVES, region.leaves - position)
        offset = (start + position) * LEAF_BYTES
        block = view[offset : offset + count * LEAF_BYTES].tobytes()
        if block == (zeros if count == _SCAN_LEAVES else zeros[: len(block)]):
            continue
        for i in range(count):
            if block[i * LEAF_BYTES : (i + 1) * LEAF_BYTES] != ZERO_LEAF:
                yield position + i


class _Subtree:
    """The digests of one region: `levels[k]` holds ceil(leaves / 4^k) nodes in pages."""

    __slots__ = ("levels", "region", "widths")

    def __init__(self, region: Region) -> None:
        self.region = region
        self.widths = [region.leaves]
        for _ in range(depth_of(region.leaves)):
            self.widths.append((self.widths[-1] + 3) // 4)
        self.levels: list[list[bytearray | None]] = [
            [None] * ((width + _PAGE_NODES - 1) // _PAGE_NODES) for width in self.widths
        ]

    def _page(self, level: int, number: int) -> bytearray:
        """The page, made of zero digests if absent; whole groups of four, so no group is cut."""
        page = self.levels[level][number]
        if page is None:
            left = (self.widths[level] + 3) // 4 * 4 - number * _PAGE_NODES
            page = bytearray(ZERO_DIGESTS[level] * min(_PAGE_NODES, left))
            self.levels[level][number] = page
        return page

    def node(self, level: int, index: int) -> bytes:
        page = self.levels[level][index >> _PAGE_BITS]
        if page is None:
            return ZERO_DIGESTS[level]
        offset = (index & _PAGE_NODES - 1) * DIGEST_BYTES
        return bytes(page[offset : offset + DIGEST_BYTES])

    def subroot(self) -> bytes:
        return self.node(len(self.widths) - 1, 0)

    def first_wrong(self, view: memoryview, at: int, stop: int) -> int:
        """The first leaf in [at, stop) whose digest is not that of `view`, or -1.

        Zeros are compared, not hashed: most of a state is zeros.
        """
        while at < stop:
            count = min(stop - at, _CHECK_LEAVES - at % _CHECK_LEAVES)
            offset = (self.region.first_leaf + at) * LEAF_BYTES
            leaves = view[offset : offset + count * LEAF_BYTES].tobytes()
            digests = self._digests(at, count)
            if digests != ZERO_DIGESTS[0] * count or leaves != bytes(len(leaves)):
                for i in range(count):
                    leaf = leaves[i * LEAF_BYTES : (i + 1) * LEAF_BYTES]
                    if leaf_digest(leaf) != digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]:
                        return at + i
            at += count
        return -1

    def _digests(self, at: int, count: int) -> bytes:
        """Those of `count` leaves from `at`, all of one page."""
        page = self.levels[0][at >> _PAGE_BITS]
        if page is None:
            return ZERO_DIGESTS[0] * count
        offset = (at & _PAGE_NODES - 1) * DIGEST_BYTES
        return bytes(page[offset : offset + count * DIGEST_BYTES])

    def update(self, view: memoryview, dirty: list[int]) -> None:
        """Rehash the leaves at these ascending positions and every node above them."""
        start = self.region.first_leaf
        digest_of, tag, mask = sha256, LEAF_TAG, _PAGE_NODES - 1
        number, page = -1, bytearray()
        for i in dirty:
            if i >> _PAGE_BITS != number:
                number = i >> _PAGE_BITS
                page = self._page(0, number)
            at, leaf = (i & mask) << 5, (start + i) << 8
            page[at : at + 32] = digest_of(tag + view[leaf : leaf + 256]).digest()
        for level in range(1, len(self.widths)):
            dirty = list(dict.fromkeys([i >> 2 for i in dirty]))
            self._rehash(level, dirty)

    def _rehash(self, level: int, dirty: list[int]) -> None:
        """Hash the nodes of one level from their children; a page of children feeds a quarter."""
        digest_of, tag, mask = sha256, NODE_TAG, _PAGE_NODES - 1
        child_bits, child_mask = _PAGE_BITS - 2, _PAGE_NODES // 4 - 1
        number, page, children = -1, bytearray(), bytearray()
        for i in dirty:
            if i >> child_bits != number:
                number = i >> child_bits
                children = self._page(level - 1, number)
                page = self._page(level, i >> _PAGE_BITS)
            at, four = (i & mask) << 5, (i & child_mask) << 7
            page[at : at + 32] = digest_of(tag + children[four : four + 128]).digest()


class StateTree:
    """The tree of the whole memory. It starts as the tree of an all-zero memory.

    Every method that takes `mem` wants all of M, as its little-endian bytes:
    `memoryview(vec).cast("B")`. A caller's mistake is a `CoreFault`: a tree that is not the tree of
    the memory must stop the node before it votes.
    """

    def __init__(self, regions: Sequence[Region], layout_version: int) -> None:
        self.layout_version: Final = layout_version
        self._check_layout(regions)
        self._subtrees = [_Subtree(region) for region in regions]

    @property
    def regions(self) -> tuple[Region, ...]:
        return tuple(subtree.region for subtree in self._subtrees)

    def root(self) -> bytes:
        """The state root, 32 bytes."""
        return state_root(
            self.layout_version,
            [(subtree.region, subtree.subroot()) for subtree in self._subtrees],
        )

    def subroot(self, region_id: int) -> bytes:
        return self._subtree(region_id).subroot()

    def node(self, region_id: int, level: int, index: int) -> bytes:
        """One digest; level 0 are the leaves, `index` counts within the region."""
        return self._subtree(region_id).node(level, index)

    def rebuild(self, mem: Memory) -> None:
        """Forget every digest and hash all of `mem`; zero leaves are skipped."""
        view = self._view(mem)
        self._subtrees = [_built(subtree.region, view) for subtree in self._subtrees]

    def update(self, mem: Memory, dirty_leaves: Sequence[int]) -> None:
        """Rehash what changed. `dirty_leaves` are absolute (word index >> 5), in any order.

        To undo, restore the leaves and call this again with the same indexes.
        """
        view = self._view(mem)
        dirty = sorted(dirty_leaves)
        if dirty and not 0 <= dirty[0] <= dirty[-1] < len(view) // LEAF_BYTES:
            raise CoreFault(LEAF_RANGE, "a dirty leaf lies outside of M; fix the caller's marks")
        low = 0
        for subtree in self._subtrees:
            first = subtree.region.first_leaf
            high = bisect_left(dirty, first + subtree.region.leaves, low)
            if high > low:
                subtree.update(view, [leaf - first for leaf in dirty[low:high]])
            low = high

    def add_region(self, region: Region) -> None:
        """Append a region of zero leaves; leaves already written are then given to `update`."""
        self._check_layout([*self.regions, region])
        self._subtrees.append(_Subtree(region))

    def grow_region(self, region_id: int, words: int, mem: Memory) -> None:
        """Rebuild one region at its new size; `mem` is the new M, with the later regions moved up.

        Only the base of a later region changes, so its digests stay.
        """
        at = self._subtrees.index(self._subtree(region_id))
        sizes = [(region.id, region.leaves) for region in self.regions]
        if words % LEAF_WORDS or words < self.regions[at].words:
            raise CoreFault(REGION_LAYOUT, f"region {region_id} cannot grow to {words} words")
        sizes[at] = (region_id, words // LEAF_WORDS)
        regions = tile(sizes)
        self._check_layout(regions)
        view = _view(mem, regions)
        for subtree, region in zip(self._subtrees, regions, strict=True):
            subtree.region = region
        self._subtrees[at] = _built(regions[at], view)

    def rotating_check(self, mem: Memory, start_leaf: int, count: int) -> int:
        """The first of `count` leaves from `start_leaf` whose digest is not that of `mem`, or -1.

        It stops at the end of M; the caller rotates. A hit means a write without a dirty mark, or
        damaged memory: either way a fork that only a restart would show.
        """
        view = self._view(mem)
        stop = start_leaf + count
        for subtree in self._subtrees:
            first = subtree.region.first_leaf
            last = min(first + subtree.region.leaves, stop)
            wrong = subtree.first_wrong(view, max(first, start_leaf) - first, last - first)
            if wrong >= 0:
                return first + wrong
        return -1

    def _view(self, mem: Memory) -> memoryview:
        return _view(mem, self.regions)

    def _subtree(self, region_id: int) -> _Subtree:
        for subtree in self._subtrees:
            if subtree.region.id == region_id:
                return subtree
        raise CoreFault(REGION_UNKNOWN, f"there is no region {region_id}; add it first")

    @staticmethod
    def _check_layout(regions: Sequence[Region]) -> None:
        fault = layout_fault(regions)
        if fault is not None:
            raise CoreFault(REGION_LAYOUT, f"{fault}; regions tile M in ascending order of id")


def _built(region: Region, view: memoryview) -> _Subtree:
    subtree = _Subtree(region)
    subtree.update(view, list(nonzero_leaves(view, region)))
    return subtree


def _view(mem: Memory, regions: Sequence[Region]) -> memoryview:
    """All of M as bytes, or CoreFault if a part of M belongs to no region."""
    view = memoryview(mem).cast("B")
    words = regions[-1].base + regions[-1].words if regions else 0
    if len(view) != 8 * words:
        raise CoreFault(MEMORY_SIZE, f"M has {len(view)} bytes, its regions have {8 * words}")
    return view
