"""docs/devnet.md names every option and every key of the report."""

import re

from node.build_check import ROOT
from node.cli import parse

PAGE = (ROOT / "docs" / "devnet.md").read_text(encoding="utf-8")


def test_every_option_is_in_the_table_and_nothing_else() -> None:
    known = set(vars(parse(["devnet"]))) - {"run"}
    assert set(re.findall(r"^\| `--(\w+)", PAGE, re.MULTILINE)) == known


def test_every_key_of_the_report_is_explained() -> None:
    source = (ROOT / "node" / "devnet" / "run.py").read_text(encoding="utf-8")
    report = source.split("def _report")[1].split('"nodes": [')[0] + source.split("])")[-1]
    keys = set(re.findall(r'^        "(\w+)":', report, re.MULTILINE))
    explained = set(re.findall(r"`(\w+)`", PAGE.split("## The report")[1]))
    assert keys and keys <= explained
