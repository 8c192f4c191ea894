"""An L1 account that acts: ask what a call would do, sign it, send it, wait for its block.

What lives here: fees and nonces of a person's single transactions. What must never live here: blob
transactions and their replacement (the committer has a lane of its own), or where a key comes from.

Theory. `eth_estimateGas` runs the call first, so a refusal of the contract is told with its reason
before anything is signed. What was sent may be in a block although nobody answered; so it is sent
once, and looked for by its hash.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import trio

from consensus.signatures import address_of, public_key_of
from node.exceptions import NodeError
from node.l1.surface import L1, REVERTED, L1Error, revert_reason
from node.l1.transactions import GAS_PER_TRANSACTION_MAX, Call, Fees, sign_call

L1_REVERTED: Final = 7792
NOT_MINED: Final = 7793

MINED_S_MAX: Final = 600
"""Fifty slots: with twice the base fee offered, longer means that nobody builds blocks."""
POLL_S: Final = (0.05, 2.0)
"""First and longest pause between two questions for a receipt; each is twice the last."""
REVERT_WORD: Final = "execution reverted"


class Account:
    """One secret on one L1."""

    def __init__(self, l1: L1, secret: bytes) -> None:
        self._l1: Final = l1
        self._secret: Final = secret
        self.address: Final = address_of(public_key_of(secret))
        self.hex: Final = "0x" + self.address.hex()

    async def nonce(self) -> int:
        """Of the next transaction, those that wait for a block counted."""
        return await self._count("pending")

    async def _count(self, tag: str) -> int:
        return int(await self._l1.request("eth_getTransactionCount", self.hex, tag), 16)

    async def balance(self) -> int:
        """Wei."""
        return int(await self._l1.request("eth_getBalance", self.hex, "latest"), 16)

    async def do(self, call: Call) -> dict[str, Any]:
        """The receipt of a call that was carried out; its gas is estimated.

        Raises `NodeError` 7792 with the reason of a refusal, 7793, and what `request` raises.
        """
        (receipt,) = await self.do_all([call])
        return receipt

    async def do_all(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        """As `do`, one after another; each is estimated once those before it are in a block."""
        receipts = []
        for call in calls:
            (sent,) = await self.send([call])
            receipts.append(await self.mined(sent))
        return receipts

    async def send(self, calls: Sequence[Call]) -> list[bytes]:
        """The hashes of calls sent at once, to be waited for with `mined`, or all with `reached`.

        Each is estimated as L1 is now, so none may depend on another. Raises as `do`; nothing was
        sent if one would be refused.
        """
        chain_id = int(await self._l1.request("eth_chainId"), 16)
        priced = [replace(call, gas=await self.estimate(call)) for call in calls]
        first, fees = await self.nonce(), await self.fees()
        sent = []
        for nonce, call in enumerate(priced, first):
            signed = sign_call(self._secret, chain_id, nonce, call, fees)
            await self._l1.request("eth_sendRawTransaction", "0x" + signed.raw.hex())
            sent.append(signed.hash)
        return sent

    async def estimate(self, call: Call) -> int:
        """Gas with an eighth to spare. Raises `NodeError` 7792 with the reason of a refusal."""
        asked = {"from": self.hex, "data": "0x" + call.data.hex(), "value": hex(call.value)}
        if call.to:
            asked["to"] = "0x" + call.to.hex()
        try:
            gas = int(await self._l1.request("eth_estimateGas", asked, "latest"), 16)
        except L1Error as error:
            if error.code != REVERTED and REVERT_WORD not in error.message:
                raise
            raise refused(error) from error
        return min(gas + gas // 8, GAS_PER_TRANSACTION_MAX)

    async def fees(self) -> Fees:
        """Twice the base fee and a tip: good for six full blocks."""
        block = await self._l1.request("eth_getBlockByNumber", "latest", False)
        tip = int(await self._l1.request("eth_maxPriorityFeePerGas"), 16)
        return Fees(tip, 2 * int(block["baseFeePerGas"], 16) + tip)

    async def mined(self, transaction_hash: bytes) -> dict[str, Any]:
        """The receipt, once there is one. Raises `NodeError` 7792, 7793."""
        named = "0x" + transaction_hash.hex()
        pause, longest = POLL_S
        with trio.move_on_after(MINED_S_MAX):
            while True:
                found = await self._l1.request("eth_getTransactionReceipt", named)
                if found is not None:
                    if int(found["status"], 16) != 1:
                        text = f"the transaction {named} failed in block {found['blockNumber']}"
                        raise NodeError(L1_REVERTED, f"{text}; another came before it")
                    receipt: dict[str, Any] = found
                    return receipt
                await trio.sleep(pause)
                pause = min(2 * pause, longest)
        text = f"the transaction {named} is in no block after {MINED_S_MAX} s; it may still come"
        raise NodeError(NOT_MINED, f"{text}: ask for its receipt before doing it again")

    async def reached(self, nonce: int) -> None:
        """Return when all transactions before this nonce are in blocks, carried out or not: one
        question for many. Raises `NodeError` 7793."""
        with trio.move_on_after(MINED_S_MAX):
            while await self._count("latest") < nonce:
                await trio.sleep(POLL_S[0])
            return
        text = f"transactions of {self.hex} before nonce {nonce} are in no block"
        raise NodeError(NOT_MINED, f"{text} after {MINED_S_MAX} s; they may still come")


def refused(error: L1Error) -> NodeError:
    """The contract's own reason, where the client tells it."""
    reason = revert_reason(error.data) if error.data else ""
    reason = reason or error.message.removeprefix(REVERT_WORD).strip(": ") or "no reason"
    text = f"the contract refuses: {reason}"
    return NodeError(L1_REVERTED, f"{text} (docs/protocol/settlement.md)", reason=reason)
