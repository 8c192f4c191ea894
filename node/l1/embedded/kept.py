"""The embedded L1's database on disk: a LevelDB behind the interface of py-evm, and tables in it.

What lives here: the calls of both, and writes that are one. What must never live here: what is
stored.

A killed process leaves its first so many writes. py-evm tells of a block in many, so whoever makes
one holds them back until they are all there (`at_once`). Nothing is synced: this L1 is for trying
things out, and what a machine lost with its power is made anew.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import plyvel
from eth.db.backends.base import BaseDB


class KeptDatabase(BaseDB):  # type: ignore[misc]
    """In this directory, made if it is not there. Close it before another process opens it."""

    def __init__(self, directory: Path) -> None:
        self._database = plyvel.DB(str(directory), create_if_missing=True)
        self._held: dict[bytes, bytes | None] | None = None

    def __getitem__(self, key: bytes) -> bytes:
        held = self._held or {}
        value = held[key] if key in held else self._database.get(key)
        if value is None:
            raise KeyError(key)
        return bytes(value)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._change(key, value)

    def __delitem__(self, key: bytes) -> None:
        self._change(key, None)

    def _exists(self, key: bytes) -> bool:
        return self.get(key) is not None

    def _change(self, key: bytes, value: bytes | None) -> None:
        if self._held is None:
            self._write({key: value})
        else:
            self._held[key] = value

    def _write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """All of them, or none; None deletes."""
        with self._database.write_batch() as batch:
            for key, value in changes.items():
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is changed in here is one write, and none if an exception leaves it."""
        self._held = {}
        try:
            yield
            self._write(self._held)
        finally:
            self._held = None

    def table(self, name: bytes) -> "KeptTable":
        """Keys of its own. `name` is no beginning of another's, or of a key of py-evm's."""
        return KeptTable(self, name)

    def names(self, prefix: bytes) -> Iterator[bytes]:
        """The written keys that begin with `prefix`, without it."""
        for key in self._database.iterator(prefix=prefix, include_value=False):
            yield key[len(prefix) :]

    def close(self) -> None:
        self._database.close()
        # py-evm's caches keep this object to the end, and plyvel's must not be ended by the
        # interpreter's: it complains on standard error.
        del self._database


class KeptTable(MutableMapping[bytes, bytes]):
    """A part of the database as a mapping; its iteration sees what is written."""

    def __init__(self, database: KeptDatabase, name: bytes) -> None:
        self._database: Final = database
        self._name: Final = name

    def __getitem__(self, key: bytes) -> bytes:
        return self._database[self._name + key]

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._database[self._name + key] = value

    def __delitem__(self, key: bytes) -> None:
        del self._database[self._name + key]

    def __iter__(self) -> Iterator[bytes]:
        return self._database.names(self._name)

    def __len__(self) -> int:
        return sum(1 for _ in self)
