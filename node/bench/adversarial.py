"""`rialto bench matcher --adversarial`: loads made to hurt, and the honest traders beside them.

What lives here: the clock around the matcher, call by call. What must never live here: what a load
consists of (`attacks.py`).

Two questions. *What does an order cost at worst?* Three loads whose p99 has a bar of its own. *What
do others feel?* The same honest messages are run quietly and with an attacker's bursts between
them, alternating; compared are the times of the honest messages only. What an honest order waits
for the burst before it is bounded by the longest single slice: one command, or one block's
housekeeping, since a caller can stop after any. A caller that hands over a whole group of 64 such
commands gets the core back when the event area is nearly full: `groups`, the longest such call.

Every sample is one call of `run_book` with one row. The runs of a load are identical, so for the
longest slice each call counts with its shortest time over the rounds: what the machine did to one
of them is not the core's. A block ends after 10,000 messages or 40,000 dirty leaves, as the rules
say; its housekeeping is timed as well, here with 64 switches due in each block of `expiry`.
"""

from array import array
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns, thread_time_ns
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.execute import housekeeping, operate, run_book
from node.bench import Advance, attacks
from node.bench.attacks import Attack
from node.bench.exchange import LEAVES_MAX, Start, exchange, next_block, row
from node.bench.figures import AT_MOST, Bar, percentiles, rounded
from node.bench.flows import BLOCK, ROW_BYTES
from node.bench.machine import quiet
from node.bench.timer import Timer

MESSAGES: Final = 100_000
ROUNDS: Final = 3
LOADS: Final = ("contiguous", "swept", "ends")
ATTACKS: Final = ("squat", "fok", "peak", "sweep", "expiry")
GROUPS: Final = ("fok", "peak", "sweep", "expiry")
STEPS: Final = len(LOADS) + len(ATTACKS) + len(GROUPS)
TRADERS: Final = 500
AT_ONCE: Final = 4
"""Rows between two looks at the scratch areas: as many sweeps leave room in both."""

BARS: Final[dict[str, Bar]] = {
    **{f"{load}.p99_ns": (AT_MOST, 1000) for load in LOADS},
    **{f"{attack}.p99_ratio": (AT_MOST, 10) for attack in ATTACKS},
    **{f"{attack}.longest_slice_ms": (AT_MOST, 5) for attack in ATTACKS},
    **{f"groups.{name}_ms": (AT_MOST, 5) for name in GROUPS},
}


class Samples:
    """Nanoseconds of each honest call, each attacker's call, each housekeeping of one run."""

    def __init__(self) -> None:
        self.honest: array[int] = array("q")
        self.attack: array[int] = array("q")
        self.blocks: array[int] = array("q")


class Run:
    """One pass over an exchange, block by block."""

    def __init__(self, start: Start, timer: Timer, due: int = 0) -> None:
        self.M, self.S = start.vectors()
        self.timer = timer
        self.samples = Samples()
        self.rows = 0
        self.due = due

    def time(self, rows: bytes, into: "array[int]") -> None:
        """Rows through the clock, a few at a time, and the boundaries of blocks where they fall."""
        for part in pieces(rows, AT_ONCE):
            into.extend(self.timer.calls(run_book, self.M, self.S, part, ROW_BYTES))
            self.rows += len(part) // ROW_BYTES
            if self.rows >= BLOCK or self.S[layout.S_DIRTY] >= LEAVES_MAX:
                self.next_block()

    def next_block(self) -> None:
        """Close the block, open the next a millisecond later, and time its housekeeping."""
        self.rows = 0
        next_block(self.M, self.S, self.M[layout.TIME] + 1)
        if self.due:
            arm(self.M, self.S, self.due)
            next_block(self.M, self.S, self.M[layout.TIME] + 1)
        begun = perf_counter_ns()
        housekeeping(self.M, self.S)
        self.samples.blocks.append(perf_counter_ns() - begun)
        self.S[layout.S_EVENT] = layout.S_EVENTS


def arm(M: vec[i64], S: vec[i64], switches: int) -> None:
    """Let so many attackers arm a switch that is due in the next block."""
    S[layout.S_KEY] = layout.KEY_OWNER
    for account in attacks.ATTACKERS[:switches]:
        S[layout.S_ACCOUNT] = account
        operate(M, S, row(layout.OP_DEADMAN, M[layout.TIME] + 1), 0)
    S[layout.S_EVENT] = layout.S_EVENTS


def prepared(*before: bytes) -> Start:
    """An exchange on which these rows were run."""
    memory = exchange(TRADERS)
    for rows in before:
        at = 0
        while at < len(rows):
            end = min(len(rows), at + BLOCK * ROW_BYTES)
            at = run_book(memory.M, memory.S, rows, at, end)
            memory.take_events()
            next_block(memory.M, memory.S)
    return Start(memory)


def load(rows: tuple[bytes, bytes], timer: Timer, rounds: int) -> dict[str, object]:
    """Percentiles of single calls over one load: medians of the rounds."""
    start = prepared(rows[0])
    found = []
    for _ in range(rounds):
        run = Run(start, timer)
        with quiet():
            run.time(rows[1], run.samples.honest)
        found.append(percentiles(run.samples.honest))
    return {name: int(median(each[name] for each in found)) for name in found[0]}


def pieces(rows: bytes, size: int) -> Iterator[bytes]:
    """`size` rows at a time."""
    for at in range(0, len(rows), size * ROW_BYTES):
        yield rows[at : at + size * ROW_BYTES]


def siege(start: Start, timer: Timer, rows: bytes, attack: Attack) -> Samples:
    """The honest rows with a burst after every `attack.every` of them."""
    run = Run(start, timer, 64 if attack.dead_after else 0)
    if attack.dead_after:
        next_block(run.M, run.S, run.M[layout.TIME] + attack.dead_after)
    bursts = attack.bursts(len(rows) // ROW_BYTES // attack.every)
    with quiet():
        for block in pieces(rows, attack.every):
            run.time(next(bursts, b""), run.samples.attack)
            run.time(block, run.samples.honest)
        run.next_block()
    return run.samples


def peace(start: Start, timer: Timer, rows: bytes) -> Samples:
    """The same honest rows alone."""
    run = Run(start, timer)
    with quiet():
        run.time(rows, run.samples.honest)
    return run.samples


def besieged(
    attack: Attack, before: bytes, rows: bytes, timer: Timer, rounds: int
) -> dict[str, object]:
    """Honest figures quiet and under the attack, alternating, and the longest slice of it."""
    quiet_start, start = prepared(before), prepared(before, attack.before())
    calm: list[dict[str, int]] = []
    hurt: list[dict[str, int]] = []
    shortest: list[array[int]] = []
    for _ in range(rounds):
        calm.append(percentiles(peace(quiet_start, timer, rows).honest))
        samples = siege(start, timer, rows, attack)
        hurt.append(percentiles(samples.honest))
        calls = samples.honest + samples.attack + samples.blocks
        best = shortest.pop() if shortest else calls
        shortest.append(array("q", map(min, best, calls)))
    figures: dict[str, object] = {}
    for name in ("p50_ns", "p99_ns"):
        figures[f"quiet_{name}"] = int(median(each[name] for each in calm))
        figures[name] = int(median(each[name] for each in hurt))
    ratios = [b["p99_ns"] / max(1, a["p99_ns"]) for a, b in zip(calm, hurt, strict=True)]
    figures["p99_ratio"] = rounded(median(ratios))
    figures["longest_slice_ms"] = rounded(max(shortest[0]) / 1e6)
    return figures


def group_ms(start: Start, wait: int, rows: bytes, rounds: int) -> float:
    """Milliseconds of processor time of one call with all these rows, in a fresh block: the
    shortest of the rounds. Nearly every call as long as this one is interrupted on a busy machine.
    """
    spent = []
    for _ in range(rounds):
        M, S = start.vectors()
        next_block(M, S, M[layout.TIME] + wait)
        with quiet():
            begun = thread_time_ns()
            run_book(M, S, rows, 0, len(rows))
            spent.append(thread_time_ns() - begun)
    return rounded(min(spent) / 1e6)


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """Every load and attack; a report without `machine` and `bars`."""
    report: dict[str, object] = {}
    ticks = 1 << 24
    with TemporaryDirectory() as folder:
        timer = Timer(Path(folder))
        loads = {
            "contiguous": lambda: attacks.contiguous(messages, seed),
            "swept": lambda: attacks.swept(messages),
            "ends": lambda: attacks.ends(messages, seed, ticks),
        }
        for name in LOADS:
            report[name] = load(loads[name](), timer, rounds)
            advance(1)
        before, rows = attacks.honest(messages, seed)
        now = int(exchange(2).M[layout.TIME])
        for name, attack in attacks.attacks(now, messages).items():
            report[name] = besieged(attack, before, rows, timer, rounds)
            advance(1)
        grouped = {}
        for name, (resting, wait, commands) in attacks.groups(now).items():
            grouped[f"{name}_ms"] = group_ms(prepared(resting), wait, commands, rounds)
            advance(1)
        report["groups"] = grouped
        report["workload"] = (
            f"seed {seed}, {messages:,} honest messages, {rounds} rounds; one call a row; "
            f"{timer.how}, {timer.overhead} ns of clock taken off"
        )
    return report
