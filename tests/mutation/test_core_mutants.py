"""A handful of mutants of the core, all noticed by a short recorded run; the unchanged core is not.

The sampled run over all of consensus/ is the long form.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from node.ctwin import core_sources
from scripts.mutation.core import run_corpus, with_switches
from scripts.mutation.corpus import ROOT, Recording, record
from scripts.mutation.mutants import Mutant, mutants_of
from scripts.mutation.results import OUTSIDE

MATCH = "consensus/matching/match.py"
SEED = 7


@pytest.fixture(scope="module")
def sources() -> Mapping[str, str]:
    return core_sources(ROOT)


@pytest.fixture(scope="module")
def corpus() -> list[Recording]:
    return [record("tiny", SEED, 3000)]


def of_match(sources: Mapping[str, str], *, function: str, what: str) -> Mutant:
    found = [mutant for mutant in mutants_of(MATCH, sources[MATCH])
             if mutant.function == function and what in mutant.what]  # fmt: skip
    assert found, f"{function} has no change {what}"
    return found[0]


def test_each_of_a_handful_of_changes_is_noticed_and_an_endless_loop_is_ended(
    sources: Mapping[str, str], corpus: list[Recording]
) -> None:
    chosen = [
        of_match(sources, function="walk", what="removed `if visits >= visits_max"),
        of_match(sources, function="walk", what="removed `visits += 1`"),
        of_match(sources, function="walk", what="removed `key = M[k"),
        of_match(sources, function="trade", what="removed `touch(M, S, level)`"),
        of_match(sources, function="trade", what="became `visible - M["),
        of_match(sources, function="settle", what="removed `if fee > room - spent"),
        of_match(sources, function="settle", what="`-base` became `base`"),
    ]
    killers = dict(run_corpus(sources, MATCH, chosen, corpus))
    assert [mutant for mutant, killer in killers.items() if killer is None] == []
    loops = [mutant for mutant, killer in killers.items() if str(killer).endswith("(endless loop)")]
    assert [mutant.what for mutant in loops] == ["removed `key = M[k + BOOK_BEST + other]`"]


def test_an_unchanged_function_behind_its_switch_is_not_noticed(
    sources: Mapping[str, str], corpus: list[Recording]
) -> None:
    mutant = of_match(sources, function="begin", what="removed `S[S_TRADES] = 0`")
    text = with_switches(sources[MATCH], [mutant]).partition("def begin__0")[2]
    body = "def begin" + text.partition("\ndef ")[0]
    same = mutant._replace(text=body)
    assert list(run_corpus(sources, MATCH, [same], corpus)) == [(same, None)]


def test_a_change_that_leaves_the_subset_is_not_run(sources: Mapping[str, str]) -> None:
    mutant = of_match(sources, function="begin", what="removed `S[S_TRADES] = 0`")
    floats = mutant._replace(text=mutant.text.replace("S[S_LOTS] = lots", "S[S_LOTS] = 0.5"))
    assert list(run_corpus(sources, MATCH, [floats], [])) == [(floats, OUTSIDE)]


@pytest.mark.slow
def test_nine_of_ten_sampled_changes_of_the_rules_are_noticed(
    long_run: bool, tmp_path: Path
) -> None:
    if not long_run:
        pytest.skip("long form only (scripts/test --long): about an hour of processor time")
    command = ["scripts/mutate", "--sample", "5", "--seed", str(SEED), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    facts = json.loads(done.stdout)
    print(f"seed {SEED}", json.dumps(facts["survivors"], indent=1))
    assert facts["killed_percent"] >= 90
