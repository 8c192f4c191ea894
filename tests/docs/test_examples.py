"""Every example in these pages runs and prints what the page shows."""

from pathlib import Path

import pytest
from page_examples import run_page

from node.build_check import ROOT

PAGES = ("docs/wallets.md", "docs/light-clients.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_print_what_it_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "genesis").symlink_to(ROOT / "genesis")
    monkeypatch.chdir(tmp_path)
    examples = list(run_page(ROOT / page))
    assert len(examples) >= 3
    for example in examples:
        assert example.seen == example.shown, example.where
