"""The database that a node needs, as a protocol: point reads, ordered scans, one atomic write.

What lives here: the protocol that `leveldb` and `memory` implement under one test suite, and what
can be said of either with it. What must never live here: a key, a value, an implementation.

Theory. Everything that belongs together is written in one batch over one key space; databases per
prefix would look tidier and would not be atomic. A synced write also makes every earlier write
durable, and after a crash the writes that survive are a prefix of those that were made: whoever
finds the last one finds them all.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol, TypeAlias, TypeVar

Item = TypeVar("Item")

BATCH_ITEMS: Final = 4096
Batch: TypeAlias = Sequence[tuple[bytes, bytes | None]]
"""(key, value) puts and (key, None) deletes, applied in order, all or none."""


class Reader(Protocol):
    """Reads see whole batches. Raises `StorageDamaged` for bytes that are not as written."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(
        self, first: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Items with first <= key < stop, ascending or descending, as of the call."""


class Database(Reader, Protocol):
    """One process has it open. Reads and writes may come from several threads."""

    def write(self, batch: Batch, *, sync: bool) -> None:
        """Apply the batch; with `sync` it is durable on return. Raises `StorageStopped`."""

    def view(self) -> AbstractContextManager[Reader]:
        """The database as it is now, whatever is written meanwhile."""

    def close(self) -> None: ...


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """In lists that a batch may have at once."""
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == BATCH_ITEMS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def forget(database: Database, first: bytes, stop: bytes) -> None:
    """Delete the keys first <= key < stop, in batches, not synced."""
    for keys in chunks(key for key, _ in database.scan(first, stop)):
        database.write([(key, None) for key in keys], sync=False)


def after(prefix: bytes) -> bytes:
    """The first key behind all keys that start with `prefix` (not all 0xff)."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,))
