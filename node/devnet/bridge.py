"""The L1 of a local network: its contract and keys, and the deposits that fund the wallets.

What lives here: everything between an empty L1 and a funded chain. What must never live here: L2,
or a step that a person could not take with `rialto l1` on a real L1.

    l1/rialto l1 serve           the L1, a process of its own (or one that was there: `ether`)
    deployment.json              what `rialto l1 deploy` would write
    committer.key                the leader's L1 account, `attester-N.key` each validator's

USD is an L1 token of 18 decimals, BTC one of 8. Each owner makes itself units of both, approves and
deposits, with gas as the L1 estimates it: forks price the same call differently. Accounts are
numbered in the order in which their first deposits got into the L1 queue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import trio

from consensus.genesis import Genesis
from consensus.layout import FEE_ACCOUNT
from consensus.signatures import address_of, public_key_of
from node.devnet.chain import known_owners, share_of, write_genesis
from node.devnet.connection import Connection
from node.exceptions import NodeError
from node.flow.wallets import Wallet
from node.key_files import make_l1_key, read_l1_key
from node.l1 import tokens
from node.l1.account import Account
from node.l1.contract import call
from node.l1.deploying import Plan, deploy
from node.l1.deployment import Deployment, contract_address, encode_deployment
from node.l1.history import read_history
from node.l1.http import HttpL1
from node.l1.payments import sender_of
from node.l1.transactions import Call
from node.wallet.dev_accounts import DevAccount, dev_accounts

NOT_FUNDED: Final = 7748

DEPLOYMENT_FILE: Final = "deployment.json"
COMMITTER_FILE: Final = "committer.key"
EPOCH_BLOCKS: Final = 4
BATCH_DEADLINE_S: Final = 5
DECIMALS: Final = {"USD": 18, "BTC": 8}
TIMES: Final = {
    "window_s": 5, "deadline_s": 900, "freeze_after_s": 1800, "delay_s": 3600, "bond": 10**18,
}  # fmt: skip
"""A window that a person can wait for; deadlines that a busy machine does not miss."""
FUND_S_MAX: Final = 120
CREDIT_S_MAX: Final = 300


class Owner(NamedTuple):
    """Who deposits."""

    secret: bytes
    address: bytes


@dataclass(frozen=True)
class LocalChain:
    """A chain whose contract stands on the L1 at `url`."""

    url: str
    genesis: Genesis
    genesis_file: Path
    deployment: Deployment
    deployment_file: Path
    committer: Path
    attesters: tuple[Path, ...]
    gas: int

    def options(self, number: int) -> list[str]:
        """What node `number` is started with besides; the leader, 0, commits."""
        found = ["--l1", self.url, "--deployment", str(self.deployment_file)]
        found += ["--attester-key", str(self.attesters[number])]
        if number == 0:
            found += ["--committer-key", str(self.committer)]
            found += ["--batch-deadline", str(BATCH_DEADLINE_S)]
        return found


def owners_of(wallets: Sequence[Wallet]) -> list[Owner]:
    """The flow's wallets, and the accounts whose keys everybody has."""
    known = {"0x" + one.address.hex(): one for one in dev_accounts(len(known_owners()))}
    devs: list[DevAccount] = [known[owner] for owner in known_owners()]
    return [Owner(one.owner_key, one.owner) for one in wallets] + [
        Owner(one.secret, one.address) for one in devs
    ]


def make_keys(folder: Path, validators: int) -> tuple[Path, tuple[Path, ...]]:
    """The committer's key file, and an attester's for each validator; mode 0600."""
    files = [folder / COMMITTER_FILE]
    files += [folder / f"attester-{number}.key" for number in range(validators)]
    for file in files:
        make_l1_key(file)
    return files[0], tuple(files[1:])


def address_in(file: Path) -> bytes:
    """Of the key in one of these files."""
    return address_of(public_key_of(read_l1_key(file)))


def deployer() -> DevAccount:
    """Who makes tokens and contract: one of the accounts whose keys everybody has."""
    return dev_accounts(9)[8]


def l1_options(committer: Path, owners: Sequence[Owner]) -> list[str]:
    """Of `rialto l1 serve`: everybody who pays for gas has ether."""
    found = ["--epoch-blocks", str(EPOCH_BLOCKS)]
    for address in (address_in(committer), *(owner.address for owner in owners)):
        found += ["--fund", "0x" + address.hex()]
    return found


async def deploy_chain(
    folder: Path,
    url: str,
    keys: list[Path],
    l1_keys: tuple[Path, tuple[Path, ...]],
    wallets: list[Wallet],
    now_ms: int,
    times: Mapping[str, int] = MappingProxyType(TIMES),
) -> LocalChain:
    """Two tokens, a genesis file that names the contract behind them, and the contract."""
    guardian = dev_accounts(10)[9]
    l1 = HttpL1(url)
    try:
        account = Account(l1, deployer().secret)
        chain_id = int(await l1.request("eth_chainId"), 16)
        made = {}
        for symbol, decimals in DECIMALS.items():
            receipt = await account.do(Call(b"", tokens.creation(symbol, decimals)))
            made[symbol] = bytes.fromhex(receipt["contractAddress"][2:])
        place = contract_address(account.address, await account.nonce())
        path, genesis = write_genesis(folder, keys, wallets, now_ms, place, chain_id)
        members = tuple(map(address_in, l1_keys[1]))
        plan = Plan(members, guardian.address, guardian.address, made, dict(times))
        deployment, gas = await deploy(l1, account, genesis, plan)
    finally:
        await l1.close()
    file = folder / DEPLOYMENT_FILE
    file.write_bytes(encode_deployment(deployment))
    return LocalChain(url, genesis, path, deployment, file, *l1_keys, gas)


async def fund(chain: LocalChain, owners: Sequence[Owner]) -> dict[bytes, int]:
    """Deposits of every asset for every owner; the account number of each, by address.

    Raises `NodeError` 7748 if they are not in the queue in time, and what sending raises.
    """
    l1, deployment = HttpL1(chain.url), chain.deployment
    accounts = [Account(l1, owner.secret) for owner in owners]
    atoms, assets = share_of(len(owners)), len(deployment.assets)
    try:
        with trio.move_on_after(FUND_S_MAX):
            await _all_mined(accounts, _purchase(deployment, atoms))
            await _all_mined(accounts, _deposits(deployment, atoms))
        history = await read_history(l1, deployment)
    finally:
        await l1.close()
    if len(history.items) != len(owners) * assets:
        text = f"{len(history.items)} of {len(owners) * assets} deposits are in the L1 queue"
        raise NodeError(NOT_FUNDED, f"{text} after {FUND_S_MAX} s; see the log of the L1")
    senders = dict.fromkeys(map(sender_of, history.items))
    return {sender: FEE_ACCOUNT + n for n, sender in enumerate(senders, 1)}


async def credited(doors: Sequence[Connection], items: int) -> None:
    """Return when every node has a block with all of the L1 queue. Raises `NodeError` 7748."""
    with trio.move_on_after(CREDIT_S_MAX):
        for door in doors:
            while (await door.call("chain_getHeader"))["l1_messages"] < items:
                await trio.sleep(0.2)
        return
    text = f"the {items} deposits are not on every node after {CREDIT_S_MAX} s"
    why = "are they final on L1 by now? The logs of the nodes may say why"
    raise NodeError(NOT_FUNDED, f"{text}; {why}")


async def _all_mined(accounts: Sequence[Account], calls: Sequence[Call]) -> None:
    """Every account makes the calls, which are independent of each other."""
    after = []
    for account in accounts:
        after.append(await account.nonce() + len(calls))
        await account.send(calls)
    for account, nonce in zip(accounts, after, strict=True):
        await account.reached(nonce)


def _purchase(deployment: Deployment, atoms: int) -> list[Call]:
    """One owner's units of each token, and the contract's leave to take them."""
    return [
        Call(token, data)
        for token, scale in deployment.assets
        for data in (
            tokens.mint(atoms * scale),
            tokens.approve(deployment.contract, atoms * scale),
        )
    ]


def _deposits(deployment: Deployment, atoms: int) -> list[Call]:
    """Of each asset; estimated once the contract may take the tokens."""
    return [
        Call(deployment.contract, call("deposit_token", asset, atoms * scale))
        for asset, (_, scale) in enumerate(deployment.assets)
    ]
