"""The leader: admit, verify, execute, journal, answer; seal a block every interval.

What lives here: the order in which these happen, and every queue between them with its limit. What
must never live here: how a group is executed (`node/engine.py`), or how a sealed block is kept and
told (`roles/publisher.py`).

Theory. A submission passes four stages, each a task:

    submit --> [inbox] --> verify --> [verified] --> sequence --> [unsynced] --> release --> answer
                           threads                   the core                    fdatasync

One task executes, so the order of the answers is the order of the chain. The journal is synced
whenever something waits for it: while one sync runs, what is executed meanwhile forms the next
group. Promises and the tape are behind that sync; nothing else of a command's result leaves.

Every queue is bounded. A full inbox refuses with a number, at once: a client that is told to wait
knows more than one that waits. When the validators fall behind, nothing more is promised until they
have made up half of it: a client who sends in order is then refused the rest too, not every other.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import trio

from consensus import layout
from consensus.authority import Recover, VerifiedGroup, verify_groups
from consensus.chain import listing_words
from consensus.commands import Group
from consensus.exceptions import CoreFault, InvalidBlock, NotIncludable
from consensus.execute import command_fault, group_shape
from consensus.finality.promises import encode_promise, promise_all
from consensus.proposal import Opening
from consensus.transition import AHEAD_MAX_MS, DRIFT, FAULTS
from node.chain import LiveChain
from node.engine import Engine, Executed, Sealed
from node.l1.backlog import BACKLOG_FULL, only_leaves
from node.l1.origin import Origins
from node.machine import Machine
from node.submission import GROUP_BYTES_MAX, Answer, Submission, answer_of
from node.tape import Happened, Tape
from p2p.topics import BLOCKS, TOPICS
from storage.journal import Journal
from storage.states import Flush

BUSY: Final = 7330
UNCERTIFIED: Final = 7331
STOPPING: Final = 7332
BAD_SIGNATURE: Final = 7333

INBOX_SUBMISSIONS_MAX: Final = 8192
VERIFY_AT_ONCE_MAX: Final = 256
VERIFY_AT_HAND_MAX: Final = 16
VERIFIED_BATCHES_MAX: Final = 4
UNCERTIFIED_BLOCKS_MAX: Final = 8
UNCERTIFIED_BLOCKS_AGAIN: Final = UNCERTIFIED_BLOCKS_MAX // 2
"""Where a leader that refused takes commands again, and who can wait already does."""
HEARTBEAT_MS: Final = 2000
"""An idle chain has a block this often: its clock goes on and schedules fall due."""
GATHER_MS: Final = 1
"""From the begin of one sync to the next: what comes meanwhile shares one write and one signature.
What comes after a pause is synced at once."""
SLICE_MS: Final = 5
SEALED_AT_BYTES: Final = TOPICS[BLOCKS].message_bytes_max - GROUP_BYTES_MAX - (8 << 10)
"""A block of this size is sealed before its time: with one group more, its header and its seal it
still fits a gossip message."""


@dataclass(slots=True)
class Waiting:
    """A submission on its way, and what its answer is given to, once."""

    submission: Submission
    finish: Callable[[Answer], None]


def _fits_the_next_block(error: NotIncludable | InvalidBlock) -> bool:
    """Whether sealing helps. It does not against an old L1 origin, which the next block keeps."""
    if isinstance(error, InvalidBlock):
        return error.number != DRIFT
    return error.number == layout.BLOCK_FULL


class Held(NamedTuple):
    """What was executed and is not yet known to be on the disk."""

    happened: Happened
    executed: Executed | None  # None: what a block began with
    waiting: Waiting | None


class Sequencer:
    """Run `run` in a nursery; call `submit` from anywhere on the loop.

    `examine` looks at the memory between two blocks and raises if it is damaged; `publish` takes
    each sealed block, in order, with the event of its seal's sync; it is awaited, so it may push
    back.
    """

    def __init__(
        self,
        chain: LiveChain,
        engine: Engine,
        journal: Journal,
        machine: Machine,
        tape: Tape,
        promiser: bytes,
        recover: Recover,
        examine: Callable[[], None],
        publish: Callable[[Sealed, Flush | None, trio.Event], Awaitable[None]],
        origins: Origins,
        is_full: Callable[[], bool],
    ) -> None:
        self._chain = chain
        self._engine = engine
        self._journal = journal
        self._machine = machine
        self._tape = tape
        self._promiser = promiser
        self._recover = recover
        self._examine = examine
        self._publish = publish
        self._origins = origins
        self._is_full = is_full
        self._interval_s = chain.genesis.block_interval_ms / 1000
        self._to_verify, self._inbox = trio.open_memory_channel[Waiting](INBOX_SUBMISSIONS_MAX)
        self._to_execute, self._verified = trio.open_memory_channel[
            list[tuple[Waiting, VerifiedGroup | None]]
        ](VERIFIED_BATCHES_MAX)
        self._unsynced: list[Held] = []
        self._to_tell: list[Callable[[], None]] = []
        self._has_unsynced = trio.Event()
        self._is_syncing = False
        self._seal_at = math.inf
        self._unanswered = 0
        self._is_ahead = False  # of the validators, too far
        self._heartbeat_at = -math.inf
        self._stopping = False

    # -- admission ---------------------------------------------------------------------------

    async def submit(self, submission: Submission) -> Answer:
        """The leader's answer: a promise, or the number and text of the refusal."""
        return await answer_of(self, submission)

    def submit_then(self, submission: Submission, done: Callable[[Answer], None]) -> None:
        """The same without a task that waits: `done` is called once, now or later."""
        refusal = self._refusal(submission)
        if refusal is not None:
            done(refusal)
            return
        try:
            self._to_verify.send_nowait(Waiting(submission, self._counted(done)))
        except trio.WouldBlock:
            text = f"{INBOX_SUBMISSIONS_MAX} commands wait already; try again in a second"
            done(Answer(BUSY, text))

    def when_durable(self, done: Callable[[], None]) -> None:
        """Call `done` once all that is executed now is on the disk: at once if it is."""
        if not (self._unsynced or self._to_tell or self._is_syncing):
            done()
            return
        self._tell_after_sync(done)

    def _tell_after_sync(self, done: Callable[[], None]) -> None:
        self._to_tell.append(done)
        self._has_unsynced.set()

    def _counted(self, done: Callable[[Answer], None]) -> Callable[[Answer], None]:
        self._unanswered += 1

        def finish(answer: Answer) -> None:
            self._unanswered -= 1
            done(answer)

        return finish

    def _refusal(self, submission: Submission) -> Answer | None:
        """Why the group need not be verified: cheap, and against the state as it is now."""
        if self._stopping:
            return Answer(STOPPING, "the leader is stopping; send it again in a minute")
        ahead = self._chain.state.head.height - self._chain.certified
        limit = UNCERTIFIED_BLOCKS_AGAIN if self._is_ahead else UNCERTIFIED_BLOCKS_MAX
        self._is_ahead = ahead > limit and len(self._chain.validators) > 1
        if self._is_ahead:
            text = f"{ahead} blocks are not certified: too few validators follow; try later"
            return Answer(UNCERTIFIED, text)
        if self._is_full() and not only_leaves(submission.group):
            text = "too much waits for L1: cancels and withdrawals only, until batches get through"
            return Answer(BACKLOG_FULL, text)
        M, S = self._chain.state.memory.M, self._chain.state.memory.S
        group, rows = submission.group, submission.rows
        fault = layout.GROUP_SHAPE
        if group_shape(rows, 0, len(rows)):
            for n, word in enumerate(group.signer):
                S[layout.S_SIGNER + n] = word
            fault = int(command_fault(M, S, rows, 0, group.key, group.size))
        return Answer(fault, FAULTS[fault]) if fault else None

    # -- the tasks ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled. `stop` first, so that nothing is lost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._verify)
            nursery.start_soon(self._release)
            nursery.start_soon(self._sequence)

    async def stop(self) -> None:
        """Refuse what comes, answer what came, seal the open block."""
        self._stopping = True
        while self._unanswered or self._engine.is_open:
            await trio.sleep(0.01)

    async def _verify(self) -> None:
        """Signatures of what waits, up to 256 at once, in a thread."""
        async for first in self._inbox:
            batch = [first]
            while len(batch) < VERIFY_AT_ONCE_MAX:
                try:
                    batch.append(self._inbox.receive_nowait())
                except trio.WouldBlock:
                    break
            verified = await self._verified_groups([waiting.submission for waiting in batch])
            await self._to_execute.send(list(zip(batch, verified, strict=True)))

    async def _verified_groups(self, batch: list[Submission]) -> list[VerifiedGroup | None]:
        state, recover = self._chain.state, self._recover
        pairs = [(one.group, one.signature) for one in batch]
        if len(pairs) <= VERIFY_AT_HAND_MAX:
            return verify_groups(state, pairs, recover)
        return await self._machine.compute(lambda: verify_groups(state, pairs, recover))

    async def _sequence(self) -> None:
        """Execute verified groups in order; seal when the interval is over."""
        if self._engine.is_open:  # the journal left it open
            self._seal_at = trio.current_time() + self._interval_s
        while True:
            batch = None
            with trio.move_on_at(min(self._seal_at, self._heartbeat_at)):
                batch = await self._verified.receive()
            if batch is None:
                if not self._engine.is_open:
                    await self._open()
                await self._seal()
                continue
            slice_end = trio.current_time() + SLICE_MS / 1000
            for waiting, verified in batch:
                await self._execute(waiting, verified)
                is_large = self._engine.is_open and self._engine.size > SEALED_AT_BYTES
                if is_large or trio.current_time() >= self._seal_at:
                    await self._seal()
                if trio.current_time() >= slice_end:
                    await trio.lowlevel.checkpoint()
                    slice_end = trio.current_time() + SLICE_MS / 1000

    async def _execute(self, waiting: Waiting, verified: VerifiedGroup | None) -> None:
        """Into the block, or out with a number. What must wait for another block seals this one."""
        if verified is None:
            text = "the signature is not by the signer of the header row"
            waiting.finish(Answer(BAD_SIGNATURE, text))
            return
        for is_last in (False, True):
            if not self._engine.is_open:
                await self._open(verified.group)
            try:
                executed = self._engine.execute(verified)
            except CoreFault as error:
                self._chain.alarm(f"dropped a group that breaks the core: {error}")
                waiting.finish(Answer(error.number, error.text))
                return
            except (NotIncludable, InvalidBlock) as error:
                if is_last or not _fits_the_next_block(error):
                    waiting.finish(Answer(error.number, error.text))
                    return
                await self._seal()
                again = (await self._verified_groups([waiting.submission]))[0]
                if again is None:
                    waiting.finish(Answer(error.number, error.text))
                    return
                verified = again
            else:
                self._hold(executed.events, executed, waiting)
                return

    def _hold(
        self, events: bytes, executed: Executed | None = None, waiting: Waiting | None = None
    ) -> None:
        happened = Happened(self._engine.height, self._engine.time, events)
        self._unsynced.append(Held(happened, executed, waiting))
        self._has_unsynced.set()

    async def _open(self, group: Group | None = None) -> None:
        """Open the next block now; with room if the group lists a market."""
        await self._origins.ready()
        head = self._chain.state.head
        time = min(max(self._machine.now_ms(), head.time + 1), head.time + AHEAD_MAX_MS)
        opening = Opening(
            time,
            head.l1_number,
            head.l1_hash,
            head.l1_time,
            proposer=self._chain.leader,
        )
        opening, messages = self._origins.adopt(opening)
        room = listing_words(self._chain.state.memory.M, [group]) if group else 0
        events = self._engine.open(opening, messages, room)
        self._seal_at = trio.current_time() + self._interval_s
        if events:
            self._hold(events)

    async def _seal(self) -> None:
        """Seal the open block and hand it on. The next may open then, before the seal's sync."""
        self._seal_at = math.inf
        pause_s = self._interval_s if self._origins.has_more() else HEARTBEAT_MS / 1000
        self._heartbeat_at = trio.current_time() + pause_s
        if self._engine.is_small and not self._chain.lock.locked():
            sealed = self._engine.seal()  # a thread and back would take longer
        else:
            async with self._chain.lock:
                sealed = await self._machine.compute(self._engine.seal)
        flush = self._chain.note(sealed.outcome)
        self._examine()
        durable = trio.Event()
        self._tell_after_sync(durable.set)
        await self._publish(sealed, flush, durable)

    async def _release(self) -> None:
        """Sync when something waits, at most once a millisecond, then let it out."""
        begun = -math.inf
        while True:
            while not (self._unsynced or self._to_tell):
                self._has_unsynced = trio.Event()
                await self._has_unsynced.wait()
            await trio.sleep_until(begun + GATHER_MS / 1000)
            begun = trio.current_time()
            await self._sync()

    async def _sync(self) -> None:
        """Make what was executed so far durable; then, and only then, promise and tell it."""
        held, self._unsynced = self._unsynced, []
        to_tell, self._to_tell = self._to_tell, []
        self._is_syncing = True
        await self._machine.journal(self._journal.sync)
        self._is_syncing = False
        self._answer([(one.executed, one.waiting) for one in held if one.executed])
        for one in held:
            self._tape.put(one.happened)
        for tell in to_tell:
            tell()

    def _answer(self, made: list[tuple[Executed, Waiting | None]]) -> None:
        if not made:
            return
        records = [executed.record for executed, _ in made]
        running = made[-1][0].running
        promises = promise_all(self._promiser, self._chain.genesis.hash, records, running)
        for promise, (executed, waiting) in zip(promises, made, strict=True):
            if waiting is not None:
                at = promise.record
                data = encode_promise(promise)
                events = executed.events
                waiting.finish(Answer(0, "", at.height, at.sequence, data, events))
