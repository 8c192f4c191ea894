"""The deployment file is read strictly, and no contract but the chain's own passes for it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from bridge_chain import Bridge
from l1_wallets import address
from signed_chain import genesis_of

from consensus import layout
from node.exceptions import NodeError
from node.l1.deployment import (
    DEPLOYMENT_FILE,
    DEPLOYMENT_OTHER,
    Deployment,
    check_deployment,
    contract_address,
    decode_deployment,
    encode_deployment,
)


@pytest.fixture(scope="module")
def bridge() -> Bridge:
    return Bridge()


def test_a_deployment_is_read_as_it_was_written(bridge: Bridge) -> None:
    costly = replace(bridge.deployment, settings=replace(bridge.settings, bond=5 * 10**18))
    for one in (bridge.deployment, costly):
        assert decode_deployment(encode_deployment(one)) == one


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contract": "0x12"}, "contract: must be an address"),
        ({"chain_id": 0}, "chain_id: must be an integer"),
        ({"more": 1}, "more: is not known"),
        ({"members": []}, "members: must have 1 to 64 items"),
        ({"members": ["0x" + "11" * 20] * 65}, "members: must have 1 to 64 items"),
        ({"settings": {}}, "settings.mode: must be given"),
        ({"assets": [{"token": "0x" + "00" * 20, "scale": 0}]}, "assets[0].scale: must be"),
        ({"block_number": 1.5}, "block_number: must be an integer"),
    ],
)
def test_a_file_with_a_fault_is_refused_with_the_field(
    bridge: Bridge, change: dict[str, Any], said: str
) -> None:
    value = json.loads(encode_deployment(bridge.deployment)) | change
    with pytest.raises(NodeError) as caught:
        decode_deployment(json.dumps(value).encode())
    assert caught.value.number == DEPLOYMENT_FILE
    assert said in caught.value.text
    with pytest.raises(NodeError) as caught:
        decode_deployment(b"{" + b" " * (1 << 16))
    assert caught.value.number == DEPLOYMENT_FILE


def test_the_address_is_known_before_the_contract_is_made(bridge: Bridge) -> None:
    nonce = bridge.wallets.nonce("operator") - 1
    assert bridge.address == contract_address(address("operator"), nonce)
    # EIP-161's first contract of an account that everybody knows: anvil's and hardhat's account 0.
    first = bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266")
    known = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")
    assert contract_address(first, 0) == known


async def test_the_contract_of_the_chain_passes(bridge: Bridge) -> None:
    head = bridge.chain.blocks[0].header if bridge.chain.blocks else bridge.chain.leader.head
    summary = await check_deployment(
        bridge.wallets.l1, bridge.deployment, bridge.chain.genesis, head
    )
    assert summary == bridge.summaries[0]


def test_the_settings_name_the_leaves_where_the_ledger_has_them(bridge: Bridge) -> None:
    M = bridge.chain.leader.memory.M
    found = bridge.settings.accounts_leaf, bridge.settings.balances_leaf
    assert found == (int(M[layout.AT_ACCOUNTS]) // 32, int(M[layout.AT_BALANCES]) // 32)


async def _said(bridge: Bridge, deployment: Deployment, **genesis: Any) -> str:
    file = genesis_of(deposits=[], **genesis) if genesis else bridge.chain.genesis
    with pytest.raises(NodeError) as caught:
        await check_deployment(bridge.wallets.l1, deployment, file)
    assert caught.value.number == DEPLOYMENT_OTHER
    return caught.value.text


async def test_any_other_contract_is_refused_with_what_differs(bridge: Bridge) -> None:
    right = bridge.deployment
    here = "0x" + bridge.address.hex()
    assert "names the contract" in await _said(bridge, replace(right, contract=bytes(20)))
    assert "no contract there" in await _said(
        bridge, replace(right, contract=b"\7" * 20), contract="0x" + "07" * 20
    )
    assert "chain id" in await _said(bridge, replace(right, chain_id=5))
    assert "another chain id" in await _said(
        bridge, replace(right, chain_id=5), chain_id=5, contract=here
    )
    shorter = replace(right.settings, window_s=599)
    assert "other settings" in await _said(bridge, replace(right, settings=shorter))
    assert "did not make it" in await _said(bridge, replace(right, block_number=1))
    assert "settles the chain of genesis" in await _said(bridge, right, contract=here, time=5)
    wider = replace(right.settings, accounts_max=128)
    assert "sizes or layout" in await _said(bridge, replace(right, settings=wider))
    token = replace(right, contract=bridge.token)
    assert "another code" in await _said(bridge, token, contract="0x" + bridge.token.hex())


async def test_another_block_0_and_genesis_deposits_are_refused(bridge: Bridge) -> None:
    head = replace(bridge.chain.leader.head, state_root=b"\1" * 32)
    with pytest.raises(NodeError) as caught:
        await check_deployment(bridge.wallets.l1, bridge.deployment, bridge.chain.genesis, head)
    assert "another block 0" in caught.value.text
    rich = genesis_of(contract="0x" + bridge.address.hex())
    with pytest.raises(NodeError) as caught:
        await check_deployment(bridge.wallets.l1, bridge.deployment, rich)
    assert "begins empty" in caught.value.text
