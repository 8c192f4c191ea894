"""The leader's way to a block: open it, add what is includable, seal it.

What lives here: a block in the making, on the leader's state. What must never live here: the choice
of commands, times and origins, which is the node's, or a way in for a group that nobody verified.

Theory. The leader executes each group as it arrives and knows at once what became of it. It uses
the same execution as `apply_block`, and refuses before execution what would make the block invalid
for others. A group that is not includable changes nothing; the block goes on without it. Sealing
computes the header's roots; nothing of it needs a second execution.
"""

from dataclasses import dataclass, replace
from typing import Final

from consensus import layout
from consensus.authority import (
    SIGNATURE,
    VerifiedGroup,
    context_of,
    grants_in,
)
from consensus.block import (
    BODY_SHAPE,
    MESSAGES_MAX,
    ROW_BYTES,
    ROWS_MAX,
    Block,
    Header,
    block_hash,
    groups,
)
from consensus.chain import State, listing_words, validators_hash
from consensus.exceptions import ConsensusError, CoreFault, InvalidBlock, NotIncludable
from consensus.execute import PHASE_COMMANDS
from consensus.sealing import Outcome, commit, results_of, roll_back
from consensus.streams import bytes_root
from consensus.transition import (
    CORE_EXCEPTION,
    begin,
    check_drift,
    check_header,
    check_idle,
    run,
    run_messages,
)

LISTING_ROOM: Final = 3020
PROPOSAL_CLOSED: Final = 9205


@dataclass(frozen=True, slots=True)
class Opening:
    """What the proposer decides when the block opens."""

    time: int  # ms
    l1_number: int
    l1_hash: bytes
    l1_time: int  # s
    round: int = 0
    proposer: int = 0


class Proposal:
    """A block on top of the state's head, executed up to here.

    From opening to `seal` or `abandon`, the state belongs to the proposal.
    """

    def __init__(
        self, state: State, opening: Opening, messages: bytes = b"", listing_room: int = 0
    ) -> None:
        """Open a block with these L1 messages; `listing_room` words for markets it may list.

        Raises `InvalidBlock`, `NotIncludable` or `CoreFault`; the state is then as it was.
        """
        self._state = state
        self._messages = messages
        self._header = unsealed(state, opening)
        check_idle(state.memory)
        check_header(state, self._header)
        self._context = context_of(state)
        self._groups = sum(1 for _ in groups(messages))
        if self._groups > MESSAGES_MAX:
            raise InvalidBlock(BODY_SHAPE, f"more than {MESSAGES_MAX} messages; keep some back")
        memory = state.memory
        if listing_room:
            memory.reserve(memory.M[layout.END] + listing_room)
        self._commands: list[bytes] = []
        self._signatures: list[bytes] = []
        self._rows = len(messages) // ROW_BYTES
        self._granted: list[tuple[int, int]] = []
        try:
            begin(memory, self._header.height, opening.time, opening.l1_number)
            _, events = run_messages(memory, messages)
        except BaseException as error:
            roll_back(memory)
            if isinstance(error, ConsensusError) or not isinstance(error, Exception):
                raise
            text = f"the core failed on the L1 messages ({error!r}); stop and raise an alarm"
            raise CoreFault(CORE_EXCEPTION, text) from error
        self._events = [events]
        self._note_grants(events)
        self._is_open = True

    @property
    def sequence(self) -> int:
        """The number of the last operation executed."""
        return int(self._state.memory.M[layout.SEQUENCE])

    @property
    def touched(self) -> int:
        """Leaves of the state that the block has changed so far."""
        return int(self._state.memory.S[layout.S_DIRTY])

    @property
    def opening_events(self) -> bytes:
        """Events of the L1 messages, the schedules and the sweep."""
        return self._events[0]

    @property
    def events(self) -> bytes:
        """All events so far."""
        return b"".join(self._events)

    def add(self, verified: VerifiedGroup) -> bytes:
        """Execute the group; its events.

        Raises `NotIncludable`, or `InvalidBlock` where it must wait for another block: nothing of
        it is then in the block. Raises `CoreFault` after undoing the whole block.
        """
        self._check_open()
        group = verified.group
        memory = self._state.memory
        if self._rows + 1 + group.size > ROWS_MAX:
            raise InvalidBlock(BODY_SHAPE, "the block has no rows left; seal it")
        if (group.account, group.key) in self._granted:
            raise InvalidBlock(SIGNATURE, "its key was granted in this block; take the next one")
        if not verified.is_good_in(memory.M, self._context):
            raise InvalidBlock(SIGNATURE, "the group was verified in another context; verify again")
        check_drift(self._state, self._header, [group])
        room = len(memory.M) - memory.M[layout.END]
        if listing_words(memory.M, [group]) > room:
            raise InvalidBlock(LISTING_ROOM, "open the block with room for the listed market")
        rows = verified.rows
        try:
            events = run(memory, rows, PHASE_COMMANDS)
        except NotIncludable:
            raise
        except BaseException as error:
            self.abandon()
            if not isinstance(error, Exception):
                raise
            text = f"the core failed on {group!r} ({error!r}); drop it and raise an alarm"
            raise CoreFault(CORE_EXCEPTION, text) from error
        self._note_grants(events)
        self._events.append(events)
        self._commands.append(rows)
        self._signatures.append(verified.signature)
        self._rows += 1 + group.size
        self._groups += 1
        return events

    def seal(self) -> tuple[Block, Outcome]:
        """Finish the block and make it the head; whatever is raised, it was taken back."""
        self._check_open()
        state = self._state
        events = b"".join(self._events)
        commands, signatures = b"".join(self._commands), b"".join(self._signatures)
        try:
            results = results_of(state, self._messages, events, self._rows - self._groups)
            header = replace(
                self._header,
                l1_messages=results.l1_messages,
                l1_queue_hash=results.l1_queue_hash,
                state_root=results.state_root,
                commands_root=bytes_root("commands", self._messages + commands),
                signatures_root=bytes_root("signatures", signatures),
                events_root=results.events_root,
                withdrawals_root=results.withdrawals_root,
                commands=results.commands,
                sequence=results.sequence,
            )
            hashed = block_hash(header)
        except BaseException as error:
            self.abandon()
            if isinstance(error, ConsensusError) or not isinstance(error, Exception):
                raise
            text = f"sealing failed ({error!r}); stop and raise an alarm"
            raise CoreFault(CORE_EXCEPTION, text) from error
        self._is_open = False
        leaves = commit(state.memory)
        state.head, state.head_hash = header, hashed
        outcome = Outcome(hashed, events, results.withdrawals, results.commands, leaves)
        return Block(header, self._messages, commands, signatures), outcome

    def abandon(self) -> None:
        """Take the block back: the state is as it was before it was opened. Twice is once."""
        if self._is_open:
            self._is_open = False
            roll_back(self._state.memory)

    def _check_open(self) -> None:
        if not self._is_open:
            raise CoreFault(PROPOSAL_CLOSED, "this block was sealed or abandoned; open another")

    def _note_grants(self, events: bytes) -> None:
        self._granted.extend((grant.account, grant.slot) for grant in grants_in(events))


def unsealed(state: State, opening: Opening) -> Header:
    """The header as far as it is known when the block opens; the parent's values for the rest."""
    head = state.head
    return replace(
        head,
        version=state.chain.forks.at(head.height + 1).version,
        height=head.height + 1,
        parent=state.head_hash,
        time=opening.time,
        round=opening.round,
        proposer=opening.proposer,
        validators_hash=validators_hash(state.memory.M),
        l1_number=opening.l1_number,
        l1_hash=opening.l1_hash,
        l1_time=opening.l1_time,
    )
