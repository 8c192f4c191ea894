"""The transaction pool of the embedded L1: what waits for a block, and what may replace it.

What lives here: admission, replacement, order, limits, sidecars. What must never live here:
execution.

The rules are those of the clients we must live with (geth, ethrex): one transaction per sender and
nonce; another replaces it only if every fee is 10 % higher, 100 % for blob transactions; blob and
other transactions never replace each other; a sidecar of the fork's version, whose proofs hold.
`base_fee` decides nothing here: what cannot pay waits.

With a database nothing that was accepted is lost with the process. One table has what was sent, by
hash: of a blob transaction until the block that has it is old, of others while they wait. The other
says what waits, by sender and nonce, so a replacement is one write. A process killed in between
leaves a transaction in the first that nobody asks for. What a block changes here is part of the
write that tells of the block.
"""

from collections.abc import Callable, MutableMapping
from typing import Any, Final

from consensus.da import kzg
from consensus.exceptions import InvalidPayload
from node.l1 import trusted_setup
from node.l1.embedded.kept import KeptDatabase
from node.l1.surface import REFUSED, L1Error
from node.l1.transactions import BLOB, GAS_PER_TRANSACTION_MAX, Sidecar, split

PER_SENDER_MAX: Final = 64
POOL_MAX: Final = 4096
BUMP_PERCENT: Final = 10
BLOB_BUMP_PERCENT: Final = 100


class Pool:
    """Pending transactions by sender and nonce. `sidecar_version` is the fork's. `database` is
    where they stay; `restore` has those that are there wait again."""

    def __init__(self, sidecar_version: int, database: KeptDatabase | None = None) -> None:
        self.sidecar_version: Final = sidecar_version
        self._pending: Final[dict[tuple[bytes, int], Any]] = {}
        self._sent: MutableMapping[bytes, bytes] = {}
        self._waiting: MutableMapping[bytes, bytes] = {}
        if database is not None:
            self._sent = database.table(b"pool-sent/")
            self._waiting = database.table(b"pool-waiting/")

    def restore(self, decode: Callable[[bytes], Any]) -> None:
        """What waited when the process ended. `decode`: of the canonical form."""
        for name in self._waiting.values():
            transaction = decode(split(self._sent[name])[0])
            self._pending[transaction.sender, transaction.nonce] = transaction

    def add(self, transaction: Any, sidecar: Sidecar | None, sent: bytes, next_nonce: int) -> None:
        """Admit a transaction, `sent` in network form, or raise `L1Error` with the reason that a
        client would give."""
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
        self._put(transaction, sent)
        if before is not None:
            self.forget(before)

    def put_back(self, transaction: Any) -> None:
        """A transaction of an orphaned block; one that has taken its place stays."""
        if (transaction.sender, transaction.nonce) not in self._pending:
            self._put(transaction, self._sent.get(transaction.hash) or transaction.encode())

    def _put(self, transaction: Any, sent: bytes) -> None:
        self._sent[transaction.hash] = sent
        self._waiting[_place(transaction)] = transaction.hash
        self._pending[transaction.sender, transaction.nonce] = transaction

    def sidecar(self, transaction_hash: bytes) -> Sidecar | None:
        """Of a blob transaction that waits, or is in a block that is not old."""
        sent = self._sent.get(transaction_hash)
        return None if sent is None else split(sent)[1]

    def forget(self, transaction: Any) -> None:
        """What was sent, the sidecar with it: the transaction is in an old block, or in none."""
        self._sent.pop(transaction.hash, None)

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
        found = self._pending.pop((transaction.sender, transaction.nonce), None)
        if found is None:
            return
        del self._waiting[_place(found)]
        if not is_blob(found) or found.hash != transaction.hash:
            self.forget(found)

    def __len__(self) -> int:
        return len(self._pending)


def is_blob(transaction: Any) -> bool:
    return getattr(transaction, "type_id", None) == BLOB


def _place(transaction: Any) -> bytes:
    return bytes(transaction.sender) + int(transaction.nonce).to_bytes(8, "big")


def _check_replacement(before: Any, after: Any) -> None:
    if is_blob(before) != is_blob(after):
        raise L1Error(REFUSED, "blob and other transactions do not replace each other")
    percent = 100 + (BLOB_BUMP_PERCENT if is_blob(after) else BUMP_PERCENT)
    names = ["max_fee_per_gas", "max_priority_fee_per_gas"]
    names += ["max_fee_per_blob_gas"] if is_blob(after) else []
    if any(100 * getattr(after, name) < percent * getattr(before, name) for name in names):
        raise L1Error(REFUSED, "replacement transaction underpriced")
