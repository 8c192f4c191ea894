"""The devnet on an L1 that was there before: who gets ether, and a whole run on anvil."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from l1_wallets import ETHER, START, address
from remote_l1 import RemoteL1, anvil
from trio.testing import MockClock

from node.build_check import ROOT
from node.devnet.ether import BLOCK_S_MAX, PAYER_KEEPS_WEI, endow
from node.exceptions import NodeError
from node.flow.fetch import WHEEL, cache_folder, is_pinned
from node.l1.embedded.rpc import EmbeddedL1
from node.wallet.dev_accounts import dev_accounts

JS: Final = Path(__file__).resolve().parent / "js"
URL: Final = "http://an.l1"
FIRST, SECOND = (one.address for one in dev_accounts(2))
RICH, POOR = address("rich"), address("poor")
NEEDS: Final = {RICH: 2 * ETHER, POOR: 3 * ETHER, SECOND: ETHER}
MESSAGES: Final = 2000


def l1_with(balances: dict[bytes, int]) -> EmbeddedL1:
    return EmbeddedL1(balances, clock=lambda: START, automine=False)


async def endowed(l1: EmbeddedL1) -> dict[bytes, int]:
    """What each has after `endow`, on an L1 with a block a second."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mine, l1)
        await endow(l1, URL, NEEDS)
        nursery.cancel_scope.cancel()
    return {one: held(l1, one) for one in (*NEEDS, FIRST)}


async def mine(l1: EmbeddedL1) -> None:
    while True:
        await trio.sleep(1)
        l1.chain.mine()


def held(l1: EmbeddedL1, one: bytes) -> int:
    return int(l1.answer("eth_getBalance", "0x" + one.hex(), "latest"), 16)


async def test_everybody_gets_what_he_lacks_and_nobody_more(autojump_clock: MockClock) -> None:
    found = await endowed(l1_with({FIRST: 100 * ETHER, RICH: 7 * ETHER, POOR: ETHER}))
    assert (found[RICH], found[POOR], found[SECOND]) == (7 * ETHER, 3 * ETHER, ETHER)
    assert 96 * ETHER < found[FIRST] < 97 * ETHER  # three given, and the gas


async def test_the_first_development_account_with_enough_pays(autojump_clock: MockClock) -> None:
    l1 = l1_with({FIRST: PAYER_KEEPS_WEI, SECOND: PAYER_KEEPS_WEI + 5 * ETHER})
    found = await endowed(l1)
    assert found[FIRST] == PAYER_KEEPS_WEI
    assert PAYER_KEEPS_WEI - ETHER < found[SECOND] < PAYER_KEEPS_WEI
    assert (found[RICH], found[POOR]) == (2 * ETHER, 3 * ETHER)


async def test_without_ether_it_says_how_much_to_send_and_where(autojump_clock: MockClock) -> None:
    l1 = l1_with({FIRST: PAYER_KEEPS_WEI})
    with pytest.raises(ExceptionGroup) as caught:
        await endowed(l1)
    (error,) = caught.value.exceptions
    assert isinstance(error, NodeError) and error.number == 7758
    wanted = (PAYER_KEEPS_WEI + sum(NEEDS.values())) // ETHER
    assert f"{wanted} ether on {URL}" in error.text and "0x" + FIRST.hex() in error.text
    assert held(l1, FIRST) == PAYER_KEEPS_WEI


async def test_an_l1_without_blocks_of_its_own_is_refused(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(NodeError) as caught:
        await endow(l1_with({FIRST: 100 * ETHER}), URL, NEEDS)
    assert caught.value.number == 7759
    assert "--block-time" in caught.value.text
    assert trio.current_time() - began == pytest.approx(BLOCK_S_MAX, abs=1)


@pytest.fixture
def client(npm_installed: Callable[..., Path], tmp_path: Path) -> Iterator[RemoteL1]:
    """anvil with a block a second, epochs of four."""
    folder = npm_installed(JS, "@foundry-rs/anvil")
    with anvil(folder, tmp_path / "log", "--block-time", "1") as found:
        yield found


@pytest.mark.l1
@pytest.mark.node_js
@pytest.mark.slow
@pytest.mark.usefixtures("validators_core")
def test_a_part_of_the_flow_is_posted_to_anvil_and_derived_from_it(
    client: RemoteL1, tmp_path: Path
) -> None:
    if not is_pinned(cache_folder() / WHEEL):
        pytest.skip("the recorded flow is not in the cache; scripts/devnet fetches it")
    report = devnet(
        "--l1", client.url, "--messages", str(MESSAGES), "--wallets", "8", "--json",
        "--dir", str(tmp_path / "net"),
    )  # fmt: skip
    assert (report["faults"], report["messages"]) == ([], MESSAGES)
    assert len({node["state_root"] for node in report["nodes"]}) == 1
    assert report["derived_height"] > report["nodes"][0]["height"]
    deployment = json.loads((tmp_path / "net" / "deployment.json").read_text("ascii"))
    assert client.answer("eth_getCode", deployment["contract"], "latest") != "0x"
    assert deployment["chain_id"] == client.chain.chain_id


def devnet(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "node.cli", "devnet", *arguments], cwd=ROOT, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
