"""The embedded L1 as JSON-RPC: the subset of `eth_` that every execution client answers.

What lives here: reading params, writing results. What must never live here: blocks or rules.

Differences from an execution client that can be noticed: the EVM is Prague's while the pool follows
the fork of `sidecar_version` (EIP-7823, 7883, 7939 and 7951 are missing); no uncles, withdrawals,
proofs of state or filters. `eth_estimateGas` runs the call and adds what a transaction costs.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from eth._utils.address import generate_contract_address
from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI
from eth.exceptions import HeaderNotFound, TransactionNotFound
from eth.vm.message import Message
from eth_utils import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from consensus.exceptions import ConsensusError
from node.exceptions import NodeError
from node.l1.embedded.chain import GAS_LIMIT, EmbeddedChain
from node.l1.embedded.kept import KeptDatabase
from node.l1.surface import (
    L1_UNREACHABLE,
    METHOD_UNKNOWN,
    PARAMS_WRONG,
    REFUSED,
    REVERTED,
    L1Error,
    as_hex,
    check_method,
    from_hex,
    revert_reason,
)
from node.l1.transactions import BLOB, GAS_PER_BLOB, split

LOG_BLOCKS_MAX: Final = 10_000
NO_ADDRESS: Final = bytes(20)
SUCCESS: Final = b"\x01"


class EmbeddedL1:
    """`request` over an `EmbeddedChain`. `automine`: a block for each transaction.

    `answer` is the same without `await`. `is_down` simulates an outage: every request raises 7721.
    """

    def __init__(
        self,
        balances: Mapping[bytes, int],
        *,
        clock: Callable[[], int] = lambda: int(time.time()),
        automine: bool = True,
        database: KeptDatabase | None = None,
        **settings: int,
    ) -> None:
        self.chain: Final = EmbeddedChain(balances, clock=clock, database=database, **settings)
        self.automine = automine
        self.is_down = False

    async def request(self, method: str, *params: Any) -> Any:
        """As `surface.L1.request`; a request takes 1 to 30 ms of this thread."""
        return self.answer(method, *params)

    def answer(self, method: str, *params: Any) -> Any:
        if self.is_down:
            raise NodeError(L1_UNREACHABLE, f"no answer to {method}: the embedded L1 is down")
        check_method(method)
        function = getattr(self, "_" + method.partition("_")[2], None)
        if function is None:
            raise L1Error(METHOD_UNKNOWN, f"the method {method} does not exist")
        try:
            return function(*params)
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise L1Error(PARAMS_WRONG, f"params of {method}: {error}") from error

    # The chain

    def _chainId(self) -> str:
        return hex(self.chain.chain_id)

    def _version(self) -> str:
        return str(self.chain.chain_id)

    def _clientVersion(self) -> str:
        return "rialto-embedded/py-evm"

    def _config(self) -> dict[str, Any]:
        fork = "osaka" if self.chain.pool.sidecar_version else "prague"
        current = {"activationTime": 0, "chainId": self._chainId(), "forkName": fork}
        return {"current": current, "next": None, "last": None}

    def _blockNumber(self) -> str:
        return hex(self.chain.head.block_number)

    def _getBlockByNumber(self, tag: str, full: bool = False) -> dict[str, Any] | None:
        header = self._header(tag)
        return None if header is None else self._block(header, full)

    def _getBlockByHash(self, block_hash: str, full: bool = False) -> dict[str, Any] | None:
        try:
            header = self.chain.chain.get_block_header_by_hash(from_hex(block_hash))
        except HeaderNotFound:
            return None
        return self._block(header, full)

    def _header(self, tag: str) -> BlockHeaderAPI | None:
        numbers = {
            "latest": self.chain.head.block_number,
            "pending": self.chain.head.block_number,
            "safe": self.chain.safe_number,
            "finalized": self.chain.finalized_number,
            "earliest": 0,
        }
        number = numbers[tag] if tag in numbers else int(tag, 16)
        if number > numbers["latest"]:
            return None
        return self.chain.chain.get_canonical_block_header_by_number(number)

    def _block(self, header: BlockHeaderAPI, full: bool) -> dict[str, Any]:
        block = self.chain.chain.get_block_by_header(header)
        transactions = [
            _transaction(one, block, index) if full else as_hex(one.hash)
            for index, one in enumerate(block.transactions)
        ]
        return {
            "number": hex(header.block_number),
            "hash": as_hex(header.hash),
            "parentHash": as_hex(header.parent_hash),
            "timestamp": hex(header.timestamp),
            "stateRoot": as_hex(header.state_root),
            "gasUsed": hex(header.gas_used),
            "gasLimit": hex(header.gas_limit),
            "baseFeePerGas": hex(header.base_fee_per_gas),
            "blobGasUsed": hex(header.blob_gas_used),
            "excessBlobGas": hex(header.excess_blob_gas),
            "transactions": transactions,
        }

    # Accounts and calls

    def _state(self, tag: str = "latest") -> Any:
        header = self._header(tag)
        if header is None:
            raise L1Error(REFUSED, f"unknown block {tag}")
        return self.chain.chain.get_vm(header).state

    def _getBalance(self, address: str, tag: str = "latest") -> str:
        return hex(self._state(tag).get_balance(from_hex(address)))

    def _getCode(self, address: str, tag: str = "latest") -> str:
        return as_hex(self._state(tag).get_code(from_hex(address)))

    def _getStorageAt(self, address: str, slot: str, tag: str = "latest") -> str:
        value = self._state(tag).get_storage(from_hex(address), int(slot, 16))
        return as_hex(value.to_bytes(32, "big"))

    def _getTransactionCount(self, address: str, tag: str = "latest") -> str:
        nonce = self._state(tag).get_nonce(from_hex(address))
        waiting = self.chain.pool.count(from_hex(address)) if tag == "pending" else 0
        return hex(nonce + waiting)

    def _call(self, call: dict[str, Any], tag: str = "latest") -> str:
        return as_hex(self._run(call, tag).output)

    def _estimateGas(self, call: dict[str, Any], tag: str = "latest") -> str:
        data = from_hex(call.get("input") or call.get("data") or "0x")
        zeros = data.count(0)
        intrinsic = 21_000 + 4 * zeros + 16 * (len(data) - zeros)
        if not call.get("to"):
            intrinsic += 32_000 + 2 * ((len(data) + 31) // 32)  # EIP-2, EIP-3860
        floor = 21_000 + 10 * zeros + 40 * (len(data) - zeros)  # EIP-7623
        used = self._run(call, tag).get_gas_used()
        # 63/64 of the gas reach an inner call, and refunds come last: leave room for both.
        return hex(max(floor, intrinsic + used + used // 32))

    def _run(self, call: dict[str, Any], tag: str) -> Any:
        header = self._header(tag)
        if header is None:
            raise L1Error(REFUSED, f"unknown block {tag}")
        vm = self.chain.next_vm(header)
        to, sender = from_hex(call.get("to", "0x")), from_hex(call.get("from", as_hex(NO_ADDRESS)))
        context = vm.state.get_transaction_context_class()(
            gas_price=0,
            origin=sender,
            blob_versioned_hashes=tuple(map(from_hex, call.get("blobVersionedHashes", ()))),
        )
        run = vm.state.computation_class
        snapshot = vm.state.snapshot()
        if to:
            message = _message(call, sender, to, vm.state.get_code(to))
            computation = run.apply_message(vm.state, message, context)
        else:
            message = _creation(call, sender, vm.state.get_nonce(sender))
            computation = run.apply_create_message(vm.state, message, context)
        vm.state.revert(snapshot)
        if computation.is_error:
            text = f"execution reverted: {revert_reason(computation.output)}"
            raise L1Error(REVERTED, text, computation.output)
        return computation

    # Fees

    def _blobBaseFee(self) -> str:
        return hex(self.chain.blob_fee)

    def _maxPriorityFeePerGas(self) -> str:
        return hex(self.chain.tip_floor)

    def _gasPrice(self) -> str:
        return hex(self.chain.next_base_fee + self.chain.tip_floor)

    def _feeHistory(self, blocks: Any, newest: str, percentiles: Any = ()) -> dict[str, Any]:
        last = self._header(newest)
        if last is None:
            raise L1Error(REFUSED, f"unknown block {newest}")
        count = min(int(blocks, 16) if isinstance(blocks, str) else blocks, 1024)
        first = max(0, last.block_number - count + 1)
        headers = [
            self.chain.block_at(number).header for number in range(first, last.block_number + 1)
        ]
        after = self.chain.next_vm(last)
        fees = [self.chain.chain.get_vm(header).state.blob_base_fee for header in headers]
        return {
            "oldestBlock": hex(first),
            "baseFeePerGas": [hex(one.base_fee_per_gas) for one in headers]
            + [hex(after.get_header().base_fee_per_gas)],
            "baseFeePerBlobGas": [*map(hex, fees), hex(self.chain.blob_fee)],
            "gasUsedRatio": [one.gas_used / one.gas_limit for one in headers],
            "reward": [[hex(self.chain.tip_floor)] * len(percentiles) for _ in headers],
        }

    # Transactions

    def _sendRawTransaction(self, raw: str) -> str:
        try:
            sent = from_hex(raw)
            canonical, sidecar = split(sent)
            vm = self.chain.chain.get_vm(self.chain.head)
            transaction = vm.get_transaction_builder().decode(canonical)
            transaction.validate()
            nonce = vm.state.get_nonce(transaction.sender)
            balance = vm.state.get_balance(transaction.sender)
        except (ValidationError, RLPException, ConsensusError, NodeError) as error:
            raise L1Error(REFUSED, f"invalid transaction: {error}") from error
        if transaction.chain_id != self.chain.chain_id:
            raise L1Error(REFUSED, f"invalid chain id {transaction.chain_id}")
        if self._find(transaction.hash) is not None:
            raise L1Error(REFUSED, "already known")
        if balance < _cost(transaction):
            raise L1Error(REFUSED, "insufficient funds for gas * price + value")
        self.chain.pool.add(transaction, sidecar, sent, nonce)
        if self.automine:
            self.chain.mine()
        return as_hex(transaction.hash)

    def _find(self, transaction_hash: bytes) -> tuple[BlockAPI, int] | None:
        """The canonical block with the transaction. py-evm's index keeps entries of orphans."""
        try:
            number, index = self.chain.chain.get_canonical_transaction_index(transaction_hash)
            block = self.chain.block_at(number)
        except (TransactionNotFound, HeaderNotFound):
            return None
        held = block.transactions
        found = index < len(held) and held[index].hash == transaction_hash
        return (block, index) if found else None

    def _getTransactionByHash(self, transaction_hash: str) -> dict[str, Any] | None:
        found = self._find(from_hex(transaction_hash))
        if found is not None:
            return _transaction(found[0].transactions[found[1]], *found)
        waiting = self.chain.pool.find(from_hex(transaction_hash))
        return waiting and _transaction(waiting, None, 0)

    def _getTransactionReceipt(self, transaction_hash: str) -> dict[str, Any] | None:
        found = self._find(from_hex(transaction_hash))
        if found is None:
            return None
        block, index = found
        receipts = block.get_receipts(self.chain.chain.chaindb)
        before = receipts[index - 1].gas_used if index else 0
        transaction, receipt = block.transactions[index], receipts[index]
        made = None
        if not transaction.to:
            made = generate_contract_address(transaction.sender, transaction.nonce)
        answer = {
            "transactionHash": transaction_hash,
            "transactionIndex": hex(index),
            "blockNumber": hex(block.number),
            "blockHash": as_hex(block.hash),
            "from": as_hex(transaction.sender),
            "to": as_hex(transaction.to) if transaction.to else None,
            "contractAddress": made and as_hex(made),
            "gasUsed": hex(receipt.gas_used - before),
            "cumulativeGasUsed": hex(receipt.gas_used),
            "effectiveGasPrice": hex(_price(transaction, block)),
            "status": "0x1" if receipt.state_root == SUCCESS else "0x0",
            "type": hex(_kind(transaction)),
            "logs": _logs(block, receipts, index),
        }
        if _kind(transaction) == BLOB:
            fee = self.chain.chain.get_vm(block.header).state.blob_base_fee
            answer["blobGasUsed"] = hex(GAS_PER_BLOB * len(transaction.blob_versioned_hashes))
            answer["blobGasPrice"] = hex(fee)
        return answer

    def _getLogs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for header in self._log_headers(query):
            if not header.bloom:
                continue
            block = self.chain.chain.get_block_by_header(header)
            receipts = block.get_receipts(self.chain.chain.chaindb)
            for index in range(len(receipts)):
                found += [one for one in _logs(block, receipts, index) if _is_asked(one, query)]
        return found

    def _log_headers(self, query: dict[str, Any]) -> list[BlockHeaderAPI]:
        if "blockHash" in query:
            try:
                return [self.chain.chain.get_block_header_by_hash(from_hex(query["blockHash"]))]
            except HeaderNotFound:
                raise L1Error(REFUSED, "unknown block") from None
        first = self._header(query.get("fromBlock", "latest"))
        last = self._header(query.get("toBlock", "latest"))
        if first is None or last is None:
            raise L1Error(REFUSED, "unknown block")
        if last.block_number - first.block_number >= LOG_BLOCKS_MAX:
            raise L1Error(REFUSED, f"logs of more than {LOG_BLOCKS_MAX} blocks; ask for fewer")
        numbers = range(first.block_number, last.block_number + 1)
        return [self.chain.block_at(number).header for number in numbers]


def _message(call: dict[str, Any], sender: bytes, to: bytes, code: bytes) -> Any:
    return Message(
        gas=int(call.get("gas", hex(GAS_LIMIT)), 16),
        to=to,
        sender=sender,
        value=int(call.get("value", "0x0"), 16),
        data=from_hex(call.get("input") or call.get("data") or "0x"),
        code=code,
    )


def _creation(call: dict[str, Any], sender: bytes, nonce: int) -> Any:
    return Message(
        gas=int(call.get("gas", hex(GAS_LIMIT)), 16),
        to=b"",
        sender=sender,
        value=int(call.get("value", "0x0"), 16),
        data=b"",
        code=from_hex(call.get("input") or call.get("data") or "0x"),
        create_address=generate_contract_address(sender, nonce),
    )


def _transaction(transaction: Any, block: BlockAPI | None, index: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "hash": as_hex(transaction.hash),
        "type": hex(_kind(transaction)),
        "nonce": hex(transaction.nonce),
        "from": as_hex(transaction.sender),
        "to": as_hex(transaction.to) if transaction.to else None,
        "value": hex(transaction.value),
        "gas": hex(transaction.gas),
        "input": as_hex(transaction.data),
        "maxFeePerGas": hex(transaction.max_fee_per_gas),
        "maxPriorityFeePerGas": hex(transaction.max_priority_fee_per_gas),
        "blockNumber": block and hex(block.number),
        "blockHash": block and as_hex(block.hash),
        "transactionIndex": block and hex(index),
    }
    if _kind(transaction) == BLOB:
        answer["maxFeePerBlobGas"] = hex(transaction.max_fee_per_blob_gas)
        answer["blobVersionedHashes"] = [as_hex(one) for one in transaction.blob_versioned_hashes]
    return answer


def _logs(block: BlockAPI, receipts: tuple[ReceiptAPI, ...], index: int) -> list[dict[str, Any]]:
    first = sum(len(receipt.logs) for receipt in receipts[:index])
    return [
        {
            "address": as_hex(log.address),
            "topics": [as_hex(topic.to_bytes(32, "big")) for topic in log.topics],
            "data": as_hex(log.data),
            "blockNumber": hex(block.number),
            "blockHash": as_hex(block.hash),
            "transactionHash": as_hex(block.transactions[index].hash),
            "transactionIndex": hex(index),
            "logIndex": hex(first + at),
            "removed": False,
        }
        for at, log in enumerate(receipts[index].logs)
    ]


def _is_asked(log: dict[str, Any], query: dict[str, Any]) -> bool:
    addresses = query.get("address")
    if addresses is not None:
        wanted = [addresses] if isinstance(addresses, str) else addresses
        if log["address"] not in [one.lower() for one in wanted]:
            return False
    for at, topic in enumerate(query.get("topics", ())):
        choices = [topic] if isinstance(topic, str) else topic
        if choices is not None and (at >= len(log["topics"]) or log["topics"][at] not in choices):
            return False
    return True


def _price(transaction: Any, block: BlockAPI) -> int:
    base = block.header.base_fee_per_gas
    tip = min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - base)
    return int(base + tip)


def _cost(transaction: Any) -> int:
    """Wei that the sender must have, whatever the block asks."""
    blobs = len(transaction.blob_versioned_hashes) if _kind(transaction) == BLOB else 0
    blob_wei = blobs and blobs * GAS_PER_BLOB * transaction.max_fee_per_blob_gas
    return int(transaction.gas * transaction.max_fee_per_gas + transaction.value + blob_wei)


def _kind(transaction: Any) -> int:
    return getattr(transaction, "type_id", 0) or 0
