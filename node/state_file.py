"""A state in a file: the snapshot container on disk.

What lives here: writing a snapshot so that a crash never leaves half of one, and reading one into a
memory that can run. What must never live here: the container's format (snapshot.py of the state)
or trust in a file: who needs certainty compares the facts with a certified header.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus.exceptions import InvalidSnapshot
from consensus.layout import HEIGHT, LAYOUT_VERSION
from consensus.state.memory import Memory
from consensus.state.shape import market_offsets, read_shapes, read_sizes
from consensus.state.snapshot import BAD_REGIONS, WORDS_MAX, Facts, restore, write
from consensus.state.tree import Region
from node.exceptions import NodeError

FOREIGN_LAYOUT: Final = 7200
WRONG_HEIGHT: Final = 7202


def facts_of(memory: Memory, height: int, genesis_hash: bytes, block_hash: bytes) -> Facts:
    """The facts of a sealed memory; hashes are 32 bytes."""
    return Facts(LAYOUT_VERSION, genesis_hash, height, block_hash, memory.tree.root())


def write_snapshot(memory: Memory, facts: Facts, path: Path) -> int:
    """Write a sealed memory to `path`, whole or not at all; returns the bytes written."""
    return write_whole(path, write(memory.tree.regions, memory.view(), facts))


def read_snapshot(path: Path, words_max: int = WORDS_MAX) -> tuple[Facts, Memory]:
    """The facts and the memory of a snapshot whose root has been rebuilt and compared.

    InvalidSnapshot 55xx for damage, 5700 for a state without shape; NodeError 7200 for a state of
    another layout version, 7202 for one at another height than the file says.
    """
    restored = restore(path.read_bytes(), words_max)
    if restored.facts.layout_version != LAYOUT_VERSION:
        raise NodeError(
            FOREIGN_LAYOUT,
            f"{path} has state layout {restored.facts.layout_version}, this version reads "
            f"{LAYOUT_VERSION}; use the version that wrote it",
        )
    words = memoryview(restored.memory).cast("q")
    if shape_of(words) != restored.regions:
        raise InvalidSnapshot(BAD_REGIONS, "the regions are not those that the state describes")
    height = restored.facts.height
    if words[HEIGHT] != height:
        text = f"{path} says that its state is at height {height}, which is at {words[HEIGHT]}"
        raise NodeError(WRONG_HEIGHT, f"{text}; do not trust who wrote it")
    return restored.facts, Memory(vec[i64](words), restored.tree)


def shape_of(words: memoryview) -> tuple[Region, ...]:
    """The regions that state words describe. InvalidSnapshot 5700 if they describe none."""
    sizes = read_sizes(words)
    shapes = list(read_shapes(words, sizes))
    bases = [k for k, _ in shapes] or [len(words)]
    regions = [Region(0, 0, bases[0])]
    for market, (k, shape) in enumerate(shapes):
        regions.append(Region(market + 1, k, market_offsets(shape, sizes.accounts_max)[1]))
    return tuple(regions)


def write_whole(path: Path, pieces: Iterable[bytes]) -> int:
    """Write the pieces beside `path`, flush them to the disk, then take its name."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("xb") as file:
            size = sum(file.write(piece) for piece in pieces)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return size
