"""Random signed traffic for a `SignedChain`: every operation, right and wrong, every kind of key.

What lives here: choices, and what a client learns from events. What must never live here: an
expectation. One seed, one run.
"""

import random
from collections.abc import Callable
from struct import iter_unpack
from typing import Any, Final

from signed_chain import (
    BTC,
    FIRST_OWNER,
    OWNERS,
    USD,
    Signed,
    SignedChain,
    address,
    owner,
)

from consensus import commands, layout
from consensus.signatures import address_words

MIDDLE: Final = 2000
LISTING: Final = 1 << 16  # words for a small market


class RandomTraffic:
    """Groups and L1 messages for the next block of `chain`."""

    def __init__(self, chain: SignedChain, seed: int) -> None:
        self.chain = chain
        self.chance = random.Random(seed)
        self.clients = 0
        self.accounts = FIRST_OWNER + OWNERS
        self.sessions: set[tuple[int, int]] = set()
        self.handles: list[tuple[int, int, int]] = []  # account, market, handle
        self.markets, self.assets, self.epoch = 1, 2, 0
        self.next_governor = 1

    def some(self, share: float) -> bool:
        return self.chance.random() < share

    def account(self) -> int:
        return self.chance.randrange(FIRST_OWNER, FIRST_OWNER + OWNERS)

    # -- rows --------------------------------------------------------------------------------

    def place(self, account: int) -> bytes:
        rng = self.chance
        self.clients += 1
        side, lots = rng.getrandbits(1), rng.randrange(1, 900)
        price = MIDDLE + int(rng.gauss(0, 25)) + (5 if side else -5)
        how: dict[str, Any] = {"stp": rng.randrange(5)}
        draw = rng.random()
        if draw < 0.15:
            how |= {"tif": rng.choice((1, 2)), "kind": rng.randrange(3)}
            side = layout.BUY if how["kind"] == 2 else side
        elif draw < 0.3:
            how |= {"post": rng.choice((1, 2))}
        elif draw < 0.45:
            how |= {"display": max(1, lots // 7)}
        elif draw < 0.5:
            how |= {"minimum": rng.randrange(1, lots + 1)}
        elif draw < 0.6:
            how |= {"expires": self.chain.leader.head.time + rng.randrange(1, 3000)}
        elif draw < 0.65:
            how |= {"reduce_only": True}
        market = rng.randrange(self.markets + 1) if self.some(0.1) else 0
        return commands.place(market, side, self.clients, price, lots, **how)

    def of_order(self, account: int) -> bytes:
        """Cancel or amend an order that lives, lived, or is another account's."""
        rng = self.chance
        if not self.handles:
            return commands.cancel_client(rng.randrange(self.clients + 1))
        own = [entry for entry in self.handles if entry[0] == account and self.some(0.9)]
        _, market, handle = rng.choice(own or self.handles)
        price, total = MIDDLE + rng.randrange(-90, 90), rng.randrange(900)
        return rng.choice((
            lambda: commands.cancel(market, handle),
            lambda: commands.cancel_client(rng.randrange(self.clients + 1)),
            lambda: commands.amend(market, handle, price, total),
            lambda: commands.amend_client(rng.randrange(self.clients + 1), price, total),
        ))()  # fmt: skip

    def of_account(self, account: int) -> bytes:
        rng, time = self.chance, self.chain.leader.head.time
        slot = rng.randrange(1, 5)
        return rng.choice((
            lambda: commands.cancel_all(rng.choice((layout.ALL_MARKETS, 0)), rng.randrange(32)),
            lambda: commands.transfer(rng.randrange(self.accounts + 1), rng.randrange(10**6), USD),
            lambda: commands.withdraw(rng.choice((USD, BTC, 7)), rng.randrange(99), b"\1" * 20),
            lambda: commands.grant(
                slot, address(f"session {account} {slot}"), expires=time + rng.randrange(60_000),
                cap=10**9, markets=rng.choice((1, 3)), quote=USD, reduce_only=self.some(0.2)),
            lambda: commands.revoke(slot),
            lambda: commands.deadman(rng.choice((0, time + rng.randrange(3000)))),
            lambda: commands.settings(rng.randrange(1, 5)),
        ))()  # fmt: skip

    def row(self, account: int) -> bytes:
        maker: Callable[[int], bytes] = self.chance.choices(
            (self.place, self.of_order, self.of_account), (6, 3, 2)
        )[0]
        made = maker(account)
        if self.some(0.03):
            at = self.chance.randrange(64)
            made = made[:at] + bytes([made[at] ^ 1 << self.chance.randrange(8)]) + made[at + 1 :]
        return made

    def of_governance(self) -> bytes:
        rng, market = self.chance, self.chance.randrange(self.markets + 1)
        low = 1 | 6 << 16 | 6 << 24 | 6 << 32
        op = commands.operation
        return rng.choice((
            lambda: op(layout.OP_LIST_ASSET, 0x41 << 48 | rng.randrange(26) + 65 << 40, 2, 1),
            lambda: op(layout.OP_LIST_MARKET, low, 1, 1, 0, 100, 9 << 20, 0),
            lambda: op(layout.OP_FEES, rng.randrange(5), 500, rng.randrange(-500, 500),
                       market=market),
            lambda: op(layout.OP_MARKET_STATUS, int(self.some(0.2)), market=market),
            lambda: op(layout.OP_CHAIN_STATUS, int(self.some(0.1))),
            lambda: op(layout.OP_VALIDATORS, self.epoch + 1, *rng.sample(range(1 << 40), 4)),
            lambda: op(layout.OP_PARAMETER, rng.choice(((0, 64), (4, 16), (4, 0), (9, 9)))[0], 64),
            lambda: op(layout.OP_TIER, rng.randrange(9), rng.randrange(5)),
            lambda: op(layout.OP_MARKET_LIMITS, 10, 0, 16, market=market),
            self.new_governor,
        ))()  # fmt: skip

    def new_governor(self) -> bytes:
        words = address_words(address(f"governor {self.next_governor}"))
        return commands.operation(layout.OP_GOVERNOR, *words)

    # -- groups ------------------------------------------------------------------------------

    def group(self) -> Signed:
        rng, account = self.chance, self.account()
        if self.some(0.15):
            return self.chain.govern(self.of_governance())
        live = sorted(slot for who, slot in self.sessions if who == account)
        key = rng.choice(live) if live and self.some(0.4) else 0
        count = rng.choice((1, 1, 1, 2, 5, 16))
        return self.chain.group(account, [self.row(account) for _ in range(count)], key=key)

    def bad_group(self) -> Signed:
        """Signed by whom it says, and includable in no block, or not in this one."""
        rng, account = self.chance, self.account()
        rows, time = [self.row(account)], self.chain.leader.head.time
        return rng.choice((
            lambda: self.chain.group(account, rows, nonce=1),
            lambda: self.chain.group(account, rows, nonce=1 << 40),
            lambda: self.chain.group(account, rows, nonce=0),
            lambda: self.chain.group(account, rows, nonce=1 << 30, expires=time),
            lambda: self.chain.group(account, rows, nonce=1 << 30, expires=time + 10**9),
            lambda: self.chain.group(account, rows, nonce=1 << 30, signer="stranger"),
            lambda: self.chain.group(account, rows, nonce=1 << 30, key=4, signer="stranger"),
            lambda: self.chain.group(60, rows, nonce=1, signer="stranger"),
        ))()  # fmt: skip

    def message(self) -> bytes:
        rng = self.chance
        draw, account = rng.random(), self.account()
        if draw < 0.5:
            return self.chain.deposit(owner(account), rng.choice((USD, BTC, 9)), rng.randrange(999))
        if draw < 0.6:
            return self.chain.forced(f"nobody {rng.randrange(99)}", self.row(account))
        return self.chain.forced(owner(account), *[self.row(account) for _ in range(3)])

    def learn(self, events: bytes) -> None:
        """What a client would keep from a block's events."""
        for head, _, *words in iter_unpack("<8q", events):
            kind, op, market = head & 255, head >> 20 & 0xFFF, head >> 32 & 0xFFFF
            if kind == layout.EVENT_RESTED:
                self.handles.append((words[4], market, words[0]))
                del self.handles[:-300]
            elif kind == layout.EVENT_GRANTED:
                self.sessions.add((words[4], words[0]))
                self.chain.nonces[words[4], words[0]] = 0
            elif kind == layout.EVENT_REVOKED:
                self.sessions.discard((words[4], words[0]))
            elif kind == layout.EVENT_SET:
                self.markets += op == layout.OP_LIST_MARKET
                self.assets += op == layout.OP_LIST_ASSET
                self.epoch += op == layout.OP_VALIDATORS
                if op == layout.OP_GOVERNOR:
                    self.chain.governor = f"governor {self.next_governor}"
                    self.next_governor += 1
