"""A wallet's files and numbers: keystores, nonces, exact amounts."""

import json
import os
import stat
from collections.abc import Callable
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import pytest
from eth_account import Account
from eth_keyfile.keyfile import create_keyfile_json
from hypothesis import given
from hypothesis import strategies as st

from node.client.answers import Asset, Market
from node.exceptions import NodeError
from node.wallet.amounts import Terms, text_of
from node.wallet.keystore import Keystore, decrypt
from node.wallet.nonces import Nonces

SECRET = bytes(range(1, 33))
PASSWORD = "correct horse"
TERMS = Terms(
    [
        Asset(0, "USD", "USD", 6, "0"),
        Asset(1, "BTC", "BTC", 8, "0"),
    ],
    [Market(0, "BTC-USD", 1, 0, "open", 10**7, 10**8, "10000", "1", "0", 0)],
)


def quick_keystore(directory: Path, name: str, secret: bytes = SECRET) -> Path:
    """A keystore file whose key derivation costs nothing: for tests only."""
    made = create_keyfile_json(secret, PASSWORD.encode(), kdf="pbkdf2", iterations=1)
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(json.dumps(made))
    path.chmod(0o600)
    return path


def test_a_wallet_is_a_file_that_other_tools_open_and_others_may_not_read(tmp_path: Path) -> None:
    store = Keystore(tmp_path / "keys")
    wallet = store.add("alice", SECRET, PASSWORD)
    path = store.path("alice")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Account.decrypt(json.loads(path.read_text()), PASSWORD) == SECRET
    assert store.wallets() == [wallet]
    assert SECRET.hex() not in path.read_text()
    with pytest.raises(NodeError) as exists:
        store.add("alice", SECRET, PASSWORD)
    assert exists.value.number == 7362


def test_what_is_wrong_with_a_file_has_a_number(tmp_path: Path) -> None:
    path = quick_keystore(tmp_path, "bob")
    store = Keystore(tmp_path)
    assert store.unlock("bob", PASSWORD) == SECRET
    good = json.loads(path.read_text())
    crypto = good["crypto"]
    costly = crypto | {"kdfparams": crypto["kdfparams"] | {"c": 10**9}}
    big = crypto | {"kdf": "scrypt", "kdfparams": {"n": 1 << 40, "r": 8, "p": 1, "dklen": 32}}
    values: tuple[object, ...] = (
        good | {"version": 4},
        good | {"crypto": costly},
        good | {"crypto": big},
        good | {"crypto": crypto | {"kdfparams": None}},
        good | {"address": "11" * 20},
        {"version": 3},
        [],
    )
    for value in values:
        path.write_text(json.dumps(value))
        with pytest.raises(NodeError) as unusable:
            decrypt(path, PASSWORD)
        assert unusable.value.number == 7843, value
    path.write_text(json.dumps(good))
    with pytest.raises(NodeError) as wrong:
        store.unlock("bob", PASSWORD + "r")
    assert wrong.value.number == 7842
    path.chmod(0o644)
    with pytest.raises(NodeError) as exposed:
        store.unlock("bob", PASSWORD)
    assert exposed.value.number == 7360
    with pytest.raises(NodeError) as absent:
        store.unlock("carol", PASSWORD)
    assert absent.value.number == 7840


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 65, "x.json", "a b"])
def test_a_name_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(NodeError) as refused:
        Keystore(tmp_path).path(name)
    assert refused.value.number == 7841


def test_a_nonce_is_given_once_and_lies_above_what_the_chain_has(tmp_path: Path) -> None:
    assert [Nonces(tmp_path).take("a", 4), Nonces(tmp_path).take("a", 4)] == [5, 6]
    assert [Nonces(tmp_path).take("b", 0), Nonces(tmp_path).take("a", 99)] == [1, 100]
    (tmp_path / "nonces").write_text("{}x")
    with pytest.raises(NodeError) as damaged:
        Nonces(tmp_path).take("a", 0)
    assert damaged.value.number == 7848


def _take_many(directory: Path) -> list[int]:
    return [Nonces(directory).take("key", 0) for _ in range(20)]


def test_processes_share_the_nonces_of_a_key(tmp_path: Path) -> None:
    with get_context("spawn").Pool(2) as pool:
        taken = pool.map(_take_many, [tmp_path, tmp_path])
    assert sorted(taken[0] + taken[1]) == list(range(1, 41))


def test_amounts_are_exact_or_refused() -> None:
    market, usd = TERMS.market("BTC-USD"), TERMS.asset("USD")
    assert TERMS.ticks(market, "64990.01") == 6_499_001
    assert TERMS.lots(market, "0.0001") == 1
    assert TERMS.atoms(usd, "1.000001") == 1_000_001
    attempts: tuple[Callable[[], int], ...] = (
        lambda: TERMS.ticks(market, "64990.001"),
        lambda: TERMS.lots(market, "0.00001"),
        lambda: TERMS.atoms(usd, "0.0000001"),
        lambda: TERMS.atoms(usd, "1e3"),
        lambda: TERMS.atoms(usd, "-1"),
        lambda: TERMS.atoms(usd, "1,000"),
        lambda: TERMS.atoms(usd, ""),
        lambda: TERMS.atoms(usd, "1" * 25),
    )
    for refused in attempts:
        with pytest.raises(NodeError) as error:
            refused()
        assert error.value.number == 7845
    with pytest.raises(NodeError) as unknown:
        TERMS.market("BTC-EUR")
    assert unknown.value.number == 7846


@given(st.integers(0, 10**12))
def test_what_is_shown_is_read_back_as_the_same_integer(number: int) -> None:
    market, asset = TERMS.market("0"), TERMS.asset("BTC")
    assert TERMS.ticks(market, TERMS.price_text(market, number).split()[0]) == number
    assert TERMS.lots(market, TERMS.size_text(market, number).split()[0]) == number
    assert TERMS.atoms(asset, TERMS.amount_text(asset, number).split()[0]) == number


def test_a_fraction_without_finite_decimals_is_shown_as_one() -> None:
    assert text_of(Fraction(1, 3)) == "1/3"


def test_the_umask_does_not_open_a_keystore(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Keystore(tmp_path).add("dave", SECRET, PASSWORD)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "dave.json").stat().st_mode) == 0o600
