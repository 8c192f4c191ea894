"""How one node lives with its peers: what an operator decides.

What lives here: values and their defaults. What must never live here: limits of the protocol; those
are the same for everybody and stand in `topics.py`.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .exchange.status import Chain
from .penalties import BanStore, MemoryBans

PEERS_MAX: Final = 64


@dataclass(frozen=True)
class Settings:
    """`dial` are addresses that are kept connected; `wall` gives Unix seconds, `chance` [0, 1)."""

    chain: Chain
    dial: tuple[str, ...] = ()
    peers_max: int = PEERS_MAX
    bans: BanStore = field(default_factory=MemoryBans)
    wall: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
