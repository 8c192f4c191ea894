"""A leader that is stopped anywhere keeps every promise when it starts again."""

import contextlib
import itertools
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from leader_model import Leader
from promises import Promises

from storage.blocks import Blocks
from storage.disk import DATABASE, DirectoryDisk, MemoryDisk
from storage.exceptions import StorageStopped
from storage.faults import Crashed
from storage.leveldb import LevelDatabase

HEIGHT = 3
KILLS, KILLS_LONG = 20, 200
BLOCKS_ENOUGH = 1_000_000
SEED = 20_261_125


def silent(*words: object) -> None:
    pass


@pytest.fixture(scope="module")
def straight() -> Leader:
    """The leader that nothing happened to."""
    return Leader(MemoryDisk(), silent, snapshot_every=2).run(HEIGHT)


def tears(long_run: bool, unsynced: int, rng: random.Random) -> Iterator[int]:
    if long_run:
        yield from range(0, unsynced + 1, 7)
    else:
        yield from {0, unsynced, rng.randrange(unsynced + 1)}


@pytest.mark.slow
def test_a_crash_at_every_write_breaks_no_promise(straight: Leader, long_run: bool) -> None:
    """Journal, last_signed, database and snapshots share one count of writes. After each crash the
    leader starts again, perhaps crashes again, and ends with the chain of the undisturbed one."""
    rng = random.Random(SEED)
    crashes = 0
    for crash_at in itertools.count(1):
        probe = MemoryDisk()
        probe.faults.crash_at = crash_at
        with contextlib.suppress(Crashed):
            Leader(probe, silent, snapshot_every=2).run(HEIGHT)
        if probe.faults.count < crash_at:
            break
        for tear in tears(long_run, probe.unsynced, rng):
            disk, promises = MemoryDisk(), Promises()
            disk.faults.crash_at = crash_at
            for again in (rng.randrange(1, 25), 0):
                with contextlib.suppress(Crashed):
                    Leader(disk, promises, snapshot_every=2).run(HEIGHT)
                disk.crash(tear, names_kept=rng.random() < 0.5)
                disk.faults.crash_at = again
                crashes += 1
            leader = Leader(disk, promises, snapshot_every=2).run(HEIGHT)
            assert leader.state.head_hash == straight.state.head_hash, (crash_at, tear)
            promises.check(leader.chain.blocks)
            for manifest in leader.snapshots.kept():
                leader.snapshots.read(manifest)
    assert crashes > 100


def test_a_failed_write_stops_the_leader_and_breaks_no_promise(straight: Leader) -> None:
    """At every write in turn; what was acknowledged before is there after the disk is repaired."""
    failures = 0
    for fail_at in itertools.count(1):
        disk, promises = MemoryDisk(), Promises()
        disk.faults.fail_at = fail_at
        try:
            Leader(disk, promises).run(HEIGHT)
            break
        except StorageStopped:
            failures += 1
        disk.close()
        disk.faults.fail_at = 0
        leader = Leader(disk, promises).run(HEIGHT)
        assert leader.state.head_hash == straight.state.head_hash, fail_at
        promises.check(leader.chain.blocks)
    assert failures > 30


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_no_acknowledged_write(
    tmp_path: Path, long_run: bool
) -> None:
    """A real process on a real disk; what it printed was promised."""
    rng, promises = random.Random(SEED), Promises()
    command = [sys.executable, str(Path(__file__).with_name("leader_model.py")), str(tmp_path)]
    heights = [0]
    for _ in range(KILLS_LONG if long_run else KILLS):
        said = rng.randrange(1, 160)
        with subprocess.Popen(
            [*command, str(BLOCKS_ENOUGH)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            lines = iter(process.stdout.readline, b"")
            for line in itertools.islice(lines, said):
                promises(*line.decode().split())
            process.kill()
            *whole, _ = process.stdout.read().split(b"\n")
            for line in whole:
                promises(*line.decode().split())
            errors = process.stderr.read().decode()
        assert not errors, errors
        database = LevelDatabase(tmp_path / DATABASE)
        promises.check(Blocks(database))
        heights.append(Blocks(database).head().height)
        database.close()
    assert heights == sorted(heights)
    disk = DirectoryDisk(tmp_path)
    leader = Leader(disk, promises).run(heights[-1] + 2)
    promises.check(leader.chain.blocks)
    assert set(promises.signed) == set(range(1, heights[-1] + 3))
    assert len(promises.receipts) > heights[-1]
    disk.close()
