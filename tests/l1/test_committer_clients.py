"""The watcher and the committer on execution clients over HTTP: blobs in their pools and blocks.

What a client cannot do is skipped with the reason: only anvil holds blocks back, drops what waits,
raises its fees and reorganises. Levers block the loop, which is the test's own.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import bridge_chain
import pytest
import trio
from bridge_chain import ETH, OWNERS, SCALE, USD, Bridge, Posted
from derived_chain import PostingBridge
from l1_wallets import address
from poster import COMMITTER, Poster
from posting import traded
from remote_l1 import RemoteL1, ether
from signed_chain import genesis_value
from test_clients import client

from consensus.rollup.batch import decode_batch
from node import cli
from node.l1.archive import Archive
from node.l1.deployment import encode_deployment
from node.l1.history import read_history
from node.l1.http import HttpL1
from node.l1.surface import L1Error
from storage.files import DirectoryFiles
from storage.outbox import Intent

__all__ = ["client"]

TURNS: Final = 80
PAUSE_S: Final = 0.1
DEAR_WEI: Final = 150 * 10**9
"""A base fee far above the first offer, and below the committer's cap."""

pytestmark = [pytest.mark.l1, pytest.mark.node_js, pytest.mark.slow]


@pytest.fixture
def mines(client: RemoteL1) -> None:
    """Skips, before anything is sent, on a client whose blocks cannot be made by hand."""
    client.lever("evm_mine")


@pytest.fixture
def bridge(client: RemoteL1, monkeypatch: pytest.MonkeyPatch) -> Bridge:
    """Money in and orders, on the client; one member signs, and a window is a second."""
    monkeypatch.setattr(bridge_chain, "new_l1", lambda *names, **settings: client)
    client.fund((COMMITTER,), ether(client))
    made = Bridge(1, window_s=1)
    made.deposit(OWNERS[0], USD, 1000)
    made.deposit(OWNERS[0], ETH, 500)
    made.block()
    traded(made)
    return made


class Line:
    """A poster that reaches the client as a node does, and who else uses the client."""

    def __init__(self, bridge: Bridge, client: RemoteL1, l1: HttpL1) -> None:
        self.bridge = bridge
        self.client = client
        self.l1 = l1
        self.poster = Poster(bridge, l1=l1)

    @property
    def committed(self) -> int:
        return self.poster.watcher.facts.latest.committed

    @property
    def finalized(self) -> int:
        return self.poster.watcher.facts.latest.finalized

    @property
    def commit(self) -> Intent:
        """The lane's for a batch; the finalize may be behind it already."""
        return [one for one in self.poster.committer.lane.intents if one.batch][-1]

    async def goes_on(self) -> None:
        await trio.to_thread.run_sync(self.client.passes)

    async def mined(self) -> None:
        self.client.lever("evm_mine")

    async def sent(self) -> None:
        """Until the lane has a transaction that no block has."""
        for _ in range(TURNS):
            await self.poster.turn(mines=False)
            if self.poster.committer.lane.intents:
                return
            await self.mined()
        raise AssertionError(self.poster.committer.phase)

    async def until(
        self, holds: Callable[[], bool], between: Callable[[], Awaitable[None]]
    ) -> None:
        for _ in range(TURNS):
            if holds():
                return
            await self.poster.turn(mines=False)
            await between()
            await trio.sleep(PAUSE_S)
        raise AssertionError(self.poster.committer.phase)

    async def check(self) -> None:
        """The contract has the chain's last block, and the blobs are in the L1's transaction."""
        facts, head = self.poster.watcher.facts, self.bridge.chain.leader.head
        posted = facts.batch(self.committed)
        assert posted is not None and posted.last_height == head.height
        summary = self.poster.committer._head
        assert summary is not None
        commit = self.commit
        batch = decode_batch(commit.batch)
        assert batch.post_state_root == head.state_root
        name = "0x" + commit.newest.hash.hex()
        seen = None
        for _ in range(TURNS):  # ethrex knows it a moment after it has told its logs
            seen = await self.l1.request("eth_getTransactionByHash", name)
            if seen is not None:
                break
            await trio.sleep(PAUSE_S)
        assert seen is not None
        assert seen["blobVersionedHashes"] == ["0x" + one.hex() for one in batch.blob_hashes]
        assert set(self.poster.blobs) >= set(batch.blob_hashes)


@asynccontextmanager
async def line_of(bridge: Bridge, client: RemoteL1) -> AsyncIterator[Line]:
    l1 = HttpL1(client.url)
    try:
        yield Line(bridge, client, l1)
    finally:
        await l1.close()


def test_batches_are_posted_and_become_final(bridge: Bridge, client: RemoteL1) -> None:
    async def run() -> None:
        async with line_of(bridge, client) as line:
            await line.until(lambda: line.committed == 1, line.goes_on)
            await line.check()
            await line.until(lambda: line.finalized == 1, line.goes_on)
            counts = line.poster.committer.counts
            assert (counts["sent"], counts["reverted"]) == (2, 0)
            assert not line.poster.committer.halted

    trio.run(run)


def test_money_goes_in_by_an_origin_and_out_of_a_final_batch_and_the_chain_is_derived(
    client: RemoteL1, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blocks stand on the client's final blocks; what is posted is enough to make them again."""
    client.fund((COMMITTER,), ether(client))
    bridge = PostingBridge(client, count=1, window_s=1)
    bridge.deposit(OWNERS[0], USD, 1000)
    bridge.block()
    bridge.block(bridge.withdrawal(2, USD, 100, address(OWNERS[1])))
    trio.run(made_final, bridge, client, tmp_path / "blobs")

    before = bridge.tokens(address(OWNERS[1]))
    bridge.withdraw(1, 0)
    assert bridge.tokens(address(OWNERS[1])) == before + 100 * SCALE[USD]
    with pytest.raises(L1Error, match="claimed"):
        bridge.withdraw(1, 0)

    genesis, deployment = tmp_path / "g.json", tmp_path / "d.json"
    value = genesis_value(deposits=[], contract="0x" + bridge.address.hex())
    genesis.write_text(json.dumps(value), "ascii")
    deployment.write_bytes(encode_deployment(bridge.deployment))
    command = ["derive", "--l1", client.url, "--genesis", str(genesis), "--json", "--final"]
    command += ["--deployment", str(deployment), "--blobs", str(tmp_path / "blobs")]
    code, seen = cli.main(command), capsys.readouterr()
    assert code == 0, seen.err
    report, head = json.loads(seen.out), bridge.chain.leader.head
    assert (report["height"], report["batches"]) == (head.height, 1)
    assert report["state_root"].removeprefix("0x") == head.state_root.hex()


async def made_final(bridge: PostingBridge, client: RemoteL1, blobs: Path) -> None:
    """Everything in one batch, and that final on L1; its blobs are in the folder."""
    async with line_of(bridge, client) as line:
        await line.until(lambda: line.committed == 1, line.goes_on)
        await line.check()
        batch = decode_batch(line.commit.batch)
        await line.until(lambda: line.finalized == 1, line.goes_on)
        await trio.to_thread.run_sync(client.chain.finalize)
        await line.until(lambda: line.poster.watcher.facts.final.finalized == 1, line.goes_on)
        assert not line.poster.chain.alarms
        summary = (await read_history(line.l1, bridge.deployment)).summaries[1]
        bridge.posted.append(Posted(batch, summary, bridge.withdrawals_of(bridge.chain.blocks)))
        bridge.summaries.append(summary)
        Archive(DirectoryFiles(blobs)).keep(
            list(line.poster.blobs), list(line.poster.blobs.values())
        )


@pytest.mark.usefixtures("mines")
def test_what_a_pool_lost_is_sent_again_byte_for_byte(bridge: Bridge, client: RemoteL1) -> None:
    client.lever("evm_setAutomine", False)

    async def run() -> None:
        async with line_of(bridge, client) as line:
            await line.sent()
            name = "0x" + line.commit.newest.hash.hex()
            client.lever("anvil_dropTransaction", name)
            assert await line.l1.request("eth_getTransactionByHash", name) is None
            await line.until(lambda: line.committed == 1, line.mined)
            assert line.commit.newest.hash.hex() == name[2:]
            assert line.poster.committer.counts["resent"] >= 1
            await line.check()

    try:
        trio.run(run)
    finally:
        client.lever("evm_setAutomine", True)


@pytest.mark.usefixtures("mines")
def test_what_a_pool_threw_out_for_its_fees_is_replaced_by_more(
    bridge: Bridge, client: RemoteL1
) -> None:
    """The base fee rises above the offer; anvil forgets what cannot pay it, and refuses it then."""
    client.lever("evm_setAutomine", False)

    async def dear(wei: int = DEAR_WEI) -> None:
        client.lever("anvil_setNextBlockBaseFeePerGas", hex(wei))
        client.lever("evm_mine")

    async def run() -> None:
        async with line_of(bridge, client) as line:
            await line.sent()
            first = line.commit.newest
            await line.until(lambda: line.commit.newest.max_fee > DEAR_WEI, dear)
            second = line.commit.newest
            assert second.max_fee >= 2 * first.max_fee
            assert second.max_blob_fee >= 2 * first.max_blob_fee
            await line.until(lambda: line.committed == 1, dear)
            await line.check()

    try:
        trio.run(run)
    finally:
        trio.run(dear, 10**9)
        client.lever("evm_setAutomine", True)


@pytest.mark.usefixtures("mines")
@pytest.mark.parametrize("depth", [1, 3])
def test_after_a_reorganisation_the_same_bytes_are_posted_again(
    bridge: Bridge, client: RemoteL1, depth: int
) -> None:
    """The new blocks lack the commit, and the client's pool has forgotten it."""

    async def run() -> None:
        async with line_of(bridge, client) as line:
            await line.until(lambda: line.committed == 1, line.mined)
            name = line.commit.newest.hash
            found: Any = await line.l1.request("eth_getTransactionReceipt", "0x" + name.hex())
            head = int(await line.l1.request("eth_blockNumber"), 16)
            for _ in range(depth - 1 - (head - int(found["blockNumber"], 16))):
                await line.mined()
            above = int(await line.l1.request("eth_blockNumber"), 16)
            client.chain.reorganise(
                above - int(found["blockNumber"], 16) + 1, keep_dropped=False
            )
            await line.until(lambda: line.committed == 0, line.mined)
            await line.until(lambda: line.committed == 1, line.mined)
            assert line.commit.newest.hash == name
            await line.check()
            await line.until(lambda: line.finalized == 1, line.mined)

    trio.run(run)
