"""The L1 side of a node, put together: store, watcher, origins, stages.

What lives here: which part gets what, and when stages are looked at again. What must never live
here: what any of them does.
"""

from dataclasses import dataclass
from typing import Final

import trio

from node.chain import LiveChain
from node.l1.deployment import Deployment
from node.l1.origin import Derived
from node.l1.stages import Stages
from node.l1.surface import L1
from node.l1.watcher import Watcher
from node.machine import Machine
from node.tape import BlockKept, Entry
from storage.database import Database
from storage.l1_facts import L1Facts


@dataclass(frozen=True)
class L1Link:
    """An L1, and which contract on it is the chain's."""

    l1: L1
    deployment: Deployment


class Bridge:
    """Run `run` in a nursery."""

    def __init__(
        self, chain: LiveChain, link: L1Link, database: Database, machine: Machine
    ) -> None:
        store = L1Facts(database, link.deployment.contract)
        self.watcher: Final = Watcher(
            link.l1, link.deployment, chain.genesis, store, machine, chain.alarm
        )
        facts = self.facts = self.watcher.facts
        self.origins: Final = Derived(
            chain, facts, self.watcher.client, machine, link.deployment.settings.deadline_s,
            self.watcher,
        )  # fmt: skip
        self.stages: Final = Stages(chain, facts)
        self.stages.update()
        chain.tape.read_with(self._read)

    def _read(self, entry: Entry) -> None:
        if isinstance(entry, BlockKept):
            self.stages.kept()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watcher.run)
            while True:
                await self.watcher.changed()
                self.stages.update()
