"""What a settlement contract has been told, read once from L1: its batches and its queue.

What lives here: the logs of one contract up to one L1 block, folded and compared with what the
contract holds there; the transaction of a batch. What must never live here: blobs, or what a batch
means. A node follows L1 with `watcher.py`; this is for whoever has nothing yet.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, Final

from consensus.rollup.batch import VERSIONED_HASH_KZG
from consensus.rollup.origin import Item
from node.exceptions import NodeError
from node.l1.client import Client, L1Block, in_spans
from node.l1.contract import Summary, topic
from node.l1.deployment import Deployment
from node.l1.facts import fold
from node.l1.surface import L1, as_hex
from storage.l1_facts import PostedBatch, Tip

NOT_ON_L1: Final = 7782
L1_MOVED: Final = 7783

SPAN_BLOCKS: Final = 10_000
SUMMARY_AT: Final = 3
"""Where a summary's fields begin in a `PostedBatch`."""


@dataclass(frozen=True, slots=True)
class Posted:
    """Batches 1 to the last committed one, and every queue item, as of the L1 block `tip`."""

    tip: L1Block
    batches: tuple[PostedBatch, ...]
    items: tuple[Item, ...]

    @property
    def finalized(self) -> int:
        """How many of the batches the contract has finalized."""
        return sum(1 for batch in self.batches if batch.finalized_in)


@dataclass(frozen=True, slots=True)
class Carrier:
    """The transaction that brought a batch, and its L1 block as `eth_getBlockByNumber` answers."""

    blob_hashes: tuple[bytes, ...]
    gas: int
    blob_gas: int
    block: Mapping[str, Any]


async def read_posted(l1: L1, deployment: Deployment, tag: str) -> Posted:
    """What the contract was told up to the block that `tag` names now.

    Raises `NodeError` 7782 where there is no such block or the contract holds something else, 7753
    for logs that do not follow each other, and what `l1.request` raises.
    """
    client = Client(l1, deployment.contract)
    tip = await client.block(tag)
    if tip is None or tip.number < deployment.block_number:
        text = f"the contract is not in the L1's {tag} block yet; wait, or read up to a later one"
        raise NodeError(NOT_ON_L1, text)
    told = await in_spans(client.told_between, deployment.block_number, tip.number, SPAN_BLOCKS)
    change = fold(Tip(), told, lambda _: None)
    batches = [change.batches[number] for number in range(1, change.tip.committed + 1)]
    posted = Posted(tip, tuple(one for one in batches if one), tuple(change.items))
    await _check(client, change.tip, posted)
    return posted


async def _check(client: Client, told: Tip, posted: Posted) -> None:
    """Logs are a client's word; the contract's storage at the same block is asked as well."""
    number = posted.tip.number
    held = await client.figures(number)
    logs = (told.items, told.committed, told.finalized, told.frozen)
    if logs != astuple(held):
        text = f"the logs tell items, batches, final, frozen {logs}, the contract holds {held}"
        raise NodeError(NOT_ON_L1, f"{text}; ask another execution client")
    for batch in posted.batches:
        summary = Summary(*astuple(batch)[SUMMARY_AT:])
        if await client.word("summaries", batch.number, at=number) != summary.hash:
            text = f"the contract holds another summary of batch {batch.number} than the logs tell"
            raise NodeError(NOT_ON_L1, f"{text}; ask another execution client")


async def check_still(client: Client, posted: Posted) -> None:
    """7783: what was read has been reorganised away meanwhile."""
    block = await client.block(posted.tip.number)
    if block is None or block.hash != posted.tip.hash:
        text = f"L1 block {posted.tip.number} was replaced while its batches were read"
        raise NodeError(L1_MOVED, f"{text}; begin again, or read what is finalized")


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
