"""What each call of the settlement contract costs, as docs/protocol/settlement.md says.

`pytest tests/l1/test_settlement_gas.py -s` prints the table.
"""

import re
from typing import Any

import pytest
from bridge_chain import ETH, FREEZE_AFTER, OWNERS, USD, Bridge
from signed_chain import address

from consensus.commands import withdraw
from node.build_check import ROOT
from node.l1 import contract as law
from node.l1.fees import COMMIT_ROOM_GAS

ALICE, BOB = OWNERS[0], OWNERS[1]
TOLERANCE = 0.01
"""Zero bytes of signatures and hashes are cheaper, and differ from run to run of other tests."""


def gas(receipt: dict[str, Any]) -> int:
    return int(receipt["gasUsed"], 16)


def commits(members: int, signers: int, data: bytes) -> int:
    """Of the second batch: the first one writes the head for the first time."""
    bridge = Bridge(members)
    for _ in range(2):
        bridge.deposit(ALICE, ETH, 5)
        bridge.block()
        batch, _ = bridge.batch(data)
        bridge.commit(data, signed=bridge.attested(batch, signers))
    return gas(bridge.wallets.last)


def room() -> int:
    """Gas that the last commit executed above its calldata floor (EIP-7623)."""
    bridge = Bridge()
    for _ in range(2):
        bridge.deposit(ALICE, ETH, 5)
        bridge.block()
        batch, _ = bridge.batch()
        signed = bridge.attested(batch)
        words = law.batch_words(batch), bridge.summaries[-1], bridge.place(batch), signed
        data = law.call("commit", *words)
        bridge.commit(signed=signed)
    return gas(bridge.wallets.last) - 21_000 - 10 * (4 * len(data) - 3 * data.count(0))


def test_a_commit_has_the_room_for_calldata_that_the_fee_policy_reckons_with() -> None:
    assert abs(room() - COMMIT_ROOM_GAS) <= TOLERANCE * COMMIT_ROOM_GAS


def measured() -> dict[str, int]:
    table = {
        f"commit, {signers} of {members}, 1 blob": commits(members, signers, b"payload")
        for members, signers in ((4, 3), (7, 5), (21, 15), (64, 43))
    }
    table["commit, 3 of 4, 6 blobs"] = commits(4, 3, bytes(700_000))
    bridge = Bridge()
    table["deploy"] = bridge.deployed_gas
    for _ in range(2):
        table["deposit, ether"] = gas(bridge.deposit(ALICE, ETH, 10**6))
        table["deposit, token"] = gas(bridge.deposit(ALICE, USD, 10**6))
    row = withdraw(ETH, 1, address(BOB))
    for rows in (1, 8, 1, 8):
        receipt = bridge.do(ALICE, "force", row * rows, value=law.FORCE_FEE_WEI)
        table[f"force, {rows} rows"] = gas(receipt)
    bridge.block()
    for asset in (ETH, ETH, USD):
        bridge.block(bridge.chain.group(2, [withdraw(asset, 10**3, address(BOB))] * 30))
    bridge.settle()
    table["finalize"] = gas(bridge.wallets.last)
    receipts = [bridge.withdraw(1, place) for place in (1, 2, 85)]
    names = ("withdraw ether, first of 256", "withdraw ether, later", "withdraw token")
    table |= dict(zip(names, map(gas, receipts), strict=True))
    bridge.deposit(BOB, ETH, 70)
    bridge.later(FREEZE_AFTER + 2)
    table["freeze"] = gas(bridge.freeze())
    table["exit, ether"] = gas(bridge.do(ALICE, "exit", *bridge.exit_arguments(2, ETH)))
    table["refund, ether"] = gas(bridge.do(BOB, "refund", *bridge.refund_arguments(8)))
    return table


@pytest.mark.slow
def test_calls_cost_what_the_page_says() -> None:
    page = (ROOT / "docs/protocol/settlement.md").read_text("utf-8")
    told = {
        name: int(number.replace(",", ""))
        for name, number in re.findall(r"^\| ([a-z][^|]*?) \| ([\d,]+) \|", page, re.MULTILINE)
    }
    table = measured()
    print()
    for name, number in table.items():
        print(f"| {name} | {number:,} |")
    wrong = {
        name: (number, told.get(name))
        for name, number in table.items()
        if abs(number - told.get(name, 0)) > TOLERANCE * number
    }
    assert not wrong
