"""A node that starts from nothing begins at a proven snapshot, and believes no peer."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest
import trio
from fleet import SimulatedMachine, fleet_genesis, until
from hand_leader import HandChain, HandPeer, settings

from consensus import codec
from consensus.block import encode_header
from consensus.finality.votes import Subject
from consensus.state import snapshot
from consensus.state.snapshot import Facts
from consensus.transition import apply_block
from node.app import Keys, Node
from node.snapshots import NOT_KEPT, Retention
from node.snapshots_fetch import start_from_peers
from p2p.exchange.snapshots import (
    SnapshotFacts,
    decode_chunk_range,
    encode_snapshots,
)
from p2p.memory import World
from p2p.network import Network, Refused
from p2p.penalties import INVALID_SNAPSHOT
from p2p.topics import SNAPSHOT_CHUNKS, SNAPSHOT_LIST, SNAPSHOT_PROOF
from storage.blocks import Blocks
from storage.disk import SNAPSHOTS, MemoryDisk
from storage.recovery import keep_block, recover_chain
from storage.snapshots import Manifest, Snapshots

BLOCKS_MADE = 100


@dataclass
class Offer:
    """What a peer that has a snapshot says and sends; a test makes a part of it a lie."""

    facts: SnapshotFacts
    proof: bytes
    chunks: list[bytes]
    stops_at: int = 1 << 30
    missing: bool = False

    def serve(self, network: Network) -> None:
        network.serve(SNAPSHOT_LIST, self._list)
        network.serve(SNAPSHOT_PROOF, self._proof)
        network.serve(SNAPSHOT_CHUNKS, self._chunks)

    async def _list(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        yield encode_snapshots([self.facts])

    async def _proof(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        if self.missing:
            raise Refused(NOT_KEPT, "pruned meanwhile")
        yield self.proof

    async def _chunks(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        wanted = decode_chunk_range(request)
        stop = min(wanted.first + wanted.chunks, self.stops_at)
        for chunk in self.chunks[wanted.first : stop]:
            yield chunk


class Source:
    """A chain with one snapshot, made once for all tests."""

    def __init__(self) -> None:
        self.genesis = fleet_genesis(validators=4)
        self.chain = HandChain(self.genesis)
        self.chain.grow(BLOCKS_MADE)
        disk = MemoryDisk()
        database = disk.database()
        snapshots = Snapshots(disk.files(SNAPSHOTS))
        stored = recover_chain(self.genesis, database, snapshots)
        for sealed in self.chain.blocks.values():
            keep_block(stored, sealed.block, apply_block(stored.state, sealed.block))
        with database.view() as view:
            self.manifest = snapshots.take(view, self.genesis.hash)
        self.chunks = list(snapshots.chunks(self.manifest))
        self.height = self.manifest.height
        assert self.height >= 64

    def proof(self, manifest: Manifest, above: int = 2, certificate: bytes | None = None) -> bytes:
        blocks = self.chain.blocks
        headers = [blocks[self.height + n].block.header for n in range(1, above + 1)]
        if certificate is None:
            certificate = blocks[self.height + above].certificate
        return codec.encode([manifest.encode(), [encode_header(h) for h in headers], certificate])

    def offer(self) -> Offer:
        manifest = self.manifest
        facts = SnapshotFacts(
            self.height, manifest.header.state_root, len(self.chunks), manifest.size
        )
        return Offer(facts, self.proof(manifest), list(self.chunks))


@pytest.fixture(scope="module")
def source() -> Source:
    return Source()


async def sync_from(
    source: Source, offers: dict[str, Offer]
) -> tuple[int | None, MemoryDisk, dict[str, int]]:
    """Start an empty node among peers with these offers; height adopted, its disk, its charges."""
    world, disk = World(1), MemoryDisk()
    genesis = source.genesis
    async with AsyncExitStack() as stack:
        for name, offer in offers.items():
            network = await stack.enter_async_context(
                world.network(name, settings(world, genesis, name))
            )
            offer.serve(network)
        network = await stack.enter_async_context(
            world.network("new", settings(world, genesis, "new", list(offers)))
        )
        height = await start_from_peers(genesis, disk, network, SimulatedMachine())
        charged = {
            name.removeprefix("offence_"): count for name, count in network.counters().items()
        }
    return height, disk, charged


async def test_a_proven_snapshot_is_adopted(source: Source, autojump_clock: object) -> None:
    height, disk, charged = await sync_from(source, {"a": source.offer()})
    assert height == source.height
    stored = recover_chain(source.genesis, disk.database(), Snapshots(disk.files(SNAPSHOTS)))
    assert stored.state.head == source.manifest.header
    assert stored.state.memory.tree.root() == source.manifest.header.state_root
    assert INVALID_SNAPSHOT.name not in charged


async def test_no_peer_and_no_snapshot_mean_genesis(
    source: Source, autojump_clock: object
) -> None:
    low = source.offer()
    low.facts = low.facts._replace(height=63)
    for offers in ({}, {"a": low}):
        height, disk, _ = await sync_from(source, offers)
        assert height is None and Blocks(disk.database()).is_empty()


async def test_a_chain_that_was_begun_is_left_alone(
    source: Source, autojump_clock: object
) -> None:
    world, disk = World(1), MemoryDisk()
    recover_chain(source.genesis, disk.database(), Snapshots(disk.files(SNAPSHOTS)))
    disk.close()
    async with world.network("new", settings(world, source.genesis, "new")) as network:
        found = await start_from_peers(source.genesis, disk, network, SimulatedMachine())
    assert found is None


def lies(source: Source) -> dict[str, Offer]:
    """Every lie about a snapshot, each with the rest true."""
    made = {
        name: source.offer()
        for name in (
            "bad chunk", "wrong state", "other block", "other set", "one signer",
            "gap", "no proof", "another chain", "another root",
        )
    }  # fmt: skip
    chain, manifest = source.chain, source.manifest
    subject = chain.blocks[source.height + 2].subject
    first = bytearray(source.chunks[0])
    first[len(first) // 2] ^= 1
    made["bad chunk"].chunks[0] = bytes(first)
    short = replace_header(manifest, state_root=bytes(32))
    made["another root"].proof = source.proof(short)
    other = Subject(subject.height, subject.round, bytes(32))
    made["other block"].proof = source.proof(manifest, certificate=chain.certificate(other))
    elsewhere = HandChain(fleet_genesis(validators=5))
    made["other set"].proof = source.proof(manifest, certificate=elsewhere.certificate(subject))
    made["one signer"].proof = source.proof(manifest, certificate=_forged(source, subject))
    parts = codec.decode(source.proof(manifest), limit_bytes=1 << 18)
    assert isinstance(parts, list | tuple)
    made["gap"].proof = codec.encode([parts[0], [*parts[1]][1:], parts[2]])
    made["no proof"].proof = b"\xc0"
    made["another chain"].proof = source.proof(manifest._replace(genesis_hash=bytes(32)))
    made["wrong state"] = _wrong_state(source)
    return made


def replace_header(manifest: Manifest, **fields: object) -> Manifest:
    return manifest._replace(header=replace(manifest.header, **fields))  # type: ignore[arg-type]


def _forged(source: Source, subject: Subject) -> bytes:
    """A certificate with a quorum's bitmap and one validator's signature."""
    honest = codec.decode(source.chain.certificate(subject), limit_bytes=1 << 12)
    single = codec.decode(source.chain.certificate(Subject(1, 0, bytes(32))), limit_bytes=1 << 12)
    assert isinstance(honest, list | tuple) and isinstance(single, list | tuple)
    return codec.encode([*honest[:4], single[4]])


def _wrong_state(source: Source) -> Offer:
    """The certified header over the chunks of another state, with the digests of those chunks."""
    chain = HandChain(source.genesis)
    chain.grow(3)
    header = source.manifest.header
    memory = chain.state.memory
    facts = Facts(
        1, source.genesis.hash, header.height, source.chain.blocks[source.height].subject.hash,
        header.state_root,
    )  # fmt: skip
    data = b"".join(snapshot.write(memory.tree.regions, memory.view(), facts))
    offer = source.offer()
    manifest = source.manifest._replace(size=len(data), digests=(sha256(data).digest(),))
    offer.proof, offer.chunks = source.proof(manifest), [data]
    return offer


async def test_every_lie_is_refused_and_paid_for(source: Source, autojump_clock: object) -> None:
    for name, offer in lies(source).items():
        height, disk, charged = await sync_from(source, {"liar": offer})
        assert height is None, name
        assert Blocks(disk.database()).is_empty(), name
        assert not disk.files(SNAPSHOTS).names(), name
        assert charged.get(INVALID_SNAPSHOT.name) == 1, (name, charged)


async def test_a_lie_does_not_keep_the_truth_away(source: Source, autojump_clock: object) -> None:
    """A newer snapshot is only claimed; of the peers that have the true one, two do not deliver."""
    offers = {name: source.offer() for name in ("liar", "stops", "gone", "honest")}
    offers["liar"].facts = offers["liar"].facts._replace(height=source.height + 1000)
    offers["stops"].stops_at = 0
    offers["gone"].missing = True
    height, _, charged = await sync_from(source, offers)
    assert height == source.height
    assert charged.get(INVALID_SNAPSHOT.name) == 1


@pytest.mark.slow
async def test_a_new_follower_reaches_the_head_by_snapshot_and_range(
    autojump_clock: object,
) -> None:
    """Followers take snapshots at their intervals, keep as many as told, and serve them."""
    genesis = fleet_genesis(validators=4)
    chain = HandChain(genesis)
    chain.grow(136)
    world, disks = World(1), {name: MemoryDisk() for name in ("old", "new", "slow")}
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:

        async def start(name: str, dial: list[str], *, snapshot: bool) -> Node:
            network = await stack.enter_async_context(
                world.network(name, settings(world, genesis, name, dial))
            )
            machine = SimulatedMachine()
            if snapshot:
                assert await start_from_peers(genesis, disks[name], network, machine)
            kept = Retention(every_blocks=32, kept=2, prunes=name == "old")
            node = Node(
                genesis, disks[name], network, machine, Keys(), leads=False, retention=kept
            )
            await nursery.start(node.run)
            return node

        network = await stack.enter_async_context(
            world.network("leader", settings(world, genesis, "leader"))
        )
        HandPeer(network, chain.blocks).announce(136)
        old = await start("old", ["leader"], snapshot=False)
        await until(lambda: old.chain.state.head.height == 136)
        await until(lambda: old.snapshot_keeper.newest == 128)
        assert [one.height for one in old.snapshots.kept()] == [96, 128]
        await until(lambda: old.chain.blocks.foundation().height == 96)
        begun = time.perf_counter()
        new = await start("new", ["old"], snapshot=True)
        await until(lambda: new.chain.state.head.height == 136)
        by_snapshot = time.perf_counter() - begun
        assert new.chain.blocks.foundation().height == 128
        begun = time.perf_counter()
        slow = await start("slow", ["leader"], snapshot=False)
        await until(lambda: slow.chain.state.head.height == 136)
        by_replay = time.perf_counter() - begun
        root = chain.state.head.state_root
        assert new.chain.state.head.state_root == root == slow.chain.state.head.state_root
        assert new.chain.certified == 136
        print(f"snapshot and range {by_snapshot:.3f} s, replay {by_replay:.3f} s")
        assert by_snapshot < by_replay
        nursery.cancel_scope.cancel()
