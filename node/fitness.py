"""Is this installation and machine fit for a validator: curve library, compiled core, fdatasync.

What lives here: the three things without which a validator must not start, and measuring the disk.
What must never live here: advice about everything else (`rialto doctor`).

A validator without coincurve or the compiled core falls behind and holds up every certificate; one
whose disk does not sync may sign two blocks of one height after a power cut.
"""

import os
import time
from pathlib import Path
from typing import Final

from consensus.signatures import address_of, public_key_of, recover_many, sign
from node.build_check import compiled_state
from node.exceptions import NodeError

NO_CURVE: Final = 7430
INTERPRETED_CORE: Final = 7431
NO_SYNC: Final = 7432
PROBE: Final = ".sync-probe"
PROBE_BYTES: Final = 4096


def require_validator_fitness(data_dir: Path) -> None:
    """Raise `NodeError` 7430 .. 7432 unless this process may vote from this directory."""
    check_curve()
    check_core()
    measure_sync(data_dir, 3)


def check_curve() -> None:
    """Sign and recover once. Raises `NodeError` 7430."""
    secret = bytes(31) + b"\x01"
    digest = bytes(range(32))
    try:
        found = recover_many([(digest, sign(secret, digest))])
        is_right = found == [address_of(public_key_of(secret))]
    except (ImportError, OSError) as error:
        text = f"coincurve does not work here ({error})"
        raise NodeError(NO_CURVE, f"{text}; install rialto again, or run without a key") from error
    if not is_right:
        raise NodeError(NO_CURVE, "coincurve recovers a wrong address; install rialto again")


def check_core() -> None:
    """Raises `NodeError` 7431."""
    if compiled_state() != "compiled":
        text = "the core is interpreted, far too slow for a validator"
        raise NodeError(INTERPRETED_CORE, f"{text}; run scripts/bootstrap, or run without a key")


def measure_sync(data_dir: Path, times: int) -> float:
    """Seconds of the median fdatasync of 4 KiB appended in this directory.

    Raises `NodeError` 7432 where it cannot be written or synced.
    """
    path = data_dir / PROBE
    taken = []
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        try:
            for _ in range(times):
                os.write(descriptor, os.urandom(PROBE_BYTES))
                begun = time.perf_counter()
                os.fdatasync(descriptor)
                taken.append(time.perf_counter() - begun)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)
    except OSError as error:
        text = f"{data_dir} cannot be written and synced ({error.strerror})"
        raise NodeError(NO_SYNC, f"{text}; use a local disk that this user may write") from error
    return sorted(taken)[len(taken) // 2]
