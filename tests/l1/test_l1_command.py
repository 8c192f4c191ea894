"""`rialto l1` against `rialto l1 serve`: an L1 in a process of its own, reached over HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from l1_wallets import Wallets, address, new_l1, sidecar_of
from signed_chain import genesis_value

from consensus.da.blobs import BLOB_CARRIES_BYTES
from consensus.genesis import parse
from node import cli
from node.config import Address
from node.l1.deployment import read_deployment
from node.l1.embedded.service import l1_server
from node.l1.fees import Market
from node.l1.http import HttpL1
from node.wallet.dev_accounts import dev_accounts

pytestmark = pytest.mark.l1
OWNER, OTHER = dev_accounts(2)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An L1 with ten blocks a second, each a second later for it, in epochs of two."""
    command = [sys.executable, "-m", "node.cli", "l1", "serve", "--rpc", "127.0.0.1:0"]
    more = ["--block-s", "0.1", "--epoch-blocks", "2", "--fund", "0x" + "77" * 20]
    with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['rpc']}"
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    key = tmp_path / "key"
    key.write_text(OWNER.secret.hex())
    key.chmod(0o600)

    def run(action: str, *more: str, signs: bool = True, fails: int = 0) -> Any:
        arguments = ["l1", action, "--l1", url, "--json", *more]
        arguments += ["--key-file", str(key), "--yes"] if signs else []
        code = cli.main(arguments)
        seen = capsys.readouterr()
        if fails:
            assert code == 2 and f"error E{fails}" in seen.err
            return seen.err
        assert code == 0, seen.err
        return json.loads(seen.out)

    return run


def deployed(run: Any, folder: Path) -> list[str]:
    """A chain whose USD is a development token and whose BTC is ether; its two files."""
    token = run("dev-token", "--symbol", "USD", "--decimals", "6")["token"]
    place = run("deploy", "--predict")["contract"]
    value = genesis_value(deposits=[], contract=place)
    genesis = folder / "genesis.json"
    genesis.write_text(json.dumps(value))
    me = "0x" + OWNER.address.hex()
    more = ["--genesis", str(genesis), "--output", str(folder / "deployment.json")]
    more += ["--member", me, "--guardian", me, "--governor", me, "--asset", f"USD={token}"]
    more += ["--window-s", "1", "--deadline-s", "1", "--freeze-after-s", "40"]
    assert "BTC has no token" in run("deploy", *more, fails=7796)
    assert "DOGE is no asset" in run("deploy", *more, "--asset", "DOGE=ether", fails=7796)
    made = run("deploy", *more, "--asset", "BTC=ether")
    assert made["contract"] == place and 4_500_000 < made["gas"] < 5_500_000
    assert "exists" in run("deploy", *more, "--asset", "BTC=ether", fails=7796)
    run("dev-mint", "--token", token, "--units", str(10**12))
    return ["--deployment", str(folder / "deployment.json"), "--genesis", str(genesis)]


def test_a_contract_is_deployed_where_genesis_says_and_takes_money_in(
    run: Any, tmp_path: Path
) -> None:
    chain = deployed(run, tmp_path)
    found = read_deployment(tmp_path / "deployment.json")
    assert found.contract == parse((tmp_path / "genesis.json").read_bytes()).contract
    assert [scale for _, scale in found.assets] == [10**4, 10**14]
    again = ["--genesis", chain[3], "--output", str(tmp_path / "again.json"), "--asset"]
    me = ["--member", "0x" + "11" * 20, "--guardian", "0x" + "12" * 20, "--governor", "0x13"]
    said = run("deploy", *again, "BTC=ether", *me[:-1], "0x" + "13" * 20, fails=7797)
    assert "write that into `contract`" in said

    assert run("deposit", *chain, "--asset", "BTC", "--amount", "1.5")["item"] == 0
    usd = run("deposit", *chain, "--asset", "USD", "--atoms", "250")
    assert (usd["item"], usd["atoms"]) == (1, 250)
    assert "atoms, and there are only whole ones" in run(
        "deposit", *chain, "--asset", "BTC", "--amount", "0.00001", fails=7845
    )
    assert "contract refuses: " in run(
        "deposit", *chain, "--asset", "USD", "--atoms", str(10**9), fails=7792
    )
    operations = tmp_path / "operations.json"
    operations.write_text(json.dumps([{"op": "cancel_all"}]))
    assert run("force", *chain, "--operations", str(operations))["item"] == 2

    status = run("status", *chain, "--address", "0x" + OWNER.address.hex(), signs=False)
    assert (status["queue"], status["batches"], status["frozen"]) == (3, 0, False)
    assert (status["held_BTC"], status["held_USD"]) == (15_000, 250)
    assert status["units_USD"] == 10**12 - 250 * 10**4
    market = Market(status["base_fee"], 0, status["blob_fee"])
    assert market.blob_fee >= market.base_fee // 16 > 0
    assert status["blob_wei"] == market.blob_wei
    assert status["blob_as_calldata_wei"] == market.calldata_wei(BLOB_CARRIES_BYTES)
    assert status["blob_breaks_even_bytes"] == market.breaks_even_bytes


async def _until_later(url: str, seconds: int) -> None:
    """Until the L1's clock has moved on."""
    l1 = HttpL1(url)

    async def now() -> int:
        return int((await l1.request("eth_getBlockByNumber", "latest", False))["timestamp"], 16)

    began = await now()
    while await now() < began + seconds:
        await trio.sleep(0.05)
    await l1.close()


def test_an_unserved_queue_freezes_the_chain_and_deposits_come_back(
    run: Any, url: str, tmp_path: Path
) -> None:
    chain = deployed(run, tmp_path)
    assert "no reason to freeze" in run("freeze", *chain, fails=7798)
    run("deposit", *chain, "--asset", "BTC", "--amount", "2")
    run("deposit", *chain, "--asset", "USD", "--atoms", "7")
    assert "contract refuses: early" in run("freeze", *chain, fails=7792)
    assert "contract refuses: not frozen" in run("refund", *chain, fails=7792)
    trio.run(_until_later, url, 41)
    assert run("freeze", *chain)["final_height"] == 0
    before = run("status", *chain, "--address", "0x" + OWNER.address.hex(), signs=False)
    assert (before["held_BTC"], before["held_USD"], before["frozen"]) == (20_000, 7, True)
    refund = run("refund", *chain)
    assert refund["atoms"] == {"0": 7, "1": 20_000}
    after = run("status", *chain, "--address", "0x" + OWNER.address.hex(), signs=False)
    assert (after["held_BTC"], after["held_USD"]) == (0, 0)
    assert after["units_USD"] - before["units_USD"] == 7 * 10**4
    assert run("refund", *chain)["paid"] == []
    assert "contract refuses: frozen" in run(
        "deposit", *chain, "--asset", "BTC", "--amount", "1", fails=7792
    )


def test_the_served_l1_makes_blocks_and_answers_as_its_twin_in_process(url: str) -> None:
    async def ask() -> None:
        l1 = HttpL1(url)
        first = int(await l1.request("eth_blockNumber"), 16)
        while int(await l1.request("eth_blockNumber"), 16) <= first + 4:
            await trio.sleep(0.02)
        final = await l1.request("eth_getBlockByNumber", "finalized", False)
        assert int(final["number"], 16) > 0
        funds = await l1.request("eth_getBalance", "0x" + "77" * 20, "latest")
        assert int(funds, 16) == 10**24
        await l1.close()

    trio.run(ask)


def test_posted_blobs_are_given_out_by_block_and_versioned_hash() -> None:
    l1 = new_l1()
    wallets, sidecar = Wallets(l1), sidecar_of(b"some" * 50_000)
    wallets.send("operator", address("operator"), sidecar=sidecar)
    pages = l1_server(l1, Address("127.0.0.1", 0))._pages

    def got(target: str) -> tuple[int, list[bytes]]:
        page = pages[target]()
        data = json.loads(page.body).get("data", [])
        return page.status, [bytes.fromhex(one[2:]) for one in data]

    first, second = ("0x" + name.hex() for name in sidecar.hashes)
    assert got("/eth/v1/beacon/blobs/1") == (200, list(sidecar.blobs))
    assert got(f"/eth/v1/beacon/blobs/1?versioned_hashes={second}") == (200, [sidecar.blobs[1]])
    assert got(f"/eth/v1/beacon/blobs/1?versioned_hashes={second},{first}")[1] == [*sidecar.blobs]
    assert got(f"/eth/v1/beacon/blobs/0?versioned_hashes={second}") == (200, [])
    assert got("/eth/v1/beacon/blobs/7") == (404, [])
    for other in ("/eth/v1/beacon/blobs/", "/eth/v1/beacon/blobs/x", "/eth/v1/node/version"):
        assert pages.get(other) is None
