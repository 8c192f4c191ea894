"""Mutants met by the tests that reach them, and what is remembered of it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.mutation import results
from scripts.mutation.mutants import MODULE, Mutant, mutants_of

ROOT = Path(__file__).parents[2]
FORKS = "consensus/forks.py"


def test_the_tests_that_reach_a_change_notice_it_and_leave_an_unchanged_function_alone(
    tmp_path: Path,
) -> None:
    found = mutants_of(FORKS, (ROOT / FORKS).read_text())
    inner = [mutant for mutant in found if mutant.function != MODULE and mutant.kind == "check"]
    outer = next(mutant for mutant in found if mutant.function == MODULE)
    same = inner[0]._replace(text=original(inner[0]))
    mutants = [*inner, same, outer]
    request, answers = tmp_path / "request.json", tmp_path / "answers.jsonl"
    tests = ["tests/blocks/test_forks.py"]
    facts = {"mutants": mutants, "budget_s": 5, "jobs": 2, "tests": tests}
    request.write_text(json.dumps(facts))
    command = [sys.executable, "-m", "scripts.mutation.suite", str(request), str(answers)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    killers = dict(map(json.loads, answers.read_text().splitlines()))
    assert killers.keys() == set(range(len(mutants)))
    assert killers.pop(len(inner)) is None
    assert all(killer.startswith(tests[0]) for killer in killers.values())


def original(mutant: Mutant) -> str:
    """The text of the function that `mutant` changes, as it is."""
    tree = ast.parse((ROOT / mutant.path).read_text())
    name = mutant.function.rpartition(".")[2]
    return next(ast.unparse(node) for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef) and node.name == name)  # fmt: skip


MUTANT = Mutant("consensus/a.py", 0, "f", 3, "check", "removed `if x: return 1`", "def f(): pass")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    results._digest.cache_clear()
    for folder in ("tests", "consensus"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test_a.py").write_text("one")
    (tmp_path / "consensus" / "a.py").write_text("a line\n" * 10)
    return tmp_path


def known_after(tree: Path, killer: str | None, changed: str) -> bool:
    """Whether a result still holds after one file of the tree has changed."""
    known = results.Results(tree / "results.json")
    known.note(MUTANT, "suite", killer)
    known.save()
    (tree / changed).write_text("two")
    results._digest.cache_clear()
    return results.Results(tree / "results.json").unknown([MUTANT], "suite") == []


def test_a_kill_is_remembered_until_the_test_that_made_it_changes(tree: Path) -> None:
    assert known_after(tree, "tests/test_a.py::test_x", "consensus/test_a.py")
    assert not known_after(tree, "tests/test_a.py::test_x", "tests/test_a.py")


@pytest.mark.parametrize("changed", ["tests/test_a.py", "tests/test_b.py", "consensus/test_a.py"])
def test_a_survivor_is_asked_again_after_any_change(tree: Path, changed: str) -> None:
    assert not known_after(tree, None, changed)


def test_the_report_names_survivors_and_fails_below_nine_of_ten(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = results.Results(tree / "results.json")
    mutants = [MUTANT._replace(text=f"def f(): return {n}", line=n) for n in range(1, 11)]
    for mutant in mutants[1:]:
        known.note(mutant, "suite", "tests/test_a.py::test_x")
    known.note(mutants[0], "suite", None)
    assert results.report(mutants, known, False) == 0
    assert "consensus/a.py:1: removed `if x: return 1`" in capsys.readouterr().out
    known.note(mutants[1], "suite", None)
    assert results.report(mutants, known, True) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["killed_percent"] == 80
    assert len(facts["survivors"]) == 2


def test_every_reviewed_change_is_one_that_can_be_made() -> None:
    made = {
        results.review_name(mutant)
        for path in {name.split(" ")[0] for name in results.reviewed()}
        for mutant in mutants_of(path, (ROOT / path).read_text())
    }
    assert results.reviewed().keys() <= made
    assert all(results.reviewed().values())
