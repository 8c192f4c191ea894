"""`node.bench.parts`: what it takes out of the core is there, and what is left is still a core."""

import pytest

from consensus.proving.translate import translate
from node.bench.parts import PARTS, without
from node.build_check import ROOT
from node.ctwin import core_sources


@pytest.mark.parametrize("part", PARTS)
def test_a_part_can_be_taken_out(part: str) -> None:
    """Its edits change the modules that they name, and the translator takes the rest."""
    sources, left = core_sources(ROOT), without([part])
    changed = {path for path, text in left.items() if text != sources[path]}
    assert changed == {path for path, _, _ in PARTS[part]}
    assert translate(left) != translate(sources)


def test_all_parts_can_be_taken_out_together() -> None:
    assert translate(without(list(PARTS))) != translate(core_sources(ROOT))
