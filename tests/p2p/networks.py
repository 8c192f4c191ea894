"""Networks for tests: the libp2p host on 127.0.0.1 and its twin in memory, made alike.

`make` gives a node of either kind; both kinds pass one suite (`test_network.py`).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair

from p2p.exchange.status import Chain
from p2p.host import open_network
from p2p.memory import World
from p2p.peering import Peering
from p2p.settings import Settings

CHAIN: Final = Chain(7, 1, b"\x07" * 32)
LOOPBACK: Final = "/ip4/127.0.0.1/tcp/0"
PATIENCE_S: Final = 20.0


class Kind:
    """One of the two implementations."""

    def make(
        self, name: str, dial: Sequence[str] = (), chain: Chain = CHAIN, peers_max: int = 64
    ) -> AbstractAsyncContextManager[Peering]:
        raise NotImplementedError


class InMemory(Kind):
    def __init__(self, world: World | None = None) -> None:
        self.world = world or World(seed=1)

    def make(
        self, name: str, dial: Sequence[str] = (), chain: Chain = CHAIN, peers_max: int = 64
    ) -> AbstractAsyncContextManager[Peering]:
        return self.world.network(name, Settings(chain, dial=tuple(dial), peers_max=peers_max))


class OverSockets(Kind):
    def make(
        self, name: str, dial: Sequence[str] = (), chain: Chain = CHAIN, peers_max: int = 64
    ) -> AbstractAsyncContextManager[Peering]:
        settings = Settings(chain, dial=tuple(dial), peers_max=peers_max)
        return open_network(settings, keys_of(name), [LOOPBACK])


def keys_of(name: str) -> KeyPair:
    """The same keys for the same name, so that ids do not change between runs."""
    return create_new_key_pair(name.encode().ljust(32, b"."))


async def until(holds: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Wait for an observable state; fails when it does not come."""
    with trio.fail_after(seconds):
        while not holds():
            await trio.sleep(0.01)


async def until_ready(network: Peering, peers: int = 1) -> None:
    await until(lambda: sum(one.ready for one in network.peers()) >= peers)
