"""An account's calls: gas as the L1 estimates it, following nonces, nothing after a refusal."""

from typing import Any, Final

import pytest
import trio
from l1_wallets import ETHER, address, new_l1, secret_of
from trio.testing import MockClock

from node.exceptions import NodeError
from node.l1 import tokens
from node.l1.account import Account
from node.l1.embedded.rpc import EmbeddedL1
from node.l1.surface import as_hex
from node.l1.transactions import Call

PRICIER: Final = 3
NOBODY: Final = address("nobody")


class OtherFork:
    """The embedded L1, should its next fork ask so many times the gas for the same."""

    def __init__(self, l1: EmbeddedL1) -> None:
        self._l1 = l1

    async def request(self, method: str, *params: Any) -> Any:
        answer = await self._l1.request(method, *params)
        return hex(PRICIER * int(answer, 16)) if method == "eth_estimateGas" else answer


async def gas_of(l1: EmbeddedL1, sent: bytes) -> tuple[int, int]:
    """(nonce, gas limit)"""
    found = await l1.request("eth_getTransactionByHash", as_hex(sent))
    return int(found["nonce"], 16), int(found["gas"], 16)


async def test_calls_sent_at_once_have_following_nonces_and_an_eighth_of_gas_to_spare() -> None:
    l1 = new_l1("alice")
    account = Account(l1, secret_of("alice"))
    sent = await account.send([Call(NOBODY, value=n) for n in (1, 2, 3)])
    for one in sent:
        await account.mined(one)
    assert [await gas_of(l1, one) for one in sent] == [(n, 21_000 * 9 // 8) for n in range(3)]
    assert int(await l1.request("eth_getBalance", as_hex(NOBODY), "latest"), 16) == 6


async def test_a_nonce_is_reached_when_all_before_it_are_in_blocks(
    autojump_clock: MockClock,
) -> None:
    l1 = new_l1("alice", automine=False)
    account = Account(l1, secret_of("alice"))
    await account.send([Call(NOBODY, value=1), Call(NOBODY, value=2)])
    with trio.move_on_after(60) as waiting:
        await account.reached(2)
    assert waiting.cancelled_caught
    l1.chain.mine()
    await account.reached(2)
    with pytest.raises(NodeError) as caught:
        await account.reached(3)
    assert caught.value.number == 7793


async def test_a_fork_that_asks_more_gas_is_offered_more() -> None:
    l1 = new_l1("alice")
    account = Account(OtherFork(l1), secret_of("alice"))
    (sent,) = await account.send([Call(NOBODY, value=1)])
    assert await gas_of(l1, sent) == (0, PRICIER * 21_000 * 9 // 8)


async def test_nothing_is_sent_if_one_of_the_calls_would_be_refused(
    autojump_clock: MockClock,
) -> None:
    l1 = new_l1("alice")
    account = Account(l1, secret_of("alice"))
    receipt = await account.do(Call(b"", tokens.creation("USD", 6)))
    token = bytes.fromhex(receipt["contractAddress"][2:])
    refused = Call(token, b"\x00\x00\x00\x01")
    with pytest.raises(NodeError) as caught:
        await account.send([Call(NOBODY, value=ETHER), refused])
    assert caught.value.number == 7792
    assert await account.nonce() == 1
    assert int(await l1.request("eth_getBalance", as_hex(NOBODY), "latest"), 16) == 0
