"""What goes wrong in a simulation, and when: all of it from one source of chance.

What lives here: the faults by name, their sizes, their schedule. What must never live here: an
expectation.

    loss, duplication, reordering, delay   of gossip, per message and link; delay of streams too
    breakage                               of streams
    partition                              the nodes in two groups, or one alone
    crash                                  power fails at some write of a node, whichever; some of
                                           what was not synced is lost, some torn; or the disk
                                           refuses a write; or the process is killed between two
    skew                                   clocks step, by seconds, hours or days, either way
    slow-disk                              up to a second per write
"""

import random
from collections.abc import Collection
from typing import Final

import trio

from node.simulation.fleet import Fleet, Life
from node.simulation.machine import PAUSE_S
from p2p.memory import Faults

LOSS: Final = "loss"
DELAY: Final = "delay"
DUPLICATION: Final = "duplication"
REORDERING: Final = "reordering"
BREAKAGE: Final = "breakage"
PARTITION: Final = "partition"
CRASH: Final = "crash"
SKEW: Final = "skew"
SLOW_DISK: Final = "slow-disk"
ALL: Final = (
    LOSS, DELAY, DUPLICATION, REORDERING, BREAKAGE, PARTITION, CRASH, SKEW, SLOW_DISK,
)  # fmt: skip

WRITES_TO_CRASH: Final = (3, 30, 300, 3000)
"""A life crashes at a write up to one of these, so that many crash while they start."""
DOWN_S: Final = (0.1, 1.0, 10.0, 60.0)
STEPS_MS: Final = (500, 5_000, 600_000, 7_200_000, 172_800_000)
SLOW_S: Final = ((0.01, 0.05), (0.05, 0.3), (0.1, 1.0))


class Trouble:
    """Makes trouble for a fleet while `is_on`, and keeps its nodes running at any time."""

    def __init__(self, fleet: Fleet, nodes: int, kinds: Collection[str], seed: int) -> None:
        self._fleet = fleet
        self._nodes = nodes
        self._kinds = frozenset(kinds)
        self._chance = random.Random(f"{seed}/trouble")
        self._calm = trio.Event()
        self.is_on = False
        self.crashes = 0
        self.starts = 0

    def begin(self) -> None:
        """Choose how bad the network is this time."""
        self.is_on, self._calm = True, trio.Event()
        chance = self._chance
        self._fleet.world.faults = Faults(
            delay_max_s=self._some(DELAY, chance.choice((0.05, 0.5, 3.0)), otherwise=0.002),
            loss=self._some(LOSS, chance.choice((0.01, 0.1, 0.4))),
            duplication=self._some(DUPLICATION, chance.choice((0.01, 0.3))),
            reordering=self._some(REORDERING, chance.choice((0.01, 0.3))),
            reordering_s=chance.choice((0.5, 10.0)),
            breakage=self._some(BREAKAGE, chance.choice((0.0005, 0.01))),
        )

    def _some(self, kind: str, size: float, otherwise: float = 0.0) -> float:
        return size if kind in self._kinds and self._chance.random() < 0.7 else otherwise

    def end(self) -> None:
        """From now on nothing goes wrong, and whoever is down starts at once."""
        self.is_on = False
        self._fleet.world.faults = Faults()
        self._fleet.world.heal()
        for life in self._fleet.lives.values():
            life.machine.pause_s = PAUSE_S
            life.machine.faults.crash_at = life.machine.faults.fail_at = 0
        self._calm.set()

    async def run(self, nursery: trio.Nursery) -> None:
        """Keep all nodes alive, and from time to time do something to one of them."""
        for number in range(self._nodes):
            nursery.start_soon(self._keep_running, number)
        while True:
            await trio.sleep(self._chance.expovariate(1 / 15))
            if self.is_on:
                self._strike()

    def _strike(self) -> None:
        chance, fleet = self._chance, self._fleet
        kind = chance.choice(ALL)
        if kind not in self._kinds:
            return
        number = chance.randrange(self._nodes)
        life = fleet.lives.get(number)
        if kind == PARTITION:
            if chance.random() < 0.4:
                fleet.world.heal()
            else:
                names = [str(number) for number in range(self._nodes)]
                chance.shuffle(names)
                cut = chance.randrange(1, len(names))
                fleet.world.partition(names[:cut], names[cut:])
        elif kind == SKEW:
            fleet.skew(number, chance.choice((-1, 1)) * chance.randrange(chance.choice(STEPS_MS)))
        elif kind == SLOW_DISK and life is not None:
            life.machine.pause_s = chance.choice((PAUSE_S, *SLOW_S))
        elif kind == CRASH and life is not None and life.node is not None:
            fleet.kill(number)

    async def _keep_running(self, number: int) -> None:
        """Life after life; each may have its last write appointed at its start."""
        chance = random.Random(f"{self._fleet.seed}/lives/{number}")
        while True:
            crash_at = fail_at = 0
            if self.is_on and CRASH in self._kinds and chance.random() < 0.7:
                crash_at = 1 + chance.randrange(chance.choice(WRITES_TO_CRASH))
                if chance.random() < 0.2:
                    crash_at, fail_at = 0, crash_at
            self.starts += 1
            life = await self._fleet.live(number, crash_at, fail_at)
            self.crashes += 1
            self._lose(number, life, chance)
            with trio.move_on_after(chance.random() * chance.choice(DOWN_S)):
                await self._calm.wait()

    def _lose(self, number: int, life: Life, chance: random.Random) -> None:
        """Of what was not synced: all survives a killed process, some a power cut."""
        disk = self._fleet.disks[number]
        if life.error is None and not life.has_crashed:
            disk.close()
        else:
            kept = chance.choice((0, chance.randint(0, disk.unsynced), disk.unsynced))
            disk.crash(kept, names_kept=chance.random() < 0.5)
