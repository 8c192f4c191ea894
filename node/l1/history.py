"""What a settlement contract has told, read once from L1: its batches, its queue, what it paid.

What lives here: the logs of one contract up to one L1 block, folded and compared with what the
contract holds there. What must never live here: a second fold (`facts` has it), blobs, or what a
batch means. A node follows L1 with `watcher.py`; this is for wallets, and for whoever has nothing
yet.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Final

from consensus.block import HASH_ZERO
from consensus.rollup.origin import Item
from node.exceptions import NodeError
from node.l1.client import LATEST, Client, Committed, L1Block, Paid, in_spans
from node.l1.contract import Summary
from node.l1.deployment import Deployment
from node.l1.facts import fold
from node.l1.surface import L1
from storage.l1_facts import PostedBatch, Tip

NOT_ON_L1: Final = 7782
L1_MOVED: Final = 7783

SPAN_BLOCKS: Final = 10_000
SUMMARY_AT: Final = 3
"""Where a summary's fields begin in a `PostedBatch`."""


@dataclass(frozen=True, slots=True)
class History:
    """As of the L1 block `tip`. `batches`: from 1 to the last committed one, `summaries`: theirs
    behind that of genesis, so by number; `final` is the number of the last finalized batch."""

    tip: L1Block
    batches: tuple[PostedBatch, ...]
    summaries: tuple[Summary, ...]
    final: int
    frozen: bool
    items: tuple[Item, ...]
    paid: frozenset[Paid]

    def batch_of(self, height: int) -> int | None:
        """The committed batch that has this block."""
        number = bisect_left(self.summaries, height, lo=1, key=lambda one: one.last_height)
        return number if number < len(self.summaries) else None

    def first_height(self, number: int) -> int:
        """Of a batch."""
        return self.summaries[number - 1].last_height + 1

    def hash_before(self, index: int) -> bytes:
        """The queue's hash in front of an item."""
        return self.items[index - 1].queue_hash if index else HASH_ZERO


async def read_history(l1: L1, deployment: Deployment, tag: str = LATEST) -> History:
    """What the contract told up to the block that `tag` names now.

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
    await _check_figures(client, tip.number, change.tip)
    posted = [change.batches[number] for number in range(1, change.tip.committed + 1)]
    batches = tuple(one for one in posted if one)
    genesis = [one.summary for one in told if isinstance(one, Committed) and one.number == 0]
    summaries = (*genesis, *(Summary(*astuple(one)[SUMMARY_AT:]) for one in batches))
    history = History(
        tip, batches, summaries, change.tip.finalized, change.tip.frozen,
        tuple(change.items), frozenset(one for one in told if isinstance(one, Paid)),
    )  # fmt: skip
    await check_summaries(client, history, {history.final, change.tip.committed})
    return history


async def _check_figures(client: Client, number: int, told: Tip) -> None:
    """Logs are a client's word; the contract's storage at the same block is asked as well."""
    held = await client.figures(number)
    logs = (told.items, told.committed, told.finalized, told.frozen)
    if logs != astuple(held):
        text = f"the logs tell items, batches, final, frozen {logs}, the contract holds {held}"
        raise NodeError(NOT_ON_L1, f"{text}; ask another execution client")


async def check_summaries(client: Client, history: History, numbers: Iterable[int]) -> None:
    """7782: the contract keeps another hash for one of these batches. A request for each."""
    for number in numbers:
        held = await client.word("summaries", number, at=history.tip.number)
        if [one.hash for one in history.summaries[number : number + 1]] != [held]:
            text = f"the contract holds another summary of batch {number} than the logs tell"
            raise NodeError(NOT_ON_L1, f"{text}; ask another execution client")


async def check_still(client: Client, history: History) -> None:
    """7783: what was read has been reorganised away meanwhile."""
    block = await client.block(history.tip.number)
    if block is None or block.hash != history.tip.hash:
        text = f"L1 block {history.tip.number} was replaced while its batches were read"
        raise NodeError(L1_MOVED, f"{text}; begin again, or read what is finalized")
