"""A signed group of commands on its way to the leader: its bytes, and the answer to it.

What lives here: the batch that nodes pass on, and the answers that come back. What must never live
here: whether the signature is good (`consensus.authority`) or the group may be included (the core).

      signed group   header row 64 | 1 to 64 operation rows | signature 65; the row says how many
      batch          signed groups, one after the other, at most 256 and 64 KiB
      answers        RLP list, one item for each group of the batch, in order:
                     (number, text, height, sequence, promise, events);
                     number 0: promised, else refused
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import trio

from consensus import codec
from consensus.block import ROW_BYTES
from consensus.commands import Group, read_groups
from consensus.finality.promises import command_hash
from consensus.layout import GROUP_OPERATIONS_MAX, KEY_GOVERNANCE, KEYS_PER_ACCOUNT
from consensus.signatures import SIGNATURE_BYTES
from node.exceptions import NodeError
from p2p.exchange.ingest import REPLY_BYTES_MAX

BAD_SUBMISSION: Final = 7301
BATCH_BYTES_MAX: Final = 64 << 10
BATCH_GROUPS_MAX: Final = 256
"""A promise has up to a kilobyte, and the answers to a batch must fit one reply."""
GROUP_BYTES_MAX: Final = (1 + GROUP_OPERATIONS_MAX) * ROW_BYTES + SIGNATURE_BYTES
ANSWER_TEXT_MAX: Final = 512
ANSWERS_BYTES_MAX: Final = REPLY_BYTES_MAX
EVENTS_BYTES_MAX: Final = 1 << 17


class Submission:
    """A group and the 65-byte signature that came with it; nothing is verified.

    `rows` are the group's, packed once: six steps of a command's way need them.
    """

    __slots__ = ("group", "rows", "signature")

    def __init__(self, group: Group, signature: bytes) -> None:
        self.group: Final = group
        self.signature: Final = signature
        self.rows: Final = group.rows

    @property
    def data(self) -> bytes:
        """Its bytes in a batch."""
        return self.rows + self.signature

    @property
    def hash(self) -> bytes:
        return command_hash(self.rows, self.signature)


class Answer(NamedTuple):
    """What became of a submission. `number` 0: `promise` holds the leader's signed answer."""

    number: int
    text: str
    height: int = 0
    sequence: int = 0
    promise: bytes = b""
    events: bytes = b""  # of the group, 64 bytes each


class Submits(Protocol):
    """Whatever takes a submission to the leader."""

    async def submit(self, submission: Submission) -> Answer: ...

    def submit_then(self, submission: Submission, done: Callable[[Answer], None]) -> None: ...


async def answer_of(submits: Submits, submission: Submission) -> Answer:
    """Wait for the answer."""
    found: list[Answer] = []
    arrived = trio.Event()

    def done(answer: Answer) -> None:
        found.append(answer)
        arrived.set()

    submits.submit_then(submission, done)
    await arrived.wait()
    return found[0]


def read_submission(data: bytes) -> Submission:
    """The submission whose bytes are `data`. Raises `NodeError` 7301."""
    found = list(read_batch(data))
    if len(found) != 1:
        raise _bad(f"{len(found)} groups where one is expected")
    return found[0]


def read_batch(data: bytes) -> Iterator[Submission]:
    """The submissions of a batch, in order. Raises `NodeError` 7301."""
    if len(data) > BATCH_BYTES_MAX:
        raise _bad(f"a batch of {len(data)} bytes, at most {BATCH_BYTES_MAX} are allowed")
    at = found = 0
    while at < len(data):
        found += 1
        if found > BATCH_GROUPS_MAX:
            raise _bad(f"more than {BATCH_GROUPS_MAX} groups in a batch")
        rows = 1 + data[at + 1] if at + ROW_BYTES <= len(data) else 0
        end = at + rows * ROW_BYTES
        if not 2 <= rows <= 1 + GROUP_OPERATIONS_MAX or end + SIGNATURE_BYTES > len(data):
            raise _bad(f"the group at byte {at} is not 1 to 64 rows, a header and a signature")
        group = next(read_groups(data[at:end]))
        if group.rows != data[at:end]:
            raise _bad(f"the header row at byte {at} has bits that no group has")
        if not (0 <= group.key <= KEYS_PER_ACCOUNT or group.key == KEY_GOVERNANCE):
            raise _bad(f"the group at byte {at} has key {group.key}, with which nobody signs")
        at = end + SIGNATURE_BYTES
        yield Submission(group, data[end:at])


def write_batch(submissions: Iterable[Submission]) -> bytes:
    return b"".join(submission.data for submission in submissions)


def encode_answers(answers: Sequence[Answer]) -> bytes:
    """At most `ANSWERS_BYTES_MAX` for a batch; events from where they exceed 128 KiB are left out.

    Who needs those asks for the receipt.
    """
    items: list[codec.Encodable] = []
    room = EVENTS_BYTES_MAX
    for answer in answers:
        room -= len(answer.events)
        items.append(
            [
                answer.number,
                answer.text[:ANSWER_TEXT_MAX].encode("ascii", "replace"),
                answer.height,
                answer.sequence,
                answer.promise,
                answer.events if room >= 0 else b"",
            ]
        )
    return codec.encode(items)


def decode_answers(data: bytes, count: int) -> list[Answer]:
    """The answers to a batch of `count` groups, or `InvalidEncoding`."""
    item = codec.decode(data, limit_bytes=ANSWERS_BYTES_MAX, limit_items=7 * count + 1)
    return [_read_answer(part) for part in codec.read_record(item, count)]


def _read_answer(item: codec.Item) -> Answer:
    number, text, height, sequence, promise, events = codec.read_record(item, 6)
    return Answer(
        codec.read_uint(number, 16),
        codec.read_string(text, ANSWER_TEXT_MAX).decode("ascii", "replace"),
        codec.read_uint(height, 53),
        codec.read_uint(sequence, 53),
        codec.read_string(promise, ANSWERS_BYTES_MAX),
        codec.read_string(events, ANSWERS_BYTES_MAX),
    )


def _bad(why: str) -> NodeError:
    return NodeError(BAD_SUBMISSION, f"{why}; see docs/protocol/commands.md")
