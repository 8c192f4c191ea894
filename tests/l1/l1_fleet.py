"""A fleet on a chain with a bridge: nodes, an embedded L1 with the contract, depositors.

What lives here: making them and moving money in. What must never live here: an expectation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import trio
from l1_wallets import FEES, Wallets, address

from consensus.chain import genesis_state
from consensus.genesis import Genesis, parse
from node.l1 import contract as law
from node.l1.bridge import L1Link
from node.l1.deployment import Deployment, contract_address, genesis_summary, settings_of
from node.l1.embedded.rpc import EmbeddedL1
from node.l1.transactions import Call, sign_call
from node.simulation.genesis import genesis_file
from node.simulation.machine import START_MS
from node.simulation.wallets import Wallet

USD, BTC = 0, 1
SCALE = {USD: 10**10, BTC: 10**10}
DEADLINE_S = 3600
ETHER = 10**18


def bridged_genesis(
    validators: int, contract: bytes, parameters: Mapping[str, int], **changes: Any
) -> Genesis:
    """The fleet's chain without deposits, on the L1 of chain id 1337."""
    whole = {
        "contract": "0x" + contract.hex(), "drift_max_ms": 3_600_000, "deposits": [], **changes,
    }  # fmt: skip
    return parse(genesis_file(validators, 0, parameters, **whole))


@dataclass
class L1Place:
    """An embedded L1 and the contract on it. Both assets are ether, of one scale."""

    l1: EmbeddedL1
    wallets: Wallets
    genesis: Genesis
    deployment: Deployment

    @property
    def link(self) -> L1Link:
        return L1Link(self.l1, self.deployment)

    def deposit(self, wallet: Wallet, asset: int, atoms: int, *, mines: bool = True) -> str:
        data = law.call("deposit", asset)
        return self.send(wallet, data, atoms * SCALE[asset], mines=mines)

    def force(self, wallet: Wallet, *rows: bytes, mines: bool = True) -> str:
        data = law.call("force", b"".join(rows))
        return self.send(wallet, data, law.FORCE_FEE_WEI, mines=mines)

    def send(self, wallet: Wallet, data: bytes, value: int, *, mines: bool = True) -> str:
        """The hash of the transaction; it is in a block if the L1 mines for each."""
        owner = "0x" + wallet.owner.hex()
        nonce = int(self.l1.answer("eth_getTransactionCount", owner, "pending"), 16)
        call = Call(self.genesis.contract, data, value, 1_000_000)
        signed = sign_call(wallet.owner_key, self.l1.chain.chain_id, nonce, call, FEES)
        automine, self.l1.automine = self.l1.automine, mines
        answer: str = self.l1.answer("eth_sendRawTransaction", "0x" + signed.raw.hex())
        self.l1.automine = automine
        return answer

    def held(self, asset: int) -> int:
        """Atoms of it that the contract owes to L2."""
        answer = self.wallets.call(self.genesis.contract, law.call("asset", asset))
        return int.from_bytes(answer[64:96], "big")

    def finalize(self) -> None:
        """Mine until the present head is final."""
        self.l1.chain.finalize()


def l1_place(
    validators: int = 1,
    *,
    epoch_blocks: int = 4,
    wallets: int = 4,
    parameters: Mapping[str, int] = MappingProxyType({}),
    **changes: Any,
) -> L1Place:
    """Inside `trio.run`: the L1's clock is the fleet's. `changes`: members of the genesis file."""
    names = ("operator", "guardian", "governor")
    balances = {address(name): 10**6 * ETHER for name in names}
    balances |= {Wallet(number).owner: 10**6 * ETHER for number in range(wallets)}
    clock = lambda: START_MS // 1000 + int(trio.current_time())  # noqa: E731
    l1 = EmbeddedL1(balances, clock=clock, epoch_blocks=epoch_blocks)
    driver = Wallets(l1)
    where = contract_address(address("operator"), 0)
    genesis = bridged_genesis(validators, where, parameters, **changes)
    settings = settings_of(
        genesis, window_s=600, deadline_s=DEADLINE_S, freeze_after_s=10_000, delay_s=20_000,
        bond=10**18,
    )  # fmt: skip
    members = tuple(sorted(address(f"member {n}") for n in range(4)))
    assets = tuple((bytes(20), scale) for scale in SCALE.values())
    summary = genesis_summary(genesis, genesis_state(genesis).head)
    data = law.deployment(
        settings, summary, members, address("guardian"), address("governor"), assets
    )
    receipt = driver.do("operator", b"", data, gas=16_000_000)
    made = Deployment(
        l1.chain.chain_id, genesis.contract, int(receipt["blockNumber"], 16), settings, members,
        address("guardian"), address("governor"), assets,
    )  # fmt: skip
    return L1Place(l1, driver, genesis, made)
