"""The embedded L1's blocks: mining, epochs, reorganisations, fees.

What lives here: what an L1 does by itself, and the levers of tests: time, reorganisations, fee
spikes. What must never live here: JSON, or any of our protocol.

Theory. Blocks are made by hand and not by py-evm's `mine_all`, which skips the pre-processing that
EIP-2935 and EIP-4788 ask for. The longest chain is the head, so a reorganisation of depth d makes
d + 1 blocks. `safe` and `finalized` move by whole epochs, one and two behind the head's, as when
consensus is healthy; a block below `finalized` never changes, and a request to do so is an error
of the caller. So code that would credit deposits at `latest` fails here as it would on a real L1.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final

from eth.abc import BlockAPI, BlockHeaderAPI
from eth_utils import ValidationError

from consensus.rollup.batch import BLOBS_MAX
from node.exceptions import NodeError
from node.l1.embedded.kept import KeptDatabase
from node.l1.embedded.machine import open_chain
from node.l1.embedded.pool import Pool, is_blob
from node.l1.transactions import GAS_PER_BLOB

REORGANISATION: Final = 7730
CHAIN_SETTING: Final = 7731

EPOCH_BLOCKS: Final = 32
"""Slots of an epoch on mainnet; tests use 4."""
SIDECAR_EPOCHS_KEPT: Final = 4096
"""MIN_EPOCHS_FOR_BLOB_SIDECARS_REQUESTS (EIP-4844): 18 days of mainnet, here of blocks made."""
BLOB_FEE_DIVISOR: Final = 16
"""EIP-7918: a blob (2^17 gas) costs at least what 2^13 execution gas do."""
GAS_LIMIT: Final = 30_000_000
TRANSACTIONS_PER_BLOCK_MAX: Final = 500


class EmbeddedChain:
    """A chain at genesis, or that of `database`. `balances`: wei by address; `clock`: Unix
    seconds."""

    def __init__(
        self,
        balances: Mapping[bytes, int],
        *,
        clock: Callable[[], int],
        chain_id: int = 1337,
        epoch_blocks: int = EPOCH_BLOCKS,
        sidecar_version: int = 1,
        database: KeptDatabase | None = None,
    ) -> None:
        if epoch_blocks < 1 or sidecar_version not in (0, 1):
            text = f"epochs of {epoch_blocks} blocks, sidecars of version {sidecar_version}"
            raise NodeError(CHAIN_SETTING, f"{text}: at least 1 block; version 0 or 1")
        self.chain_id: Final = chain_id
        self.epoch_blocks: Final = epoch_blocks
        self.pool: Final = Pool(sidecar_version, database)
        self.tip_floor = 1
        """Wei per gas: the least tip that gets into a block; raise it for a fee spike."""
        self.blob_fee_floor = 1
        """Wei per blob gas, the same for blobs."""
        self._clock: Final = clock
        self._ahead_s = 0
        self._at_once: Final = nullcontext if database is None else database.at_once
        with self._at_once():
            self.chain: Final = open_chain(chain_id, balances, clock(), GAS_LIMIT, database)
        self.pool.restore(self.chain.get_vm(self.head).get_transaction_builder().decode)

    @property
    def head(self) -> BlockHeaderAPI:
        return self.chain.get_canonical_head()

    @property
    def safe_number(self) -> int:
        return self._epochs_behind(1)

    @property
    def finalized_number(self) -> int:
        return self._epochs_behind(2)

    def _epochs_behind(self, epochs: int) -> int:
        epoch = int(self.head.block_number) // self.epoch_blocks
        return max(0, epoch - epochs) * self.epoch_blocks

    def advance(self, seconds: int) -> None:
        """Let time pass: the next block is that much later than the head."""
        now = max(int(self.head.timestamp), self._clock() + self._ahead_s)
        self._ahead_s = now + seconds - self._clock()

    def mine(self, blocks: int = 1) -> None:
        """The next blocks, the first with what the pool holds and fees allow."""
        for _ in range(blocks):
            self._make(self.head, self._affordable())

    def finalize(self) -> None:
        """Mine until everything in the present head is finalized."""
        number = self.head.block_number
        while self.finalized_number < number:
            self.mine()

    def reorganise(
        self, depth: int, blocks: Sequence[Sequence[Any]] = (), *, keep_dropped: bool = True
    ) -> None:
        """Replace the last `depth` blocks by `depth + 1` others.

        `blocks`: transactions for the first of the new blocks (what cannot be executed is left
        out); the others are empty. Orphaned transactions go back to the pool, or, without
        `keep_dropped`, are lost as real pools lose them. Raises `NodeError` `REORGANISATION` below
        the finalized block.
        """
        number = self.head.block_number - depth
        if depth < 1 or number < self.finalized_number:
            text = f"{depth} blocks back is {number}; finalized is {self.finalized_number}"
            raise NodeError(REORGANISATION, f"{text}: a finalized block never changes")
        if len(blocks) > depth + 1:
            raise NodeError(REORGANISATION, f"{len(blocks)} blocks for {depth + 1} new ones")
        orphaned = [
            transaction
            for at in range(number + 1, number + depth + 1)
            for transaction in self.chain.get_canonical_block_by_number(at).transactions
        ]
        parent = self.chain.get_canonical_block_header_by_number(number)
        for at in range(depth + 1):
            parent = self._make(parent, blocks[at] if at < len(blocks) else ()).header
        # Nothing may be lost in between: what the new blocks hold is not put back.
        held = {transaction.hash for block in blocks for transaction in block}
        for transaction in orphaned:
            if transaction.hash not in held:
                (self.pool.put_back if keep_dropped else self.pool.forget)(transaction)

    def _affordable(self) -> list[Any]:
        base_fee = self.next_base_fee
        return [
            one
            for one in self.pool.ready()[:TRANSACTIONS_PER_BLOCK_MAX]
            if min(one.max_priority_fee_per_gas, one.max_fee_per_gas - base_fee) >= self.tip_floor
            and (not is_blob(one) or one.max_fee_per_blob_gas >= self.blob_fee)
        ]

    def _make(self, parent: BlockHeaderAPI, transactions: Sequence[Any]) -> BlockAPI:
        """A block on `parent` with those transactions that can be executed there."""
        time = max(parent.timestamp + 1, self._clock() + self._ahead_s)
        header = self.chain.create_header_from_parent(parent, timestamp=time)
        vm = self.chain.get_vm(header)
        vm.block_preprocessing(vm.get_block())
        done, receipts = [], []
        for transaction in transactions:
            gas, blob_gas = transaction.gas, _blob_gas(transaction)
            if header.gas_used + gas > header.gas_limit:
                continue
            if header.blob_gas_used + blob_gas > BLOBS_MAX * GAS_PER_BLOB:
                continue
            try:
                receipt, _ = vm.apply_transaction(header, transaction)
            except ValidationError:  # raised before the state is touched: nonce, funds, fees
                continue
            used = vm.add_receipt_to_header(header, receipt)
            header = vm.increment_blob_gas_used(used, transaction)
            done.append(transaction)
            receipts.append(receipt)
        block = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), header, tuple(done), tuple(receipts)
        )
        mined = vm.mine_block(vm.block_postprocessing(block)).block
        with self._at_once():
            imported = self.chain.persist_block(mined).imported_block
            for transaction in done:
                self.pool.remove(transaction)
            self._forget_blobs(mined.number - SIDECAR_EPOCHS_KEPT * self.epoch_blocks)
        self.chain.header = self.chain.create_header_from_parent(self.head)
        return imported

    def _forget_blobs(self, number: int) -> None:
        """Of one block, while the chain grows by one."""
        for transaction in self.block_at(number).transactions if number > 0 else ():
            self.pool.forget(transaction)

    @property
    def next_base_fee(self) -> int:
        """Wei per gas of the next block."""
        return int(self.chain.create_header_from_parent(self.head).base_fee_per_gas)

    @property
    def blob_fee(self) -> int:
        """Wei per blob gas: what the blocks ask for, or the floor of Osaka or of a spike."""
        header = self.chain.create_header_from_parent(self.head)
        floor = self.blob_fee_floor
        if self.pool.sidecar_version == 1:
            floor = max(floor, self.next_base_fee // BLOB_FEE_DIVISOR)
        return max(int(self.chain.get_vm(header).state.blob_base_fee), floor)

    def block_at(self, number: int) -> BlockAPI:
        return self.chain.get_canonical_block_by_number(number)

    def next_vm(self, at: BlockHeaderAPI) -> Any:
        """The machine of a block after `at`, for calls that leave no trace."""
        time = max(at.timestamp + 1, self._clock() + self._ahead_s)
        return self.chain.get_vm(self.chain.create_header_from_parent(at, timestamp=time))


def _blob_gas(transaction: Any) -> int:
    return GAS_PER_BLOB * len(transaction.blob_versioned_hashes) if is_blob(transaction) else 0
