"""Refuse to run a compiled core that is not made from the sources beside it.

Python imports `layout.cpython-311.so` before `layout.py`, without a word and whatever their ages:
after an edit, old rules would run under new text. The build therefore leaves a manifest, the
SHA-256 of every source it translated and of the list of them, and the command line and the tests
compare it with the files before they import anything of the core. Contents, not time stamps: a
checkout or a copy sets those at will.

`python -m node.build_check` prints the state; it exits 2 when the core has to be built again.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final, Literal

import consensus
from node.exceptions import NodeError

STALE_BUILD: Final = 7001

ROOT: Final = Path(consensus.__path__[0]).parent
MODULE_LIST: Final = "consensus/core_modules.txt"
NATIVE: Final = "consensus/recovery.c"
MANIFEST: Final = "consensus/core_manifest.json"


def core_sources(root: Path = ROOT) -> list[str]:
    """The compiled modules' source paths, relative to `root`, in the order they are listed."""
    return (root / MODULE_LIST).read_text().split()


def compiled_binary(root: Path, source: str) -> Path | None:
    """The extension module that an import takes instead of `source`, if one lies beside it."""
    stem = (root / source).with_suffix("")
    for suffix in EXTENSION_SUFFIXES:
        binary = stem.with_name(stem.name + suffix)
        if binary.exists():
            return binary
    return None


def compiled_state(root: Path = ROOT) -> Literal["compiled", "interpreted"]:
    """Which core an import gets: "compiled" if any of its modules comes from a binary."""
    if any(compiled_binary(root, source) for source in core_sources(root)):
        return "compiled"
    return "interpreted"


def stale_sources(root: Path = ROOT) -> Iterator[str]:
    """The sources whose compiled form is older, missing beside others, or of unknown origin."""
    try:
        built_from: dict[str, str] = json.loads((root / MANIFEST).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        built_from = {}
    modules = [*core_sources(root), NATIVE]
    for source in [MODULE_LIST, *modules]:
        path = root / source
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "absent"
        half_built = source in modules and compiled_binary(root, source) is None
        if built_from.get(source) != digest or half_built:
            yield source


def refuse_stale(root: Path = ROOT) -> None:
    """Return if what an import gets is what the sources say.

    Raises `NodeError` 7001, naming the first source that differs. Interpreted sources always pass.
    """
    if compiled_state(root) == "interpreted":
        return
    for source in stale_sources(root):
        raise NodeError(
            STALE_BUILD,
            f"the compiled core was not made from the present {source}: run scripts/bootstrap "
            "(with RIALTO_PURE=1 to remove the compiled modules), or install rialto again",
            source=source,
        )


def main() -> int:
    try:
        refuse_stale()
    except NodeError as error:
        print(f"error {error}", file=sys.stderr)
        return 2
    print(compiled_state())
    return 0


if __name__ == "__main__":
    sys.exit(main())
