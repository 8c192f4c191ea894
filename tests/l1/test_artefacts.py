"""What is deployed is what the source says, and fits a contract."""

import re
from pathlib import Path

import pytest

from node.exceptions import NodeError
from node.l1 import contract as law
from scripts.compile_contracts import CONTRACTS, artefact, text_of

SOURCES = sorted(CONTRACTS.glob("*.vy"))
CODE_BYTES_MAX = 24_576  # EIP-170


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_compiling_the_source_again_gives_the_committed_artefact(source: Path) -> None:
    """If this fails: python scripts/compile_contracts.py, and read the difference."""
    made = artefact(source.read_text("utf-8"))
    assert text_of(made) == source.with_suffix(".json").read_text("utf-8")
    assert made["runtime_bytes"] <= CODE_BYTES_MAX


def test_every_reason_of_the_contract_is_on_the_page() -> None:
    source = (CONTRACTS / "Settlement.vy").read_text("utf-8")
    reasons = set(re.findall(r'"([a-z ]+)"(?=\)|\n)', source))
    page = (CONTRACTS.parents[2] / "docs/protocol/settlement.md").read_text("utf-8")
    assert len(reasons) > 40
    assert not {reason for reason in reasons if f"`{reason}`" not in page}


def test_calls_that_the_contract_has_not_are_not_made() -> None:
    for name, values in (("steal", ()), ("deposit", ())):
        with pytest.raises(NodeError) as caught:
            law.call(name, *values)
        assert caught.value.number == law.CONTRACT_CALL
