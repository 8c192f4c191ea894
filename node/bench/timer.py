"""The time of each single call into the compiled core.

What lives here: building and calling `timer.c`, which reads the clock around a call without going
through the interpreter. Without a compiler or Python's headers the clock is read from Python; a
sample then contains part of that reading, and `how` says so.

A sample is one call of a compiled function with its arguments as Python objects, so it contains the
crossing from Python into the core and back. The median of two readings with nothing between them is
taken off every sample.
"""

import ctypes
import shutil
import subprocess
from array import array
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from node.bench.machine import COMPILER, python_headers

SOURCE: Final = Path(__file__).with_name("timer.c")
EMPTY_PAIRS: Final = 100_000
PIECES: Final = 64
"""Calls between two takings of the events, which are outside the clock."""

Core = Callable[..., int]
"""`run_book(M, S, rows, from, to)` or `execute(M, S, rows, from, to, phase)`."""


class StoppedShort(Exception):
    """The core did not run a row: the scratch area is full or a group has a fault."""


class Timer:
    """Times calls piece by piece; `how` says by which clock, `overhead` what was taken off, ns."""

    def __init__(self, folder: Path) -> None:
        self._library: ctypes.PyDLL | None = None
        headers = python_headers()
        if headers is None or shutil.which(COMPILER) is None:
            missing = "a C compiler" if headers else "Python.h"
            self.how = f"clock read from Python, because {missing} is missing"
            self.overhead = _python_overhead()
            return
        library = folder / "timer.so"
        command = [COMPILER, "-O2", "-shared", "-fPIC", f"-I{headers}", str(SOURCE)]
        subprocess.run([*command, "-o", str(library)], check=True, capture_output=True)
        self._library = ctypes.PyDLL(str(library))
        self._time_calls = self._library.rialto_time_calls
        self._time_calls.restype = ctypes.c_longlong
        objects, numbers = [ctypes.py_object] * 4, [ctypes.c_longlong] * 4
        self._time_calls.argtypes = [*objects, *numbers, ctypes.c_void_p]
        self.how = "clock read in C around one call from Python"
        self.overhead = self._c_overhead()

    def _c_overhead(self) -> int:
        assert self._library is not None
        spent = (ctypes.c_longlong * EMPTY_PAIRS)()
        self._library.rialto_time_nothing(ctypes.c_longlong(EMPTY_PAIRS), spent)
        return int(median(spent))

    def calls(
        self,
        core: Core,
        M: vec[i64],
        S: vec[i64],
        rows: bytes,
        step: int,
        phase: int = -1,
        at: int = 0,
        end: int = -1,
    ) -> "array[int]":
        """Nanoseconds of one call for each `step` bytes of `rows`; `phase` < 0: it takes none.

        The events are dropped after every 64 calls. Raises `StoppedShort`.
        """
        samples = array("q")
        end = len(rows) if end < 0 else end
        while at < end:
            count = min(PIECES, (end - at) // step)
            spent = array("q", bytes(8 * count))
            if self._library is None:
                done = _timed_from_python(core, M, S, rows, at, step, phase, spent)
            else:
                where = spent.buffer_info()[0]
                done = self._time_calls(core, M, S, rows, at, step, count, phase, where)
            if done != count:
                text = f"stopped at byte {at + done * step}, fault {S[layout.S_FAULT]}"
                raise StoppedShort(text)
            S[layout.S_EVENT] = layout.S_EVENTS
            samples.extend(spent)
            at += count * step
        return array("q", [max(0, sample - self.overhead) for sample in samples])


def _timed_from_python(
    core: Core,
    M: vec[i64],
    S: vec[i64],
    rows: bytes,
    at: int,
    step: int,
    phase: int,
    spent: "array[int]",
) -> int:
    last = () if phase < 0 else (phase,)
    for n in range(len(spent)):
        end = at + step
        begun = perf_counter_ns()
        reached = core(M, S, rows, at, end, *last)
        spent[n] = perf_counter_ns() - begun
        if reached != end:
            return n
        at = end
    return len(spent)


def _python_overhead() -> int:
    samples = []
    for _ in range(EMPTY_PAIRS):
        begun = perf_counter_ns()
        samples.append(perf_counter_ns() - begun)
    return int(median(samples))
