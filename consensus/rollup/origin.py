"""L1 origins: which items of the L1 queue a block carries. Derivation, not choice.

What lives here: the rule, the proposer's way to obey it, everybody's way to check it. What must
never live here: where L1 blocks and items come from, or whether they are final; the node knows.

Theory. A header names an L1 block, its origin. The block then carries the next items of the queue,
in order, that L1 blocks up to the origin brought: 64 of them, or as many as fit before a block is
full (4012), or all. So whoever knows the queue knows every block's messages. A header has the
queue's hash chain, so a check compares a count and a hash; `apply_block` compares them with the
body. Only a block that stops early for being full needs a look at the state.

What a proposer could still choose is to keep an old origin. Rule 3011 takes its trade away then,
and 3025 its votes, once an item that everybody knows is past the contract's deadline.
Rules and numbers: docs/protocol/blocks.md.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.block import MESSAGES_MAX, Header
from consensus.chain import State
from consensus.commands import ROW
from consensus.exceptions import InvalidBlock, NotIncludable
from consensus.execute import PHASE_MESSAGES
from consensus.sealing import roll_back
from consensus.transition import begin, run

ORIGIN_OTHER: Final = 3021
QUEUE_OTHER: Final = 3022
ITEM_SKIPPED: Final = 3023
ITEM_EARLY: Final = 3024
ITEM_EXPIRED: Final = 3025

ACCOUNT_WORDS: Final = 32
Words: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the L1 queue. `rows`: its group, account 0; `time`: of its L1 block, s."""

    index: int
    l1_number: int
    time: int
    queue_hash: bytes
    rows: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """An L1 block as a header names it; `time` in seconds."""

    number: int
    hash: bytes
    time: int


class AddressOrder:
    """Accounts in the order of their addresses: the hint of a message by bisection.

    The state has the same order as a linked list, whose walk takes a step for each account. An
    index of this memory, not part of it: accounts that a block made and took back are forgotten.
    """

    def __init__(self) -> None:
        self._order: array[int] = array("I")

    def low(self, M: vec[i64], signer: Words) -> int:
        """The account with the largest address that is not above the signer's."""
        self.follow(M)
        place = bisect_right(self._order, signer, key=lambda n: address_at(M, n))
        return self._order[place - 1]  # account 0 has address 0

    def follow(self, M: vec[i64]) -> None:
        """Take in the accounts of this memory: 45 ms for the first 65,536, then what is new."""
        count = int(M[layout.ACCOUNTS])
        if count < len(self._order):
            self._order = array("I", (n for n in self._order if n < count))
        if not self._order:
            self._order = array("I", sorted(range(count), key=lambda n: address_at(M, n)))
        for number in range(len(self._order), count):
            at = address_at(M, number)
            place = bisect_left(self._order, at, key=lambda n: address_at(M, n))
            self._order.insert(place, number)


def address_at(M: vec[i64], account: int) -> Words:
    at = M[layout.AT_ACCOUNTS] + account * ACCOUNT_WORDS + layout.ACCOUNT_ADDRESS
    return int(M[at]), int(M[at + 1]), int(M[at + 2])


def place_messages(
    state: State, time: int, origin: Origin, items: Sequence[Item], order: AddressOrder
) -> bytes:
    """The messages of the next block: `items` with their hints, until the block is full.

    They are executed to see what a hint must be behind an item that made an account, and taken
    back. `items` are those due, in order; at most 64 are used.
    """
    memory = state.memory
    messages = []
    try:
        begin(memory, state.head.height + 1, time, origin.number)
        for item in items[:MESSAGES_MAX]:
            signer = ROW.unpack_from(item.rows)[4:7]
            low = order.low(memory.M, signer)
            rows = item.rows[:8] + low.to_bytes(8, "little") + item.rows[16:]
            try:
                run(memory, rows, PHASE_MESSAGES)
            except NotIncludable as error:
                if error.number != layout.BLOCK_FULL:
                    raise
                break
            messages.append(rows)
    finally:
        roll_back(memory)
    return b"".join(messages)


def is_full(state: State, header: Header, messages: bytes) -> bool:
    """Whether a block with these messages takes no more of them. False if it can't have them."""
    memory = state.memory
    try:
        begin(memory, header.height, header.time, header.l1_number)
        run(memory, messages, PHASE_MESSAGES)
        return bool(memory.S[layout.S_DIRTY] >= memory.M[layout.LEAVES_MAX])
    except NotIncludable:
        return False
    finally:
        roll_back(memory)


def check_origin_block(header: Header, block: Origin) -> None:
    """3021: `block` is the final L1 block of the header's number."""
    if (header.l1_hash, header.l1_time) != (block.hash, block.time):
        text = f"its L1 origin {block.number} has hash {block.hash.hex()}, time {block.time}"
        raise InvalidBlock(ORIGIN_OTHER, f"{text} on the L1 that this node follows")


def check_queue(
    parent: Header, header: Header, due: Sequence[Item], fills: Callable[[], bool]
) -> None:
    """3022 .. 3024: the block consumes the items that are due. `due`: at most 64, from the first
    that the parent left, of L1 blocks up to the header's origin. `fills`: see `is_full`."""
    taken = header.l1_messages - parent.l1_messages
    if taken > len(due):
        text = f"{taken} L1 messages where its origin {header.l1_number} brings {len(due)}"
        raise InvalidBlock(ITEM_EARLY, text)
    expected = due[taken - 1].queue_hash if taken > 0 else parent.l1_queue_hash
    if taken >= 0 and header.l1_queue_hash != expected:
        text = f"its {taken} L1 messages are not the items {parent.l1_messages} and on"
        raise InvalidBlock(QUEUE_OTHER, f"{text} of the L1 queue")
    if taken < len(due) and not fills():
        first = header.l1_messages
        text = f"it leaves item {first} of the L1 queue, which its origin {header.l1_number} brings"
        raise InvalidBlock(ITEM_SKIPPED, text)


def check_deadline(header: Header, left: Item, deadline_s: int) -> None:
    """3025: the first item that the block leaves has waited longer than the contract allows."""
    if left.l1_number > header.l1_number and header.time > 1000 * (left.time + deadline_s):
        text = f"item {left.index} of the L1 queue waits since {left.time}, deadline {deadline_s} s"
        raise InvalidBlock(ITEM_EXPIRED, f"{text}, and the origin stays at {header.l1_number}")
