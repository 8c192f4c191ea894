"""ethers and viem connect, sign an order as typed data, send it, see it fill and read it back.

Needs node and npm, and a package index that npm reaches: the libraries of tests/rpc/js/package.json
are installed beside it at first use. Without them the test is skipped with the reason.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from fleet import Wallet
from live import Live, live

from consensus import layout

JS: Final = Path(__file__).resolve().parent / "js"

pytestmark = [pytest.mark.node_js, pytest.mark.slow]


@pytest.fixture(scope="session")
def wallet_libraries(npm_installed: Callable[..., Path]) -> Path:
    """The folder of the scripts, with the libraries."""
    return npm_installed(JS, "ethers", "viem")


async def order(on: Live, folder: Path, library: str, wallet: Wallet, *terms: str) -> Any:
    url = f"http://127.0.0.1:{on.on.rpc.port}"
    key = "0x" + wallet.owner_key.hex()
    command = ["node", "order.mjs", library, url, key, *terms]
    done = await trio.run_process(command, cwd=folder, capture_stdout=True, capture_stderr=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("library", ["ethers", "viem"])
async def test_an_order_is_signed_sent_filled_and_read_back(
    tmp_path: Path, wallet_libraries: Path, library: str
) -> None:
    async with live(tmp_path) as on:
        wallet = Wallet(0)
        await on.submit(Wallet(1).order(on.node.chain.state, layout.SELL, 120, 3))
        seen = await order(on, wallet_libraries, library, wallet, "buy", "120", "5")
        assert seen["chain"] == 1337
        shown = seen["shown"]
        assert (shown["action"], shown["market"], shown["side"], shown["price"]) == (
            "place limit order",
            "BTC-USD",
            "buy",
            "120",
        )
        events = [event["event"] for event in seen["answer"]["events"]]
        assert events == ["trade", "taken", "rested"]
        assert seen["refused"] == layout.NONCE_USED
        fills = [(one["event"], one["lots"]) for one in seen["fills"]]
        assert fills == [("trade", 3), ("taken", 3)]
        assert [(one["left"], one["price"]) for one in seen["open"]] == [(2, 120)]
        assert seen["block"] >= 1
        account = await on.call("clob_account", {"account": "0x" + wallet.owner.hex()})
        assert account["positions"][0]["net"] == "3"
