"""Every number of an error around blocks and states stands beside its name on a protocol page."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from consensus import authority, block, chain, forks, proposal, receipts, streams, transition
from consensus.rollup import batch
from consensus.state import book, bounds, export, integrity, proof, shape, snapshot, statements

DOCS = Path(__file__).parents[2] / "docs" / "protocol"
MODULES = (
    authority, batch, block, book, bounds, chain, export, forks, integrity, proof, proposal,
    receipts, shape, snapshot, statements, streams, transition,
)  # fmt: skip
LIMITS = re.compile("_(MAX|BYTES|BITS|LEAVES|WORDS)(_MS)?$|^FAULTS$")


def numbers(module: ModuleType) -> dict[str, int]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, int) and 1000 < value < 9300 and not LIMITS.search(name)
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_every_number_stands_beside_its_name(module: ModuleType) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md")))
    assert numbers(module)
    for name, value in numbers(module).items():
        places = [found.start() for found in re.finditer(str(value), text)]
        near = [text[at : at + 160] for at in places]
        ranges = value in range(5722, 5729) and f"`{name}`" in text
        assert ranges or any(name in line for line in near), f"{value} {name}"
