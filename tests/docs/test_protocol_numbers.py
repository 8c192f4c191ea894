"""The protocol pages and the code name the same error numbers by the same names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from node.build_check import ROOT

PAGES = {path.name: path.read_text("utf-8") for path in (ROOT / "docs/protocol").glob("*.md")}
SOURCES = sorted((ROOT / "consensus").rglob("*.py"))
RANGE = re.compile(r"\b([1-9]\d{3}) (?:\.\.|to) ([1-9]\d{3})\b")
NUMBER = re.compile(r"\b[1-9]\d{3}\b")
# "| 5200 | SURPLUS_LEAVES |", "| 3001 `VERSION` |", "| 1001 | `TRUNCATED` |"
NAMED = re.compile(r"^\| ([1-9]\d{3})(?: \| | )`?([A-Z][A-Z0-9_]{3,})\b", re.MULTILINE)
# A fault of our own is for those who read a traceback, not for a second implementation.
OWN_FAULTS = 9000


def constants(tree: ast.Module) -> dict[str, int]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if isinstance(node.value, ast.Constant) and type(node.value.value) is int:
                found[node.target.id] = node.value.value
    return found


def error_classes() -> set[str]:
    tree = ast.parse((ROOT / "consensus/exceptions.py").read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def raised(path: Path) -> Iterator[tuple[str, int]]:
    """(name, number) of every numbered error that a module makes by a constant of its own."""
    tree = ast.parse(path.read_text("utf-8"))
    known, classes = constants(tree), error_classes()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id in classes and isinstance(first, ast.Name) and first.id in known:
                yield first.id, known[first.id]


def documented() -> set[int]:
    numbers: set[int] = set()
    for text in PAGES.values():
        numbers.update(map(int, NUMBER.findall(text)))
        for low, high in RANGE.findall(text):
            numbers.update(range(int(low), int(high) + 1))
    return numbers


def test_every_number_that_the_rules_raise_is_on_a_page() -> None:
    known = documented()
    missing = {
        f"{number} {name} ({path.relative_to(ROOT)})"
        for path in SOURCES
        for name, number in raised(path)
        if number < OWN_FAULTS and number not in known
    }
    assert not missing, sorted(missing)


def test_every_name_beside_a_number_is_that_of_a_constant() -> None:
    known = {
        (number, name)
        for path in SOURCES
        for name, number in constants(ast.parse(path.read_text("utf-8"))).items()
    }
    wrong = {
        f"{page}: {number} {name}"
        for page, text in PAGES.items()
        for number, name in NAMED.findall(text)
        if (int(number), name) not in known
    }
    assert not wrong, sorted(wrong)
