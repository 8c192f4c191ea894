"""Obtain the Bitstamp sample: download the pinned wheel once, verify it, read its data members.

The data ships inside `ob-analytics` 0.1.0, whose licence is GPL-2.0-or-later. It is therefore used
for tests and measurements only, from a cache outside the checkout: the wheel is never installed,
imported, vendored or redistributed. pip fetches it, so a machine's own index settings apply.
"""

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from node.exceptions import NodeError
from node.flow.bitstamp import SampleFiles

SAMPLE_UNREACHABLE: Final = 7100
SAMPLE_FORGED: Final = 7101

REQUIREMENT: Final = "ob-analytics==0.1.0"
WHEEL: Final = "ob_analytics-0.1.0-py3-none-any.whl"
WHEEL_SHA256: Final = "0326a93aaee4ea08356d8dea59868d68592623a2434bbe4d9be379fa855c9c62"
DATA_FOLDER: Final = "ob_analytics/_sample_data"
DOWNLOAD_TIMEOUT_S: Final = 300


def cache_folder() -> Path:
    """`RIALTO_CACHE`, or `~/.cache/rialto`."""
    return Path(os.environ.get("RIALTO_CACHE") or Path.home() / ".cache" / "rialto")


def is_pinned(wheel: Path) -> bool:
    return wheel.exists() and hashlib.sha256(wheel.read_bytes()).hexdigest() == WHEEL_SHA256


def download(folder: Path) -> Path:
    """Let pip put the wheel into `folder`. Raises `NodeError` 7100 with pip's last words."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--only-binary=:all:", "--dest", str(folder), REQUIREMENT]
    try:
        outcome = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
        complaint = outcome.stderr.strip().rpartition("\n")[2]
    except subprocess.TimeoutExpired:
        complaint = f"no answer within {DOWNLOAD_TIMEOUT_S} s"
    if not (folder / WHEEL).exists():
        raise NodeError(
            SAMPLE_UNREACHABLE,
            f"the sample {REQUIREMENT} could not be downloaded ({complaint}); connect, or put "
            f"{WHEEL} into {cache_folder()}",
            complaint=complaint,
        )
    return folder / WHEEL


def fetch_wheel(cache: Path) -> Path:
    """The verified wheel inside `cache`, downloaded if it is absent or damaged there.

    Raises `NodeError` 7100 if it cannot be downloaded, 7101 if what came is not the pinned file.
    """
    wheel = cache / WHEEL
    if is_pinned(wheel):
        return wheel
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        fresh = download(Path(folder))
        if not is_pinned(fresh):
            raise NodeError(
                SAMPLE_FORGED,
                f"the downloaded {WHEEL} does not have SHA-256 {WHEEL_SHA256}; do not use it, and "
                "check which package index pip is configured with",
            )
        fresh.replace(wheel)
    return wheel


def fetch_sample(cache: Path | None = None) -> SampleFiles:
    """The sample's three data files, decompressed, in memory. Errors as `fetch_wheel`."""
    wheel = fetch_wheel(cache_folder() if cache is None else cache)
    with zipfile.ZipFile(wheel) as archive:
        return SampleFiles(
            orders_csv=gzip.decompress(archive.read(f"{DATA_FOLDER}/orders.csv.gz")),
            trades_csv=archive.read(f"{DATA_FOLDER}/trades.csv"),
            meta_json=archive.read(f"{DATA_FOLDER}/meta.json"),
        )
