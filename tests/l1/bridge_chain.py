"""A Rialto chain and its settlement contract on an embedded L1: deposits become blocks, blocks
become batches, batches become L1 state.

What lives here: everybody's honest part, step by step, with each step open to be done wrongly. What
must never live here: an expectation.
"""

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import vyper
from eth_abi import encode
from l1_wallets import Wallets, new_l1, sidecar_of
from signed_chain import Signed, SignedChain, address, private_key

from consensus import layout
from consensus.block import HASH_ZERO, Block, block_hash
from consensus.commands import withdraw
from consensus.keccak import keccak256
from consensus.rollup.batch import Batch, batch_hash
from consensus.rollup.origin import Item
from consensus.state.tree import ZERO_DIGESTS, depth_of
from consensus.streams import LEAF_BYTES, bytes_proof, bytes_root
from node.l1 import contract as law
from node.l1.contract import Place, Signatures, Summary
from node.l1.deployment import Deployment, contract_address, genesis_summary, settings_of
from node.l1.payments import stream_path

TOKEN_SOURCE = (Path(__file__).parent / "TestToken.vy").read_text()
USD, ETH = 0, 1
SCALE = {USD: 10**4, ETH: 10**10}
WINDOW, DEADLINE, FREEZE_AFTER, DELAY = 600, 3600, 10_000, 20_000
OWNERS = tuple(f"owner {n}" for n in range(2, 6))
VALIDATORS = 4
EVENT_BYTES = 64


@cache
def compiled(source: str) -> str:
    return str(vyper.compile_code(source, output_formats=["bytecode"])["bytecode"])


@dataclass(frozen=True)
class Posted:
    """A batch as committed: what L1 calls ask for later."""

    batch: Batch
    summary: Summary
    withdrawals: bytes


def validators(count: int = VALIDATORS, prefix: str = "validator") -> dict[bytes, bytes]:
    """Secrets by address, ascending."""
    names = [f"{prefix} {n}" for n in range(count)]
    return dict(sorted((address(name), private_key(name)) for name in names))


class Bridge:
    """`bytecode` replaces the contract's; `changes` its settings."""

    def __init__(
        self,
        count: int = VALIDATORS,
        *,
        bytecode: bytes | None = None,
        verifier: bytes = bytes(20),
        l1: Any = None,
        **changes: int,
    ) -> None:
        self.wallets = Wallets(l1 or new_l1(*OWNERS, "guardian", "governor", "stranger"))
        # The operator makes the token, mints for each owner, then makes the contract.
        nonce = self.wallets.nonce("operator")
        place = contract_address(address("operator"), nonce + 1 + len(OWNERS))
        self.chain = SignedChain(deposits=[], contract="0x" + place.hex())
        self.members = validators(count)
        times = {
            "window_s": WINDOW, "deadline_s": DEADLINE, "freeze_after_s": FREEZE_AFTER,
            "delay_s": DELAY, "bond": 10**18,
        }  # fmt: skip
        self.settings = replace(settings_of(self.chain.genesis, **times), **changes)
        self.token = self._made(bytes.fromhex(compiled(TOKEN_SOURCE)[2:]))
        for name in OWNERS:
            self.wallets.do("operator", self.token, token_call("mint", address(name), 10**15))
        genesis = genesis_summary(self.chain.genesis, self.chain.leader.head)
        data = law.deployment(
            self.settings, genesis, list(self.members), address("guardian"), address("governor"),
            [(self.token, SCALE[USD]), (bytes(20), SCALE[ETH])], verifier,
        )  # fmt: skip
        if bytecode is not None:
            data = bytecode + data[len(bytes.fromhex(law.artefact()["bytecode"][2:])) :]
        self.address = self._made(data)
        self.made_in = int(self.wallets.last["blockNumber"], 16)
        self.deployed_gas = int(self.wallets.last["gasUsed"], 16)
        self.posted: list[Posted | None] = [None]
        self.summaries = [replace(genesis, time=self.time_of(self.made_in))]
        self.items: list[Item] = []
        self.blocks_posted = 0
        self.withdrawn: dict[int, bytes] = {}
        self.epoch = 1

    @property
    def deployment(self) -> Deployment:
        return Deployment(
            self.wallets.l1.chain.chain_id, self.address, self.made_in, self.settings,
            tuple(self.members), address("guardian"), address("governor"),
            ((self.token, SCALE[USD]), (bytes(20), SCALE[ETH])),
        )  # fmt: skip

    def _made(self, data: bytes) -> bytes:
        receipt = self.wallets.do("operator", b"", data, gas=9_000_000)
        return bytes.fromhex(receipt["contractAddress"][2:])

    def time_of(self, number: int) -> int:
        """Of an L1 block."""
        block = self.wallets.l1.answer("eth_getBlockByNumber", hex(number), False)
        return int(block["timestamp"], 16)

    def now(self) -> int:
        head = self.wallets.l1.answer("eth_blockNumber")
        return self.time_of(int(head, 16))

    def later(self, seconds: int) -> None:
        self.wallets.l1.chain.advance(seconds)

    # Calls

    def do(self, name: str, function: str, *values: Any, **more: Any) -> dict[str, Any]:
        receipt = self.wallets.do(name, self.address, law.call(function, *values), **more)
        for log in receipt["logs"]:
            if log["topics"][0] == "0x" + law.topic("Queued").hex():
                seen = law.read_event("Queued", log)
                place = int(log["blockNumber"], 16)
                self.items.append(
                    Item(seen["index"], place, seen["time"], seen["queue_hash"], seen["rows"])
                )
        return receipt

    def read(self, function: str, *values: Any) -> int:
        return int.from_bytes(
            self.wallets.call(self.address, law.call(function, *values))[:32], "big"
        )

    def held(self, asset: int) -> int:
        answer = self.wallets.call(self.address, law.call("asset", asset))
        return int.from_bytes(answer[64:96], "big")

    def balance(self) -> int:
        found = self.wallets.l1.answer("eth_getBalance", "0x" + self.address.hex(), "latest")
        return int(found, 16)

    def tokens(self, owner: bytes) -> int:
        return int.from_bytes(self.wallets.call(self.token, token_call("balanceOf", owner)), "big")

    def deposit(self, name: str, asset: int, atoms: int) -> dict[str, Any]:
        amount = atoms * SCALE[asset]
        if asset == ETH:
            return self.do(name, "deposit", asset, value=amount)
        return self.do(name, "deposit_token", asset, amount)

    # L2

    def block(self, *signed: Signed, upto: int | None = None) -> None:
        """Blocks that adopt the queue up to item `upto` (all), then one with `signed`."""
        for item in self.items[self.chain.queued : len(self.items) if upto is None else upto]:
            key, who, rows = parsed(item.rows)
            is_deposit = key == layout.KEY_DEPOSIT
            make = self.chain.deposit if is_deposit else self.chain.forced
            self._step((), make(who, *(deposited(rows) if is_deposit else rows)))
        self._step(signed, b"")

    def _step(self, signed: tuple[Signed, ...], messages: bytes) -> None:
        outcome = self.chain.step(signed, messages)
        self.withdrawn[self.chain.blocks[-1].header.height] = outcome.withdrawals

    def withdrawal(self, account: int, asset: int, atoms: int, to: bytes) -> Signed:
        return self.chain.group(account, [withdraw(asset, atoms, to)])

    # Batches

    def batch(self, data: bytes = b"payload", **changes: Any) -> tuple[Batch, bytes]:
        """(the batch of all blocks not yet in one, its withdrawals)."""
        blocks = self.chain.blocks[self.blocks_posted :]
        previous = self.summaries[-1]
        last = blocks[-1].header
        withdrawals = self.withdrawals_of(blocks)
        whole = Batch(
            1, len(self.summaries), previous.last_height + 1, last.height, previous.last_hash,
            block_hash(last), previous.post_state_root, last.state_root, sha256(data).digest(),
            sidecar_of(data).hashes, last.l1_number, last.l1_hash, last.l1_messages,
            last.l1_queue_hash, bytes_root("withdrawals", withdrawals), last.validators_hash,
        )  # fmt: skip
        return replace(whole, **changes), withdrawals

    def withdrawals_of(self, blocks: list[Block]) -> bytes:
        return b"".join(self.withdrawn[one.header.height] for one in blocks)

    def place(self, batch: Batch) -> Place:
        count = batch.l1_messages
        last_time = self.items[count - 1].time if count else 0
        if count == len(self.items):
            return Place(last_time)
        return Place(last_time, self.items[count].queue_hash, self.items[count].time)

    def attested(self, batch: Batch, signers: int = 3) -> Signatures:
        text = law.attestation(
            self.wallets.l1.chain.chain_id, self.address, self.settings.mode, self.epoch,
            batch_hash(batch),
        )  # fmt: skip
        some = dict(list(self.members.items())[:signers])
        return law.signed_by(text, list(self.members), some)

    def commit(self, data: bytes = b"payload", **how: Any) -> Posted:
        """Post all new blocks. `how`: batch, previous, place, signed, sidecar, to do it wrongly."""
        honest, withdrawals = self.batch(data)
        batch = how.get("batch", honest)
        receipt = self.do(
            "operator", "commit", law.batch_words(batch), how.get("previous", self.summaries[-1]),
            how.get("place") or self.place(batch), how.get("signed") or self.attested(batch),
            sidecar=how.get("sidecar", sidecar_of(data)),
        )  # fmt: skip
        (log,) = receipt["logs"]
        summary = Summary(*law.read_event("Committed", log)["summary"])
        posted = Posted(batch, summary, withdrawals)
        self.posted.append(posted)
        self.summaries.append(summary)
        self.blocks_posted = len(self.chain.blocks)
        return posted

    def finalize(self, number: int | None = None) -> dict[str, Any]:
        number = self.read("finalized") + 1 if number is None else number
        return self.do("stranger", "finalize", number, self.summaries[number])

    def settle(self) -> Posted:
        """Commit and finalize all new blocks."""
        posted = self.commit()
        self.later(WINDOW)
        self.finalize()
        return posted

    # Proofs

    def withdraw(self, number: int, place: int, name: str = "stranger") -> dict[str, Any]:
        return self.do(name, "withdraw", *self.withdraw_arguments(number, place))

    def withdraw_arguments(self, number: int, place: int) -> list[Any]:
        posted = self.posted[number]
        assert posted is not None
        data = posted.withdrawals
        leaf = place // 4
        body = data[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES].ljust(LEAF_BYTES, b"\0")
        path = stream_path(bytes_proof(data, leaf), leaf, len(data))
        return [number, self.summaries[number], len(data), place, body, path]

    def exit_arguments(self, account: int, asset: int, summary: Summary | None = None) -> list[Any]:
        """The proof of an account's balance under the leader's present state root."""
        memory = self.chain.leader.memory
        tree = memory.tree
        record = account * self.settings.assets_max + asset
        leaves = [
            self.settings.accounts_leaf + account,
            self.settings.balances_leaf + record // 4,
        ]
        regions = tree.regions
        table = b"".join(
            one.id.to_bytes(4, "little") + one.words.to_bytes(8, "little")
            + bytes([depth_of(one.leaves)]) + tree.subroot(one.id)
            for one in regions
        )  # fmt: skip
        depth = depth_of(regions[0].leaves)
        proofs = []
        for leaf in leaves:
            path = []
            at = leaf
            for level in range(depth):
                width = -(-regions[0].leaves // 4**level)
                around = [
                    tree.node(0, level, (at & ~3) + i) if (at & ~3) + i < width
                    else ZERO_DIGESTS[level]
                    for i in range(4)
                    if i != at & 3
                ]  # fmt: skip
                path.append(around)
                at >>= 2
            view = memory.view()
            proofs += [bytes(view[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES]), path]
        final = self.summaries[self.read("finalized")] if summary is None else summary
        return [final, account, asset, table, *proofs]

    def refund_arguments(self, index: int) -> list[Any]:
        item = self.items[index]
        _, who, rows = parsed(item.rows)
        before = self.items[index - 1].queue_hash if index else HASH_ZERO
        final = self.summaries[self.read("finalized")]
        return [final, index, before, item.time, address(who), *deposited(rows)]

    def freeze(self, name: str = "stranger") -> dict[str, Any]:
        final = self.summaries[self.read("finalized")]
        item = self.items[final.l1_messages]
        return self.do(name, "freeze", final, item.queue_hash, item.time)


def parsed(rows: bytes) -> tuple[int, str, list[bytes]]:
    """(key, name of the signer, operation rows) of an item."""
    words = [int.from_bytes(rows[i : i + 8], "little") for i in range(0, 64, 8)]
    signer = (words[4] << 104 | words[5] << 48 | words[6]).to_bytes(20, "big")
    (name,) = [one for one in (*OWNERS, "stranger") if address(one) == signer]
    return words[0] >> 16 & 255, name, [rows[i : i + 64] for i in range(64, len(rows), 64)]


def deposited(rows: list[bytes]) -> tuple[int, int]:
    """(asset, atoms) of a deposit's row."""
    (row,) = rows
    return int.from_bytes(row[32:40], "little"), int.from_bytes(row[40:48], "little")


def token_call(name: str, *values: Any) -> bytes:
    types = {
        "mint": "address,uint256", "balanceOf": "address", "set_tax": "uint256",
        "set_refuses": "bool",
    }[name]  # fmt: skip
    return keccak256(f"{name}({types})".encode())[:4] + encode(types.split(","), list(values))
