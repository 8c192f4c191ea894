"""Ten million hostile groups: documented answers only, and nothing changed by what was refused.

The generated C, with overflow and undefined behaviour trapped and not one word of memory beyond the
regions, judges every group and takes it back (hostile.c). A share of the same groups goes through
the core itself, whose spare memory is poisoned: other poison, same answers. Short form 200,000.
"""

import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import Final

import pytest
from agreement import Run
from core_rows import ROW
from executors import ROOT
from hostile_rows import HostileRows
from hostile_twin import RECORD_BYTES, HostileTwin, hostile_library
from librt.vecs import vec
from mypy_extensions import i64
from reached import NAMES
from venues import VENUES

from consensus import layout
from consensus.execute import execute, open_block
from consensus.scratch import forget, undo
from node.ctwin import core_sources

PROCESSES = 2
SEED = 31_337
BATCH = 20_000
MESSAGES_BEFORE = 6_000
WORDS_BEYOND = 1 << 14
POISONS: Final = (0x5A5A5A5A5A5A5A5A, -1, 1 << 24 | 1)


def live_run(name: str) -> Run:
    """A venue after some thousand messages, trading, its next block open."""
    run = Run(VENUES[name], SEED, with_twin=False)
    run.play(MESSAGES_BEFORE)
    view = run.view
    while view.chain_halted or 0 in view.halted or len(view.orders) < 8:
        run.block()
    view.height, view.time = view.height + 1, view.time + 60_000  # rate tokens come back
    run.core.open_block(view.height, view.time, view.height // 3)
    run.core.memory.seal()
    return run


def answers_of_core(image: bytes, scratch: bytes, records: bytes, phase: int, poison: int) -> bytes:
    """What hostile.c answers, from the core; the words beyond the regions hold `poison`."""
    beyond = poison.to_bytes(8, "little", signed=True) * WORDS_BEYOND
    M = vec[i64](memoryview(image + beyond).cast("q"))
    S = vec[i64](memoryview(scratch).cast("q"))
    answers = bytearray()
    for at in range(0, len(records), RECORD_BYTES):
        open_block(M, S, M[layout.HEIGHT], M[layout.TIME], M[layout.L1_ORIGIN])
        execute(M, S, records, at, at + RECORD_BYTES, phase)
        fault, head = S[layout.S_FAULT], S[S[layout.S_EVENT] - layout.EVENT_WORDS]
        answers += bytes((0, fault - 4000) if fault else (head & 255, head >> 8 & 255))
        undo(M, S)
        forget(S)
        S[layout.S_EVENT] = layout.S_EVENTS
    after = memoryview(M).cast("B")
    assert after[: len(image)] == image, f"a committed word changed, poison {poison}"
    assert after[len(image) :] == beyond, f"a word beyond the regions changed, poison {poison}"
    return bytes(answers)


def check_handles(run: Run, records: bytes, answers: bytes) -> None:
    """A cancel or amend by handle is accepted only from the owner of that living order."""
    for n in range(len(answers) // 2):
        kind, op = answers[2 * n], records[RECORD_BYTES * n + 64]
        if kind in (0, layout.EVENT_REFUSED) or op not in (layout.OP_AMEND, layout.OP_CANCEL):
            continue
        header, row = ROW.iter_unpack(records[RECORD_BYTES * n : RECORD_BYTES * (n + 1)])
        if op == layout.OP_CANCEL or not row[0] >> 28 & 15:
            order = run.view.orders.get((row[0] >> 32, row[1]))
            owned = order is not None and order.account == header[1]
            assert owned, f"not the owner's: {header}, {row}"


def attack(name: str, seed: int, total: int, core_batches: int) -> Counter[tuple[str, int]]:
    """`total` hostile groups against one venue; what was answered. `core_batches` of each kind go
    through the core too."""
    run = live_run(name)
    hostile = HostileRows(run, random.Random(seed))
    scratch = bytes(memoryview(run.core.memory.S))
    twin = HostileTwin(run.core.image(), scratch)
    answered: Counter[tuple[str, int]] = Counter()
    for make, share, phase in hostile.kinds():
        source, left, batches = make(), round(total * share), 0
        while left > 0:
            records = b"".join(islice(source, min(left, BATCH)))
            answers = twin.answers(records, phase)
            assert twin.is_unchanged(), f"a committed word changed; {name}, {make.__name__}"
            check_handles(run, records, answers)
            if batches < core_batches:
                part = records[: RECORD_BYTES * 2_000]
                expected = answers[: len(part) // RECORD_BYTES * 2]
                for poison in POISONS:
                    assert answers_of_core(twin.image, scratch, part, phase, poison) == expected
            left, batches = left - BATCH, batches + 1
            for (kind, number), count in Counter(zip(*[iter(answers)] * 2, strict=True)).items():
                answered[kind_of(kind), number + 4000 if kind == 0 else number] += count
    return answered


def kind_of(first: int) -> str:
    return {0: "fault", layout.EVENT_REFUSED: "refusal"}.get(first, "accepted")


@pytest.mark.slow
def test_hostile_groups_get_documented_answers_and_change_no_committed_word(
    long_run: bool, core_is_compiled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile_library()  # compiled here, once, not in each process
    rounds, each, batches = (10, 200_000, 2) if long_run and core_is_compiled else (1, 40_000, 1)
    names = list(VENUES) * rounds
    seeds = [SEED + n for n in range(len(names))]
    with ProcessPoolExecutor(PROCESSES) as pool:
        parts = pool.map(attack, names, seeds, [each] * len(names), [batches] * len(names))
        answered = sum(parts, Counter())
    with capsys.disabled():
        print(f"\n{answered.total():,} hostile groups, seeds from {SEED}")
        for kind in ("fault", "refusal"):
            counts = (f"{n} {NAMES[kind][n]}: {answered[kind, n]:,}" for n in NAMES[kind])
            print(f"{kind}s  {', '.join(counts)}")
        accepted = sum(count for (kind, _), count in answered.items() if kind == "accepted")
        print(f"accepted, and undone: {accepted:,}")
    assert answered.total() == each * len(names)
    assert len(answered) > 40


OPERATIONS: Final = "consensus/matching/operations.py"
ORDERS: Final = "consensus/matching/orders.py"
OP_LINE: Final = "    op: i64 = read_i64_le(b, i) & 255\n"
DAMAGES: Final = {
    "a refusal that wrote": (OPERATIONS, OP_LINE, f"{OP_LINE}    M[HEIGHT] = why + op\n"),
    "a committed word changed": (OPERATIONS, OP_LINE, f"{OP_LINE}    M[AT_ASSETS + 60] = why\n"),
    "events after a refusal": (
        OPERATIONS, OP_LINE, f"{OP_LINE}    refuse(M, S, why, op, 0, 0, 0, 0, 0)\n"
    ),
    "an index outside": (ORDERS, " or slot >= M[k + BOOK_POOL_MAX]", ""),
    "not the owner's": (ORDERS, " & TERMS_ACCOUNT_MASK != account", " == -1"),
}  # fmt: skip
"""What is found: a file of the core, a line of it, and what makes it wrong."""


@pytest.fixture(scope="module")
def live() -> Run:
    return live_run("wide")


@pytest.mark.parametrize("found", DAMAGES)
def test_a_core_with_one_line_broken_is_found_out(live: Run, found: str) -> None:
    path, line, broken = DAMAGES[found]
    sources = core_sources(ROOT)
    assert sources[path].count(line) == 1
    imports = "from consensus.layout import (\n"
    text = sources[path].replace(imports, f"{imports}    AT_ASSETS,\n    HEIGHT,\n")
    sources[path] = text.replace(line, broken)
    scratch = bytes(memoryview(live.core.memory.S))
    hostile = HostileRows(live, random.Random(SEED))
    with pytest.raises(AssertionError, match=found):
        twin = HostileTwin(live.core.image(), scratch, sources)
        for make, _, phase in hostile.kinds():
            records = b"".join(islice(make(), BATCH))
            answers = twin.answers(records, phase)
            assert twin.is_unchanged(), "a committed word changed"
            check_handles(live, records, answers)
