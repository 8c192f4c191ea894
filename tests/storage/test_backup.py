"""Backup, restore to any height, start from nothing, prune: roots are equal, damage is refused."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_chain import GENESIS, IDENTITY, Chain, small_genesis

from consensus.chain import genesis_state
from consensus.transition import apply_block
from storage import schema
from storage.backup import (
    BACKUP_DAMAGED,
    FOREIGN_BACKUP,
    HEIGHT_OUTSIDE,
    INDEX,
    NOT_A_BACKUP,
    NOT_EMPTY,
    NOTHING_TO_KEEP,
    back_up,
    prune,
    read_index,
    restore,
)
from storage.blocks import BLOCK_DAMAGED
from storage.disk import SNAPSHOTS, DirectoryDisk, Disk, MemoryDisk
from storage.exceptions import StorageDamaged, StorageRefused
from storage.faults import Crashed
from storage.files import DirectoryFiles, Files
from storage.memory import MemoryDatabase
from storage.memory_files import MemoryFiles
from storage.recovery import NO_STATE, adopt_snapshot, identity_of, keep_block, recover_chain
from storage.schema import Identity
from storage.snapshots import Snapshots
from storage.states import stored_height

CHAIN = Chain(seed=21).grow(6).list_market().grow(17)
HEIGHT = 24


@pytest.fixture(params=["directory", "memory"])
def disks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Disk, Disk, Files]]:
    """Two disks and the files of a backup."""
    if request.param == "memory":
        yield MemoryDisk(), MemoryDisk(), MemoryFiles()
    else:
        files = DirectoryFiles(tmp_path / "backup")
        yield DirectoryDisk(tmp_path / "one"), DirectoryDisk(tmp_path / "two"), files
        files.close()


class Node:
    """A follower's storage. It snapshots at every `snapshot_every`-th block."""

    def __init__(self, disk: Disk, snapshot_every: int = 5) -> None:
        self.database = disk.database()
        self.files = disk.files(SNAPSHOTS)
        self.snapshots = Snapshots(self.files)
        self.chain = recover_chain(GENESIS, self.database, self.snapshots)
        self.snapshot_every = snapshot_every

    @property
    def height(self) -> int:
        return self.chain.state.head.height

    def follow(self, height: int) -> "Node":
        for sealed in CHAIN.blocks[self.height : height]:
            outcome = apply_block(self.chain.state, sealed.block)
            keep_block(self.chain, sealed.block, outcome)
            if self.height % self.snapshot_every == 0:
                self.flush()
                self.snapshots.take(self.database, GENESIS.hash)
        return self

    def flush(self) -> None:
        self.chain.states.write(self.chain.states.take(self.chain.state))


def test_a_restored_backup_reaches_the_same_root_at_every_height() -> None:
    node, files = Node(MemoryDisk()).follow(HEIGHT), MemoryFiles()
    index = back_up(node.database, node.snapshots, IDENTITY, files)
    assert read_index(files) == index
    assert index.head == HEIGHT
    for height in [*range(HEIGHT + 1), None]:
        disk = MemoryDisk()
        database, snapshots = disk.database(), Snapshots(disk.files(SNAPSHOTS))
        reached = restore(files, database, snapshots, IDENTITY, height)
        assert stored_height(database) is None
        base = snapshots.newest()
        assert (0 if base is None else base.height) == reached - reached % 5
        chain = recover_chain(GENESIS, database, snapshots)
        assert chain.state.head.height == reached == (HEIGHT if height is None else height)
        assert chain.state.memory.tree.root() == CHAIN.roots[reached]
        assert chain.blocks.walk().height == reached
        for at in range(1, reached + 1):
            assert chain.blocks.events(at) == CHAIN.blocks[at - 1].events


def test_a_backup_of_a_node_that_goes_on_writing_restores_to_its_root(
    disks: tuple[Disk, Disk, Files],
) -> None:
    source, target, files = disks
    node = Node(source, snapshot_every=1000)
    node.follow(8)
    node.flush()
    started = threading.Event()

    def write() -> None:
        started.set()
        for height in range(9, HEIGHT + 1):
            node.follow(height)
            node.flush()

    writer = threading.Thread(target=write)
    writer.start()
    started.wait()
    index = back_up(node.database, node.snapshots, IDENTITY, files)
    writer.join()
    assert node.height == HEIGHT
    restored = target.database()
    restore(files, restored, Snapshots(target.files(SNAPSHOTS)), IDENTITY)
    again = recover_chain(GENESIS, restored, Snapshots(MemoryFiles()))
    assert 8 <= again.state.head.height == index.head <= HEIGHT
    assert again.state.memory.tree.root() == CHAIN.roots[index.head]
    for database in (node.database, restored):
        database.close()


def test_every_flipped_byte_of_a_backup_is_refused_and_nothing_is_written() -> None:
    node, files = Node(MemoryDisk()).follow(7), MemoryFiles()
    back_up(node.database, node.snapshots, IDENTITY, files)
    for name in files.names():
        good = files.read(name)
        assert good is not None
        for at in range(0, len(good), max(1, len(good) // 60)):
            files.replace(name, [good[:at], bytes((good[at] ^ 16,)), good[at + 1 :]])
            database, snapshots = MemoryDatabase(), Snapshots(MemoryFiles())
            with pytest.raises((StorageDamaged, StorageRefused)):
                restore(files, database, snapshots, IDENTITY)
            assert list(database.scan(b"", b"\xff")) == []
            assert snapshots.kept() == []
        files.replace(name, [good])


def test_what_is_no_good_backup_or_target_is_refused_by_number() -> None:
    node, files = Node(MemoryDisk()).follow(7), MemoryFiles()
    index = back_up(node.database, node.snapshots, IDENTITY, files)

    def refused(number: int, identity: Identity = IDENTITY, height: int | None = None) -> None:
        with pytest.raises((StorageRefused, StorageDamaged)) as caught:
            restore(files, MemoryDatabase(), Snapshots(MemoryFiles()), identity, height)
        assert caught.value.number == number

    refused(FOREIGN_BACKUP, identity_of(small_genesis(chain_id=5)))
    refused(HEIGHT_OUTSIDE, height=8)
    refused(HEIGHT_OUTSIDE, height=-1)
    with pytest.raises(StorageRefused) as caught:
        back_up(node.database, node.snapshots, IDENTITY, files)
    assert caught.value.number == NOT_EMPTY
    with pytest.raises(StorageRefused) as caught:
        restore(files, node.database, Snapshots(MemoryFiles()), IDENTITY)
    assert caught.value.number == NOT_EMPTY
    blocks = next(name for name, _ in index.parts if name.endswith(".blocks"))
    files.remove(blocks)
    refused(BACKUP_DAMAGED)
    files.remove(INDEX)
    refused(NOT_A_BACKUP)


def test_pruning_keeps_what_the_oldest_kept_snapshot_needs() -> None:
    disk = MemoryDisk()
    node = Node(disk, snapshot_every=1000).follow(3)
    with pytest.raises(StorageRefused) as caught:
        prune(node.chain.blocks, node.database, node.snapshots, 1)
    assert caught.value.number == NOTHING_TO_KEEP
    node.snapshot_every = 5
    node.follow(23)
    assert [manifest.height for manifest in node.snapshots.kept()] == [5, 10, 15, 20]
    assert prune(node.chain.blocks, node.database, node.snapshots, 2) == (2, 15)
    assert prune(node.chain.blocks, node.database, node.snapshots, 2) == (0, 0)
    assert node.chain.blocks.foundation().height == 15
    files = MemoryFiles()
    back_up(node.database, node.snapshots, IDENTITY, files)
    disk.close()
    assert Node(disk).chain.state.head == CHAIN.blocks[22].block.header
    with pytest.raises(StorageRefused) as caught:
        restore(files, MemoryDatabase(), Snapshots(MemoryFiles()), IDENTITY, 14)
    assert caught.value.number == HEIGHT_OUTSIDE
    for height in (15, 19, 23):
        database, snapshots = MemoryDatabase(), Snapshots(MemoryFiles())
        restore(files, database, snapshots, IDENTITY, height)
        chain = recover_chain(GENESIS, database, snapshots)
        assert chain.state.memory.tree.root() == CHAIN.roots[height]


def test_a_crash_at_every_write_of_a_pruning_leaves_a_chain_that_starts() -> None:
    for crash_at in itertools.count(1):
        for kept in (0, 1, 5):
            disk = MemoryDisk()
            node = Node(disk).follow(13)
            node.flush()
            disk.faults.crash_at = disk.faults.count + crash_at
            is_over = False
            with contextlib.suppress(Crashed):
                prune(node.chain.blocks, node.database, node.snapshots, 1)
                is_over = True
            disk.crash(kept, names_kept=kept > 0)
            again = Node(disk)
            assert again.chain.state.head == CHAIN.blocks[12].block.header
            assert again.chain.blocks.foundation().height <= 10
        if is_over:
            break
    assert crash_at > 10


def test_blocks_above_a_stored_state_that_lags_are_not_pruned() -> None:
    node = Node(MemoryDisk()).follow(12)
    assert stored_height(node.database) == 10
    node.snapshots.prune(1)
    node.chain.states.begin(genesis_state(GENESIS))
    assert prune(node.chain.blocks, node.database, node.snapshots, 1) == (0, 0)


def test_a_start_uses_the_stored_state_else_a_snapshot_else_genesis(
    disks: tuple[Disk, Disk, Files],
) -> None:
    """Stored at 12, snapshots at 5 and 10; each is taken away in turn."""
    node = Node(disks[0]).follow(12)
    node.flush()

    def replayed() -> list[int]:
        seen: list[int] = []
        chain = recover_chain(
            GENESIS, node.database, node.snapshots, progress=lambda height, _: seen.append(height)
        )
        assert chain.state.head == CHAIN.blocks[11].block.header
        node.database.write([(schema.STATE, None)], sync=True)
        return seen

    assert replayed() == []
    assert replayed() == [11, 12]
    for name in node.files.names():
        node.files.remove(name)
    assert replayed() == list(range(1, 13))
    node.database.close()


@pytest.mark.parametrize("kind", [schema.BLOCK, schema.EVENTS])
def test_a_damaged_block_is_named_by_its_height_at_start(kind: bytes) -> None:
    disk = MemoryDisk()
    node = Node(disk).follow(12)
    key = schema.at_height(kind, 11)
    record = node.database.get(key)
    assert record is not None
    node.database.write([(key, record[:-1] + bytes((record[-1] ^ 1,)))], sync=True)
    disk.close()
    with pytest.raises(StorageDamaged) as caught:
        Node(disk)
    assert (caught.value.number, caught.value.facts["height"]) == (BLOCK_DAMAGED, 11)


def test_a_node_from_a_snapshot_follows_to_the_same_head() -> None:
    node, disk = Node(MemoryDisk()).follow(20), MemoryDisk()
    manifest = node.snapshots.newest()
    assert manifest is not None
    database, snapshots = disk.database(), Snapshots(disk.files(SNAPSHOTS))
    with pytest.raises(StorageRefused) as caught:
        adopt_snapshot(GENESIS, database, snapshots, 20)
    assert caught.value.number == NO_STATE
    snapshots.add(GENESIS.hash, manifest.header, node.snapshots.chunks(manifest))
    adopt_snapshot(GENESIS, database, snapshots, 20)
    disk.close()
    again = Node(disk)
    assert again.height == 20
    again.follow(HEIGHT)
    assert again.chain.state.head == CHAIN.state.head
    with pytest.raises(StorageRefused):
        again.chain.blocks.block(20)


def test_a_directory_of_another_chain_is_refused() -> None:
    disk = MemoryDisk()
    Node(disk)
    disk.close()
    with pytest.raises(StorageRefused):
        recover_chain(small_genesis(chain_id=5), disk.database(), Snapshots(disk.files(SNAPSHOTS)))
