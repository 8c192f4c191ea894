"""Making the settlement contract of a chain.

What lives here: the plan, its checks, the one transaction. What must never live here: the file that
remembers it (`deployment.py`), or a default for who may revert and govern.
"""

from dataclasses import dataclass
from typing import Final

from consensus.chain import genesis_state
from consensus.genesis import Genesis
from node.exceptions import NodeError
from node.l1 import contract as law
from node.l1.account import Account
from node.l1.deployment import (
    Deployment,
    check_deployment,
    contract_address,
    genesis_summary,
    settings_of,
)
from node.l1.surface import L1
from node.l1.tokens import decimals_of
from node.l1.transactions import Call

PLAN: Final = 7796
ADDRESS_TAKEN: Final = 7797


@dataclass(frozen=True)
class Plan:
    """`tokens`: L1 address by symbol, zero for ether. `times`: see `settings_of`."""

    members: tuple[bytes, ...]
    guardian: bytes
    governor: bytes
    tokens: dict[str, bytes]
    times: dict[str, int]


async def next_contract(account: Account) -> bytes:
    """Where the account's next transaction makes a contract: what genesis has to name."""
    return contract_address(account.address, await account.nonce())


async def deploy(l1: L1, account: Account, genesis: Genesis, plan: Plan) -> tuple[Deployment, int]:
    """The checked deployment of a contract made just now, and the gas it cost.

    Raises `NodeError` 7796, 7797, and what sending raises; nothing is sent then.
    """
    place = await next_contract(account)
    if place != genesis.contract:
        text = f"the genesis file names the contract 0x{genesis.contract.hex()}"
        raise NodeError(
            ADDRESS_TAKEN,
            f"{text}, the next contract of 0x{account.address.hex()} is at 0x{place.hex()}: write "
            "that into `contract`, or deploy with the account and nonce it was predicted from",
        )
    assets = await _listings(l1, genesis, plan)
    settings = settings_of(genesis, **plan.times)
    members = tuple(sorted(set(plan.members)))
    block = genesis_state(genesis).head
    data = law.deployment(
        settings, genesis_summary(genesis, block), members, plan.guardian, plan.governor, assets
    )
    receipt = await account.do(Call(b"", data))
    made = Deployment(
        genesis.chain_id, place, int(receipt["blockNumber"], 16), settings, members,
        plan.guardian, plan.governor, assets,
    )  # fmt: skip
    await check_deployment(l1, made, genesis, block)
    return made, int(receipt["gasUsed"], 16)


async def _listings(l1: L1, genesis: Genesis, plan: Plan) -> tuple[tuple[bytes, int], ...]:
    """(token, scale) by asset id: L1 units of one atom."""
    unknown = sorted(set(plan.tokens) - {asset.symbol for asset in genesis.assets})
    if unknown:
        raise NodeError(PLAN, f"{unknown[0]} is no asset of the genesis file; leave it out")
    found = []
    for asset in genesis.assets:
        token = plan.tokens.get(asset.symbol)
        if token is None:
            text = f"{asset.symbol} has no token: give --asset {asset.symbol}=ADDRESS"
            raise NodeError(PLAN, f"{text}, or {asset.symbol}=ether")
        digits = await decimals_of(l1, token) - asset.decimals
        if not 0 <= digits <= 18:
            text = f"{asset.symbol} has {asset.decimals} decimals, its token {digits:+} from that"
            raise NodeError(PLAN, f"{text}: an atom must be 1 to 10^18 units of the token")
        found.append((token, 10**digits))
    return tuple(found)
