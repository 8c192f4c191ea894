"""A client of one node: typed answers, commands that are in the chain exactly once, proofs.

What lives here: which call may be repeated, and what is believed. What must never live here:
connections (`link`, `http_link`), secrets, files.

Theory of a lost answer. A command that was sent may be in the chain although no answer came. It is
sent again, the same bytes: its nonce can be used once, so it cannot be executed twice. If the node
then says that the nonce is used, the place is asked for, and the group that stands there is
compared with ours: another program may have used the nonce. Only a deadline ends this without
knowledge, and says so by a number of its own.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import trio

from consensus import layout
from consensus.commands import read_groups
from consensus.finality.promises import Promise
from consensus.finality.validators import ValidatorSet
from consensus.genesis import Genesis, Validator
from consensus.typed_data import Domain
from node.client import answers
from node.client.answers import data
from node.client.calls import Reply, result_of
from node.client.endpoint import Endpoint, read_endpoint
from node.client.exceptions import (
    NO_FEEDS,
    NOT_CERTIFIED,
    OUTCOME_UNKNOWN,
    WRONG_CHAIN,
    ClientError,
    NotProven,
    Refused,
    Unanswered,
)
from node.client.feed import Channel, Feed
from node.client.http_link import ANSWER_S_MAX, HttpLink
from node.client.link import Link
from node.client.local_book import LocalBook
from node.client.proofs import Proofs, check_kept
from node.client.signing import ListedNames, SignedCommand
from node.roles.ingest import GOSSIPED, UNANSWERED
from node.roles.sequencer import BUSY, STOPPING, UNCERTIFIED
from node.rpc.methods.chain import UNKNOWN_COMMAND

Value = TypeVar("Value")

PATIENCE_S: Final = 30.0
PAUSE_S: Final = 0.1
HEADERS_MAX: Final = 64
SETTLED_BLOCKS: Final = 2
NOT_TAKEN: Final = (BUSY, STOPPING, UNCERTIFIED)
"""Refusals that pass: the command is in no block."""
ON_ITS_WAY: Final = (GOSSIPED, UNANSWERED)
"""A follower does not know whether the leader has it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a command is. `promise` None: the node shows no appointment, or the place was found in
    the chain. `events` are the node's word until `certified` has proven them."""

    command: SignedCommand
    height: int
    sequence: int
    promise: Promise | None
    events: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Proven:
    """A command in a certified block: its events, 64 bytes each, and as objects."""

    height: int
    block_hash: bytes
    events: bytes
    shown: list[dict[str, Any]]


class Client:
    """Made by `open_client`."""

    def __init__(self, link: Link | HttpLink, genesis: Genesis | None, patience_s: float) -> None:
        self._link = link
        self._genesis = genesis
        self._patience_s = patience_s
        self._promiser: bytes | None = None
        self.domain: Domain
        self.name = ""
        self.proofs: Proofs

    @property
    def connections(self) -> int:
        """How often the WebSocket was opened."""
        return self._link.connections if isinstance(self._link, Link) else 0

    async def read(self, method: str, params: object, kind: type[Value]) -> Value:
        """A call that changes nothing: repeated over broken connections until the patience ends."""
        deadline = trio.current_time() + self._patience_s
        while True:
            try:
                return result_of(await self._link.call(method, params), kind)
            except Unanswered:
                if trio.current_time() >= deadline:
                    raise
                await trio.sleep(PAUSE_S)

    # -- what the node says -------------------------------------------------------------------

    async def learn_chain(self) -> None:
        """Which chain this is; the genesis given to `open_client` decides, if there is one.

        Raises `ClientError` 7806 for a node of another chain.
        """
        status = await self.status()
        found = data(status.genesis_hash)
        genesis = self._genesis
        if genesis is not None and genesis.hash != found:
            text = f"the node runs the chain of genesis 0x{found.hex()}, not 0x{genesis.hash.hex()}"
            raise ClientError(WRONG_CHAIN, f"{text}; name the right node or the right file")
        if genesis is not None:
            validators = genesis.validators
            self.domain = Domain(genesis.chain_id, genesis.contract, genesis.hash)
        else:
            facts = await self.read("chain_validators", {}, list[answers.ValidatorFact])
            validators = tuple(Validator(data(one.key), data(one.proof)) for one in facts)
            self.domain = Domain(status.chain_id, data(status.contract), found)
        self.name = status.name
        self.proofs = Proofs(found, ValidatorSet(validators))

    async def status(self) -> answers.Status:
        return await self.read("chain_status", {}, answers.Status)

    async def assets(self) -> list[answers.Asset]:
        return await self.read("clob_assets", {}, list[answers.Asset])

    async def markets(self) -> list[answers.Market]:
        return await self.read("clob_markets", {}, list[answers.Market])

    async def names(self) -> ListedNames:
        """What the words of a command call assets and markets now."""
        return ListedNames(await self.assets(), await self.markets())

    async def account(self, account: int | str) -> answers.Account:
        return await self.read("clob_account", {"account": account}, answers.Account)

    async def open_orders(
        self, account: int | str, market: int | None = None
    ) -> list[answers.Order]:
        asked = {"account": account} | ({} if market is None else {"market": market})
        return await self.read("clob_openOrders", asked, list[answers.Order])

    async def withdrawal(
        self, index: int, heights: tuple[int, int] | None = None
    ) -> answers.Withdrawal:
        """A withdrawal; with the heights of its batch, also what L1 asks to pay it."""
        asked: dict[str, object] = {"index": str(index)}
        if heights is not None:
            asked |= {"first_height": heights[0], "last_height": heights[1]}
        return await self.read("chain_getWithdrawal", asked, answers.Withdrawal)

    async def withdrawals_to(self, address: str) -> list[answers.Withdrawal]:
        """All withdrawals to an L1 address that the node knows, newest first."""
        found: list[answers.Withdrawal] = []
        below: dict[str, object] = {}
        while True:
            asked = {"address": address} | below
            page = await self.read("chain_getWithdrawals", asked, answers.WithdrawalPage)
            found += page.withdrawals
            if page.next is None:
                return found
            below = {"below": page.next}

    # -- feeds --------------------------------------------------------------------------------

    @asynccontextmanager
    async def follow(
        self, channel: str, market: int | str | None = None, account: int | str | None = None
    ) -> AsyncIterator[Feed]:
        """A feed for as long as the block lasts. Raises `ClientError` 7808 over HTTP."""
        link = self._link
        if isinstance(link, HttpLink):
            raise ClientError(NO_FEEDS, "feeds need a WebSocket: name the node as ws:// or wss://")
        feed = link.follow(Channel(channel, market, account))
        try:
            yield feed
        finally:
            link.leave(feed)

    @asynccontextmanager
    async def follow_book(self, market: int | str) -> AsyncIterator[LocalBook]:
        """A checked copy of a market's book."""
        async with self.follow("book", market=market) as feed:
            yield LocalBook(feed)

    # -- commands -----------------------------------------------------------------------------

    async def submit(self, command: SignedCommand) -> Placed:
        """Bring the command into the chain, once.

        Raises `Refused` with the node's number: it is in no block and, as long as it is not sent
        again, will be in none. `ClientError` 7803: nobody knows yet. `NotProven`: the promise is
        false.
        """
        deadline = trio.current_time() + self._patience_s
        sent = False  # and maybe taken
        refusal: Refused | None = None
        while True:
            try:
                reply = await self._link.call("clob_submit", command.params() | {"events": True})
                return await self._placed(command, reply)
            except Unanswered:
                sent = True
            except Refused as refused:
                refusal = refused
                sent = sent or refused.number in ON_ITS_WAY
                if refused.number not in (*NOT_TAKEN, *ON_ITS_WAY):
                    found = await self._find_settled(command, refused) if sent else None
                    if found is None:
                        raise
                    return found
            if trio.current_time() >= deadline:
                if refusal is not None and not sent:
                    raise refusal
                text = f"no answer for command 0x{command.hash.hex()} in {self._patience_s} s"
                sentence = f"{text}; it may be in the chain: send the same bytes again later"
                raise ClientError(OUTCOME_UNKNOWN, sentence, command=command)
            await trio.sleep(PAUSE_S)

    async def _placed(self, command: SignedCommand, reply: Reply) -> Placed:
        said = result_of(reply, answers.Submitted)
        promiser = await self._appointed()
        promise = None
        if promiser is not None:
            promise = self.proofs.promise(data(said.promise), promiser, command)
            place = (promise.record.height, promise.record.sequence)
            if place != (said.height, said.sequence):
                raise NotProven(f"the node says {said.height}, {said.sequence}, promises {place}")
        return Placed(command, said.height, said.sequence, promise, said.events)

    async def _appointed(self) -> bytes | None:
        """Who signs promises; followers do not know it, then neither do we."""
        if self._promiser is None:
            status = await self.status()
            if status.appointment is not None:
                self._promiser = self.proofs.promiser(data(status.appointment))
        return self._promiser

    async def _find_settled(self, command: SignedCommand, refused: Refused) -> Placed | None:
        """The command's place once blocks have passed that an earlier sending may have reached.

        The leader takes commands in turn: what reached it before this refusal is in the block that
        was open then, or in the next.
        """
        head = (await self.status()).height
        with trio.move_on_after(self._patience_s):
            while True:
                height = (await self.status()).height
                found = await self._find(command)
                if found is not None or height >= head + SETTLED_BLOCKS:
                    return found
                await trio.sleep(PAUSE_S)
        text = f"after a lost answer: {refused.text}; the chain stands still"
        raise ClientError(OUTCOME_UNKNOWN, f"{text}, so it may be taken yet", command=command)

    async def _find(self, command: SignedCommand) -> Placed | None:
        """The command's place, if it is sealed; None if it is not, or another has its nonce."""
        group = command.group
        asked = {"account": group.account, "key": group.key, "nonce": str(group.nonce)}
        try:
            receipt = await self.read("chain_getReceipt", asked, answers.Receipt)
        except Refused as refused:
            if refused.number != UNKNOWN_COMMAND:
                raise
            return None
        block = await self.read(
            "chain_getBlock", {"height": receipt.height, "commands": True}, answers.Commands
        )
        if group not in read_groups(data(block.commands)):
            text = f"nonce {group.nonce} was used by another command, at {receipt.sequence}"
            raise Refused(layout.NONCE_USED, f"{text}; take a new nonce")
        return Placed(command, receipt.height, receipt.sequence, None, receipt.events)

    async def certified(self, placed: Placed) -> Proven:
        """Wait until the command's block is certified, and prove what became of it.

        Raises `ClientError` 7809 if that takes too long, `NotProven` if anything does not hold.
        """
        deadline = trio.current_time() + self._patience_s
        while (await self.status()).certified < placed.height:
            if trio.current_time() >= deadline:
                text = f"block {placed.height} is not certified after {self._patience_s} s"
                raise ClientError(NOT_CERTIFIED, f"{text}; too few validators follow, ask again")
            await trio.sleep(PAUSE_S)
        certified_hash = await self._certified_hash(placed.height)
        events, shown = b"", []
        for sequence in range(placed.sequence, placed.sequence + placed.command.group.size):
            asked = {"sequence": str(sequence)}
            receipt = await self.read("chain_getReceipt", asked, answers.Receipt)
            events += self.proofs.receipt(data(receipt.receipt), certified_hash, sequence)
            shown += receipt.events
        if placed.promise is not None:
            check_kept(placed.promise.record, placed.height, events)
        return Proven(placed.height, certified_hash, events, shown)

    async def _certified_hash(self, height: int) -> bytes:
        """The block's hash, proven by the next certificate at or above it."""
        headers: list[bytes] = []
        while len(headers) < HEADERS_MAX:
            asked = {"height": height + len(headers)}
            said = await self.read("chain_getHeader", asked, answers.Header)
            headers.append(data(said.header))
            if said.certificate is not None:
                return self.proofs.block(height, headers, data(said.certificate))
        raise NotProven(f"no certificate at block {height} or the {HEADERS_MAX} above it")


@asynccontextmanager
async def open_client(
    url: str,
    *,
    genesis: Genesis | None = None,
    tls: ssl.SSLContext | None = None,
    patience_s: float = PATIENCE_S,
    answer_s: float = ANSWER_S_MAX,
) -> AsyncIterator[Client]:
    """A client of the node at `url`, once that has said which chain it runs.

    With `genesis`, chain and validators are the file's; without, they are what the node says, and
    proofs show only that the node agrees with itself. `patience_s`: how long lost connections and
    busy nodes are borne. Raises `ClientError` 7801, 7806, `Unanswered` 7800.
    """
    endpoint: Endpoint = read_endpoint(url)
    if not endpoint.pushes:
        http = HttpLink(endpoint, tls, answer_s)
        client = Client(http, genesis, patience_s)
        try:
            await client.learn_chain()
            yield client
        finally:
            await http.aclose()
        return
    link = Link(endpoint, tls, min(answer_s, patience_s))
    client = Client(link, genesis, patience_s)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await client.learn_chain()
            yield client
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:  # the nursery's own: the caller knows nothing of it
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
