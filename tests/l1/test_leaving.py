"""A chain whose leader is gone: everybody leaves with what they had, by commands, to the last atom.

The nodes and the L1 are processes; what a person does are the commands of the wallet's page.
"""

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from consensus.state.memory import Memory
from node import cli
from node.devnet.bridge import (
    LocalChain,
    Owner,
    credited,
    deploy_chain,
    fund,
    l1_options,
    make_keys,
)
from node.devnet.chain import make_validators
from node.devnet.connection import Connection, connected
from node.devnet.processes import DIED, l1_of, nodes_of
from node.exceptions import NodeError
from node.key_files import write_secret
from node.l1 import payments
from node.l1.account import L1_REVERTED, Account
from node.l1.client import EXITED, REFUNDED
from node.l1.history import read_history
from node.l1.http import HttpL1
from node.l1.tokens import balance_of
from node.l1.transactions import Call
from node.machine import RealMachine
from node.state_file import read_snapshot
from node.wallet.dev_accounts import dev_accounts

pytestmark = [pytest.mark.l1, pytest.mark.slow, pytest.mark.usefixtures("validators_core")]

USD, BTC = 0, 1
ALICE, BOB, STRANGER = (Owner(one.secret, one.address) for one in dev_accounts(3))
NAMES = {"alice": ALICE, "bob": BOB, "stranger": STRANGER}
TIMES = {"window_s": 2, "deadline_s": 15, "freeze_after_s": 18, "delay_s": 60, "bond": 10**18}
PAID_OUT, LATE, LOST = 1_000_003, 77, 5
FINAL_S_MAX, FREEZE_S_MAX = 60, 90


class People:
    """Whoever has the chain's two files, an L1 and a key."""

    def __init__(
        self, folder: Path, chain: LocalChain, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._folder, self._chain, self._capsys = folder, chain, capsys
        self.files = ["--genesis", str(chain.genesis_file)]
        self.l1_files = [*self.files, "--deployment", str(chain.deployment_file)]
        self._password = folder / "password"
        write_secret(self._password, "worthless money\n")
        for name, owner in NAMES.items():
            write_secret(folder / f"{name}.key", owner.secret.hex() + "\n")

    async def run(self, *arguments: str, fails: bool = False) -> Any:
        code = await trio.to_thread.run_sync(cli.main, [*arguments, "--json"])
        seen = self._capsys.readouterr()
        assert code == (2 if fails else 0), seen.err
        return seen.err if fails else json.loads(seen.out)

    async def order(self, action: str, name: str, url: str, *more: str) -> Any:
        """`rialto wallet`, through a node."""
        keys = ["--keystore", str(self._folder / "keys"), "--password-file", str(self._password)]
        if not (self._folder / "keys" / f"{name}.json").exists():
            key = ["--key-file", str(self._folder / f"{name}.key")]
            await self.run("wallet", "import", name, *key, *keys)
        named = ["--wallet", name, "--node", url, "--yes"]
        return await self.run("wallet", action, *more, *named, *keys, *self.files)

    async def leave(self, name: str, url: str, atoms: int) -> Any:
        """A withdrawal of BTC to the owner's own address on L1."""
        money = ["--asset", "BTC", "--atoms", str(atoms)]
        to = ["--to", "0x" + NAMES[name].address.hex()]
        return await self.order("withdraw", name, url, *money, *to)

    async def l1(self, action: str, name: str, *more: str, fails: bool = False) -> Any:
        """`rialto l1`: no node is asked."""
        where = ["--l1", self._chain.url, *self.l1_files]
        return await self.run("l1", action, *where, *self._key(name), *more, fails=fails)

    async def mint(self, name: str, asset: int, atoms: int) -> None:
        """Units of a development token."""
        token, scale = self._chain.deployment.assets[asset]
        units = ["--token", "0x" + token.hex(), "--units", str(atoms * scale)]
        await self.run("l1", "dev-mint", "--l1", self._chain.url, *units, *self._key(name))

    def _key(self, name: str) -> list[str]:
        return ["--key-file", str(self._folder / f"{name}.key"), "--yes"]

    async def frozen(self) -> Any:
        """`rialto l1 freeze` by a stranger, as soon as the contract lets him."""
        with trio.fail_after(FREEZE_S_MAX):
            while True:
                try:
                    return await self.l1("freeze", "stranger")
                except AssertionError as refused:
                    assert "contract refuses: early" in str(refused)
                await trio.sleep(1)


@asynccontextmanager
async def bridged(folder: Path) -> AsyncIterator[tuple[LocalChain, list[Path]]]:
    """An L1 process with a contract and funded wallets; the chain has two validators."""
    keys, l1_keys = make_validators(folder, 2), make_keys(folder, 2)
    options = [*l1_options(l1_keys[0], [ALICE, BOB, STRANGER]), "--epoch-blocks", "2"]
    async with l1_of(folder, options) as l1:
        url = f"http://127.0.0.1:{l1.rpc}"
        now_ms = RealMachine().now_ms()
        chain = await deploy_chain(folder, url, keys, l1_keys, [], now_ms, TIMES)
        await fund(chain, [ALICE, BOB])
        yield chain, keys


async def until_final(door: Connection, height: int) -> None:
    with trio.fail_after(FINAL_S_MAX):
        while (await door.call("chain_status"))["l1"]["heights"]["final"] < height:
            await trio.sleep(0.2)


async def lived(chain: LocalChain, keys: list[Path], people: People, folder: Path) -> int:
    """Deposits, a trade, an order that rests, a withdrawal, all final; then the leader dies, with a
    withdrawal that is not. The height of that one."""

    def more(number: int) -> list[str]:
        return chain.options(number) + (["--batch-deadline", "1"] if number == 0 else [])

    with pytest.raises(NodeError) as ended:
        async with nodes_of(folder, chain.genesis_file, keys, 1, more) as (leader, follower):
            url, price = leader.url, ["--ticks", "50000", "--lots"]
            async with connected(follower.rpc) as door:
                await credited([door], 4)
                await people.order("place", "alice", url, "BTC-USD", "sell", *price, "40000")
                taken = await people.order("place", "bob", url, "BTC-USD", "buy", *price, "30000")
                assert [event["event"] for event in taken["events"]] == ["trade", "taken"]
                left = await people.leave("bob", url, PAID_OUT)
                await until_final(door, left["height"])
                lost = await people.leave("alice", url, LOST)
            os.kill(leader.pid, signal.SIGKILL)
            await leader.process.wait()
    assert ended.value.number == DIED and "leader ended by itself" in ended.value.text
    return int(lost["height"])


async def refused(account: Account, call: Call, reason: str) -> None:
    with pytest.raises(NodeError) as caught:
        await account.do(call)
    assert (caught.value.number, caught.value.facts["reason"]) == (L1_REVERTED, reason)


async def units(l1: HttpL1, chain: LocalChain, who: bytes) -> list[int]:
    """L1 units of each asset that an address has."""
    return [await balance_of(l1, token, who) for token, _ in chain.deployment.assets]


async def gone(people: People, chain: LocalChain, folder: Path) -> None:
    """Exits of everybody, a refund, a withdrawal that was final: the contract ends with nothing."""
    l1 = HttpL1(chain.url)
    state, file = folder / "final.rlts", folder / "withdrawals"
    public = ["--l1", chain.url, *people.l1_files, "--blobs", chain.url]
    derived = await people.run(
        "derive", *public, "--final", "--state", str(state), "--withdrawals", str(file)
    )
    copy, own = folder / "backup", folder / "restored"
    follower = ["--genesis", str(chain.genesis_file), "--data-dir", str(folder / "follower-1")]
    await people.run("db", "backup", *follower, "--out", str(copy))
    height = ["--height", str(derived["height"]), "--data-dir", str(own)]
    restored = await people.run("db", "restore", str(copy), *follower[:2], *height)
    assert restored["state_root"] == "0x" + derived["state_root"]
    later = await people.l1("exit", "alice", "--data-dir", str(folder / "follower-1"), fails=True)
    assert "E7799" in later

    held = await units(l1, chain, chain.deployment.contract)
    owners = {"fees": chain.genesis.fee_account} | {n: NAMES[n].address for n in ("alice", "bob")}
    before = {name: await units(l1, chain, who) for name, who in owners.items()}
    memory = read_snapshot(state)[1]
    owed = {name: payments.funds_of(memory, who)[1] for name, who in owners.items()}
    assert owed["fees"][USD] > 0

    assert (await people.l1("refund", "bob"))["paid"] == ["refund of item 4"]
    assert (await people.l1("withdraw", "bob", "--withdrawals", str(file)))["atoms"] == {
        str(BTC): PAID_OUT
    }
    await people.l1("exit", "alice", "--data-dir", str(own))
    await people.l1("exit", "bob", "--state", str(state))
    fees = ["--account", "0x" + owners["fees"].hex()]
    await people.l1("exit", "stranger", "--state", str(state), *fees)

    owed["bob"][BTC] += PAID_OUT
    owed["bob"][USD] += LATE
    for name, who in owners.items():
        for asset, (was, now) in enumerate(
            zip(before[name], await units(l1, chain, who), strict=True)
        ):
            assert now - was == owed[name][asset] * chain.deployment.assets[asset][1], name
    paid = [sum(one[asset] for one in owed.values()) for asset in (USD, BTC)]
    scales = [scale for _, scale in chain.deployment.assets]
    assert [atoms * scale for atoms, scale in zip(paid, scales, strict=True)] == held
    assert await units(l1, chain, chain.deployment.contract) == [0, 0]
    await nothing_twice(people, l1, chain, memory, file)
    await l1.close()


async def nothing_twice(
    people: People, l1: HttpL1, chain: LocalChain, memory: Memory, file: Path
) -> None:
    """The commands have nothing left to do; the calls behind them are refused by the contract."""
    for name in ("alice", "bob"):
        assert (await people.l1("refund", name))["paid"] == []
    history = await read_history(l1, chain.deployment)
    anybody, deployment = Account(l1, STRANGER.secret), chain.deployment
    paid = {
        event: sorted(one.key for one in history.paid if one.event == event)
        for event in (EXITED, REFUNDED)
    }
    for account, asset in paid[EXITED]:
        call = payments.exit_call(deployment, history, memory, account, asset)
        await refused(anybody, call, "exited")
    ((refunded,),) = paid[REFUNDED]
    call = payments.refund_call(deployment, history, history.items[refunded])
    await refused(anybody, call, "refunded")
    again = await people.l1(
        "withdraw", "bob", "--withdrawals", str(file), "--index", "0", fails=True
    )
    assert "contract refuses: claimed" in again


async def test_everybody_leaves_a_chain_whose_leader_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With L1, its blobs and the two files of the chain; or with a follower's data directory."""
    async with bridged(tmp_path) as (chain, keys):
        people = People(tmp_path, chain, capsys)
        lost = await lived(chain, keys, people, tmp_path)
        await people.mint("bob", USD, LATE)
        await people.l1("deposit", "bob", "--asset", "USD", "--atoms", str(LATE))
        operations = tmp_path / "operations.json"
        operations.write_text(json.dumps([{"op": "cancel_all"}]))
        forced = await people.l1("force", "alice", "--operations", str(operations))
        assert forced["item"] == 5
        early = await people.l1("freeze", "stranger", fails=True)
        assert "contract refuses: early" in early
        frozen = await people.frozen()
        assert frozen["final_height"] < lost
        await gone(people, chain, tmp_path)
