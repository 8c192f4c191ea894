"""What must hold in a simulation, whatever goes wrong: checked on everything that happens.

What lives here: the invariants of safety, and the hash of the trace. What must never live here: a
fault, or a way to influence a node.

Theory. The witness sees what anybody outside could: answers to wallets, messages in flight, and the
tape of every node. It keeps one chain: the first block that some node keeps at a height is *the*
block there, and everything after is compared with it.

    one chain        blocks, roots and events are equal at equal heights on every node
    promises         each is signed by the appointed key; its command is at its place, with its
                     result, in the block that it names
    one signature    of a validator for a height and round, of each kind
    certified        never moves back in the life of a node, and names the one chain's block
    no alarms        nobody is evil here, so no node may find a fault in another
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

import trio

from consensus.block import Block, block_hash, groups
from consensus.commands import read_groups
from consensus.finality.promises import Record, command_hash, decode_promise, verify
from consensus.finality.votes import SEAL_TAG, VOTE_TAG, Subject, decode_vote
from consensus.genesis import Genesis
from node.app import Node
from node.sealed_block import decode_sealed
from node.submission import Answer, Submission
from node.tape import BlockKept, Certified, Entry, Happened
from p2p.topics import BLOCKS, VOTES

EVENT_BYTES: Final = 64


class Broken(AssertionError):
    """An invariant does not hold."""


class Placed(NamedTuple):
    """A group of commands in the one chain."""

    height: int
    operations: int
    command: bytes
    result: bytes


class Witness:
    """One for a whole simulation. `promiser` is the address that the leader's promises have."""

    def __init__(self, genesis: Genesis, promiser: bytes) -> None:
        self._genesis = genesis
        self._promiser = promiser
        self._trace = sha256()
        self._hashes: dict[int, bytes] = {}
        self._placed: dict[int, Placed] = {}
        self._signed: dict[tuple[bytes, int, int, int], bytes] = {}
        self._pending: dict[int, Record] = {}
        self.height = 0
        self.certified = 0
        self.promises = 0
        self.refusals = 0
        self.signatures = 0

    @property
    def trace(self) -> str:
        """The hash of everything that happened so far, with its time."""
        return self._trace.hexdigest()

    def note(self, *facts: object) -> None:
        """Add to the trace."""
        self._trace.update(f"{trio.current_time():.6f} {facts}\n".encode())

    # -- what wallets see ----------------------------------------------------------------------

    def answered(self, submission: Submission, answer: Answer) -> None:
        self.note("answer", submission.hash.hex(), answer.number, answer.sequence)
        if answer.number != 0:
            self.refusals += 1
            return
        self.promises += 1
        record = verify(decode_promise(answer.promise), self._genesis.hash, self._promiser)
        if record.command != submission.hash:
            raise Broken(f"the promise of operation {record.sequence} is for another command")
        if answer.events and sha256(answer.events).digest() != record.result:
            raise Broken(f"the events of operation {record.sequence} are not those promised")
        known = self._pending.setdefault(record.sequence, record)
        if known != record:
            raise Broken(f"two promises for operation {record.sequence}")
        self._compare(record.height)

    def _compare(self, height: int) -> None:
        """Promises for blocks up to this height against the chain, as far as that is known."""
        if height > self.height:
            return
        due = [record for record in self._pending.values() if record.height <= self.height]
        for record in due:
            made = Placed(record.height, record.operations, record.command, record.result)
            found = self._placed.get(record.sequence)
            if found != made:
                raise Broken(f"promised {record}, the chain has {found} in its place")
            del self._pending[record.sequence]

    # -- what is in flight ---------------------------------------------------------------------

    def overheard(self, peer: str, topic: str, data: bytes) -> None:
        """A listener of `World`."""
        if topic.endswith(f"/{VOTES}/1"):
            vote = decode_vote(data)
            self._one_signature(VOTE_TAG, vote.validator, vote.subject)
        elif topic.endswith(f"/{BLOCKS}/1"):
            sealed = decode_sealed(data)
            self._one_signature(SEAL_TAG, sealed.block.header.proposer, sealed.subject)

    def _one_signature(self, tag: bytes, validator: int, subject: Subject) -> None:
        self.signatures += 1
        place = (tag, validator, subject.height, subject.round)
        if self._signed.setdefault(place, subject.hash) != subject.hash:
            kind = tag.decode()
            raise Broken(f"validator {validator} signed two {kind} at height {subject.height}")

    # -- what nodes tell -----------------------------------------------------------------------

    def ready(self, number: int, node: Node) -> None:
        """Read a node's tape from now on. A block may have been kept by a write that the node did
        not survive, so nobody told of it."""
        for height in range(self.height + 1, node.chain.blocks.head().height + 1):
            block = node.chain.blocks.block(height)
            self._kept(number, node, BlockKept(block, block_hash(block.header)), b"")
        memory = _Told(node.chain.certified)

        def read(entry: Entry) -> None:
            if isinstance(entry, Happened):
                memory.events.setdefault(entry.height, bytearray()).extend(entry.events)
            elif isinstance(entry, BlockKept):
                told = bytes(memory.events.pop(entry.block.header.height, b""))
                self._kept(number, node, entry, told)
            else:
                self._certified(number, entry, memory)

        node.tape.read_with(read)

    def _kept(self, number: int, node: Node, entry: BlockKept, told: bytes) -> None:
        header = entry.block.header
        height = header.height
        self.note("kept", number, height, entry.hash.hex())
        known = self._hashes.setdefault(height, entry.hash)
        if known != entry.hash:
            text = f"node {number} keeps block {entry.hash.hex()} at height {height}"
            raise Broken(f"{text}, another has {known.hex()}")
        events = node.chain.blocks.events(height)
        if told and not events.endswith(told):
            raise Broken(f"node {number} told other events of block {height} than it keeps")
        if height > self.height:
            if height != self.height + 1:
                raise Broken(f"block {height} is kept before {self.height + 1}")
            self.height = height
            self._placed.update(placed(entry.block, events))
            self._compare(height)

    def _certified(self, number: int, entry: Certified, memory: "_Told") -> None:
        subject = entry.certificate.subject
        self.note("certified", number, subject.height)
        if subject.height <= memory.certified:
            raise Broken(f"node {number}: certified from {memory.certified} to {subject.height}")
        memory.certified = subject.height
        if self._hashes.get(subject.height) != subject.hash:
            raise Broken(f"node {number}: another block {subject.height} than kept is certified")
        self.certified = max(self.certified, subject.height)

    # -- at rest -------------------------------------------------------------------------------

    def settled(self) -> None:
        """Call when all nodes have caught up: nothing promised may still be missing."""
        overdue = [record for record in self._pending.values() if record.height <= self.height]
        if overdue:
            raise Broken(f"promised and not in the chain: {overdue[:3]}")
        for sequence in [s for s, made in self._placed.items() if made.height < self.height - 2000]:
            del self._placed[sequence]
        for place in [place for place in self._signed if place[2] < self.height - 1000]:
            del self._signed[place]


class _Told:
    """What one life of a node told."""

    def __init__(self, certified: int) -> None:
        self.certified = certified
        self.events: dict[int, bytearray] = {}


def placed(block: Block, events: bytes) -> Iterator[tuple[int, Placed]]:
    """(first sequence, what is there) of each group of commands of a block."""
    header = block.header
    results: dict[int, list[bytes]] = {}
    for at in range(0, len(events), EVENT_BYTES):
        sequence = int.from_bytes(events[at + 8 : at + 16], "little")
        results.setdefault(sequence, []).append(events[at : at + EVENT_BYTES])
    sequence = header.sequence - header.commands + 1
    sequence += sum(count for _, count, _ in groups(block.messages))
    for n, group in enumerate(read_groups(block.commands)):
        rows = [results.get(sequence + k, []) for k in range(group.size)]
        result = sha256(b"".join(b"".join(row) for row in rows)).digest()
        signature = block.signatures[65 * n : 65 * n + 65]
        command = command_hash(group.rows, signature)
        yield sequence, Placed(header.height, group.size, command, result)
        sequence += group.size
