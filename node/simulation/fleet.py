"""Nodes in one process: a genesis with validators, a memory network, disks that can crash.

What lives here: making, killing and restarting nodes. What must never live here: when that is done,
or an expectation.

    fleet = Fleet(fleet_genesis(validators=4), seed=7)
    async with trio.open_nursery() as nursery:
        leader = await fleet.start(nursery, 0)
        follower = await fleet.start(nursery, 1)
"""

import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

import trio

from consensus.finality import bls
from consensus.genesis import Genesis
from node.app import Keys, Node, ValidatorKey
from node.l1.bridge import L1Link
from node.l1.settling import Settles
from node.signer import signs_with
from node.simulation.machine import SimulatedMachine
from node.simulation.wallets import secret
from p2p.exchange.status import Chain
from p2p.memory import Faults, World
from p2p.settings import Settings
from storage.disk import MemoryDisk
from storage.exceptions import StorageStopped
from storage.faults import Crashed

LEADER: Final = 0


@dataclass
class Life:
    """One run of a node from start to end."""

    machine: SimulatedMachine
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    node: Node | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    has_crashed: bool = False
    error: BaseException | None = None


class Fleet:
    """A leader, number 0, and followers on one memory network; all of them are validators.

    `links` gives a node's L1, by number, `settles` its keys for batches. `ready(number, node)` is
    called before a node runs, so that its tape can be read from the start.
    """

    def __init__(
        self,
        genesis: Genesis,
        seed: int = 1,
        faults: Faults | None = None,
        ready: Callable[[int, Node], None] = lambda number, node: None,
        links: Callable[[int], L1Link | None] = lambda number: None,
        settles: Callable[[int], Settles | None] = lambda number: None,
    ) -> None:
        self.genesis: Final = genesis
        self.seed: Final = seed
        self.world: Final = World(seed, faults)
        self.disks: dict[int, MemoryDisk] = {}
        self.lives: dict[int, Life] = {}
        self.started = 0
        self._ready = ready
        self._links = links
        self._settles = settles
        self._skews: dict[int, int] = {}

    @property
    def nodes(self) -> dict[int, Node]:
        """Those that run, by number."""
        return {
            number: life.node
            for number, life in self.lives.items()
            if life.node is not None and not life.scope.cancel_called
        }

    @property
    def machines(self) -> dict[int, SimulatedMachine]:
        return {number: life.machine for number, life in self.lives.items()}

    def skew(self, number: int, skew_ms: int) -> None:
        """Step the clock of a node, which stays so over restarts."""
        self._skews[number] = skew_ms
        if number in self.lives:
            self.lives[number].machine.skew_ms = skew_ms

    async def start(self, nursery: trio.Nursery, number: int, *, signs: bool = True) -> Node:
        """Start a node, on the disk that it had if it ran before; its fault is raised."""
        node: Node = await nursery.start(self._run, number, signs)
        return node

    async def live(self, number: int, crash_at: int = 0, fail_at: int = 0) -> Life:
        """The same without a nursery that it could break: returns when the node has ended.

        The disk crashes, or fails, at the n-th write of this life.
        """
        try:
            await self._run(number, True, trio.TASK_STATUS_IGNORED, crash_at, fail_at)
        except BaseExceptionGroup as group:
            stopped, rest = group.split(StorageStopped)
            if stopped is None or rest is not None:
                raise
            self.lives[number].error = stopped
        except StorageStopped as stopped_alone:
            self.lives[number].error = stopped_alone
        return self.lives[number]

    async def _run(
        self,
        number: int,
        signs: bool,
        task_status: trio.TaskStatus[Node],
        crash_at: int = 0,
        fail_at: int = 0,
    ) -> None:
        self.started += 1
        chance = random.Random(f"{self.seed}/machine/{number}/{self.started}")
        machine = SimulatedMachine(
            chance, skew_ms=self._skews.get(number, 0), crashed=lambda: self._crashed(number)
        )
        machine.faults.crash_at, machine.faults.fail_at = crash_at, fail_at
        disk = self.disks.setdefault(number, MemoryDisk())
        disk.use(machine.faults)
        life = self.lives[number] = Life(machine)
        try:
            with life.scope:
                await self._serve(number, disk, life, signs, task_status)
        finally:
            life.node = None
            life.ended.set()

    async def _serve(
        self,
        number: int,
        disk: MemoryDisk,
        life: Life,
        signs: bool,
        task_status: trio.TaskStatus[Node],
    ) -> None:
        machine = life.machine
        key = secret(f"validator {number}")
        voter = ValidatorKey(bls.public_key_of(key), signs_with(key, machine)) if signs else None
        async with AsyncExitStack() as stack:
            settings = self._settings(number, machine)
            network = await stack.enter_async_context(self.world.network(str(number), settings))
            keys = Keys(voter, secret("promiser"))
            try:
                node = Node(
                    self.genesis, disk, network, machine, keys,
                    leads=number == LEADER, link=self._links(number),
                    settles=self._settles(number),
                )  # fmt: skip
            except Crashed:
                self._crashed(number)
                await trio.sleep_forever()
            life.node = node
            self._ready(number, node)
            async with trio.open_nursery() as nursery:
                await nursery.start(node.run)
                task_status.started(node)

    def _settings(self, number: int, machine: SimulatedMachine) -> Settings:
        """Every node dials those with lower numbers, so each pair has one dialler."""
        return Settings(
            chain=Chain(self.genesis.chain_id, 1, self.genesis.hash),
            dial=tuple(f"memory:{other}" for other in range(number)),
            wall=lambda: machine.now_ms() / 1000,
            chance=self.world.source("node", str(number), "").random,
        )

    async def end(self, number: int) -> None:
        """`kill`, and wait until its disk can be opened again."""
        self.kill(number)
        await self.lives[number].ended.wait()

    def _crashed(self, number: int) -> None:
        self.lives[number].has_crashed = True
        self.kill(number)

    def kill(self, number: int) -> None:
        """As kill -9: no goodbye, nothing flushed. What was written stays unless the disk crashes
        too (`disks[number].crash`)."""
        life = self.lives[number]
        self.world.kill(str(number))
        life.scope.cancel()
        life.machine.die()
