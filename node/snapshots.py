"""Snapshots of a running node: taken at intervals, pruned, and served to peers.

What lives here: when one is taken, how many stay, what is answered. What must never live here: the
files (`storage/snapshots.py`), or fetching (`node/snapshots_fetch.py`).

Theory. A snapshot is taken from a view of the stored state, in a thread, while the node goes on. It
is offered once a certificate near above it is kept: nobody could believe it before. Blocks are
pruned only up to the oldest snapshot that stays, in small steps, so that no block of the chain ever
waits long for the disk.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from node.chain import LiveChain
from node.machine import Machine
from node.snapshots_proof import prove
from node.tape import BlockKept, Entry
from p2p.exchange.snapshots import (
    SNAPSHOTS_MAX,
    SnapshotFacts,
    SnapshotName,
    decode_chunk_range,
    decode_name,
    encode_snapshots,
)
from p2p.network import Network, Refused
from p2p.topics import SNAPSHOT_CHUNKS, SNAPSHOT_LIST, SNAPSHOT_PROOF
from storage.database import Database
from storage.exceptions import StorageError
from storage.snapshots import Manifest, Snapshots
from storage.states import stored_height

NOT_KEPT: Final = 110
"""Refusal of a request: the snapshot is not kept here, or not certified yet."""
EVERY_BLOCKS: Final = 10_000
KEPT: Final = 2
PRUNED_AT_ONCE: Final = 64


@dataclass(frozen=True)
class Retention:
    """A snapshot every so many blocks (0: never), how many stay, whether blocks below them go."""

    every_blocks: int = EVERY_BLOCKS
    kept: int = KEPT
    prunes: bool = False


class SnapshotKeeper:
    """Run `run` in a nursery: takes what is due, prunes what is over."""

    def __init__(
        self,
        chain: LiveChain,
        database: Database,
        snapshots: Snapshots,
        machine: Machine,
        retention: Retention,
    ) -> None:
        self._chain = chain
        self._database = database
        self._snapshots = snapshots
        self._machine = machine
        self._retention = retention
        self._news = trio.Event()
        self._failed_at = -1
        self.kept: tuple[Manifest, ...] = tuple(snapshots.kept())
        if retention.every_blocks:
            chain.tape.read_with(self._read)

    def _read(self, entry: Entry) -> None:
        if isinstance(entry, BlockKept):
            self._news.set()

    @property
    def newest(self) -> int:
        """The height of the newest snapshot, 0 if there is none."""
        return self.kept[-1].height if self.kept else 0

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            height = stored_height(self._database)
            if height is None or height == self._failed_at:
                continue
            if height >= self.newest + self._retention.every_blocks:
                await self._take(height)

    async def _take(self, height: int) -> None:
        try:
            await self._machine.compute(self._write)
        except StorageError as error:
            self._failed_at = height
            self._chain.alarm(f"no snapshot could be taken: {error}")
            return
        self.kept = self.kept[-max(1, self._retention.kept) :]
        await self._machine.compute(lambda: self._snapshots.prune(self._retention.kept))
        if self._retention.prunes:
            await self._prune(self.kept[0].height)

    def _write(self) -> None:
        with self._database.view() as view:
            taken = self._snapshots.take(view, self._chain.genesis.hash)
        if taken not in self.kept:
            self.kept = (*self.kept, taken)

    async def _prune(self, floor: int) -> None:
        blocks = self._chain.blocks
        low = blocks.foundation().height
        while low < floor:
            low = min(low + PRUNED_AT_ONCE, floor)
            await self._machine.disk(partial(blocks.prune, low))


class SnapshotService:
    """Answers peers: the list, the proof of one, its chunks."""

    def __init__(
        self,
        chain: LiveChain,
        keeper: SnapshotKeeper,
        snapshots: Snapshots,
        machine: Machine,
        network: Network,
    ) -> None:
        self._chain = chain
        self._keeper = keeper
        self._snapshots = snapshots
        self._machine = machine
        network.serve(SNAPSHOT_LIST, self._list)
        network.serve(SNAPSHOT_PROOF, self._proof)
        network.serve(SNAPSHOT_CHUNKS, self._chunks)

    async def _list(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        offered = [
            SnapshotFacts(one.height, one.header.state_root, len(one.digests), one.size)
            for one in reversed(self._keeper.kept)
            if 0 < one.height <= self._chain.certified
        ]
        yield encode_snapshots(offered[:SNAPSHOTS_MAX])

    async def _proof(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        manifest = self._find(decode_name(request))
        proof = prove(self._chain.blocks, manifest)
        if proof is None:
            raise Refused(NOT_KEPT, f"snapshot {manifest.height} is not certified yet")
        yield proof

    async def _chunks(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        wanted = decode_chunk_range(request)
        manifest = self._find(SnapshotName(wanted.height, wanted.state_root))
        last = min(wanted.first + wanted.chunks, len(manifest.digests))
        for number in range(wanted.first, last):
            try:
                read = partial(self._snapshots.chunk, manifest, number)
                chunk = await self._machine.compute(read)
            except StorageError as error:
                self._chain.alarm(str(error))
                raise Refused(NOT_KEPT, f"snapshot {manifest.height} cannot be read") from error
            yield chunk

    def _find(self, name: SnapshotName) -> Manifest:
        for manifest in self._keeper.kept:
            if (manifest.height, manifest.header.state_root) == name:
                return manifest
        raise Refused(NOT_KEPT, f"snapshot {name.height} is not kept here")
