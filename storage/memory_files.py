"""Files in memory: tests and the simulation run on them.

What lives here: `Files` over dictionaries, with what a crash may lose. What must never live here: a
kindness that a real disk does not show; both pass tests/storage/test_files.py.

Theory. A name leads to a file; a file has bytes now and bytes on the disk. A crash keeps what was
synced, of bytes appended since then a prefix, and of names either all changes since the last sync
of the directory or none.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field

from storage.exceptions import StorageRefused
from storage.faults import Faults
from storage.files import FILE_LOCKED, Appender, check_name, stopped


@dataclass(eq=False)
class _File:
    now: bytearray = field(default_factory=bytearray)
    durable: bytes = b""

    def sync(self) -> None:
        self.durable = bytes(self.now)

    def torn(self, kept: int) -> bytes:
        """After a crash that kept `kept` bytes of what was appended since the last sync."""
        if self.now.startswith(self.durable):
            return bytes(self.now[: len(self.durable) + kept])
        return bytes(self.now) if kept else self.durable


class MemoryFiles:
    """`Files` in memory. `crash()` makes what survives; then they may be opened again."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults: Faults = faults or Faults()
        self._now: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._is_open = True

    @property
    def unsynced(self) -> int:
        """The most bytes of one file that a crash may lose or keep."""
        return max((len(f.now) - len(f.durable) for f in self._now.values()), default=0)

    def crash(self, kept: int = 0, *, names_kept: bool = False) -> None:
        """Stop. `kept` bytes of each unsynced tail, and names not yet synced, were on the disk."""
        names = self._now if names_kept else self._durable
        survived = {name: file.torn(kept) for name, file in names.items()}
        self._durable = {name: _File(bytearray(d), d) for name, d in survived.items()}
        self._is_open = False

    def reopen(self) -> "MemoryFiles":
        """The files as another process finds them. Raises `StorageRefused` 7504 while open."""
        if self._is_open:
            raise StorageRefused(FILE_LOCKED, "the in-memory files are in use; close them first")
        found = MemoryFiles()
        found._durable = {n: _File(bytearray(f.now), f.durable) for n, f in self._durable.items()}
        found._now = dict(found._durable)
        return found

    def names(self) -> list[str]:
        return sorted(self._now)

    def size(self, name: str) -> int | None:
        file = self._now.get(check_name(name))
        return None if file is None else len(file.now)

    def read(self, name: str, offset: int = 0, count: int = -1) -> bytes | None:
        file = self._now.get(check_name(name))
        if file is None:
            return None
        return bytes(file.now[offset:] if count < 0 else file.now[offset : offset + count])

    def append_to(self, name: str) -> Appender:
        if check_name(name) not in self._now:
            self._begin(name)
            self._now[name] = _File()
            self.faults.done()
        self._durable = dict(self._now)
        return _MemoryAppender(self, name, self._now[name])

    def cut(self, name: str, size: int) -> None:
        self._begin(name)
        file = self._now[check_name(name)]
        del file.now[size:]
        self.faults.done()
        file.sync()

    def replace(self, name: str, pieces: Iterable[bytes]) -> int:
        data = b"".join(pieces)
        self._begin(check_name(name))
        self.faults.done()  # the file beside it is there, and is lost
        self._begin(name)
        self._now[name] = _File(bytearray(data), data)
        self.faults.done()
        self._durable = dict(self._now)
        return len(data)

    def remove(self, name: str) -> None:
        self._begin(name)
        self._now.pop(check_name(name), None)
        self.faults.done()

    def close(self) -> None:
        """A process that ends loses nothing: the system still has its writes."""
        self.crash(kept=self.unsynced, names_kept=True)

    def _begin(self, name: str) -> None:
        try:
            if not self._is_open:
                raise OSError(errno.EBADF, "the files were closed")
            self.faults.before()
        except OSError as error:
            raise stopped(name, error) from error


class _MemoryAppender:
    """`Appender` on a file in memory."""

    def __init__(self, files: MemoryFiles, name: str, file: _File) -> None:
        self._files = files
        self._name = name
        self._file = file
        self._has_failed = False

    def append(self, data: bytes) -> None:
        self._begin()
        self._file.now += data
        self._files.faults.done()

    def sync(self) -> None:
        self._begin()
        self._files.faults.done()
        self._file.sync()

    def close(self) -> None:
        self._has_failed = True

    def _begin(self) -> None:
        if self._has_failed:
            raise stopped(self._name, OSError(errno.EBADF, "closed, or failed before"))
        try:
            self._files._begin(self._name)
        except BaseException:
            self._has_failed = True
            raise
