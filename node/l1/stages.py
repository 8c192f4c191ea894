"""How final a block is, in the words that everybody uses.

What lives here: heights of the stages `posted safe anchored final`, behind `sequenced sealed
certified`, and the comparison of posted batches with this chain. What must never live here: a
reaction to a foreign batch; it is an alarm, and a person decides.

    posted    a batch with the block is in the newest L1 block: it can still be taken back
    safe      the L1 calls the block of that batch safe
    anchored  the L1 calls it finalized: the data stays
    final     the transaction that finalized the batch is itself in a finalized L1 block

A batch counts only if its last block is ours. Batches hang together by their summaries, so one that
is ours vouches for those before it.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import Final, NamedTuple

from consensus.block import block_hash
from node.chain import LiveChain
from node.l1.facts import Facts
from storage.l1_facts import PostedBatch

SEALED: Final = "sealed"
CERTIFIED: Final = "certified"
FOREIGN_KEPT: Final = 64


class Heights(NamedTuple):
    """The highest block of each stage, genesis at least."""

    posted: int = 0
    safe: int = 0
    anchored: int = 0
    final: int = 0


class Stages:
    """Of one node; `update` after every news from the L1, `kept` after every block."""

    def __init__(self, chain: LiveChain, facts: Facts | None) -> None:
        self.heights = Heights()
        self._chain = chain
        self._facts = facts
        self._foreign: dict[bytes, int] = {}
        self._beyond = False  # the contract has a batch that ends above our head

    def of(self, height: int) -> str:
        """The stage of a sealed block."""
        for name, reached in reversed(self.heights._asdict().items()):
            if 0 < height <= reached:
                return str(name)
        return CERTIFIED if height <= self._chain.certified else SEALED

    def kept(self) -> None:
        """A block more: it may be the last of a batch that is on L1 already."""
        if self._beyond:
            self.update()

    def update(self) -> None:
        if self._facts is None:
            return
        facts = self._facts
        final, latest = facts.final, facts.latest
        newest = facts.batch(latest.committed)
        head = self._chain.blocks.head().height
        self._beyond = newest is not None and newest.last_height > head
        anchored = self._height(final.committed, facts.final_batch)
        self.heights = Heights(
            posted=self._height(latest.committed, facts.batch),
            safe=self._height(self._safe_batches(facts), facts.batch),
            anchored=anchored,
            final=min(anchored, self._height(final.finalized, facts.final_batch)),
        )

    def _safe_batches(self, facts: Facts) -> int:
        number = facts.latest.committed
        while number > facts.final.committed:
            posted = facts.batch(number)
            if posted is not None and posted.committed_in <= facts.safe:
                return number
            number -= 1
        return min(number, facts.latest.committed)

    def _height(self, number: int, batch: Callable[[int], PostedBatch | None]) -> int:
        """The last block of batch `number`, or of the newest one before it that is ours."""
        number = self._batches_up_to(self._chain.blocks.head().height, number, batch)
        while number > 0:
            posted = batch(number)
            if posted is not None and self._is_ours(posted):
                return posted.last_height
            number -= 1
        return 0

    def _batches_up_to(
        self, head: int, number: int, batch: Callable[[int], PostedBatch | None]
    ) -> int:
        """How many of the batches 1 .. number end at or below our head."""

        def end(at: int) -> int:
            posted = batch(at)
            return posted.last_height if posted else 0

        return bisect_right(range(1, number + 1), head, key=end)

    def _is_ours(self, posted: PostedBatch) -> bool:
        blocks = self._chain.blocks
        if posted.last_height < blocks.foundation().height:
            return True  # pruned, or before the snapshot that this node began with
        found = block_hash(blocks.header(posted.last_height))
        if found == posted.last_hash:
            return True
        if posted.batch_hash not in self._foreign:
            self._foreign[posted.batch_hash] = posted.number
            if len(self._foreign) > FOREIGN_KEPT:
                del self._foreign[next(iter(self._foreign))]
            self._chain.alarm(
                f"the contract has batch {posted.number}, whose block {posted.last_height} is "
                f"{posted.last_hash.hex()}, not {found.hex()} as here: somebody else commits, or "
                "this node follows another chain"
            )
        return False
