"""The journal: what was synced is read back after any crash; damage is told from a torn tail."""

import itertools
import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from consensus.proposal import Opening
from storage.exceptions import StorageDamaged, StorageRefused, StorageStopped
from storage.faults import Crashed, Faults
from storage.files import DirectoryFiles, Files
from storage.journal import (
    JOURNAL_DAMAGED,
    JOURNAL_GAP,
    JOURNAL_ORDER,
    JOURNAL_STOPPED,
    Journal,
    name_of,
)
from storage.journal_records import SYNCED, SYNCED_TAG, Command, Open, Seal, encode
from storage.memory_files import MemoryFiles

Records = list[Open | Command | Seal]


def zeros(count: int) -> bytes:
    return bytes(count)


def opened(height: int) -> Open:
    opening = Opening(1000 + height, 7, bytes([7]) * 32, 9, 0, 2)
    return Open(height, bytes([height]) * 32, opening, b"m" * 128)


def block(height: int, commands: int = 3) -> Records:
    rows = [Command(height * 10 + n, bytes([n]) * 65, bytes([n]) * 64 * (n + 2)) for n in range(9)]
    return [opened(height), *rows[:commands], Seal(height, bytes([height]) * 32)]


def write(journal: Journal, records: Records, group: int = 2) -> Iterator[int]:
    """Append in groups; yields how many records are durable."""
    for at in range(0, len(records), group):
        for record in records[at : at + group]:
            journal.append(record)
        journal.sync()
        yield min(at + group, len(records))


def read(files: Files, head: int = 0) -> Records:
    journal = Journal(files, head, zeros)
    records: Records = []
    for segment in journal.recovered:
        assert segment.open is not None
        records += [segment.open, *segment.commands]
        records += [segment.seal] if segment.seal is not None else []
    journal.close()
    return records


THREE = block(1) + block(2, 0) + block(3)
TWO_AND_A_HALF = block(1) + block(2) + block(3)[:-1]


@pytest.mark.parametrize("records", [THREE, TWO_AND_A_HALF], ids=["sealed", "open"])
@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_what_was_synced_is_read_back(kind: str, records: Records, tmp_path: Path) -> None:
    files: Files = DirectoryFiles(tmp_path) if kind == "directory" else MemoryFiles()
    journal = Journal(files, 0, zeros)
    assert journal.recovered == ()
    assert list(write(journal, records))[-1] == len(records)
    journal.close()
    assert read(files) == records
    files.close()


def test_the_running_hash_can_be_computed_from_the_records_alone() -> None:
    journal = Journal(MemoryFiles(), 0, zeros)
    expected = b"rialto/journal/1"
    for kind, record in zip((1, 2, 2, 3), block(1, 2), strict=True):
        expected = sha256(expected + bytes([kind]) + record.payload()).digest()
        assert journal.append(record) == expected
    journal.sync()
    assert (
        journal.append(opened(2)) == sha256(b"rialto/journal/1\x01" + opened(2).payload()).digest()
    )


def test_a_restart_goes_on_in_the_open_block_with_the_same_running_hash() -> None:
    files, straight = MemoryFiles(), Journal(MemoryFiles(), 0, zeros)
    records = block(1, 5)
    hashes = [straight.append(record) for record in records]
    journal = Journal(files, 0, zeros)
    for record in records[:4]:
        journal.append(record)
    journal.sync()
    journal.close()
    again = Journal(files, 0, zeros)
    assert [again.append(record) for record in records[4:]] == hashes[4:]
    again.sync()
    again.close()
    assert read(files) == records


def test_a_segment_header_is_on_the_disk_before_any_record() -> None:
    """Without it, nobody could tell a torn tail from damage."""
    files = MemoryFiles()
    journal = Journal(files, 0, zeros)
    assert files.unsynced == 0
    for record in block(1):
        journal.append(record)
    journal.sync()
    files.remove(name_of(1))
    assert files.names() == [name_of(2)]
    assert files.unsynced == 0


def test_records_out_of_turn_are_refused() -> None:
    journal = Journal(MemoryFiles(), 0, zeros)
    first, *commands, seal = block(1)
    refused: Records = [commands[0], seal]
    for record in refused:
        with pytest.raises(StorageRefused) as caught:
            journal.append(record)
        assert caught.value.number == JOURNAL_ORDER
    journal.append(first)
    for record in (opened(1), opened(2), Seal(2, bytes(32))):
        with pytest.raises(StorageRefused):
            journal.append(record)
    journal.append(seal)
    for record in (seal, commands[0]):
        with pytest.raises(StorageRefused):
            journal.append(record)
    journal.append(opened(2))


def test_blocks_that_one_sync_covers_have_a_segment_each() -> None:
    """Nobody waits for the sync of a Seal before executing on."""
    files = MemoryFiles()
    journal = Journal(files, 0, zeros)
    for record in TWO_AND_A_HALF:
        journal.append(record)
    assert files.names() == [name_of(1)]
    journal.sync()
    assert files.names() == [name_of(1), name_of(2), name_of(3)]
    journal.close()
    assert read(files) == TWO_AND_A_HALF


def test_dropped_segments_are_gone_and_numbers_are_not_used_again() -> None:
    files = MemoryFiles()
    journal = Journal(files, 0, zeros)
    list(write(journal, THREE))
    journal.drop(2)
    assert files.names() == [name_of(3), name_of(4)]
    journal.close()
    assert read(files, head=2) == block(3)
    journal = Journal(files, 3, zeros)
    assert journal.recovered == ()
    journal.close()
    assert files.names()[-1] > name_of(3)


def test_blocks_that_the_database_has_are_not_recovered_again() -> None:
    files = MemoryFiles()
    journal = Journal(files, 0, zeros)
    list(write(journal, TWO_AND_A_HALF))
    journal.close()
    assert read(files, head=1) == TWO_AND_A_HALF[5:]
    assert read(files, head=3) == []


def test_a_missing_segment_is_refused() -> None:
    for missing, head in ((1, 0), (2, 0), (2, 1)):
        files = MemoryFiles()
        journal = Journal(files, 0, zeros)
        list(write(journal, THREE))
        journal.close()
        files.remove(name_of(missing))
        with pytest.raises(StorageDamaged) as caught:
            read(files, head)
        assert caught.value.number == JOURNAL_GAP


@pytest.mark.parametrize("group", [2, 3], ids=["seal last", "seal in the midst"])
def test_a_crash_at_every_write_with_every_tear_loses_nothing_acknowledged(group: int) -> None:
    """Every count of writes, every byte of the torn tail, new names kept or lost."""
    records = block(1, 2) + block(2, 1)
    states = 0
    for crash_at in itertools.count(1):
        tear, is_over = 0, False
        while True:
            files = MemoryFiles(Faults(crash_at=crash_at))
            durable = 0
            try:
                journal = Journal(files, 0, zeros)
                for acknowledged in write(journal, records, group):
                    durable = acknowledged
                is_over = True
            except Crashed:
                pass
            unsynced = files.unsynced
            for names_kept in (False, True):
                files.crash(tear, names_kept=names_kept)
                again = files.reopen()
                found = read(again)
                assert found == records[: len(found)], (crash_at, tear)
                assert len(found) >= durable, (crash_at, tear)
                states += 1
                again.close()
                second = again.reopen()
                assert read(second) == found
            tear += 1
            if tear > unsynced:
                break
        if is_over:
            break
    assert states > 1000


def test_a_flipped_byte_is_refused_or_was_never_acknowledged() -> None:
    """Every byte of every segment: what is read back is all that was written, or it is refused.
    Only Synced records and the empty last segment may be damaged without loss."""
    files = MemoryFiles()
    journal = Journal(files, 0, zeros)
    list(write(journal, TWO_AND_A_HALF))
    journal.close()
    contents = {name: files.read(name) or b"" for name in files.names()}
    refused = 0
    for name, data in contents.items():
        for at in range(len(data)):
            damaged = MemoryFiles()
            for other, kept in contents.items():
                damaged.replace(other, [kept])
            flipped = bytes((data[at] ^ (1 << at % 8),))
            damaged.replace(name, [data[:at] + flipped + data[at + 1 :]])
            try:
                assert read(damaged) == TWO_AND_A_HALF, (name, at)
            except StorageDamaged as error:
                assert error.number == JOURNAL_DAMAGED
                refused += 1
    assert refused > sum(map(len, contents.values())) // 2


def test_no_command_can_look_like_a_synced_record() -> None:
    """The checksum starts from a seed that a stranger does not know."""
    rng = random.Random(5)
    for seed in (1, 1 << 31, rng.getrandbits(32)):

        def entropy(count: int, seed: int = seed) -> bytes:
            return seed.to_bytes(count, "little")

        files = MemoryFiles()
        journal = Journal(files, 0, entropy)
        journal.append(opened(1))
        journal.sync()
        forged = encode(SYNCED, SYNCED_TAG + (1 << 20).to_bytes(8, "little"), 0)
        journal.append(Command(1, bytes(65), forged + bytes(200)))
        journal._appender.append(journal._waiting[0].records[0][:-100])
        journal.close()
        assert read(files) == [opened(1)]


def test_a_failed_sync_stops_the_journal_for_good() -> None:
    for fail_at in range(4, 7):
        files = MemoryFiles(Faults(fail_at=fail_at))
        journal = Journal(files, 0, zeros)
        journal.append(opened(1))
        with pytest.raises(StorageStopped):
            for _ in range(2):
                journal.sync()
                journal.append(block(1)[1])
        with pytest.raises(StorageStopped) as caught:
            journal.sync()
        assert caught.value.number == JOURNAL_STOPPED
        with pytest.raises(StorageStopped):
            journal.append(block(1)[1])


def test_a_strange_file_among_the_segments_is_refused() -> None:
    files = MemoryFiles()
    files.replace("backup.journal", [b"x"])
    with pytest.raises(StorageDamaged) as caught:
        Journal(files, 0, zeros)
    assert caught.value.number == JOURNAL_DAMAGED


class SealsMeanwhile(Faults):
    """At the first write of a sync, another thread appends the Seal."""

    def __init__(self, append_seal: Callable[[], object]) -> None:
        super().__init__()
        self._append_seal = append_seal

    def before(self) -> None:
        super().before()
        append, self._append_seal = self._append_seal, lambda: None
        append()


def test_a_seal_that_is_appended_during_a_sync_stays_in_its_segment() -> None:
    files = MemoryFiles()
    journal = Journal(files, 0, zeros)
    first, second = block(1), block(2)
    for record in first[:-1]:
        journal.append(record)
    files.faults = SealsMeanwhile(lambda: journal.append(first[-1]))
    journal.sync()
    journal.sync()
    assert [done for done in write(journal, second)][-1] == len(second)
    files.close()
    assert read(files.reopen()) == first + second
