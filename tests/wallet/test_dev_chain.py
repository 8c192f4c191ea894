"""The chain of `rialto dev`: its accounts, and what it refuses to run."""

import json
from pathlib import Path

import pytest
from eth_account import Account

from consensus.genesis import parse
from node import cli
from node.commands import dev
from node.dev_chain import ACCOUNTS, new_dev_chain, open_dev_chain
from node.exceptions import NodeError
from node.wallet.dev_accounts import PHRASE, dev_accounts

NOW_MS = 1_764_000_000_000


def test_the_accounts_are_those_that_other_tools_derive_from_the_phrase() -> None:
    Account.enable_unaudited_hdwallet_features()
    for n, account in enumerate(dev_accounts(12)):
        other = Account.from_mnemonic(PHRASE, account_path=f"m/44'/60'/0'/0/{n}")
        assert (account.secret, account.address.hex()) == (other.key, other.address[2:].lower())


def test_a_chain_begins_now_and_funds_every_account() -> None:
    chain = new_dev_chain(NOW_MS)
    assert chain.genesis.time == NOW_MS
    assert [one.key for one in chain.genesis.validators] == [chain.validator.key]
    owners = {deposit.owner for deposit in chain.genesis.deposits}
    assert owners == {account.address for account in dev_accounts(ACCOUNTS)}


def test_a_chain_with_an_l1_has_its_contract_and_no_funds_in_genesis(tmp_path: Path) -> None:
    contract = bytes(range(20))
    chain = open_dev_chain(tmp_path / "dev", NOW_MS, contract)
    assert chain.genesis.contract == contract and not chain.genesis.deposits
    assert parse(chain.data) == chain.genesis
    assert open_dev_chain(tmp_path / "dev", NOW_MS) == chain  # it stays what it was made with


def test_where_the_l1s_machine_is_missing_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "find_spec", lambda name: None)
    assert cli.main(["dev", "--json"]) == 2
    assert "error E7872" in capsys.readouterr().err


def test_a_directory_gives_the_same_chain_again(tmp_path: Path) -> None:
    first = open_dev_chain(tmp_path / "dev", NOW_MS)
    assert open_dev_chain(tmp_path / "dev", NOW_MS + 1) == first


def test_a_directory_with_anything_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.key").write_text("of another node")
    with pytest.raises(NodeError) as refused:
        open_dev_chain(tmp_path, NOW_MS)
    assert refused.value.number == 7870
    assert [path.name for path in tmp_path.iterdir()] == ["network.key"]


@pytest.mark.parametrize("member", ["governor", "name", "chain_id"])
def test_another_genesis_is_refused(tmp_path: Path, member: str) -> None:
    open_dev_chain(tmp_path, NOW_MS)
    path = tmp_path / "genesis.json"
    value = json.loads(path.read_text())
    value[member] = {"governor": "0x" + "11" * 20, "name": "mainnet", "chain_id": 1}[member]
    path.write_text(json.dumps(value))
    parse(path.read_bytes())  # a good genesis, but not this one
    with pytest.raises(NodeError) as refused:
        open_dev_chain(tmp_path, NOW_MS)
    assert refused.value.number == 7871
