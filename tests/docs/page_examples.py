"""The examples of a page of documentation: run them, and see whether they print what it shows.

    ```console      lines that begin with `$ rialto` are run; what follows each is its output
    ```python       run in one namespace for the whole page
    ```text         right after a python block: what that block printed

Other blocks and other commands are text for people. Sizes of compressed files are not compared:
zstd's output differs between its versions.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from node.build_check import ROOT
from node.cli import main

COMPRESSED = re.compile(r"^(snapshot_bytes +)\d+$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Printed(NamedTuple):
    """One example: where it is, what the page says that it prints, and what it prints."""

    where: str
    shown: str
    seen: str


def run_page(page: Path) -> Iterator[Printed]:
    """Run every example of the page in the working directory."""
    text = page.read_text(encoding="utf-8")
    blocks = list(FENCE.finditer(text))
    namespace: dict[str, object] = {"__name__": "example"}
    for number, block in enumerate(blocks):
        language, body = block[1], block[2]
        where = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 1}"
        if language == "console":
            yield from _run_console(where, body)
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(body, where, "exec"), namespace)
            after = blocks[number + 1] if number + 1 < len(blocks) else None
            shown = after[2] if after is not None and after[1] == "text" else ""
            yield Printed(where, shown, printed.getvalue())


def _run_console(where: str, body: str) -> Iterator[Printed]:
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        words = shlex.split(command)
        if words[0] != "rialto":
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = main(words[1:])
        seen = printed.getvalue() if code == 0 else f"{printed.getvalue()}exit code {code}\n"
        sizes = [COMPRESSED.sub(r"\1", text) for text in (shown, seen)]
        yield Printed(f"{where}: {command}", *sizes)
