"""A node's disk: one database and four directories of files, real or in memory.

What lives here: what is where in a data directory, and a whole disk's crash. What must never live
here: what is in them.

    <data dir>/database     LevelDB: blocks, events, certificates, indexes, the stored state
    <data dir>/journal      what the leader promised and has not yet in the database
    <data dir>/signed       last_signed
    <data dir>/snapshots    snapshots and their manifests
    <data dir>/blobs        blobs that were posted to L1
"""

from pathlib import Path
from typing import Final, Protocol

from storage.database import Database
from storage.faults import Faults
from storage.files import DirectoryFiles, Files
from storage.leveldb import LevelDatabase
from storage.memory import MemoryDatabase
from storage.memory_files import MemoryFiles

DATABASE: Final = "database"
JOURNAL: Final = "journal"
SIGNED: Final = "signed"
SNAPSHOTS: Final = "snapshots"
BLOBS: Final = "blobs"
FILES: Final = (JOURNAL, SIGNED, SNAPSHOTS, BLOBS)


class Disk(Protocol):
    """What outlives a process. Opening a part twice is refused by number."""

    def database(self) -> Database: ...

    def files(self, name: str) -> Files:
        """One of `FILES`."""

    def close(self) -> None:
        """Let go of every part that was opened; nothing written is lost."""


class DirectoryDisk:
    """`Disk` in a data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: list[Database | Files] = []

    def database(self) -> Database:
        self._path.mkdir(parents=True, exist_ok=True)
        database = LevelDatabase(self._path / DATABASE)
        self._opened.append(database)
        return database

    def files(self, name: str) -> Files:
        files = DirectoryFiles(self._path / name)
        self._opened.append(files)
        return files

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()


class MemoryDisk:
    """`Disk` in memory, with one `Faults` for all of its parts: a simulation can crash it at any
    write, wherever that goes."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._database = MemoryDatabase(self.faults)
        self._files = {name: MemoryFiles(self.faults) for name in FILES}
        self._used: set[str] = set()

    def use(self, faults: Faults) -> None:
        """Count and spoil the writes of all parts with these from now on."""
        self.faults = self._database.faults = faults
        for files in self._files.values():
            files.faults = faults

    @property
    def unsynced(self) -> int:
        """The largest `kept` that makes a difference to `crash`."""
        return max(self._database.unsynced, *(f.unsynced for f in self._files.values()))

    def database(self) -> Database:
        if DATABASE in self._used:
            self._database = self._database.reopen()
            self._database.faults = self.faults
        self._used.add(DATABASE)
        return self._database

    def files(self, name: str) -> Files:
        if name in self._used:
            self._files[name] = self._files[name].reopen()
            self._files[name].faults = self.faults
        self._used.add(name)
        return self._files[name]

    def crash(self, kept: int = 0, *, names_kept: bool = False) -> None:
        """Stop everything, as a power cut does. `kept`: batches of the database, and bytes of each
        file's tail, that were not synced and survived by chance. Then open the parts again."""
        self._database.crash(kept)
        for files in self._files.values():
            files.crash(kept, names_kept=names_kept)
        self.faults = Faults()
        self._used.update((DATABASE, *self._files))

    def close(self) -> None:
        self._database.close()
        for files in self._files.values():
            files.close()
        self._used.update((DATABASE, *self._files))
