"""Origins in a running node: which one a leader adopts, and whether a block's is right.

What lives here: the rule of `consensus/rollup/origin.py`, fed with what this node's own L1 says is
final. What must never live here: the rule, or anything that trusts a peer about L1.

Theory. A leader adopts the newest final L1 block whenever it opens a block; nothing is done for L1
on the path of a command. A follower whose L1 is behind the block's origin can say nothing: it waits
and does not vote. One whose L1 has that block compares, and refuses by number.

A deadline passes at one moment on L1, but nodes learn at different moments that an item is final.
So an item counts as known only after a grace, and only since this node runs: blocks of the past are
not judged by what is known now, and a node that was restarted lets the chain go on.
"""

from dataclasses import replace
from functools import partial
from typing import Final, Protocol

import trio

from consensus.block import Block
from consensus.chain import State
from consensus.proposal import Opening
from consensus.rollup.origin import (
    AddressOrder,
    Origin,
    check_deadline,
    check_origin_block,
    check_queue,
    is_full,
    place_messages,
)
from consensus.transition import check_header
from node.chain import LiveChain
from node.exceptions import NodeError
from node.l1.client import Client
from node.l1.facts import Facts
from node.machine import Machine

DEADLINE_GRACE_MS: Final = 600_000
"""How long an item must be known to be final before leaving it is a fault."""
BLOCKS_KEPT: Final = 1024


class Origins(Protocol):
    """What the roles ask."""

    def adopt(self, opening: Opening) -> tuple[Opening, bytes]:
        """The opening with its origin, and the messages that this brings."""

    def has_more(self) -> bool:
        """Whether a block opened now would carry messages."""

    async def ready(self) -> None:
        """Return once `adopt` knows what the head's own origin brings: at once, but for a leader
        whose database lost its L1 facts."""

    async def check(self, block: Block) -> bool:
        """Whether the block's origin and messages are right; False: its L1 block is not final
        here yet. Raises `InvalidBlock` 3001 .. 3006 and 3021 .. 3025."""

    def behind(self) -> int:
        """The L1 block that the block checked last waits for; 0 if it does not."""

    async def wait(self) -> None:
        """Return when the L1 has moved."""


class NoL1:
    """A chain without L1, or a follower that was given none: blocks are not compared with it."""

    def adopt(self, opening: Opening) -> tuple[Opening, bytes]:
        return opening, b""

    def has_more(self) -> bool:
        return False

    async def ready(self) -> None:
        return

    async def check(self, block: Block) -> bool:
        return True

    def behind(self) -> int:
        return 0

    async def wait(self) -> None:
        await trio.sleep_forever()


class Derived:
    """Origins and messages from the facts of a watcher."""

    def __init__(
        self,
        chain: LiveChain,
        facts: Facts,
        client: Client,
        machine: Machine,
        deadline_s: int,
        watch: "Watch",
    ) -> None:
        self._behind = 0
        self._chain = chain
        self._facts = facts
        self._client = client
        self._machine = machine
        self._deadline_s = deadline_s
        self._watch = watch
        self._order = AddressOrder()
        self._order.follow(chain.state.memory.M)
        self._blocks: dict[int, Origin] = {}

    # The leader

    def adopt(self, opening: Opening) -> tuple[Opening, bytes]:
        state = self._chain.state
        origin = self._newest(state)
        items = self._facts.due(state.head.l1_messages, origin.number)
        chosen = replace(
            opening, l1_number=origin.number, l1_hash=origin.hash, l1_time=origin.time
        )
        if not items:
            return chosen, b""
        return chosen, place_messages(state, opening.time, origin, items, self._order)

    def has_more(self) -> bool:
        state = self._chain.state
        return bool(self._facts.due(state.head.l1_messages, self._newest(state).number))

    def _newest(self, state: State) -> Origin:
        head, final = state.head, self._facts.finalized
        if final is not None and final.number > head.l1_number and final.time >= head.l1_time:
            return final
        return Origin(head.l1_number, head.l1_hash, head.l1_time)

    async def ready(self) -> None:
        while not self._covers(self._chain.state.head.l1_number):
            await self._watch.changed()

    def _covers(self, number: int) -> bool:
        final = self._facts.finalized
        return number == 0 or (final is not None and final.number >= number)

    # Everybody else

    async def check(self, block: Block) -> bool:
        state, header = self._chain.state, block.header
        check_header(state, header)
        if not self._covers(header.l1_number):
            self._lag(header.l1_number)
            return False
        if header.l1_number != state.head.l1_number:
            origin = await self._final_block(header.l1_number)
            if origin is None:
                self._lag(header.l1_number)
                return False
            check_origin_block(header, origin)
        self._behind = 0
        due = self._facts.due(state.head.l1_messages, header.l1_number)
        fills = False
        if header.l1_messages < state.head.l1_messages + len(due):
            async with self._chain.lock:
                fills = await self._machine.compute(
                    partial(is_full, state, header, block.messages)
                )
        check_queue(state.head, header, due, lambda: fills)
        self._check_left(block)
        return True

    def behind(self) -> int:
        return self._behind

    def _lag(self, number: int) -> None:
        self._behind = number
        self._watch.hurry()

    async def _final_block(self, number: int) -> Origin | None:
        """The final L1 block of this number; None while the L1 is silent."""
        final = self._facts.finalized
        if final is not None and final.number == number:
            return final
        if number not in self._blocks:
            try:
                block = await self._client.block(number)
            except NodeError:
                return None
            if block is None:
                return None
            self._blocks[number] = block.origin
            if len(self._blocks) > BLOCKS_KEPT:
                del self._blocks[next(iter(self._blocks))]
        return self._blocks[number]

    def _check_left(self, block: Block) -> None:
        header = block.header
        left = self._facts.items(header.l1_messages, 1)
        if left and header.time > self._facts.known_since(left[0].index) + DEADLINE_GRACE_MS:
            check_deadline(header, left[0], self._deadline_s)

    async def wait(self) -> None:
        await self._watch.changed()


class Watch(Protocol):
    """Of the watcher: its news."""

    async def changed(self) -> None: ...

    def hurry(self) -> None: ...
