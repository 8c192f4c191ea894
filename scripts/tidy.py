"""Check the rules of the tree that no linter knows; print `file:line: sentence` for each breach.

    python scripts/tidy.py [ROOT]

What lives here: who may import whom, what the rules of the exchange may not touch, sizes, names,
texts and links. What it must never know: how the compiled core's subset is defined; it asks
`consensus/proving/subset.py`. Exits 1 if anything is untidy.
"""

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

from consensus.proving.subset import CORE_MODULES, check  # noqa: E402

# Each layer may import itself and those named here, nothing else of ours.
LAYERS: Final[Mapping[str, tuple[str, ...]]] = {
    "consensus": (),
    "storage": ("consensus",),
    "p2p": ("consensus",),
    "node": ("consensus", "storage", "p2p"),
    "scripts": ("consensus", "storage", "p2p", "node", "tests"),
    "tests": ("consensus", "storage", "p2p", "node", "scripts"),
}
# The rules take time, randomness and bytes as arguments; these would bring them in behind their
# back, and two nodes would disagree.
IMPURE: Final = (
    "asyncio", "datetime", "io", "logging", "os", "pathlib", "random",
    "secrets", "socket", "subprocess", "threading", "time", "trio",
)  # fmt: skip
# Where M[...] is stored without touch(), by function, and why a forgotten mark is impossible there.
UNTOUCHED: Final[dict[str, str]] = {
    "operate": "SEQUENCE lies in the header leaf, which open_block touched",
    "undo": "puts back what the marks were made for",
}
BANNED_NAMES: Final[Mapping[str, str]] = {
    "utils": "name the module after the noun it works on (`leaves`, `handles`)",
    "common": "move each part to the layer that owns it",
    "helpers": "put the function beside its only caller, or name what it computes",
    "base": "name the protocol or the record it defines",
}
FUNCTION_LINES_MAX: Final = 70
PYTHON_COLUMNS_MAX: Final = 100
MARKDOWN_COLUMNS_MAX: Final = 200

UNFINISHED: Final = re.compile(r"\b(TODO|FIXME|XXX)\b")
MACHINE_PATH: Final = re.compile(r"(?<![\w.}-])/(work|root|tmp)/")
REGISTRY: Final = re.compile(
    r"\b(pypi\.org|pythonhosted\.org|npmjs\.(com|org)|crates\.io|proxy\.golang\.org)\b"
    r"|\b(index|extra-index|registry)[-_]url\b",
    re.IGNORECASE,
)
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# This program and its tests have to spell what they forbid.
SPELL_IT: Final = ("scripts/tidy.py", "tests/tidy/")
TEXT_SUFFIXES: Final = (
    "", ".c", ".cfg", ".h", ".in", ".md", ".py", ".sh", ".toml", ".txt", ".vy", ".yaml", ".yml",
)  # fmt: skip
SKIPPED: Final = ("build", "dist", "node_modules", "__pycache__")


class Breach(NamedTuple):
    """One line of output; `path` is relative to the root of the tree."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def check_tree(root: Path) -> list[Breach]:
    """Every breach under `root`, in order of path and line."""
    breaches: list[Breach] = []
    for path in files(root):
        if Path(path).suffix not in TEXT_SUFFIXES:
            continue
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        breaches += check_text(path, text)
        if path.endswith(".py"):
            breaches += check_python(path, text)
        elif path.endswith(".md"):
            breaches += check_markdown(root, path, text)
    return sorted(breaches + list(check_core(root)))


def files(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name == ".ci")
        ]
        for name in names:
            yield (Path(folder) / name).relative_to(root).as_posix()


def check_text(path: str, text: str) -> Iterator[Breach]:
    if path.startswith(SPELL_IT):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if found := UNFINISHED.search(line):
            yield Breach(path, number, f"{found[0]}: finish it, or write down what is missing")
        if (found := MACHINE_PATH.search(line)) and not path.startswith(("tests/", "scripts/")):
            yield Breach(path, number, f"{found[0]} is a path of one machine")
        if found := REGISTRY.search(line):
            yield Breach(path, number, f"{found[0]}: where packages come from is not our business")


def check_python(path: str, text: str) -> Iterator[Breach]:
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > PYTHON_COLUMNS_MAX:
            yield Breach(path, number, f"{len(line)} columns: at most {PYTHON_COLUMNS_MAX}")
    for part in Path(path).with_suffix("").parts:
        if part in BANNED_NAMES:
            yield Breach(path, 1, f"the name {part} says nothing: {BANNED_NAMES[part]}")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield Breach(path, error.lineno or 1, f"not Python: {error.msg}")
        return
    if tree.body and ast.get_docstring(tree) is None:
        yield Breach(path, 1, "no docstring: a file states first what lives in it")
    layer = path.split("/")[0]
    for node in ast.walk(tree):
        yield from check_imports(path, layer, node)
        yield from check_sizes_and_handlers(path, node)
        if layer == "consensus":
            yield from check_purity(path, node)


def check_imports(path: str, layer: str, node: ast.AST) -> Iterator[Breach]:
    modules: list[str] = []
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        modules = [node.module]
    for module in modules:
        top = module.split(".")[0]
        if layer in LAYERS and top in LAYERS and top != layer and top not in LAYERS[layer]:
            yield Breach(path, line_of(node), f"{layer} may not import {top}")
        if layer == "consensus" and top in IMPURE:
            text = f"the rules may not import {top}: they take such values as arguments"
            yield Breach(path, line_of(node), text)


def check_sizes_and_handlers(path: str, node: ast.AST) -> Iterator[Breach]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES_MAX:
            text = f"{node.name} has {length} lines: at most {FUNCTION_LINES_MAX}"
            yield Breach(path, node.lineno, text)
    elif isinstance(node, ast.ExceptHandler):
        caught = [] if node.type is None else [ast.unparse(node.type)]
        if isinstance(node.type, ast.Tuple):
            caught = [ast.unparse(one) for one in node.type.elts]
        catches_all = not caught or "Exception" in caught or "BaseException" in caught
        if catches_all and not any(isinstance(part, ast.Raise) for part in ast.walk(node)):
            text = "an except for everything that does not raise hides our own faults"
            yield Breach(path, node.lineno, text)


def check_purity(path: str, node: ast.AST) -> Iterator[Breach]:
    line = line_of(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield Breach(path, line, "the rules have no floats: use integers and name their unit")
    elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        yield Breach(path, line, "/ makes a float: use // and say which way it rounds")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in ("open", "float"):
            yield Breach(path, line, f"the rules may not call {node.func.id}()")
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        source = node.iter
        called = source.func if isinstance(source, ast.Call) else None
        is_set = isinstance(called, ast.Name) and called.id in ("set", "frozenset")
        if isinstance(source, ast.Set | ast.SetComp) or is_set:
            text = "a set has no order that two nodes share: sort it"
            yield Breach(path, line_of(source), text)


def check_markdown(root: Path, path: str, text: str) -> Iterator[Breach]:
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MARKDOWN_COLUMNS_MAX:
            yield Breach(path, number, f"{len(line)} columns: at most {MARKDOWN_COLUMNS_MAX}")
        if line.lstrip().startswith("```"):
            fenced = not fenced
        for link in [] if fenced else LINK.findall(re.sub(r"`[^`]*`", "", line)):
            target = link.split("#")[0]
            if not target or re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            start = root if target.startswith("/") else (root / path).parent
            if not (start / target.lstrip("/")).exists():
                yield Breach(path, number, f"the link {link} leads nowhere")


def check_core(root: Path) -> Iterator[Breach]:
    """The compiled core: its subset, its marks, and that the build compiles the same modules."""
    sources = {
        path: (root / path).read_text(encoding="utf-8")
        for path in CORE_MODULES
        if (root / path).is_file()
    }
    for fault in check(sources):
        yield Breach(fault.path, fault.line, f"{fault.text} [{fault.rule}]")
    for path, text in sources.items():
        yield from check_touch(path, text)
    listed = root / "consensus" / "core_modules.txt"
    if listed.is_file():
        built = listed.read_text(encoding="utf-8").split()
        for module in sorted(set(sources) ^ set(built)):
            where = "here" if module in built else "in CORE_MODULES of consensus/proving/subset.py"
            text = f"{module} is named only {where}: node and proof would run different cores"
            yield Breach("consensus/core_modules.txt", 1, text)


def check_touch(path: str, text: str) -> Iterator[Breach]:
    """A store without its mark is a fork that shows only after a restart."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return  # reported by the check of the subset
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name in UNTOUCHED:
            continue
        names = {function.name}
        stores = []
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names.add(node.func.id)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id == "M":
                    stores.append(node.lineno)
        if stores and not any(name == "touch" or name.startswith("touch_") for name in names):
            text = f"{function.name} stores to M and calls no touch(): the leaf would keep its hash"
            yield Breach(path, min(stores), text)


def line_of(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 1))


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    breaches = check_tree(root.resolve())
    print("\n".join(map(str, breaches)) or "tidy")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
