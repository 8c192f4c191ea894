"""Commands at a rate or as fast as they are taken, and what came back.

What lives here: open and closed loops over connections to one node. What must never live here: what
the commands are, or a figure's name.

An open loop sends at its moments whatever the node does: a delay is counted from the moment at
which the call was due, so a node that stalls is charged for every call of the stall (and not for
one, as by a client that waits). A closed loop keeps a number of commands in flight, and finds the
most that a node takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import trio

from node.devnet.connection import Answer, Connection
from node.devnet.orders import Batch
from node.exceptions import NodeError

LOST: Final = 7305
ANSWER_S_MAX: Final = 30


class Placed(msgspec.Struct):
    """One command of an answered batch, as far as a load looks."""

    height: int = 0
    error: dict[str, Any] | None = None


_placed: Final = msgspec.json.Decoder(list[Placed])


@dataclass
class Load:
    """What happened to a load. Times are of `trio.current_time`, in seconds."""

    operations: int = 0
    refused: int = 0
    height: int = 0
    began: float = 0.0
    ended: float = 0.0
    delays: list[float] = field(default_factory=list)
    late: float = 0.0  # the longest that a call was sent after its moment: our own slowness
    refusal: str = ""

    @property
    def per_s(self) -> float:
        return self.operations / (self.ended - self.began)


async def at_rate(doors: Sequence[Connection], calls: Sequence[Batch], rate: float) -> Load:
    """Send the calls round the doors, `rate` of them a second; returns with the last answer."""
    pending = _Pending(Load(began=trio.current_time()))
    for n, call in enumerate(calls):
        due = pending.load.began + n / rate
        if trio.current_time() < due:
            await trio.sleep_until(due)
        elif n % 16 == 0:
            await trio.lowlevel.checkpoint()
        pending.load.late = max(pending.load.late, trio.current_time() - due)
        pending.post(doors[n % len(doors)], call, due)
    await pending.down_to(0)
    return pending.load


async def at_most(doors: Sequence[Connection], calls: Sequence[Batch], in_flight: int) -> Load:
    """Keep this many commands in flight until all calls are answered."""
    pending = _Pending(Load(began=trio.current_time()))
    for n, call in enumerate(calls):
        await pending.down_to(in_flight - len(call.sizes))
        pending.post(doors[n % len(doors)], call, trio.current_time())
    await pending.down_to(0)
    return pending.load


class _Pending:
    def __init__(self, load: Load) -> None:
        self.load = load
        self._commands = 0
        self._answered = trio.Event()

    def post(self, door: Connection, call: Batch, due: float) -> None:
        self._commands += len(call.sizes)
        door.post("clob_submitBatch", call.params, lambda answer: self._take(call, due, answer))

    def _take(self, call: Batch, due: float, answer: Answer) -> None:
        load = self.load
        load.ended = trio.current_time()
        load.delays.append(load.ended - due)
        self._commands -= len(call.sizes)
        if answer.error is not None:
            load.refused += sum(call.sizes)
            load.refusal = answer.error.message
        else:
            for placed, size in zip(_placed.decode(answer.result), call.sizes, strict=True):
                if placed.error is None:
                    load.operations += size
                    load.height = max(load.height, placed.height)
                else:
                    load.refused += size
                    load.refusal = f"{placed.error['code']} {placed.error['message']}"
        self._answered.set()

    async def down_to(self, commands: int) -> None:
        """Return when so many are on their way. Raises `NodeError` 7305 when answers stay out."""
        while self._commands > max(0, commands):
            self._answered = trio.Event()
            with trio.move_on_after(ANSWER_S_MAX) as waiting:
                await self._answered.wait()
            if waiting.cancelled_caught:
                text = f"{self._commands} commands have no answer after {ANSWER_S_MAX} s"
                raise NodeError(LOST, f"{text}; see the node's log")
