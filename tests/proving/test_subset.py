"""The checker of the subset: what leaves it is named by file, line and rule; all of it at once."""

from pathlib import Path

import pytest

from consensus.proving.subset import check
from consensus.proving.translate import NotTranslatable, translate
from node.ctwin import core_sources

HEAD = """\
from typing import Final
from librt.vecs import vec
from librt.strings import read_i64_le
from mypy_extensions import i64
LIMIT: Final = 9
def store(M: vec[i64], x: i64) -> i64:
    M[x] = x
    return x
def load(M: vec[i64], x: i64) -> i64:
    return M[x]
def flag(x: i64) -> bool:
    return x > 0
def nothing(x: i64) -> None:
    return
def two(x: i64, y: i64) -> i64:
    return x - y
def store_through(M: vec[i64], x: i64) -> i64:
    return store(M, x)
"""
START = HEAD.count("\n") + 1
BODY = "def f(M: vec[i64], S: vec[i64], b: bytes, x: i64, y: i64, t: bool) -> i64:\n"

MODULE_LEVEL = [
    ("import os", "module-level", 0),
    ("class Book:\n    pass", "module-level", 0),
    ("LIMIT", "module-level", 0),
    ("async def f() -> None:\n    return", "module-level", 0),
    ("from consensus.state import tree", "import", 0),
    ("from .layout import NEXT", "import", 0),
    ("from librt.vecs import append", "import", 0),
    ("from librt.vecs import vec as v", "import", 0),
    ("count: int = 0", "global", 0),
    ("RATE: Final = 0.5", "constant", 0),
    ("NAME: Final = 'x'", "constant", 0),
    ("LATER: Final = UNKNOWN_YET + 1", "constant", 0),
    ("ONES: Final = (1 << 62)", "constant-range", 0),
    ("LOW: Final = -(1 << 62) - 1", "constant-range", 0),
    ("LIMIT: Final = 8", "duplicate-name", 0),
    ("def load(M: vec[i64]) -> i64:\n    return M[0]", "duplicate-name", 0),
    ("def f(x: i64 = 1) -> i64:\n    return x", "signature", 0),
    ("def f(*x: i64) -> i64:\n    return 1", "signature", 0),
    ("def f(x: i64, *, y: i64) -> i64:\n    return x", "signature", 0),
    ("@flag\ndef f(x: i64) -> i64:\n    return x", "signature", 1),
    ("def f(x: int) -> i64:\n    return 1", "signature", 0),
    ("def f(x) -> i64:\n    return 1", "signature", 0),
    ("def f(x: i64):\n    return 1", "signature", 0),
    ("def f(x: i64) -> vec[i64]:\n    return x", "signature", 0),
    ("def f(A: vec[i64]) -> i64:\n    return A[0]", "region", 0),
    ("def f(M: i64) -> i64:\n    return M", "region", 0),
    ("def f(Price: i64) -> i64:\n    return Price", "name", 0),
    ("def f(load: i64) -> i64:\n    return load", "name", 0),
    ("def f(x: i64) -> i64:\n    return f(x)", "recursion", 0),
    ("def f() -> i64:\n    return g()\ndef g() -> i64:\n    return f()", "recursion", 0),
    ("def f(:", "syntax", 0),
]  # fmt: skip

STATEMENTS = [
    ("for i in range(3):\n        x += i\n    return x", "statement", 0),
    ("while x:\n        x -= 1\n    else:\n        x = 3\n    return x", "statement", 0),
    ("try:\n        x = 1\n    finally:\n        x = 2\n    return x", "statement", 0),
    ("with x:\n        x = 1\n    return x", "statement", 0),
    ("raise x", "statement", 0),
    ("assert t\n    return x", "statement", 0),
    ("global LIMIT\n    return x", "statement", 0),
    ("del x\n    return y", "statement", 0),
    ("import os\n    return x", "statement", 0),
    ("def g() -> i64:\n        return 1\n    return x", "statement", 0),
    ("a = c = 1\n    return a", "statement", 0),
    ("break\n    return x", "statement", 0),
    ("a, c = x, y\n    return x", "expression", 0),
    ("x.real = 3\n    return x", "assignment", 0),
    ("x.real += 3\n    return x", "assignment", 0),
    ("return x\n    return y", "unreachable", 1),
    ("while True:\n        x = 1\n    return x", "unreachable", 2),
    ("x = 1", "return", -1),
    ("if t:\n        return x", "return", -1),
    ("return", "return", 0),
    ("if t:\n        a = 1\n    return a", "unassigned", 2),
    ("while t:\n        a = 1\n        t = False\n    return a", "unassigned", 3),
    ("while True:\n        if t:\n            break\n        a = 1\n    return a", "unassigned", 4),
    ("while True:\n        if t:\n            break\n        a = 1\n        break\n    return a",
     "unassigned", 5),
    ("a += 1\n    return x", "unknown-name", 0),
    ("return z", "unknown-name", 0),
    ("x = t\n    return x", "type", 0),
    ("a: i64 = t\n    return x", "type", 0),
    ("a: float = 1\n    return x", "type", 0),
    ("a = M\n    return x", "type", 0),
    ("a = nothing(x)\n    return x", "type", 0),
    ("t += 1\n    return x", "type", 0),
    ("return t", "type", 0),
    ("return nothing(x)", "type", 0),
    ("M[0] = t\n    return x", "type", 0),
    ("LIMIT = 3\n    return x", "name", 0),
    ("Big = 3\n    return Big", "name", 0),
    ("M = x\n    return x", "region", 0),
]  # fmt: skip

EXPRESSIONS = [
    ("x / y", "operator"),
    ("x ** 2", "operator"),
    ("x @ y", "operator"),
    ("1.5", "expression"),
    ("'a'", "expression"),
    ("None", "expression"),
    ("b[0]", "index"),
    ("x[0]", "index"),
    ("M[-1]", "index"),
    ("M[-x]", "index"),
    ("M[0:2]", "index"),
    ("M[x, y]", "index"),
    ("x.real", "expression"),
    ("(lambda: 1)()", "expression"),
    ("[x][0]", "index"),
    ("len([a for a in b])", "expression"),
    ("(z := x)", "expression"),
    ("x + t", "type"),
    ("-t", "type"),
    ("t and x", "type"),
    ("x if t else flag(x)", "type"),
    ("x == t", "type"),
    ("1 if t < t else 0", "type"),
    ("x << y", "shift"),
    ("x << 64", "shift"),
    ("x >> -1", "shift"),
    ("x >> (y & 127)", "shift"),
    ("x // 0", "division"),
    ("x % -3", "division"),
    ("x + (1 << 62)", "constant-range"),
    ("4611686018427387904", "constant-range"),
    ("-(1 << 62) * 2", "constant-range"),
    ("x is y", "comparison"),
    ("x in b", "comparison"),
    ("x < load(M, y) < 3", "comparison"),
    ("abs(x)", "call"),
    ("min(x, y)", "call"),
    ("len(x)", "call"),
    ("load(M)", "call"),
    ("load(x, 1)", "type"),
    ("load(S, 1)", "region"),
    ("load(M, x=1)", "expression"),
    ("load(M, *M)", "expression"),
    ("read_i64_le(M, 1)", "type"),
    ("store(M, x) + M[x]", "order"),
    ("M[x] - store(M, x)", "order"),
    ("store(M, x) + store(M, y)", "order"),
    ("store(M, store(M, x) + load(M, y))", "order"),
    ("M[M[x] + store(M, x)]", "order"),
    ("M[x] if M[x] < store(M, y) else 0", "order"),
    ("two(load(M, x), store(M, y))", "order"),
    ("M[x] + store_through(M, y)", "order"),
]


def rules(source: str) -> list[tuple[str, int, str]]:
    faults = check({"consensus/bad.py": source}, ())
    return [(fault.path, fault.line, fault.rule) for fault in faults]


@pytest.mark.parametrize(("text", "rule", "offset"), MODULE_LEVEL)
def test_what_may_not_stand_in_a_module_is_named_by_file_line_and_rule(
    text: str, rule: str, offset: int
) -> None:
    found = rules(text) if rule == "syntax" else rules(HEAD + text)
    start = 1 if rule == "syntax" else START
    assert ("consensus/bad.py", start + offset, rule) in found


@pytest.mark.parametrize(("text", "rule", "offset"), STATEMENTS)
def test_a_statement_outside_the_subset_is_named_by_file_line_and_rule(
    text: str, rule: str, offset: int
) -> None:
    found = rules(f"{HEAD}{BODY}    {text}\n")
    assert ("consensus/bad.py", START + 1 + offset, rule) in found


@pytest.mark.parametrize(("text", "rule"), EXPRESSIONS)
def test_an_expression_outside_the_subset_is_named_by_file_line_and_rule(
    text: str, rule: str
) -> None:
    found = rules(f"{HEAD}{BODY}    return {text}\n")
    assert ("consensus/bad.py", START + 1, rule) in found


def test_a_store_beside_a_writing_call_and_an_update_by_one_have_no_order() -> None:
    for text in ("M[M[x]] = store(M, y)", "M[x] += store(M, y)", "M[store(M, x)] = M[y]"):
        assert [r for _, _, r in rules(f"{HEAD}{BODY}    {text}\n    return x\n")] == ["order"]


ALLOWED = """
    a: i64
    a = x + store(M, y)
    a += store(M, x)
    M[x] = store(M, y)
    if t and store(M, x) and not load(M, y):
        return store(M, x) if flag(x) else load(M, y)
    while 0 <= x < LIMIT:
        if flag(M[x]):
            continue
        x -= -(x << 3) >> (y & 63)
    while True:
        c = read_i64_le(b, x) + len(b) + len(M) + i64(x)
        if c:
            break
    store(M, load(M, load(M, x)))
    t = x == 3 or flag(y) == (x < 0)
    return c if t else ~a
"""


def test_the_whole_subset_passes_without_a_fault() -> None:
    assert check({"consensus/good.py": HEAD + BODY + ALLOWED}, ()) == []


def test_all_faults_are_reported_at_once_in_order_of_file_and_line() -> None:
    sources = {
        "consensus/b.py": f"{HEAD}{BODY}    x = x / y\n    return abs(x)\n",
        "consensus/a.py": "import os\nimport time\n",
    }
    found = [(fault.path, fault.line) for fault in check(sources, ())]
    expected = [("consensus/a.py", 1), ("consensus/a.py", 2)]
    assert found == [*expected, ("consensus/b.py", START + 1), ("consensus/b.py", START + 2)]


def test_a_fault_reads_as_file_line_sentence_and_rule() -> None:
    fault = check({"consensus/a.py": "count: int = 0\n"}, ())[0]
    expected = "consensus/a.py:1: count is not Final: the core has no global variables [global]"
    assert str(fault) == expected


def test_two_modules_may_not_define_a_function_of_the_same_name() -> None:
    text = "from mypy_extensions import i64\ndef f(x: i64) -> i64:\n    return x\n"
    faults = check({"consensus/a.py": text, "consensus/b.py": text}, ())
    assert [(f.path, f.line, f.rule) for f in faults] == [("consensus/b.py", 2, "duplicate-name")]


def test_a_name_must_be_defined_in_the_module_it_is_imported_from() -> None:
    layout = "from typing import Final\nNEXT: Final = 3\n"
    middle = "from consensus.layout import NEXT\n"
    user = "from consensus.middle import NEXT\nfrom consensus.layout import LAST\n"
    sources = {
        "consensus/layout.py": layout,
        "consensus/middle.py": middle,
        "consensus/user.py": user,
    }
    faults = check(sources, ())
    assert [(f.path, f.line, f.rule) for f in faults] == [
        ("consensus/user.py", 1, "import"),
        ("consensus/user.py", 2, "import"),
    ]


def test_modules_that_import_each_other_are_reported() -> None:
    a = "from consensus.b import B\nA: Final = 1\n"
    b = "from consensus.a import A\nB: Final = 1\n"
    assert "import" in {f.rule for f in check({"consensus/a.py": a, "consensus/b.py": b}, ())}


def test_a_function_listed_as_wrapping_may_use_all_64_bits_and_no_more() -> None:
    body = "def top() -> i64:\n    return -(1 << 62) * 2\n"
    too_far = "def top() -> i64:\n    return -(1 << 62) * 4\n"
    assert check({"consensus/a.py": HEAD + body}, ("top",)) == []
    faults = check({"consensus/a.py": HEAD + too_far}, ("top",))
    assert [fault.rule for fault in faults] == ["constant-range"]


def test_the_translator_refuses_what_the_checker_reports_and_entries_that_do_not_exist() -> None:
    with pytest.raises(NotTranslatable) as refusal:
        translate({"consensus/a.py": "count: int = 0\n"}, [], ())
    assert [fault.rule for fault in refusal.value.faults] == ["global"]
    with pytest.raises(NotTranslatable, match="no function lost"):
        translate({"consensus/a.py": HEAD}, ["lost"], ())


def test_the_core_of_this_repository_is_inside_the_subset() -> None:
    faults = check(core_sources(Path(__file__).parents[2]))
    assert faults == [], "\n".join(map(str, faults))
