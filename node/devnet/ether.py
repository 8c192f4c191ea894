"""Ether for everybody who pays for gas, on an L1 that was there before us.

What lives here: who needs how much, who pays it, and whether the L1's blocks come by themselves.
What must never live here: an L1 of our own, which is born with everybody funded.

One account pays: the first with enough ether of those whose keys everybody has. These are the ten
of the test mnemonic, which anvil funds, and the one that `geth --dev` funds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import trio

from node.devnet.bridge import Owner, address_in, deployer
from node.exceptions import NodeError
from node.l1 import tokens
from node.l1.account import Account
from node.l1.surface import L1
from node.l1.transactions import Call
from node.wallet.dev_accounts import dev_accounts

NO_ETHER: Final = 7758
NO_BLOCKS: Final = 7759

ETHER: Final = 10**18  # wei
OWNER_WEI: Final = ETHER
DEPLOYER_WEI: Final = 10 * ETHER
COMMITTER_WEI: Final = 100 * ETHER
PAYER_KEEPS_WEI: Final = 20 * ETHER
"""For its own gas, should it be an owner or the deployer as well."""
BLOCK_S_MAX: Final = 30
GETH_SECRET: Final = bytes.fromhex(
    "b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291"
)
"""Of the developer account of `geth --dev` (its cmd/utils/flags.go)."""


def needs_of(committer: Path, owners: Sequence[Owner]) -> dict[bytes, int]:
    """Wei that each address has to have."""
    needs = {owner.address: OWNER_WEI for owner in owners}
    return needs | {deployer().address: DEPLOYER_WEI, address_in(committer): COMMITTER_WEI}


async def endow(l1: L1, url: str, needs: Mapping[bytes, int]) -> None:
    """Send everybody what he lacks; return when it is there. `url` is for the errors.

    Raises `NodeError` 7758, 7759, and what asking and sending raise.
    """
    await _see_blocks(l1, url)
    held = {address: await tokens.balance_of(l1, tokens.ETHER, address) for address in needs}
    lacks = {one: wei - held[one] for one, wei in needs.items() if held[one] < wei}
    if not lacks:
        return
    payer = await _payer(l1, url, sum(lacks.values()))
    calls = [Call(one, value=wei) for one, wei in lacks.items() if one != payer.address]
    nonce = await payer.nonce() + len(calls)
    await payer.send(calls)
    await payer.reached(nonce)


async def _see_blocks(l1: L1, url: str) -> None:
    first = await l1.request("eth_blockNumber")
    with trio.move_on_after(BLOCK_S_MAX):
        while await l1.request("eth_blockNumber") == first:
            await trio.sleep(0.2)
        return
    text = f"{url} makes no block by itself in {BLOCK_S_MAX} s, so nothing gets final there"
    raise NodeError(NO_BLOCKS, f"{text}: start anvil with --block-time 1, geth with --dev.period 1")


async def _payer(l1: L1, url: str, wei: int) -> Account:
    accounts = [Account(l1, one.secret) for one in dev_accounts(10)]
    accounts.append(Account(l1, GETH_SECRET))
    for account in accounts:
        if await account.balance() >= wei + PAYER_KEEPS_WEI:
            return account
    text = f"no development account has {-(-(wei + PAYER_KEEPS_WEI) // ETHER)} ether on {url}"
    raise NodeError(NO_ETHER, f"{text}; send that to {accounts[0].hex}")
