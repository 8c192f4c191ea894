"""A leader with nothing but storage: it journals, seals, signs and keeps blocks, and can be killed.

What lives here: the order of writes that a leader must keep, around the real core. What must never
live here: a way to recover that `storage` does not offer.

Its commands are a function of the height, so that a leader that was killed and started again must
end with the very chain of one that was not.

    python leader_model.py DIR BLOCKS     on a real disk; prints one line per promise
"""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from small_chain import GENESIS, WALLETS

from consensus import commands
from consensus.authority import context_of, group_digest, verify_groups
from consensus.block import HASH_ZERO
from consensus.chain import State
from consensus.commands import Group, read_groups
from consensus.layout import KEY_OWNER
from consensus.proposal import Opening, Proposal
from consensus.signatures import address_words, recover_many, sign
from storage.disk import JOURNAL, SIGNED, SNAPSHOTS, DirectoryDisk, Disk
from storage.journal import Journal, Segment
from storage.journal_records import Command, Open, Seal
from storage.last_signed import BLOCK, LastSigned
from storage.recovery import keep_block, recover_chain
from storage.snapshots import Snapshots

GROUPS_PER_SYNC: Final = 2
Say = Callable[..., None]


def opening_of(height: int) -> Opening:
    return Opening(GENESIS.time + 250 * height, 0, HASH_ZERO, 0)


def groups_of(state: State, height: int) -> list[tuple[Group, bytes]]:
    """The signed groups of this block: a function of the height alone."""
    rng = random.Random(height)
    made = []
    for number in range(rng.randrange(1, 5)):
        who = rng.randrange(len(WALLETS))
        nonce = height * 8 + number
        price, lots = 2000 + rng.randrange(-9, 10), rng.randrange(1, 50)
        row = commands.place(0, rng.getrandbits(1), nonce, price, lots)
        owner = address_words(WALLETS[who].owner)
        group = Group(KEY_OWNER, 2 + who, nonce, opening_of(height).time + 9000, owner, row)
        digest = group_digest(state.memory.M, context_of(state), group)
        made.append((group, sign(WALLETS[who].owner_key, digest)))
    return made


class Leader:
    """`say` hears "receipt", height, sequence, running hash and "signed", height, hash."""

    def __init__(self, disk: Disk, say: Say, snapshot_every: int = 0) -> None:
        self.say = say
        self._snapshot_every = snapshot_every
        self.database = disk.database()
        self.snapshots = Snapshots(disk.files(SNAPSHOTS))
        self.chain = recover_chain(GENESIS, self.database, self.snapshots)
        self.state = self.chain.state
        head = self.state.head.height
        self.signed = LastSigned(disk.files(SIGNED), GENESIS.hash)
        self.journal = Journal(disk.files(JOURNAL), head)
        sealed = [segment for segment in self.journal.recovered if segment.seal is not None]
        self.signed.check_head(head + len(sealed))
        self._proposal: Proposal | None = None
        self._done = 0
        for segment in self.journal.recovered:
            self._execute_again(segment)

    def run(self, height: int) -> "Leader":
        """Go on until the head has this height."""
        while self.state.head.height < height:
            self._make_block()
        return self

    def _execute_again(self, segment: Segment) -> None:
        assert segment.open is not None
        assert segment.open.parent == self.state.head_hash
        self._proposal = Proposal(self.state, segment.open.opening, segment.open.messages)
        for command in segment.commands:
            (group,) = read_groups(command.rows)
            self._add(group, command.signature)
        self._done = len(segment.commands)
        if segment.seal is not None:
            self._finish(segment.seal.hash)

    def _make_block(self) -> None:
        height = self.state.head.height + 1
        if self._proposal is None:
            opening = opening_of(height)
            self._proposal = Proposal(self.state, opening)
            self.journal.append(Open(height, self.state.head_hash, opening))
        groups = groups_of(self.state, height)[self._done :]
        for at in range(0, len(groups), GROUPS_PER_SYNC):
            promised = []
            for group, signature in groups[at : at + GROUPS_PER_SYNC]:
                sequence = self._add(group, signature)
                running = self.journal.append(Command(sequence, signature, group.rows))
                promised.append((sequence, running))
            self.journal.sync()
            for sequence, running in promised:
                self.say("receipt", height, sequence, running.hex())
        self._finish(None)

    def _add(self, group: Group, signature: bytes) -> int:
        (verified,) = verify_groups(self.state, [(group, signature)], recover_many)
        assert verified is not None
        assert self._proposal is not None
        events = self._proposal.add(verified)
        return int.from_bytes(events[8:16], "little")

    def _finish(self, expected: bytes | None) -> None:
        assert self._proposal is not None
        block, outcome = self._proposal.seal()
        self._proposal, self._done = None, 0
        height = block.header.height
        if expected is None:
            self.journal.append(Seal(height, outcome.hash))
            self.journal.sync()
        else:
            assert outcome.hash == expected, "the same journal made another block"
        self.signed.allow(BLOCK, height, 0, outcome.hash)
        self.say("signed", height, outcome.hash.hex())
        keep_block(self.chain, block, outcome)
        self.journal.drop(height)
        if self._snapshot_every and height % self._snapshot_every == 0:
            self.chain.states.write(self.chain.states.take(self.state))
            with self.database.view() as view:
                self.snapshots.take(view, GENESIS.hash)


def main() -> None:
    def say(*words: object) -> None:
        print(*words, flush=True)

    leader = Leader(DirectoryDisk(Path(sys.argv[1])), say, snapshot_every=40)
    say("ready", leader.state.head.height)
    leader.run(int(sys.argv[2]))


if __name__ == "__main__":
    main()
