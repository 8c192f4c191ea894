"""Simulated wallets: funded owners who sign good orders and bad ones.

What lives here: keys derived from names, and what a wallet sends. What must never live here: to
whom it is sent, or what ought to be answered.
"""

import random
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from consensus import commands
from consensus.authority import context_of, group_digest
from consensus.chain import State
from consensus.commands import Group
from consensus.layout import AT_ACCOUNTS
from consensus.signatures import address_of, address_words, public_key_of, sign
from node.submission import Submission

DAY_MS: Final = 86_400_000
TIME_WORD: Final = 2
ACCOUNT_WORDS: Final = 32
SENT_KEPT: Final = 16


def secret(name: str) -> bytes:
    """A 32-byte secret that everybody knows."""
    return b"\0" + sha256(name.encode()).digest()[1:]


@dataclass
class Wallet:
    """A funded owner who signs with its own key."""

    number: int
    nonce: int = 0
    clients: int = 0
    owner_key: bytes = field(init=False)
    owner: bytes = field(init=False)
    sent: list[Submission] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owner_key = secret(f"wallet {self.number}")
        self.owner = address_of(public_key_of(self.owner_key))

    def account(self, state: State) -> int:
        M = state.memory.M
        words, at = address_words(self.owner), M[AT_ACCOUNTS]
        return next(
            n
            for n in range(64)
            if tuple(M[at + ACCOUNT_WORDS * n + k] for k in range(3)) == words
        )

    def signed(self, state: State, *rows: bytes, expires_ms: int = DAY_MS // 2) -> Submission:
        """A group with the next nonce; `expires_ms` after the time of the state."""
        self.nonce += 1
        expires = state.memory.M[TIME_WORD] + expires_ms
        words = address_words(self.owner)
        group = Group(0, self.account(state), self.nonce, expires, words, b"".join(rows))
        digest = group_digest(state.memory.M, context_of(state), group)
        return Submission(group, sign(self.owner_key, digest))

    def order(self, state: State, side: int, price: int, lots: int = 10) -> Submission:
        self.clients += 1
        return self.signed(state, commands.place(0, side, self.clients, price, lots))

    def anything(self, state: State, chance: random.Random) -> Submission:
        """What wallets send: mostly orders around 100, some cancels, and every kind of rubbish."""
        kind = chance.randrange(20)
        if kind == 0 and self.sent:
            return chance.choice(self.sent)  # a replay
        if kind == 1:
            made = self.order(state, 0, 100)
            return Submission(made.group, bytes([made.signature[0] ^ 1]) + made.signature[1:])
        if kind == 2:
            return self.signed(state, commands.place(0, 0, 1, 100, 1), expires_ms=-1)
        if kind == 3:
            return self.signed(state, commands.place(0, 1, 0, 100, 1 << 40))  # not funded
        if kind == 4:
            return self.signed(state, commands.withdraw(0, 100 + chance.randrange(100), self.owner))
        if kind < 8:
            made = self.signed(state, commands.cancel_all())
        elif kind < 10:
            pair = [commands.place(0, n, 0, 95 + 10 * n, 5) for n in (0, 1)]
            made = self.signed(state, *pair)
        else:
            made = self.order(state, chance.randrange(2), chance.randrange(97, 104))
        self.sent = [*self.sent[1 - SENT_KEPT :], made]
        return made
