"""The reference: the C that the translator makes from the core, built with the system's compiler.

What lives here: the same rows in the same batches through that C, timed in C. What must never live
here: a comparison; `matcher.py` runs both alternately and compares.
"""

import ctypes
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from consensus import layout
from node.bench.exchange import START_MS, Start
from node.bench.timer import StoppedShort
from node.build_check import ROOT
from node.ctwin import Bytes, CTwin, Trap, build

DRIVER: Final = Path(__file__).with_name("twin.c")
ENTRIES: Final = ("forget", "open_block", "run_book")
EVENTS_BYTES: Final = 8 << 20
"""Room for the events of one block."""


def build_reference(folder: Path, sources: Mapping[str, str] | None = None) -> Path:
    """The library of the core (or of other `sources`) and its driver, `cc -O3`.

    Raises `CompilerMissing`.
    """
    words = f"enum {{ BENCH_EVENT = {layout.S_EVENT}, BENCH_EVENTS = {layout.S_EVENTS} }};\n"
    driver = words + DRIVER.read_text(encoding="utf-8")
    return build(sources or ROOT, folder, mode="fast", extra_c=driver, entries=ENTRIES)


class Reference:
    """The C core on one exchange; `rewind` puts it back to the start of a flow."""

    def __init__(self, library: Path, start: Start) -> None:
        self._twin: Final = CTwin(library, start.M, start.S)
        self._events: Final = ctypes.create_string_buffer(EVENTS_BYTES)

    def rewind(self, start: Start) -> None:
        for which, data in (("M", start.M), ("S", start.S)):
            self._twin.memory(which).cast("B")[:] = data

    def block(self, rows: bytes, batch: int) -> tuple[int, bytes]:
        """Nanoseconds and events of one block's rows in batches of `batch` bytes."""
        report = (ctypes.c_int64 * 3)()
        self._call("rialto_bench_batches", self._bytes(rows), batch, self._events, report)
        if report[2] != len(rows):
            raise StoppedShort(f"the reference stopped at byte {report[2]} of {len(rows)}")
        return report[0], ctypes.string_at(self._events, report[1])

    def each(self, rows: bytes, size: int) -> "array[int]":
        """Nanoseconds of one call for each row."""
        spent = array("q", bytes(len(rows) // size * 8))
        where = ctypes.c_void_p(spent.buffer_info()[0])
        self._call("rialto_bench_each", self._bytes(rows), size, where)
        return spent

    def close_block(self) -> None:
        height = self._twin.memory("M")[layout.HEIGHT] + 1
        code = self._twin.library.rialto_bench_close(
            self._twin.vec("M"),
            self._twin.vec("S"),
            ctypes.c_int64(height),
            ctypes.c_int64(START_MS),
        )
        if code:
            raise Trap("rialto_bench_close", code)

    def memory(self) -> bytes:
        return self._twin.read_M()

    def _call(self, name: str, rows: Bytes, size: int, *rest: object) -> None:
        code = self._twin.library[name](
            self._twin.vec("M"), self._twin.vec("S"), rows, ctypes.c_int64(size), *rest
        )
        if code:
            raise Trap(name, code)

    @staticmethod
    def _bytes(rows: bytes) -> Bytes:
        return Bytes(len(rows), rows)
