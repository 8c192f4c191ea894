"""What is changed: each kind of mutant from one line of source, and what is left alone."""

import ast

import pytest

from scripts.mutation.mutants import Mutant, mutants_of, mutated_module

HEAD = "def f(a: int, b: int) -> int:\n"


def changes(body: str) -> list[tuple[str, str]]:
    return [(mutant.kind, mutant.what) for mutant in mutants_of("m.py", HEAD + body)]


@pytest.mark.parametrize(
    ("body", "kind", "what"),
    [
        ("    if a:\n        return 0\n    return b\n", "check", "removed `if a: return 0`"),
        ("    if a:\n        raise a\n    return b\n", "check", "removed `if a: raise a`"),
        ("    if a:\n        b = 3\n    return b\n", "check", "removed `if a: b = 3`"),
        ("    if a or b:\n        f(1)\n    return b\n", "check", "`a or b` became `b`"),
        ("    if a or b:\n        f(1)\n    return b\n", "operator", "`a or b` became `a and b`"),
        ("    if a:\n        f(b)\n    return b\n", "negation", "`a` became `not a`"),
        ("    while a < b:\n        f(b)\n    return b\n", "comparison", "`a < b` became `a <= b`"),
        ("    return a == b\n", "comparison", "`a == b` became `a != b`"),
        ("    return a + b\n", "operator", "`a + b` became `a - b`"),
        ("    return a << b\n", "operator", "`a << b` became `a >> b`"),
        ("    return a + 1\n", "constant", "`1` became `2`"),
        ("    return a\n", "return", "`return a` returns `a + 1`"),
        ("    f(b)\n    return a\n", "statement", "removed `f(b)`"),
        ("    a[b] = 0\n    return a\n", "statement", "removed `a[b] = 0`"),
        ("    a += b\n    return a\n", "operator", "`a += b` became `a -= b`"),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_made(body: str, kind: str, what: str) -> None:
    assert (kind, what) in changes(body)


def test_texts_and_annotations_are_left_alone() -> None:
    text = 'def f() -> "1":\n    """Two or 3."""\n    raise KeyError("4")\n'
    assert [mutant.what for mutant in mutants_of("m.py", text)] == ["removed `raise KeyError('4')`"]


@pytest.mark.parametrize(
    "body",
    [
        "    if a < b:\n        b = a\n    return b\n",
        "    return a + BOOK_BEST\n",
    ],
)
def test_a_change_that_means_the_same_is_not_made(body: str) -> None:
    assert not {"`a < b` became `a <= b`", "`a + BOOK_BEST` became `a - BOOK_BEST`"} & {
        what for _, what in changes(body)
    }


def test_every_mutant_differs_from_the_module_in_its_own_function_only() -> None:
    text = "X: int = 3\n\nclass C:\n    Y = 4\n    def f(self) -> int:\n        return 5\n"
    found = mutants_of("m.py", text)
    original = ast.unparse(ast.parse(text))
    changed = {ast.unparse(mutated_module(text, mutant)) for mutant in found}
    assert len(changed) == len(found) == 4  # 3, 4, 5 and the value returned
    for words in changed:
        pairs = zip(words.splitlines(), original.splitlines(), strict=True)
        assert sum(a != b for a, b in pairs) == 1


def test_a_mutant_is_shown_as_file_line_and_change() -> None:
    mutant = mutants_of("m.py", HEAD + "    return a + b\n")[1]
    assert isinstance(mutant, Mutant)
    assert str(mutant) == "m.py:2: `a + b` became `a - b`"
