"""A small chain that grows on demand: signed orders of three wallets, seeded; one listed market.

What lives here: making blocks through `Proposal`, and memory and directory disks. What must never
live here: a comparison.
"""

import json
import random
from dataclasses import dataclass
from importlib import resources
from typing import Final

from consensus import commands
from consensus.authority import context_of, group_digest, verify_groups
from consensus.block import HASH_ZERO, Block
from consensus.chain import State, genesis_state, listing_words
from consensus.commands import Group, operation
from consensus.genesis import Genesis, parse
from consensus.layout import KEY_GOVERNANCE, KEY_OWNER, OP_LIST_MARKET
from consensus.proposal import Opening, Proposal
from consensus.sealing import Outcome
from consensus.signatures import address_words, recover_many, sign
from node.flow.wallets import Wallet, wallet
from storage.schema import Identity

WALLETS: Final = tuple(wallet(number) for number in range(3))
GOVERNOR: Final = wallet(9)
FUNDS: Final = 1 << 50
GROUP_LIFE_MS: Final = 60_000


def genesis_file(chain_id: int = 1337) -> bytes:
    value = json.loads(resources.files("genesis").joinpath("minimal.json").read_text("ascii"))
    value["chain_id"] = chain_id
    value["governor"] = "0x" + GOVERNOR.owner.hex()
    value["deposits"] = [
        {"owner": "0x" + who.owner.hex(), "asset": symbol, "amount": FUNDS}
        for who in WALLETS
        for symbol in ("USD", "BTC")
    ]
    return json.dumps(value).encode("ascii")


def small_genesis(chain_id: int = 1337) -> Genesis:
    return parse(genesis_file(chain_id))


GENESIS: Final = small_genesis()
IDENTITY: Final = Identity(GENESIS.chain_id, GENESIS.hash)


@dataclass
class Sealed:
    """A block as its maker has it."""

    block: Block
    outcome: Outcome
    opening: Opening
    groups: list[tuple[Group, bytes]]  # with signatures

    @property
    def events(self) -> bytes:
        return self.outcome.events


class Chain:
    """The leader's side. `blocks[n]` is block n + 1."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.state: State = genesis_state(GENESIS)
        self.genesis_header = self.state.head
        self.blocks: list[Sealed] = []
        self.roots = [self.state.head.state_root]
        self._nonce = 0

    def grow(self, blocks: int = 1, groups: int = 4) -> "Chain":
        for _ in range(blocks):
            self.seal([self.order_group() for _ in range(self.random.randrange(groups + 1))])
        return self

    def list_market(self) -> "Chain":
        """A block that adds a region to the state."""
        words = (1 | 8 << 16 | 6 << 24 | 6 << 32, 1, 1, 0, 1000, 1000 << 20, 0)
        row = operation(OP_LIST_MARKET, *words)
        self.seal([self.signed(GOVERNOR, KEY_GOVERNANCE, 0, row)])
        assert len(self.state.memory.tree.regions) > 2, "the market was refused"
        return self

    def order_group(self) -> tuple[Group, bytes]:
        number = self.random.randrange(len(WALLETS))
        rows = b""
        for _ in range(self.random.randrange(1, 4)):
            side, price = self.random.getrandbits(1), 2000 + self.random.randrange(-9, 10)
            client = 1 + self._nonce * 8 + len(rows) // 64
            rows += commands.place(0, side, client, price, self.random.randrange(1, 50))
        return self.signed(WALLETS[number], KEY_OWNER, 2 + number, rows)

    def signed(self, who: Wallet, key: int, account: int, rows: bytes) -> tuple[Group, bytes]:
        self._nonce += 1
        expires = self.state.head.time + GROUP_LIFE_MS
        group = Group(key, account, self._nonce, expires, address_words(who.owner), rows)
        digest = group_digest(self.state.memory.M, context_of(self.state), group)
        return group, sign(who.owner_key, digest)

    def seal(self, groups: list[tuple[Group, bytes]]) -> Sealed:
        opening = Opening(self.state.head.time + 250, 0, HASH_ZERO, 0)
        room = listing_words(self.state.memory.M, [group for group, _ in groups])
        proposal = Proposal(self.state, opening, listing_room=room)
        for verified in verify_groups(self.state, groups, recover_many):
            assert verified is not None
            proposal.add(verified)
        block, outcome = proposal.seal()
        sealed = Sealed(block, outcome, opening, groups)
        self.blocks.append(sealed)
        self.roots.append(block.header.state_root)
        return sealed
