"""The outbox: what this node wants on L1, on the disk before the first byte leaves.

What lives here: intents by sender and nonce, the newest signed bytes of each. What must never live
here: the decision to send, or whether anything arrived; both are asked of the L1.

Theory. A transaction that was sent may be in a block for ever, whether or not we remember it. So
the intent, all its attempts and the bytes to be sent are one synced write, before the send; a crash
at any moment leaves an intent that may or may not have been sent, and sending the same bytes again
is harmless. An intent is a nonce: whatever becomes of it, L1 takes one transaction with it.
Attempts only grow, because any of them may be the one that L1 takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from consensus import codec
from consensus.block import COUNT_BITS, HASH_BYTES
from consensus.exceptions import InvalidEncoding
from consensus.rollup.batch import ADDRESS_BYTES, BATCH_BYTES_MAX
from storage import schema
from storage.database import Database, after

COMMIT: Final = 1
FINALIZE: Final = 2

ATTEMPTS_MAX: Final = 64
"""Each doubles the fees of blobs: far fewer reach any cap."""
MEMBERS_MAX: Final = 64
FEE_BITS: Final = 128
_RECORD_BYTES_MAX: Final = 1 << 15
_RECORD_ITEMS_MAX: Final = 1024


class Attempt(NamedTuple):
    """One signed transaction of an intent. Fees in wei; `sent_in`: the L1's head then."""

    hash: bytes
    call_hash: bytes
    batch_hash: bytes  # of what it commits; empty: nothing
    tip: int
    max_fee: int
    max_blob_fee: int
    sent_in: int


@dataclass(frozen=True, slots=True)
class Intent:
    """What a nonce of `sender` is for: the commit or the finality of batch `number`.

    For a commit: the batch (RLP), and who signed it. `members` in the contract's order, `signed`
    (r, v and s) in the same order for those whose bit is set.
    """

    sender: bytes
    nonce: int
    kind: int
    number: int
    attempts: tuple[Attempt, ...]
    batch: bytes = b""
    members: tuple[bytes, ...] = ()
    bitmap: int = 0
    signed: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def newest(self) -> Attempt:
        return self.attempts[-1]


class Outbox:
    """The intents in a node's database. One thread writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def intents(self) -> list[Intent]:
        """All, by sender and nonce. Raises `StorageDamaged` 7515."""
        scan = self._database.scan(schema.OUTBOX, after(schema.OUTBOX))
        return [_intent(key[1:], value) for key, value in scan]

    def raw(self, intent: Intent) -> bytes:
        """The bytes of the newest attempt, in network form."""
        data = self._database.get(schema.OUTBOX_RAW + _key(intent))
        if data is None:
            raise schema.bad_value("a transaction of the outbox")
        return data

    def put(self, intent: Intent, raw: bytes) -> None:
        """Keep the intent with the bytes of its newest attempt; durable on return."""
        batch = [
            (schema.OUTBOX + _key(intent), _value(intent)),
            (schema.OUTBOX_RAW + _key(intent), raw),
        ]
        self._database.write(batch, sync=True)

    def forget(self, intents: Iterable[Intent]) -> None:
        """Those whose nonce is spent in a final L1 block. Not synced: they would be found again."""
        keys = [kind + _key(one) for one in intents for kind in (schema.OUTBOX, schema.OUTBOX_RAW)]
        self._database.write([(key, None) for key in keys], sync=False)


def _key(intent: Intent) -> bytes:
    return intent.sender + schema.number(intent.nonce)


def _value(intent: Intent) -> bytes:
    attempts: list[codec.Encodable] = [list(one) for one in intent.attempts[-ATTEMPTS_MAX:]]
    signed: list[codec.Encodable] = [list(one) for one in intent.signed]
    return codec.encode(
        [intent.kind, intent.number, attempts, intent.batch, list(intent.members), intent.bitmap,
         signed]
    )  # fmt: skip


def _intent(key: bytes, value: bytes) -> Intent:
    try:
        item = codec.decode(value, limit_bytes=_RECORD_BYTES_MAX, limit_items=_RECORD_ITEMS_MAX)
        parts = codec.read_record(item, 7)
        return Intent(
            key[:ADDRESS_BYTES],
            int.from_bytes(key[ADDRESS_BYTES:], "big"),
            codec.read_uint(parts[0], 8),
            codec.read_uint(parts[1], COUNT_BITS),
            tuple(_attempt(one) for one in codec.read_list(parts[2], ATTEMPTS_MAX)),
            codec.read_string(parts[3], BATCH_BYTES_MAX),
            tuple(
                codec.read_bytes(one, ADDRESS_BYTES)
                for one in codec.read_list(parts[4], MEMBERS_MAX)
            ),
            codec.read_uint(parts[5], MEMBERS_MAX),
            tuple(_pair(one) for one in codec.read_list(parts[6], MEMBERS_MAX)),
        )
    except InvalidEncoding as error:
        raise schema.bad_value("an intent of the outbox") from error


def _attempt(item: codec.Item) -> Attempt:
    parts = codec.read_record(item, 7)
    return Attempt(
        codec.read_bytes(parts[0], HASH_BYTES),
        codec.read_bytes(parts[1], HASH_BYTES),
        codec.read_string(parts[2], HASH_BYTES),
        codec.read_uint(parts[3], FEE_BITS),
        codec.read_uint(parts[4], FEE_BITS),
        codec.read_uint(parts[5], FEE_BITS),
        codec.read_uint(parts[6], COUNT_BITS),
    )


def _pair(item: codec.Item) -> tuple[bytes, bytes]:
    r, s = codec.read_record(item, 2)
    return codec.read_bytes(r, HASH_BYTES), codec.read_bytes(s, HASH_BYTES)
