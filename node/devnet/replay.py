"""Send the flow through the doors of a network and see that each command takes its place.

What lives here: which node gets which part, how much is on its way, and the check of every answer.
What must never live here: signing, or what the fills should be.

Theory. A nonce orders the commands of one key; nothing orders those of different wallets but the
leader, and the venue's trades come out only in the venue's order. Two things keep it:

- a node takes the calls of one connection in their order, and a follower passes commands on in the
  order in which it took them. So commands are pipelined on one connection, hundreds in flight;
- before the flow moves on to another node, every command sent so far has its answer.

Each answer states the command's place in the chain; a place that is not the next one stops the
replay. Commands that a node cannot take at the moment (`patience`) are sent again in their order,
once all others have their answers and the nodes are calm; one that was taken in between is out of
place.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import trio

from node.devnet.connection import Answer, Connection, result_of
from node.devnet.fills import Fills
from node.devnet.grants import refused
from node.devnet.orders import Batch, SignedFlow
from node.devnet.patience import PASSES, Patience
from node.exceptions import NodeError
from node.flow.bitstamp import Message
from node.machine import Machine

OUT_OF_PLACE: Final = 7114

COMMANDS_IN_FLIGHT: Final = 2000
COMMANDS_PER_STRETCH: Final = 4000
"""Sent to one node before the next one has its turn."""
MESSAGES_PER_PART: Final = 8192


class Place(msgspec.Struct):
    """One command's answer: its place, or why it has none."""

    height: int = 0
    sequence: int = 0
    operations: int = 0
    events: list[dict[str, Any]] = []
    error: dict[str, Any] | None = None


_places: Final = msgspec.json.Decoder(list[Place])


@dataclass
class Sent:
    """How far the replay is."""

    operations: int = 0  # answered
    commands: int = 0
    height: int = 0  # of the last answer
    began: float = 0.0
    ended: float = 0.0


class Replay:
    """`run`, once the session keys are granted. `doors` are connections, the leader's first."""

    def __init__(
        self,
        flow: SignedFlow,
        messages: Sequence[Message],
        doors: Sequence[Connection],
        advance: Callable[[int], object],
        tell: Callable[[str], object],
    ) -> None:
        """`advance` gets the number of operations that have their places; `tell` why the replay
        waits, and an empty text once it goes on."""
        self._flow = flow
        self.messages: Final = messages
        self._doors = doors
        self._door = doors[0]
        self._advance: Final = advance
        self.patience: Final = Patience(doors[0], tell)
        self._again: list[Batch] = []  # refused for the moment
        self._in_flight = 0
        self._answered = trio.Event()
        self._fault: NodeError | None = None
        self.fills: Final = Fills(messages)
        self.sent: Final = Sent()
        self.eventless: list[int] = []
        """Sequences of operations whose events did not fit the answer; receipts have them."""

    async def run(self, machine: Machine) -> None:
        """Send everything; returns when everything is answered. Raises `NodeError`."""
        self.sent.began = trio.current_time()
        turn = on_turn = 0
        async with trio.open_nursery() as nursery:
            send, receive = trio.open_memory_channel[list[Batch]](1)
            nursery.start_soon(self._sign, machine, send)
            nursery.start_soon(self.patience.watch)
            async for batch in each(receive):
                if on_turn >= COMMANDS_PER_STRETCH:
                    await self._settled(0)
                    turn, on_turn = turn + 1, 0
                    self._door = self._door_of(turn)
                await self._settled(COMMANDS_IN_FLIGHT - len(batch.sizes))
                self._post(batch)
                on_turn += len(batch.sizes)
            await self._settled(0)
            nursery.cancel_scope.cancel()

    def _door_of(self, turn: int) -> Connection:
        """Leader and followers by turns: every second stretch goes through a follower."""
        leader, *followers = self._doors
        return followers[turn // 2 % len(followers)] if turn % 2 and followers else leader

    async def _sign(
        self, machine: Machine, send: "trio.MemorySendChannel[list[Batch]]"
    ) -> None:
        """Sign ahead, in a thread."""
        async with send:
            for at in range(0, len(self.messages), MESSAGES_PER_PART):
                part = self.messages[at : at + MESSAGES_PER_PART]
                make = self._maker(part, machine.now_ms())
                await send.send(await machine.compute(make))

    def _maker(self, part: Sequence[Message], now_ms: int) -> Callable[[], list[Batch]]:
        return lambda: self._flow.batches(part, now_ms)

    async def _settled(self, most: int) -> None:
        """Return when at most so many commands are on their way, none was refused for the moment,
        and the nodes can take more. Raises what an answer showed, and `NodeError` 7119."""
        await self._down_to(most)
        while self._again or self.patience.is_due:
            await self._down_to(0)
            await self.patience.calm()
            again, self._again = sorted(self._again, key=first_of), []
            for batch in again:
                self._post(batch)
            await self._down_to(most)

    async def _down_to(self, most: int) -> None:
        while self._in_flight > most and self._fault is None:
            self._answered = trio.Event()
            await self._answered.wait()
        if self._fault is not None:
            raise self._fault

    def _post(self, batch: Batch) -> None:
        door = self._door
        self._in_flight += len(batch.sizes)

        def done(answer: Answer) -> None:
            self._in_flight -= len(batch.sizes)
            before = self.sent.operations
            try:
                self._take(door, batch, answer)
            except NodeError as error:
                self._fault = self._fault or error  # what follows, follows from the first
            self._advance(self.sent.operations - before)
            self._answered.set()

        door.post("clob_submitBatch", batch.params, done)

    def _take(self, door: Connection, batch: Batch, answer: Answer) -> None:
        """Check every place of a batch. Raises `NodeError` 7111, 7113, 7114."""
        places = _places.decode(result_of(answer, "clob_submitBatch", door.url))
        taken = next((n for n, place in enumerate(places) if place.error), len(places))
        self._take_places(batch, places[:taken])
        for place in places[taken:]:
            if place.error is None:
                text = f"{door.url} took a command behind one that it refused"
                raise NodeError(OUT_OF_PLACE, f"{text}: out of order")
            if place.error["code"] not in PASSES:
                raise refused(door, place.error)
            self.patience.refused(place.error)
        if taken < len(places):
            self._again.append(batch.after(taken))

    def _take_places(self, batch: Batch, places: Sequence[Place]) -> None:
        at = batch.first
        for place, size in zip(places, batch.sizes, strict=False):
            if self.fills.base is None:
                self.fills.base = place.sequence - at
            if (place.sequence, place.operations) != (self.fills.base + at, size):
                text = f"operation {at} of the flow is number {place.sequence} of the chain"
                raise NodeError(OUT_OF_PLACE, f"{text}, not {self.fills.base + at}: out of order")
            if place.events:
                self.fills.hear(place.events)
            else:
                self.eventless += range(place.sequence, place.sequence + size)
            self.patience.taken()
            self.sent.height = max(self.sent.height, place.height)
            self.sent.commands += 1
            at += size
        self.sent.operations += at - batch.first
        self.sent.ended = trio.current_time()

    async def complete(self) -> None:
        """Ask a follower's receipts for the events that no answer had."""
        for sequence in self.eventless:
            receipt = await self._doors[-1].call("chain_getReceipt", sequence=sequence)
            self.fills.hear(receipt["events"])


async def each(parts: "trio.MemoryReceiveChannel[list[Batch]]") -> AsyncIterator[Batch]:
    async for part in parts:
        for batch in part:
            yield batch


def first_of(batch: Batch) -> int:
    return batch.first
