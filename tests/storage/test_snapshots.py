"""Snapshots: taken from the stored state, served and checked by chunk, pruned; damage is named."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_chain import GENESIS, Chain

from storage import snapshots as law
from storage.blocks import Blocks
from storage.exceptions import StorageDamaged, StorageError, StorageRefused
from storage.files import DirectoryFiles, Files
from storage.memory import MemoryDatabase
from storage.memory_files import MemoryFiles
from storage.snapshots import (
    BAD_MANIFEST,
    CHUNK_DAMAGED,
    NO_STORED_STATE,
    NO_SUCH_CHUNK,
    SNAPSHOT_DAMAGED,
    Manifest,
    Snapshots,
    check_chunk,
    decode_manifest,
    restore,
)
from storage.states import States


@pytest.fixture(params=["directory", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    made: Files = DirectoryFiles(tmp_path) if request.param == "directory" else MemoryFiles()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(law, "CHUNK_BYTES", 400)


def taken(files: Files, heights: tuple[int, ...] = (2, 4, 6)) -> tuple[Snapshots, list[Manifest]]:
    chain, database = Chain(seed=11), MemoryDatabase()
    blocks, states, snapshots = Blocks(database), States(database), Snapshots(files)
    blocks.begin(chain.genesis_header)
    states.begin(chain.state)
    made = []
    for height in range(1, heights[-1] + 1):
        chain.grow()
        sealed = chain.blocks[-1]
        blocks.append(sealed.block, sealed.events)
        states.note(chain.state.memory, sealed.outcome.leaves)
        if height in heights:
            states.write(states.take(chain.state))
            made.append(snapshots.take(database, GENESIS.hash))
    return snapshots, made


def test_a_snapshot_is_listed_served_and_restored(files: Files) -> None:
    snapshots, made = taken(files)
    assert [manifest.height for manifest in made] == [2, 4, 6]
    assert snapshots.kept() == Snapshots(files).kept() == made
    assert snapshots.newest() == made[2]
    assert snapshots.newest(5) == made[1]
    assert snapshots.newest(1) is None
    for manifest in made:
        assert decode_manifest(manifest.encode()) == manifest
        assert len(manifest.digests) > 2
        data = b"".join(
            check_chunk(manifest, number, snapshots.chunk(manifest, number))
            for number in range(len(manifest.digests))
        )
        assert len(data) == manifest.size
        assert restore(manifest, data).facts.state_root == manifest.header.state_root
        assert snapshots.read(manifest).facts.height == manifest.height


def test_the_same_state_is_written_once(files: Files) -> None:
    chain, database = Chain(seed=11), MemoryDatabase()
    snapshots = Snapshots(files)
    with pytest.raises(StorageRefused) as caught:
        snapshots.take(database, GENESIS.hash)
    assert caught.value.number == NO_STORED_STATE
    Blocks(database).begin(chain.genesis_header)
    States(database).begin(chain.state)
    assert snapshots.take(database, GENESIS.hash) == snapshots.take(database, GENESIS.hash)
    assert len(snapshots.kept()) == 1


def test_a_received_snapshot_is_kept_like_our_own(files: Files) -> None:
    snapshots, made = taken(files)
    other = Snapshots(MemoryFiles())
    pieces = snapshots.chunks(made[1])
    assert other.add(GENESIS.hash, made[1].header, pieces) == made[1]
    assert other.read(made[1]).facts == snapshots.read(made[1]).facts


def test_a_wrong_chunk_is_refused_by_its_number(files: Files) -> None:
    snapshots, (_, manifest, _) = taken(files)
    good = snapshots.chunk(manifest, 1)
    for data in (b"", good[:-1], good + b"x", snapshots.chunk(manifest, 0)):
        with pytest.raises(StorageRefused) as caught:
            check_chunk(manifest, 1, data)
        assert caught.value.number == CHUNK_DAMAGED
        assert caught.value.facts["chunk"] == 1
    for number in (-1, len(manifest.digests)):
        with pytest.raises(StorageRefused) as caught:
            snapshots.chunk(manifest, number)
        assert caught.value.number == NO_SUCH_CHUNK


def test_every_flipped_byte_of_a_snapshot_is_noticed() -> None:
    files = MemoryFiles()
    snapshots, (manifest,) = taken(files, (2,))
    for suffix in (law.FILE, law.MANIFEST):
        name = manifest.stem + suffix
        good = files.read(name)
        assert good is not None
        for at in range(0, len(good), 1 if suffix == law.MANIFEST else 41):
            files.replace(name, [good[:at], bytes((good[at] ^ 4,)), good[at + 1 :]])
            with pytest.raises(StorageDamaged) as caught:
                for kept in snapshots.kept():
                    snapshots.read(kept)
            assert caught.value.number == SNAPSHOT_DAMAGED
        files.replace(name, [good])
    snapshots.read(manifest)


def test_a_manifest_of_another_state_is_refused(files: Files) -> None:
    """The root is rebuilt, so a header with another root cannot be passed off."""
    snapshots, made = taken(files)
    for header in (made[0].header, replace(made[1].header, state_root=bytes(32))):
        forged = snapshots.add(GENESIS.hash, header, list(snapshots.chunks(made[1])))
        with pytest.raises(StorageDamaged) as caught:
            snapshots.read(forged)
        assert caught.value.number == SNAPSHOT_DAMAGED


def test_a_manifest_has_one_form_and_a_bounded_size() -> None:
    _, (manifest,) = taken(MemoryFiles(), (2,))
    for wrong in (
        b"",
        manifest.encode() + b"\0",
        manifest._replace(size=manifest.size + 1000).encode(),
        manifest._replace(digests=()).encode(),
        manifest._replace(digests=manifest.digests * 3000).encode(),
    ):
        with pytest.raises(StorageRefused) as caught:
            decode_manifest(wrong)
        assert caught.value.number == BAD_MANIFEST


def test_pruning_keeps_the_newest_and_at_least_one(files: Files) -> None:
    snapshots, made = taken(files)
    assert snapshots.prune(2) == made[:1]
    assert snapshots.prune(0) == made[1:2]
    assert snapshots.prune(1) == []
    assert snapshots.kept() == made[2:]
    assert len(files.names()) == 2


def test_a_snapshot_that_was_not_finished_is_swept_away() -> None:
    files = MemoryFiles()
    _, (manifest,) = taken(files, (2,))
    files.remove(manifest.stem + law.MANIFEST)
    assert Snapshots(files).kept() == []
    assert files.names() == []


def test_a_damaged_stored_state_makes_no_snapshot(files: Files) -> None:
    chain, database = Chain(seed=11), MemoryDatabase()
    Blocks(database).begin(chain.genesis_header)
    States(database).begin(chain.state)
    key, leaf = next(iter(database.scan(b"L", b"M")))
    database.write([(key, leaf[::-1])], sync=True)
    with pytest.raises(StorageError):
        Snapshots(files).take(database, GENESIS.hash)
    assert files.names() == []
