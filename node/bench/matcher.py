"""`rialto bench matcher`: orders per second and time per order, against C from the same source.

What lives here: the clock around the matcher. Guards, work budgets, dirty marks with their undo
images, locks and settlement are on; there are no groups, signatures or roots here.

Inside the clock, which counts the thread's CPU time: `run_book` on batches of 64 rows and the copy
of each batch's events to bytes of their own. Outside: the block boundary after every 10,000
messages (the marks are forgotten, the next block is opened) and the digest of the events. Each
round starts from the same preloaded exchange; compiled core and C take turns. Their events and
their memory must be equal.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.execute import run_book
from node.bench import Advance
from node.bench.exchange import next_block
from node.bench.figures import AT_LEAST, AT_MOST, Bar, percentiles, rate, rounded
from node.bench.flows import BLOCK, ROW_BYTES, SHAPES, Flow, make
from node.bench.machine import cpu_ns, quiet
from node.bench.reference import Reference, build_reference
from node.bench.timer import StoppedShort, Timer
from node.ctwin import CompilerMissing
from node.exceptions import NodeError

TWIN_DIFFERS: Final = 7301
BATCH: Final = 64
MESSAGES: Final = 1_000_000
ROUNDS: Final = 5
STEPS: Final = len(SHAPES)

BARS: Final[dict[str, Bar]] = {
    "normal.ops_per_s": (AT_LEAST, 15_000_000),
    "deep.ops_per_s": (AT_LEAST, 5_000_000),
    "sweep.ops_per_s": (AT_LEAST, 10_000_000),
    "normal.p99_ns": (AT_MOST, 500),
    "deep.p99_ns": (AT_MOST, 1000),
    "sweep.p99_ns": (AT_MOST, 1000),
    "normal.ratio_to_c": (AT_LEAST, 0.5),
    "deep.ratio_to_c": (AT_LEAST, 0.5),
    "sweep.ratio_to_c": (AT_LEAST, 0.5),
}


@dataclass
class Round:
    """What one pass over a flow gave; `digest` covers the events, then the final memory."""

    spent: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


def blocks(rows: bytes) -> Iterator[bytes]:
    for at in range(0, len(rows), BLOCK * ROW_BYTES):
        yield rows[at : at + BLOCK * ROW_BYTES]


def compiled_round(flow: Flow) -> Round:
    """One pass of the compiled core over the flow."""
    done = Round()
    M, S = flow.start.vectors()
    for block in blocks(flow.rows):
        spent, events = compiled_block(M, S, block)
        done.spent += spent
        done.digest.update(events)
        next_block(M, S)
    done.digest.update(memoryview(M).cast("B"))
    return done


def compiled_block(M: vec[i64], S: vec[i64], rows: bytes) -> tuple[int, bytes]:
    """Nanoseconds and events of one block's rows. Raises `StoppedShort`."""
    size, first = BATCH * ROW_BYTES, layout.S_EVENTS * 8
    scratch = memoryview(S).cast("B")
    taken = []
    begun = cpu_ns()
    for at in range(0, len(rows), size):
        end = min(at + size, len(rows))
        if run_book(M, S, rows, at, end) != end:
            raise StoppedShort(f"the core stopped between bytes {at} and {end} of a block")
        taken.append(bytes(scratch[first : S[layout.S_EVENT] * 8]))
        S[layout.S_EVENT] = layout.S_EVENTS
    return cpu_ns() - begun, b"".join(taken)


def reference_round(reference: Reference, flow: Flow) -> Round:
    """One pass of the C over the flow."""
    done = Round()
    reference.rewind(flow.start)
    for block in blocks(flow.rows):
        spent, events = reference.block(block, BATCH * ROW_BYTES)
        done.spent += spent
        done.digest.update(events)
        reference.close_block()
    done.digest.update(reference.memory())
    return done


def alternate(flow: Flow, reference: Reference | None, rounds: int) -> dict[str, object]:
    """Rates of both over `rounds` alternating rounds, and their ratio.

    Raises `NodeError` 7301 if they do not do the same.
    """
    ours: list[int] = []
    theirs: list[int] = []
    for _ in range(rounds):
        with quiet():
            compiled = compiled_round(flow)
            ours.append(compiled.spent)
            if reference is None:
                continue
            twin = reference_round(reference, flow)
            theirs.append(twin.spent)
        if compiled.digest.digest() != twin.digest.digest():
            text = f"the compiled core and its C differ over the flow {flow.name}"
            raise NodeError(TWIN_DIFFERS, f"{text}; rebuild, then run the tests of the core")
    compiled_rate = rate(flow.messages, ours)
    figures: dict[str, object] = {
        "ops_per_s": rounded(compiled_rate.median),
        "best_ops_per_s": rounded(compiled_rate.best),
    }
    if theirs:
        c_rate = rate(flow.messages, theirs)
        figures["c_ops_per_s"] = rounded(c_rate.median)
        figures["ratio_to_c"] = rounded(compiled_rate.median / c_rate.median)
    return figures


def latency(flow: Flow, timer: Timer, reference: Reference | None) -> dict[str, object]:
    """Time of single calls: p50, p99 and p99.9 of the compiled core and of C."""
    samples: list[int] = []
    M, S = flow.start.vectors()
    with quiet():
        for block in blocks(flow.rows):
            samples.extend(timer.calls(run_book, M, S, block, ROW_BYTES))
            next_block(M, S)
    figures: dict[str, object] = dict(percentiles(samples))
    if reference is not None:
        reference.rewind(flow.start)
        samples = []
        for block in blocks(flow.rows):
            taken = reference.each(block, ROW_BYTES)
            samples.extend(max(0, sample - timer.overhead) for sample in taken)
            reference.close_block()
        figures |= {f"c_{name}": value for name, value in percentiles(samples).items()}
    return figures


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """Every flow; a report without `machine` and `bars`."""
    report: dict[str, object] = {}
    workload = [f"seed {seed}, batches of {BATCH}, block boundary every {BLOCK:,} messages"]
    with TemporaryDirectory() as name:
        folder = Path(name)
        timer = Timer(folder)
        workload.append(f"latency: {timer.how}, {timer.overhead} ns of clock taken off")
        try:
            library: Path | None = build_reference(folder)
        except CompilerMissing as error:
            library = None
            workload.append(f"no C reference: {error}")
        for shape in SHAPES:
            flow = make(shape, messages, seed)
            workload.append(flow.describe())
            reference = Reference(library, flow.start) if library else None
            report[shape] = alternate(flow, reference, rounds) | latency(flow, timer, reference)
            advance(1)
    report["workload"] = "; ".join(workload)
    return report
