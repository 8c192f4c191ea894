"""What this node knows of its contract: what is final, and what the newest L1 blocks add to it.

What lives here: folding what the contract told into figures and batches; the read side for
everybody. What must never live here: requests, or a decision.

Theory. Two layers. What the L1 finalized is stored and is never taken back. Above it lie the
blocks of the window, each with what was told in it; a reorganisation replaces the end of the
window, and the upper layer is folded anew from what is left.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, field, replace
from typing import Final, NamedTuple

from consensus.block import MESSAGES_MAX, queue_hash
from consensus.exceptions import InvalidBlock
from consensus.rollup.origin import Item, Origin
from node.exceptions import NodeError
from node.l1.client import Committed, Finalized, Frozen, L1Block, Reverted, Told
from storage.l1_facts import L1Facts, PostedBatch, Tip

L1_INCONSISTENT: Final = 7753

KNOWN_KEPT: Final = 4096


@dataclass
class Change:
    """What some told events make of a `Tip`."""

    tip: Tip
    items: list[Item] = field(default_factory=list)
    batches: dict[int, PostedBatch | None] = field(default_factory=dict)


class Seen(NamedTuple):
    """A block of the window, and what the contract told in it."""

    block: L1Block
    told: list[Told]


def fold(
    tip: Tip, told: Iterable[Told], batch: Callable[[int], PostedBatch | None]
) -> Change:
    """`told` on top of `tip`, which what was paid does not change. `batch`: those that `tip`
    counts. Raises `NodeError` 7753 for events that do not follow each other: some are missing."""
    change = Change(tip)
    for one in told:
        if isinstance(one, Item):
            _queue(change, one)
        elif isinstance(one, Committed):
            _commit(change, one)
        elif isinstance(one, Finalized):
            known = change.batches.get(one.number) or batch(one.number)
            if known is None or one.number != change.tip.finalized + 1:
                raise _gap(f"batch {one.number} is finalized behind {change.tip.finalized}")
            change.batches[one.number] = replace(known, finalized_in=one.l1_number)
            change.tip = change.tip._replace(finalized=one.number)
        elif isinstance(one, Reverted):
            _take_back(change, one.committed)
        elif isinstance(one, Frozen):
            _take_back(change, one.finalized)
            change.tip = change.tip._replace(frozen=True)
    return change


def _queue(change: Change, item: Item) -> None:
    if item.index != change.tip.items:
        raise _gap(f"item {item.index} comes behind {change.tip.items} items")
    try:
        expected = queue_hash(change.tip.queue_hash, item.rows)
    except InvalidBlock as error:
        raise _gap(f"item {item.index} is no group: {error.text}") from error
    if expected != item.queue_hash:
        raise _gap(f"item {item.index} has another queue hash than its rows")
    change.items.append(item)
    change.tip = change.tip._replace(items=item.index + 1, queue_hash=item.queue_hash)


def _commit(change: Change, one: Committed) -> None:
    if one.number == 0:
        return  # genesis: the contract's making
    if one.number != change.tip.committed + 1:
        raise _gap(f"batch {one.number} comes behind {change.tip.committed}")
    change.batches[one.number] = PostedBatch(one.number, one.l1_number, 0, *astuple(one.summary))
    change.tip = change.tip._replace(committed=one.number)


def _take_back(change: Change, last: int) -> None:
    for number in range(last + 1, change.tip.committed + 1):
        change.batches[number] = None
    change.tip = change.tip._replace(committed=last)


def _gap(why: str) -> NodeError:
    text = f"the L1's logs of the contract do not fit together: {why}"
    return NodeError(L1_INCONSISTENT, f"{text}; ask another execution client")


class Facts:
    """Read anywhere on the loop; written by the watcher."""

    def __init__(self, store: L1Facts, now_ms: int) -> None:
        self._store: Final = store
        self.window: list[Seen] = []
        self.safe = 0
        """Number of the L1's safe block, as far as it is known."""
        self._latest = Change(store.tip)
        self._known: deque[tuple[int, int]] = deque([(store.tip.items, now_ms)], KNOWN_KEPT)

    @property
    def finalized(self) -> Origin | None:
        """The newest final L1 block whose facts are all here."""
        return self._store.point

    @property
    def head(self) -> Origin | None:
        """The newest L1 block whose facts are here."""
        return self.window[-1].block.origin if self.window else self._store.point

    @property
    def final(self) -> Tip:
        """The contract's figures after `finalized`."""
        return self._store.tip

    @property
    def latest(self) -> Tip:
        """The contract's figures after `head`; a reorganisation may take them back."""
        return self._latest.tip

    def items(self, first: int, count: int) -> list[Item]:
        """Final queue items from index `first` on."""
        return self._store.items(first, count)

    def due(self, first: int, origin: int) -> list[Item]:
        """Items from `first` on that L1 blocks up to `origin` brought: what one block may carry."""
        items = self._store.items(first, MESSAGES_MAX)
        return items[: bisect_right(items, origin, key=lambda item: item.l1_number)]

    def known_since(self, index: int) -> int:
        """When this node learnt that the item is final, ms; when it started, if that was later."""
        return next(ms for items, ms in self._known if items > index)

    def batch(self, number: int) -> PostedBatch | None:
        """A batch that the contract holds after `head`."""
        if number in self._latest.batches:
            return self._latest.batches[number]
        return self._store.batch(number)

    def final_batch(self, number: int) -> PostedBatch | None:
        """A batch as the contract holds it after `finalized`."""
        return self._store.batch(number)

    # What the watcher does

    def put_window(self, window: list[Seen], latest: Change) -> None:
        """The blocks above `finalized`, and what they make of the final figures."""
        self.window, self._latest = window, latest

    def note_final(self, items: int, now_ms: int) -> None:
        """So many items are final. Before they are stored: a thread does that, and others look."""
        if items > self._known[-1][0]:
            self._known.append((items, now_ms))
