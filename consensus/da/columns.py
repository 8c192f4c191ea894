"""Columns of integers as byte planes: the one byte form of columns that differ in length.

What lives here: a writer and a reader of columns, and the checks that make the form canonical.
What must never live here: what a column means, compression, blocks.

Theory. Values of one meaning resemble each other, and bytes of one rank resemble each other even
more, so an entropy coder gains most when each rank of each column stands alone:

    table                     column 0                    column 1           ...
    count u32, planes u8  |   low bytes, next bytes, ...  low bytes, ...

A column holds signed 64-bit integers. `SIGNED` columns (differences) are folded first, so that
small magnitudes have zero high bytes: 0, -1, 1, -2 .. become 0, 1, 2, 3 .. ; `PLAIN` columns are
stored in two's complement. Planes are little-endian ranks; the highest one stored is not all zero,
and so each list of columns has exactly one byte form. A column of zeros has only a count.

Predictions. `code` stores the difference from a prediction, modulo 2^64. Writer and reader have the
same `code`, so one function that walks a value through its columns is both the encoder and the
decoder: the writer returns the value it was given, the reader returns the value it found.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from struct import Struct
from struct import pack as struct_pack
from struct import unpack as struct_unpack
from typing import Final, Protocol

from consensus.exceptions import InvalidPayload

TRUNCATED: Final = 8001
COLUMN_COUNT: Final = 8003
COLUMN_PLANES: Final = 8004
COLUMN_SHORT: Final = 8005
COLUMN_LONG: Final = 8006

PLANES_MAX: Final = 8
ENTRY: Final = Struct("<IB")
"""One line of the table: values in the column, byte planes stored."""

WORD_MIN: Final = -(1 << 63)
WORD_MAX: Final = (1 << 63) - 1
MASK: Final = (1 << 64) - 1

PLAIN: Final = 0
SIGNED: Final = 1


def wrapped(value: int) -> int:
    """`value` modulo 2^64, as a signed 64-bit word."""
    return ((value + (1 << 63)) & MASK) - (1 << 63)


class Columns(Protocol):
    """What a walk through the columns may use; see the module docstring."""

    def code(self, column: int, value: int, predicted: int = 0) -> int: ...


class ColumnWriter:
    """Collects columns. `kinds` has PLAIN or SIGNED for each."""

    def __init__(self, kinds: Sequence[int]) -> None:
        self._kinds = kinds
        self._columns: list[list[int]] = [[] for _ in kinds]

    def code(self, column: int, value: int, predicted: int = 0) -> int:
        self._columns[column].append(value - predicted)
        return value

    def to_bytes(self) -> bytes:
        """The table and the planes of all columns."""
        table, planes = [], []
        for kind, column in zip(self._kinds, self._columns, strict=True):
            stored = _planes(kind, column)
            table.append(ENTRY.pack(len(column), len(stored)))
            planes += stored
        return b"".join(table + planes)


class ColumnReader:
    """Reads back the columns whose table stands at `at`; `end` is where their planes end.

    No column may have more than `count_max` values. Raises `InvalidPayload` 8001, 8003, 8004.
    """

    def __init__(self, kinds: Sequence[int], data: bytes, at: int, count_max: int) -> None:
        self._columns: list[Iterator[int]] = []
        entries = read_table(len(kinds), data, at, count_max)
        at += len(kinds) * ENTRY.size
        for kind, (count, planes) in zip(kinds, entries, strict=True):
            self._columns.append(iter(_values(kind, data, at, count, planes)))
            at += count * planes
        self.end: Final = at

    def code(self, column: int, value: int, predicted: int = 0) -> int:
        """The next value of `column`; `value` is ignored. Raises `InvalidPayload` 8005."""
        for difference in self._columns[column]:
            value = difference + predicted
            return value if WORD_MIN <= value <= WORD_MAX else wrapped(value)
        raise InvalidPayload(COLUMN_SHORT, f"column {column} ends too early", column=column)

    def finish(self) -> None:
        """Raise `InvalidPayload` 8006 unless every value of every column was read."""
        for column, values in enumerate(self._columns):
            for _ in values:
                text = f"column {column} has values that belong to nothing; leave them out"
                raise InvalidPayload(COLUMN_LONG, text, column=column)


def read_table(columns: int, data: bytes, at: int, count_max: int) -> list[tuple[int, int]]:
    """The (count, planes) of each column, if `data` holds the planes of all."""
    end = at + columns * ENTRY.size
    if len(data) < end:
        raise InvalidPayload(TRUNCATED, f"{len(data)} bytes end inside the table", end=end)
    entries = list(ENTRY.iter_unpack(data[at:end]))
    for column, (count, planes) in enumerate(entries):
        if count > count_max:
            text = f"column {column} claims {count} values of at most {count_max}"
            raise InvalidPayload(COLUMN_COUNT, text, column=column, count=count)
        if planes > PLANES_MAX or (planes and not count):
            text = f"column {column} has {planes} planes for {count} values"
            raise InvalidPayload(COLUMN_PLANES, text, column=column, planes=planes)
        end += count * planes
    if len(data) < end:
        raise InvalidPayload(TRUNCATED, f"{len(data)} bytes, the table asks for {end}", end=end)
    return entries


def plane_ends(columns: int, data: bytes, at: int, count_max: int) -> list[int]:
    """The offsets at which the table and then each plane end, rising."""
    sizes = [at + columns * ENTRY.size]
    for count, planes in read_table(columns, data, at, count_max):
        sizes += [count] * planes
    return list(accumulate(sizes))


def _planes(kind: int, column: list[int]) -> list[bytes]:
    if column and not (min(column) >= WORD_MIN and max(column) <= WORD_MAX):
        column = [wrapped(value) for value in column]
    if kind == SIGNED:
        column = [value << 1 ^ value >> 63 for value in column]
    elif column and min(column) < 0:
        column = [value & MASK for value in column]
    used = (max(column, default=0).bit_length() + 7) // 8
    # On any machine: "<" fixes the byte order, and slices of step 8 are the ranks.
    words = struct_pack(f"<{len(column)}Q", *column)
    return [words[rank::PLANES_MAX] for rank in range(used)]


def _values(kind: int, data: bytes, at: int, count: int, planes: int) -> list[int]:
    if not planes:
        return [0] * count
    words = bytearray(PLANES_MAX * count)
    for rank in range(planes):
        words[rank::PLANES_MAX] = data[at + rank * count : at + (rank + 1) * count]
    if not any(words[planes - 1 :: PLANES_MAX]):
        text = f"the highest of {planes} planes at offset {at} is all zero; leave it out"
        raise InvalidPayload(COLUMN_PLANES, text, planes=planes)
    if kind == SIGNED:
        folded = struct_unpack(f"<{count}Q", words)
        return [value >> 1 ^ -(value & 1) for value in folded]
    return list(struct_unpack(f"<{count}q", words))
