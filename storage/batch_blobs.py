"""Which blobs this node made for which batch: their names, by the batch's number.

What lives here: bytes <-> names. What must never live here: the blobs, or a decision to drop one.

Theory. A blob that was made for a batch need not be in it: a batch that a guardian took back, or
that was never sent, is cut anew under the same number, and a name is noted for each. So once a
batch is final, every name under its number and below has done its duty, except a name that a later
batch has as well.
"""

from collections.abc import Iterable
from typing import Final

from storage import schema
from storage.database import Database, after


class BatchBlobs:
    """The names in a node's database."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    def note(self, number: int, names: Iterable[bytes]) -> None:
        """Batch `number` may consist of these blobs; durable on return."""
        start = schema.at_height(schema.BATCH_BLOB, number)
        self._database.write([(start + name, b"") for name in names], sync=True)

    def until(self, number: int) -> list[bytes]:
        """The names that batches up to `number` have, and no later one."""
        found = dict.fromkeys(_name(key) for key in self._keys(0, number + 1))
        for key in self._keys(number + 1):
            found.pop(_name(key), None)
        return list(found)

    def forget(self, number: int) -> None:
        """The names of batches up to `number`. Not synced: to drop a blob again is harmless."""
        self._database.write([(key, None) for key in self._keys(0, number + 1)], sync=False)

    def _keys(self, first: int, end: int | None = None) -> list[bytes]:
        """Of the batches from `first` on, those below `end`."""
        prefix = schema.BATCH_BLOB
        stop = after(prefix) if end is None else schema.at_height(prefix, end)
        return [key for key, _ in self._database.scan(schema.at_height(prefix, first), stop)]


def _name(key: bytes) -> bytes:
    return key[len(schema.BATCH_BLOB) + schema.HEIGHT_BYTES :]
