"""The embedded L1's database on disk: a LevelDB behind the interface of py-evm.

What lives here: five calls. What must never live here: what is stored.

py-evm writes in an order in which every prefix is a chain (state, then block, then the head), and
LevelDB keeps that order, so a killed process leaves an older head and nothing worse. Nothing is
synced: this L1 is for trying things out.
"""

from pathlib import Path
from typing import Final

import plyvel
from eth.db.backends.base import BaseDB


class KeptDatabase(BaseDB):  # type: ignore[misc]
    """In this directory, made if it is not there. Close it before another process opens it."""

    def __init__(self, directory: Path) -> None:
        self._database: Final = plyvel.DB(str(directory), create_if_missing=True)

    def __getitem__(self, key: bytes) -> bytes:
        value = self._database.get(key)
        if value is None:
            raise KeyError(key)
        return bytes(value)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._database.put(key, value)

    def __delitem__(self, key: bytes) -> None:
        self._database.delete(key)

    def _exists(self, key: bytes) -> bool:
        return self._database.get(key) is not None

    def close(self) -> None:
        self._database.close()
