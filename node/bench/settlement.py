"""`rialto bench l1`: the gas of every call of the settlement contract.

What lives here: the calls that are measured, in an order in which each can be made. What must never
live here: how a chain gets there (`settled_chain.py`).

Gas is that of the whole transaction, blob gas not included, on the embedded L1 (Prague's EVM). It
depends on nothing but the bytes of the calls, so there are no rounds and no seed: signatures and
hashes with more zero bytes cost up to a percent less. Commits are those of a second batch, because
the first one writes the contract's head for the first time.
"""

from typing import Final

import trio
from msgspec import convert

from consensus.commands import withdraw
from consensus.streams import LEAF_BYTES, bytes_proof
from node.bench import Advance
from node.bench.figures import AT_MOST, Bar
from node.bench.settled_chain import (
    BTC,
    FIRST_OWNER,
    FREEZE_AFTER_S,
    USD,
    SettledChain,
    settled_chain,
)
from node.client.answers import Withdrawal
from node.l1.payments import (
    exit_call,
    force_call,
    freeze_call,
    refund_call,
    stream_path,
    withdraw_call,
)

MESSAGES: Final = 1000  # nothing depends on it
ROUNDS: Final = 1
COMMITTEES: Final = ((4, 3), (7, 5), (21, 15), (64, 43))
STEPS: Final = len(COMMITTEES) + 1
EVENT_BYTES: Final = 64
WITHDRAWN: Final = 30
"""Withdrawals of each asset in the batch: its stream is a tree of three levels."""

PROTOTYPE: Final = {
    "deploy": 3_068_016, "commit_3_of_4": 82_708, "commit_5_of_7": 93_758,
    "commit_15_of_21": 148_344, "commit_43_of_64": 303_862, "deposit_ether": 54_838,
    "deposit_token": 75_698, "force_1_row": 57_243, "force_8_rows": 79_178, "finalize": 32_913,
    "withdraw_ether_first": 71_624, "withdraw_ether_later": 54_538, "withdraw_token": 77_522,
    "freeze": 50_805, "exit_ether": 107_477,
}  # fmt: skip
"""Gas of the calls of a prototype that checked less (docs/protocol/settlement.md, section 8)."""
BARS: Final[dict[str, Bar]] = {
    f"gas.{name}": (AT_MOST, gas * 105 // 100) for name, gas in PROTOTYPE.items()
}


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """A report without `machine` and `bars`; the numbers change nothing."""
    return {
        "gas": trio.run(_gas, advance),
        "workload": (
            "embedded L1, whole transactions, blob gas of 131,072 a blob not included; "
            "genesis/minimal.json, whose exits open two paths of depth 5; "
            f"{2 * WITHDRAWN} withdrawals in the batch; no seed, no rounds; "
            "bars: a prototype that checked less, and five percent"
        ),
    }


async def _gas(advance: Advance) -> dict[str, int]:
    table: dict[str, int] = {}
    for members, signers in COMMITTEES:
        chain = await settled_chain(members)
        table |= {"deploy": chain.deployed_gas} if not table else {}
        table[f"commit_{signers}_of_{members}"] = await _second_commit(chain, signers)
        advance(1)
    chain = await settled_chain(4)
    table["commit_3_of_4_6_blobs"] = await _second_commit(chain, 3, blobs=6)
    table |= await _money(await settled_chain(4))
    advance(1)
    return table


async def _second_commit(chain: SettledChain, signers: int, blobs: int = 1) -> int:
    spent = 0
    for _ in range(2):
        await chain.deposit(BTC, 5)
        await chain.block()
        spent = await chain.commit(signers, blobs)
    return spent


async def _money(chain: SettledChain) -> dict[str, int]:
    """In, out, and out of a frozen contract. Of two equal calls the second one counts."""
    deployment, owner = chain.deployment, chain.account.address
    table: dict[str, int] = {}
    for _ in range(2):
        table["deposit_ether"] = await chain.deposit(BTC, 10**6)
        table["deposit_token"] = await chain.deposit(USD, 10**6)
    row = withdraw(BTC, 1, owner)
    for name, rows in (("force_1_row", row), ("force_8_rows", row * 8)) * 2:
        table[name] = await chain.do(force_call(deployment, rows))
    await chain.block()
    for asset in (BTC, USD):
        await chain.block([withdraw(asset, 10**3, owner)] * WITHDRAWN)
    await chain.commit(3)
    table["finalize"] = await chain.finalize()
    forced = 2 * 9  # events of the forced withdrawals come first in the stream
    for name, place in (
        ("withdraw_ether_first", 1), ("withdraw_ether_later", 2),
        ("withdraw_token", forced + WITHDRAWN + 1),
    ):  # fmt: skip
        table[name] = await _withdraw(chain, place)
    await chain.deposit(BTC, 70)
    chain.later(FREEZE_AFTER_S + 2)
    table["freeze"] = await chain.do(freeze_call(deployment, await chain.history()))
    history, memory = await chain.history(), chain.state.memory
    table["exit_ether"] = await chain.do(
        exit_call(deployment, history, memory, FIRST_OWNER, BTC)
    )
    item = history.items[-1]
    table["refund_ether"] = await chain.do(refund_call(deployment, history, item))
    return table


async def _withdraw(chain: SettledChain, place: int) -> int:
    """Only the last four fields of a withdrawal get into the call."""
    stream = chain.withdrawals
    leaf = place * EVENT_BYTES // LEAF_BYTES
    held = stream[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES].ljust(LEAF_BYTES, b"\0")
    path = stream_path(bytes_proof(stream, leaf), leaf, len(stream))
    proof = convert(
        {
            "index": str(place), "height": 0, "amount": "0", "asset": 0, "account": FIRST_OWNER,
            "to": "0x", "length": len(stream), "place": place, "leaf": "0x" + held.hex(),
            "path": [["0x" + one.hex() for one in level] for level in path],
        },
        Withdrawal,
    )  # fmt: skip
    return await chain.do(withdraw_call(chain.deployment, await chain.history(), 1, proof))
