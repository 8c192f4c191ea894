"""The integrity walk finds every planted one-word fault of what follows from the records.

The state is that of a random run of signed blocks. Where the parts are is read out of the header
words that the core wrote, not worked out with the walk's own arithmetic.
"""

import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import pytest
from random_traffic import LISTING, RandomTraffic
from signed_chain import FIRST_OWNER, OWNERS, Signed, SignedChain

from consensus import commands, layout
from consensus.exceptions import InvalidBlock, InvalidSnapshot, NotIncludable
from consensus.proposal import Proposal
from consensus.state.export import import_
from consensus.state.integrity import walk, walk_words
from consensus.state.memory import Memory

SEED: Final = 57
BLOCKS: Final = 80
WORDS, WORDS_LONG = 25, 150
PARTS: Final = (
    "offsets of the ledger", "numbers of records", "spare words of the header", "address list",
    "owner keys", "schedules by account", "accounts not yet made", "sentinel", "free schedules",
    "locked", "spare words of balances", "balances of nobody", "order tables", "listed",
    "regions of markets", "best prices", "counters", "shape of the region",
    "spare words of the region's header", "bid bitmap", "ask bitmap", "directories",
    "page bitmap", "slot bitmap", "levels", "queue links", "spare words of orders",
    "freed slots", "slot 0", "orders of traders",
)  # fmt: skip
EMPTY: Final = {
    "spare words of the header", "accounts not yet made", "sentinel", "free schedules",
    "spare words of balances", "balances of nobody", "spare words of the region's header",
    "spare words of orders", "freed slots", "slot 0",
}  # fmt: skip


@lru_cache(maxsize=1)
def live() -> Memory:
    """A sealed state with two markets, orders of every kind, freed slots, keys and schedules."""
    chain = SignedChain(rate_per_s=100_000, rate_burst=100_000, leaves_max=4000)
    traffic = RandomTraffic(chain, SEED)
    for _ in range(BLOCKS):
        messages = b"".join(traffic.message() for _ in range(traffic.chance.randrange(2)))
        groups = chain.verified(traffic.group() for _ in range(traffic.chance.randrange(9)))
        block = Proposal(chain.leader, chain.opening(100), messages, LISTING)
        for group in groups:
            try:
                block.add(group)
            except (NotIncludable, InvalidBlock):
                continue
        traffic.learn(block.seal()[1].events)
    chain.propose([*reopened(chain), *queues(chain)])
    return chain.leader.memory


def reopened(chain: SignedChain) -> list[Signed]:
    """The chain and its first market are open, whatever governance did before."""
    rows = [commands.operation(op, 0) for op in (layout.OP_CHAIN_STATUS, layout.OP_MARKET_STATUS)]
    return [chain.govern(*rows)]


def queues(chain: SignedChain) -> list[Signed]:
    """Four levels where all accounts stand in line, far from the others."""
    return [
        chain.group(
            account,
            [
                commands.cancel_all() if account % 2 else commands.settings(1),
                *[commands.place(0, side, 900 + n, price, 50 + n)
                  for n, (side, price) in enumerate(((0, 300), (0, 301), (1, 3700), (1, 3900)))],
            ],
        )
        for account in range(FIRST_OWNER, FIRST_OWNER + OWNERS)
    ]  # fmt: skip


def words() -> memoryview:
    """A copy of the state's words that may be written to."""
    return memoryview(bytearray(live().view())).cast("q")


def records(at: int, width: int, count: int, *fields: int) -> list[int]:
    return [at + width * n + field for n in range(count) for field in fields]


def ledger_parts(W: memoryview) -> Iterator[tuple[str, list[int]]]:
    accounts, slots = W[layout.ACCOUNTS], W[layout.ACCOUNTS_MAX]
    at = W[layout.AT_ACCOUNTS]
    owner = layout.ACCOUNT_OWNER
    yield "offsets of the ledger", list(range(layout.AT_MARKETS, layout.END + 1))
    yield "numbers of records", [layout.ACCOUNTS, layout.ASSETS, layout.MARKETS, layout.SCHEDULES]
    yield "spare words of the header", [22 + 1, 45, 63, 69, 95, 96, 255]
    yield "address list", records(at, 32, accounts, layout.ACCOUNT_NEXT)
    yield "owner keys", records(at + 32, 32, accounts - 1, *range(owner, owner + 4))
    yield "schedules by account", records(at, 32, accounts, layout.ACCOUNT_SCHEDULE)
    yield "accounts not yet made", list(range(at + 32 * accounts, at + 32 * slots))
    yield "sentinel", [at + n for n in range(32) if n != layout.ACCOUNT_NEXT]
    schedules = layout.AT_SCHEDULES + 8 * W[layout.SCHEDULES]
    yield "free schedules", list(range(schedules, layout.AT_ASSETS))
    balances, assets = W[layout.AT_BALANCES], W[layout.ASSETS_MAX]
    yield "locked", records(balances, 8, accounts * assets, layout.BALANCE_LOCKED)
    yield "spare words of balances", records(balances, 8, accounts * assets, 4, 7)
    yield "balances of nobody", list(range(balances + 8 * assets * accounts, W[layout.AT_TABLES]))
    yield "order tables", list(range(W[layout.AT_TABLES], W[W[layout.AT_MARKETS]]))
    yield "listed", records(layout.AT_ASSETS, 16, W[layout.ASSETS], layout.ASSET_LISTED)
    regions = (layout.MARKET_REGION, layout.MARKET_WORDS)
    yield "regions of markets", records(W[layout.AT_MARKETS], 16, W[layout.MARKETS], *regions)


def market_parts(W: memoryview, k: int) -> Iterator[tuple[str, list[int]]]:
    def span(first: int, after: int) -> list[int]:
        return list(range(k + W[k + first], k + W[k + after]))

    yield "best prices", [k + layout.BOOK_BEST, k + layout.BOOK_BEST + 1]
    yield "counters", [k + layout.BOOK_ORDERS, k + layout.BOOK_ORDERS + 1, k + layout.BOOK_PAGES]
    yield "shape of the region", list(range(k + layout.BOOK_MARKET, k + layout.BOOK_PAGES_MAX + 1))
    yield "spare words of the region's header", [k + 9, k + 31, k + 57, k + 68, k + 127]
    bids = layout.BOOK_PRICE_BITS
    yield "bid bitmap", span(bids, bids + 1)
    yield "ask bitmap", span(bids + 1, layout.BOOK_DIRECTORY)
    yield "directories", span(layout.BOOK_DIRECTORY, layout.BOOK_PAGE_BITS)
    yield "page bitmap", span(layout.BOOK_PAGE_BITS, layout.BOOK_SLOT_BITS)
    yield "slot bitmap", span(layout.BOOK_SLOT_BITS, layout.BOOK_AT_PAGES)
    yield "levels", span(layout.BOOK_AT_PAGES, layout.BOOK_AT_POOL)
    pool = k + W[k + layout.BOOK_AT_POOL]
    slots = [pool + 16 * slot for slot in range(1, W[k + layout.BOOK_POOL_MAX])]
    used = [at for at in slots if W[at] & layout.TAG_LIVE]
    freed = [at for at in slots if not W[at] & layout.TAG_LIVE]
    yield "queue links", [at + field for at in used for field in (layout.ORDER_NEXT, 6)]
    yield "spare words of orders", [at + field for at in used for field in range(12, 16)]
    yield "freed slots", [at + field for at in freed for field in range(1, 16)]
    yield "slot 0", list(range(pool, pool + 16))
    traders = k + W[k + layout.BOOK_AT_TRADERS]
    count = W[layout.ACCOUNTS_MAX]
    yield "orders of traders", records(traders, 8, count, layout.TRADER_ORDERS, 6, 7)


def parts() -> dict[str, list[int]]:
    """Every derived part of the state by name; markets together."""
    W = words()
    found: dict[str, list[int]] = dict(ledger_parts(W))
    for market in range(W[layout.MARKETS]):
        for name, places in market_parts(W, W[W[layout.AT_MARKETS] + 16 * market]):
            found.setdefault(name, []).extend(places)
    return found


def faults(word: int, rng: random.Random) -> list[int]:
    """Other values of a word: near ones, empty, large, and anything."""
    near = [word + 1, word - 1, word ^ 1 << rng.randrange(62), 0, rng.getrandbits(62), -word, -1]
    return [value for value in near if value != word and -(1 << 63) <= value < 1 << 63]


def test_the_random_state_has_something_in_every_part_and_is_sound() -> None:
    W = words()
    assert walk(live()) == []
    assert tuple(parts()) == PARTS
    for name, places in parts().items():
        assert places, name
        assert any(W[at] for at in places) != (name in EMPTY), name
    assert W[layout.MARKETS] >= 2
    assert W[layout.SCHEDULES] >= 1


@pytest.mark.parametrize("name", PARTS)
def test_a_planted_fault_in_a_derived_word_is_found(name: str, long_run: bool) -> None:
    rng = random.Random(f"{SEED} {name}")
    print("seed", SEED, name)
    W = words()
    places = parts()[name]
    filled = [at for at in places if W[at]]
    count = WORDS_LONG if long_run else WORDS
    chosen = rng.sample(filled, min(count, len(filled)))
    chosen += rng.sample(places, min(count // 2, len(places)))
    for at in chosen:
        before = W[at]
        values = faults(before, rng)
        for value in values if long_run else rng.sample(values, 2):
            W[at] = value
            findings = walk_words(W)
            assert findings, (name, at, before, value)
            assert all(5700 <= found.number <= 5799 for found in findings)
        W[at] = before
    assert walk_words(W) == []


def queued() -> Iterator[tuple[int, int]]:
    """SEQUENCE words of neighbours in a queue."""
    W = words()
    for market in range(W[layout.MARKETS]):
        k = W[W[layout.AT_MARKETS] + 16 * market]
        pool = k + W[k + layout.BOOK_AT_POOL]
        for one in range(pool + 16, pool + 16 * W[k + layout.BOOK_POOL_MAX], 16):
            if W[one] & layout.TAG_LIVE and W[one + layout.ORDER_NEXT]:
                two = pool + 16 * W[one + layout.ORDER_NEXT]
                yield one + layout.ORDER_SEQUENCE, two + layout.ORDER_SEQUENCE


def test_orders_of_a_queue_that_exchanged_their_age_are_found() -> None:
    """Every index is right but for time priority."""
    W = words()
    pairs = list(queued())
    assert len(pairs) > 3
    for one, two in pairs:
        assert W[one] < W[two]
        W[one], W[two] = W[two], W[one]
        assert walk_words(W)
        W[one], W[two] = W[two], W[one]
    assert walk_words(W) == []


def test_any_word_may_be_anything_and_the_walk_still_answers(long_run: bool) -> None:
    """One to five random words are damaged: findings or none, never an exception."""
    rng = random.Random(SEED)
    W = words()
    for _ in range(20_000 if long_run else 150):
        places = [rng.randrange(len(W)) for _ in range(rng.randrange(1, 6))]
        places += [rng.randrange(256)] if rng.random() < 0.3 else []
        before = [W[at] for at in places]
        for at in places:
            W[at] = rng.choice((0, 1, -1, rng.getrandbits(20), rng.getrandbits(63)))
        assert all(5700 <= found.number <= 5799 for found in walk_words(W)), places
        for at, word in zip(places[::-1], before[::-1], strict=True):
            W[at] = word
    assert walk_words(W) == []


@pytest.mark.parametrize("length", [0, 1, 255, 256, 8448, 9000])
def test_a_state_that_ends_early_has_no_shape(length: int) -> None:
    findings = walk_words(words()[:length])
    assert [found.number for found in findings] == [5700]


def test_no_export_of_garbage_is_a_state() -> None:
    rng = random.Random(SEED)
    for _ in range(200):
        with pytest.raises(InvalidSnapshot):
            import_(rng.randbytes(rng.randrange(400)))
