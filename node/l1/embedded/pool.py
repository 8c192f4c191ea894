"""The transaction pool of the embedded L1: what waits for a block, and what may replace it.

What lives here: admission, replacement, order, limits. What must never live here: execution.

The rules are those of the clients we must live with (geth, ethrex): one transaction per sender and
nonce; another replaces it only if every fee is 10 % higher, 100 % for blob transactions; blob and
other transactions never replace each other; a sidecar of the fork's version, whose proofs hold.
`base_fee` decides nothing here: what cannot pay waits.
"""

from typing import Any, Final

from consensus.da import kzg
from consensus.exceptions import InvalidPayload
from node.l1 import trusted_setup
from node.l1.surface import REFUSED, L1Error
from node.l1.transactions import BLOB, GAS_PER_TRANSACTION_MAX, Sidecar

PER_SENDER_MAX: Final = 64
POOL_MAX: Final = 4096
BUMP_PERCENT: Final = 10
BLOB_BUMP_PERCENT: Final = 100


class Pool:
    """Pending transactions by sender and nonce. `sidecar_version` is the fork's."""

    def __init__(self, sidecar_version: int) -> None:
        self.sidecar_version: Final = sidecar_version
        self._pending: Final[dict[tuple[bytes, int], Any]] = {}
        self.sidecars: Final[dict[bytes, Sidecar]] = {}

    def add(self, transaction: Any, sidecar: Sidecar | None, next_nonce: int) -> None:
        """Admit a transaction, or raise `L1Error` with the reason that a client would give."""
        sender, nonce = transaction.sender, transaction.nonce
        if nonce < next_nonce:
            raise L1Error(REFUSED, f"nonce too low: next nonce {next_nonce}, tx nonce {nonce}")
        if transaction.gas > GAS_PER_TRANSACTION_MAX:
            raise L1Error(REFUSED, f"transaction gas limit above {GAS_PER_TRANSACTION_MAX}")
        if is_blob(transaction) != (sidecar is not None):
            raise L1Error(REFUSED, "a blob transaction needs its sidecar, others have none")
        before = self._pending.get((sender, nonce))
        if before is not None:
            if before.hash == transaction.hash:
                raise L1Error(REFUSED, "already known")
            _check_replacement(before, transaction)
        elif len(self._pending) >= POOL_MAX or self.count(sender) >= PER_SENDER_MAX:
            raise L1Error(REFUSED, "the pool has no room for another transaction of this sender")
        if sidecar is not None:
            self._check_sidecar(sidecar)
            self.sidecars[transaction.hash] = sidecar
        self._pending[sender, nonce] = transaction

    def put_back(self, transaction: Any) -> None:
        """A transaction of an orphaned block; one that has taken its place stays."""
        self._pending.setdefault((transaction.sender, transaction.nonce), transaction)

    def _check_sidecar(self, sidecar: Sidecar) -> None:
        if sidecar.version != self.sidecar_version:
            text = f"sidecar version {sidecar.version}, this fork wants {self.sidecar_version}"
            raise L1Error(REFUSED, f"invalid blob sidecar: {text}")
        setup = trusted_setup.load()
        try:
            if sidecar.version == 1:
                kzg.verify_sidecar(sidecar.blobs, sidecar.commitments, sidecar.proofs, setup)
            else:
                rows = zip(sidecar.blobs, sidecar.commitments, sidecar.proofs, strict=True)
                for row in rows:
                    kzg.verify_blob(*row, setup)
        except InvalidPayload as error:
            raise L1Error(REFUSED, f"invalid blob sidecar: {error.text}") from error

    def count(self, sender: bytes) -> int:
        return sum(1 for one, _ in self._pending if one == sender)

    def ready(self) -> list[Any]:
        """What waits: best tip first, but the nonces of one sender in order."""
        best: dict[bytes, int] = {}
        for (sender, _), one in self._pending.items():
            best[sender] = max(best.get(sender, 0), one.max_priority_fee_per_gas)
        order = sorted(self._pending, key=lambda key: (-best[key[0]], key))
        return [self._pending[key] for key in order]

    def find(self, transaction_hash: bytes) -> Any | None:
        return next((one for one in self._pending.values() if one.hash == transaction_hash), None)

    def remove(self, transaction: Any) -> None:
        """Forget what is in a block, or was dropped; its sidecar stays for a reorganisation."""
        found = self._pending.get((transaction.sender, transaction.nonce))
        if found is not None:
            del self._pending[transaction.sender, transaction.nonce]

    def __len__(self) -> int:
        return len(self._pending)


def is_blob(transaction: Any) -> bool:
    return getattr(transaction, "type_id", None) == BLOB


def _check_replacement(before: Any, after: Any) -> None:
    if is_blob(before) != is_blob(after):
        raise L1Error(REFUSED, "blob and other transactions do not replace each other")
    percent = 100 + (BLOB_BUMP_PERCENT if is_blob(after) else BUMP_PERCENT)
    names = ["max_fee_per_gas", "max_priority_fee_per_gas"]
    names += ["max_fee_per_blob_gas"] if is_blob(after) else []
    if any(100 * getattr(after, name) < percent * getattr(before, name) for name in names):
        raise L1Error(REFUSED, "replacement transaction underpriced")
