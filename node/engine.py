"""The leader's engine: execute a group, write it into the journal, seal; and do it again at start.

What lives here: the one ordered path of a command through the core and the journal. What must never
live here: waiting, time, signatures, the network; `roles/sequencer.py` has those.

Theory. The core runs ahead of the disk: a group is executed and appended at once, and what it gave
may leave the node only after the sync that covers it, which is the caller's to await. After a crash
the journal's tail is executed again, in the same block with the same opening. Everything the core
does is a function of the state and those records, so the same bytes come out; a seal that differs
from the one in the journal means that our core or our disk is broken, and stops the node.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from consensus.authority import Recover, VerifiedGroup, verify_groups
from consensus.block import SIGNATURE_BYTES, Block
from consensus.chain import State, listing_words
from consensus.commands import Group, read_groups
from consensus.exceptions import ConsensusError, CoreFault
from consensus.finality.promises import Record, command_hash
from consensus.proposal import Opening, Proposal
from consensus.sealing import Outcome
from node.exceptions import NodeError
from storage.journal import Journal, Segment
from storage.journal_records import Command, Open, Seal
from storage.states import Flush

REPLAY_DIFFERS: Final = 7310
NO_BLOCK_OPEN: Final = 7311

SMALL_BYTES: Final = 1 << 19
"""2,700 single orders."""
SMALL_LEAVES: Final = 1024
"""Scattered, each costs 7 microseconds: its own hash and its share of those above."""


class Executed(NamedTuple):
    """A group that is in the block and in the journal, but not yet known to be on the disk."""

    record: Record
    events: bytes
    running: bytes  # the journal's running hash behind it


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished block."""

    block: Block
    outcome: Outcome


class Engine:
    """One leader's state. From `open` to `seal` a block is being made on it."""

    def __init__(self, state: State, journal: Journal, recover: Recover) -> None:
        self._state = state
        self._journal = journal
        self._recover = recover
        self._proposal: Proposal | None = None
        self._opened_with: tuple[Opening, bytes, int] | None = None
        self._added: list[Command] = []
        self._size = 0

    @property
    def is_open(self) -> bool:
        return self._proposal is not None

    @property
    def height(self) -> int:
        """Of the block that is open, or would be opened next."""
        return self._state.head.height + 1

    @property
    def time(self) -> int:
        """Of the block opened last, ms."""
        return self._opened_with[0].time if self._opened_with else self._state.head.time

    @property
    def size(self) -> int:
        """Bytes of the open block so far: messages, groups and signatures."""
        return self._size

    @property
    def is_small(self) -> bool:
        """Whether sealing the open block takes a few milliseconds at most."""
        return self._size <= SMALL_BYTES and self._opened().touched <= SMALL_LEAVES

    @property
    def events(self) -> bytes:
        """Of the open block so far."""
        return self._opened().events

    def open(self, opening: Opening, messages: bytes = b"", listing_room: int = 0) -> bytes:
        """Open a block; the events of what it begins with. Refusals change nothing."""
        self._begin(opening, messages, listing_room)
        parent, height = self._state.head_hash, self.height
        self._journal.append(Open(height, parent, opening, messages))
        return self._opened().opening_events

    def execute(self, verified: VerifiedGroup) -> Executed:
        """Execute a group in the open block. Refusals of `Proposal.add` change nothing.

        Nor does a `CoreFault`: the block is undone and made again without the group, because
        promises for what came before it are out. The caller drops the group and raises an alarm.
        """
        group, signature = verified.group, verified.signature
        proposal = self._opened()
        try:
            events = proposal.add(verified)
        except CoreFault:
            self._make_again()
            raise
        rows = verified.rows
        sequence = proposal.sequence - group.size + 1
        command = Command(sequence, signature, rows)
        running = self._journal.append(command)
        self._note(command)
        record = Record(
            height=self.height,
            sequence=sequence,
            operations=group.size,
            command=command_hash(rows, signature),
            result=sha256(events).digest(),
        )
        return Executed(record, events, running)

    def seal(self) -> Sealed:
        """Finish the block and make it the head; the journal has the seal, unsynced."""
        block, outcome = self._opened().seal()
        self._proposal = None
        self._journal.append(Seal(block.header.height, outcome.hash))
        return Sealed(block, outcome)

    def repeat(
        self,
        segments: Iterable[Segment],
        note: Callable[[Outcome], Flush | None],
    ) -> list[tuple[Sealed, Flush | None]]:
        """Execute what the journal holds above the head again; the last block may stay open.

        Returns the sealed blocks, which the database lacks, each with what `note` gave. Raises
        `NodeError` 7310 if what comes out is not what the journal says.
        """
        sealed = []
        for segment in segments:
            assert segment.open is not None, "the journal returns segments that begin with an Open"
            opened = segment.open
            try:
                pairs = _signed(segment.commands)
                room = listing_words(self._state.memory.M, [group for group, _ in pairs])
                verified = verify_groups(self._state, pairs, self._recover)
                self._begin(opened.opening, opened.messages, room)
                self._repeat_commands(segment.commands, verified)
                if segment.seal is None:
                    break
                block, outcome = self._opened().seal()
            except ConsensusError as error:
                raise _differs(opened.height, str(error)) from error
            self._proposal = None
            if outcome.hash != segment.seal.hash:
                raise _differs(opened.height, f"its hash is {outcome.hash.hex()} now")
            sealed.append((Sealed(block, outcome), note(outcome)))
        return sealed

    def _repeat_commands(
        self, commands: Sequence[Command], verified: Sequence[VerifiedGroup | None]
    ) -> None:
        """Signatures were checked again: a journal is believed no more than a block is."""
        proposal = self._opened()
        for command, group in zip(commands, verified, strict=True):
            if group is None:
                raise _differs(self.height, f"operation {command.sequence} is not signed")
            if proposal.sequence + 1 != command.sequence:
                raise _differs(self.height, f"operation {command.sequence} comes out of turn")
            proposal.add(group)
            self._note(command)

    def _note(self, command: Command) -> None:
        self._added.append(command)
        self._size += len(command.rows) + SIGNATURE_BYTES

    def _begin(self, opening: Opening, messages: bytes, listing_room: int) -> None:
        self._proposal = Proposal(self._state, opening, messages, listing_room)
        self._opened_with = opening, messages, listing_room
        self._added = []
        self._size = len(messages)

    def _make_again(self) -> None:
        assert self._opened_with is not None, "a group was added, so a block was opened"
        added, size = self._added, self._size
        again = verify_groups(self._state, _signed(added), self._recover)
        self._begin(*self._opened_with)
        for verified in again:
            assert verified is not None, "it was verified on this state before"
            self._opened().add(verified)
        self._added, self._size = added, size

    def _opened(self) -> Proposal:
        if self._proposal is None:
            raise NodeError(NO_BLOCK_OPEN, "no block is open; open one first")
        return self._proposal


def _signed(commands: Iterable[Command]) -> list[tuple[Group, bytes]]:
    """As `verify_groups` takes them."""
    return [(next(read_groups(one.rows)), one.signature) for one in commands]


def _differs(height: int, why: str) -> NodeError:
    text = f"the journal's block {height} does not come out again: {why}"
    return NodeError(REPLAY_DIFFERS, f"{text}; do not lead, restore a backup", height=height)
