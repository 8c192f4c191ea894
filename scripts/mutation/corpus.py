"""A recorded run of random groups, which generated C repeats in milliseconds.

What lives here: recording, and the recording as words for `replay.c`. What must never live here:
what a row means; the rows come from tests/core.

The recording is taken from `agreement.Run`, which compares the core with the naive twin after every
group and every block and stops at the first difference. So what is recorded is what the twin says,
and a changed core that differs from the recording fails tests/core/test_agreement.py, which plays
the same venues and seeds. Only groups refused for a full block rest on the core alone: the twin has
no leaves.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from struct import iter_unpack, pack
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "core"))

from agreement import Run  # noqa: E402
from executors import Core, empty_memory, prepare_genesis  # noqa: E402
from test_agreement import jobs  # noqa: E402
from venues import VENUES, Venue  # noqa: E402

from consensus import layout  # noqa: E402
from consensus.execute import operate  # noqa: E402

GENESIS, OPEN, ROWS, KEEP, SEAL, UNDO = range(1, 7)  # replay.c
GENESIS_WORDS: Final = (layout.S_KEY, layout.S_ACCOUNT, layout.S_LOW)


@dataclass
class Recording:
    """`M` and `S` before genesis, and every step after it, as little-endian words."""

    name: str
    M: bytearray
    S: bytearray
    steps: bytes
    messages: int

    def __post_init__(self) -> None:
        self.before, self.now = bytearray(self.M), bytearray(self.M)  # images that replay.c keeps


@dataclass
class Steps:
    """Words of steps so far, and the image as it was at the last seal."""

    parts: list[bytes] = field(default_factory=list)
    image: bytes = b""

    def add(self, kind: int, *parts: bytes) -> None:
        body = b"".join(parts)
        self.parts.append(pack("<2q", kind, len(body) // 8) + body)

    def seal(self, image: bytes) -> None:
        """A SEAL step: the words in which the image differs from the last one."""
        old = self.image.ljust(len(image), b"\0")
        diffs = []
        leaf = 8 << layout.LEAF_SHIFT
        for first in range(0, len(image), leaf):
            if image[first : first + leaf] != old[first : first + leaf]:
                ours = iter_unpack("<q", image[first : first + leaf])
                theirs = iter_unpack("<q", old[first : first + leaf])
                pairs = enumerate(zip(ours, theirs, strict=True), first // 8)
                diffs += [pack("<2q", word, new[0]) for word, (new, was) in pairs if new != was]
        self.add(SEAL, pack("<q", len(image) // 8), *diffs)
        self.image = image


class RecordingCore(Core):
    """The core, writing down what it is asked and what it answers."""

    def __init__(self, venue: Venue) -> None:
        self.steps = Steps()
        self.memory = empty_memory(venue)
        self.begins = [bytearray(memoryview(part)) for part in (self.memory.M, self.memory.S)]
        self.steps.image = bytes(self.begins[0])
        for row in venue.rows():
            M, S = self.memory.M, self.memory.S
            prepare_genesis(M, S, row)
            words = [S[at] for at in GENESIS_WORDS] + [S[layout.S_SIGNER + n] for n in range(3)]
            self.steps.add(GENESIS, pack("<6q", *words), row)
            operate(M, S, row, 0)
        self.memory.take_events()
        self.steps.seal(self.image())
        self.memory.seal()
        self._seal, self._undo = self.memory.seal, self.memory.undo
        # Run seals and undoes through the memory, which is where a recorder has to listen.
        self.memory.seal = self.seal  # type: ignore[method-assign]
        self.memory.undo = self.undo  # type: ignore[method-assign]

    def open_block(self, height: int, time: int, l1_origin: int) -> None:
        self.steps.add(OPEN, pack("<3q", height, time, l1_origin))
        super().open_block(height, time, l1_origin)

    def execute(self, rows: bytes, phase: int) -> tuple[int, bytes]:
        fault, events = super().execute(rows, phase)
        whole = rows.ljust(-(-len(rows) // 8) * 8, b"\0")
        self.steps.add(ROWS, pack("<3q", fault, phase, len(whole) // 8), whole, events)
        return fault, events

    def housekeeping(self) -> bytes:
        events = super().housekeeping()
        self.steps.add(KEEP, events)
        return events

    def seal(self) -> bytes:
        self.steps.seal(self.image())
        return self._seal()

    def undo(self) -> None:
        self._undo()
        self.steps.add(UNDO, pack("<q", len(self.image()) // 8))


def record(name: str, seed: int, messages: int, groups_max: int = 90) -> Recording:
    """Play `messages` operations against the naive twin and write them down."""
    venue = VENUES[name]
    run = Run(venue, seed, groups_max=groups_max)
    core = RecordingCore(venue)
    run.core = core
    run.play(messages)
    M, S = core.begins
    steps = b"".join(core.steps.parts)
    return Recording(f"{name}, seed {seed}", M, S, steps, run.messages)


def record_all() -> list[Recording]:
    """The runs of the default form of tests/core/test_agreement.py."""
    return [
        record(job.venue, job.seed, job.messages, job.groups_max)
        for job in jobs(long=False, compiled=True)
    ]
