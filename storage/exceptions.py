"""The numbered errors of storage: three boundaries, three classes.

What lives here: one base class and one class per boundary. What must never live here: the numbers;
each is a named constant beside the code that raises it, stable for ever.

| range       | boundary                                                        |
| ----------- | --------------------------------------------------------------- |
| 7500 - 7509 | the disk: failed writes and syncs, locks                        |
| 7510 - 7519 | database and schema                                             |
| 7520 - 7529 | blocks                                                          |
| 7530 - 7539 | states                                                          |
| 7540 - 7549 | journal                                                         |
| 7550 - 7559 | last_signed                                                     |
| 7560 - 7569 | snapshots                                                       |
| 7570 - 7579 | backup, restore, pruning                                        |
| 7590 - 7599 | L1 facts                                                        |
"""

from typing import Final


class StorageError(Exception):
    """Something about the bytes at rest is wrong.

    `number` is stable; `facts` keeps what was seen, by name; the text says what to do about it.
    """

    def __init__(self, number: int, text: str, **facts: object) -> None:
        super().__init__(f"E{number}: {text}")
        self.number: Final = number
        self.text: Final = text
        self.facts: Final = facts


class StorageRefused(StorageError):
    """The caller asked for what must not be done here; nothing was changed."""


class StorageDamaged(StorageError):
    """Bytes at rest are not what was written; nothing of them may be used."""


class StorageStopped(StorageError):
    """The disk did not keep a write. What is on it is unknown: end the process, then start anew.

    Never retry on the same descriptor: after a failed fsync Linux marks the pages clean, and a
    second fsync that succeeds says nothing about them.
    """
