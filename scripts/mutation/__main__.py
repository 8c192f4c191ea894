"""`scripts/mutate`: choose mutants, run those whose result is not known, print what survived.

What lives here: the choice, the order of the stages and the report. What must never live here: how
a mutant is made or run.

Mutants of the compiled core first meet the corpus (`core.py`); what survives, and every mutant of
the other modules, meets the tests that reach it (`suite.py`), the core interpreted in a copy of the
tree made by scripts/pure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from consensus.proving.subset import CORE_MODULES
from node.ctwin import core_sources
from scripts.mutation.core import repeatable, run_corpus
from scripts.mutation.corpus import ROOT, record_all
from scripts.mutation.mutants import CHECK, Mutant, mutants_of
from scripts.mutation.results import Results, report, review_name, survivors_of

BUDGET_S: Final = 10.0  # processor time of the tests for one mutant
# Not judged by mutants, each for a reason.
EXCLUDED: Final = {
    "consensus/matching/naive": "the naive twin is itself a test: it says what the core must do",
    "consensus/accounts/naive": "the naive twin",
    "consensus/state/naive": "the naive twin",
    "consensus/proving": "the translator: its product is compared with the core it translates",
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    chosen = [mutant for path in modules(options.module) for mutant in choose(path, options)]
    results = Results(Path(options.results), fresh=options.fresh)
    core = [mutant for mutant in chosen if mutant.path in CORE_MODULES]
    run_core(results.unknown(core, "corpus"), results)
    if not options.corpus_only:
        waiting = results.unknown([m for m in core if results.survives(m, "corpus")], "suite")
        run_suite(waiting, results, options, pure=True)
        others = [mutant for mutant in chosen if mutant.path not in CORE_MODULES]
        run_suite(results.unknown(others, "suite"), results, options, pure=False)
    if options.review:
        print("\n".join(review_name(mutant) for mutant in survivors_of(chosen, results)))
        return 0
    return report(chosen, results, options.json)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/mutate", description=__doc__.split("\n\n")[0])
    parser.add_argument("--module", action="append", default=[], metavar="M",
                        help="a path or its beginning; `core`; `others`; default: all")  # fmt: skip
    parser.add_argument("--sample", type=int, default=100, metavar="N",
                        help="per cent of the mutants; checks of the core always all")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="which sample")
    parser.add_argument("--budget", type=float, default=BUDGET_S, metavar="S",
                        help="processor seconds of tests for one mutant")  # fmt: skip
    parser.add_argument("--tests", action="append", metavar="PATH",
                        help="only these tests, after new ones were written")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="one JSON object on the output")
    parser.add_argument("--review", action="store_true",
                        help="print survivors as equivalent.txt names them")  # fmt: skip
    parser.add_argument("--fresh", action="store_true", help="forget the results of earlier runs")
    parser.add_argument("--corpus-only", action="store_true", help="the first stage of the core")
    parser.add_argument("--results", default=str(ROOT / "build" / "mutation" / "results.json"))
    return parser.parse_args(arguments)


def modules(asked: Sequence[str]) -> Iterator[str]:
    """The paths of the modules asked for."""
    for file in sorted((ROOT / "consensus").rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        group = "core" if path in CORE_MODULES else "others"
        if path.startswith(tuple(EXCLUDED)):
            continue
        if not asked or any(name == group or path.startswith(name) for name in asked):
            yield path


def choose(path: str, options: argparse.Namespace) -> Iterator[Mutant]:
    """A sample that a change elsewhere does not disturb: by the digest of the mutant itself."""
    for mutant in mutants_of(path, (ROOT / path).read_text(encoding="utf-8")):
        name = f"{options.seed} {path} {mutant.function} {mutant.text}"
        draw = int.from_bytes(sha256(name.encode()).digest()[:4], "big") % 100
        always = mutant.kind == CHECK and path in CORE_MODULES
        if always or draw < options.sample:
            yield mutant


def run_core(mutants: Sequence[Mutant], results: Results) -> None:
    if not mutants:
        return
    sources = core_sources(ROOT)
    recorded = record_all()
    corpus = repeatable(sources, recorded)
    messages = sum(recording.messages for recording in corpus)
    say(f"{len(corpus)} of {len(recorded)} recordings, {messages} random messages")
    for path in sorted({mutant.path for mutant in mutants}):
        of_module = [mutant for mutant in mutants if mutant.path == path]
        say(f"{path}: {len(of_module)} mutants against the corpus")
        for mutant, killer in run_corpus(sources, path, of_module, corpus):
            results.note(mutant, "corpus", killer)
        results.save()


def run_suite(
    mutants: Sequence[Mutant], results: Results, options: argparse.Namespace, *, pure: bool
) -> None:
    if not mutants:
        return
    say(f"{len(mutants)} mutants against the suite{' (interpreted core)' if pure else ''}")
    with tempfile.TemporaryDirectory() as folder:
        request, answers = Path(folder) / "request.json", Path(folder) / "answers.jsonl"
        facts = {"mutants": mutants, "budget_s": options.budget, "jobs": options.jobs,
                 "tests": options.tests or ["tests"]}  # fmt: skip
        request.write_text(json.dumps(facts))
        command = [sys.executable, "-m", "scripts.mutation.suite", str(request), str(answers)]
        if pure:
            command = [str(ROOT / "scripts" / "pure"), *command]
        try:
            subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
        finally:
            for line in answers.read_text().splitlines() if answers.exists() else []:
                number, killer = json.loads(line)
                results.note(mutants[number], "suite", killer)
            results.save()


def say(text: str) -> None:
    print(f"mutate: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
