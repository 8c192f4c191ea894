"""The contract's head, and the calls that would move it.

What lives here: the summary, the queue and the batches as the watcher reads them, made into calls;
whether a batch in the contract is ours. What must never live here: a request, a transaction, or a
memory of what was sent.
"""

from typing import Final

from consensus.block import block_hash
from consensus.rollup.batch import Batch
from consensus.rollup.origin import Item
from node.l1 import contract as law
from node.l1.contract import QUORUM, Place, Signatures, Summary
from node.l1.deployment import Deployment
from node.l1.facts import Facts
from node.l1.transactions import Call
from storage.blocks import Blocks
from storage.exceptions import StorageRefused
from storage.l1_facts import PostedBatch

COMMIT_GAS: Final = 120_000
MEMBER_GAS: Final = 6_000
"""A commit, and what each member of the committee adds (docs/protocol/settlement.md, 8)."""
FINALIZE_GAS: Final = 80_000


class ContractHead:
    """As of the newest L1 block that the watcher has read. `genesis`: summary 0."""

    def __init__(self, facts: Facts, deployment: Deployment, genesis: Summary) -> None:
        self._facts = facts
        self._deployment = deployment
        self._genesis = genesis

    @property
    def committed(self) -> int:
        return self._facts.latest.committed

    @property
    def finalized(self) -> int:
        return self._facts.latest.finalized

    def summary(self, number: int) -> Summary | None:
        """The summary of a batch that the contract holds."""
        if number == 0:
            return self._genesis
        posted = self._facts.batch(number)
        return None if posted is None or number > self.committed else summary_of(posted)

    def finalize_call(self, number: int) -> Call | None:
        """None unless `number` is the next to be final."""
        summary = self.summary(number)
        if summary is None or self.finalized != number - 1:
            return None
        data = law.call("finalize", number, summary)
        return Call(self._deployment.contract, data, 0, FINALIZE_GAS)

    def commit_call(self, batch: Batch, signed: Signatures) -> Call | None:
        """None unless the batch is the next, on top of the one that the contract holds."""
        previous = self.summary(batch.number - 1)
        place = self._place(batch.l1_messages)
        if previous is None or place is None or self.committed != batch.number - 1:
            return None
        if batch.parent_hash != previous.last_hash:
            return None
        data = law.call("commit", law.batch_words(batch), previous, place, signed)
        gas = COMMIT_GAS + MEMBER_GAS * len(signed.members)
        return Call(self._deployment.contract, data, 0, gas)

    def due_finality(self) -> int | None:
        """The batch whose window has passed, in the mode where that is enough."""
        number, head = self.finalized + 1, self._facts.head
        summary, settings = self.summary(number), self._deployment.settings
        if summary is None or head is None or settings.mode != QUORUM:
            return None
        return number if head.time >= summary.time + settings.window_s else None

    def _place(self, count: int) -> Place | None:
        """Where a batch that consumes `count` items leaves the queue."""
        last = self._item(count - 1) if count else None
        if count and last is None:
            return None
        last_time = last.time if last else 0
        following = self._item(count)
        if following is None:
            return Place(last_time) if self._facts.latest.items == count else None
        return Place(last_time, following.queue_hash, following.time)

    def _item(self, index: int) -> Item | None:
        for item in self._facts.items(index, 1):
            return item
        for seen in self._facts.window:
            for told in seen.told:
                if isinstance(told, Item) and told.index == index:
                    return told
        return None


def foreign(posted: PostedBatch, blocks: Blocks, signed: set[bytes], is_known: bool) -> str:
    """Why a batch in the contract is not ours; empty if it is.

    `signed`: hashes of all batches that this node ever signed; `is_known`: one has this number. A
    batch of which we know nothing, after the loss of a disk, is ours if it ends with our block.
    """
    if posted.batch_hash in signed:
        return ""
    name = f"batch {posted.number} in the contract ({posted.batch_hash.hex()})"
    if is_known:
        return f"{name} is not the one that this node signed: somebody else commits"
    if posted.last_height > blocks.head().height:
        return f"{name} ends above this node's head: restore its data, or synchronise it"
    try:
        header = blocks.header(posted.last_height)
    except StorageRefused:
        return ""  # pruned: it was there when it was posted
    if block_hash(header) != posted.last_hash or header.state_root != posted.post_state_root:
        return f"{name} ends with another block {posted.last_height} than this node's"
    return ""


def summary_of(posted: PostedBatch) -> Summary:
    return Summary(
        posted.batch_hash, posted.time, posted.last_hash, posted.last_height,
        posted.post_state_root, posted.l1_messages, posted.withdrawals_root,
    )  # fmt: skip
