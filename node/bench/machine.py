"""On what a number was measured, and the quiet that measuring needs.

What lives here: the description that is printed with every number, the clock of rates, the refusal
to measure an interpreted core by mistake, the C compiler, and a garbage collector that does not
run. What must never live here: a workload.

Rates and durations of single-threaded work are in CPU time of the thread (`cpu_ns`): on a quiet
machine that is the wall clock, on a busy one it leaves out what others ran in between, though not
what they did to the caches. `wall_over_cpu`, printed with the machine, says how far the two were
apart. Times of single calls are wall time: a reading of the thread's clock is a system call.
"""

import gc
import os
import platform
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from node.build_check import compiled_state
from node.exceptions import NodeError

INTERPRETED: Final = 7300
COMPILER: Final = "cc"

cpu_ns: Final = time.thread_time_ns
"""CPU time of this thread, nanoseconds."""


def require_compiled() -> None:
    """Raises `NodeError` 7300 when the core would run interpreted."""
    if compiled_state() == "interpreted":
        text = "the core is interpreted and some fifty times slower; compile it (scripts/bootstrap)"
        raise NodeError(INTERPRETED, f"{text}, or measure it as it is with --interpreted")


def machine() -> dict[str, object]:
    """What the figures depend on, by name."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load": _load(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "mypy": _installed("mypy"),
        "core": compiled_state(),
        "compiler": compiler_version(),
    }


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.machine()


def _load() -> str:
    """The load average of the last minute: whoever else computes here spoils the figures."""
    return f"{os.getloadavg()[0]:.2f}"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def compiler_version() -> str:
    """The first line of `cc --version`, or "none"."""
    if shutil.which(COMPILER) is None:
        return "none"
    done = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def python_headers() -> Path | None:
    """The folder of `Python.h`, or None where it is not installed."""
    folder = Path(sysconfig.get_paths()["include"])
    return folder if (folder / "Python.h").exists() else None


@contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection while the context lasts: its pauses are not the core's."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
