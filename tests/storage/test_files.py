"""One suite over both kinds of files: names, appends, cuts, replacements, locks, crashes."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.exceptions import StorageRefused, StorageStopped
from storage.faults import Crashed, Faults
from storage.files import FILE_LOCKED, FILE_NAME, FILE_WRITE, DirectoryFiles, Files
from storage.memory_files import MemoryFiles

Make = Callable[[], Files]


@pytest.fixture(params=["directory", "memory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Files, Make]]:
    """New files, and a way to open the same ones again."""
    if request.param == "directory":
        files: Files = DirectoryFiles(tmp_path / "files")
        yield files, lambda: DirectoryFiles(tmp_path / "files")
        files.close()
    else:
        memory = MemoryFiles()
        yield memory, memory.reopen


def test_appended_bytes_are_read_back_at_any_offset(opened: tuple[Files, Make]) -> None:
    files, _ = opened
    appender = files.append_to("a")
    appender.append(b"one ")
    appender.append(b"two")
    appender.sync()
    appender.close()
    again = files.append_to("a")
    again.append(b"!")
    assert files.read("a") == b"one two!"
    assert files.read("a", 4, 3) == b"two"
    assert files.read("a", 99, 3) == b""
    assert (files.size("a"), files.size("b"), files.read("b")) == (8, None, None)
    again.close()


def test_names_are_sorted_and_a_removed_one_is_gone(opened: tuple[Files, Make]) -> None:
    files, _ = opened
    for name in ("b", "a", "c"):
        files.append_to(name).close()
    files.remove("b")
    files.remove("never-was")
    assert files.names() == ["a", "c"]


def test_a_cut_drops_the_end(opened: tuple[Files, Make]) -> None:
    files, _ = opened
    files.replace("a", [b"0123", b"456789"])
    files.cut("a", 5)
    assert files.read("a") == b"01234"


def test_a_replacement_is_whole(opened: tuple[Files, Make]) -> None:
    files, _ = opened
    assert files.replace("a", [b"old"]) == 3

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError("the source of the bytes failed")

    with pytest.raises(RuntimeError):
        files.replace("a", broken())
    assert files.read("a") == b"old"
    assert files.names() == ["a"]
    assert files.replace("a", iter([b"ne", b"w!"])) == 4
    assert files.read("a") == b"new!"


def test_files_in_use_are_refused_and_free_after_closing(opened: tuple[Files, Make]) -> None:
    files, reopen = opened
    files.replace("a", [b"kept"])
    with pytest.raises(StorageRefused) as caught:
        reopen()
    assert caught.value.number == FILE_LOCKED
    files.close()
    again = reopen()
    assert again.read("a") == b"kept"
    again.close()


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".lock", "a\0b", "a.new"])
def test_a_name_that_leads_elsewhere_is_refused(opened: tuple[Files, Make], name: str) -> None:
    files, _ = opened
    for use in (files.read, files.remove, files.append_to, files.size):
        with pytest.raises(StorageRefused) as caught:
            use(name)
        assert caught.value.number == FILE_NAME


def test_an_unfinished_replacement_of_a_dead_process_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "a.new").write_bytes(b"half")
    files = DirectoryFiles(tmp_path)
    assert files.names() == []
    assert not (tmp_path / "a.new").exists()
    files.close()


def test_a_full_disk_stops_and_the_descriptor_is_never_used_again() -> None:
    """/dev/full takes no byte; both kinds of files refuse everything after the first failure."""
    files = MemoryFiles(Faults(fail_at=4))
    appender = files.append_to("a")
    appender.append(b"x")
    appender.sync()
    for _ in range(2):
        with pytest.raises(StorageStopped) as caught:
            appender.append(b"y")
        assert caught.value.number == FILE_WRITE
    with pytest.raises(StorageStopped):
        appender.sync()


def test_a_real_full_disk_is_a_numbered_stop(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    files = DirectoryFiles(tmp_path)
    appender = files.append_to("full")
    with pytest.raises(StorageStopped, match="the disk is full"):
        appender.append(b"x")
    with pytest.raises(StorageStopped):
        appender.sync()
    files.close()


def test_a_crash_tears_an_unsynced_tail_at_any_byte() -> None:
    for kept in range(5):
        files = MemoryFiles()
        appender = files.append_to("a")
        appender.append(b"safe")
        appender.sync()
        appender.append(b"risk")
        files.crash(kept)
        assert files.reopen().read("a") == b"safe" + b"risk"[:kept]


@pytest.mark.parametrize("names_kept", [False, True])
def test_a_crash_inside_a_replacement_leaves_the_old_or_the_new_file(names_kept: bool) -> None:
    found = set()
    for crash_at in range(1, 5):
        files = MemoryFiles(Faults(crash_at=crash_at))
        try:
            files.replace("a", [b"old"])
            files.replace("a", [b"new!"])
        except Crashed:
            pass
        files.crash(names_kept=names_kept)
        found.add(files.reopen().read("a"))
    assert found == ({None, b"old", b"new!"} if names_kept else {None, b"old"})


def test_a_removed_file_may_come_back_after_a_crash() -> None:
    for names_kept in (False, True):
        files = MemoryFiles()
        files.replace("a", [b"x"])
        files.remove("a")
        files.crash(names_kept=names_kept)
        assert files.reopen().read("a") == (None if names_kept else b"x")


def test_real_files_are_synced_before_they_are_named_and_their_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = DirectoryFiles(tmp_path)
    calls: list[str] = []

    def recorded(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(first: object, *rest: object) -> object:
            is_directory = isinstance(first, int) and stat.S_ISDIR(os.fstat(first).st_mode)
            calls.append(f"{name} directory" if is_directory else name)
            return real(first, *rest)

        return call

    for name in ("fsync", "fdatasync", "replace"):
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    files.replace("a", [b"x"])
    assert calls == ["fsync", "replace", "fsync directory"]
    calls.clear()
    appender = files.append_to("b")
    assert calls == ["fsync directory"]
    appender.append(b"x")
    appender.sync()
    assert calls[1:] == ["fdatasync"]
    calls.clear()
    files.cut("b", 0)
    assert calls == ["fsync"]
    appender.close()
    files.close()
