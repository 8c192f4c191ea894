"""What is known about mutants: results by text, the reviewed list, and the report.

What lives here: the file of results and the figures. What must never live here: a run.

A kill stays true while the changed function and the killing test file read the same; a survivor is
asked again as soon as any test or rule has changed.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from scripts.mutation.mutants import CHECK, Mutant

ROOT: Final = Path(__file__).resolve().parents[2]
REVIEWED: Final = Path(__file__).parent / "equivalent.txt"
OUTSIDE: Final = "outside the subset"  # scripts/tidy.py refuses the text: not a program to test


class Results:
    """Killers by stage ("corpus", "suite") and mutant."""

    def __init__(self, file: Path, *, fresh: bool = False) -> None:
        self.file = file
        self.known: dict[str, list[str | None]] = {}
        if file.exists() and not fresh:
            self.known = json.loads(file.read_text())

    def note(self, mutant: Mutant, stage: str, killer: str | None) -> None:
        self.known[_key(mutant, stage)] = [killer, _evidence(killer)]

    def unknown(self, mutants: Iterable[Mutant], stage: str) -> list[Mutant]:
        """Those that have no result that still holds."""
        return [mutant for mutant in mutants if self._holds(mutant, stage) is None]

    def survives(self, mutant: Mutant, stage: str) -> bool:
        found = self._holds(mutant, stage)
        return found is not None and found[0] is None

    def killer(self, mutant: Mutant) -> str | None:
        """What noticed the change, or None."""
        found = [self._holds(mutant, stage) for stage in ("corpus", "suite")]
        return next((entry[0] for entry in found if entry is not None and entry[0]), None)

    def save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(self.known))
        partial.replace(self.file)

    def _holds(self, mutant: Mutant, stage: str) -> list[str | None] | None:
        entry = self.known.get(_key(mutant, stage))
        if entry is None or entry[1] != _evidence(entry[0]):
            return None
        return entry


def _key(mutant: Mutant, stage: str) -> str:
    text = "\0".join((stage, mutant.path, mutant.function, mutant.text))
    return sha256(text.encode()).hexdigest()[:24]


def _evidence(killer: str | None) -> str:
    """A digest of what the result rests on: the killing test file, or everything."""
    if killer is None:
        return _digest(("tests", "consensus"))[:16]
    return _digest((killer.split("::")[0].split(" ")[0],))[:16]


@cache
def _digest(folders: Sequence[str]) -> str:
    state = sha256()
    for folder in folders:
        at = ROOT / folder
        files = [at] if at.is_file() else sorted(at.rglob("*.py"))
        for file in files:
            state.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return state.hexdigest()


@cache
def reviewed() -> dict[str, str]:
    """Mutants that no test can notice, as `review_name` calls them, and why: `equivalent.txt`."""
    found: dict[str, str] = {}
    waiting: list[str] = []
    for line in REVIEWED.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            found |= dict.fromkeys(waiting, line.strip())
            waiting = []
        elif line and not line.startswith("#"):
            waiting.append(line)
    if waiting:
        raise ValueError(f"{REVIEWED.name}: no reason stands below {waiting[0]!r}")
    return found


def review_name(mutant: Mutant) -> str:
    """What stays the same when other lines move: place, changed line, change."""
    line = _lines(mutant.path)[mutant.line - 1].strip()
    return f"{mutant.path} {mutant.function}: {line}: {mutant.what}"


@cache
def _lines(path: str) -> list[str]:
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


def survivors_of(mutants: Iterable[Mutant], results: Results) -> list[Mutant]:
    """Those that the suite, or for want of it the corpus, did not notice and nobody excused."""
    known = [m for m in mutants if results.survives(m, "suite") or results.survives(m, "corpus")]
    alive = [mutant for mutant in known if results.killer(mutant) is None]
    return [mutant for mutant in alive if review_name(mutant) not in reviewed()]


def report(mutants: Sequence[Mutant], results: Results, as_json: bool) -> int:
    """Print killed and survived by module, the share, and each survivor; 1 below 90 %."""
    excused = reviewed()
    rows: dict[str, Counter[str]] = {}
    survivors: list[Mutant] = []
    for mutant in mutants:
        row = rows.setdefault(mutant.path, Counter())
        killer = results.killer(mutant)
        kind = "check" if mutant.kind == CHECK else "other"
        if killer == OUTSIDE:
            row["outside"] += 1
        elif killer is not None:
            row["killed"] += 1
            row[f"{kind} killed"] += 1
        elif review_name(mutant) in excused:
            row["equivalent"] += 1
        elif results.unknown([mutant], "suite"):
            row["not run"] += 1
        else:
            row["survived"] += 1
            row[f"{kind} survived"] += 1
            survivors.append(mutant)
    total: Counter[str] = sum(rows.values(), Counter())
    if as_json:
        facts = {"modules": rows, "total": total, "killed_percent": _share(total),
                 "survivors": [str(mutant) for mutant in survivors]}  # fmt: skip
        print(json.dumps(facts, indent=1))
    else:
        print(f"{'module':40} {'killed':>7} {'survived':>9} {'equivalent':>11} {'killed':>8}")
        for path, row in [*rows.items(), ("total", total)]:
            cells = f"{row['killed']:>7} {row['survived']:>9} {row['equivalent']:>11}"
            print(f"{path:40} {cells} {_share(row):>7.1f}%")
        for key in ("outside", "not run"):
            if total[key]:
                print(f"{key}: {total[key]}")
        checks = Counter(killed=total["check killed"], survived=total["check survived"])
        print(f"removed checks: {checks['killed']} killed, {checks['survived']} survived")
        print("\n".join(map(str, survivors)))
    sys.stdout.flush()
    return 0 if _share(total) >= 90 else 1


def _share(row: Counter[str]) -> float:
    judged = row["killed"] + row["survived"]
    return 100 * row["killed"] / judged if judged else 100.0
