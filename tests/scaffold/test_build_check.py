"""A compiled core runs only if it was made from the sources beside it."""

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from node.build_check import (
    MANIFEST,
    MODULE_LIST,
    NATIVE,
    ROOT,
    STALE_BUILD,
    compiled_state,
    core_sources,
    refuse_stale,
)
from node.exceptions import NodeError

SOURCES = ("consensus/bid.py", "consensus/book/ask.py")


def make_tree(root: Path) -> Path:
    """A tree whose core, two modules and one in C, was "compiled" from its present text."""
    (root / "consensus" / "book").mkdir(parents=True)
    (root / MODULE_LIST).write_text("\n".join(SOURCES) + "\n")
    for source in (*SOURCES, NATIVE):
        (root / source).write_text(f"# {source}\n")
        binary_of(root, source).write_bytes(b"a binary")
    hashed = [MODULE_LIST, *SOURCES, NATIVE]
    digests = {path: sha256((root / path).read_bytes()).hexdigest() for path in hashed}
    (root / MANIFEST).write_text(json.dumps(digests))
    return root


def binary_of(root: Path, source: str) -> Path:
    stem = (root / source).with_suffix("")
    return stem.with_name(stem.name + EXTENSION_SUFFIXES[0])


def assert_refused(root: Path, source: str) -> None:
    with pytest.raises(NodeError) as refusal:
        refuse_stale(root)
    assert refusal.value.number == STALE_BUILD
    assert refusal.value.facts == {"source": source}
    assert "scripts/bootstrap" in refusal.value.text


def test_binaries_made_from_the_present_sources_are_accepted(tmp_path: Path) -> None:
    root = make_tree(tmp_path)
    refuse_stale(root)
    assert compiled_state(root) == "compiled"


def test_sources_without_binaries_are_interpreted_whatever_the_manifest_says(
    tmp_path: Path,
) -> None:
    root = make_tree(tmp_path)
    for source in (*SOURCES, NATIVE):
        binary_of(root, source).unlink()
        (root / source).write_text("# edited\n")
    refuse_stale(root)
    assert compiled_state(root) == "interpreted"


@pytest.mark.parametrize("source", [*SOURCES, NATIVE])
def test_an_edited_source_is_refused_by_name(tmp_path: Path, source: str) -> None:
    root = make_tree(tmp_path)
    (root / source).write_text("# edited\n")
    assert_refused(root, source)


def test_a_deleted_source_is_refused_by_name(tmp_path: Path) -> None:
    root = make_tree(tmp_path)
    (root / SOURCES[1]).unlink()
    assert_refused(root, SOURCES[1])


def test_a_core_of_which_only_a_part_is_compiled_is_refused(tmp_path: Path) -> None:
    root = make_tree(tmp_path)
    binary_of(root, SOURCES[0]).unlink()
    assert_refused(root, SOURCES[0])


def test_a_module_added_to_the_list_after_the_build_is_refused(tmp_path: Path) -> None:
    root = make_tree(tmp_path)
    (root / "consensus" / "new.py").write_text("")
    (root / MODULE_LIST).write_text("\n".join([*SOURCES, "consensus/new.py"]))
    assert_refused(root, MODULE_LIST)


@pytest.mark.parametrize("manifest", [None, "", "{"])
def test_binaries_without_a_readable_manifest_are_refused(
    tmp_path: Path, manifest: str | None
) -> None:
    root = make_tree(tmp_path)
    (root / MANIFEST).unlink()
    if manifest is not None:
        (root / MANIFEST).write_text(manifest)
    assert_refused(root, MODULE_LIST)


def test_every_listed_core_module_exists() -> None:
    sources = core_sources()
    assert sources == list(dict.fromkeys(sources))
    assert [source for source in sources if not (ROOT / source).is_file()] == []


class Project:
    """A small checkout with our build files and two core modules of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("setup.py", "setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, root)
        (root / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "pure", root / "scripts")
        shutil.copytree(ROOT / "node", root / "node")
        (root / "consensus").mkdir()
        for name in ("consensus/exceptions.py", NATIVE):
            shutil.copy(ROOT / name, root / "consensus")
        (root / "consensus" / "__init__.py").write_text("")
        (root / MODULE_LIST).write_text("consensus/tick.py\nconsensus/lot.py\n")
        (root / "consensus" / "tick.py").write_text("def tick() -> int:\n    return 1\n")
        self.write_lot(2)

    def write_lot(self, answer: int) -> None:
        (self.root / "consensus" / "lot.py").write_text(f"def lot() -> int:\n    return {answer}\n")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)

    def build(self) -> None:
        built = self.run(sys.executable, "setup.py", "--quiet", "build_ext", "--inplace")
        assert built.returncode == 0, built.stderr

    def check(self) -> tuple[int, str]:
        outcome = self.run(sys.executable, "-m", "node.build_check")
        return outcome.returncode, outcome.stdout + outcome.stderr

    def lot(self, *wrapper: str) -> str:
        """What `lot` answers, and whether from a `.so` or a `.py`."""
        where = "import consensus.lot as m; print(m.lot(), m.__file__.rpartition('.')[2])"
        return self.run(*wrapper, sys.executable, "-c", where).stdout


@pytest.mark.slow
def test_a_real_build_is_accepted_then_refused_after_an_edit_and_scripts_pure_ignores_it(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    assert project.check() == (0, "interpreted\n")
    project.build()
    assert project.check() == (0, "compiled\n")
    assert (project.lot(), project.lot("scripts/pure")) == ("2 so\n", "2 py\n")
    project.write_lot(3)
    code, text = project.check()
    assert code == 2
    assert text.startswith(f"error E{STALE_BUILD}: ") and "consensus/lot.py" in text
    version = project.run(sys.executable, "-m", "node.cli", "version")
    assert (version.returncode, version.stdout) == (2, "")
    assert project.lot("scripts/pure") == "3 py\n"


@pytest.mark.slow
def test_a_rebuild_compiles_whatever_the_time_stamps_say_and_leaves_no_older_binary(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    project.build()
    for binary in tmp_path.rglob("*.so"):
        os.utime(binary, (2**32, 2**32))  # the year 2106: newer than any source
    project.write_lot(3)
    project.build()
    assert project.lot() == "3 so\n"
    (tmp_path / MODULE_LIST).write_text("consensus/lot.py\n")
    project.build()
    assert project.check() == (0, "compiled\n")
    left = [*tmp_path.glob("*.so"), *(tmp_path / "consensus").glob("*.so")]
    assert {binary.name.partition(".")[0] for binary in left} == {"lot", "lot__mypyc", "recovery"}
