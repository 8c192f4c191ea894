"""The KZG trusted setup: found on this machine, compared with its pinned hash, loaded.

What lives here: where the file may be. What must never live here: any use of it.

The ceremony's output is 800 KB of text that never changes, so we neither ship nor fetch it: two
libraries of the extra `l1` carry the identical file. Which copy is found does not matter, because
nothing is loaded whose SHA-256 is not the pinned one. The libraries themselves are not imported.
"""

import os
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Final

from consensus.da.kzg import SETUP_SHA256, Setup
from node.exceptions import NodeError

SETUP_MISSING: Final = 7700
SETUP_DIFFERENT: Final = 7701

VARIABLE: Final = "RIALTO_TRUSTED_SETUP"
COPIES: Final = (
    ("eth-account", "eth_account/typed_transactions/blob_transactions/kzg_trusted_setup.txt"),
    ("py-evm", "eth/_utils/kzg_trusted_setup.txt"),
)


@cache
def load(precompute: int = 0) -> Setup:
    """The setup, 1.5 to 3 s the first time. `precompute` 8 makes cell proofs twice as fast for
    100 MB; verifiers need 0. Raises `NodeError` 7700, 7701."""
    # ckzg is in the extra `l1`; only those who commit or verify pay for it.
    import ckzg

    return ckzg.load_trusted_setup(str(path()), precompute)


def path() -> Path:
    """The file, whose content has the pinned hash. Raises `NodeError` 7700, 7701."""
    found = next((one for one in _candidates() if one.is_file()), None)
    if found is None:
        text = f"no KZG trusted setup: pip install 'rialto[l1]', or name the file in {VARIABLE}"
        raise NodeError(SETUP_MISSING, text)
    if sha256(found.read_bytes()).hexdigest() != SETUP_SHA256:
        text = f"{found} is not the KZG ceremony's output (SHA-256 {SETUP_SHA256}); replace it"
        raise NodeError(SETUP_DIFFERENT, text)
    return found


def _candidates() -> Iterator[Path]:
    if named := os.environ.get(VARIABLE):
        yield Path(named)
        return
    for distribution, name in COPIES:
        try:
            yield Path(str(metadata.distribution(distribution).locate_file(name)))
        except metadata.PackageNotFoundError:
            continue
