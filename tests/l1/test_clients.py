"""The settlement suite again, and blobs, money and derivation, on execution clients over HTTP.

Anvil comes from npm (Osaka), geth from the path or, with `scripts/test --long`, from its Go module,
ethrex in the same way from its crates (`ethrex_l1.py`), any other client from RIALTO_L1_URL with
RIALTO_L1_KEY. What a client cannot do is skipped with the reason: only anvil turns its clock.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any, Final

import bridge_chain
import pytest
import trio
from bridge_chain import ETH, OWNERS, SCALE, USD, WINDOW, Bridge
from derived_chain import PostingBridge
from ethrex_l1 import ethrex, ethrex_binary
from l1_wallets import Wallets, address, hexed, reason, sidecar_of
from remote_l1 import RemoteL1, anvil, client_at_url, ether, geth, geth_binary
from test_settlement import *  # noqa: F403 - the suite itself, collected here once more

from consensus.da.blobs import pack
from node.l1.beacon import BeaconBlobs
from node.l1.client import LATEST
from node.l1.http import HttpL1
from node.l1.surface import L1Error
from node.l1.transactions import Sidecar

JS: Final = Path(__file__).resolve().parent / "js"
NAMES: Final = ("operator", *OWNERS, "guardian", "governor", "stranger")
TO: Final = address("somebody")

pytestmark = [pytest.mark.l1, pytest.mark.node_js, pytest.mark.slow]


@pytest.fixture(scope="module", params=["anvil", "geth", "ethrex", "url"])
def client(
    request: pytest.FixtureRequest,
    npm_installed: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RemoteL1]:
    """A client at work, its names with ether."""
    folder = tmp_path_factory.mktemp("client")
    if request.param == "url":
        found = client_at_url()
        found.fund(NAMES, ether(found))
        yield found
        return
    cache = folder
    if request.config.cache:
        cache = Path(str(request.config.cache.mkdir(request.param)))
    if request.param == "anvil":
        running = anvil(npm_installed(JS, "@foundry-rs/anvil"), folder / "log")
    elif request.param == "geth":
        running = geth(geth_binary(cache), folder)
    else:
        running = ethrex(ethrex_binary(cache), folder)
    with running as found:
        found.fund(NAMES, ether(found))
        yield found


@pytest.fixture(autouse=True)
def on_client(client: RemoteL1, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bridges of these tests are made on the client."""
    monkeypatch.setattr(bridge_chain, "new_l1", lambda *names, **settings: client)


def test_blobs_are_taken_with_their_proofs_and_their_hashes_come_back(client: RemoteL1) -> None:
    wallets: Any = Wallets(client)  # type: ignore[arg-type]
    right = sidecar_of(b"a payload")
    receipt = wallets.do("operator", TO, b"", sidecar=right)
    assert (receipt["type"], int(receipt["blobGasUsed"], 16)) == ("0x3", 131_072)
    seen = client.answer("eth_getTransactionByHash", receipt["transactionHash"])
    assert seen["blobVersionedHashes"] == [hexed(one) for one in right.hashes]
    lie = Sidecar(1, pack(b"another payload"), right.commitments, right.proofs)
    with pytest.raises(L1Error):
        wallets.send("operator", TO, sidecar=lie)


def test_a_sidecar_of_the_fork_before_is_refused(client: RemoteL1) -> None:
    if client.name.startswith(("anvil", "geth")):
        pytest.skip("anvil takes sidecars of both versions, geth makes version 1 of version 0")
    wallets: Any = Wallets(client)  # type: ignore[arg-type]
    with pytest.raises(L1Error):
        wallets.send("operator", TO, sidecar=sidecar_of(b"a payload", version=0))


def test_money_goes_in_is_posted_and_comes_out_on_the_client_s_own_clock() -> None:
    bridge = Bridge(window_s=1)
    bridge.deposit(OWNERS[0], USD, 1000)
    bridge.deposit(OWNERS[0], ETH, 500)
    bridge.block()
    bridge.block(bridge.withdrawal(2, USD, 100, address(OWNERS[1])))
    bridge.commit()
    for _ in range(100):
        try:
            bridge.finalize()
            break
        except L1Error as error:
            assert reason(error) == "window"
            sleep(0.2)
            bridge.wallets.do("operator", TO, b"", value=1)  # a block, so that time passes
    before = bridge.tokens(address(OWNERS[1]))
    bridge.withdraw(1, 0)
    assert bridge.tokens(address(OWNERS[1])) == before + 100 * SCALE[USD]
    with pytest.raises(L1Error, match="claimed"):
        bridge.withdraw(1, 0)


def test_a_chain_is_derived_from_the_client_and_its_blobs(client: RemoteL1) -> None:
    """Blobs by the Beacon API, which anvil answers on the same port."""
    bridge = PostingBridge(client)
    bridge.deposit(OWNERS[0], USD, 1000)
    bridge.block()
    bridge.block(bridge.withdrawal(2, USD, 100, address(OWNERS[1])))
    bridge.post()
    bridge.later(WINDOW)

    async def derive() -> Any:
        l1 = HttpL1(client.url)
        beacon = BeaconBlobs(client.url, l1)
        derivation = bridge.derivation(l1, bridge.source(beacon))
        posted = await derivation.read(LATEST)
        await derivation.run(posted, 1, lambda header, hashed: None)
        await beacon.close()
        await l1.close()
        return derivation.state

    state = trio.run(derive)
    assert state.head == bridge.chain.leader.head
    assert state.memory.view() == bridge.chain.leader.memory.view()
