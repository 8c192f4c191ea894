"""The database on disk: LevelDB through plyvel.

What lives here: the options, and LevelDB's complaints turned into numbered errors. What must never
live here: a key's meaning, or a repair: LevelDB's own drops what it cannot read without a word.

Why these options:
- `paranoid_checks`: without it a flipped byte in the log opens with a hole in the middle of the
  chain more often than not (tests/storage/test_corruption.py shows that with it, it does not). It
  does not cover data blocks on reads, hence `verify_checksums` on each of those.
- `write_buffer_size` 64 MB: with LevelDB's 4 MB, compactions under random overwrites (which is what
  flushing a state is) stall writers for most of a second.

Still possible, and not LevelDB's to notice: damage to a length in the log's last record reads like
a write that was torn by a crash, and the head silently moves back. What was signed is therefore
kept in a file of its own (`last_signed`), and `LastSigned.check_head` compares the two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import plyvel

from storage.database import Batch, Reader
from storage.exceptions import StorageDamaged, StorageError, StorageRefused, StorageStopped

LOCKED: Final = 7503
DATABASE_DAMAGED: Final = 7510
DATABASE_UNUSABLE: Final = 7511
DATABASE_WRITE: Final = 7500

WRITE_BUFFER_BYTES: Final = 64 << 20
CACHE_BYTES: Final = 32 << 20
BLOOM_BITS: Final = 10


class LevelDatabase:
    """`Database` in a directory of its own; one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises `StorageRefused` 7503 or 7511, `StorageDamaged` 7510."""
        self._path = path
        try:
            self._db: Any = plyvel.DB(
                str(path),
                create_if_missing=True,
                paranoid_checks=True,
                write_buffer_size=WRITE_BUFFER_BYTES,
                lru_cache_size=CACHE_BYTES,
                bloom_filter_bits=BLOOM_BITS,
            )
        except plyvel.IOError as error:
            raise _not_opened(path, error) from error
        except (plyvel.CorruptionError, plyvel.Error) as error:
            raise _damaged(path, error) from error

    def get(self, key: bytes) -> bytes | None:
        return _Reads(self._path, self._db).get(key)

    def scan(
        self, first: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return _Reads(self._path, self._db).scan(first, stop, reverse=reverse)

    def write(self, batch: Batch, *, sync: bool) -> None:
        try:
            with self._db.write_batch(transaction=True, sync=sync) as writer:
                for key, value in batch:
                    if value is None:
                        writer.delete(key)
                    else:
                        writer.put(key, value)
        except plyvel.Error as error:
            text = f"{self._path} did not keep a write ({error}); stop the node, check the disk"
            raise StorageStopped(DATABASE_WRITE, text) from error

    @contextmanager
    def view(self) -> Iterator[Reader]:
        snapshot = self._db.snapshot()
        try:
            yield _Reads(self._path, snapshot)
        finally:
            snapshot.close()

    def close(self) -> None:
        self._db.close()


class _Reads:
    """Reads of a database or of a snapshot of it, checksums verified."""

    def __init__(self, path: Path, source: Any) -> None:
        self._path = path
        self._source = source

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._source.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _damaged(self._path, error) from error
        return value

    def scan(
        self, first: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        # plyvel 1.5.1 finds nothing backwards where the one key in the range is its start: go down
        # without a start, and stop below it.
        start = None if reverse else first
        try:  # the first block is read at once
            items = self._source.iterator(
                start=start, stop=stop, reverse=reverse, verify_checksums=True, fill_cache=False
            )
        except plyvel.Error as error:
            raise _damaged(self._path, error) from error
        return self._items(items, first if reverse else None)

    def _items(self, items: Any, lowest: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        with items:
            try:
                if lowest is None:
                    yield from items
                else:
                    yield from takewhile(lambda item: item[0] >= lowest, items)
            except plyvel.Error as error:
                raise _damaged(self._path, error) from error


def _not_opened(path: Path, error: Exception) -> StorageError:
    text = str(error)
    if "lock" in text.lower():
        sentence = f"{path} is in use by another process; stop that node, or ask it instead"
        return StorageRefused(LOCKED, sentence)
    if "CURRENT" in text or "MANIFEST" in text or ".ldb" in text or ".log" in text:
        return _damaged(path, error)
    sentence = f"{path} cannot be opened ({text}); check the path and its permissions"
    return StorageRefused(DATABASE_UNUSABLE, sentence)


def _damaged(path: Path, error: Exception) -> StorageDamaged:
    text = f"{path} is damaged ({error}); restore a backup, or synchronise into a new directory"
    return StorageDamaged(DATABASE_DAMAGED, text)
