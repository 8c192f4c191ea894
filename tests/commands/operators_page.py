"""docs/operators.md, its console blocks filled with what the commands print now.

What lives here: running the page's commands. What must never live here: a judgement; the test
compares, `python tests/commands/operators_page.py` writes.
"""

import os
import re
import shlex
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Final

from node import cli
from node.build_check import ROOT

PAGE: Final = ROOT / "docs" / "operators.md"
CONSOLE: Final = re.compile(r"```console\n(.*?)\n```", re.DOTALL)
GIVEN: Final = re.compile(r"`([a-z.]+)`:\n\n```json\n(.*?)```", re.DOTALL)


def filled(text: str) -> str:
    """The page with the output of every `$ rialto ...` after its command."""
    with tempfile.TemporaryDirectory() as name, chdir(name):
        os.symlink(ROOT / "genesis", "genesis")
        for file, content in GIVEN.findall(text):
            Path(file).write_text(content, encoding="utf-8")
        return CONSOLE.sub(_console, text)


def _console(block: re.Match[str]) -> str:
    lines = []
    for line in block.group(1).splitlines():
        if line.startswith("$ rialto "):
            lines += [line, *_printed(shlex.split(line)[2:])]
    return "\n".join(["```console", *lines, "```"])


def _printed(argv: list[str]) -> list[str]:
    output = StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        cli.main(argv)
    return output.getvalue().splitlines()


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
