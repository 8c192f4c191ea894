"""The client example of docs/wallets.md prints what the page shows, against a real chain."""

import contextlib
import io
import re
from pathlib import Path

import trio
from dev_process import dev_process

PAGE = Path(__file__).parents[2] / "docs" / "wallets.md"
EXAMPLE = re.compile(r"^```py\n(.*?)^```\n```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_example_of_the_page_runs_as_shown() -> None:
    found = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) == 1
    program, shown = found[0]
    with dev_process() as dev, contextlib.redirect_stdout(io.StringIO()) as printed:
        here = program.replace("ws://127.0.0.1:8545", dev.url)
        assert here != program
        exec(compile(here, "docs/wallets.md", "exec"), {"trio": trio})
    assert printed.getvalue() == shown
