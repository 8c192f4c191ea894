"""The next nonce of a key, never the same twice on this machine.

What lives here: one small file, its lock, and the order of writing. What must never live here: a
node; whoever asks says how far the chain is.

Theory. Two commands with one nonce are one command too many: only one can be in the chain. So a
nonce is written down before anything is signed with it, under a lock that other processes of the
same person wait for. One that is then not used is no loss: the chain takes any of the next 2^20.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.exceptions import NodeError

NONCES_UNUSABLE: Final = 7848


class Nonces:
    """The file of a keystore."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "nonces"

    def peek(self, key: str, used: int) -> int:
        """What `take` would give now, if nobody else asks in between."""
        return max(self._read().get(key, 0), used) + 1

    def take(self, key: str, used: int) -> int:
        """The next nonce of a key, above `used`, the highest that the chain has seen.

        `key` names chain, account, key and grant epoch. Raises `NodeError` 7848.
        """
        with self._locked():
            known = self._read()
            nonce = max(known.get(key, 0), used) + 1
            self._write(known | {key: nonce})
        return nonce

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "nonces.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, int]:
        if not self._path.exists():
            return {}
        try:
            known = json.loads(self._path.read_text("ascii"))
            if not isinstance(known, dict) or not all(type(n) is int for n in known.values()):
                raise ValueError("not a list of numbers by key")
        except ValueError as error:
            text = f"{self._path} is damaged ({error}); once no command is on its way, delete it:"
            raise NodeError(NONCES_UNUSABLE, f"{text} the chain knows the used nonces") from error
        return known

    def _write(self, known: dict[str, int]) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="ascii") as file:
            json.dump(known, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
