"""A fleet on a chain with a bridge: nodes, an embedded L1 with the contract, depositors.

What lives here: making them and moving money in. What must never live here: an expectation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import trio
from l1_wallets import FEES, Wallets, address, secret_of, sidecar_of

from consensus.block import HASH_ZERO, block_hash
from consensus.chain import genesis_state
from consensus.genesis import Genesis, parse
from consensus.rollup.batch import Batch, batch_hash
from consensus.streams import bytes_root
from node.l1 import contract as law
from node.l1.bridge import L1Link
from node.l1.contract import Summary
from node.l1.deployment import Deployment, contract_address, genesis_summary, settings_of
from node.l1.embedded.rpc import EmbeddedL1
from node.l1.transactions import Call, sign_call
from node.simulation.genesis import genesis_file
from node.simulation.machine import START_MS
from node.simulation.wallets import Wallet
from storage.blocks import Blocks

USD, BTC = 0, 1
SCALE = {USD: 10**10, BTC: 10**10}
WINDOW_S = 600
DEADLINE_S = 3600
MEMBERS = dict(sorted((address(f"member {n}"), secret_of(f"member {n}")) for n in range(4)))
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
    summaries: list[Summary]

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

    def commit(self, blocks: Blocks, last: int, **changes: Any) -> None:
        """Post the blocks up to height `last` of a chain whose queue is empty."""
        previous, data = self.summaries[-1], f"blocks to {last}".encode()
        header = blocks.header(last)
        batch = Batch(
            1, len(self.summaries), previous.last_height + 1, last, previous.last_hash,
            block_hash(header), previous.post_state_root, header.state_root, bytes(32),
            sidecar_of(data).hashes, header.l1_number, header.l1_hash, 0, HASH_ZERO,
            bytes_root("withdrawals", b""), header.validators_hash,
        )  # fmt: skip
        batch = replace(batch, **changes)
        chain_id, members = self.deployment.chain_id, self.deployment.members
        text = law.attestation(chain_id, self.genesis.contract, 1, 1, batch_hash(batch))
        signed = law.signed_by(text, members, MEMBERS)
        call = law.call("commit", law.batch_words(batch), previous, law.Place(), signed)
        receipt = self.wallets.do(
            "operator", self.genesis.contract, call, sidecar=sidecar_of(data)
        )
        (log,) = receipt["logs"]
        self.summaries.append(Summary(*law.read_event("Committed", log)["summary"]))

    def finalize_batch(self, number: int) -> None:
        """The contract's part of it, once the window is over."""
        self.l1.chain.advance(WINDOW_S)
        call = law.call("finalize", number, self.summaries[number])
        self.wallets.do("operator", self.genesis.contract, call)

    def view(self, name: str) -> int:
        """A figure of the contract."""
        answer = self.wallets.call(self.genesis.contract, law.call(name))
        return int.from_bytes(answer[:32], "big")

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
        genesis, window_s=WINDOW_S, deadline_s=DEADLINE_S, freeze_after_s=10_000, delay_s=20_000,
        bond=10**18,
    )  # fmt: skip
    members = tuple(MEMBERS)
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
    time = int(l1.answer("eth_getBlockByNumber", "latest")["timestamp"], 16)
    return L1Place(l1, driver, genesis, made, [replace(summary, time=time)])
