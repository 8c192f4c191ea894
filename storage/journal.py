"""The journal: every command is on the leader's disk before anybody hears of its result.

What lives here: segments, group commit, reading back after a crash. What must never live here: the
records' bytes (`journal_records`), execution, or when a group is due.

Theory. The leader executes ahead and appends; one `sync` makes a group of records durable (the
caller groups 64 commands or 2 ms), and only then may receipts and feeds leave. A restart executes
the journal's tail again, with the same opening, and seals the byte-identical block.

A segment holds one block. When the Seal is on the disk the next segment is made at once, so that
the first command of the next block costs one sync, not three. What is appended meanwhile belongs to
that segment and waits for it: nobody has to wait for a Seal's sync before executing on. A segment
is dropped when its block is in the database.

What may be lost and what not. After each sync a Synced record is appended, itself not synced: it
says up to where the disk holds everything. Reading back, the first bad record is a torn tail, cut
off, unless a Synced record behind it says that those bytes were on the disk: then it is damage, and
is refused, because a receipt may exist for what is gone. Sealed segments below the last must be
whole. What remains undetectable: damage to the last group of all after a power cut that also took
its Synced record.

One thread syncs; others may append and drop meanwhile.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from storage.exceptions import StorageDamaged, StorageError, StorageRefused, StorageStopped
from storage.files import Appender, Files
from storage.journal_records import (
    HEADER_BYTES,
    KINDS,
    SYNCED,
    Command,
    Open,
    Record,
    Seal,
    Synced,
    decode,
    encode,
    encode_header,
    read,
    read_seed,
    running,
    synced_beyond,
)

JOURNAL_DAMAGED: Final = 7540
JOURNAL_GAP: Final = 7541
JOURNAL_ORDER: Final = 7542
JOURNAL_STOPPED: Final = 7543

SUFFIX: Final = ".journal"
SEGMENTS_MAX: Final = 4096
"""Sealed blocks that wait for the database; a node that has more stopped keeping blocks."""


@dataclass
class Segment:
    """One block as the journal has it; `seal` is None while it is open."""

    number: int
    open: Open | None = None
    commands: list[Command] = field(default_factory=list)
    seal: Seal | None = None
    running: bytes = b""  # after the last record


@dataclass
class _Group:
    """Records of one segment that are not written yet."""

    segment: Segment
    seed: int
    records: list[bytes] = field(default_factory=list)


class Journal:
    """Append `Open`, `Command`s, `Seal`, in turns; `sync` before anything leaves the node."""

    def __init__(
        self, files: Files, head: int, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Read back what is above the database's `head`; see `recovered`.

        `entropy(n)` gives n unpredictable bytes. Raises `StorageDamaged` 7540 and 7541.
        """
        self._files = files
        self._entropy = entropy
        self._lock = Lock()
        self._is_stopped = False
        segments = self._read_back(head)
        self.recovered: Final = tuple(segment for segment in segments if segment.open is not None)
        self._kept = [s for s in segments if s.seal is not None]
        current = segments[-1] if segments else None
        if current is None or current.seal is not None:
            current = Segment(self._highest + 1)
            seed = self._new_seed()
            self._appender, self._size = self._made(current.number, seed)
        else:
            self._appender, seed, self._size = self._reopened(current.number)
        self._waiting = [_Group(current, seed)]  # the first one's segment is the open file

    def append(self, record: Open | Command | Seal) -> bytes:
        """Add a record to the group; the running hash after it, 32 bytes.

        Raises `StorageRefused` 7542 for a record out of turn, `StorageStopped` 7543 after a failed
        sync.
        """
        self._check_running()
        with self._lock:
            group = self._waiting[-1]
            segment = group.segment
            self._check_turn(segment, record)
            kind, payload = KINDS[type(record)], record.payload()
            segment.running = running(segment.running, kind, payload)
            group.records.append(encode(kind, payload, group.seed))
            if isinstance(record, Open):
                segment.open = record
            elif isinstance(record, Seal):
                segment.seal = record
                self._waiting.append(_Group(Segment(segment.number + 1), self._new_seed()))
        return segment.running

    def sync(self) -> None:
        """Make everything appended before this call durable. Raises `StorageStopped`, and then
        nothing may leave the node any more."""
        self._check_running()
        with self._lock:
            groups, last = self._waiting, self._waiting[-1]
            self._waiting = [_Group(last.segment, last.seed)]
        try:
            for at, group in enumerate(groups):
                if at:
                    self._rotate(groups[at - 1].segment, group)
                if group.records:
                    self._write(b"".join(group.records), group.seed)
        except BaseException:
            self._is_stopped = True
            raise

    def drop(self, height: int) -> None:
        """Forget the sealed segments up to `height`: their blocks are in the database."""
        with self._lock:
            kept = list(self._kept)
        for segment in kept:
            if segment.seal is not None and segment.seal.height <= height:
                self._files.remove(name_of(segment.number))
                with self._lock:
                    self._kept.remove(segment)

    def close(self) -> None:
        self._appender.close()

    def _write(self, records: bytes, seed: int) -> None:
        self._appender.append(records)
        self._appender.sync()
        self._size += len(records)
        mark = encode(SYNCED, Synced(self._size).payload(), seed)
        self._appender.append(mark)
        self._size += len(mark)

    def _rotate(self, sealed: Segment, following: _Group) -> None:
        self._appender.close()
        with self._lock:
            self._kept.append(sealed)
            kept = len(self._kept)
        if kept > SEGMENTS_MAX:
            text = f"{kept} sealed blocks wait for the database; stop and look why"
            raise StorageStopped(JOURNAL_STOPPED, text)
        self._appender, self._size = self._made(following.segment.number, following.seed)

    def _new_seed(self) -> int:
        return int.from_bytes(self._entropy(4), "little")

    def _made(self, number: int, seed: int) -> tuple[Appender, int]:
        """A new segment whose header is on the disk before any record is: its bytes say which
        later ones are damage."""
        appender = self._files.append_to(name_of(number))
        appender.append(encode_header(seed))
        appender.sync()
        return appender, HEADER_BYTES

    def _reopened(self, number: int) -> tuple[Appender, int, int]:
        data = self._files.read(name_of(number), 0, HEADER_BYTES) or b""
        seed, size = read_seed(data), self._files.size(name_of(number))
        assert seed is not None and size is not None, "the segment was read a moment ago"
        return self._files.append_to(name_of(number)), seed, size

    def _check_turn(self, segment: Segment, record: Record) -> None:
        opened = segment.open
        if isinstance(record, Open):
            follows = opened is None
        elif isinstance(record, Seal):
            follows = opened is not None and opened.height == record.height
        else:
            follows = opened is not None
        if not follows:
            raise StorageRefused(JOURNAL_ORDER, f"a {type(record).__name__} is out of turn here")

    def _check_running(self) -> None:
        if self._is_stopped:
            text = "a sync failed before; end the process, check the disk, start it again"
            raise StorageStopped(JOURNAL_STOPPED, text)

    def _read_back(self, head: int) -> list[Segment]:
        """The segments above `head`, contiguous; older files are removed, a torn tail is cut."""
        names = [name for name in self._files.names() if name.endswith(SUFFIX)]
        self._highest = max(map(number_of, names), default=0)
        found: list[Segment] = []
        for name in names:
            segment = self._read_segment(name, is_last=name == names[-1])
            if segment is None or (segment.seal is not None and segment.seal.height <= head):
                self._files.remove(name)
            elif segment.open is not None and segment.open.height <= head and segment.seal is None:
                # A follower's block or a restored database went past what was being made here.
                self._files.remove(name)
            else:
                found.append(segment)
        for height, segment in enumerate(found, head + 1):
            if segment.open is not None and segment.open.height != height:
                text = f"the journal has block {segment.open.height} where {height} comes next"
                sentence = f"{text}; restore the missing segment or the database"
                raise StorageDamaged(JOURNAL_GAP, sentence, height=height)
        return found

    def _read_segment(self, name: str, *, is_last: bool) -> Segment | None:
        """The segment, its torn tail cut off; None if not even its header was kept."""
        data = self._files.read(name) or b""
        seed = read_seed(data)
        if seed is None:
            if is_last and len(data) <= HEADER_BYTES:
                return None
            raise damaged(name, 0, "its header is not whole")
        segment, end = _records_of(name, number_of(name), data, seed)
        if end < len(data) or (segment.seal is None and not is_last):
            furthest = synced_beyond(data, end, seed)
            if furthest > end or (segment.seal is None and not is_last):
                raise damaged(name, end, f"{max(furthest, len(data))} bytes of it were on the disk")
            self._files.cut(name, end)
        return segment


def _records_of(name: str, number: int, data: bytes, seed: int) -> tuple[Segment, int]:
    """The segment's whole records and the offset where they end."""
    segment, end = Segment(number), HEADER_BYTES
    for at, kind, payload, stop in read(data, seed):
        record = decode(kind, payload)
        is_second_open = isinstance(record, Open) and segment.open is not None
        is_early = segment.open is None and not isinstance(record, Open)
        is_late = segment.seal is not None and not isinstance(record, Synced)
        if record is None or is_second_open or is_early or is_late:
            raise damaged(name, at, "a record with a good checksum is out of turn")
        if not isinstance(record, Synced):
            segment.running = running(segment.running, kind, payload)
        elif record.offset > at:
            raise damaged(name, at, "a record with a good checksum has a wrong offset")
        if isinstance(record, Open):
            segment.open = record
        elif isinstance(record, Command):
            segment.commands.append(record)
        elif isinstance(record, Seal):
            segment.seal = record
        end = stop
    return segment, end


def name_of(number: int) -> str:
    return f"{number:012d}{SUFFIX}"


def number_of(name: str) -> int:
    digits = name.removesuffix(SUFFIX)
    if not digits.isdecimal() or not name.endswith(SUFFIX):
        raise damaged(name, 0, "it is no segment's name; move it away")
    return int(digits)


def damaged(name: str, at: int, why: str) -> StorageError:
    text = f"journal segment {name} is damaged at byte {at}: {why}"
    sentence = f"{text}; receipts may be lost: do not lead from this disk, restore a backup"
    return StorageDamaged(JOURNAL_DAMAGED, sentence, segment=name, offset=at)
