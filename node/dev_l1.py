"""The L1 of `rialto dev`: embedded, in the same process, with the chain's contract on it.

What lives here: how it is made, funded and found again. What must never live here: a step that a
person could not take on a real L1, or L2.

    <dir>/l1/              the L1's own chain; in memory without a directory
    <dir>/deployment.json  written last: without it the L1 is made anew

The contract's address has to stand in the genesis file, whose hash the contract has to be given. So
the address comes first: that of the deployer's fourth transaction, behind the three that make the
tokens. Setting up takes a hundred blocks of one second each, so it begins two minutes ago: the
clock of the L1 is then that of the machine. ETH is ether itself, what else there is are tokens.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.genesis import Genesis
from node.l1 import tokens
from node.l1.account import Account
from node.l1.backlog import Batching
from node.l1.bridge import L1Link
from node.l1.deploying import Plan, deploy
from node.l1.deployment import (
    Deployment,
    contract_address,
    encode_deployment,
    read_deployment,
)
from node.l1.embedded.kept import KeptDatabase
from node.l1.embedded.rpc import EmbeddedL1
from node.l1.embedded.service import funded
from node.l1.payments import deposit_calls
from node.l1.settling import Settles
from node.l1.transactions import Call
from node.wallet.dev_accounts import DevAccount, dev_accounts

L1_DIRECTORY: Final = "l1"
DEPLOYMENT_FILE: Final = "deployment.json"
OWNERS: Final = 10
GUARDIAN: Final = 9
DEPLOYER: Final = 10
COMMITTER: Final = 11
ATTESTER: Final = 12
"""Accounts of the phrase, behind those that are shown; the guardian also governs."""
TOKEN_DECIMALS: Final = {"USD": 18, "BTC": 8, "SOL": 9}
ETHER_SYMBOL: Final = "ETH"
EPOCH_BLOCKS: Final = 4
BLOCK_S: Final = 1.0
BATCH_DEADLINE_S: Final = 5
SET_UP_S: Final = 180
TIMES: Final = {
    "window_s": 5, "deadline_s": 900, "freeze_after_s": 1800, "delay_s": 3600, "bond": 10**18,
}  # fmt: skip
"""A window that a person can wait for; deadlines that a machine asleep does not miss at once."""


@dataclass(frozen=True)
class DevL1:
    """A running L1, and what a node needs of it. `close` it when the node has ended."""

    l1: EmbeddedL1
    deployment: Deployment
    close: Callable[[], None]

    @property
    def link(self) -> L1Link:
        return L1Link(self.l1, self.deployment)

    @property
    def settles(self) -> Settles:
        attester, committer = _account(ATTESTER), _account(COMMITTER)
        batching = Batching(deadline_s=BATCH_DEADLINE_S)
        return Settles(attester.secret, committer.secret, batching)


def contract_place() -> bytes:
    """Where the contract of every dev chain stands."""
    return contract_address(_account(DEPLOYER).address, len(TOKEN_DECIMALS))


class Clock:
    """The machine's, in Unix seconds, so much behind."""

    def __init__(self, behind_s: int) -> None:
        self.behind_s = behind_s

    def __call__(self) -> int:
        return int(time.time()) - self.behind_s


async def open_dev_l1(
    genesis: Genesis, directory: Path, funds: Mapping[str, int], *, is_kept: bool
) -> DevL1:
    """The L1 of this chain: what the directory keeps, else a new one with `funds`, atoms of each
    asset, deposited for each account. Leaves the deployment file in the directory.

    Raises what deploying raises, and the errors of a damaged deployment file.
    """
    file, place = directory / DEPLOYMENT_FILE, directory / L1_DIRECTORY
    if is_kept and not file.exists():
        shutil.rmtree(place, ignore_errors=True)  # begun and not finished
    database = KeptDatabase(place) if is_kept else None
    is_found = is_kept and file.exists()
    clock = Clock(0 if is_found else SET_UP_S)
    l1 = EmbeddedL1(
        funded(_account(number).address for number in (DEPLOYER, COMMITTER)),
        clock=clock, database=database, chain_id=genesis.chain_id, epoch_blocks=EPOCH_BLOCKS,
    )  # fmt: skip
    if not is_found:
        deployment = await _deployed(l1, genesis)
        await _deposit(l1, genesis, deployment, funds)
        l1.chain.finalize()
        clock.behind_s = 0
        new = file.with_suffix(".new")
        new.write_bytes(encode_deployment(deployment))
        new.replace(file)
    l1.automine = False
    return DevL1(l1, read_deployment(file), _nothing if database is None else database.close)


async def _deployed(l1: EmbeddedL1, genesis: Genesis) -> Deployment:
    """The tokens and the contract, at the address that genesis names."""
    account, listed = Account(l1, _account(DEPLOYER).secret), {ETHER_SYMBOL: tokens.ETHER}
    for symbol, decimals in TOKEN_DECIMALS.items():
        receipt = await account.do(Call(b"", tokens.creation(symbol, decimals)))
        listed[symbol] = bytes.fromhex(receipt["contractAddress"][2:])
    guardian, members = _account(GUARDIAN).address, (_account(ATTESTER).address,)
    plan = Plan(members, guardian, guardian, listed, TIMES)
    return (await deploy(l1, account, genesis, plan))[0]


async def _deposit(
    l1: EmbeddedL1, genesis: Genesis, deployment: Deployment, funds: Mapping[str, int]
) -> None:
    """Account by account, so that they are numbered in their order."""
    for owner in dev_accounts(OWNERS):
        account = Account(l1, owner.secret)
        for asset, (token, scale) in enumerate(deployment.assets):
            atoms = funds[genesis.assets[asset].symbol]
            if token != tokens.ETHER:
                await account.do(Call(token, tokens.mint(atoms * scale)))
            calls = await deposit_calls(l1, deployment, account.address, asset, atoms)
            await account.do_all(calls)


def _account(number: int) -> DevAccount:
    return dev_accounts(number + 1)[number]


def _nothing() -> None:
    pass
