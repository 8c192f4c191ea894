"""What a settlement contract has told since it was made, read from L1's logs alone.

What lives here: its events in order, and what follows from them: batches, the queue, what was paid.
What must never live here: trust in an event where the contract's storage can be asked (it is: every
summary that is used is compared with the hash that the contract keeps), or reorganisations: this is
read once, at one head, for one command.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from node.exceptions import NodeError
from node.l1.client import Client, in_spans
from node.l1.contract import Summary, read_event, topic
from node.l1.deployment import Deployment
from node.l1.surface import L1

HISTORY_DIFFERS: Final = 7795
SPAN_BLOCKS: Final = 10_000
EVENTS: Final = (
    "Committed", "Finalized", "Reverted", "Queued", "Withdrawn", "Frozen", "Exited", "Refunded",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the L1 queue. `before` is the queue hash in front of it."""

    index: int
    sender: bytes
    before: bytes
    queue_hash: bytes
    time: int
    rows: bytes
    block: int


@dataclass(slots=True)
class History:
    """`summaries` of what is committed now, from batch 0; `final` is how far it is finalized."""

    head: int
    summaries: list[Summary] = field(default_factory=list)
    final: int = 0
    items: list[Item] = field(default_factory=list)
    claimed: set[int] = field(default_factory=set)
    exited: set[tuple[int, int]] = field(default_factory=set)
    refunded: set[int] = field(default_factory=set)
    frozen: bool = False

    def batch_of(self, height: int) -> int | None:
        """The committed batch that has this block."""
        for number in range(1, len(self.summaries)):
            if height <= self.summaries[number].last_height:
                return number
        return None

    def first_height(self, number: int) -> int:
        """Of a batch."""
        return self.summaries[number - 1].last_height + 1

    def take(self, name: str, said: Mapping[str, Any], block: int) -> None:
        """One event, in the order of the chain."""
        if name == "Committed":
            del self.summaries[said["number"] :]
            self.summaries.append(Summary(*said["summary"]))
        elif name == "Finalized":
            self.final = said["number"]
        elif name == "Reverted":
            del self.summaries[said["committed"] + 1 :]
        elif name == "Queued":
            before = self.items[-1].queue_hash if self.items else bytes(32)
            sender = bytes.fromhex(said["sender"][2:])
            self.items.append(
                Item(said["index"], sender, before, said["queue_hash"], said["time"],
                     said["rows"], block)
            )  # fmt: skip
        elif name == "Withdrawn":
            self.claimed.add(said["index"])
        elif name == "Frozen":
            self.frozen = True
            del self.summaries[said["finalized"] + 1 :]
        elif name == "Exited":
            self.exited.add((said["account"], said["asset"]))
        elif name == "Refunded":
            self.refunded.add(said["index"])


async def read_history(l1: L1, deployment: Deployment) -> History:
    """Everything up to the head. Raises `NodeError` 7795 where it is not what the contract keeps,
    and what `l1.request` raises."""
    head = int(await l1.request("eth_blockNumber"), 16)
    history = History(head)
    names = {"0x" + topic(name).hex(): name for name in EVENTS}

    async def logs(first: int, last: int) -> list[dict[str, Any]]:
        query = {
            "address": "0x" + deployment.contract.hex(), "topics": [list(names)],
            "fromBlock": hex(first), "toBlock": hex(last),
        }  # fmt: skip
        found: list[dict[str, Any]] = await l1.request("eth_getLogs", query)
        return found

    for log in await in_spans(logs, deployment.block_number, head, SPAN_BLOCKS):
        name = names[log["topics"][0]]
        history.take(name, read_event(name, log), int(log["blockNumber"], 16))
    await _check(l1, deployment, history)
    return history


async def _check(l1: L1, deployment: Deployment, history: History) -> None:
    """Head, summaries and queue as the contract keeps them now."""
    client = Client(l1, deployment.contract)
    held = await client.figures(history.head)
    told = (len(history.summaries) - 1, history.final, len(history.items))
    kept = (held.committed, held.finalized, held.items)
    last = history.summaries[-1].hash if history.summaries else b""
    if told != kept or last != await client.word("summaries", kept[0], at=history.head):
        text = f"the logs tell batches, final and queue {told}, the contract keeps {kept}"
        raise NodeError(HISTORY_DIFFERS, f"{text}; ask again, or another L1")
