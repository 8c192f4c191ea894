"""Mutants of the compiled core against the recorded corpus: one library for all of a module.

What lives here: `survivors_of`, which needs no compiler run for each mutant. What must never live
here: a mutant's meaning, or a test.

Each changed function stands beside the original under a name of its own, and the original's name
becomes a switch over `rialto_mutant` ("mutant schemata", Untch, Offutt and Harrold 1993). A child
process sets the number and replays the corpus on its copy of the memory; a processor-time limit
ends those that loop for ever. A changed constant changes every function and gets a library of its
own.
"""

import ast
import ctypes
import mmap
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import consensus.proving
from consensus import layout
from consensus.proving.subset import WRAPPING, check
from consensus.proving.translate import translate
from node.ctwin import Vec
from scripts.mutation.corpus import Recording
from scripts.mutation.mutants import MODULE, Mutant, mutated_module
from scripts.mutation.results import OUTSIDE

ENTRIES: Final = (
    "execute", "forget", "housekeeping", "open_block", "operate", "run_book", "tables", "undo",
)  # fmt: skip
FLAGS: Final = ("-std=c11", "-O1", "-w", "-shared", "-fPIC", "-DRIALTO_HOSTED", "-DRIALTO_OVERFLOW")
CHOSEN: Final = "chosen_mutant"  # a local name that no function has
SWITCH: Final = "def mutant() -> i64:\n    return 0\n"
SWITCH_IN_C: Final = re.compile(r"(static i64 f_mutant\(void\) \{\s*return )INT64_C\(0\);")
# Constants that replay.c needs, whether or not the functions do.
CONSTANTS: Final = ("S_EVENT", "S_EVENTS", "S_MARKS", "S_DIRTY", "S_FAULT", "S_KEY", "S_ACCOUNT",
                    "S_LOW", "S_SIGNER")  # fmt: skip
FATHER_WAITS_S: Final = 60.0


def run_corpus(
    sources: Mapping[str, str], path: str, mutants: Sequence[Mutant], corpus: Sequence[Recording]
) -> Iterator[tuple[Mutant, str | None]]:
    """Each mutant of the core module `path` and what killed it; None if the corpus did not."""
    constants = [mutant for mutant in mutants if mutant.function == MODULE]
    functions = [mutant for mutant in mutants if mutant.function != MODULE]
    with tempfile.TemporaryDirectory() as folder:
        outside = outside_the_subset(sources, path, functions)
        yield from ((mutant, OUTSIDE) for mutant in functions if mutant in outside)
        inside = [mutant for mutant in functions if mutant not in outside]
        if inside:
            text = with_switches(sources[path], inside)
            library = compile_c({**sources, path: text}, Path(folder) / "core.so")
            limit_s = cpu_seconds(library, corpus)
            for number, mutant in enumerate(inside, 1):
                yield mutant, replay(library, number, corpus, limit_s)
        for mutant in constants:
            changed = {**sources, path: ast.unparse(mutated_module(sources[path], mutant))}
            if check(changed):
                yield mutant, OUTSIDE
                continue
            library = compile_c(changed, Path(folder) / f"{mutant.number}.so")
            yield mutant, replay(library, 0, corpus, 20.0)


def outside_the_subset(
    sources: Mapping[str, str], path: str, mutants: Sequence[Mutant]
) -> set[Mutant]:
    """Those that scripts/tidy.py refuses, so that no test has to notice them."""
    text = with_switches(sources[path], mutants)
    body = ast.parse(text).body
    firsts = {node.lineno: node for node in body if isinstance(node, ast.FunctionDef)}
    found = set()
    for fault in check({**sources, path: text}, wrapping_of(text)):
        if fault.path == path:
            name = firsts[max(line for line in firsts if line <= fault.line)].name
            found.add(mutants[int(name.rpartition("__")[2]) - 1])
        else:
            raise ValueError(f"the core itself leaves the subset: {fault}")
    return found


def with_switches(text: str, mutants: Sequence[Mutant]) -> str:
    """The module with each function that has mutants behind a switch, numbers from 1."""
    tree = ast.parse(text)
    tree.body += ast.parse(SWITCH).body
    for node in list(tree.body):
        if not isinstance(node, ast.FunctionDef):
            continue
        numbers = [n for n, mutant in enumerate(mutants, 1) if mutant.function == node.name]
        if not numbers:
            continue
        switch = ast.parse(ast.unparse(node)).body[0]
        assert isinstance(switch, ast.FunctionDef)
        name, node.name = node.name, f"{node.name}__0"
        arguments = ", ".join(argument.arg for argument in switch.args.args)
        gives = "return " if isinstance(switch.returns, ast.Name) else ""
        calls = {number: f"{gives}{name}__{number}({arguments})" for number in [0, *numbers]}
        first, last = numbers[0], numbers[-1]  # every number between is of this function too
        lines = [
            f"{CHOSEN}: i64 = mutant()",
            f"if {CHOSEN} < {first} or {CHOSEN} > {last}:",
            f" {calls[0]}",
            "else:",
        ]
        lines += _branches(calls, numbers, 1)
        switch.body = ast.parse("\n".join(lines)).body
        for number in numbers:
            changed = ast.parse(mutants[number - 1].text).body[0]
            assert isinstance(changed, ast.FunctionDef)
            changed.name = f"{name}__{number}"
            tree.body.append(changed)
        tree.body.append(switch)
    return ast.unparse(ast.fix_missing_locations(tree))


def _branches(calls: Mapping[int, str], numbers: Sequence[int], depth: int) -> Iterator[str]:
    """Lines that find the one of `numbers` that runs in a logarithm of steps."""
    space = " " * depth
    if len(numbers) == 1:
        yield f"{space}{calls[numbers[0]]}"
        return
    middle = len(numbers) // 2
    yield f"{space}if {CHOSEN} < {numbers[middle]}:"
    yield from _branches(calls, numbers[:middle], depth + 1)
    yield f"{space}else:"
    yield from _branches(calls, numbers[middle:], depth + 1)


def wrapping_of(text: str) -> tuple[str, ...]:
    """`WRAPPING` with the changed functions beside their originals."""
    names = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return (*WRAPPING, *(name for name in names if name.partition("__")[0] in WRAPPING))


def compile_c(sources: Mapping[str, str], library: Path) -> Path:
    """The sources as a library that exports `rialto_replay` and `rialto_mutant`."""
    wrapping = {name for text in sources.values() for name in wrapping_of(text)}
    c_text = translate(sources, ENTRIES, sorted(wrapping))
    c_text = SWITCH_IN_C.sub(r"extern i64 rialto_mutant;\n\1rialto_mutant;", c_text)
    c_text = c_text.replace("static extern", "extern")
    here = Path(__file__).parent
    missing = [f"#define K_{name} INT64_C({getattr(layout, name)})" for name in CONSTANTS
               if f"#define K_{name} " not in c_text]  # fmt: skip
    source = library.with_suffix(".c")
    source.write_text("\n".join([c_text, *missing, (here / "replay.c").read_text()]))
    include = Path(consensus.proving.__file__).parent
    command = ["cc", *FLAGS, f"-I{include}", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


def cpu_seconds(library: Path, corpus: Sequence[Recording]) -> float:
    """A limit for one mutant: four times what the unchanged core takes, and 0.3 s."""
    before = os.times()
    killer = replay(library, 0, corpus, FATHER_WAITS_S)
    if killer is not None:
        raise ValueError(f"the unchanged core does not repeat the corpus: {killer}")
    after = os.times()
    spent = after.children_user + after.children_system
    return 0.3 + 4 * (spent - before.children_user - before.children_system)


def repeatable(sources: Mapping[str, str], corpus: Sequence[Recording]) -> list[Recording]:
    """The recordings that the unchanged core repeats, each asked in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        library = compile_c(sources, Path(folder) / "core.so")
        return [one for one in corpus if replay(library, 0, [one], FATHER_WAITS_S) is None]


def replay(library: Path, number: int, corpus: Sequence[Recording], limit_s: float) -> str | None:
    """What stopped mutant `number` in a child process of its own; None if nothing did."""
    shared = mmap.mmap(-1, 8)  # where the child is, even if it does not come back
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, limit_s)  # its signal ends the process
        code = 2
        try:
            code = int(_differs(library, number, corpus, shared))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    where = corpus[int.from_bytes(shared[:8], "little")].name if corpus else ""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        how = "endless loop" if number == signal.SIGPROF else signal.Signals(number).name
        return f"{where} ({how})"
    return where if os.waitstatus_to_exitcode(status) else None


def _differs(library: Path, number: int, corpus: Sequence[Recording], shared: mmap.mmap) -> bool:
    """Whether a recording comes out otherwise; `shared` says which."""
    loaded = ctypes.CDLL(str(library))
    if number:
        ctypes.c_int64.in_dll(loaded, "rialto_mutant").value = number
    function = loaded.rialto_replay
    function.argtypes = [Vec, Vec, *[ctypes.c_void_p] * 2, ctypes.c_char_p, ctypes.c_int64]
    for index, one in enumerate(corpus):
        shared[:8] = index.to_bytes(8, "little")
        # Zero pages come from the system only when they are touched.
        regions = [(ctypes.c_char * length)() for length, _ in (one.M, one.S, one.M, one.M)]
        for region, data in zip(regions, (one.M[1], one.S[1], one.M[1], one.M[1]), strict=True):
            ctypes.memmove(region, data, len(data))
        M, S, before, now = (ctypes.addressof(region) for region in regions)
        M_vec, S_vec = Vec(one.M[0] // 8, M), Vec(one.S[0] // 8, S)
        if function(M_vec, S_vec, before, now, one.steps, len(one.steps) // 8):
            return True
    return False
