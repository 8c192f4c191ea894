"""A leader's L1 side on a bridge's chain: watcher, lane and committer over a disk that can crash.

What lives here: making it, and one turn at a time. What must never live here: an expectation.

The committee has one member, so that no network is needed; `test_committer.py` has one with four.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bridge_chain import Bridge
from l1_wallets import new_l1, secret_of
from posting import LocalKzg, committee_of, feed, live_chain, secret_of_member, traded

from node.l1.attesting import Collector, Committee
from node.l1.backlog import Backlog, Batching
from node.l1.committer import Committer
from node.l1.fees import Caps
from node.l1.lane import Lane
from node.l1.preparing import Preparation
from node.l1.surface import L1
from node.l1.watcher import Watcher
from node.simulation.machine import SimulatedMachine
from p2p.network import Network
from storage.disk import MemoryDisk
from storage.l1_facts import L1Facts
from storage.outbox import Outbox

COMMITTER = "committer"
EAGER = Batching(deadline_s=1)
"""Every block is old: a batch is due at once."""


def bridge_of(members: int = 1, epoch_blocks: int = 4, **changes: Any) -> Bridge:
    """A bridge whose L1 mines by hand from now on, and takes cheap sidecars."""
    l1 = new_l1(
        "owner 2", "owner 3", "owner 4", "owner 5", "guardian", "governor", "stranger", COMMITTER,
        sidecar_version=0, epoch_blocks=epoch_blocks,
    )  # fmt: skip
    bridge = Bridge(members, l1=l1, **changes)
    traded(bridge)
    l1.chain.finalize()  # blocks bring final deposits only
    l1.automine = False
    return bridge


@contextmanager
def mined_at_once(bridge: Bridge) -> Iterator[None]:
    """Whatever others send meanwhile has a block of its own."""
    l1 = bridge.wallets.l1
    l1.automine = True
    yield
    l1.automine = False


class Poster:
    """`start` again after a crash: what the disk lost is lost."""

    def __init__(
        self,
        bridge: Bridge,
        *,
        batching: Batching = EAGER,
        caps: Caps | None = None,
        l1: L1 | None = None,
        network: Network | None = None,
        sender: str = COMMITTER,
    ) -> None:
        self.bridge = bridge
        self.batching = batching
        self.caps = caps or Caps()
        self.l1: L1 = l1 or bridge.wallets.l1
        self.network = network
        self.sender = sender
        self.disk = MemoryDisk()
        self.blobs: dict[bytes, bytes] = {}
        self.start()

    def start(self) -> None:
        """As a process starts; the constructor of each part is its recovery."""
        bridge = self.bridge
        machine = self.machine = SimulatedMachine()
        self.disk.use(machine.faults)
        self.chain = live_chain(bridge.chain.genesis, self.disk, machine)
        self.chain.certified = self.chain.state.head.height
        database = self.chain.blocks._database
        deployment = bridge.deployment
        self.watcher = Watcher(
            self.l1, deployment, bridge.chain.genesis, L1Facts(database, deployment.contract),
            machine, self.chain.alarm,
        )  # fmt: skip
        backlog = Backlog(self.batching)
        preparation = Preparation(
            self.l1, self.chain, machine, backlog,
            Collector(self.chain, self.network, secret_of_member(bridge, 0)), self._committee,
            LocalKzg(), self._keep,
        )  # fmt: skip
        lane = Lane(
            self.l1, Outbox(database), machine, secret_of(self.sender), deployment.chain_id
        )
        self.committer = Committer(
            self.l1, self.chain, machine, self.watcher, deployment, lane, backlog, preparation,
            self.caps,
        )  # fmt: skip

    async def _committee(self) -> Committee:
        return committee_of(self.bridge)

    def _keep(self, number: int, hashes: Sequence[bytes], blobs: Sequence[bytes]) -> None:
        self.blobs.update(zip(hashes, blobs, strict=True))

    @property
    def chain_l1(self) -> Any:
        return self.bridge.wallets.l1.chain

    async def turn(self, *, mines: bool = True) -> None:
        """The newest blocks arrive, the watcher looks, the committer acts; then L1 makes a block.

        A committer's error is what `run` would wait over.
        """
        await feed(self.chain, self.bridge.chain.blocks)
        await self.watcher.look()
        await self.committer.step()
        if mines:
            self.chain_l1.mine()

    async def until(self, name: str, number: int, turns: int = 40) -> None:
        """Turns until the contract's view has this value; ten minutes of L1 time for each."""
        for _ in range(turns):
            if self.bridge.read(name) >= number:
                return
            await self.turn()
            self.bridge.later(120)
        raise AssertionError(f"{name} is {self.bridge.read(name)}: {self.committer.phase}")

