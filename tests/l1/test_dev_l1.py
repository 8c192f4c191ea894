"""`rialto dev` with its L1: money in, traded, out and paid, with the commands that a person has."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from dev_process import DevProcess, dev_process

from consensus.genesis import parse
from node.dev_chain import ACCOUNTS, FUNDS
from node.dev_l1 import contract_place
from node.l1.transactions import Call, Fees, sign_call
from node.wallet.dev_accounts import dev_accounts

pytestmark = [pytest.mark.l1, pytest.mark.slow, pytest.mark.usefixtures("validators_core")]
FINAL_S_MAX = 90
ATOMS = 2_500_000
OWNER, OTHER = dev_accounts(2)


class Person:
    """Somebody with a keystore and a running `rialto dev`."""

    def __init__(self, dev: DevProcess, folder: Path) -> None:
        self._dev = dev
        password = folder / "password"
        password.write_text("correct horse")
        password.chmod(0o600)
        self._keys = ["--keystore", str(folder / "keys"), "--json"]
        self._keys += ["--password-file", str(password)]
        files = Path(dev.facts["directory"])
        self._genesis = ["--genesis", str(files / "genesis.json")]
        self._deployment = ["--deployment", str(files / "deployment.json")]

    def run(self, *arguments: str, fails: bool = False) -> Any:
        command = [sys.executable, "-m", "node.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if fails:
            assert done.returncode == 2, done.stdout
            return done.stderr
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def wallet(self, action: str, *more: str) -> Any:
        return self.run("wallet", action, *more, *self._keys)

    def order(self, action: str, name: str, *more: str) -> Any:
        node = ["--node", self._dev.url, "--wallet", name, "--yes"]
        return self.wallet(action, *more, *node, *self._genesis)

    def l1(self, action: str, name: str, *more: str, fails: bool = False) -> Any:
        url = ["--l1", self.l1_url, "--wallet", name, "--yes"]
        return self.run(
            "l1", action, *url, *self._genesis, *self._deployment, *self._keys, *more, fails=fails
        )

    @property
    def l1_url(self) -> str:
        return f"http://127.0.0.1:{self._dev.facts['l1']}"

    def ask_l1(self, method: str, *params: object) -> Any:
        return ask_at(self.l1_url, method, params)

    def derived(self, roots: Path) -> Any:
        """The chain out of its L1, whose node also gives out the blobs."""
        named = ["--l1", self.l1_url, "--blobs", self.l1_url, "--roots", str(roots), "--json"]
        return self.run("derive", *named, *self._genesis, *self._deployment)

    def l1_units(self, symbol: str) -> int:
        """What the owner has on L1."""
        url = ["--l1", self.l1_url, "--json"]
        named = ["--address", "0x" + OWNER.address.hex()]
        status = self.run("l1", "status", *url, *self._genesis, *self._deployment, *named)
        return int(status[f"units_{symbol}"])


def ask(dev: DevProcess, method: str, **params: object) -> Any:
    return ask_at(dev.url.replace("ws:", "http:"), method, params)


def ask_at(url: str, method: str, params: object) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    kind = {"Content-Type": "application/json"}
    with urlopen(Request(url, json.dumps(body).encode(), kind)) as answer:
        return json.load(answer)["result"]


def until_stage(dev: DevProcess, stage: str, height: int) -> None:
    """Until the block has reached it; final: its batch cannot be undone on L1."""
    end = time.monotonic() + FINAL_S_MAX
    while ask(dev, "chain_status")["l1"]["heights"][stage] < height:
        assert time.monotonic() < end, ask(dev, "chain_status")
        time.sleep(0.3)


def test_money_goes_in_is_traded_and_comes_out(tmp_path: Path) -> None:
    """One process; a restart in between, killed, keeps both chains."""
    with dev_process(tmp_path / "dev", tmp_path / "log", has_l1=True) as dev:
        genesis = parse((tmp_path / "dev" / "genesis.json").read_bytes())
        assert genesis.contract == contract_place() and not genesis.deposits
        person = Person(dev, tmp_path)
        for n, name in enumerate(("alice", "bob")):
            person.wallet("import", name, "--dev", str(n))
        funds = dict(FUNDS)
        account = ask(dev, "clob_account", account="0x" + OWNER.address.hex())
        held = {one["symbol"]: int(one["available"]) for one in account["balances"]}
        assert held == funds

        item = person.l1("deposit", "alice", "--asset", "ETH", "--amount", "3")
        assert item["item"] == ACCOUNTS * len(FUNDS)
        person.order("place", "alice", "BTC-USD", "sell", "--price", "64990", "--size", "0.5")
        taken = person.order("place", "bob", "BTC-USD", "buy", "--price", "64990", "--size", "0.5")
        assert [event["event"] for event in taken["events"]] == ["trade", "taken"]

        dev.end()
        dev.start()
        spent = person.order(
            "withdraw", "alice", "--asset", "USD", "--atoms", str(ATOMS),
            "--to", "0x" + OWNER.address.hex(),
        )  # fmt: skip
        until_stage(dev, "final", spent["height"])
        before = person.l1_units("USD")
        paid = person.l1("withdraw", "alice", "--node", dev.url)
        assert paid["atoms"] == {"0": ATOMS}
        assert person.l1_units("USD") - before == ATOMS * 10**12
        index = str(spent["events"][0]["index"])
        again = person.l1("withdraw", "alice", "--node", dev.url, "--index", index, fails=True)
        assert "contract refuses: claimed" in again

        account = ask(dev, "clob_account", account="0x" + OWNER.address.hex())
        held = {one["symbol"]: int(one["available"]) for one in account["balances"]}
        assert held["ETH"] == funds["ETH"] + 3 * 10**9
        assert dev.stop() == 0
        assert "error" not in (tmp_path / "log").read_text().lower()


def test_a_killed_l1_has_its_blobs_and_mines_what_waited(tmp_path: Path) -> None:
    """The chain is derived from its L1 alone after a kill as before; no transaction is lost."""
    with dev_process(tmp_path / "dev", tmp_path / "log", has_l1=True) as dev:
        person = Person(dev, tmp_path)
        person.wallet("import", "alice", "--dev", "0")
        order = ["BTC-USD", "sell", "--price", "64990", "--size", "1"]
        placed = person.order("place", "alice", *order)
        until_stage(dev, "posted", placed["height"])
        before = person.derived(tmp_path / "before")
        assert before["height"] >= placed["height"]
        fees = Fees(tip=10**9, max_fee=10**11, max_blob_fee=1)
        call, chain_id = Call(OTHER.address, value=5), dev.facts["chain_id"]
        owner = "0x" + OWNER.address.hex()
        nonce = int(person.ask_l1("eth_getTransactionCount", owner, "latest"), 16)
        sent = sign_call(OWNER.secret, chain_id, nonce, call, fees)
        assert person.ask_l1("eth_sendRawTransaction", "0x" + sent.raw.hex())
        dev.end()
        dev.start()
        end = time.monotonic() + FINAL_S_MAX
        while person.ask_l1("eth_getTransactionReceipt", "0x" + sent.hash.hex()) is None:
            assert time.monotonic() < end
            time.sleep(0.3)
        after = person.derived(tmp_path / "after")
        assert after["height"] >= before["height"]
        roots = (tmp_path / "before").read_text()
        assert roots and (tmp_path / "after").read_text().startswith(roots)
        assert dev.stop() == 0
        assert "error" not in (tmp_path / "log").read_text().lower()


def test_a_directory_keeps_to_what_it_was_made_with(tmp_path: Path) -> None:
    with dev_process(tmp_path / "without") as dev:
        assert dev.facts["l1"] is None
        dev.stop()
        again = DevProcess(tmp_path / "without", has_l1=True)
        again.start()
        assert again.facts["l1"] is None
        again.stop()
    with dev_process(tmp_path / "with", has_l1=True) as dev:
        dev.stop()
    command = [sys.executable, "-m", "node.cli", "dev", "--no-l1"]
    command += ["--data-dir", str(tmp_path / "with")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "E7873" in done.stderr
