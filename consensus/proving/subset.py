"""The subset of Python that the compiled core is written in, and the program that checks it.

What lives here: which files are the core, and `check`, the door that `scripts/tidy.py` and the
translator go through. What it must never know: how C is emitted (`translate.py`).

The same source runs interpreted, compiled by mypyc, and as C inside a proof. The subset is what
makes the three agree. Every line below closes a place where they were seen to differ: mypyc wraps
`M[-1]` to the end of a region, shifts by 64 as the processor likes, and wraps sums that interpreted
Python widens.

| place       | allowed                                                                           |
| ----------- | --------------------------------------------------------------------------------- |
| module      | docstring, imports of core modules, `NAME: Final = constant`, functions           |
| function    | `i64`, `bool`, `bytes` and the regions `M`, `S`; result `i64`, `bool` or `None`   |
| statement   | assignment to one local or word, `+=` and kin, call, if, while, break, return     |
| expression  | + - * & `|` ^ ~ << >> // %, comparison, and or not, `a if c else b`, `M[e]`, call |
| call        | functions of the core, without recursion; `len`, `i64`, `read_i64_le`             |
| shift       | by a constant in 0..63 or by `(count & 63)`                                       |
| // and %    | of a non-negative value by a positive one                                         |
| constant    | in [-2^62, 2^62); a function listed in `WRAPPING` may use all 64 bits             |

In a function listed in `WRAPPING` overflow is meant. Its Python must mask what it keeps, so that
unbounded integers give the same result.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from consensus.proving.bodies import check_body
from consensus.proving.program import Fault, Program, read

# The compiled core, relative to the root of the repository. The build, the translator and the
# checker read this list and no other.
CORE_MODULES: Final[tuple[str, ...]] = (
    "consensus/layout.py",
    "consensus/scratch.py",
    "consensus/matching/heap.py",
    "consensus/accounts/ledger.py",
    "consensus/matching/book.py",
    "consensus/matching/orders.py",
    "consensus/matching/match.py",
    "consensus/matching/entry.py",
    "consensus/accounts/keys.py",
    "consensus/matching/operations.py",
    "consensus/accounts/operations.py",
    "consensus/governance.py",
    "consensus/execute.py",
)

# Functions in which arithmetic is meant modulo 2^64 (de Bruijn multiplication, bit tables).
WRAPPING: Final[tuple[str, ...]] = ("above", "lowest_bit", "tables")


def analyse(sources: Mapping[str, str], wrapping: Iterable[str] = WRAPPING) -> Program:
    """Read and check `{path: text}`; the program can be emitted when its `faults` are empty."""
    program = read(sources, wrapping)
    for name in sorted(program.functions):
        check_body(program, program.functions[name])
    _find_recursion(program)
    program.faults.sort()
    return program


def check(sources: Mapping[str, str], wrapping: Iterable[str] = WRAPPING) -> list[Fault]:
    """Every place where the sources leave the subset, in order of path and line."""
    return analyse(sources, wrapping).faults


def callees_first(program: Program, entries: Iterable[str]) -> list[str]:
    """The functions that `entries` reach, each after those it calls; the same list every time."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for callee in program.functions[name].calls:
                visit(callee)
            ordered[name] = None

    for entry in sorted(entries):
        visit(entry)
    return list(ordered)


def _find_recursion(program: Program) -> None:
    """Report each circle of calls once: C's stack in a proof has a fixed size."""
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        function = program.functions[name]
        if name in trail:
            circle = " -> ".join((*trail[trail.index(name) :], name))
            text = f"the core does not recurse: {circle}"
            program.fault(function.module.path, function.node, "recursion", text)
        elif name not in finished:
            for callee in function.calls:
                visit(callee, (*trail, name))
            finished.add(name)

    for name in sorted(program.functions):
        visit(name, ())
