"""One suite over both databases: batches, order, views, locks, crashes."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.database import Database, after
from storage.exceptions import StorageRefused, StorageStopped
from storage.faults import Crashed, Faults
from storage.leveldb import DATABASE_WRITE, LOCKED, LevelDatabase
from storage.memory import MemoryDatabase

Make = Callable[[], Database]
ALL = (b"", b"\xff" * 9)


@pytest.fixture(params=["leveldb", "memory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, Make]]:
    """A new database, and a way to open the same one again."""
    if request.param == "leveldb":
        level = LevelDatabase(tmp_path / "database")
        yield level, lambda: LevelDatabase(tmp_path / "database")
        level.close()
    else:
        memory = MemoryDatabase()
        yield memory, memory.reopen


def test_a_batch_is_applied_in_order_and_whole(opened: tuple[Database, Make]) -> None:
    database, _ = opened
    database.write([(b"a", b"1"), (b"b", b"2"), (b"a", None), (b"c", b""), (b"b", b"3")], sync=True)
    assert list(database.scan(*ALL)) == [(b"b", b"3"), (b"c", b"")]
    assert database.get(b"a") is None
    assert database.get(b"c") == b""


def test_a_scan_takes_its_first_key_and_leaves_its_last(opened: tuple[Database, Make]) -> None:
    database, _ = opened
    database.write([(bytes((n,)), b"%d" % n) for n in range(9)], sync=False)
    assert [k[0] for k, _ in database.scan(b"\x03", b"\x06")] == [3, 4, 5]
    assert [k[0] for k, _ in database.scan(b"\x03", b"\x06", reverse=True)] == [5, 4, 3]
    assert list(database.scan(b"\x06", b"\x03")) == []


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_finds_the_only_key_where_it_begins(
    opened: tuple[Database, Make], reverse: bool
) -> None:
    database, _ = opened
    database.write([(b"a", b"1")], sync=False)
    assert list(database.scan(b"a", b"b", reverse=reverse)) == [(b"a", b"1")]


def test_a_scan_and_a_view_see_the_moment_they_were_made(opened: tuple[Database, Make]) -> None:
    database, _ = opened
    database.write([(b"a", b"old"), (b"b", b"old")], sync=False)
    with database.view() as view:
        scan = view.scan(*ALL)
        database.write([(b"a", b"new"), (b"b", None), (b"c", b"new")], sync=True)
        assert list(scan) == [(b"a", b"old"), (b"b", b"old")]
        assert view.get(b"a") == b"old"
        assert view.get(b"c") is None
        assert database.get(b"a") == b"new"


def test_an_open_database_cannot_be_opened_again(opened: tuple[Database, Make]) -> None:
    _, reopen = opened
    with pytest.raises(StorageRefused) as caught:
        reopen()
    assert caught.value.number == LOCKED


def test_a_closed_database_has_every_write_when_it_is_opened(opened: tuple[Database, Make]) -> None:
    database, reopen = opened
    database.write([(b"a", b"1")], sync=True)
    database.write([(b"b", b"2")], sync=False)
    database.close()
    again = reopen()
    assert dict(again.scan(*ALL)) == {b"a": b"1", b"b": b"2"}
    again.close()


KEYS = st.sampled_from([b"a", b"ab", b"b", b"\x00", b"\xfe\xff"])
BATCHES = st.lists(st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=3)), max_size=6))


@given(BATCHES, st.tuples(KEYS, KEYS), st.booleans())
def test_the_database_in_memory_reads_like_a_dictionary(
    batches: list[list[tuple[bytes, bytes | None]]], bounds: tuple[bytes, bytes], reverse: bool
) -> None:
    database, model = MemoryDatabase(), dict[bytes, bytes]()
    for batch in batches:
        with database.view() as view:
            before = dict(model)
            database.write(batch, sync=False)
            for key, value in batch:
                model.pop(key, None)
                if value is not None:
                    model[key] = value
            assert dict(view.scan(*ALL)) == before
    wanted = sorted((k, v) for k, v in model.items() if bounds[0] <= k < bounds[1])
    found = list(database.scan(*bounds, reverse=reverse))
    assert found == (wanted[::-1] if reverse else wanted)


def test_a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest() -> None:
    def written() -> MemoryDatabase:
        database = MemoryDatabase()
        database.write([(b"a", b"1")], sync=False)
        database.write([(b"b", b"1")], sync=True)
        database.write([(b"b", b"2"), (b"c", b"2")], sync=False)
        database.write([(b"c", None), (b"d", b"3")], sync=False)
        return database

    contents = []
    for kept in range(3):
        database = written()
        assert database.unsynced == 2
        database.crash(kept)
        contents.append(dict(database.reopen().scan(*ALL)))
    assert contents == [
        {b"a": b"1", b"b": b"1"},
        {b"a": b"1", b"b": b"2", b"c": b"2"},
        {b"a": b"1", b"b": b"2", b"d": b"3"},
    ]


def test_a_write_that_crashes_is_not_synced_and_nothing_follows_it() -> None:
    for sync, kept in itertools.product((False, True), (0, 1)):
        database = MemoryDatabase(Faults(crash_at=2))
        database.write([(b"a", b"1")], sync=True)
        with pytest.raises(Crashed):
            database.write([(b"b", b"2")], sync=sync)
        with pytest.raises(Crashed):
            database.write([(b"c", b"3")], sync=sync)
        database.crash(kept)
        assert len(dict(database.reopen().scan(*ALL))) == 1 + kept


def test_after_a_failed_write_every_later_one_is_refused() -> None:
    database = MemoryDatabase(Faults(fail_at=2))
    database.write([(b"a", b"1")], sync=True)
    for _ in range(3):
        with pytest.raises(StorageStopped) as caught:
            database.write([(b"b", b"2")], sync=True)
        assert caught.value.number == DATABASE_WRITE
    database.close()
    assert dict(database.reopen().scan(*ALL)) == {b"a": b"1"}


def test_after_is_the_first_key_behind_a_prefix() -> None:
    assert after(b"B") == b"C"
    assert after(b"B\xff") == b"C"
    assert after(b"B\x01") == b"B\x02"
