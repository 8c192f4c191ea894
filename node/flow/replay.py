"""Two chains side by side: one proposes blocks from a recorded flow, the other checks every one.

What lives here: setting up the chain, signing, proposing, applying, and what the events say about
the flow's orders. What it must never know: where the flow came from, or how results are printed.

The leader verifies every signature before it proposes; the follower recovers them all again inside
`apply_block`, compares every root, and is the one that is timed. They share no memory.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from struct import Struct
from time import perf_counter
from typing import Final

from consensus import layout
from consensus.authority import context_of, group_digest, verify_groups
from consensus.block import HASH_ZERO, Block
from consensus.chain import State, genesis_state
from consensus.commands import Group
from consensus.exceptions import NotIncludable
from consensus.genesis import Genesis, parse
from consensus.proposal import Opening, Proposal
from consensus.sealing import Outcome
from consensus.signatures import address_words
from consensus.transition import apply_block
from node.flow.bitstamp import Message, Trade
from node.flow.orders import Terms, Translator
from node.flow.wallets import SESSION_SLOT, Job, Signatures, Wallet, wallet

GENESIS: Final = "replay.json"
QUOTE, BASE = 0, 1
FUNDS: Final = 1 << 61
"""Atoms of each asset, shared by all wallets: half of what an asset can have."""
GROUP_LIFE_MS: Final = 3_600_000
OPERATIONS_MAX: Final = layout.GROUP_OPERATIONS_MAX
EVENT: Final = Struct("<8q")
MARKET_REGION: Final = 1


@dataclass
class Times:
    """Seconds, by what they were spent on; recovery is the follower's."""

    sign: float = 0.0
    recover: float = 0.0
    apply: float = 0.0  # recovery included
    signatures: int = 0


@dataclass
class Findings:
    """What the follower's events say."""

    trades: list[Trade] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)  # by refusal number
    self_trades: int = 0


def genesis_for(wallets: Sequence[Wallet], first_ms: int) -> Genesis:
    """The replay chain's genesis: `genesis/replay.json`, older than the flow, wallets funded."""
    value = json.loads(resources.files("genesis").joinpath(GENESIS).read_text("ascii"))
    value["time"] = max(1, (first_ms - 2) // 1000 * 1000)
    symbols = [asset["symbol"] for asset in value["assets"]]
    value["deposits"] = [
        {"owner": "0x" + who.owner.hex(), "asset": symbol, "amount": str(FUNDS // len(wallets))}
        for who in wallets
        for symbol in symbols
    ]
    return parse(json.dumps(value).encode("ascii"))


class Replay:
    """Feed messages with `grant` once, then `step`; read `times`, `findings`, `blocks`."""

    def __init__(self, wallets: int, first_ms: int, signatures: Signatures) -> None:
        self._wallets = [wallet(number) for number in range(wallets)]
        genesis = genesis_for(self._wallets, first_ms)
        self._signatures = signatures
        self._leader = genesis_state(genesis)
        self.follower = genesis_state(genesis)
        self._accounts = accounts_of(self.follower, self._wallets)
        ticks = 1 << genesis.markets[0].price_bits
        self._translator = Translator(wallets, Terms(genesis.sizes.table_slots, ticks))
        self._nonces = [0] * wallets
        self._orders: dict[int, int] = {}  # handle -> the venue's order id
        self.times = Times()
        self.findings = Findings()
        self.blocks: list[Block] = []

    def grant(self) -> None:
        """Block 1: every owner grants its session key, signed as typed data."""
        time = self._leader.head.time + 1
        groups = [
            who.grant_group(account, time + GROUP_LIFE_MS, QUOTE)
            for who, account in zip(self._wallets, self._accounts, strict=True)
        ]
        self._run(time, groups, [who.owner_key for who in self._wallets])

    def step(self, messages: Sequence[Message]) -> None:
        """Propose the messages as one block (more if it is full) and let the follower apply it."""
        time = max(self._leader.head.time + 1, messages[-1].time_ms)
        groups, keys = [], []
        for sender, rows in bundles([self._translator.row(message) for message in messages]):
            who = self._wallets[sender]
            self._nonces[sender] += 1
            group = Group(
                SESSION_SLOT,
                self._accounts[sender],
                self._nonces[sender],
                time + GROUP_LIFE_MS,
                address_words(who.session),
                rows,
            )
            groups.append(group)
            keys.append(who.session_key)
        sequence = self.follower.head.sequence
        events = self._run(time, groups, keys)
        self._read(events, messages, sequence + 1)

    def _run(self, time: int, groups: list[Group], keys: list[bytes]) -> bytes:
        signatures = self._sign(groups, keys)
        verified = verify_groups(
            self._leader, list(zip(groups, signatures, strict=True)), self._signatures.recover
        )
        events = b""
        waiting = [group for group in verified if group is not None]
        assert len(waiting) == len(groups), "a signature that was just made does not verify"
        while waiting:
            proposal = Proposal(self._leader, Opening(time, 0, HASH_ZERO, 0))
            taken = 0
            for group in waiting:
                try:
                    proposal.add(group)
                except NotIncludable as error:
                    if error.number != layout.BLOCK_FULL or taken == 0:
                        proposal.abandon()
                        raise
                    break
                taken += 1
            block, _ = proposal.seal()
            events += self._apply(block).events
            waiting = waiting[taken:]
            time += 1
        return events

    def _sign(self, groups: list[Group], keys: list[bytes]) -> list[bytes]:
        began = perf_counter()
        M, context = self._leader.memory.M, context_of(self._leader)
        digests = [group_digest(M, context, group) for group in groups]
        signatures = self._signatures.sign(list(zip(keys, digests, strict=True)))
        self.times.sign += perf_counter() - began
        return signatures

    def _apply(self, block: Block) -> Outcome:
        began = perf_counter()
        outcome = apply_block(self.follower, block, self._recover)
        self.times.apply += perf_counter() - began
        self.blocks.append(block)
        return outcome

    def _recover(self, pairs: Sequence[Job]) -> list[bytes | None]:
        began = perf_counter()
        addresses = self._signatures.recover(pairs)
        self.times.recover += perf_counter() - began
        self.times.signatures += len(pairs)
        return addresses

    def _read(self, events: bytes, messages: Sequence[Message], first: int) -> None:
        """Trades and refusals of these messages; the operation of message n is `first` + n."""
        for head, sequence, *words in EVENT.iter_unpack(events):
            kind, reason = head & 255, head >> 8 & 255
            if kind == layout.EVENT_RESTED:
                self._orders[words[0]] = messages[sequence - first].order
            elif kind == layout.EVENT_TRADE:
                taker = messages[sequence - first].order
                maker, price, lots = self._orders[words[0]], words[1], words[2]
                buys = head >> 16 & 15 == layout.BUY
                self.findings.trades.append(Trade(taker, maker, price, lots, buys))
            elif kind == layout.EVENT_REFUSED:
                self.findings.refused[reason] += 1
            elif reason == layout.REASON_SELF_TRADE:
                self.findings.self_trades += 1

    def market_root(self) -> bytes:
        """The subroot of the market's region, which does not depend on where blocks end."""
        return self.follower.memory.tree.subroot(MARKET_REGION)


def bundles(rows: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Consecutive rows of one wallet together, at most 64."""
    sender, bundle = -1, b""
    for who, row in rows:
        if bundle and (who != sender or len(bundle) == OPERATIONS_MAX * len(row)):
            yield sender, bundle
            bundle = b""
        sender = who
        bundle += row
    if bundle:
        yield sender, bundle


def accounts_of(state: State, wallets: Sequence[Wallet]) -> list[int]:
    """The wallets' account numbers: the genesis deposits made them."""
    M = state.memory.M
    found = {}
    for account in range(M[layout.ACCOUNTS]):
        at = M[layout.AT_ACCOUNTS] + account * 32
        found[M[at], M[at + 1], M[at + 2]] = account
    return [found[address_words(who.owner)] for who in wallets]
