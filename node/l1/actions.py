"""What `rialto l1` does: from options to calls, from receipts to a report.

What lives here: one function per action, and what a person is asked before a signature. What must
never live here: the arguments of a call (`payments`, `deploying`), or printing.
"""

from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

from consensus.da.blobs import BLOB_CARRIES_BYTES
from consensus.genesis import Genesis, parse
from consensus.state.memory import Memory
from node.client import client as nodes
from node.client.answers import Asset
from node.exceptions import NodeError
from node.key_files import read_l1_key
from node.l1 import payments, tokens
from node.l1.account import Account
from node.l1.client import EXITED, WITHDRAWN, Client, Paid
from node.l1.contract import read_event, topic
from node.l1.deploying import PLAN, Plan, deploy, next_contract
from node.l1.deployment import Deployment, check_deployment, encode_deployment, read_deployment
from node.l1.fees import market_of
from node.l1.history import History, read_history
from node.l1.options import TIMES
from node.l1.surface import L1, as_hex
from node.l1.transactions import Call
from node.l1.withdrawn import WithdrawnFile
from node.state_file import read_snapshot
from node.wallet.amounts import Terms
from node.wallet.asking import agrees, ask_password, shows
from node.wallet.keystore import Keystore
from node.wallet.operations import atoms_of, from_file, read_address
from node.wallet.session import NOT_CONFIRMED
from storage.disk import SNAPSHOTS, DirectoryDisk
from storage.recovery import recover_chain
from storage.snapshots import Snapshots

Report = dict[str, object]
Action = Callable[[L1, Namespace], Awaitable[Report]]


async def make_contract(l1: L1, asked: Namespace) -> Report:
    """`deploy`: the contract, then the file that nodes and wallets are given."""
    account = unlocked(l1, asked)
    if asked.predict:
        return {"account": account.hex, "contract": as_hex(await next_contract(account))}
    if asked.genesis is None or not (asked.member and asked.guardian and asked.governor):
        text = "give --genesis, --member (once for each), --guardian and --governor"
        raise NodeError(PLAN, f"{text}, or --predict")
    if asked.output.exists():
        raise NodeError(PLAN, f"{asked.output} exists; give --output a new name")
    genesis = _genesis(asked)
    plan = Plan(
        members=tuple(map(read_address, asked.member)),
        guardian=read_address(asked.guardian),
        governor=read_address(asked.governor),
        tokens=dict(map(_token_of, asked.asset)),
        times={name: getattr(asked, name) for name, _, _ in TIMES} | {"bond": asked.bond},
    )
    _consent(asked, account, f"make the contract of chain {genesis.name}")
    made, gas = await deploy(l1, account, genesis, plan)
    asked.output.write_bytes(encode_deployment(made))
    return {
        "contract": as_hex(made.contract), "block": made.block_number, "gas": gas,
        "deployment": str(asked.output),
    }  # fmt: skip


async def status(l1: L1, asked: Namespace) -> Report:
    """What L1 knows of the chain, after the contract was checked."""
    genesis, deployment = await _checked(l1, asked)
    history = await read_history(l1, deployment)
    contract = Client(l1, deployment.contract)
    market = await market_of(l1)
    report: Report = {
        "contract": as_hex(deployment.contract),
        "head": history.tip.number,
        "safe": await _tagged(l1, "safe"),
        "finalized": await _tagged(l1, "finalized"),
        "batches": len(history.summaries) - 1,
        "batches_final": history.final,
        "height_posted": history.summaries[-1].last_height,
        "height_final": history.summaries[history.final].last_height,
        "state_root_posted": as_hex(history.summaries[-1].post_state_root),
        "state_root_final": as_hex(history.summaries[history.final].post_state_root),
        "queue": len(history.items),
        "queue_posted": history.summaries[-1].l1_messages,
        "withdrawals_paid": sum(one.event == WITHDRAWN for one in history.paid),
        "committee_epoch": await contract.number("epoch"),
        "frozen": history.frozen,
        "base_fee": market.base_fee,
        "blob_fee": market.blob_fee,
        "blob_wei": market.blob_wei,
        "blob_as_calldata_wei": market.calldata_wei(BLOB_CARRIES_BYTES),
        "blob_breaks_even_bytes": market.breaks_even_bytes,
    }
    for number, asset in enumerate(genesis.assets):
        held = (await contract.words("asset", number))[2]
        report[f"held_{asset.symbol}"] = int.from_bytes(held, "big")
    if asked.address:
        owner = read_address(asked.address)
        report["ether"] = await tokens.balance_of(l1, tokens.ETHER, owner)
        for asset, (token, _) in zip(genesis.assets, deployment.assets, strict=True):
            if token != tokens.ETHER:
                report[f"units_{asset.symbol}"] = await tokens.balance_of(l1, token, owner)
    return report


async def deposit(l1: L1, asked: Namespace) -> Report:
    """Funds from the key's L1 account to its account on the chain."""
    genesis, deployment = await _checked(l1, asked)
    terms, account = terms_of(genesis), unlocked(l1, asked)
    asset, atoms = terms.asset(asked.asset), atoms_of(asked, terms)
    _consent(asked, account, f"deposit {terms.amount_text(asset, atoms)} to its own account")
    calls = await payments.deposit_calls(l1, deployment, account.address, asset.asset, atoms)
    receipts = await account.do_all(calls)
    return _queued(receipts[-1]) | {"atoms": atoms, "gas": _gas(receipts)}


async def force(l1: L1, asked: Namespace) -> Report:
    """Operations into the queue, for the key's own account."""
    genesis, deployment = await _checked(l1, asked)
    account = unlocked(l1, asked)
    markets = {genesis.market_name(n): n for n in range(len(genesis.markets))}
    rows = from_file(asked.operations, markets)
    _consent(asked, account, f"force {len(rows) // 64} operations, for a fee of 0.0001 ether")
    receipt = await account.do(payments.force_call(deployment, rows))
    return _queued(receipt) | {"gas": _gas([receipt])}


async def withdraw(l1: L1, asked: Namespace) -> Report:
    """What was withdrawn on the chain and is in a final batch, paid to the withdrawal's address."""
    genesis, deployment = await _checked(l1, asked)
    account = unlocked(l1, asked)
    history = await read_history(l1, deployment)
    calls: list[tuple[str, Call]] = []
    waiting = []
    async with _withdrawals(asked, genesis) as client:
        indexes = asked.index
        if indexes is None:
            listed = [int(one.index) for one in await client.withdrawals_to(account.hex)]
            paid = {one.key for one in history.paid if one.event == WITHDRAWN}
            indexes = [index for index in reversed(listed) if (index,) not in paid]
        for index in indexes:
            number = history.batch_of((await client.withdrawal(index)).height)
            if number is None or number > history.final:
                waiting.append(index)
                continue
            heights = history.first_height(number), history.summaries[number].last_height
            proof = await client.withdrawal(index, heights)
            call = payments.withdraw_call(deployment, history, number, proof)
            calls.append((f"withdrawal {index}", call))
    return await _paid(l1, asked, deployment, account, calls) | {"waiting": waiting}


async def freeze(l1: L1, asked: Namespace) -> Report:
    """End the chain: deposits and batches are over, exits and refunds begin."""
    _, deployment = await _checked(l1, asked)
    account = unlocked(l1, asked)
    call = payments.freeze_call(deployment, await read_history(l1, deployment))
    _consent(asked, account, "freeze the contract, for ever")
    receipt = await account.do(call)
    history = await read_history(l1, deployment)
    height = history.summaries[history.final].last_height
    return {"final_height": height, "gas": _gas([receipt])}


async def leave(l1: L1, asked: Namespace) -> Report:
    """`exit`: everything that an account has in the final state, asset by asset."""
    genesis, deployment = await _checked(l1, asked)
    account = unlocked(l1, asked)
    owner = read_address(asked.account) if asked.account else account.address
    history = await read_history(l1, deployment)
    memory = _final_state(asked, genesis, history)
    number, balances = payments.funds_of(memory, owner)
    calls = [
        (f"exit of {genesis.assets[asset].symbol}",
         payments.exit_call(deployment, history, memory, number, asset))
        for asset, atoms in enumerate(balances)
        if atoms and Paid(EXITED, (number, asset)) not in history.paid
    ]  # fmt: skip
    return await _paid(l1, asked, deployment, account, calls, owner)


async def refund(l1: L1, asked: Namespace) -> Report:
    """The key's deposits that the final state has not seen."""
    _, deployment = await _checked(l1, asked)
    account = unlocked(l1, asked)
    history = await read_history(l1, deployment)
    calls = [
        (f"refund of item {item.index}", payments.refund_call(deployment, history, item))
        for item in payments.refundable(history, account.address)
    ]
    return await _paid(l1, asked, deployment, account, calls)


async def dev_token(l1: L1, asked: Namespace) -> Report:
    """A token that anybody mints."""
    account = unlocked(l1, asked)
    if not 0 < len(asked.symbol) < 12 or not asked.symbol.isascii() or asked.decimals > 36:
        raise NodeError(PLAN, "a symbol has 1 to 11 ASCII characters, a token up to 36 decimals")
    _consent(asked, account, f"make a development token {asked.symbol}")
    receipt = await account.do(Call(b"", tokens.creation(asked.symbol, asked.decimals)))
    return {"token": receipt["contractAddress"], "gas": _gas([receipt])}


async def dev_mint(l1: L1, asked: Namespace) -> Report:
    account = unlocked(l1, asked)
    _consent(asked, account, f"mint {asked.units} units of {asked.token}")
    receipt = await account.do(Call(read_address(asked.token), tokens.mint(asked.units)))
    return {"units": asked.units, "gas": _gas([receipt])}


ACTIONS: Final[dict[str, Action]] = {
    "deploy": make_contract,
    "status": status,
    "deposit": deposit,
    "force": force,
    "withdraw": withdraw,
    "freeze": freeze,
    "exit": leave,
    "refund": refund,
    "dev-token": dev_token,
    "dev-mint": dev_mint,
}


# -- what is read ---------------------------------------------------------------------------------


def unlocked(l1: L1, asked: Namespace) -> Account:
    """The L1 account of the named wallet or key file."""
    if asked.key_file is not None:
        return Account(l1, read_l1_key(asked.key_file))
    password = ask_password(asked.password_file, f"Password of {asked.wallet}: ")
    return Account(l1, Keystore(asked.keystore).unlock(asked.wallet, password))


def terms_of(genesis: Genesis) -> Terms:
    """Names and decimals of the genesis file's assets."""
    listed = [
        Asset(number, asset.symbol, asset.symbol, asset.decimals, str(asset.withdraw_minimum))
        for number, asset in enumerate(genesis.assets)
    ]
    return Terms(listed, [])


async def _checked(l1: L1, asked: Namespace) -> tuple[Genesis, Deployment]:
    """The two files, once the contract on L1 is theirs."""
    genesis, deployment = _genesis(asked), read_deployment(asked.deployment)
    await check_deployment(l1, deployment, genesis)
    return genesis, deployment


def _genesis(asked: Namespace) -> Genesis:
    path: Path = asked.genesis
    return parse(path.read_bytes())


def _token_of(text: str) -> tuple[str, bytes]:
    symbol, equals, token = text.partition("=")
    if not equals:
        raise NodeError(PLAN, f"--asset {text[:60]}: write SYMBOL=ADDRESS or SYMBOL=ether")
    return symbol, tokens.ETHER if token == "ether" else read_address(token)


@asynccontextmanager
async def _withdrawals(
    asked: Namespace, genesis: Genesis
) -> AsyncIterator[nodes.Client | WithdrawnFile]:
    """Who tells of withdrawals: a node, or a file of somebody who derived the chain."""
    if asked.withdrawals is not None:
        yield WithdrawnFile(asked.withdrawals)
        return
    async with nodes.open_client(asked.node, genesis=genesis) as client:
        yield client


async def _tagged(l1: L1, tag: str) -> int | None:
    """A fresh chain has no such block yet."""
    block = await l1.request("eth_getBlockByNumber", tag, False)
    return None if block is None else int(block["number"], 16)


def _final_state(asked: Namespace, genesis: Genesis, history: History) -> Memory:
    if (asked.state is None) == (asked.data_dir is None):
        raise NodeError(PLAN, "give the final state: --state FILE, or --data-dir DIR")
    if asked.state is not None:
        memory = read_snapshot(asked.state)[1]
    else:
        with closing(DirectoryDisk(asked.data_dir)) as disk:
            snapshots = Snapshots(disk.files(SNAPSHOTS))
            memory = recover_chain(genesis, disk.database(), snapshots).state.memory
    payments.check_final_state(history, memory)
    return memory


# -- what is asked and told -----------------------------------------------------------------------


def _consent(asked: Namespace, account: Account, what: str) -> None:
    """Raises `NodeError` 7847 if the answer is no."""
    lines = [f"L1 account {account.hex}", what]
    if not (shows if asked.yes else agrees)(lines):
        raise NodeError(NOT_CONFIRMED, "not signed, nothing was sent")


async def _paid(
    l1: L1,
    asked: Namespace,
    deployment: Deployment,
    account: Account,
    calls: list[tuple[str, Call]],
    owner: bytes | None = None,
) -> Report:
    """Make the calls; what the contract held before and after is what they paid."""
    if not calls:
        return {"paid": [], "gas": 0}
    _consent(asked, account, "; ".join(name for name, _ in calls))
    before = [await _held(l1, deployment, n) for n in range(len(deployment.assets))]
    receipts = await account.do_all([call for _, call in calls])
    after = [await _held(l1, deployment, n) for n in range(len(deployment.assets))]
    return {
        "paid": [name for name, _ in calls],
        "atoms": {str(n): was - now for n, (was, now) in enumerate(zip(before, after, strict=True))
                  if was != now},
        "gas": _gas(receipts),
    }  # fmt: skip


async def _held(l1: L1, deployment: Deployment, asset: int) -> int:
    return int.from_bytes((await Client(l1, deployment.contract).words("asset", asset))[2], "big")


def _queued(receipt: dict[str, Any]) -> Report:
    """The queue item that a receipt tells of."""
    wanted = "0x" + topic("Queued").hex()
    (log,) = (one for one in receipt["logs"] if one["topics"][0] == wanted)
    return {
        "item": read_event("Queued", log)["index"],
        "block": int(receipt["blockNumber"], 16),
        "transaction": receipt["transactionHash"],
    }


def _gas(receipts: Iterable[dict[str, Any]]) -> int:
    return sum(int(one["gasUsed"], 16) for one in receipts)
