"""Three executions of the same rules behind one door: the core, its naive twin, generated C.

What lives here: building each from a venue, and calls. What must never live here: a comparison.

The core is whatever `import consensus` gives: compiled or interpreted.
"""

import functools
import tempfile
from pathlib import Path
from typing import Final, Protocol

from core_rows import ROW, Address
from venues import FEE_OWNER, GOVERNOR, START, Venue

import consensus.proving
from consensus import layout
from consensus.execute import execute, housekeeping, open_block, operate
from consensus.matching.naive import Exchange
from consensus.state.memory import Memory, Sizes, empty_ledger
from node.ctwin import CTwin, build

ROOT: Final = Path(consensus.proving.__file__).parents[2]
ROOM: Final = 200_000  # words beyond genesis, for markets that a run lists
LIBRARIES: Final = Path(tempfile.gettempdir()) / "rialto-ctwin"
ENTRIES: Final = ("execute", "forget", "housekeeping", "open_block", "operate", "undo")


class Words(Protocol):
    """State or scratch words."""

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


class Executor(Protocol):
    """One exchange that runs rows."""

    name: str

    def open_block(self, height: int, time: int, l1_origin: int) -> None: ...

    def execute(self, rows: bytes, phase: int) -> tuple[int, bytes]:
        """Run groups; returns 0 or the number of the first not includable, and the events."""

    def housekeeping(self) -> bytes:
        """Schedules and sweep; returns the events."""

    def image(self) -> bytes:
        """All regions, little-endian words."""


def empty_memory(venue: Venue) -> Memory:
    """The venue's ledger before its genesis rows, with room for its markets."""
    sizes = Sizes(venue.assets_max, venue.markets_max, venue.accounts_max, venue.table_slots)
    memory = Memory(empty_ledger(sizes, venue.parameters, GOVERNOR, FEE_OWNER, START))
    memory.reserve(memory.M[layout.END] + ROOM + 400_000 * len(venue.markets))
    return memory


def prepare_genesis(M: Words, S: Words, row: bytes) -> None:
    """Set the scratch words under which `operate` runs one genesis row."""
    words = ROW.unpack(row)
    deposit = words[0] & 255 == layout.OP_DEPOSIT
    S[layout.S_KEY] = layout.KEY_DEPOSIT if deposit else layout.KEY_GOVERNANCE
    S[layout.S_ACCOUNT] = S[layout.S_LOW] = 0
    for n in range(3):
        S[layout.S_SIGNER + n] = words[1 + n] if deposit else 0
    if deposit:
        low, found = low_neighbour(M, words[1:4])
        S[layout.S_LOW], S[layout.S_ACCOUNT] = low, low if found else 0


def low_neighbour(M: Words, who: tuple[int, ...]) -> tuple[int, bool]:
    """The account with the largest address not above `who`, and whether it is that address."""
    account = 0
    while True:
        at = M[layout.AT_ACCOUNTS] + (account << 5)
        after = M[at + layout.ACCOUNT_NEXT]
        record = M[layout.AT_ACCOUNTS] + (after << 5)
        if after == 0 or tuple(M[record + n] for n in range(3)) > who:
            return account, tuple(M[at + n] for n in range(3)) == who
        account = after


class Core:
    """The core, through `Memory`."""

    name = "core"

    def __init__(self, venue: Venue) -> None:
        self.memory = empty_memory(venue)
        for row in venue.rows():
            prepare_genesis(self.memory.M, self.memory.S, row)
            operate(self.memory.M, self.memory.S, row, 0)
        for event in ROW.iter_unpack(self.memory.take_events()):
            assert event[0] & 255 != layout.EVENT_REFUSED, event
        self.memory.seal()

    def open_block(self, height: int, time: int, l1_origin: int) -> None:
        open_block(self.memory.M, self.memory.S, height, time, l1_origin)

    def execute(self, rows: bytes, phase: int) -> tuple[int, bytes]:
        events, at = b"", 0
        while at < len(rows):
            at = execute(self.memory.M, self.memory.S, rows, at, len(rows), phase)
            events += self.memory.take_events()
            if self.memory.S[layout.S_FAULT]:
                return int(self.memory.S[layout.S_FAULT]), events
            self.memory.make_room()
        return 0, events

    def housekeeping(self) -> bytes:
        housekeeping(self.memory.M, self.memory.S)
        return self.memory.take_events()

    def image(self) -> bytes:
        return bytes(self.memory.view())


class Twin:
    """The naive twin."""

    name = "naive twin"

    def __init__(self, venue: Venue) -> None:
        self.exchange = Exchange(
            assets_max=venue.assets_max, markets_max=venue.markets_max,
            accounts_max=venue.accounts_max, table_slots=venue.table_slots,
            parameters=list(venue.parameters), governor=twenty(GOVERNOR),
            fee_owner=twenty(FEE_OWNER), time=START,
        )  # fmt: skip
        for row in venue.rows():
            self.exchange.operate(row)
        self.exchange.take_events()

    def open_block(self, height: int, time: int, l1_origin: int) -> None:
        self.exchange.open_block(height, time, l1_origin)

    def execute(self, rows: bytes, phase: int) -> tuple[int, bytes]:
        return self.exchange.execute(rows, phase), self.exchange.take_events()

    def housekeeping(self) -> bytes:
        self.exchange.housekeeping()
        return self.exchange.take_events()

    def image(self) -> bytes:
        return self.exchange.pack()


@functools.cache
def library(mode: str) -> Path:
    """The generated C of the core beside the sources, compiled once for a mode of node/ctwin."""
    return build(ROOT, LIBRARIES, mode, entries=ENTRIES)


class GeneratedC:
    """The C that the translator makes of the core; in mode `overflow` every lost bit stops it."""

    def __init__(self, venue: Venue, mode: str) -> None:
        self.name = f"generated C, {mode}"
        memory = empty_memory(venue)
        self.twin = CTwin(library(mode), bytes(memoryview(memory.M)), bytes(memoryview(memory.S)))
        self.M, self.S = self.twin.memory("M"), self.twin.memory("S")
        for row in venue.rows():
            prepare_genesis(self.M, self.S, row)
            self.twin.call("operate", row, 0)
        self._take_events()
        self.seal()

    def _take_events(self) -> bytes:
        events = self.S[layout.S_EVENTS : self.S[layout.S_EVENT]].tobytes()
        self.S[layout.S_EVENT] = layout.S_EVENTS
        return events

    def open_block(self, height: int, time: int, l1_origin: int) -> None:
        self.twin.call("open_block", b"", height, time, l1_origin)

    def execute(self, rows: bytes, phase: int) -> tuple[int, bytes]:
        at = self.twin.call("execute", rows, 0, len(rows), phase)
        events, fault = self._take_events(), int(self.S[layout.S_FAULT])
        assert fault or at == len(rows), "a group is larger than the twin's scratch"
        return fault, events

    def housekeeping(self) -> bytes:
        self.twin.call("housekeeping")
        return self._take_events()

    def image(self) -> bytes:
        return self.M[: self.M[layout.END]].tobytes()

    def seal(self) -> None:
        self.twin.call("forget")


def twenty(words: Address) -> bytes:
    """An address as 20 bytes."""
    return b"".join(word.to_bytes(size, "big") for word, size in zip(words, (7, 7, 6), strict=True))
