"""`rialto node --l1 URL --deployment FILE`: who needs it, and what does not go together."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest
from bridge_chain import Bridge
from signed_chain import SignedChain

from node.config import FOLLOWER, HALF_L1, LEADER, Config, add_arguments, config_of
from node.exceptions import NodeError
from node.l1.deployment import DEPLOYMENT_FILE, encode_deployment
from node.process import L1_NEEDED, read_link


def configured(*words: str, role: str = FOLLOWER) -> Config:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    fixed: Sequence[str] = ("--role", role, "--genesis", "g.json", "--data-dir", "d")
    return config_of(parser.parse_args([*fixed, *words]))


@pytest.mark.parametrize("words", [("--l1", "http://l1"), ("--deployment", "d.json")])
def test_one_option_without_the_other_is_refused(words: tuple[str, str]) -> None:
    with pytest.raises(NodeError) as caught:
        configured(*words)
    assert caught.value.number == HALF_L1


def test_on_a_bridged_chain_whoever_proposes_or_votes_needs_an_l1(tmp_path: Path) -> None:
    bridge = Bridge()
    genesis = bridge.chain.genesis
    assert read_link(configured(), genesis) is None  # believes the validators
    for config in (configured(role=LEADER), configured("--validator-key", "v.json")):
        with pytest.raises(NodeError) as caught:
            read_link(config, genesis)
        assert caught.value.number == L1_NEEDED
    path = tmp_path / "deployment.json"
    path.write_bytes(encode_deployment(bridge.deployment))
    words = ("--l1", "http://127.0.0.1:1", "--deployment", str(path))
    link = read_link(configured(*words, role=LEADER), genesis)
    assert link is not None and link.deployment == bridge.deployment
    path.write_bytes(b"{}")
    with pytest.raises(NodeError) as caught:
        read_link(configured(*words), genesis)
    assert caught.value.number == DEPLOYMENT_FILE


def test_a_chain_without_a_contract_has_no_l1_to_follow() -> None:
    genesis = SignedChain().genesis
    assert read_link(configured(role=LEADER), genesis) is None
    words = ("--l1", "http://127.0.0.1:1", "--deployment", "d.json")
    with pytest.raises(NodeError) as caught:
        read_link(configured(*words), genesis)
    assert caught.value.number == L1_NEEDED
