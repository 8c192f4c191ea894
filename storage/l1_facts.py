"""What is final on L1, kept: queue items, batches, and up to which L1 block they are all here.

What lives here: bytes <-> facts, one synced write for each step. What must never live here: a fact
that a reorganisation could take back, or how facts are found (`node/l1/watcher.py`).

Theory. Only what the L1 calls finalized is stored, so nothing stored is ever undone: a restart
reads on from there. Batches that the contract reverted are deleted by the step that says so.
docs/protocol/storage.md has the keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final, NamedTuple

from consensus import codec
from consensus.block import COUNT_BITS, HASH_BYTES, HASH_ZERO
from consensus.exceptions import InvalidEncoding
from consensus.rollup.batch import ADDRESS_BYTES
from consensus.rollup.origin import Item, Origin
from storage import schema
from storage.database import Database
from storage.exceptions import StorageRefused

FOREIGN_CONTRACT: Final = 7590
ROWS_BYTES_MAX: Final = 576
"""A forced group of eight operations and its header row."""
_RECORD_BYTES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class PostedBatch:
    """A batch as the contract holds it. `committed_in`, `finalized_in`: L1 blocks; 0: not yet.

    The fields behind them are the contract's summary, in its order.
    """

    number: int
    committed_in: int
    finalized_in: int
    batch_hash: bytes
    time: int
    last_hash: bytes
    last_height: int
    post_state_root: bytes
    l1_messages: int
    withdrawals_root: bytes


class Tip(NamedTuple):
    """The contract in figures: items ever queued, the queue's hash, batches (the last ones)."""

    items: int = 0
    queue_hash: bytes = HASH_ZERO
    committed: int = 0
    finalized: int = 0
    frozen: bool = False


class L1Facts:
    """The facts of one contract in a node's database. `point` is None before the first step."""

    def __init__(self, database: Database, contract: bytes) -> None:
        """Raises `StorageRefused` 7590 if the database has those of another contract."""
        self._database = database
        self._contract = contract
        self.point: Origin | None = None
        self.tip = Tip()
        data = database.get(schema.L1_TIP)
        if data is not None:
            self._read_tip(data)

    def _read_tip(self, data: bytes) -> None:
        try:
            parts = codec.read_record(codec.decode(data, limit_bytes=_RECORD_BYTES_MAX), 9)
            contract = codec.read_bytes(parts[0], ADDRESS_BYTES)
            numbers = [codec.read_uint(parts[n], COUNT_BITS) for n in (1, 3, 4, 6, 7, 8)]
            point = Origin(numbers[0], codec.read_bytes(parts[2], HASH_BYTES), numbers[1])
            queue_hash = codec.read_bytes(parts[5], HASH_BYTES)
        except InvalidEncoding as error:
            raise schema.bad_value("the L1 facts' tip") from error
        if contract != self._contract:
            text = f"the database has the L1 facts of contract 0x{contract.hex()}"
            raise StorageRefused(FOREIGN_CONTRACT, f"{text}; check the deployment file")
        self.point = point
        self.tip = Tip(numbers[2], queue_hash, numbers[3], numbers[4], bool(numbers[5]))

    def step(
        self,
        point: Origin,
        tip: Tip,
        items: Sequence[Item],
        batches: Mapping[int, PostedBatch | None],
    ) -> None:
        """Everything up to L1 block `point`, durable on return; `items` follow those here.

        `batches` by number: new ones, changed ones, None for reverted ones.
        """
        batch: list[tuple[bytes, bytes | None]] = [
            (schema.at_height(schema.L1_ITEM, item.index), _item_value(item)) for item in items
        ]
        batch += [
            (schema.at_height(schema.L1_BATCH, number), _batch_value(posted) if posted else None)
            for number, posted in batches.items()
        ]
        parts = (
            self._contract, point.number, point.hash, point.time, tip.items, tip.queue_hash,
            tip.committed, tip.finalized, int(tip.frozen),
        )  # fmt: skip
        batch.append((schema.L1_TIP, codec.encode(parts)))
        self._database.write(batch, sync=True)
        self.point, self.tip = point, tip

    def items(self, first: int, count: int) -> list[Item]:
        """At most `count` items from index `first` on, in order."""
        stop = min(first + count, self.tip.items)
        if first >= stop:
            return []
        found = self._database.scan(
            schema.at_height(schema.L1_ITEM, first), schema.at_height(schema.L1_ITEM, stop)
        )
        return [self._item(key, value) for key, value in found]

    def _item(self, key: bytes, value: bytes) -> Item:
        try:
            parts = codec.read_record(codec.decode(value, limit_bytes=_RECORD_BYTES_MAX), 4)
            return Item(
                int.from_bytes(key[1:], "big"),
                codec.read_uint(parts[0], COUNT_BITS),
                codec.read_uint(parts[1], COUNT_BITS),
                codec.read_bytes(parts[2], HASH_BYTES),
                codec.read_string(parts[3], ROWS_BYTES_MAX),
            )
        except InvalidEncoding as error:
            raise schema.bad_value("an item of the L1 queue") from error

    def batch(self, number: int) -> PostedBatch | None:
        """A batch that is final on L1."""
        value = self._database.get(schema.at_height(schema.L1_BATCH, number))
        if value is None:
            return None
        try:
            parts = codec.read_record(codec.decode(value, limit_bytes=_RECORD_BYTES_MAX), 9)
            return PostedBatch(
                number,
                codec.read_uint(parts[0], COUNT_BITS),
                codec.read_uint(parts[1], COUNT_BITS),
                codec.read_bytes(parts[2], HASH_BYTES),
                codec.read_uint(parts[3], COUNT_BITS),
                codec.read_bytes(parts[4], HASH_BYTES),
                codec.read_uint(parts[5], COUNT_BITS),
                codec.read_bytes(parts[6], HASH_BYTES),
                codec.read_uint(parts[7], COUNT_BITS),
                codec.read_bytes(parts[8], HASH_BYTES),
            )
        except InvalidEncoding as error:
            raise schema.bad_value(f"batch {number} of the L1 facts") from error


def _item_value(item: Item) -> bytes:
    return codec.encode((item.l1_number, item.time, item.queue_hash, item.rows))


def _batch_value(posted: PostedBatch) -> bytes:
    return codec.encode(astuple(posted)[1:])
