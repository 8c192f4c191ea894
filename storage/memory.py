"""The database in memory: tests and the simulation run on it.

What lives here: `Database` over a dictionary, with what a crash may lose. What must never live
here: a behaviour that LevelDB does not have; both pass tests/storage/test_database.py.

Theory. Unsynced batches wait in a list. A crash keeps a prefix of them, each whole, because
LevelDB's log is one file and its records have checksums.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from storage.database import Batch, Reader
from storage.exceptions import StorageRefused, StorageStopped
from storage.faults import Faults
from storage.leveldb import DATABASE_WRITE, LOCKED


class MemoryDatabase:
    """`Database` in memory. `crash()` makes what survives; then it may be opened again."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults: Faults = faults or Faults()
        self._durable: dict[bytes, bytes] = {}
        self._waiting: list[Batch] = []
        self._now = _Items({}, [])
        self._failed = False
        self._is_open = True

    @property
    def unsynced(self) -> int:
        """Batches that a crash may lose."""
        return len(self._waiting)

    def crash(self, kept: int = 0) -> None:
        """Stop; the first `kept` of the unsynced batches were on the disk by chance."""
        for batch in self._waiting[:kept]:
            _apply(self._durable, batch)
        self._is_open = False

    def reopen(self) -> "MemoryDatabase":
        """The database as another process finds it. Raises `StorageRefused` 7503 while open."""
        if self._is_open:
            raise StorageRefused(LOCKED, "the in-memory database is in use; close it first")
        found = MemoryDatabase()
        found._durable = dict(self._durable)
        found._now = _Items(dict(self._durable), sorted(self._durable))
        return found

    def get(self, key: bytes) -> bytes | None:
        return self._now.get(key)

    def scan(
        self, first: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._now.scan(first, stop, reverse=reverse)

    def write(self, batch: Batch, *, sync: bool) -> None:
        if self._failed or not self._is_open:
            raise StorageStopped(DATABASE_WRITE, "the database has failed before; start anew")
        try:
            self.faults.before()
        except OSError as error:
            self._failed = True
            text = f"the database did not keep a write ({error}); stop the node, check the disk"
            raise StorageStopped(DATABASE_WRITE, text) from error
        batch = list(batch)
        self._now = self._now.changed(batch)
        self._waiting.append(batch)
        self.faults.done()
        if sync:
            for waiting in self._waiting:
                _apply(self._durable, waiting)
            self._waiting.clear()

    @contextmanager
    def view(self) -> Iterator[Reader]:
        yield self._now.frozen()

    def close(self) -> None:
        """A process that ends loses nothing: the system still has its writes."""
        self.crash(kept=len(self._waiting))


class _Items:
    """Items and their sorted keys. Changed in place until somebody took a view."""

    def __init__(self, items: dict[bytes, bytes], keys: list[bytes]) -> None:
        self._items: Final = items
        self._keys: Final = keys
        self._is_shared = False

    def frozen(self) -> "_Items":
        self._is_shared = True
        return self

    def get(self, key: bytes) -> bytes | None:
        return self._items.get(key)

    def scan(
        self, first: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = self._keys[bisect_left(self._keys, first) : bisect_left(self._keys, stop)]
        found = [(key, self._items[key]) for key in (reversed(keys) if reverse else keys)]
        return iter(found)

    def changed(self, batch: Batch) -> "_Items":
        changed = _Items(dict(self._items), list(self._keys)) if self._is_shared else self
        for key, value in batch:
            if value is None:
                if changed._items.pop(key, None) is not None:
                    del changed._keys[bisect_left(changed._keys, key)]
                continue
            if key not in changed._items:
                insort(changed._keys, key)
            changed._items[key] = value
        return changed


def _apply(items: dict[bytes, bytes], batch: Batch) -> None:
    for key, value in batch:
        if value is None:
            items.pop(key, None)
        else:
            items[key] = value
