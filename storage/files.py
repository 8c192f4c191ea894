"""Files in one directory, and what a crash may do to them.

What lives here: the protocol `Files` and its implementation on a real directory. The one in memory
is in `memory_files`; both pass one test suite. What must never live here: a file's content.

Theory. Bytes are durable after `sync` of the file *and* of the directory that names it; a rename is
atomic, and durable after the sync of the directory. A sync that fails is never tried again (see
`StorageStopped`). A write that was not synced may survive in part: a prefix of it, at any byte.
"""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from storage.exceptions import StorageRefused, StorageStopped

FILE_WRITE: Final = 7501
FILE_NAME: Final = 7502
FILE_LOCKED: Final = 7504
LOCK_NAME: Final = ".lock"
BESIDE: Final = ".new"


class Appender(Protocol):
    """One file, open at its end. Raises `StorageStopped` 7501, and then for every later call."""

    def append(self, data: bytes) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Files(Protocol):
    """The files of one directory, by plain names."""

    def names(self) -> list[str]:
        """In ascending order; without unfinished replacements."""

    def size(self, name: str) -> int | None: ...

    def read(self, name: str, offset: int = 0, count: int = -1) -> bytes | None:
        """`count` bytes from `offset` (-1: all), fewer at the end; None if there is no file."""

    def append_to(self, name: str) -> Appender:
        """Open at the end, or create; a created name is durable on return."""

    def cut(self, name: str, size: int) -> None:
        """Drop everything from `size` on; durable on return."""

    def replace(self, name: str, pieces: Iterable[bytes]) -> int:
        """Write the whole file beside, then take the name; durable on return. Bytes written."""

    def remove(self, name: str) -> None:
        """May come back after a crash."""

    def close(self) -> None: ...


def check_name(name: str) -> str:
    """`name`, if it is a plain one that no other file of ours can have."""
    if not name or name.startswith(".") or "/" in name or "\0" in name or name.endswith(BESIDE):
        raise StorageRefused(FILE_NAME, f"{name!r} cannot name a file here")
    return name


def stopped(name: str, error: OSError) -> StorageStopped:
    what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    text = f"{name} was not kept ({what}); stop the node, repair the disk, then start it"
    return StorageStopped(FILE_WRITE, text)


class DirectoryFiles:
    """`Files` on a real directory, which it locks against every other process."""

    def __init__(self, path: Path) -> None:
        """Make or open the directory. Raises `StorageRefused` 7504 if it is in use."""
        self._path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            text = f"{path} is in use by another process; stop that one first"
            raise StorageRefused(FILE_LOCKED, text) from error
        for left in path.glob("*" + BESIDE):
            left.unlink()
        self._sync_directory(path.parent)

    def names(self) -> list[str]:
        found = (entry.name for entry in self._path.iterdir() if entry.is_file())
        return sorted(n for n in found if not n.startswith(".") and not n.endswith(BESIDE))

    def size(self, name: str) -> int | None:
        try:
            return (self._path / check_name(name)).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, name: str, offset: int = 0, count: int = -1) -> bytes | None:
        try:
            with (self._path / check_name(name)).open("rb") as file:
                file.seek(offset)
                return file.read(count)
        except FileNotFoundError:
            return None

    def append_to(self, name: str) -> Appender:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            file = os.open(self._path / check_name(name), flags, 0o600)
            self._sync_directory(self._path)
        except OSError as error:
            raise stopped(name, error) from error
        return _Descriptor(name, file)

    def cut(self, name: str, size: int) -> None:
        try:
            with (self._path / check_name(name)).open("r+b") as file:
                file.truncate(size)
                os.fsync(file.fileno())
        except OSError as error:
            raise stopped(name, error) from error

    def replace(self, name: str, pieces: Iterable[bytes]) -> int:
        beside = self._path / (check_name(name) + BESIDE)
        try:
            with beside.open("wb") as file:
                size = sum(file.write(piece) for piece in pieces)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path / name)
            self._sync_directory(self._path)
        except OSError as error:
            raise stopped(name, error) from error
        return size

    def remove(self, name: str) -> None:
        (self._path / check_name(name)).unlink(missing_ok=True)

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @staticmethod
    def _sync_directory(path: Path) -> None:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class _Descriptor:
    """`Appender` on a file descriptor."""

    def __init__(self, name: str, file: int) -> None:
        self._name = name
        self._file = file

    def append(self, data: bytes) -> None:
        self._check_open()
        try:
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, "a short write")
        except OSError as error:
            self._stop(error)

    def sync(self) -> None:
        self._check_open()
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._stop(error)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _check_open(self) -> None:
        if self._file < 0:
            raise stopped(self._name, OSError(errno.EBADF, "closed, or failed before"))

    def _stop(self, error: OSError) -> None:
        self.close()
        raise stopped(self._name, error) from error
