"""Each rule of the tree has a snippet that breaks it, and one beside it that does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import tidy
from scripts.tidy import check_tree

ROOT = Path(__file__).parents[2]
DOC = '"""What lives here."""\n'
CORE_HEAD = (
    DOC + "from librt.vecs import vec\nfrom mypy_extensions import i64\n"
    "def touch(S: vec[i64], x: i64) -> None:\n    S[x] = 1\n"
)

# path, text that breaks a rule, line, words of the sentence, text that keeps the rule
RULES = [
    ("consensus/a.py", "import storage.database\n", 2, "consensus may not import storage",
     "import consensus.codec\n"),
    ("consensus/a.py", "from node import cli\n", 2, "consensus may not import node",
     "from hashlib import sha256\n"),
    ("storage/a.py", "from p2p.host import Host\n", 2, "storage may not import p2p",
     "from consensus.codec import encode\n"),
    ("p2p/a.py", "from storage import blocks\n", 2, "p2p may not import storage",
     "from consensus import codec\n"),
    ("node/a.py", "from tests import flow\n", 2, "node may not import tests",
     "from p2p import host\nfrom storage import blocks\n"),
    ("node/a.py", "import scripts.tidy\n", 2, "node may not import scripts", "import os\n"),
    ("consensus/a.py", "import time\n", 2, "the rules may not import time", "import struct\n"),
    ("consensus/a.py", "def f():\n    from os import environ\n", 3, "may not import os", "x = 1\n"),
    ("consensus/a.py", "x = 0.5\n", 2, "no floats", "x = 5\n"),
    ("consensus/a.py", "x = 5 / 2\n", 2, "makes a float", "x = 5 // 2\n"),
    ("consensus/a.py", "x = open('f')\n", 2, "may not call open()", "x = len('f')\n"),
    ("consensus/a.py", "for x in {1, 2}:\n    pass\n", 2, "a set has no order",
     "for x in sorted({1, 2}):\n    pass\n"),
    ("consensus/a.py", "y = [x for x in set('ab')]\n", 2, "a set has no order",
     "y = 'a' in set('ab')\n"),
    ("node/a.py", "def f():\n" + "    x = 1\n" * 70, 2, "f has 71 lines: at most 70",
     "def f():\n" + "    x = 1\n" * 69),
    ("node/a.py", f"x = '{'a' * 95}'\n", 2, "101 columns: at most 100", f"x = '{'a' * 94}'\n"),
    ("node/a.py", "# TODO\n", 2, "TODO: finish it", "# todos are kept elsewhere\n"),
    ("node/a.py", "# FIXME\n", 2, "FIXME: finish it", "# fixme_count\n"),
    ("node/a.py", "try:\n    x = 1\nexcept Exception:\n    x = 2\n", 4, "hides our own faults",
     "try:\n    x = 1\nexcept Exception:\n    raise\n"),
    ("node/a.py", "try:\n    x = 1\nexcept:\n    x = 2\n", 4, "hides our own faults",
     "try:\n    x = 1\nexcept ValueError:\n    x = 2\n"),
    ("node/a.py", "try:\n    x = 1\nexcept (KeyError, BaseException):\n    x = 2\n", 4,
     "hides our own faults", "try:\n    x = 1\nexcept (KeyError, ValueError):\n    x = 2\n"),
    ("node/a.py", "x = '/wo" "rk/main'\n", 2, "/wo" "rk/ is a path of one machine",
     "x = '/srv/wo" "rk/'\n"),
    ("node/a.py", "x = '/ro" "ot/.cache'\n", 2, "/ro" "ot/ is a path of one machine",
     "x = 'a/ro" "ot/b'\n"),
    ("docs/a.md", "see /tmp/v\n", 2, "/tmp/ is a path of one machine", "see tmp/v\n"),
    ("scripts/a.py", "x = 'https://pypi" ".org/simple'\n", 2, "where packages come from",
     "x = '/tmp/scratch'\n"),
    ("setup.cfg", "index-url = x\n", 2, "where packages come from", "url = x\n"),
    ("docs/a.md", "a" * 201 + "\n", 2, "201 columns: at most 200", "a" * 200 + "\n"),
    ("docs/a.md", "[it](b.md)\n", 2, "the link b.md leads nowhere", "[it](a.md#part)\n"),
    ("docs/a.md", "[it](../lost/)\n", 2, "leads nowhere", "[it](https://example.org/x)\n"),
    ("docs/a.md", "![p](/docs/p.png)\n", 2, "leads nowhere", "```\n[it](lost.md)\n```\n"),
    ("node/a.py", "def f(:\n", 2, "not Python", "def f(): pass\n"),
]  # fmt: skip


def tree(root: Path, **texts: str) -> Path:
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(("path", "bad", "line", "words", "good"), RULES)
def test_a_breach_is_reported_by_file_line_and_sentence_and_its_opposite_is_not(
    tmp_path: Path, path: str, bad: str, line: int, words: str, good: str
) -> None:
    found = check_tree(tree(tmp_path / "bad", **{path: DOC + bad}))
    assert [(breach.path, breach.line) for breach in found] == [(path, line)]
    assert words in found[0].text
    assert check_tree(tree(tmp_path / "good", **{path: DOC + good})) == []


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "base"])
def test_a_module_or_package_with_a_name_that_says_nothing_is_reported_with_advice(
    tmp_path: Path, name: str
) -> None:
    found = check_tree(tree(tmp_path, **{f"node/{name}.py": DOC, f"p2p/{name}/x.py": DOC}))
    assert [breach.path for breach in found] == [f"node/{name}.py", f"p2p/{name}/x.py"]
    assert all(tidy.BANNED_NAMES[name] in breach.text for breach in found)


def test_a_module_states_its_law_first_unless_it_is_empty(tmp_path: Path) -> None:
    found = check_tree(tree(tmp_path, **{"node/a.py": "x = 1\n", "node/__init__.py": ""}))
    assert [(breach.path, breach.line) for breach in found] == [("node/a.py", 1)]


def test_generated_and_hidden_folders_are_not_read(tmp_path: Path) -> None:
    names = ("build", ".venv", "__pycache__", "rialto.egg-info")
    assert check_tree(tree(tmp_path, **{f"{name}/a.py": "x = 1\n" for name in names})) == []


def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> list[tuple[int, str]]:
    monkeypatch.setattr(tidy, "CORE_MODULES", ("consensus/book.py", "consensus/absent.py"))
    found = check_tree(tree(tmp_path, **{"consensus/book.py": CORE_HEAD + text}))
    assert all(breach.path == "consensus/book.py" for breach in found)
    return [(breach.line, breach.text) for breach in found]


def test_a_core_module_outside_the_subset_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def f(x: i64) -> i64:\n    return abs(x)\n"
    assert [(line, "abs" in words) for line, words in core(tmp_path, monkeypatch, text)] == [
        (7, True)
    ]


STORE = "def put(M: vec[i64], S: vec[i64]) -> None:\n    M[3] += 1\n"


def test_a_core_function_that_stores_without_a_mark_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = core(tmp_path, monkeypatch, STORE)
    assert found == [(7, "put stores to M and calls no touch(): the leaf would keep its hash")]


def test_a_core_function_that_marks_or_is_listed_or_only_reads_is_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = STORE + "    touch(S, 0)\n"
    reads = "def get(M: vec[i64], S: vec[i64]) -> i64:\n    S[0] = M[3]\n    return M[3]\n"
    assert core(tmp_path, monkeypatch, marks + reads) == []
    monkeypatch.setitem(tidy.UNTOUCHED, "put", "the region has no leaves yet")
    assert core(tmp_path, monkeypatch, STORE) == []


def test_the_build_and_the_proof_must_name_the_same_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidy, "CORE_MODULES", ("consensus/book.py", "consensus/absent.py"))
    book = {"consensus/book.py": CORE_HEAD, "consensus/core_modules.txt": "consensus/book.py\n"}
    assert check_tree(tree(tmp_path, **book)) == []
    for listed, named in (("", "consensus/book.py"), ("consensus/book.py\nx.py", "x.py")):
        found = check_tree(tree(tmp_path, **{"consensus/core_modules.txt": listed}))
        assert [breach.path for breach in found] == ["consensus/core_modules.txt"]
        assert named in found[0].text


def test_the_program_prints_each_breach_and_exits_1_or_says_tidy_and_exits_0(
    tmp_path: Path,
) -> None:
    program = [sys.executable, str(ROOT / "scripts" / "tidy.py"), str(tmp_path)]
    tree(tmp_path, **{"node/a.py": DOC})
    clean = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (clean.returncode, clean.stdout) == (0, "tidy\n")
    tree(tmp_path, **{"node/a.py": DOC + "import tests\n"})
    dirty = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (dirty.returncode, dirty.stdout) == (1, "node/a.py:2: node may not import tests\n")
