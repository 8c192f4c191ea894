"""The L1 transaction that brought a batch.

What lives here: finding it, and what it says. What must never live here: its blobs' bytes, or what
the contract made of it (`history`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consensus.rollup.batch import VERSIONED_HASH_KZG
from node.exceptions import NodeError
from node.l1.contract import topic
from node.l1.deployment import Deployment
from node.l1.history import NOT_ON_L1
from node.l1.surface import L1, as_hex
from storage.l1_facts import PostedBatch


@dataclass(frozen=True, slots=True)
class Carrier:
    """The transaction that brought a batch, and its L1 block as `eth_getBlockByNumber` answers."""

    blob_hashes: tuple[bytes, ...]
    gas: int
    blob_gas: int
    block: Mapping[str, Any]


async def read_carrier(l1: L1, deployment: Deployment, batch: PostedBatch) -> Carrier:
    """The transaction that committed the batch. Raises `NodeError` 7782."""
    place = hex(batch.committed_in)
    query = {
        "address": as_hex(deployment.contract), "fromBlock": place, "toBlock": place,
        "topics": [as_hex(topic("Committed")), as_hex(batch.number.to_bytes(32, "big"))],
    }  # fmt: skip
    logs = await l1.request("eth_getLogs", query)
    block = await l1.request("eth_getBlockByNumber", place, False)
    try:
        # A guardian may revert it and it may be posted again in one block: the last one counts.
        by_hash = logs[-1]["transactionHash"]
        transaction = await l1.request("eth_getTransactionByHash", by_hash)
        receipt = await l1.request("eth_getTransactionReceipt", by_hash)
        names = tuple(bytes.fromhex(one[2:]) for one in transaction["blobVersionedHashes"])
        if block is None or not names or any(name[0] != VERSIONED_HASH_KZG for name in names):
            raise ValueError("no blobs")
        gas, blob_gas = (int(receipt[key], 16) for key in ("gasUsed", "blobGasUsed"))
    except (LookupError, TypeError, ValueError) as error:
        text = f"the L1 shows no transaction with blobs for batch {batch.number} in block {place}"
        raise NodeError(NOT_ON_L1, f"{text} ({error!r}); ask another execution client") from error
    return Carrier(names, gas, blob_gas, block)
