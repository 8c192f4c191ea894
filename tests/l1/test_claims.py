"""What a node and L1 tell becomes what the contract pays: withdrawals, exits, refunds; once."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from bridge_chain import ETH, OWNERS, USD, Bridge
from l1_wallets import Wallets, address, new_l1, secret_of
from signed_chain import Signed

from consensus.block import HASH_ZERO
from node.client.answers import Withdrawal, WithdrawalPage
from node.exceptions import NodeError
from node.l1 import payments
from node.l1.account import L1_REVERTED, Account
from node.l1.client import EXITED, REFUNDED, WITHDRAWN, Paid
from node.l1.history import History, read_history
from node.l1.transactions import Call
from node.l1.withdrawn import NOT_WITHDRAWALS, WithdrawnFile, write_withdrawals
from node.machine import RealMachine
from node.rpc.dispatch import INVALID_PARAMS, Dispatcher
from node.rpc.methods import withdrawals as rpc
from storage.blocks import Blocks
from storage.memory import MemoryDatabase

PAYEE = bytes.fromhex("77" * 20)


class KeptBridge(Bridge):
    """A bridge whose blocks a node keeps. `ask` calls the node's methods."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = Blocks(MemoryDatabase())
        self.blocks.begin(self.chain.leader.head)
        self.methods = rpc.WithdrawalMethods(self.blocks, RealMachine())
        self.stranger = Account(self.wallets.l1, secret_of("stranger"))

    def _step(self, signed: tuple[Signed, ...], messages: bytes) -> None:
        outcome = self.chain.step(signed, messages)
        block = self.chain.blocks[-1]
        self.withdrawn[block.header.height] = outcome.withdrawals
        self.blocks.append(block, outcome.events)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.methods.run)
            yield
            nursery.cancel_scope.cancel()

    async def ask(self, method: str, **params: object) -> Any:
        answered, replies = trio.Event(), []

        def reply(data: bytes) -> None:
            replies.append(json.loads(data))
            answered.set()

        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        Dispatcher(self.methods.methods()).handle(json.dumps(call).encode(), None, reply)
        with trio.fail_after(5):
            await answered.wait()
        (found,) = replies
        return found.get("result", found.get("error"))

    async def claim(self, index: int) -> Call:
        history = await self.history()
        found = msgspec.convert(await self.ask("chain_getWithdrawal", index=index), Withdrawal)
        number = history.batch_of(found.height)
        assert number is not None
        first, last = history.first_height(number), history.summaries[number].last_height
        asked = {"index": index, "first_height": first, "last_height": last}
        proof = msgspec.convert(await self.ask("chain_getWithdrawal", **asked), Withdrawal)
        return payments.withdraw_call(self.deployment, history, number, proof)

    async def history(self) -> History:
        return await read_history(self.wallets.l1, self.deployment)

    async def refusal(self, call: Call) -> str:
        with pytest.raises(NodeError) as caught:
            await self.stranger.do(call)
        assert caught.value.number == L1_REVERTED
        return str(caught.value.facts["reason"])


def funded() -> KeptBridge:
    bridge = KeptBridge()
    for name in OWNERS:
        bridge.deposit(name, USD, 1000)
        bridge.deposit(name, ETH, 1000)
    bridge.block()
    return bridge


async def test_every_withdrawal_of_two_batches_is_paid_exactly_once() -> None:
    bridge = funded()
    amounts: dict[int, int] = {}
    for batch in range(2):
        for n in range(7):
            owner = 2 + n % 4
            amounts[len(amounts)] = 10 * batch + n + 1
            bridge.block(bridge.withdrawal(owner, ETH, 10 * batch + n + 1, PAYEE))
        bridge.block()
        bridge.settle()
    async with bridge.serving():
        for index in (13, 0, 6, 7, *range(1, 6), *range(8, 13)):
            before = await paid_to(bridge, PAYEE)
            held = bridge.held(ETH)
            await bridge.stranger.do(await bridge.claim(index))
            assert await paid_to(bridge, PAYEE) - before == amounts[index] * 10**10
            assert held - bridge.held(ETH) == amounts[index]
            assert await bridge.refusal(await bridge.claim(index)) == "claimed"
    assert (await bridge.history()).paid == {Paid(WITHDRAWN, (index,)) for index in range(14)}


async def paid_to(bridge: Bridge, who: bytes) -> int:
    found = await bridge.wallets.l1.request("eth_getBalance", "0x" + who.hex(), "latest")
    return int(found, 16)


async def test_a_withdrawal_of_a_batch_that_is_not_final_reverts_with_its_reason() -> None:
    bridge = funded()
    bridge.block(bridge.withdrawal(2, USD, 5, PAYEE))
    bridge.commit()
    async with bridge.serving():
        assert await bridge.refusal(await bridge.claim(0)) == "not final"


async def test_a_node_tells_withdrawals_by_index_and_by_address_and_refuses_others() -> None:
    bridge = funded()
    for n in range(120):
        to = PAYEE if n % 2 else address(OWNERS[0])
        bridge.block(bridge.withdrawal(2 + n % 4, USD, n // 4 + 1, to))
    async with bridge.serving():
        asked = {"address": "0x" + PAYEE.hex()}
        page = msgspec.convert(await bridge.ask("chain_getWithdrawals", **asked), WithdrawalPage)
        assert [int(one.index) for one in page.withdrawals] == list(range(119, 0, -2))
        assert page.next is None
        below = await bridge.ask("chain_getWithdrawals", **asked, below="10")
        assert [one["amount"] for one in below["withdrawals"]] == ["3", "2", "2", "1", "1"]
        assert (await bridge.ask("chain_getWithdrawal", index=120))["code"] == rpc.NO_WITHDRAWAL
        for wrong in ({"first_height": 1}, {"first_height": 1, "last_height": 2}):
            answer = await bridge.ask("chain_getWithdrawal", index=119, **wrong)
            assert answer["code"] == INVALID_PARAMS
        assert (await bridge.ask("chain_getWithdrawal", index=-1))["code"] == INVALID_PARAMS


async def test_long_lists_and_streams_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = funded()
    for n in range(6):
        bridge.block(bridge.withdrawal(2 + n % 4, USD, 1, PAYEE))
    monkeypatch.setattr(rpc, "SCANNED_MAX", 4)
    monkeypatch.setattr(rpc, "STREAM_MAX", 5)
    async with bridge.serving():
        first = await bridge.ask("chain_getWithdrawals", address="0x" + PAYEE.hex())
        assert (len(first["withdrawals"]), first["next"]) == (4, "2")
        rest = await bridge.ask("chain_getWithdrawals", address="0x" + PAYEE.hex(), below="2")
        assert (len(rest["withdrawals"]), rest["next"]) == (2, None)
        span = {"first_height": 0, "last_height": bridge.blocks.head().height}
        for index in (0, 3, 5):
            answer = await bridge.ask("chain_getWithdrawal", index=index, **span)
            assert answer["code"] == rpc.STREAM_LONG


async def test_only_so_many_streams_wait_to_be_opened() -> None:
    bridge = funded()
    bridge.block(bridge.withdrawal(2, USD, 1, PAYEE))
    height = bridge.blocks.head().height
    asked = {"index": 0, "first_height": height, "last_height": height}
    waiting: list[bytes] = []
    call = {"jsonrpc": "2.0", "id": 1, "method": "chain_getWithdrawal", "params": asked}
    dispatcher = Dispatcher(bridge.methods.methods())
    for _ in range(rpc.WAITING_MAX):
        dispatcher.handle(json.dumps(call).encode(), None, waiting.append)
    assert not waiting
    assert (await bridge.ask("chain_getWithdrawal", **asked))["code"] == rpc.TOO_MANY_ASK
    async with bridge.serving():
        with trio.fail_after(5):
            while len(waiting) < rpc.WAITING_MAX:
                await trio.sleep(0.01)
        assert (await bridge.ask("chain_getWithdrawal", **asked))["length"] == 64


def test_withdrawals_outlive_the_pruning_of_their_blocks() -> None:
    bridge = funded()
    for _ in range(3):
        bridge.block(bridge.withdrawal(2, USD, 1, PAYEE))
    kept = list(bridge.blocks.withdrawals(0))
    assert [one.number for one in kept] == [0, 1, 2]
    bridge.blocks.prune(bridge.blocks.head().height)
    assert list(bridge.blocks.withdrawals(0)) == kept
    assert list(bridge.blocks.withdrawals(2, down=True)) == [kept[1], kept[0]]


async def test_a_frozen_chain_pays_exactly_what_the_contract_holds() -> None:
    """Withdrawals of final batches, exits of every balance, refunds of what was not consumed."""
    bridge = funded()
    bridge.block(bridge.withdrawal(2, ETH, 300, PAYEE))
    bridge.block()
    bridge.settle()
    final = bridge.chain.leader.memory
    bridge.deposit(OWNERS[1], ETH, 77)
    bridge.deposit(OWNERS[2], USD, 88)
    assert await bridge.refusal(payments.freeze_call(bridge.deployment, await bridge.history())) \
        == "early"
    bridge.later(bridge.settings.freeze_after_s + 2)
    await bridge.stranger.do(payments.freeze_call(bridge.deployment, await bridge.history()))

    history, deployment = await bridge.history(), bridge.deployment
    held = {asset: bridge.held(asset) for asset in (USD, ETH)}
    assert held == {USD: 4088, ETH: 4077}
    async with bridge.serving():
        calls = [await bridge.claim(0)]
    for name in OWNERS:
        account, balances = payments.funds_of(final, address(name))
        calls += [
            payments.exit_call(deployment, history, final, account, asset)
            for asset, atoms in enumerate(balances)
            if atoms
        ]
        calls += [
            payments.refund_call(deployment, history, item)
            for item in payments.refundable(history, address(name))
        ]
    await bridge.stranger.do_all(calls)
    assert {asset: bridge.held(asset) for asset in (USD, ETH)} == {USD: 0, ETH: 0}
    assert bridge.balance() == bridge.tokens(bridge.address) == 0
    reasons = {await bridge.refusal(call) for call in calls}
    assert reasons == {"claimed", "exited", "refunded"}
    history = await bridge.history()
    assert {one for one in history.paid if one.event == REFUNDED} == {
        Paid(REFUNDED, (8,)), Paid(REFUNDED, (9,)),
    }  # fmt: skip
    assert (sum(one.event == EXITED for one in history.paid), history.frozen) == (8, True)
    assert not payments.refundable(history, address(OWNERS[1]))


async def test_an_exit_needs_the_final_state_and_an_account_in_it() -> None:
    bridge = funded()
    bridge.settle()
    bridge.block(bridge.withdrawal(2, ETH, 1, PAYEE))
    history = await bridge.history()
    memory = bridge.chain.leader.memory
    with pytest.raises(NodeError) as caught:
        payments.exit_call(bridge.deployment, history, memory, 2, ETH)
    assert caught.value.number == payments.OTHER_STATE
    with pytest.raises(NodeError) as caught:
        payments.funds_of(memory, PAYEE)
    assert caught.value.number == payments.NOTHING_TO_DO


async def test_history_follows_reverts_and_asks_again_where_a_client_refuses_the_span() -> None:
    bridge = funded()
    bridge.commit()
    bridge.do("guardian", "revert_by_guardian", 1, bridge.summaries[1])
    assert len((await bridge.history()).summaries) == 1
    wallets: Wallets = bridge.wallets
    wallets.l1.chain.mine(30)
    asked = []

    class Narrow:
        """The same L1, as a provider that tells logs of four blocks at most."""

        async def request(self, method: str, *params: Any) -> Any:
            if method == "eth_getLogs":
                span = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16)
                asked.append(span)
                if span >= 4:
                    raise new_refusal()
            return wallets.l1.answer(method, *params)

    found = await read_history(Narrow(), bridge.deployment)
    assert found.items == (await bridge.history()).items
    assert [found.hash_before(n) for n in (0, 1)] == [HASH_ZERO, found.items[0].queue_hash]
    assert max(asked) > 4 >= asked[-1] and len(asked) < 40


def new_refusal() -> Exception:
    with pytest.raises(NodeError) as caught:
        new_l1().answer("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x99"})
    return caught.value


async def test_a_file_of_withdrawals_answers_as_a_node_does(tmp_path: Path) -> None:
    """Index by index, with and without the path in the batch; a damaged line is named."""
    bridge = funded()
    for n in range(9):
        bridge.block(bridge.withdrawal(2 + n % 2, ETH, n + 1, PAYEE if n % 3 else bytes(19) + b"1"))
    path = tmp_path / "withdrawals"
    write_withdrawals(bridge.withdrawn.items(), path)
    file = WithdrawnFile(path)
    last = max(bridge.withdrawn)
    async with bridge.serving():
        for index in range(9):
            for first in (1, last - 8 + index):
                asked = {"index": index, "first_height": first, "last_height": last}
                told = msgspec.convert(await bridge.ask("chain_getWithdrawal", **asked), Withdrawal)
                assert await file.withdrawal(index, (first, last)) == told
            told = msgspec.convert(await bridge.ask("chain_getWithdrawal", index=index), Withdrawal)
            assert await file.withdrawal(index) == told
        page = await bridge.ask("chain_getWithdrawals", address="0x" + PAYEE.hex())
    listed = await file.withdrawals_to("0x" + PAYEE.hex().upper())
    assert listed == msgspec.convert(page, WithdrawalPage).withdrawals
    with pytest.raises(NodeError) as caught:
        await file.withdrawal(9)
    assert caught.value.number == NOT_WITHDRAWALS
    lines = path.read_text().splitlines()
    for number, bad in ((1, lines[1][:-2]), (1, lines[0]), (2, "x " + "00" * 64), (0, lines[1])):
        path.write_text("\n".join([*lines[:number], bad, *lines[number + 1 :]]))
        with pytest.raises(NodeError) as caught:
            WithdrawnFile(path)
        assert caught.value.number == NOT_WITHDRAWALS and f"line {number + 1}:" in str(caught.value)
