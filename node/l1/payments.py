"""Calls that move money through the settlement contract, in and out.

What lives here: from what L1 and a state say to the arguments of a call. What must never live here:
sending, a decision whether to, or trust: the contract checks each of them again.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from consensus import layout
from consensus.block import HASH_ZERO
from consensus.chain import low_neighbour
from consensus.rollup.origin import Item
from consensus.signatures import address_from_words, address_words
from consensus.state.memory import Memory
from consensus.state.tree import LEAF_BYTES, ZERO_DIGESTS, depth_of
from consensus.streams import bytes_proof
from node.client.answers import Withdrawal
from node.exceptions import NodeError
from node.l1 import tokens
from node.l1.client import REFUNDED, Paid
from node.l1.contract import FORCE_FEE_WEI, call
from node.l1.deployment import Deployment
from node.l1.history import History
from node.l1.surface import L1, from_hex
from node.l1.transactions import Call
from storage.blocks import EVENT_BYTES

NOTHING_TO_DO: Final = 7798
OTHER_STATE: Final = 7799

ACCOUNT_WORDS: Final = 32
BALANCE_WORDS: Final = 8
BALANCES_PER_LEAF: Final = 4
_ROW: Final = Struct("<8q")


# In


async def deposit_calls(
    l1: L1, deployment: Deployment, owner: bytes, asset: int, atoms: int
) -> list[Call]:
    """The deposit, behind an approval where the token asks for one and has none that is enough."""
    token, scale = deployment.assets[asset]
    amount = atoms * scale
    if token == tokens.ETHER:
        return [Call(deployment.contract, call("deposit", asset), amount)]
    data = call("deposit_token", asset, amount)
    calls = [Call(deployment.contract, data)]
    if await tokens.allowance(l1, token, owner, deployment.contract) < amount:
        calls.insert(0, Call(token, tokens.approve(deployment.contract, amount)))
    return calls


def force_call(deployment: Deployment, rows: bytes) -> Call:
    """Operation rows into the queue; L2 executes them for the sender."""
    return Call(deployment.contract, call("force", rows), FORCE_FEE_WEI)


# Out


def withdraw_call(
    deployment: Deployment, history: History, number: int, proof: Withdrawal
) -> Call:
    """`proof` as a node gives it for the heights of batch `number`."""
    path = [[from_hex(one) for one in level] for level in proof.path]
    data = call(
        "withdraw", number, history.summaries[number], proof.length, proof.place,
        from_hex(proof.leaf), path,
    )  # fmt: skip
    return Call(deployment.contract, data)


def freeze_call(deployment: Deployment, history: History) -> Call:
    """Raises `NodeError` 7798 if no item waits for a final batch."""
    final = history.summaries[history.final]
    if final.l1_messages >= len(history.items):
        text = "every item of the L1 queue is consumed by a final batch"
        raise NodeError(NOTHING_TO_DO, f"{text}; there is no reason to freeze")
    item = history.items[final.l1_messages]
    return Call(deployment.contract, call("freeze", final, item.queue_hash, item.time))


def exit_call(
    deployment: Deployment, history: History, memory: Memory, account: int, asset: int
) -> Call:
    """What an account has, out of the last final state, which `memory` must be."""
    final = history.summaries[history.final]
    check_final_state(history, memory)
    settings = deployment.settings
    record = account * settings.assets_max + asset
    leaves = (
        settings.accounts_leaf + account,
        settings.balances_leaf + record // BALANCES_PER_LEAF,
    )
    proofs = [part for leaf in leaves for part in (_leaf(memory, leaf), _path(memory, leaf))]
    return Call(
        deployment.contract, call("exit", final, account, asset, _region_table(memory), *proofs)
    )


def funds_of(memory: Memory, owner: bytes) -> tuple[int, list[int]]:
    """(account, available and locked atoms together by asset). Raises `NodeError` 7798."""
    M = memory.M
    account = low_neighbour(M, address_words(owner))
    at = M[layout.AT_ACCOUNTS] + account * ACCOUNT_WORDS
    if (M[at], M[at + 1], M[at + 2]) != address_words(owner):
        raise NodeError(NOTHING_TO_DO, f"0x{owner.hex()} has no account in the final state")
    at = M[layout.AT_BALANCES] + account * M[layout.ASSETS_MAX] * BALANCE_WORDS
    records = range(at, at + M[layout.ASSETS] * BALANCE_WORDS, BALANCE_WORDS)
    return account, [int(M[record] + M[record + 1]) for record in records]


def check_final_state(history: History, memory: Memory) -> None:
    """Raises `NodeError` 7799 for another state than that of the last final batch."""
    final = history.summaries[history.final]
    if memory.tree.root() != final.post_state_root:
        text = f"this is not the state after block {final.last_height}, the last final one"
        raise NodeError(
            OTHER_STATE,
            f"{text}; `rialto db restore --height {final.last_height}` or `rialto derive` makes it",
        )


def refund_call(deployment: Deployment, history: History, item: Item) -> Call:
    """A deposit that the final state has not seen, back to who made it."""
    asset, atoms = deposited(item)
    final, before = history.summaries[history.final], history.hash_before(item.index)
    data = call("refund", final, item.index, before, item.time, sender_of(item), asset, atoms)
    return Call(deployment.contract, data)


def refundable(history: History, owner: bytes) -> list[Item]:
    """The deposits of an owner that a refund would pay."""
    final = history.summaries[history.final]
    return [
        item
        for item in history.items[final.l1_messages :]
        if sender_of(item) == owner
        and is_deposit(item)
        and Paid(REFUNDED, (item.index,)) not in history.paid
    ]


def sender_of(item: Item) -> bytes:
    """Whose L1 account put it in the queue: the contract signs a group's header for it."""
    return address_from_words(*_ROW.unpack_from(item.rows)[4:7])


def is_deposit(item: Item) -> bool:
    return item.rows[2] == layout.KEY_DEPOSIT


def deposited(item: Item) -> tuple[int, int]:
    """(asset, atoms) of a deposit."""
    words = _ROW.unpack(item.rows[_ROW.size :])
    return words[4], words[5]


# The state, as the contract opens it


def _leaf(memory: Memory, leaf: int) -> bytes:
    return bytes(memory.view()[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES])


def _path(memory: Memory, leaf: int) -> list[list[bytes]]:
    """Three siblings a level, from below; beyond the ledger's end, what zeros hash to."""
    tree, count = memory.tree, memory.tree.regions[0].leaves
    levels = []
    for level in range(depth_of(count)):
        width = -(-count // 4**level)
        around = [at for at in range(leaf & ~3, (leaf & ~3) + 4) if at != leaf]
        levels.append(
            [tree.node(0, level, at) if at < width else ZERO_DIGESTS[level] for at in around]
        )
        leaf >>= 2
    return levels


def _region_table(memory: Memory) -> bytes:
    tree = memory.tree
    return b"".join(
        one.id.to_bytes(4, "little")
        + one.words.to_bytes(8, "little")
        + bytes([depth_of(one.leaves)])
        + tree.subroot(one.id)
        for one in tree.regions
    )


def opened(stream: bytes, place: int) -> dict[str, object]:
    """Withdrawal `place` of a batch's stream, as `withdraw` and a node's answer have it."""
    leaf = place * EVENT_BYTES // LEAF_BYTES
    held = stream[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES].ljust(LEAF_BYTES, b"\0")
    path = stream_path(bytes_proof(stream, leaf), leaf, len(stream))
    return {
        "length": len(stream),
        "place": place,
        "leaf": "0x" + held.hex(),
        "path": [["0x" + sibling.hex() for sibling in level] for level in path],
    }


def stream_path(path: bytes, leaf: int, length: int) -> list[Sequence[bytes]]:
    """A path of `bytes_proof` as the contract takes it: three siblings a level, zeros beyond the
    stream's end. `length`: of the stream, bytes."""
    width = -(-length // LEAF_BYTES)
    levels: list[Sequence[bytes]] = []
    at = 0
    while width > 1:
        row = []
        for sibling in range(leaf & ~3, (leaf & ~3) + 4):
            if sibling == leaf:
                continue
            row.append(path[at : at + 32] if sibling < width else HASH_ZERO)
            at += 32 if sibling < width else 0
        levels.append(row)
        leaf, width = leaf >> 2, (width + 3) >> 2
    return levels
