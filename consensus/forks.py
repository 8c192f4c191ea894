"""Forks: which rules hold at which height.

What lives here: the forks this program knows, the schedule of a chain, the fork id. What must never
live here: the rules themselves; they ask `Schedule.at(height)`.

Theory. A schedule is part of genesis, so it is part of every signature's domain and cannot be
changed by configuration. A node that does not know a fork's name cannot follow the chain past it
and must find out before it starts, not at that height: unknown names are refused. Other schedules
make another genesis hash; the fork id says the same to a peer in four bytes (compare EIP-2124).
"""

from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Final

from consensus.exceptions import InvalidGenesis

FORK_TAG: Final = b"rialto/fork/1"
FORK_ID_BYTES: Final = 4
HEIGHT_MAX: Final = (1 << 53) - 1

UNKNOWN_FORK: Final = 6020
FORK_ORDER: Final = 6021
FORK_RULES: Final = 6022


@dataclass(frozen=True, slots=True)
class Fork:
    """From `height` on, blocks have this version and the state this layout."""

    name: str
    height: int
    version: int
    layout: int


KNOWN: Final = {"canal": (2, 1)}
"""Name -> block version and layout version. Block version 1 is refused: its streams had other roots
(docs/decisions/0014-leaves-of-two-kibibytes.md), and no public chain began with it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The forks of one chain, the first at height 0, heights and the order of `KNOWN` ascending.

    Raises `InvalidGenesis` `UNKNOWN_FORK`, `FORK_ORDER` or `FORK_RULES`.
    """

    forks: tuple[Fork, ...]

    def __post_init__(self) -> None:
        for fork in self.forks:
            if fork.name not in KNOWN:
                raise InvalidGenesis(
                    UNKNOWN_FORK,
                    f"fork {fork.name!r} is unknown here (known: {', '.join(KNOWN)}); update",
                )
            if (fork.version, fork.layout) != KNOWN[fork.name]:
                version, layout = KNOWN[fork.name]
                text = f"fork {fork.name} has block version {version} and layout {layout}"
                raise InvalidGenesis(FORK_RULES, f"{text}, not {fork.version} and {fork.layout}")
        heights = [fork.height for fork in self.forks]
        if heights[:1] != [0] or any(
            not low < high <= HEIGHT_MAX for low, high in pairwise(heights)
        ):
            text = f"forks start at heights {heights}: the first must be 0, the others ascend"
            raise InvalidGenesis(FORK_ORDER, text)
        ages = [list(KNOWN).index(fork.name) for fork in self.forks]
        if any(old >= new for old, new in pairwise(ages)):
            raise InvalidGenesis(FORK_ORDER, f"forks must come once and in order: {list(KNOWN)}")

    def at(self, height: int) -> Fork:
        """The fork whose rules hold for the block at `height`."""
        return next(fork for fork in reversed(self.forks) if fork.height <= height)

    def fork_id(self, genesis_hash: bytes) -> bytes:
        """First 4 bytes of SHA-256("rialto/fork/1" | genesis hash | name, 00, height u64 ...)."""
        parts = [FORK_TAG, genesis_hash]
        for fork in self.forks:
            parts.append(fork.name.encode("ascii") + b"\0" + fork.height.to_bytes(8, "little"))
        return sha256(b"".join(parts)).digest()[:FORK_ID_BYTES]
