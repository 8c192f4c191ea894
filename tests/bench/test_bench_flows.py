"""The flows that are measured: seeded, legal, of the shape that their description promises."""

from collections import Counter
from struct import Struct

import pytest

from consensus import layout
from consensus.chain import State
from consensus.commands import read_groups
from consensus.exceptions import InvalidBlock
from consensus.transition import apply_block
from node.bench import flows, signed_flow
from node.bench.signed_flow import believed

ROW = Struct("<8q")
SEED = 20_260_502


@pytest.mark.parametrize("name", ["normal", "sweep"])
def test_one_seed_gives_one_flow(name: str) -> None:
    first, again = (flows.make(name, 400, SEED) for _ in range(2))
    assert first.rows == again.rows
    assert first.start.M == again.start.M
    assert flows.make(name, 400, SEED + 1).rows != first.rows


def test_a_flow_has_no_refusals_and_says_how_many_rest() -> None:
    flow = flows.make("normal", 2000, SEED)
    assert flow.refusals == {}
    assert len(flow.rows) == 2000 * flows.ROW_BYTES
    assert 3000 < flow.resting[0] <= flow.resting[1] < 6000
    assert "2,000 messages" in flow.describe()


@pytest.fixture(scope="module")
def signed() -> signed_flow.SignedFlow:
    return signed_flow.make(2000, SEED, accounts=50)


def applied(flow: signed_flow.SignedFlow) -> State:
    state = flow.state()
    for block in flow.blocks:
        apply_block(state, block, believed(list(read_groups(block.commands))))
    return state


def test_one_seed_gives_the_same_signed_blocks(signed: signed_flow.SignedFlow) -> None:
    again = signed_flow.make(2000, SEED, accounts=50)
    assert again.blocks == signed.blocks
    assert again.head_hash == signed.head_hash


def test_a_follower_agrees_with_every_block(signed: signed_flow.SignedFlow) -> None:
    assert applied(signed).head == signed.blocks[-1].header
    assert applied(signed).head.state_root == signed.blocks[-1].header.state_root


def test_a_follower_that_is_told_other_signers_refuses(signed: signed_flow.SignedFlow) -> None:
    groups = list(read_groups(signed.blocks[0].commands))
    with pytest.raises(InvalidBlock, match="E3010"):
        apply_block(signed.state(), signed.blocks[0], believed(groups[::-1]))


def test_the_shares_of_commands_are_those_of_the_description(
    signed: signed_flow.SignedFlow,
) -> None:
    seen: Counter[str] = Counter()
    for block in signed.blocks:
        for group in read_groups(block.commands):
            word = ROW.unpack(group.operations)[0]
            is_market = word >> 16 & 15 == layout.TYPE_MARKET
            seen[
                "cancel" if word & 255 == layout.OP_CANCEL else "market" if is_market else "place"
            ] += 1
    assert seen.total() == signed.commands == 2000
    assert abs(seen["place"] / 2000 - 0.55) < 0.05
    assert abs(seen["cancel"] / 2000 - 0.42) < 0.05
    assert 0.01 < seen["market"] / 2000 < 0.06
    assert signed.events[layout.EVENT_TRADE] > 0
    assert signed.refusals == {}
