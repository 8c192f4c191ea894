"""A lane: the transactions of one L1 account, one at a time, each stored before it is sent.

What lives here: nonces, attempts, sending, and what became of them. What must never live here: what
a transaction is for (`committer.py`).

Theory. Pools keep blob and other transactions of an account apart and refuse gaps, and a batch can
only be built on one that is in a block; so the lane has one transaction under way. Whether it
arrived is asked of the L1 by the hashes of all its attempts, never remembered. An intent is
*pending* while no attempt has a receipt and *spent* once one has, whatever its outcome; a
reorganisation makes it pending again, and the same bytes are sent again.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, Final, NamedTuple

from consensus.keccak import keccak256
from consensus.signatures import address_of, public_key_of
from node.l1.surface import L1, REVERTED, L1Error
from node.l1.transactions import (
    GAS_PER_TRANSACTION_MAX,
    Call,
    Fees,
    Sidecar,
    sign_call,
    split,
)
from node.machine import Machine
from storage.outbox import Attempt, Intent, Outbox

NONCE_TAKEN_LOOKS: Final = 2
"""Looks in a row at a spent nonce without a receipt of ours: one may fall into a reorganisation."""
REVERT_WORD: Final = "revert"
ACCEPTED_WORDS: Final = ("already known", "known transaction", "already exists", "already imported")
OUTCOME_WORDS: Final = (("nonce too low", 0), ("underpriced", 1), ("insufficient funds", 2))

log: Final = logging.getLogger(__name__)


class Sent(Enum):
    """What the L1 said to a transaction. All but ACCEPTED are looked into with the next look."""

    ACCEPTED = "accepted"
    SPENT = "nonce too low"
    UNDERPRICED = "underpriced"
    POOR = "insufficient funds"
    REFUSED = "refused"


class Sight(NamedTuple):
    """An intent as the L1 has it. `block` 0: pending; else number and hash of its block."""

    intent: Intent
    block: int = 0
    block_hash: bytes = b""
    is_ok: bool = False
    gas: int = 0


class Lane:
    """The lane of one secret. Every coroutine raises what `L1.request` raises."""

    def __init__(self, l1: L1, outbox: Outbox, machine: Machine, secret: bytes, chain_id: int):
        self._l1 = l1
        self._outbox = outbox
        self._machine = machine
        self._secret = secret
        self._chain_id = chain_id
        self._taken: dict[int, int] = {}
        self.address: Final = address_of(public_key_of(secret))
        self.intents: list[Intent] = outbox.intents()
        self.spent = 0
        """Nonces below were used, at the last look."""
        self.refusal = ""
        """The L1's words for the last transaction that it did not accept."""

    @property
    def _from(self) -> str:
        return "0x" + self.address.hex()

    def signed_batches(self) -> set[bytes]:
        """Hashes of all batches whose commit was ever signed here and is not forgotten."""
        return {
            attempt.batch_hash
            for one in self.intents
            for attempt in one.attempts
            if attempt.batch_hash
        }

    def has_commit(self, number: int) -> bool:
        """Whether this node signed a commit of this batch."""
        return any(one.number == number and one.batch for one in self.intents)

    async def nonce(self) -> int:
        """Of the next transaction in the newest block's eyes."""
        answer = await self._l1.request("eth_getTransactionCount", self._from, "latest")
        return int(answer, 16)

    async def look(self) -> list[Sight]:
        """Every intent as the L1 has it now, in order of nonce; ours that are dead are left out."""
        spent = self.spent = await self.nonce()
        sights = [await self._sight(one) for one in self.intents]
        kept = []
        for sight in sights:
            nonce = sight.intent.nonce
            if sight.block or sight.intent.sender != self.address or nonce >= spent:
                self._taken.pop(nonce, None)
                kept.append(sight)
                continue
            self._taken[nonce] = self._taken.get(nonce, 0) + 1
            if self._taken[nonce] < NONCE_TAKEN_LOOKS:
                kept.append(sight)
                continue
            log.warning("nonce %d of %s was used by another transaction", nonce, self._from)
            await self.forget([sight.intent])
        return kept

    async def _sight(self, intent: Intent) -> Sight:
        for attempt in reversed(intent.attempts):
            receipt = await self._l1.request("eth_getTransactionReceipt", "0x" + attempt.hash.hex())
            if receipt is not None and receipt.get("blockNumber"):
                return _seen(intent, receipt)
        return Sight(intent)

    async def is_known(self, attempt: Attempt) -> bool:
        """Whether the L1 has the transaction, in its pool or in a block."""
        found = await self._l1.request("eth_getTransactionByHash", "0x" + attempt.hash.hex())
        return found is not None

    async def refusal_of(self, call: Call, hashes: Sequence[bytes] = ()) -> str:
        """The reason why the call would revert now; empty if it would not."""
        asked = self._asked(call, hashes) | {"gas": hex(GAS_PER_TRANSACTION_MAX)}
        try:
            await self._l1.request("eth_call", asked, "latest")
        except L1Error as error:
            if error.code == REVERTED or REVERT_WORD in error.message:
                return error.message
            raise
        return ""

    async def with_gas(self, call: Call, hashes: Sequence[bytes] = ()) -> Call:
        """The call with its own gas limit, or an eighth above what the L1 says that it takes.

        A fork may change the prices of everything: with those of geth 1.17's newest a commit takes
        more than twice the gas of Osaka.
        """
        try:
            answer = await self._l1.request("eth_estimateGas", self._asked(call, hashes), "latest")
        except L1Error:  # it would fail, or the client says no more than that
            return call
        gas = int(answer, 16)
        return replace(call, gas=min(max(call.gas, gas + gas // 8), GAS_PER_TRANSACTION_MAX))

    def _asked(self, call: Call, hashes: Sequence[bytes]) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "from": self._from, "to": "0x" + call.to.hex(), "data": "0x" + call.data.hex(),
        }  # fmt: skip
        if hashes:
            asked["blobVersionedHashes"] = ["0x" + one.hex() for one in hashes]
        return asked

    async def put(
        self,
        intent: Intent,
        call: Call,
        fees: Fees,
        head: int,
        batch_hash: bytes = b"",
        sidecar: Sidecar | None = None,
    ) -> Intent:
        """Sign another attempt of `intent` and store it; nothing is sent."""
        signed = sign_call(self._secret, self._chain_id, intent.nonce, call, fees, sidecar)
        attempt = Attempt(
            signed.hash, keccak256(call.data), batch_hash, fees.tip, fees.max_fee,
            fees.max_blob_fee, head,
        )  # fmt: skip
        stored = replace(intent, attempts=(*intent.attempts, attempt))
        await self._machine.disk(lambda: self._outbox.put(stored, signed.raw))
        others = [one for one in self.intents if not _is_same(one, stored)]
        self.intents = sorted([*others, stored], key=lambda one: (one.sender, one.nonce))
        return stored

    async def send(self, intent: Intent) -> Sent:
        """Hand the newest attempt's bytes to the L1; any number of times."""
        raw = await self._machine.disk(lambda: self._outbox.raw(intent))
        try:
            await self._l1.request("eth_sendRawTransaction", "0x" + raw.hex())
        except L1Error as error:
            return self._judged(error)
        return Sent.ACCEPTED

    def _judged(self, error: L1Error) -> Sent:
        words = error.message.lower()
        if any(one in words for one in ACCEPTED_WORDS):
            return Sent.ACCEPTED
        self.refusal = error.message
        for text, at in OUTCOME_WORDS:
            if text in words:
                return (Sent.SPENT, Sent.UNDERPRICED, Sent.POOR)[at]
        return Sent.REFUSED

    async def sidecar(self, intent: Intent) -> Sidecar | None:
        """The blobs of the newest attempt, for another one."""
        raw = await self._machine.disk(lambda: self._outbox.raw(intent))
        return split(raw)[1]

    async def forget(self, intents: Sequence[Intent]) -> None:
        """Intents that nothing can come of any more."""
        if intents:
            await self._machine.disk(lambda: self._outbox.forget(intents))
            self.intents = [
                one for one in self.intents if not any(_is_same(one, other) for other in intents)
            ]


def fees_of(attempt: Attempt) -> Fees:
    return Fees(attempt.tip, attempt.max_fee, attempt.max_blob_fee)


def _is_same(one: Intent, other: Intent) -> bool:
    return (one.sender, one.nonce) == (other.sender, other.nonce)


def _seen(intent: Intent, receipt: Any) -> Sight:
    return Sight(
        intent,
        int(receipt["blockNumber"], 16),
        bytes.fromhex(receipt["blockHash"][2:]),
        int(receipt["status"], 16) == 1,
        int(receipt["gasUsed"], 16),
    )
