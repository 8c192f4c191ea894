"""No key signs two things in one place, whatever happens to the node between."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import last_signed
from storage.exceptions import StorageDamaged, StorageRefused, StorageStopped
from storage.faults import Crashed, Faults
from storage.files import DirectoryFiles, Files
from storage.last_signed import (
    BLOCK,
    HEAD_MOVED_BACK,
    NAME,
    RECORD_BYTES,
    SIGNED_DAMAGED,
    SIGNED_FOREIGN,
    SIGNED_OTHERWISE,
    SIGNED_RANGE,
    VOTE,
    LastSigned,
    Signed,
)
from storage.memory_files import MemoryFiles

GENESIS = b"\x11" * 32


def hashed(number: int) -> bytes:
    return bytes((number,)) * 32


@pytest.fixture(params=["directory", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    made: Files = DirectoryFiles(tmp_path) if request.param == "directory" else MemoryFiles()
    yield made
    made.close()


def test_the_same_is_allowed_again_and_another_is_not(files: Files) -> None:
    signed = LastSigned(files, GENESIS)
    signed.allow(BLOCK, 5, 0, hashed(1))
    for _ in range(2):
        signed.allow(BLOCK, 5, 0, hashed(1))
        for height, round_ in ((5, 0), (4, 9), (1, 0)):
            with pytest.raises(StorageRefused) as caught:
                signed.allow(BLOCK, height, round_, hashed(2))
            assert caught.value.number == SIGNED_OTHERWISE
        signed.close()
        signed = LastSigned(files, GENESIS)
    signed.allow(BLOCK, 5, 1, hashed(2))
    signed.allow(VOTE, 5, 0, hashed(3))
    signed.allow(BLOCK, 6, 0, hashed(4))
    with pytest.raises(StorageRefused):
        signed.allow(BLOCK, 5, 1, hashed(2))
    signed.close()
    again = LastSigned(files, GENESIS)
    assert again.last(BLOCK) == Signed(6, 0, hashed(4))
    assert again.last(VOTE) == Signed(5, 0, hashed(3))
    assert again.last(3) is None
    again.close()


def test_what_cannot_be_a_place_is_refused(files: Files) -> None:
    signed = LastSigned(files, GENESIS)
    for kind, height, round_, what in (
        (0, 1, 0, hashed(1)),
        (3, 1, 0, hashed(1)),
        (BLOCK, 0, 0, hashed(1)),
        (BLOCK, 1 << 53, 0, hashed(1)),
        (BLOCK, 1, 1 << 32, hashed(1)),
        (BLOCK, 1, -1, hashed(1)),
        (BLOCK, 1, 0, b"short"),
    ):
        with pytest.raises(StorageRefused) as caught:
            signed.allow(kind, height, round_, what)
        assert caught.value.number == SIGNED_RANGE
    assert files.size(NAME) == RECORD_BYTES
    signed.close()


def test_the_file_stays_small(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_signed, "RECORDS_MAX", 10)
    signed = LastSigned(files, GENESIS)
    signed.allow(VOTE, 1, 0, hashed(9))
    for height in range(1, 50):
        signed.allow(BLOCK, height, 0, hashed(height))
        assert (files.size(NAME) or 0) <= 10 * RECORD_BYTES
    signed.close()
    again = LastSigned(files, GENESIS)
    assert again.last(BLOCK) == Signed(49, 0, hashed(49))
    assert again.last(VOTE) == Signed(1, 0, hashed(9))
    again.close()


def test_another_chain_is_refused(files: Files) -> None:
    LastSigned(files, GENESIS).close()
    with pytest.raises(StorageRefused) as caught:
        LastSigned(files, b"\x22" * 32)
    assert caught.value.number == SIGNED_FOREIGN


def test_a_chain_that_ends_below_what_was_signed_is_reported(files: Files) -> None:
    signed = LastSigned(files, GENESIS)
    signed.check_head(0)
    signed.allow(VOTE, 7, 0, hashed(1))
    signed.allow(BLOCK, 8, 0, hashed(1))
    signed.check_head(7)
    with pytest.raises(StorageDamaged) as caught:
        signed.check_head(6)
    assert caught.value.number == HEAD_MOVED_BACK
    signed.close()


def test_every_flipped_bit_is_refused() -> None:
    files = MemoryFiles()
    signed = LastSigned(files, GENESIS)
    for height in range(1, 4):
        signed.allow(BLOCK, height, 0, hashed(height))
        signed.allow(VOTE, height, 0, hashed(height))
    good = files.read(NAME)
    assert good is not None
    for at, bit in itertools.product(range(len(good)), range(8)):
        damaged = MemoryFiles()
        damaged.replace(NAME, [good[:at], bytes((good[at] ^ 1 << bit,)), good[at + 1 :]])
        with pytest.raises((StorageDamaged, StorageRefused)) as caught:
            LastSigned(damaged, GENESIS)
        assert caught.value.number in (SIGNED_DAMAGED, SIGNED_FOREIGN)


def test_a_file_without_a_whole_record_is_refused() -> None:
    files = MemoryFiles()
    files.replace(NAME, [b""])
    with pytest.raises(StorageDamaged):
        LastSigned(files, GENESIS)


def test_after_a_crash_at_every_write_with_every_tear_nothing_allowed_is_contradicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(last_signed, "RECORDS_MAX", 4)
    tried = 0
    for crash_at in itertools.count(1):
        is_over, tear = False, 0
        while True:
            files = MemoryFiles(Faults(crash_at=crash_at))
            allowed: Signed | None = None
            try:
                signed = LastSigned(files, GENESIS)
                for height in range(1, 6):
                    signed.allow(BLOCK, height, 0, hashed(height))
                    allowed = Signed(height, 0, hashed(height))
                is_over = True
            except Crashed:
                pass
            unsynced = files.unsynced
            for names_kept in (False, True):
                files.crash(tear, names_kept=names_kept)
                again = files.reopen()
                signed = LastSigned(again, GENESIS)
                last = signed.last(BLOCK)
                if allowed is not None:
                    assert last is not None
                    assert last[:2] >= allowed[:2]
                    with pytest.raises(StorageRefused):
                        signed.allow(BLOCK, allowed.height, 0, hashed(99))
                tried += 1
            tear += 1
            if tear > unsynced:
                break
        if is_over:
            break
    assert tried > 300


def test_what_could_not_be_written_must_not_be_signed() -> None:
    files = MemoryFiles(Faults(fail_at=5))
    signed = LastSigned(files, GENESIS)
    with pytest.raises(StorageStopped):
        for height in range(1, 9):
            signed.allow(BLOCK, height, 0, hashed(height))
    with pytest.raises(StorageStopped):
        signed.allow(BLOCK, 9, 0, hashed(9))
