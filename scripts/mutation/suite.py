"""Mutants against the test suite, without starting an interpreter for each.

    python -m scripts.mutation.suite REQUEST.json RESULTS.jsonl

What lives here: a pytest plugin. It collects the tests once, runs them once with a mark at every
statement of the requested modules, and then forks a child for each mutant: the child swaps the
code of the changed function, runs the tests that reach the changed line, the quickest first, and
ends at the first failure. What must never live here: what is changed.

A changed statement at module level cannot be swapped in; for it a new interpreter imports the
changed module and runs the test files that reach the module.

Request: {"mutants": [...], "budget_s": N, "jobs": N, "tests": [...]}. A line of results: [number,
killer or null].
"""

import ast
import builtins
import gc
import importlib.abc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import pytest
from hypothesis import Phase, settings

from scripts.mutation.mutants import MODULE, Mutant, mutated_module

# The working directory is the tree under test: scripts/pure runs this in a copy.
ROOT: Final = Path.cwd()
OPTIONS: Final = (
    "-s", "-p", "no:cacheprovider", "-p", "no:terminal", "-m", "core and not slow",
    "-o", "addopts=--strict-markers",
)  # fmt: skip
MARKS: Final = "__mutation_marks__"
LOOP_CPU_S: Final = 2.0  # beyond four times what the test takes
STUCK_S: Final = 120.0  # by the clock: the machine may be busy
NOTHING_REACHES: Final = None

Line = tuple[str, int]


class Marks(ast.NodeTransformer):
    """Puts `marks[n] = 1` before every statement of every function."""

    def __init__(self, path: str, lines: list[Line]) -> None:
        self.path, self.lines = path, lines

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._mark(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self._mark(node)
        return node

    def _mark(self, node: ast.AST) -> None:
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            children = getattr(node, field, None)
            if not isinstance(children, list):
                continue
            marked: list[ast.AST] = []
            for child in children:
                if isinstance(child, ast.stmt):
                    marked += ast.parse(f"{MARKS}[{len(self.lines)}] = 1").body
                    self.lines.append((self.path, child.lineno))
                self._mark(child)
                marked.append(child)
            setattr(node, field, marked)


class Suite:
    """Collect once, reach once, then one child for each mutant."""

    def __init__(self, mutants: Sequence[Mutant], results: Path, budget_s: float, jobs: int):
        self.mutants, self.results = mutants, results
        self.budget_s, self.jobs = budget_s, jobs
        self.folder = Path(tempfile.mkdtemp(prefix="mutation-"))
        self.failed: str | None = None
        self.fixture_marks: dict[str, bytes] = {}
        self.seconds: dict[str, float] = {}
        self.reached: dict[Line, list[str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """A failure is enough: nobody reads the smallest example."""
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutation", settings.default, phases=phases)
        settings.load_profile("mutation")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        self.functions = functions_by_name({mutant.path for mutant in self.mutants})
        self._reach()
        waiting = [mutant for mutant in self.mutants if mutant.function != MODULE]
        running: dict[int, tuple[Mutant, float]] = {}
        while waiting or running:
            while waiting and len(running) < self.jobs:
                mutant = waiting.pop(0)
                chosen = self._tests_of(mutant)
                if chosen:
                    running[self._fork(mutant, chosen)] = (mutant, time.monotonic())
                else:
                    self._note(mutant, NOTHING_REACHES)
            if running:
                child, status = os.wait()
                self._note(running.pop(child)[0], self._verdict(child, status))
        for mutant in self.mutants:
            if mutant.function == MODULE:
                self._note(mutant, self._cold(mutant))
        return True

    def _note(self, mutant: Mutant, killer: str | None) -> None:
        with self.results.open("a") as lines:
            lines.write(json.dumps([self.mutants.index(mutant), killer]) + "\n")

    # What reaches what.

    def _reach(self) -> None:
        """Run everything once in a child, with marks; fills `seconds` and `reached`."""
        answer = self.folder / "reach.json"
        child = os.fork()
        if child == 0:
            try:
                self._reach_in_child(answer)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if not answer.exists():
            raise RuntimeError(f"the run with marks ended with wait status {status}")
        facts = json.loads(answer.read_text())
        self.seconds = facts["seconds"]
        self.reached = {(path, line): names for path, line, names in facts["reached"]}

    def _reach_in_child(self, answer: Path) -> None:
        silence()
        lines: list[Line] = []
        for path in sorted({mutant.path for mutant in self.mutants}):
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            marked = ast.fix_missing_locations(Marks(path, lines).visit(tree))
            self._swap(path, compile(marked, str(ROOT / path), "exec", dont_inherit=True))
        marks = bytearray(len(lines))
        setattr(builtins, MARKS, marks)
        self.marks = marks
        reached: dict[Line, list[str]] = {}
        seconds: dict[str, float] = {}
        for item, following in with_next(list(self.items.values())):
            marks[:] = bytes(len(marks))
            began, self.failed = time.process_time(), None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seen = bytearray(marks)
            for name in getattr(item, "fixturenames", ()):
                for n, mark in enumerate(self.fixture_marks.get(name, b"")):
                    seen[n] |= mark
            if self.failed is None:
                seconds[item.nodeid] = time.process_time() - began
                for line in {lines[n] for n, mark in enumerate(seen) if mark}:
                    reached.setdefault(line, []).append(item.nodeid)
        listed = [[path, line, names] for (path, line), names in reached.items()]
        answer.write_text(json.dumps({"seconds": seconds, "reached": listed}))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        """What a shared fixture reaches is reached by every test that asks for it."""
        if not hasattr(self, "marks") or fixturedef.scope == "function":
            return (yield)
        before = bytes(self.marks)
        self.marks[:] = bytes(len(before))
        result = yield
        self.fixture_marks[fixturedef.argname] = bytes(self.marks)
        self.marks[:] = bytes(a | b for a, b in zip(before, self.marks, strict=True))
        return result

    def _tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that reach the changed line, quickest first, as far as the budget goes."""
        spent = 0.0
        chosen: list[str] = []
        reaching = self.reached.get((mutant.path, mutant.line)) or self._near(mutant)
        for name in sorted(reaching, key=lambda name: self.seconds[name]):
            spent += self.seconds[name]
            if spent > self.budget_s and chosen:
                break
            chosen.append(name)
        return chosen

    def _near(self, mutant: Mutant) -> list[str]:
        """The tests of the last marked line above: an expression may span several lines."""
        lines = [line for path, line in self.reached if path == mutant.path and line < mutant.line]
        first = first_line(mutant)
        above = [line for line in lines if line >= first]
        return self.reached[mutant.path, max(above)] if above else []

    # One mutant.

    def _fork(self, mutant: Mutant, chosen: Sequence[str]) -> int:
        child = os.fork()
        if child == 0:
            code = 3
            try:
                silence()
                os.environ["PYTEST_DEBUG_TEMPROOT"] = str(self.folder)
                code = self._run(mutant, chosen)
            finally:
                os._exit(code)
        return child

    def _run(self, mutant: Mutant, chosen: Sequence[str]) -> int:
        text = (ROOT / mutant.path).read_text(encoding="utf-8")
        tree = mutated_module(text, mutant)
        code = compile(tree, str(ROOT / mutant.path), "exec", dont_inherit=True)
        self._swap(mutant.path, code, mutant.function)
        self.failed = None
        note = self.folder / f"killer-{os.getpid()}"
        for item, following in with_next([self.items[name] for name in chosen]):
            note.write_text(item.nodeid)
            signal.setitimer(signal.ITIMER_PROF, LOOP_CPU_S + 4 * self.seconds[item.nodeid])
            signal.setitimer(signal.ITIMER_REAL, STUCK_S + 50 * self.seconds[item.nodeid])
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._has_failed():
                return 1
        return 0

    def _has_failed(self) -> bool:
        return self.failed is not None

    def _verdict(self, child: int, status: int) -> str | None:
        note = self.folder / f"killer-{child}"
        name = note.read_text() if note.exists() else "import"
        note.unlink(missing_ok=True)
        if os.WIFSIGNALED(status):
            return f"{name} (ends by {signal.Signals(os.WTERMSIG(status)).name})"
        return None if os.waitstatus_to_exitcode(status) == 0 else name

    def _swap(self, path: str, code: CodeType, only: str | None = None) -> None:
        for name, inner in codes_by_name(code).items():
            for function in self.functions.get((path, name), ()):
                if only in (None, name):
                    function.__code__ = inner

    def _cold(self, mutant: Mutant) -> str | None:
        """A new interpreter that imports the changed module."""
        of_module = {n for (path, _), names in self.reached.items() if path == mutant.path
                     for n in names}  # fmt: skip
        files = {name.split("::")[0] for name in of_module} or {"tests"}
        cost = {file: sum(s for name, s in self.seconds.items() if name.startswith(file))
                for file in files}  # fmt: skip
        request = self.folder / "cold.json"
        chosen = sorted(files, key=lambda file: cost[file])
        request.write_text(json.dumps({"mutant": mutant, "files": chosen}))
        command = [sys.executable, "-m", "scripts.mutation.suite", str(request)]
        limit_s = STUCK_S + 20 * sum(cost.values())
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=limit_s)
        except subprocess.TimeoutExpired:
            return "endless loop"
        return None if done.returncode == 0 else f"{' '.join(chosen[:3])} (new interpreter)"


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from its mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = mutant.path.removesuffix(".py").replace("/", ".")

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        file = ROOT / self.mutant.path
        return importlib.util.spec_from_file_location(name, file, loader=self)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        file = ROOT / self.mutant.path
        tree = mutated_module(file.read_text(encoding="utf-8"), self.mutant)
        exec(compile(tree, str(file), "exec", dont_inherit=True), module.__dict__)


def functions_by_name(paths: set[str]) -> Mapping[Line | tuple[str, str], list[FunctionType]]:
    """Every live function of these modules by path and qualified name."""
    found: dict[Any, list[FunctionType]] = {}
    files = {str(ROOT / path): path for path in paths}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in files:
            key = files[thing.__code__.co_filename], thing.__code__.co_qualname
            found.setdefault(key, []).append(thing)
    return found


def codes_by_name(code: CodeType) -> dict[str, CodeType]:
    """The functions and methods in the code of a module, by qualified name."""
    found = {}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found[inner.co_qualname] = inner
            found |= {name: c for name, c in codes_by_name(inner).items() if "<" not in name}
    return found


def first_line(mutant: Mutant) -> int:
    """The line of the function that the mutant changes."""
    tree = ast.parse((ROOT / mutant.path).read_text(encoding="utf-8"))
    name = mutant.function.rpartition(".")[2]
    spans = [node.lineno for node in ast.walk(tree)
             if isinstance(node, ast.FunctionDef) and node.name == name
             and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)]  # fmt: skip
    return max(spans, default=mutant.line)


def with_next(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Each item with the one that follows, which pytest needs to know what to tear down."""
    return zip(items, [*items[1:], None], strict=True)


def silence() -> None:
    """What a child prints is of no interest."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def main(arguments: Sequence[str]) -> int:
    request = json.loads(Path(arguments[0]).read_text())
    if "mutant" in request:
        sys.meta_path.insert(0, Changed(Mutant(*request["mutant"])))
        return int(pytest.main([*OPTIONS, "-x", *request["files"]]))
    mutants = [Mutant(*fields) for fields in request["mutants"]]
    suite = Suite(mutants, Path(arguments[1]), request["budget_s"], request["jobs"])
    try:
        return int(pytest.main([*OPTIONS, *request["tests"]], plugins=[suite]))
    finally:
        shutil.rmtree(suite.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
