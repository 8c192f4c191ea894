"""`rialto wallet` against a real `rialto dev`: what a person types, and what comes of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dev_process import DevProcess, dev_process
from eth_keyfile.keyfile import create_keyfile_json

from node import cli
from node.wallet.dev_accounts import dev_accounts

PASSWORD = "correct horse"
Run = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def dev() -> Iterator[DevProcess]:
    with dev_process() as process:
        yield process


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wallets 0 to 2 of the dev accounts and `trader`, with a cheap key derivation."""
    directory = tmp_path_factory.mktemp("wallet")
    secrets = {f"dev{n}": one.secret for n, one in enumerate(dev_accounts(3))}
    for name, secret in (secrets | {"trader": b"\x55" * 32}).items():
        made = create_keyfile_json(secret, PASSWORD.encode(), kdf="pbkdf2", iterations=1)
        path = directory / f"{name}.json"
        path.write_text(json.dumps(made))
        path.chmod(0o600)
    password = directory / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    return directory


@pytest.fixture
def wallet(dev: DevProcess, keys: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run an action; its exit code and the JSON that it printed."""

    def run(*words: str, signs: bool = True) -> tuple[int, Any]:
        command = ["wallet", *words, "--json", "--keystore", str(keys), "--node", dev.url]
        if signs:
            command += ["--password-file", str(keys / "password"), "--yes"]
        code = cli.main(command)
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else printed.err

    return run


def events_of(answer: Any) -> list[str]:
    return [event["event"] for event in answer["events"]]


def test_two_wallets_trade_and_the_rest_is_amended_and_cancelled(wallet: Run) -> None:
    code, placed = wallet(
        "place", "BTC-USD", "buy", "--price", "65000", "--size", "1", "--wallet", "dev0"
    )
    assert (code, events_of(placed), placed["promised"]) == (0, ["rested"], True)
    order = ("place", "BTC-USD", "sell", "--ticks", "6500000", "--lots", "4000")
    code, filled = wallet(*order, "--wallet", "dev1", "--wait", "certified")
    assert (code, events_of(filled), filled["proven"]) == (0, ["trade", "taken"], True)
    _, orders = wallet("orders", "--wallet", "dev0", signs=False)
    assert [one["left"] for one in orders["orders"]] == ["0.6 BTC"]
    client = str(orders["orders"][0]["client"])
    change = ("amend", "--client", client, "--price", "65000", "--size", "0.5")
    code, amended = wallet(*change, "--wallet", "dev0")
    assert (code, events_of(amended)) == (0, ["reduced"])
    code, cancelled = wallet("cancel", "--client", client, "--wallet", "dev0")
    assert (code, events_of(cancelled)) == (0, ["canceled"])
    _, balance = wallet("balance", "--wallet", "dev0", signs=False)
    funds = {one["asset"]: one for one in balance["balances"]}
    assert funds["BTC"]["available"] == "100.4 BTC"
    assert funds["USD"]["locked_atoms"] == "0"


def test_an_operation_that_the_state_refuses_is_exit_code_1(wallet: Run) -> None:
    far = ("place", "BTC-USD", "buy", "--price", "1", "--size", "1", "--wallet", "dev0")
    code, answer = wallet(*far)
    assert (code, answer["events"][0]["name"]) == (1, "price_band")


def test_a_session_key_is_granted_used_and_revoked(wallet: Run, keys: Path) -> None:
    address = json.loads((keys / "trader.json").read_text())["address"]
    scope = ("--market", "BTC-USD", "--days", "1", "--cap", "100000", "--quote", "USD")
    granting = ("session", "grant", "1", "0x" + address.removeprefix("0x"), *scope)
    code, granted = wallet(*granting, "--wallet", "dev2", "--wait", "certified")
    assert (code, events_of(granted)) == (0, ["granted"])
    owner = "0x" + dev_accounts(3)[2].address.hex()
    _, listed = wallet("session", "list", "--account", owner, signs=False)
    assert [key["slot"] for key in listed["keys"]] == [1]
    order = ("place", "BTC-USD", "buy", "--price", "64999", "--size", "0.01")
    by_key = ("--wallet", "trader", "--account", owner)
    code, placed = wallet(*order, *by_key)
    assert (code, events_of(placed)) == (0, ["rested"])
    code, _ = wallet("cancel", "--all", *by_key)
    assert code == 0
    wallet("session", "revoke", "1", "--wallet", "dev2", "--wait", "certified")
    code, said = wallet(*order, *by_key)
    assert code == 2
    assert "E7849" in said


def test_transfer_and_withdrawal_move_funds(wallet: Run) -> None:
    _, before = wallet("balance", "--wallet", "dev1", signs=False)
    to = ("--to", str(before["account"]), "--asset", "ETH", "--amount", "1.5")
    code, moved = wallet("transfer", *to, "--wallet", "dev2")
    assert (code, events_of(moved)) == (0, ["transferred"])
    out = ("--to", "0x" + "11" * 20, "--asset", "ETH", "--atoms", "1500000000")
    code, left = wallet("withdraw", *out, "--wallet", "dev1")
    assert (code, events_of(left)) == (0, ["withdrawn"])
    _, after = wallet("balance", "--wallet", "dev1", signs=False)
    funds = [{one["asset"]: one for one in report["balances"]} for report in (before, after)]
    assert funds[0]["ETH"] == funds[1]["ETH"]


def test_signing_a_file_prints_what_clob_submit_takes(wallet: Run, tmp_path: Path) -> None:
    path = tmp_path / "operations.json"
    path.write_text(
        '[{"op": "place", "market": "BTC-USD", "side": "buy", "price": 6499000, "lots": 5,'
        ' "client": 3}, {"op": "cancel", "client": 3}]'
    )
    code, signed = wallet("sign", "--operations", str(path), "--wallet", "dev0")
    assert code == 0
    assert len(signed["group"]) == 2 + 2 * 64 * 3
    path.write_text("[]")
    code, said = wallet("sign", "--operations", str(path), "--wallet", "dev0")
    assert code == 2
    assert "E7851" in said


def test_nothing_is_signed_unless_somebody_agrees(
    dev: DevProcess, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words are shown all the same, and no nonce is spent."""
    words = ["wallet", "cancel", "--all", "--wallet", "dev0", "--node", dev.url]
    words += ["--keystore", str(keys), "--password-file", str(keys / "password")]
    nonces = (keys / "nonces").read_text() if (keys / "nonces").exists() else ""
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert "cancel all orders, all markets, from slot 0" in said
    assert "E7850" in said
    assert ((keys / "nonces").read_text() if (keys / "nonces").exists() else "") == nonces


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (("place", "BTC-USD", "buy", "--price", "65000.001", "--size", "1"), 7845),
        (("place", "BTC-EUR", "buy", "--price", "65000", "--size", "1"), 7846),
        (("place", "BTC-USD", "buy", "--price", "65000"), 7851),
        (("place", "BTC-USD", "buy", "--price", "1", "--ticks", "1", "--lots", "1"), 7851),
        (("cancel",), 7851),
        (("withdraw", "--to", "me", "--asset", "USD", "--atoms", "1"), 7851),
        (("cancel", "--all", "--valid-s", "90000"), 7000),
        (("cancel", "--all", "--wait", "final"), 7000),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_signed(
    wallet: Run, words: tuple[str, ...], number: int
) -> None:
    code, said = wallet(*words, "--wallet", "dev0")
    assert code == 2
    assert f"error E{number}" in said


def test_a_chain_that_was_not_asked_for_is_refused(wallet: Run) -> None:
    other = str(Path(__file__).parents[2] / "genesis" / "devnet.json")
    code, said = wallet("balance", "--wallet", "dev0", "--genesis", other, signs=False)
    assert code == 2
    assert "E7806" in said
