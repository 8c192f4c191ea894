"""The checks of `rialto doctor` that need no running node: machine, installation, directory.

What lives here: what is measured, and the thresholds. What must never live here: RPC.
"""

import ctypes
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from consensus.exceptions import ConsensusError
from consensus.genesis import memory_words, parse
from node.build_check import refuse_stale
from node.exceptions import NodeError
from node.fitness import check_core, check_curve, measure_sync
from node.telemetry.finding import FAIL, OK, WARN, Finding, graded

GIGA: Final = 10**9
FREE_BYTES_WARN: Final = 20 * GIGA
FREE_BYTES_FAIL: Final = 2 * GIGA
SYNC_S_WARN: Final = 0.01
SYNC_S_FAIL: Final = 0.1
SYNC_TIMES: Final = 21
STATE_FACTOR: Final = 2.0
"""The state, its tree (an eighth and more), and marks and images of what a block touches."""
NODE_BYTES: Final = 300 * 10**6
"""Libraries, scratch, queues and feeds. `grep VmHWM /proc/PID/status` of a fresh node on
genesis/devnet.json, 56 MB of state: 275 MB; this rule says 411."""
CLOCK_UNSYNCHRONISED: Final = 5  # TIME_ERROR of adjtimex(2)
SECRETS: Final = ("*.key", "*.token", "validator*.json")


def examine(data_dir: Path, genesis: Path | None) -> Iterator[Finding]:
    yield _curve()
    yield _core()
    yield from _disk(data_dir)
    yield from _modes(data_dir)
    yield _clock()
    yield from _memory(genesis)


def _curve() -> Finding:
    try:
        check_curve()
    except NodeError as error:
        return Finding(FAIL, "coincurve", error.text, "a validator refuses to start")
    return Finding(OK, "coincurve", "signs and recovers", "")


def _core() -> Finding:
    try:
        refuse_stale()
        check_core()
    except NodeError as error:
        return Finding(FAIL, "core", error.text, "a validator refuses to start")
    return Finding(OK, "core", "compiled, from the present sources", "")


def _disk(data_dir: Path) -> Iterator[Finding]:
    if not data_dir.is_dir():
        advice = "start the node once, or name the directory it has"
        yield Finding(FAIL, "data directory", f"{data_dir} is no directory", advice)
        return
    free = shutil.disk_usage(data_dir).free
    yield graded(
        "disk free",
        f"{free / GIGA:.1f} GB",
        "make room, or run with --prune: a full disk stops the node",
        warn=free < FREE_BYTES_WARN,
        fail=free < FREE_BYTES_FAIL,
    )
    try:
        median = measure_sync(data_dir, SYNC_TIMES)
    except NodeError as error:
        yield Finding(FAIL, "disk sync", error.text, "a validator refuses to start")
        return
    yield graded(
        "disk sync",
        f"fdatasync takes {1000 * median:.2f} ms (median of {SYNC_TIMES})",
        "every promise and vote waits for it: use a local SSD",
        warn=median > SYNC_S_WARN,
        fail=median > SYNC_S_FAIL,
    )


def _modes(data_dir: Path) -> Iterator[Finding]:
    """Secrets that others may read."""
    if not data_dir.is_dir():
        return
    secrets = sorted({path for pattern in SECRETS for path in data_dir.glob(pattern)})
    exposed = [path.name for path in secrets if stat.S_IMODE(path.stat().st_mode) & 0o077]
    seen = f"{len(secrets)} secrets, readable by this user only"
    if exposed:
        seen = f"others may read {', '.join(exposed)}"
    yield graded("file modes", seen, "chmod 600 them", fail=bool(exposed))
    is_open = bool(data_dir.stat().st_mode & 0o022)
    seen = f"{data_dir} is {'' if is_open else 'not '}writable by others"
    yield graded("directory mode", seen, f"chmod go-w {data_dir}", fail=is_open)


def _clock() -> Finding:
    """Whether the kernel is told that its clock is synchronised (adjtimex(2), read only)."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (AttributeError, OSError):
        state = -1
    if state < 0:
        advice = "compare `date -u` with another machine's"
        return Finding(WARN, "clock", "the kernel does not say whether it is right", advice)
    return graded(
        "clock",
        "not synchronised" if state == CLOCK_UNSYNCHRONISED else "synchronised",
        "start an NTP service: a leader's clock is the time of its blocks",
        warn=state == CLOCK_UNSYNCHRONISED,
    )


def _memory(genesis: Path | None) -> Iterator[Finding]:
    available = _available_bytes()
    if genesis is None:
        yield graded(
            "memory",
            f"{available / GIGA:.1f} GB available",
            "give --genesis to compare it with the state's",
            warn=True,
        )
        return
    try:
        words = sum(size for _, size in memory_words(parse(genesis.read_bytes())))
    except ConsensusError as error:
        yield Finding(FAIL, "memory", f"{genesis}: {error}", "see rialto genesis check")
        return
    needed = int(8 * words * STATE_FACTOR) + NODE_BYTES
    yield graded(
        "memory",
        f"{needed / GIGA:.2f} GB needed for this genesis, {available / GIGA:.1f} GB available",
        "give the machine more memory, or the markets smaller size classes",
        warn=needed > 0.7 * available,
        fail=needed > available,
    )


def _available_bytes() -> int:
    """What the kernel would give, page cache included."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
