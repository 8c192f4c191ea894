"""The backlog: sealed blocks that no batch has yet, how much they are, and where to cut.

What lives here: estimates, the cut of the next batch, the limit above which the exchange only lets
people out. What must never live here: the L1, or the contents of blocks.

Theory. What a batch compresses to is known once it is compressed, which costs a second; so blocks
are weighed by rows and signatures, and the weight is corrected by what the last batches came to. A
batch is due when a blob would be full, or when its oldest block has waited long enough; by size it
takes whole blobs, by age everything there is.

If the L1 takes nothing for hours, unposted trades pile up that only our own disks have. At the cap
orders are refused and whoever wants to cancel or leave is still served; half way down it ends.
"""

from array import array
from dataclasses import dataclass
from typing import Final, NamedTuple

from consensus.block import ROW_BYTES, Block
from consensus.commands import Group
from consensus.da.blobs import BLOB_CARRIES_BYTES
from consensus.da.payload import BLOCKS_MAX
from consensus.layout import KEY_GOVERNANCE, OP_CANCEL, OP_CANCEL_ALL, OP_CANCEL_CLIENT, OP_WITHDRAW
from node.exceptions import NodeError
from node.l1.transactions import BLOBS_PER_TRANSACTION_MAX

COMMITTER_SETTING: Final = 7771
BACKLOG_FULL: Final = 7769

BLOCK_WEIGHT: Final = 16
ROW_WEIGHT: Final = 8
"""Bytes of a block and of a row in a compressed payload, a little more than they take."""
FILL: Final = 0.95
"""Of the blobs that a batch is cut for: the estimate may be that much too low."""
LEARNT: Final = 0.5
"""The share of the last batch in the correction."""
RATIO: Final = (0.2, 2.0)
BLOBS_MAX: Final = 1 << 16
DEADLINE_S_MAX: Final = 86_400
LEAVING: Final = frozenset({OP_CANCEL, OP_CANCEL_ALL, OP_CANCEL_CLIENT, OP_WITHDRAW})
"""Operations that are served at any backlog."""


@dataclass(frozen=True)
class Batching:
    """Blobs of a batch at most; seconds that a block waits at most; blobs' worth of backlog."""

    blobs_max: int = BLOBS_PER_TRANSACTION_MAX
    deadline_s: int = 600
    backlog_blobs: int = 64

    def __post_init__(self) -> None:
        if (
            not 1 <= self.blobs_max <= BLOBS_PER_TRANSACTION_MAX
            or not 1 <= self.deadline_s <= DEADLINE_S_MAX
            or not 2 * self.blobs_max <= self.backlog_blobs <= BLOBS_MAX
        ):
            text = f"1 to {BLOBS_PER_TRANSACTION_MAX} blobs, 1 to {DEADLINE_S_MAX} s"
            raise NodeError(
                COMMITTER_SETTING,
                f"batches take {text}, and a backlog of two batches to {BLOBS_MAX} blobs",
            )


class Cut(NamedTuple):
    """The last block of the next batch, and what all up to it weigh."""

    last: int
    weight: int


def weight_of(block: Block) -> int:
    rows = (len(block.messages) + len(block.commands)) // ROW_BYTES
    return BLOCK_WEIGHT + ROW_WEIGHT * rows + len(block.signatures)


def only_leaves(group: Group) -> bool:
    """Whether a group cancels and withdraws and does nothing else, or is the governor's."""
    if group.key == KEY_GOVERNANCE:
        return True
    return all(code in LEAVING for code in group.operations[::ROW_BYTES])


class Backlog:
    """Weights of the blocks above `posted`, from one height up without a gap."""

    def __init__(self, batching: Batching) -> None:
        self.batching: Final = batching
        self.posted = 0
        self.weight = 0
        self.is_over = False
        self.ratio = 1.0
        self._weights = array("I")

    @property
    def next(self) -> int:
        """The height whose weight is missing next."""
        return self.posted + 1 + len(self._weights)

    @property
    def bytes(self) -> int:
        """An estimate of what the backlog compresses to."""
        return round(self.weight * self.ratio)

    def add(self, block: Block) -> None:
        """The block at `next`; others are left out."""
        if block.header.height == self.next:
            self._weights.append(weight_of(block))
            self.weight += self._weights[-1]
            self._judge()

    def move(self, posted: int) -> None:
        """Blocks up to `posted` are on L1; lower than before after a reorganisation: all anew."""
        done = posted - self.posted
        if done < 0 or done > len(self._weights):
            self._weights = array("I")
        else:
            del self._weights[:done]
        self.posted, self.weight = posted, sum(self._weights)
        self._judge()

    def _judge(self) -> None:
        limit = self.batching.backlog_blobs * BLOB_CARRIES_BYTES
        self.is_over = self.bytes > (limit // 2 if self.is_over else limit)

    def cut(self, last: int, is_old: bool) -> Cut | None:
        """The next batch of blocks up to `last`, if one is due."""
        known = min(last - self.posted, len(self._weights), BLOCKS_MAX)
        room = BLOB_CARRIES_BYTES * FILL / self.ratio
        total = sum(self._weights[:known])
        blobs = min(int(total / room), self.batching.blobs_max)
        if known < 1 or not (blobs or is_old or known == BLOCKS_MAX):
            return None
        if is_old or known == BLOCKS_MAX:
            blobs = self.batching.blobs_max
        weight = taken = 0
        while taken < known and (not taken or weight + self._weights[taken] <= blobs * room):
            weight += self._weights[taken]
            taken += 1
        return Cut(self.posted + taken, weight)

    def learn(self, cut: Cut, length: int) -> None:
        """What a cut came to, compressed."""
        seen = min(max(length / cut.weight, RATIO[0]), RATIO[1])
        self.ratio += LEARNT * (seen - self.ratio)
        self._judge()
