"""docs/wallets-javascript.md shows the code that the tests run, to the letter."""

from pathlib import Path

import pytest

from node.build_check import ROOT

JS = Path(__file__).resolve().parent / "js"


@pytest.mark.parametrize("name", ["order.mjs", "ethers.mjs", "viem.mjs"])
def test_the_page_shows_the_file(name: str) -> None:
    page = (ROOT / "docs/wallets-javascript.md").read_text("utf-8")
    code = (JS / name).read_text("utf-8")
    assert f"```js\n{code}```\n" in page
