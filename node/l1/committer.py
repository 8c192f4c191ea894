"""The committer: the chain's blocks become committed, then final batches on L1.

What lives here: what is wanted next, and what follows from what the L1 says. What must never live
here: bytes of transactions (`lane.py`), the making of a batch (`preparing.py`), or a memory of what
was posted: that is the contract's, as the watcher reads it.

Theory. One question, asked after every look at the L1: what does the contract's head lack? Either
the next batch of certified blocks, or the finality of one whose window has passed. The answer is a
call, a function of the contract's head and our blocks; so a crash, a reorganisation, a dropped or a
stuck transaction all end in the same question. What is under way is looked at first:

    spent     in a block: whatever it did is in the contract's head
    right     pending, and the call that we would make today: sent again if the L1 lost it, replaced
              by one with higher fees if it waits too long
    stale     pending, and the contract moved: the same batch is signed anew for the same nonce
    useless   pending, and would revert: its nonce is used for what is wanted instead

L1 takes one transaction for each nonce, and the contract one batch for each number, on top of the
one before; so nothing can be doubled or out of order, whatever we forget. What must never be
answered by sending is a batch in the contract that is not ours: then somebody else can sign for the
chain, and a person is called.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import trio

from consensus.exceptions import ConsensusError
from consensus.keccak import keccak256
from consensus.rollup.batch import batch_hash, decode_batch, encode_batch
from node.chain import LiveChain
from node.exceptions import NodeError
from node.l1.backlog import Backlog, Cut
from node.l1.contract import Signatures
from node.l1.deployment import Deployment, check_deployment
from node.l1.fees import GWEI, Caps, Market, dearer_than, market_of, offer, replacement
from node.l1.head import COMMIT_GAS, ContractHead, foreign
from node.l1.lane import Lane, Sent, Sight, fees_of
from node.l1.preparing import Preparation, Prepared
from node.l1.surface import L1
from node.l1.transactions import Call, Fees, Sidecar
from node.l1.watcher import Watcher
from node.machine import Machine
from storage.l1_facts import PostedBatch
from storage.outbox import COMMIT, FINALIZE, Attempt, Intent

FOREIGN_COMMITMENT: Final = 7767
WOULD_REVERT: Final = 7770
LANE_POOR: Final = 7772
BATCH_TAKEN_BACK: Final = 7773
CONTRACT_FROZEN: Final = 7774
ABOVE_CAPS: Final = 7775

STUCK_BLOCKS: Final = 3
"""L1 blocks that a transaction may wait before its fees are raised."""
POLL_S: Final = 2.0
"""Without news from L1: blocks become old, and validators come back."""
NOTHING_GAS: Final = 21_000
WEIGHED_AT_ONCE: Final = 256
KINDS: Final = {COMMIT: "commit", FINALIZE: "finalize"}
DONE: Final = {COMMIT: "committed", FINALIZE: "finalized"}

log: Final = logging.getLogger(__name__)


class Committer:
    """Run `run` in a nursery. `phase` says in words what it waits for; `halted` why it stopped."""

    def __init__(
        self,
        l1: L1,
        chain: LiveChain,
        machine: Machine,
        watcher: Watcher,
        deployment: Deployment,
        lane: Lane,
        backlog: Backlog,
        preparation: Preparation,
        caps: Caps,
    ) -> None:
        self._l1 = l1
        self._chain = chain
        self._machine = machine
        self._watcher = watcher
        self._facts = watcher.facts
        self._deployment = deployment
        self._preparation = preparation
        self._caps = caps
        self._head: ContractHead | None = None
        self._ours: dict[int, bytes] = {}
        self._sent_in: dict[bytes, int] = {}
        self._underpriced: set[bytes] = set()
        self._was_commit = False
        self._tried_in = -1
        self._is_poor = False
        self.lane: Final = lane
        self.backlog: Final = backlog
        self.phase = "starting"
        self.halted = ""
        self.market: Market | None = None
        names = ("sent", "resent", "replaced", "reverted", "committed", "finalized")
        self.counts: Final = dict.fromkeys(names, 0)

    async def run(self) -> None:
        """Until something happens that only a person can judge; then the alarm stands."""
        await self._weigh(self._facts.batch(self._facts.latest.committed))
        while not self.halted:
            try:
                await self.step()
            except (NodeError, ConsensusError) as error:
                self._wait(str(error))
            if not self.halted:
                with trio.move_on_after(POLL_S):
                    await self._watcher.changed()

    @property
    def is_over_caps(self) -> bool:
        """Whether it waits for lower fees."""
        return self.phase.startswith(f"E{ABOVE_CAPS}")

    def _wait(self, why: str) -> None:
        if why != self.phase:
            log.info("committer: %s", why)
        self.phase = why

    def _halt(self, number: int, why: str) -> None:
        self.halted = f"E{number}: {why}"
        self.phase = "stopped"
        self._chain.alarm(f"the committer has stopped: {self.halted}")

    async def step(self) -> None:
        """One look at what the contract lacks, and at most one transaction for it."""
        at = self._facts.head
        newest = await self._watcher.client.block("latest")
        if at is None or newest is None or newest.hash != at.hash:
            self._watcher.hurry()
            return self._wait("waiting for the watcher to see the newest L1 block")
        if self._head is None:
            genesis = await check_deployment(self._l1, self._deployment, self._chain.genesis)
            self._head = ContractHead(self._facts, self._deployment, genesis)
        head = self._head
        if self._facts.latest.frozen:
            return self._halt(CONTRACT_FROZEN, "the contract is frozen: it takes no batch again")
        if not await self._is_ours(head):
            return None
        await self._weigh(self._facts.batch(head.committed))
        sights = await self._settled(await self.lane.look())
        if any(sight.block > at.number for sight in sights):
            self._watcher.hurry()
            return self._wait("waiting for the watcher to see our transaction's block")
        taken_back = [one for one in sights if self._is_taken_back(one, head)]
        if taken_back:
            number = taken_back[0].intent.number
            return self._wait(f"batch {number} was taken back; waiting for that to be final")
        return await self._go_on(head, sights)

    async def _go_on(self, head: ContractHead, sights: Sequence[Sight]) -> None:
        mine = [one.intent for one in sights if one.intent.sender == self.lane.address]
        pending = [one.intent for one in sights if not one.block and one.intent in mine]
        if not pending:
            return await self._act(head, None)
        if pending[0].nonce < self.lane.spent:
            return self._wait(f"nonce {pending[0].nonce} was used otherwise; looking again")
        if not await self._pushed(head, pending[0]):
            await self._act(head, pending[0])
        return None

    # What is in the contract

    async def _is_ours(self, head: ContractHead) -> bool:
        """Whether all batches that are not final yet are ours; else the committer has stopped."""
        first = max(1, min(self._facts.final.committed, head.committed))
        for number in range(first, head.committed + 1):
            posted = self._facts.batch(number)
            if posted is None or self._ours.get(number) == posted.batch_hash:
                continue
            signed, is_known = self.lane.signed_batches(), self.lane.has_commit(number)
            blocks = self._chain.blocks
            fault = await self._machine.disk(partial(foreign, posted, blocks, signed, is_known))
            if fault:
                self._halt(FOREIGN_COMMITMENT, fault)
                return False
            self._ours[number] = posted.batch_hash
        self._ours = {n: one for n, one in self._ours.items() if n >= first}
        return True

    async def _settled(self, sights: Sequence[Sight]) -> list[Sight]:
        """The sights without those of final blocks, whose intents are forgotten."""
        done = [one for one in sights if self._is_final(one) or self._is_over(one)]
        for sight in done:
            self._count(sight)
        await self.lane.forget([one.intent for one in done])
        return [one for one in sights if one not in done]

    def _is_final(self, sight: Sight) -> bool:
        """In a final block; and if what it committed was taken back, that is final too."""
        final, intent = self._facts.finalized, sight.intent
        if not sight.block or final is None or sight.block > final.number:
            return False
        is_gone = sight.is_ok and intent.number > self._facts.latest.committed
        return not is_gone or intent.number > self._facts.final.committed

    def _is_over(self, sight: Sight) -> bool:
        """Of a key that was used before: it is not sent again, and nothing can come of it."""
        intent = sight.intent
        return intent.sender != self.lane.address and intent.number <= self._facts.final.finalized

    def _count(self, sight: Sight) -> None:
        intent = sight.intent
        if not sight.block:
            return
        self.counts[DONE[intent.kind] if sight.is_ok else "reverted"] += 1
        if intent.kind == COMMIT and sight.is_ok and self._facts.final.committed < intent.number:
            text = f"E{BATCH_TAKEN_BACK}: batch {intent.number} was taken back by the guardian"
            self._chain.alarm(f"{text}; it is posted again unless this node is stopped")

    @staticmethod
    def _is_taken_back(sight: Sight, head: ContractHead) -> bool:
        intent = sight.intent
        return intent.kind == COMMIT and sight.is_ok and intent.number > head.committed

    async def _weigh(self, posted: PostedBatch | None) -> None:
        """Blocks since the contract's head, weighed; after a restart they come from the disk."""
        self.backlog.move(posted.last_height if posted else 0)
        while self.backlog.next <= self._chain.blocks.head().height:
            await self._machine.disk(self._weigh_some)

    def _weigh_some(self) -> None:
        first = self.backlog.next
        last = min(self._chain.blocks.head().height, first + WEIGHED_AT_ONCE - 1)
        for height in range(first, last + 1):
            self.backlog.add(self._chain.blocks.block(height))

    # What is under way

    async def _pushed(self, head: ContractHead, intent: Intent) -> bool:
        """Whether the pending intent is still what we want; it is sent or replaced if need be."""
        call = _call_of(head, intent)
        if call is None:
            return False
        hashes = decode_batch(intent.batch).blob_hashes if intent.batch else ()
        refusal = await self.lane.refusal_of(call, hashes)
        if refusal:
            self._wait(f"{name_of(intent)} would fail: {refusal}")
            return False
        newest = intent.newest
        if newest.call_hash != keccak256(call.data) or newest.hash in self._underpriced:
            await self._replace(intent, call)
        elif not await self.lane.is_known(newest):
            if self._sent_in.get(newest.hash) == self._at:
                pass  # once for each L1 block
            elif await self._is_outbid(newest):
                await self._replace(intent, call)
            else:
                await self._send(intent, "resent")
        elif self._is_stuck(intent):
            await self._replace(intent, call)
        else:
            self._wait(f"waiting for a block with {name_of(intent)}")
        return True

    async def _is_outbid(self, newest: Attempt) -> bool:
        """Whether the next block asks more: some pools throw that out, and do not take it back."""
        market = self.market = await market_of(self._l1)
        is_dear = bool(newest.max_blob_fee) and market.blob_fee > newest.max_blob_fee
        return is_dear or market.base_fee > newest.max_fee

    @property
    def _at(self) -> int:
        return self._facts.head.number if self._facts.head else 0

    def _is_stuck(self, intent: Intent) -> bool:
        newest = intent.newest
        sent_in = self._sent_in.get(newest.hash, newest.sent_in)
        return self._at - sent_in >= STUCK_BLOCKS

    # What is wanted

    async def _act(self, head: ContractHead, pending: Intent | None) -> None:
        """Begin what the contract lacks, with the nonce of a useless pending intent if any."""
        number = head.due_finality()
        cut = None
        if number is None or not self._was_commit:  # each in its turn
            cut = self.backlog.cut(self._chain.certified, await self._is_old())
        if cut is None and number is None:
            if pending is None:
                self._wait("waiting for blocks to post")
            return
        kind = FINALIZE if cut is None else COMMIT
        if pending is not None and pending.kind != kind and await self._is_waiting(pending):
            await self._give_up(pending)
            return
        if cut is not None:
            await self._commit(head, cut, pending)
        elif number is not None:
            intent = Intent(self.lane.address, 0, FINALIZE, number, ())
            await self._begin(head, intent, pending, None)

    async def _is_old(self) -> bool:
        """Whether the oldest certified block that no batch has waits too long."""
        first = self.backlog.posted + 1
        if first > self._chain.certified:
            return False
        header = await self._machine.disk(lambda: self._chain.blocks.header(first))
        age_ms = self._machine.now_ms() - header.time
        return age_ms >= 1000 * self.backlog.batching.deadline_s

    async def _is_waiting(self, intent: Intent) -> bool:
        """Whether a pool may hold any of its attempts."""
        for attempt in reversed(intent.attempts):
            if await self.lane.is_known(attempt):
                return True
        return False

    async def _give_up(self, pending: Intent) -> None:
        """Pools do not let one kind replace the other: a useless one that is stuck pays us."""
        self._wait(f"waiting for the useless {name_of(pending)}")
        if self._is_stuck(pending):
            await self._replace(pending, Call(self.lane.address, gas=NOTHING_GAS))

    async def _commit(self, head: ContractHead, cut: Cut, pending: Intent | None) -> None:
        number = head.committed + 1
        if self._tried_in == self._at:
            return  # seconds of work, for us and for every validator: once for each L1 block
        self._tried_in = self._at
        self.market = await market_of(self._l1)
        over = dearer_than(self.market, self._caps, COMMIT_GAS, has_blobs=True)
        if over:  # then nobody has to sign, and no blobs are kept that are never posted
            return self._too_dear(over, f"the commit of batch {number}")
        self._wait(f"preparing batch {number}, blocks {self.backlog.posted + 1} to {cut.last}")
        made = await self._preparation.prepare(number, cut)
        signed = made.signatures
        intent = Intent(
            self.lane.address, 0, COMMIT, number, (), encode_batch(made.batch), signed.members,
            signed.bitmap, signed.signatures,
        )  # fmt: skip
        await self._begin(head, intent, pending, made.sidecar)
        if self.market is not None:
            self._compare(number, made, self.market)

    @staticmethod
    def _compare(number: int, made: Prepared, market: Market) -> None:
        """For who wonders whether calldata would have been cheaper (decision 0017)."""
        blobs, calldata = len(made.sidecar.blobs), market.calldata_wei(made.payload_bytes)
        asked = f"ask {blobs * market.blob_wei // GWEI} gwei, as calldata {calldata // GWEI}"
        log.info("batch %d: %d bytes in %d blobs %s", number, made.payload_bytes, blobs, asked)

    async def _begin(
        self, head: ContractHead, intent: Intent, pending: Intent | None, sidecar: Sidecar | None
    ) -> None:
        """Store a new intent and send it. Raises `NodeError` 7770 if it would fail."""
        call = _call_of(head, intent)
        if call is None:
            return self._wait("the contract moved while the batch was prepared")
        refusal = await self.lane.refusal_of(call, sidecar.hashes if sidecar else ())
        if refusal:
            raise NodeError(WOULD_REVERT, f"{KINDS[intent.kind]} {intent.number} fails: {refusal}")
        nonce = await self.lane.nonce() if pending is None else pending.nonce
        made = replace(intent, nonce=nonce, attempts=pending.attempts if pending else ())
        self._was_commit = intent.kind == COMMIT
        return await self._attempt(made, call, sidecar, "sent")

    async def _replace(self, intent: Intent, call: Call) -> None:
        """Another attempt for the same nonce, with fees that pools take in place of the last."""
        await self._attempt(intent, call, await self.lane.sidecar(intent), "replaced")

    async def _attempt(
        self, intent: Intent, call: Call, sidecar: Sidecar | None, how: str
    ) -> None:
        """Sign, store, send; or wait while the L1 asks more than the operator allows."""
        self.market = await market_of(self._l1)
        call = await self.lane.with_gas(call, sidecar.hashes if sidecar else ())
        caps = self._caps.within(call.gas)
        fees = await self._fees(intent, self.market, caps, sidecar is not None)
        if fees is None:
            over = dearer_than(self.market, self._caps, call.gas, sidecar is not None)
            return self._too_dear(over or "the fee caps leave for a replacement", name_of(intent))
        hashed = batch_hash(decode_batch(intent.batch)) if intent.batch else b""
        stored = await self.lane.put(intent, call, fees, self._at, hashed, sidecar)
        return await self._send(stored, how)

    def _too_dear(self, what: str, name: str) -> None:
        self._wait(f"E{ABOVE_CAPS}: the L1 asks more than {what} for {name}; waiting")

    async def _fees(
        self, intent: Intent, market: Market, caps: Caps, has_blobs: bool
    ) -> Fees | None:
        if not await self._is_waiting(intent):
            return offer(market, caps, has_blobs)
        highest = max(intent.attempts, key=lambda one: (one.max_blob_fee, one.max_fee))
        return replacement(fees_of(highest), market, caps)

    async def _send(self, intent: Intent, how: str) -> None:
        newest = intent.newest
        sent = await self.lane.send(intent)
        self.counts[how] += 1
        self._sent_in = {newest.hash: self._at}
        self._underpriced = {newest.hash} if sent is Sent.UNDERPRICED else set()
        self._wait(f"{name_of(intent)}: {how}, {sent.value}")
        if sent is Sent.POOR and not self._is_poor:
            text = f"E{LANE_POOR}: 0x{self.lane.address.hex()} cannot pay for {name_of(intent)}"
            self._chain.alarm(f"{text}: send it ether")
        self._is_poor = sent is Sent.POOR
        if sent is Sent.REFUSED:
            self._wait(f"the L1 refused {name_of(intent)}: {self.lane.refusal}")


def name_of(intent: Intent) -> str:
    return f"the {KINDS[intent.kind]} of batch {intent.number} (nonce {intent.nonce})"


def _call_of(head: ContractHead, intent: Intent) -> Call | None:
    """The intent's call as of the contract's head; None if it has no place there."""
    if intent.kind == FINALIZE:
        return head.finalize_call(intent.number)
    signed = Signatures(intent.members, intent.bitmap, intent.signed)
    return head.commit_call(decode_batch(intent.batch), signed)
