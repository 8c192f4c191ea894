"""A node's part in settling, put together: every validator attests, the leader commits.

What lives here: which part gets what, and the tasks. What must never live here: what any of them
does.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio

from consensus.da.kzg import Extended
from node.chain import LiveChain
from node.exceptions import NodeError
from node.l1.archive import BatchArchive
from node.l1.attesting import Attester, Collector, Committee
from node.l1.backlog import Backlog, Batching
from node.l1.bridge import Bridge, L1Link
from node.l1.committees import Committees
from node.l1.committer import Committer
from node.l1.fees import Caps
from node.l1.kzg_process import KzgProcess
from node.l1.lane import Lane
from node.l1.preparing import Preparation
from node.machine import Machine
from node.tape import BlockKept, Entry
from p2p.network import Network
from storage.database import Database
from storage.outbox import Outbox

log: Final = logging.getLogger(__name__)

DROPPED_AT_ONCE: Final = 256
"""Batches whose blobs are deleted in one job of the disk; those of blocks come in between."""


class Kzg(Protocol):
    """`KzgProcess`; a simulation computes where it stands."""

    async def commit(self, blobs: Sequence[bytes]) -> tuple[bytes, ...]: ...

    async def prove(self, blobs: Sequence[bytes]) -> tuple[tuple[bytes, bytes], ...]: ...

    async def extend(self, blobs: Sequence[bytes]) -> tuple[Extended, ...]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Settles:
    """`attester`: the secret of a member of the committee. `committer`: of the L1 account that pays
    for batches, on a leader; `drops_final_blobs`: it archives them only until they are final. `kzg`
    is made when the node starts."""

    attester: bytes
    committer: bytes | None = None
    batching: Batching = field(default_factory=Batching)
    caps: Caps = field(default_factory=Caps)
    kzg: Callable[[], Kzg] = KzgProcess
    drops_final_blobs: bool = False


class Settling:
    """Run `run` in a nursery. `archive` has posted blobs."""

    def __init__(
        self,
        chain: LiveChain,
        link: L1Link,
        bridge: Bridge,
        database: Database,
        machine: Machine,
        network: Network | None,
        settles: Settles,
        archive: BatchArchive,
    ) -> None:
        self._bridge = bridge
        self._machine = machine
        self._archive = archive
        self._drops_final_blobs = settles.drops_final_blobs
        self._kzg = settles.kzg()
        self._committees: Final = Committees(link.l1, link.deployment)
        self.attester: Attester | None = None
        self.committer: Committer | None = None
        if network is not None:
            self.attester = Attester(
                chain, machine, network, self._kzg, settles.attester, self._known_committee
            )
        if settles.committer is None:
            return
        backlog = Backlog(settles.batching)
        preparation = Preparation(
            link.l1, chain, machine, backlog, Collector(chain, network, settles.attester),
            self._committees.refresh, self._kzg, archive.keep,
        )  # fmt: skip
        lane = Lane(
            link.l1, Outbox(database), machine, settles.committer, link.deployment.chain_id
        )
        self.committer = Committer(
            link.l1, chain, machine, bridge.watcher, link.deployment, lane, backlog, preparation,
            settles.caps,
        )  # fmt: skip
        chain.tape.read_with(self._read)

    def _known_committee(self) -> Committee:
        return self._committees.current

    def _read(self, entry: Entry) -> None:
        if isinstance(entry, BlockKept) and self.committer is not None:
            self.committer.backlog.add(entry.block)

    def is_full(self) -> bool:
        """Whether so much waits for L1 that orders are refused."""
        return self.committer is not None and self.committer.backlog.is_over

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow_committee)
                if self.committer is not None:
                    nursery.start_soon(self.committer.run)
                if self._drops_final_blobs:
                    nursery.start_soon(self._drop_final_blobs)
        finally:
            await self._kzg.close()

    async def _drop_final_blobs(self) -> None:
        """Once the L1 block is final in which the contract made their batch final."""
        dropped = 0
        while True:
            final = self._bridge.facts.final.finalized
            while dropped < final:
                dropped = min(final, dropped + DROPPED_AT_ONCE)
                await self._machine.disk(partial(self._archive.prune, dropped))
            await self._bridge.watcher.changed()

    async def _follow_committee(self) -> None:
        """Whoever attests knows the committee as of the newest L1 block it has seen."""
        while True:
            try:
                await self._committees.refresh()
            except NodeError as error:
                log.info("the committee could not be read: %s", error)
            await self._bridge.watcher.changed()
