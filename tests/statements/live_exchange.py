"""Small exchanges with a lively past: two markets, icebergs, expiries, keys, switches, transfers.

The past is random and seeded. It goes through the core, so whatever a test finds in the state was
put there by the rules.
"""

import random
import struct
from typing import Final

from consensus import layout
from consensus.execute import housekeeping, open_block, operate
from consensus.signatures import address_from_words
from consensus.state.memory import Memory, Sizes, empty_ledger

SEED: Final = 20_260_401
TRADERS: Final = 12
FUNDS: Final = 1 << 40
SIZES: Final = Sizes(assets_max=4, markets_max=4, accounts_max=64, table_slots=32)
PARAMETERS: Final = (5000, 40_000, 1_000_000, 1_000_000, 8)
# assets, price, pool and page bits, base per lot, quote per tick and lot
MARKETS: Final = ((1, 0, 13, 8, 6, 10, 3), (2, 0, 12, 7, 6, 1, 1))
MIDDLE: Final = 2000


def address(name: int) -> bytes:
    """The address of trader `name`."""
    return address_from_words(*words_of(name))


def words_of(name: int) -> tuple[int, int, int]:
    """Addresses that neither ascend nor descend with the account number."""
    return (name * 37 % 101, 7 * name, name)


def row(*words: int) -> bytes:
    return struct.pack("<8q", *words, *[0] * (8 - len(words)))


class Exchange:
    """An exchange that can be driven; `memory` is sealed whenever `run` returns."""

    def __init__(self, seed: int = SEED, traders: int = TRADERS) -> None:
        self.random = random.Random(seed)
        self.memory = Memory(empty_ledger(SIZES, PARAMETERS, (0, 0, 1), (0, 0, 2), 1000))
        self.memory.reserve(self.memory.M[layout.END] + (1 << 20))
        self.events = b""
        self.client = 0
        self.height = 0
        self.traders = traders
        self.handles: list[tuple[int, int, int]] = []
        self.govern()
        for name in range(1, traders + 1):
            for asset in range(3):
                self.deposit(name, asset, FUNDS)
        self.seal()

    def operate(self, key: int, account: int, *words: int) -> None:
        self.memory.S[layout.S_KEY] = key
        self.memory.S[layout.S_ACCOUNT] = account
        operate(self.memory.M, self.memory.S, row(*words), 0)

    def govern(self) -> None:
        rows: list[tuple[int, ...]] = []
        for name in (b"USD\0\0\0\0", b"BTC\0\0\0\0", b"ETH\0\0\0\0"):
            rows.append((layout.OP_LIST_ASSET, int.from_bytes(name, "big"), 2, 1))
        for base, quote, price, pool, page, lot, tick in MARKETS:
            shape = base | quote << 8 | price << 16 | pool << 24 | page << 32
            rows.append((layout.OP_LIST_MARKET, shape, lot, tick, 0, 1 << 20, 1000 << 20, 0))
        for market in range(len(MARKETS)):
            for tier in range(layout.TIERS):
                rows.append((layout.OP_FEES | market << 32, tier, 500 - tier, 100 - 60 * tier))
            rows.append((layout.OP_MARKET_STATUS | market << 32, 0))
        for words in rows:
            self.operate(layout.KEY_GOVERNANCE, 0, *words)

    def deposit(self, name: int, asset: int, amount: int) -> None:
        M, wanted = self.memory.M, words_of(name)
        at = M[layout.AT_ACCOUNTS]
        known = [
            (tuple(M[at + 32 * account + n] for n in range(3)), account)
            for account in range(M[layout.ACCOUNTS])
        ]
        found, low = max(entry for entry in known if entry[0] <= wanted)
        self.memory.S[layout.S_LOW] = low
        for n in range(3):
            self.memory.S[layout.S_SIGNER + n] = wanted[n]
        account = low if found == wanted else 0
        self.operate(layout.KEY_DEPOSIT, account, layout.OP_DEPOSIT, *wanted, asset, amount)

    def place(self, market: int = 0) -> None:
        rng = self.random
        self.client += 1
        side, account = rng.getrandbits(1), rng.randrange(2, self.traders + 2)
        price = MIDDLE + int(rng.gauss(0, 250)) + (30 if side else -30)
        lots = rng.randrange(1, 400)
        display = max(1, lots // 5) if rng.random() < 0.25 else 0
        expires = self.memory.M[layout.TIME] + rng.randrange(1, 4000) if rng.random() < 0.2 else 0
        head = layout.OP_PLACE | side << 8 | rng.choice((0, 0, 1, 4)) << 24 | market << 32
        self.operate(layout.KEY_OWNER, account, head, self.client, price, lots, display, 0, expires)
        for event in struct.iter_unpack("<8q", self.memory.take_events()):
            self.events += struct.pack("<8q", *event)
            if event[0] & 255 == layout.EVENT_RESTED:
                self.handles.append((market, event[2], event[6]))

    def step(self) -> None:
        rng = self.random
        draw, account = rng.random(), rng.randrange(2, self.traders + 2)
        if draw < 0.7 or not self.handles:
            self.place(rng.randrange(len(MARKETS)))
        elif draw < 0.9:
            market, handle, owner = self.handles.pop(rng.randrange(len(self.handles)))
            self.operate(layout.KEY_OWNER, owner, layout.OP_CANCEL | market << 32, handle)
        elif draw < 0.93:
            due = self.memory.M[layout.TIME] + rng.randrange(1, 3000)
            self.operate(layout.KEY_OWNER, account, layout.OP_DEADMAN, due)
        elif draw < 0.95:
            slot = rng.randrange(1, 5)
            scope = (0, 0, 900 + slot, 1 << 50, 1 << 40, 3, slot)
            self.operate(layout.KEY_OWNER, account, layout.OP_GRANT, *scope)
        elif draw < 0.97:
            to = rng.randrange(2, self.traders + 2)
            self.operate(layout.KEY_OWNER, account, layout.OP_TRANSFER, to, 1000, rng.randrange(3))
        else:
            words = (rng.randrange(3), 500, 0, 0, 77)
            self.operate(layout.KEY_OWNER, account, layout.OP_WITHDRAW, *words)

    def run(self, steps: int) -> Memory:
        """`steps` operations in blocks of 50; the last block is sealed."""
        for n in range(steps):
            if n % 50 == 0:
                self.seal()
            self.step()
        self.seal()
        return self.memory

    def seal(self) -> None:
        """Seal the block and open the next, with its housekeeping."""
        self.memory.seal()
        self.height += 1
        memory = self.memory
        open_block(memory.M, memory.S, self.height, memory.M[layout.TIME] + 100, 0)
        housekeeping(memory.M, memory.S)
        self.events += memory.take_events()
        memory.seal()


def live_exchange(steps: int = 600, seed: int = SEED) -> Memory:
    """A sealed state after `steps` random operations."""
    return Exchange(seed).run(steps)
