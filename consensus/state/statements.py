"""Statements about one account, balance, order or price level, believed on a state root alone.

What lives here: which leaves a statement needs and what they say. What must never live here: how
leaves are proven (`proof.py`), or trust in the party that sent a proof.

Theory of operation. A statement is one function of state words. The prover runs it on its memory
and proves the leaves that were read; the verifier runs the same function on the proven leaves. So
the verifier computes every index itself, from words under the root, and a proof that answers
another question lacks a leaf (5010) or carries one that nobody read (5200). A market's first word
comes from the region table, which the root hashes. The one thing the verifier cannot compute is
where in the sorted address list an address stands: it tries the proven account records and
then checks the neighbour's rule, which is also what absence means.

Leaves and checks of every statement: docs/protocol/statements.md.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from consensus.exceptions import InvalidProof
from consensus.layout import (
    ACCOUNT_ADDRESS,
    ACCOUNT_GRANTS,
    ACCOUNT_NEXT,
    ACCOUNT_OWNER,
    ACCOUNT_STP,
    ACCOUNT_TIER,
    ACCOUNTS,
    ACCOUNTS_MAX,
    ASSETS,
    ASSETS_MAX,
    AT_ACCOUNTS,
    AT_BALANCES,
    AT_TABLES,
    BALANCE_AVAILABLE,
    BALANCE_LOCKED,
    BOOK_AT_PAGES,
    BOOK_AT_POOL,
    BOOK_DIRECTORY,
    BOOK_POOL_MAX,
    BOOK_TICKS,
    BUY,
    HANDLE_SHIFT,
    HANDLE_SLOT_MASK,
    KEY_NONCE,
    LAYOUT_VERSION,
    LEAF_SHIFT,
    LEVEL_COUNT,
    LEVEL_VISIBLE,
    ORDER_CLIENT,
    ORDER_EXPIRES,
    ORDER_HIDDEN,
    ORDER_PEAK,
    ORDER_PRICE,
    ORDER_SEQUENCE,
    ORDER_TAG,
    ORDER_TERMS,
    ORDER_TOTAL,
    ORDER_VISIBLE,
    ORDER_WORDS,
    PAGE_WORDS,
    SELL,
    TABLE_SLOTS,
    TAG_GENERATION_SHIFT,
    TAG_LIVE,
    TAG_SIDE_SHIFT,
    TERMS_ACCOUNT_MASK,
    TIME_NEVER,
)
from consensus.signatures import address_words
from consensus.state.memory import Memory
from consensus.state.proof import Proof, VerifiedLeaves, decode, prove, verify
from consensus.state.tree import Region

SURPLUS_LEAVES: Final = 5200
UNKNOWN_LAYOUT: Final = 5201
UNKNOWN_MARKET: Final = 5202
UNKNOWN_ASSET: Final = 5203
ACCOUNT_ABSENT: Final = 5204
NOT_A_NEIGHBOUR: Final = 5205
BAD_QUESTION: Final = 5206

ACCOUNT_WORDS: Final = 32
BALANCE_WORDS: Final = 8
LEVEL_WORDS: Final = 4

Address = tuple[int, int, int]  # words, as `address_words` makes them; they sort as addresses do
Facts = TypeVar("Facts")


class AccountFacts(NamedTuple):
    """An account that exists."""

    account: int
    tier: int
    self_trade_mode: int  # 1..4
    grants: int  # session keys granted so far
    nonce: int  # the owner's highest accepted


class BalanceFacts(NamedTuple):
    """Atoms of one asset."""

    available: int
    locked: int


class OrderFacts(NamedTuple):
    """A resting order. Lots, ticks and ms."""

    market: int
    handle: int
    account: int
    side: int  # 0 buy, 1 sell
    price: int
    visible: int
    hidden: int
    total: int
    expires: int
    peak: int
    client: int
    sequence: int

    @property
    def filled(self) -> int:
        return self.total - self.visible - self.hidden


class LevelFacts(NamedTuple):
    """Visible lots and resting orders at one price; zeros if nobody is there."""

    visible: int
    orders: int


def prove_account(memory: Memory, address: bytes) -> Proof:
    """That the account of `address` exists and what it is, or that there is none."""
    return _prove(memory, lambda read: _account(read, _asked(address)))


def verify_account(root: bytes, data: bytes, address: bytes) -> AccountFacts | None:
    """The account; None if it is proven that there is none. InvalidProof for anything else."""
    return _verify(root, data, lambda read: _account(read, _asked(address)))


def prove_balance(memory: Memory, address: bytes, asset: int) -> Proof:
    """What an account has of an asset. InvalidProof 5204 if there is no such account."""
    return _prove(memory, lambda read: _balance(read, _asked(address), asset))


def verify_balance(root: bytes, data: bytes, address: bytes, asset: int) -> BalanceFacts:
    """Available and locked atoms. InvalidProof 5204 if it is proven that there is no account."""
    return _verify(root, data, lambda read: _balance(read, _asked(address), asset))


def prove_order(memory: Memory, market: int, handle: int) -> Proof:
    """The order a handle names, or that it names none (any more)."""
    return _prove(memory, lambda read: _order(read, market, handle))


def verify_order(root: bytes, data: bytes, market: int, handle: int) -> OrderFacts | None:
    """The order; None if it is proven that the handle names no live order."""
    return _verify(root, data, lambda read: _order(read, market, handle))


def prove_client_order(memory: Memory, address: bytes, client: int) -> Proof:
    """The live order of an account under a client id, or that there is none."""
    return _prove(memory, lambda read: _client_order(read, _asked(address), client))


def verify_client_order(root: bytes, data: bytes, address: bytes, client: int) -> OrderFacts | None:
    """The order; None if it is proven that the account has none under this client id."""
    return _verify(root, data, lambda read: _client_order(read, _asked(address), client))


def prove_level(memory: Memory, market: int, side: int, price: int) -> Proof:
    """What rests at a price, or that nothing does."""
    return _prove(memory, lambda read: _level(read, market, side, price))


def verify_level(root: bytes, data: bytes, market: int, side: int, price: int) -> LevelFacts:
    """Visible lots and orders at the price; (0, 0) if it is proven that there are none."""
    return _verify(root, data, lambda read: _level(read, market, side, price))


class _Reader:
    """Reads state words and remembers the leaves they came from."""

    def __init__(
        self,
        word: Callable[[int], int],
        regions: Sequence[Region],
        low_neighbour: Callable[[Address], int],
    ) -> None:
        self._word: Final = word
        self._regions: Final = regions
        self.low_neighbour: Final = low_neighbour
        self.leaves: dict[int, None] = {}

    def word(self, index: int) -> int:
        self.leaves[index >> LEAF_SHIFT] = None
        return self._word(index)

    def market(self, market: int) -> int:
        """First word of a market's region."""
        for region in self._regions:
            if region.id == market + 1 and market >= 0:
                return region.base
        raise InvalidProof(UNKNOWN_MARKET, f"the state has no market {market}; ask for another")


def _prove(memory: Memory, statement: Callable[[_Reader], object]) -> Proof:
    M = memoryview(memory.M)

    def low_neighbour(address: Address) -> int:
        at, count = M[AT_ACCOUNTS], M[ACCOUNTS]
        parts = [M[at + n : at + ACCOUNT_WORDS * count : ACCOUNT_WORDS].tolist() for n in range(3)]
        return max(
            (words, account)
            for account, words in enumerate(zip(*parts, strict=True))
            if words <= address
        )[1]

    read = _Reader(lambda index: int(M[index]), memory.tree.regions, low_neighbour)
    statement(read)
    return prove(memory.tree, memory.view(), list(read.leaves))


def _verify(root: bytes, data: bytes, statement: Callable[[_Reader], Facts]) -> Facts:
    proven = verify(root, decode(data))
    if proven.layout_version != LAYOUT_VERSION:
        raise InvalidProof(UNKNOWN_LAYOUT, f"layout {proven.layout_version} is not known here")
    read = _Reader(proven.word, proven.regions, lambda address: _proven_low(proven, address))
    facts = statement(read)
    if len(read.leaves) != len(proven):
        raise InvalidProof(SURPLUS_LEAVES, "the proof has leaves that the statement does not need")
    return facts


def _proven_low(proven: VerifiedLeaves, address: Address) -> int:
    """The proven account with the largest address not above `address`; only a guess to check."""
    at = proven.word(AT_ACCOUNTS)
    found = [
        ((proven.word(index), proven.word(index + 1), proven.word(index + 2)), account)
        for index, account in (
            (leaf << LEAF_SHIFT, (leaf << LEAF_SHIFT) - at >> LEAF_SHIFT) for leaf in proven
        )
        if 0 <= account < proven.word(ACCOUNTS)
    ]
    return max((entry for entry in found if entry[0] <= address), default=(address, -1))[1]


def _asked(address: bytes) -> Address:
    words = address_words(address)
    if not any(words):
        raise InvalidProof(BAD_QUESTION, "no account has address zero; ask for another")
    return words


def _address(read: _Reader, record: int) -> Address:
    at = record + ACCOUNT_ADDRESS
    return read.word(at), read.word(at + 1), read.word(at + 2)


def _account(read: _Reader, address: Address) -> AccountFacts | None:
    low = read.low_neighbour(address)
    if not 0 <= low < read.word(ACCOUNTS):
        raise InvalidProof(NOT_A_NEIGHBOUR, "the proof has no account at or below the address")
    record = read.word(AT_ACCOUNTS) + ACCOUNT_WORDS * low
    seen, after = _address(read, record), read.word(record + ACCOUNT_NEXT)
    if seen == address:
        return AccountFacts(
            low,
            read.word(record + ACCOUNT_TIER),
            read.word(record + ACCOUNT_STP),
            read.word(record + ACCOUNT_GRANTS),
            read.word(record + ACCOUNT_OWNER + KEY_NONCE),
        )
    if after != 0:
        following = _address(read, read.word(AT_ACCOUNTS) + ACCOUNT_WORDS * after)
        if following <= address:
            raise InvalidProof(NOT_A_NEIGHBOUR, "another account stands between the neighbours")
    return None


def _account_number(read: _Reader, address: Address) -> int:
    facts = _account(read, address)
    if facts is None:
        raise InvalidProof(ACCOUNT_ABSENT, "there is no such account; ask for the account alone")
    return facts.account


def _balance(read: _Reader, address: Address, asset: int) -> BalanceFacts:
    account = _account_number(read, address)
    if not 0 <= asset < read.word(ASSETS):
        raise InvalidProof(UNKNOWN_ASSET, f"the state has no asset {asset}; ask for another")
    at = read.word(AT_BALANCES) + BALANCE_WORDS * (account * read.word(ASSETS_MAX) + asset)
    return BalanceFacts(read.word(at + BALANCE_AVAILABLE), read.word(at + BALANCE_LOCKED))


def _order(read: _Reader, market: int, handle: int) -> OrderFacts | None:
    slot = handle & HANDLE_SLOT_MASK
    if handle <= 0:
        raise InvalidProof(BAD_QUESTION, f"{handle} is not a handle; handles are positive")
    k = read.market(market)
    if slot >= read.word(k + BOOK_POOL_MAX) or slot == 0:
        return None
    at = k + read.word(k + BOOK_AT_POOL) + ORDER_WORDS * slot
    tag = read.word(at + ORDER_TAG)
    if tag & TAG_LIVE == 0 or tag >> TAG_GENERATION_SHIFT != handle >> HANDLE_SHIFT:
        return None
    return _order_facts(read, market, at, slot)


def _order_facts(read: _Reader, market: int, at: int, slot: int) -> OrderFacts:
    tag = read.word(at + ORDER_TAG)
    offsets = (
        ORDER_PRICE, ORDER_VISIBLE, ORDER_HIDDEN, ORDER_TOTAL,
        ORDER_EXPIRES, ORDER_PEAK, ORDER_CLIENT, ORDER_SEQUENCE,
    )  # fmt: skip
    return OrderFacts(
        market,
        tag >> TAG_GENERATION_SHIFT << HANDLE_SHIFT | slot,
        read.word(at + ORDER_TERMS) & TERMS_ACCOUNT_MASK,
        tag >> TAG_SIDE_SHIFT & 1,
        *(read.word(at + offset) for offset in offsets),
    )


def _client_order(read: _Reader, address: Address, client: int) -> OrderFacts | None:
    if not 0 <= client < TIME_NEVER:
        raise InvalidProof(BAD_QUESTION, f"{client} is not a client id; ids are below 2^53")
    account = _account_number(read, address)
    row = read.word(ACCOUNTS_MAX) * (client & read.word(TABLE_SLOTS) - 1)
    entry = read.word(read.word(AT_TABLES) + row + account)
    if entry == 0:
        return None
    market, slot = entry - 1 >> HANDLE_SHIFT, entry - 1 & HANDLE_SLOT_MASK
    k = read.market(market)
    at = k + read.word(k + BOOK_AT_POOL) + ORDER_WORDS * slot
    return _order_facts(read, market, at, slot) if read.word(at + ORDER_CLIENT) == client else None


def _level(read: _Reader, market: int, side: int, price: int) -> LevelFacts:
    k = read.market(market)
    ticks = read.word(k + BOOK_TICKS)
    if side not in (BUY, SELL) or not 1 <= price <= ticks - 2:
        raise InvalidProof(BAD_QUESTION, f"sides are 0 and 1, prices 1 to {ticks - 2}")
    key = price if side == SELL else ticks - 1 - price
    page = read.word(k + read.word(k + BOOK_DIRECTORY + side) + (key >> 6))
    if page == 0:
        return LevelFacts(0, 0)
    at = k + read.word(k + BOOK_AT_PAGES) + PAGE_WORDS * page + LEVEL_WORDS * (key & 63)
    return LevelFacts(read.word(at + LEVEL_VISIBLE), read.word(at + LEVEL_COUNT))
