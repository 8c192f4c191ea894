"""What each part of the core costs: the same flow with one part after the other taken out.

    python -m node.bench.parts normal        # or deep, sweep

What lives here: the parts, as edits of the source before it is made into C. What must never live
here: a way to run an exchange like that; nothing made here leaves the temporary folder.

The parts go one by one, so a line is the cost of what is still there. Each figure is the sum, over
the blocks of the flow, of the fastest of the rounds, which alternate: other work on the machine
hides in the rounds that are not the fastest. Funds never bind in these flows, so the same orders
live and die without the money.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from node.bench.flows import ROW_BYTES, Flow, make
from node.bench.matcher import BATCH, blocks
from node.bench.reference import Reference, build_reference
from node.build_check import ROOT
from node.ctwin import core_sources

MESSAGES: Final = 100_000
ROUNDS: Final = 15
SEED: Final = 1

MATCHING: Final = "consensus/matching/"
SCRATCH: Final = "consensus/scratch.py"
Edit = tuple[str, str, str]
"""Path, text, its replacement; the text occurs once."""


def idle(path: str, head: str, result: str = "") -> Edit:
    """The function returns at once; the condition is true, which the C compiler cannot know."""
    return path, head, f"{head}\n    if S[0] >= 0:\n        return{result}"


PARTS: Final[dict[str, list[Edit]]] = {
    "images": [
        (SCRATCH, "while n < LEAF_WORDS:\n        S[at", "while n > LEAF_WORDS:\n        S[at")
    ],
    "marks": [idle(SCRATCH, 'dirty, before anything in it is stored."""')],
    "order table": [
        (
            f"{MATCHING}operations.py",
            "if M[table_at(M, account, client)] != 0:",
            "if M[table_at(M, account, client)] < 0:",
        ),
        (f"{MATCHING}orders.py", "    M[entry] = 0\n", ""),
        (f"{MATCHING}entry.py", "    M[entry] = ((M[k", "    M[entry] = 0 & ((M[k"),
    ],
    "settlement": [
        idle("consensus/accounts/ledger.py", 'at `value` a lot; returns its fee."""', " 0"),
        idle(f"{MATCHING}match.py", 'at most, fee included. Returns its fee."""', " 0"),
    ],
    "locks": [idle("consensus/accounts/ledger.py", 'a negative amount moves it back."""')],
    "events": [idle(SCRATCH, 'the running SEQUENCE, words 2..7."""')],
}


def without(parts: list[str]) -> dict[str, str]:
    """The sources of the core without these parts."""
    sources = core_sources(ROOT)
    for part in parts:
        for path, text, replacement in PARTS[part]:
            if sources[path].count(text) != 1:
                sys.exit(f"{path} has changed: correct the part {part!r} in node/bench/parts.py")
            sources[path] = sources[path].replace(text, replacement)
    return sources


def block_times(reference: Reference, flow: Flow) -> list[int]:
    """Nanoseconds of each block of one pass."""
    reference.rewind(flow.start)
    spent = []
    for block in blocks(flow.rows):
        spent.append(reference.block(block, BATCH * ROW_BYTES)[0])
        reference.close_block()
    return spent


def main(name: str) -> None:
    flow = make(name, MESSAGES, SEED)
    gone: list[str] = []
    with TemporaryDirectory() as folder:
        cores = {"everything": Reference(build_reference(Path(folder)), flow.start)}
        for part in PARTS:
            gone.append(part)
            library = build_reference(Path(folder), without(gone))
            cores[f"without {part}"] = Reference(library, flow.start)
        fastest: dict[str, list[int]] = {}
        for _ in range(ROUNDS):
            for label, reference in cores.items():
                times = block_times(reference, flow)
                fastest[label] = list(map(min, times, fastest.get(label, times)))
    for label, times in fastest.items():
        print(f"{label:<20} {sum(times) / flow.messages:6.1f} ns a message")


if __name__ == "__main__":
    main(sys.argv[1])
