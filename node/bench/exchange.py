"""An exchange with funded traders, built by the core's own operations.

What lives here: the state that every bench of the core starts from. What must never live here: what
is then done to it, or a clock.
"""

import struct
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from consensus import layout
from consensus.execute import open_block, operate
from consensus.governance import region_words
from consensus.scratch import forget
from consensus.state.memory import Memory, Sizes, empty_ledger

TABLE_SLOTS: Final = 1024
FIRST_TRADER: Final = 2
"""Account 0 is the sentinel, account 1 takes the fees."""
NAMES: Final = 1000
"""Added to an account's number, the last word of its address."""
FUNDS: Final = 1 << 50
START_MS: Final = 1000
LOTS_MAX: Final = 1 << 31
TAKER_PPM: Final = 500
MAKER_PPM: Final = 100
VISITS_MAX: Final = 5000
LEAVES_MAX: Final = 40_000
RATE: Final = 1_000_000
SWEEP_ORDERS: Final = 64
FUNDED_AT_ONCE: Final = 1000
"""Accounts whose leaves and events surely fit the scratch area."""


def exchange(
    traders: int, bits: tuple[int, int, int] = (24, 18, 12), table_slots: int = TABLE_SLOTS
) -> Memory:
    """One market with fees and accounts `FIRST_TRADER` ... with `FUNDS` of both assets; sealed.

    `bits` is the size class: prices, orders, level pages. The market trades asset 1 for asset 0.
    """
    accounts_max = max(64, 1 << (FIRST_TRADER + traders - 1).bit_length())
    sizes = Sizes(assets_max=4, markets_max=4, accounts_max=accounts_max, table_slots=table_slots)
    parameters = (VISITS_MAX, LEAVES_MAX, RATE, RATE, SWEEP_ORDERS)
    memory = Memory(empty_ledger(sizes, parameters, (0, 0, 1), (0, 0, 2), START_MS))
    memory.reserve(memory.M[layout.END] + region_words(*bits, accounts_max))
    govern: list[tuple[int, ...]] = [
        (layout.OP_LIST_ASSET, int.from_bytes(name, "big"), 2) for name in (b"USD", b"BTC")
    ]
    shape = 1 | bits[0] << 16 | bits[1] << 24 | bits[2] << 32
    most = 1_000_000 << 20  # live orders of a trader; no price band
    govern.append((layout.OP_LIST_MARKET, shape, 1, 1, 0, LOTS_MAX, most))
    for tier in range(layout.TIERS):
        govern.append((layout.OP_FEES, tier, TAKER_PPM, MAKER_PPM))
    govern.append((layout.OP_MARKET_STATUS, 0))
    memory.S[layout.S_KEY] = layout.KEY_GOVERNANCE
    for words in govern:
        operate(memory.M, memory.S, row(*words), 0)
    memory.S[layout.S_KEY] = layout.KEY_DEPOSIT
    for account in range(FIRST_TRADER, FIRST_TRADER + traders):
        _fund(memory, account)
        if account % FUNDED_AT_ONCE == 0:
            memory.take_events()
            memory.seal()
            next_block(memory.M, memory.S)
    memory.take_events()
    memory.seal()
    # A block of 10,000 messages on a deep book needs more images than there are at first, and room
    # is made only when the area is full.
    memory.S[layout.S_DIRTY] = memory.S[layout.S_DIRTY_HIGH]
    memory.make_room()
    next_block(memory.M, memory.S)
    return memory


def _fund(memory: Memory, account: int) -> None:
    for asset in (0, 1):
        memory.S[layout.S_LOW] = account - 1
        memory.S[layout.S_ACCOUNT] = account if asset else 0
        for n, word in enumerate(address(account)):
            memory.S[layout.S_SIGNER + n] = word
        deposit = row(layout.OP_DEPOSIT, *address(account), asset, FUNDS)
        operate(memory.M, memory.S, deposit, 0)


def address(account: int) -> tuple[int, int, int]:
    """The address of a trader, as the words of a record: ascending with the account."""
    return 0, 0, NAMES + account


def row(*words: int) -> bytes:
    """An operation row; words not given are 0."""
    return struct.pack("<8q", *words, *[0] * (8 - len(words)))


def next_block(M: vec[i64], S: vec[i64], time: int = 0) -> None:
    """A block boundary without a root: forget the marks and open the next block at `time` ms."""
    forget(S)
    open_block(M, S, M[layout.HEIGHT] + 1, time or M[layout.TIME], 0)


class Start:
    """A copy of a sealed exchange from which any number of runs can begin alike."""

    def __init__(self, memory: Memory) -> None:
        self.M: Final = bytes(memoryview(memory.M).cast("B"))
        self.S: Final = bytes(memoryview(memory.S).cast("B"))

    def vectors(self) -> tuple[vec[i64], vec[i64]]:
        return words(self.M), words(self.S)


def words(data: bytes) -> vec[i64]:
    """Little-endian bytes as words."""
    return vec[i64](memoryview(data).cast("q"))
