"""A node that starts from nothing: the newest snapshot that a quorum certified, from peers.

What lives here: whom to ask, what to check before anything is kept, who pays for what is false.
What must never live here: blocks; whoever adopted a snapshot continues by range.

Theory. Nothing that a peer says is believed. The list is a rumour: it only says what to ask for.
The proof must name our chain, its header must be certified by a quorum (`snapshots_proof.py`), each
chunk must have the digest that the proven peer's manifest gives, and the state in the chunks must
have the header's state root, rebuilt leaf by leaf. Manifests of two honest peers may differ, as
compressed bytes do; chunks of one manifest may come from every peer that gave the same one.

A peer whose proof, chunk or state is false pays `invalid_snapshot`; one that stops, or no longer
has the snapshot, only loses its turn.
"""

import logging
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final, NamedTuple

import trio

from consensus.finality.validators import ValidatorSet
from consensus.genesis import Genesis
from consensus.state.snapshot import Restored
from node.exceptions import NodeError
from node.machine import Machine
from node.snapshots_proof import check_proof, decode_proof
from p2p.exceptions import PeerFault
from p2p.exchange.packed import Malformed
from p2p.exchange.snapshots import (
    CHUNKS_MAX,
    ChunkRange,
    SnapshotFacts,
    SnapshotName,
    decode_snapshots,
    encode_chunk_range,
    encode_name,
)
from p2p.network import BUSY, TOO_FAST, Network, Refused
from p2p.penalties import FALSE_RESPONSE, INVALID_SNAPSHOT
from p2p.topics import SNAPSHOT_CHUNKS, SNAPSHOT_LIST, SNAPSHOT_PROOF
from storage.blocks import Blocks
from storage.disk import SNAPSHOTS, Disk
from storage.exceptions import StorageError
from storage.recovery import adopt_state
from storage.snapshots import Manifest, Snapshots, check_chunk, restore

WAIT_S: Final = 10.0
"""How long to wait for the first peer; without one the chain is started from genesis."""
GATHER_S: Final = 2.0
WORTH_BLOCKS: Final = 64
"""A snapshot at a lower height saves nothing over the blocks themselves."""
SNAPSHOT_BYTES_MAX: Final = 1 << 30
PAUSE_S: Final = 1.0
PAUSES_MAX: Final = 10
log: Final = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """A proven snapshot, its bytes and the state in them."""

    manifest: Manifest
    pieces: list[bytes]
    restored: Restored


async def start_from_peers(
    genesis: Genesis, disk: Disk, network: Network, machine: Machine, wait_s: float = WAIT_S
) -> int | None:
    """Begin an empty disk at the newest snapshot that can be proven; its height.

    None, and nothing changed, if the disk holds a chain, or no peer has one worth the while. The
    disk is closed on return: open it again.
    """
    try:
        database = disk.database()
        if not Blocks(database).is_empty():
            return None
        fetch = SnapshotFetch(genesis, network, machine)
        found = await fetch.newest(wait_s)
        if found is None:
            return None
        manifest, pieces, restored = found
        snapshots = Snapshots(disk.files(SNAPSHOTS))
        await machine.disk(lambda: snapshots.add(genesis.hash, manifest.header, pieces))
        await machine.disk(lambda: adopt_state(genesis, database, manifest.header, restored))
        return manifest.height
    finally:
        disk.close()


class SnapshotFetch:
    """One search among the connected peers."""

    def __init__(self, genesis: Genesis, network: Network, machine: Machine) -> None:
        self._genesis_hash = genesis.hash
        self._validators = ValidatorSet(genesis.validators)
        self._network = network
        self._machine = machine

    async def newest(self, wait_s: float = WAIT_S) -> Fetched | None:
        """The newest snapshot that one of the peers can prove and deliver."""
        await self._until_ready(wait_s)
        offers: dict[SnapshotName, list[str]] = defaultdict(list)
        for facts in self._network.peers():
            if facts.ready:
                for offer in await self._offers(facts.peer):
                    offers[SnapshotName(offer.height, offer.state_root)].append(facts.peer)
        for name in sorted(offers, reverse=True):
            found = await self._deliver(name, offers[name])
            if found is not None:
                return found
        return None

    async def _until_ready(self, wait_s: float) -> None:
        """Wait for a first peer, then a moment for others."""
        with trio.move_on_after(wait_s):
            while not (heads := self._heads()):
                await trio.sleep(0.1)
            if max(heads) >= WORTH_BLOCKS:
                await trio.sleep(GATHER_S)

    def _heads(self) -> list[int]:
        """The heights of the peers whose chain is ours."""
        known = [facts.head for facts in self._network.peers() if facts.ready]
        return [head.height for head in known if head is not None]

    async def _offers(self, peer: str) -> list[SnapshotFacts]:
        answer = await self._answer(peer, SNAPSHOT_LIST, b"")
        if answer is None:
            return []
        try:
            offers = decode_snapshots(answer)
        except Malformed:
            self._network.offend(peer, FALSE_RESPONSE)
            return []
        return [one for one in offers if one.height >= WORTH_BLOCKS]

    async def _deliver(self, name: SnapshotName, peers: list[str]) -> Fetched | None:
        """The snapshot of this name; what one peer began, another of the same manifest goes on."""
        begun: dict[bytes, list[bytes]] = {}
        for peer in peers:
            manifest = await self._proven(peer, name)
            if manifest is None:
                continue
            pieces = begun.setdefault(manifest.encode(), [])
            if not await self._fill(peer, manifest, pieces):
                continue
            try:
                work = partial(restore, manifest, b"".join(pieces))
                restored = await self._machine.compute(work)
            except StorageError as error:
                # Each piece has the digest that this peer's manifest gives it.
                self._false(peer, error)
                pieces.clear()
                continue
            return Fetched(manifest, pieces, restored)
        return None

    async def _proven(self, peer: str, name: SnapshotName) -> Manifest | None:
        """The peer's manifest, if its proof holds."""
        answer = await self._answer(peer, SNAPSHOT_PROOF, encode_name(name))
        if answer is None:
            return None
        try:
            proof = decode_proof(answer)
            await self._machine.compute(
                lambda: check_proof(self._genesis_hash, self._validators, name, proof)
            )
        except NodeError as error:
            self._false(peer, error)
            return None
        return proof.manifest if proof.manifest.size <= SNAPSHOT_BYTES_MAX else None

    async def _fill(self, peer: str, manifest: Manifest, pieces: list[bytes]) -> bool:
        """Append the missing chunks as far as the peer gives them; whether they are all there."""
        pauses = 0
        while len(pieces) < len(manifest.digests):
            before = len(pieces)
            wanted = min(CHUNKS_MAX, len(manifest.digests) - before)
            root = manifest.header.state_root
            request = encode_chunk_range(ChunkRange(manifest.height, root, before, wanted))
            try:
                async with aclosing(self._ask(peer, SNAPSHOT_CHUNKS, request)) as chunks:
                    async for chunk in chunks:
                        pieces.append(check_chunk(manifest, len(pieces), chunk))
            except StorageError as error:
                self._false(peer, error)
                return False
            except Refused as refused:
                pauses += 1
                if refused.code not in (BUSY, TOO_FAST) or pauses > PAUSES_MAX:
                    return False
                await trio.sleep(PAUSE_S)
                continue
            except PeerFault:
                return False
            if len(pieces) == before:
                return False
        return True

    def _false(self, peer: str, why: Exception) -> None:
        log.warning("a false snapshot: %s", why, extra={"peer": peer})
        self._network.offend(peer, INVALID_SNAPSHOT)

    async def _answer(self, peer: str, protocol: str, request: bytes) -> bytes | None:
        """An answer of one chunk; None if the peer does not give it."""
        try:
            async with aclosing(self._ask(peer, protocol, request)) as chunks:
                async for chunk in chunks:
                    return chunk
        except (PeerFault, Refused):
            pass
        return None

    async def _ask(
        self, peer: str, protocol: str, request: bytes
    ) -> AsyncGenerator[bytes, None]:
        async for chunk in self._network.request(peer, protocol, request):
            yield chunk
