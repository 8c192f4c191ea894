"""A recorded run of random groups, which generated C repeats in milliseconds.

What lives here: recording, and the recording as words for `replay.c`. What must never live here:
what a row means; the rows come from tests/core.

The recording is taken from `agreement.Run`, which compares the core with the naive twin after every
group and every block and stops at the first difference. So what is recorded is what the twin says,
and a changed core that differs from the recording fails tests/core/test_agreement.py, which plays
the same venues and seeds. Only groups refused for a full block rest on the core alone: the twin has
no leaves. The second part are the exchanges of tests/rules, each told to core and twin by a test.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from struct import iter_unpack, pack
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "core"))

from agreement import Run  # noqa: E402
from executors import Core, empty_memory, prepare_genesis  # noqa: E402
from test_agreement import jobs  # noqa: E402
from venues import VENUES, Venue  # noqa: E402

from consensus import layout  # noqa: E402
from consensus.execute import operate  # noqa: E402

GENESIS, OPEN, ROWS, KEEP, IMAGE, SEAL, UNDO = range(1, 8)  # replay.c
GENESIS_WORDS: Final = (layout.S_KEY, layout.S_ACCOUNT, layout.S_LOW)


@dataclass
class Recording:
    """A region before genesis is its length in bytes and what is not zero of it, from its start.

    `steps` are little-endian words, as `replay.c` reads them.
    """

    name: str
    M: tuple[int, bytes]
    S: tuple[int, bytes]
    steps: bytes
    messages: int = 0


@dataclass
class Steps:
    """Words of steps so far; the image as it is known, and as it was at the last seal."""

    parts: list[bytes] = field(default_factory=list)
    image: bytes = b""
    sealed: bytes = b""

    def add(self, kind: int, *parts: bytes) -> None:
        body = b"".join(parts)
        self.parts.append(pack("<2q", kind, len(body) // 8) + body)

    def see(self, image: bytes) -> None:
        """An IMAGE step: the words in which the image differs from the last one."""
        old = self.image.ljust(len(image), b"\0")
        diffs = []
        leaf = 8 << layout.LEAF_SHIFT
        for first in range(0, len(image), leaf) if image != old else ():
            if image[first : first + leaf] != old[first : first + leaf]:
                ours = iter_unpack("<q", image[first : first + leaf])
                theirs = iter_unpack("<q", old[first : first + leaf])
                pairs = enumerate(zip(ours, theirs, strict=True), first // 8)
                diffs += [pack("<2q", word, new[0]) for word, (new, was) in pairs if new != was]
        self.add(IMAGE, pack("<q", len(image) // 8), *diffs)
        self.image = image

    def seal(self) -> None:
        self.add(SEAL, pack("<q", len(self.image) // 8))
        self.sealed = self.image

    def undo(self) -> None:
        self.add(UNDO, pack("<q", len(self.sealed) // 8))
        self.image = self.sealed


class RecordingCore(Core):
    """The core, writing down what it is asked and what it answers."""

    def __init__(self, venue: Venue) -> None:
        self.steps = Steps()
        self.memory = empty_memory(venue)
        self.begins = [sparse(memoryview(part)) for part in (self.memory.M, self.memory.S)]
        self.steps.image = self.steps.sealed = self.begins[0][1]
        for row in venue.rows():
            M, S = self.memory.M, self.memory.S
            prepare_genesis(M, S, row)
            words = [S[at] for at in GENESIS_WORDS] + [S[layout.S_SIGNER + n] for n in range(3)]
            self.steps.add(GENESIS, pack("<6q", *words), row)
            operate(M, S, row, 0)
        self.memory.take_events()
        self.image()
        self.steps.seal()
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

    def image(self) -> bytes:
        image = super().image()
        self.steps.see(image)
        return image

    def seal(self) -> bytes:
        self.image()
        self.steps.seal()
        return self._seal()

    def undo(self) -> None:
        self._undo()
        self.steps.undo()

    def recording(self, name: str) -> Recording:
        M, S = self.begins
        return Recording(name, M, S, b"".join(self.steps.parts))


def sparse(region: memoryview) -> tuple[int, bytes]:
    """Length, and the bytes up to the last that is not zero, in whole words."""
    data = region.tobytes()
    used = -(-len(data.rstrip(b"\0")) // 8) * 8
    return len(data), data[:used]


def record(name: str, seed: int, messages: int, groups_max: int = 90) -> Recording:
    """Play `messages` operations against the naive twin and write them down."""
    venue = VENUES[name]
    run = Run(venue, seed, groups_max=groups_max)
    core = RecordingCore(venue)
    run.core = core
    run.play(messages)
    recording = core.recording(f"tests/core/test_agreement.py {name}, seed {seed}")
    recording.messages = run.messages
    return recording


class RecordRules:
    """A pytest plugin: every exchange that a test of tests/rules tells to core and twin."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.cores: list[RecordingCore] = []

    def pytest_collection_finish(self) -> None:
        sys.modules["side_by_side"].Core = self.core  # type: ignore[attr-defined]

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Keep the words, not the memories: an exchange is thirty megabytes."""
        self.recordings += [core.recording(item.nodeid) for core in self.cores]
        self.cores.clear()

    def core(self, venue: Venue) -> RecordingCore:
        self.cores.append(RecordingCore(venue))
        return self.cores[-1]


def record_rules() -> list[Recording]:
    """Every exchange of tests/rules. Those that a test meddled with do not repeat: drop them."""
    recorder = RecordRules()
    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers"]
    pytest.main([*options, str(ROOT / "tests" / "rules")], plugins=[recorder])
    return recorder.recordings


def record_all() -> list[Recording]:
    """The runs of the default form of tests/core/test_agreement.py, and tests/rules."""
    runs = [
        record(job.venue, job.seed, job.messages, job.groups_max)
        for job in jobs(long=False, compiled=True)
    ]
    return runs + record_rules()
