"""Commands that came to another node: a follower passes them on, the leader takes them in.

What lives here: both ends of the ingest stream, and the gossip that stands in for it. What must
never live here: admission and execution (`roles/sequencer.py`).

Theory. One stream from each follower to the leader carries batches: what arrives within a few
milliseconds travels together, and each batch is acknowledged with one answer per group. If there is
no stream to a leader, the batch is gossiped instead; then nobody can answer for it, and the sender
is told to watch the chain. A stream that breaks leaves its batches unanswered: they may have
arrived. Sending the same group again is safe, because its nonce can be used once.

Order is kept from a follower's `submit_then` to the leader's: a wallet may send an order and its
cancel without waiting, whichever node it talks to. So batches are sent by one task after the other,
and a batch goes to the sequencer group by group, at once, not in a task for each: trio runs tasks
in no particular order.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from consensus.exceptions import InvalidEncoding
from node.exceptions import NodeError
from node.roles.sequencer import BUSY, Sequencer
from node.submission import (
    BATCH_BYTES_MAX,
    BATCH_GROUPS_MAX,
    GROUP_BYTES_MAX,
    Answer,
    Submission,
    answer_of,
    decode_answers,
    encode_answers,
    read_batch,
    write_batch,
)
from p2p.exceptions import NetworkError
from p2p.network import IngestSession, IngestStream, Message, Network, Verdict
from p2p.penalties import INVALID_BATCH
from p2p.topics import ORDERS

GOSSIPED: Final = 7334
UNANSWERED: Final = 7335

GATHER_S: Final = 0.003
WAITING_MAX: Final = 8192
RETRY_S: Final = 1.0
PAUSE_S: Final = 0.1
BATCHES_AT_ONCE_MAX: Final = 16
log: Final = logging.getLogger(__name__)


class Intake:
    """The leader's end: batches from followers and from gossip go to the sequencer."""

    def __init__(self, sequencer: Sequencer, network: Network) -> None:
        self._sequencer = sequencer
        self._network = network
        network.serve_ingest(self._session)
        network.validate(ORDERS, _judge)
        self._gossip = network.subscribe(ORDERS)

    async def _session(self, session: IngestSession) -> None:
        """Answer batches side by side; the stream's end or fault ends them all."""
        fault: NetworkError | None = None
        async with trio.open_nursery() as nursery:
            try:
                async for sequence, batch in session:
                    submissions = list(read_batch(batch))
                    answered = self._submit_all(submissions)
                    nursery.start_soon(self._answer, session, sequence, answered)
            except NodeError as error:
                log.warning("a batch of %s: %s", session.peer, error)
                self._network.offend(session.peer, INVALID_BATCH)
            except NetworkError as broken:
                fault = broken  # raised outside the nursery, which would wrap it
            nursery.cancel_scope.cancel()
        if fault is not None:
            raise fault

    async def _answer(
        self, session: IngestSession, sequence: int, answered: "Answered"
    ) -> None:
        await answered.complete.wait()
        with suppress(NetworkError):  # it broke meanwhile: the reader of the stream says so
            await session.ack(sequence, encode_answers(answered.answers))

    def _submit_all(self, submissions: list[Submission]) -> "Answered":
        """Hand them on now, in their order."""
        answered = Answered(len(submissions))
        for n, submission in enumerate(submissions):
            self._sequencer.submit_then(submission, answered.taker(n))
        return answered

    async def run(self) -> None:
        """Take in what is gossiped; nobody waits for the answers."""
        async for message in self._gossip:
            await self._submit_all(_submissions_of(message)).complete.wait()


class Answered:
    """The answers to one batch as they come; `complete` once all are there."""

    def __init__(self, count: int) -> None:
        self.answers = [Answer(UNANSWERED, "not answered")] * count
        self.complete = trio.Event()
        self._missing = count
        if not count:
            self.complete.set()

    def taker(self, n: int) -> Callable[[Answer], None]:
        def take(answer: Answer) -> None:
            self.answers[n] = answer
            self._missing -= 1
            if not self._missing:
                self.complete.set()

        return take


def _judge(peer: str, data: bytes) -> Verdict:
    try:
        return Verdict.ACCEPT if any(True for _ in read_batch(data)) else Verdict.OFFENCE
    except NodeError:
        return Verdict.OFFENCE


def _submissions_of(message: Message) -> list[Submission]:
    return list(read_batch(message.data))


@dataclass(slots=True)
class Pending:
    """A submission on its way, and what its answer is given to."""

    submission: Submission
    done: Callable[[Answer], None]


class Forwarder:
    """A follower's end: `submit` gathers, sends and waits for the leader's answer."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._send, self._receive = trio.open_memory_channel[Pending](WAITING_MAX)
        self._stream: IngestStream | None = None
        self._sending = trio.Semaphore(BATCHES_AT_ONCE_MAX)
        network.validate(ORDERS, _judge)

    async def submit(self, submission: Submission) -> Answer:
        """The leader's answer, or 7330, 7334, 7335."""
        return await answer_of(self, submission)

    def submit_then(self, submission: Submission, done: Callable[[Answer], None]) -> None:
        """The same without a task that waits: `done` is called once, now or later."""
        try:
            self._send.send_nowait(Pending(submission, done))
        except trio.WouldBlock:
            done(Answer(BUSY, f"{WAITING_MAX} commands wait already; try again in a second"))

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_connected)
            async for first in self._receive:
                batch = await self._gathered(first)
                await self._sending.acquire()
                nursery.start_soon(self._pass_on, batch)

    async def _gathered(self, first: Pending) -> list[Pending]:
        """What comes within 3 ms, up to 256 groups and 64 KiB."""
        batch, size = [first], len(first.submission.data)
        with trio.move_on_after(GATHER_S):
            while len(batch) < BATCH_GROUPS_MAX and size + GROUP_BYTES_MAX <= BATCH_BYTES_MAX:
                batch.append(await self._receive.receive())
                size += len(batch[-1].submission.data)
        return batch

    async def _pass_on(self, batch: list[Pending]) -> None:
        data = write_batch(pending.submission for pending in batch)
        stream = self._stream
        text = "the stream to the leader broke; look at the chain, or send it again"
        answers = [Answer(UNANSWERED, text)] * len(batch)
        has_failed = False
        try:
            if stream is None:
                await self._network.publish(ORDERS, data)
                text = "no stream to the leader: gossiped; nobody answers, look at the chain"
                answers = [Answer(GOSSIPED, text)] * len(batch)
            else:
                answers = decode_answers(await stream.send(data), len(batch))
        except (NetworkError, InvalidEncoding) as error:
            log.warning("passing %d commands on: %s", len(batch), error)
            has_failed = True
        finally:
            self._sending.release()
            for pending, answer in zip(batch, answers, strict=True):
                pending.done(answer)
        if has_failed and stream is not None and not stream.ended.is_set():
            await stream.aclose()  # it takes nothing, or what it answers cannot be read

    async def _keep_connected(self) -> None:
        """Hold a stream to the one peer that takes it: the leader. One that ends is replaced at
        once, not when the next command finds out."""
        while True:
            self._stream = await self._connected()
            if self._stream is None:
                await trio.sleep(RETRY_S)
                continue
            await self._stream.ended.wait()
            self._stream = None
            log.warning("the stream to the leader ended; opening another")
            await trio.sleep(PAUSE_S)

    async def _connected(self) -> IngestStream | None:
        for facts in self._network.peers():
            if facts.ready:
                with suppress(NetworkError):
                    return await self._network.open_ingest(facts.peer)
        return None
