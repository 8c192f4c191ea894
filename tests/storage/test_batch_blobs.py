"""Names of blobs by batch: noted durably, answered without those that later batches have."""

from storage.batch_blobs import BatchBlobs
from storage.database import Database
from storage.disk import MemoryDisk

NAMES = [bytes([n]) * 32 for n in range(6)]


def test_a_batch_has_the_names_noted_under_it_and_those_below(database: Database) -> None:
    blobs = BatchBlobs(database)
    blobs.note(1, NAMES[:2])
    blobs.note(2, NAMES[2:3])
    blobs.note(2, NAMES[3:4])
    blobs.note(256, NAMES[4:5])
    assert blobs.until(0) == []
    assert blobs.until(1) == NAMES[:2]
    assert blobs.until(255) == NAMES[:4]
    assert blobs.until(256) == NAMES[:5]


def test_a_name_that_a_later_batch_has_is_not_told_before_that_one(database: Database) -> None:
    blobs = BatchBlobs(database)
    blobs.note(1, NAMES[:2])
    blobs.note(3, NAMES[1:3])
    assert blobs.until(2) == NAMES[:1]
    assert blobs.until(3) == NAMES[:3]
    blobs.forget(2)
    assert blobs.until(2) == []
    assert blobs.until(3) == NAMES[1:3]
    blobs.forget(3)
    assert blobs.until(9) == []


def test_what_was_noted_is_there_after_a_crash() -> None:
    disk = MemoryDisk()
    BatchBlobs(disk.database()).note(7, NAMES)
    disk.crash()
    assert BatchBlobs(disk.database()).until(7) == NAMES
