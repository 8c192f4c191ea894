"""Seeded blocks of signed commands for the transition bench.

What lives here: a chain with funded accounts and session keys, and blocks of commands that its own
leader proposed. What must never live here: a clock. The leader's state answers each command at
once, so that cancels name orders that live and client ids name free slots of the order table.

Every command is a group of its own: a header row and one operation row, under a session key. No
command is signed: keys are addresses that nobody holds, signatures are zeros, and recovery is
replaced by the header rows' own claims (`believed`).

| share | command |
| --- | --- |
| 55 % | place a limit order, a geometric distance (mean 20 ticks) behind the middle |
| 42 % | cancel a random resting order of the market by its handle |
| 3 %  | market order, immediate or cancel, four times the mean size of the others |

So places and removals balance. Markets and accounts are drawn uniformly; the middle of each market
walks at random.
"""

import heapq
import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import resources
from typing import Final

from consensus import commands, layout
from consensus.authority import Recover, verify_groups
from consensus.block import HASH_ZERO, Block, Header
from consensus.chain import Chain, State, genesis_state
from consensus.commands import Group
from consensus.genesis import Genesis, parse
from consensus.proposal import Opening, Proposal
from consensus.signatures import address_words
from consensus.state.memory import Memory
from node.bench.exchange import Start
from node.bench.flows import EVENT, Book, Order, is_end

ACCOUNTS: Final = 1000
MARKETS: Final = 8
BLOCK_COMMANDS: Final = 10_000
RESTING: Final = 20_000
"""Orders that rest, in all markets together, before the measured blocks."""
PLACE_SHARE: Final = 0.55
CANCEL_SHARE: Final = 0.42
LOTS_MEAN: Final = 50
MARKET_LOTS_MEAN: Final = 200
AWAY_MEAN: Final = 20
PRICE_BITS: Final = 20
TICKS: Final = 1 << PRICE_BITS
MIDDLE: Final = TICKS // 2
FUNDS: Final = 1 << 50
SESSION_SLOT: Final = 1
QUOTE: Final = 0
GROUP_LIFE_MS: Final = 3_600_000
BLOCK_MS: Final = 250
NO_SIGNATURE: Final = bytes(65)


def owner(number: int) -> bytes:
    """The address of an account's owner; a session key has the one of `-number`."""
    return sha256(f"rialto/bench/{number}".encode("ascii")).digest()[:20]


def bench_genesis(accounts: int) -> Genesis:
    """`genesis/replay.json` with more markets and accounts, each funded in every asset."""
    value = json.loads(resources.files("genesis").joinpath("replay.json").read_text("ascii"))
    symbols = ["USD", *(f"M{market}" for market in range(MARKETS))]
    value["name"] = "bench"
    value["sizes"] |= {"assets_max": 16, "markets_max": MARKETS}
    value["assets"] = [
        {"symbol": symbol, "decimals": 8, "withdraw_minimum": 0} for symbol in symbols
    ]
    (market,) = value["markets"]
    market |= {"price_bits": PRICE_BITS, "pool_bits": 15, "page_bits": 10}
    value["markets"] = [market | {"base": symbol} for symbol in symbols[1:]]
    value["deposits"] = [
        {"owner": "0x" + owner(number).hex(), "asset": symbol, "amount": FUNDS}
        for number in range(1, accounts + 1)
        for symbol in symbols
    ]
    return parse(json.dumps(value).encode("ascii"))


def believed(groups: Sequence[Group]) -> Recover:
    """Instead of recovery: every group is signed by whom its header row names."""
    owners: list[bytes | None] = [group.owner() for group in groups]
    return lambda _: owners


@dataclass(frozen=True)
class SignedFlow:
    """Blocks on top of a sealed state; `state` makes any number of equal copies of it."""

    blocks: list[Block]
    resting: tuple[int, int]
    events: Counter[int]  # of the measured blocks, by kind
    refusals: dict[int, int]
    chain: Chain
    head: Header
    head_hash: bytes
    start: Start

    def state(self) -> State:
        return State(self.chain, Memory(self.start.vectors()[0]), self.head, self.head_hash)

    @property
    def commands(self) -> int:
        return sum(block.header.commands for block in self.blocks)

    def describe(self) -> str:
        low, high = self.resting
        return (
            f"{self.commands:,} commands in {len(self.blocks)} blocks of {BLOCK_COMMANDS:,}, "
            f"one to a group, {ACCOUNTS:,} accounts, {MARKETS} markets, "
            f"{low:,} to {high:,} resting, {self.events[layout.EVENT_TRADE]:,} trades, "
            f"{self.events.total() / self.commands:.2f} events per command, "
            f"refusals by number {self.refusals or 'none'}"
        )


@dataclass
class Leader:
    """Proposes commands one by one on its own state and remembers which orders rest."""

    state: State
    random: random.Random
    accounts: int
    books: list[Book] = field(default_factory=lambda: [Book() for _ in range(MARKETS)])
    middles: list[float] = field(default_factory=lambda: [float(MIDDLE)] * MARKETS)
    events: Counter[int] = field(default_factory=Counter)
    refusals: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.table_slots = int(self.state.memory.M[layout.TABLE_SLOTS])
        self.numbers = range(layout.FEE_ACCOUNT + 1, layout.FEE_ACCOUNT + 1 + self.accounts)
        self.free = {number: list(range(self.table_slots)) for number in self.numbers}
        self.nonces = dict.fromkeys(self.numbers, 0)
        self.placed = 0
        self.open()

    def open(self) -> None:
        head = self.state.head
        self.proposal = Proposal(self.state, Opening(head.time + BLOCK_MS, 0, HASH_ZERO, 0))

    def seal(self) -> Block:
        block, _ = self.proposal.seal()
        self.open()
        return block

    def resting(self) -> int:
        return sum(len(book.orders) for book in self.books)

    def send(self, group: Group) -> None:
        """Execute one group and follow what became of the orders."""
        (verified,) = verify_groups(self.state, [(group, NO_SIGNATURE)], believed([group]))
        assert verified is not None, "what is believed verifies"
        for event in EVENT.iter_unpack(self.proposal.add(verified)):
            kind, book = event[0] & 255, self.books[event[0] >> 32 & 7]
            self.events[kind] += 1
            if kind == layout.EVENT_RESTED:
                book.add(event[2], Order(event[6], event[7], event[3], event[4]))
            elif kind == layout.EVENT_REFUSED:
                self.refusals[event[0] >> 8 & 255] += 1
            elif is_end(event) and (order := book.orders.pop(event[2], None)) is not None:
                heapq.heappush(self.free[order.account], order.client % self.table_slots)

    def command(self, account: int, row: bytes) -> None:
        """One operation under the account's session key."""
        self.nonces[account] += 1
        signer = address_words(owner(-account))
        expires = self.state.head.time + GROUP_LIFE_MS
        self.send(Group(SESSION_SLOT, account, self.nonces[account], expires, signer, row))

    def grant(self) -> None:
        """Every owner grants its session key; the keys may be used from the next block on."""
        M = self.state.memory.M
        for account in self.numbers:
            at = M[layout.AT_ACCOUNTS] + account * 32
            row = commands.grant(
                SESSION_SLOT,
                owner(-account),
                expires=layout.TIME_NEVER,
                cap=(1 << 62) - 1,
                markets=(1 << MARKETS) - 1,
                quote=QUOTE,
            )
            expires = self.state.head.time + GROUP_LIFE_MS
            self.send(
                Group(layout.KEY_OWNER, account, 1, expires, (M[at], M[at + 1], M[at + 2]), row)
            )

    def geometric(self, mean: float) -> int:
        return 1 + int(math.log(1.0 - self.random.random()) / math.log(1.0 - 1.0 / mean))

    def place(self, market: int, *, rests: bool) -> None:
        """A limit order behind the middle, or a market order."""
        account = self.random.choice(self.numbers)
        slot = heapq.heappop(self.free[account])
        self.placed += 1
        client = self.placed * self.table_slots + slot
        side, middle = self.random.getrandbits(1), int(self.middles[market])
        if rests:
            away = self.geometric(AWAY_MEAN)
            price = middle - away if side == layout.BUY else middle + away
            row = commands.place(market, side, client, price, self.geometric(LOTS_MEAN))
        else:
            worst = TICKS - 2 if side == layout.BUY else 1
            row = commands.place(
                market,
                side,
                client,
                worst,
                self.geometric(MARKET_LOTS_MEAN),
                tif=layout.TIF_IOC,
                kind=layout.TYPE_MARKET,
            )
        self.command(account, row)
        book = self.books[market]
        order = book.orders.get(book.handles[-1]) if book.handles else None
        if order is None or order.client != client:
            heapq.heappush(self.free[account], slot)

    def step(self) -> None:
        """One command of the flow."""
        market, draw = self.random.randrange(MARKETS), self.random.random()
        self.middles[market] += self.random.gauss(0, 0.3)
        book = self.books[market]
        if draw < CANCEL_SHARE and (handle := book.pick(self.random)):
            self.command(book.orders[handle].account, commands.cancel(market, handle))
        else:
            self.place(market, rests=draw < CANCEL_SHARE + PLACE_SHARE)


def make(messages: int, seed: int, accounts: int = ACCOUNTS) -> SignedFlow:
    """Blocks with `messages` commands in all, after grants and `RESTING` placed orders."""
    leader = Leader(genesis_state(bench_genesis(accounts)), random.Random(seed), accounts)
    leader.grant()
    leader.seal()
    for n in range(min(RESTING, 10 * messages)):
        if n and n % BLOCK_COMMANDS == 0:
            leader.seal()
        leader.place(n % MARKETS, rests=True)
    leader.seal()
    leader.proposal.abandon()
    start, head, head_hash = Start(leader.state.memory), leader.state.head, leader.state.head_hash
    leader.open()
    leader.events.clear()
    leader.refusals.clear()
    blocks, low, high = [], leader.resting(), leader.resting()
    for at in range(0, messages, BLOCK_COMMANDS):
        for _ in range(min(BLOCK_COMMANDS, messages - at)):
            leader.step()
            low, high = min(low, leader.resting()), max(high, leader.resting())
        blocks.append(leader.seal())
    return SignedFlow(
        blocks=blocks,
        resting=(low, high),
        events=leader.events,
        refusals=dict(sorted(leader.refusals.items())),
        chain=leader.state.chain,
        head=head,
        head_hash=head_hash,
        start=start,
    )
