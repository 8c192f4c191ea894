"""Statements: what is proven is true, and a proof says nothing but what it was asked for."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from live_exchange import SEED, Exchange, address, live_exchange

from consensus import layout
from consensus.exceptions import InvalidProof
from consensus.matching.book import order_at
from consensus.matching.operations import market_at
from consensus.signatures import address_from_words
from consensus.state import proof as proofs
from consensus.state import statements as law
from consensus.state.memory import Memory, Sizes, empty_ledger
from consensus.state.records import Order, read_records
from consensus.state.tree import StateTree

Question = tuple[Any, ...]
# kind of statement: prover, verifier
KINDS: dict[str, tuple[Callable[..., proofs.Proof], Callable[..., Any]]] = {
    "account": (law.prove_account, law.verify_account),
    "balance": (law.prove_balance, law.verify_balance),
    "order": (law.prove_order, law.verify_order),
    "client": (law.prove_client_order, law.verify_client_order),
    "level": (law.prove_level, law.verify_level),
}


@pytest.fixture(scope="module")
def memory() -> Memory:
    print("seed", SEED)
    return live_exchange()


def orders_of(memory: Memory) -> list[tuple[int, Order]]:
    markets = read_records(memoryview(memory.M)).markets
    return [(number, order) for number, market in enumerate(markets) for order in market.orders]


def handle_of(order: Order) -> int:
    return order.tag >> 32 << 24 | order.slot


def ask(memory: Memory, kind: str, *question: Any) -> Any:
    prove, verify = KINDS[kind]
    return verify(memory.tree.root(), prove(memory, *question).encode(), *question)


def number_of(act: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(InvalidProof) as caught:
        act(*arguments)
    return caught.value.number


def questions(memory: Memory, rng: random.Random) -> list[tuple[str, Question]]:
    """Some of every kind, present and absent."""
    found: list[tuple[str, Question]] = []
    for name in (1, 2, 5, 9, 50, 99, 3000):
        found.append(("account", (address(name),)))
    for name in (1, 3, 8):
        found += [("balance", (address(name), asset)) for asset in range(3)]
    for market, order in rng.sample(orders_of(memory), 8):
        found.append(("order", (market, handle_of(order))))
        found.append(("order", (market, handle_of(order) + (1 << 24))))
        found.append(("client", (address(order.account - 1), order.client)))
        found.append(("client", (address(order.account - 1), order.client + 32)))
        found.append(("level", (market, order.side, order.price)))
        found.append(("level", (market, 1 - order.side, order.price)))
        found.append(("level", (market, order.side, order.price * 7 % 4000 + 1)))
    return found


def test_every_account_is_proven_from_the_root_alone(memory: Memory) -> None:
    for name in range(1, 13):
        facts = ask(memory, "account", address(name))
        record = memory.M[layout.AT_ACCOUNTS] + 32 * facts.account
        assert facts.account == name + 1
        assert facts.self_trade_mode == memory.M[record + layout.ACCOUNT_STP]
        assert facts.grants == memory.M[record + layout.ACCOUNT_GRANTS]


def test_an_address_without_account_is_proven_absent_below_between_and_above_all(
    memory: Memory,
) -> None:
    for words in ((0, 0, 1), (0, 1, 0), (37, 7, 2), (99, 0, 0), ((1 << 56) - 1, 5, 5)):
        other = address_from_words(*words)
        assert ask(memory, "account", other) is None


def test_balances_are_those_of_the_state(memory: Memory) -> None:
    for name in range(1, 13):
        for asset in range(3):
            at = memory.M[layout.AT_BALANCES] + 8 * ((name + 1) * 4 + asset)
            facts = ask(memory, "balance", address(name), asset)
            assert facts == (memory.M[at], memory.M[at + 1])


def test_every_order_is_proven_by_handle_and_by_client_id(memory: Memory) -> None:
    orders = orders_of(memory)
    assert len(orders) > 40
    for market, order in orders:
        facts = ask(memory, "order", market, handle_of(order))
        assert facts == ask(memory, "client", address(order.account - 1), order.client)
        assert facts[:3] == (market, handle_of(order), order.account)
        assert facts[3:7] == (order.side, order.price, order.visible, order.hidden)
        assert facts.filled == order.total - order.visible - order.hidden


def test_handles_of_old_future_and_impossible_orders_are_proven_dead(memory: Memory) -> None:
    market, order = orders_of(memory)[0]
    handle, freed = handle_of(order), read_records(memoryview(memory.M)).markets[0].freed
    assert freed
    dead = [handle + (1 << 24), handle | 1 << 23, 1 << 24]
    dead += [generation << 24 | slot for slot, generation in freed] if market == 0 else []
    for other in dead:
        assert ask(memory, "order", market, other) is None


def test_a_client_id_that_is_free_or_another_in_its_slot_is_proven_absent(memory: Memory) -> None:
    _, order = orders_of(memory)[0]
    owner = address(order.account - 1)
    assert ask(memory, "client", owner, order.client + 32) is None
    used = {o.client % 32 for _, o in orders_of(memory) if o.account == order.account}
    free = next(slot for slot in range(32) if slot not in used)
    assert ask(memory, "client", owner, free) is None


def test_every_level_is_proven_and_every_other_price_is_proven_empty(memory: Memory) -> None:
    levels: dict[tuple[int, int, int], tuple[int, int]] = {}
    for market, order in orders_of(memory):
        visible, count = levels.get((market, order.side, order.price), (0, 0))
        levels[market, order.side, order.price] = (visible + order.visible, count + 1)
    for place, level in levels.items():
        assert ask(memory, "level", *place) == level
        for near in (place[2] - 1, place[2] + 1, place[2] + 64):
            other = (*place[:2], near)
            assert ask(memory, "level", *other) == levels.get(other, (0, 0))


def test_a_proof_answers_its_own_question_or_another_one_truly_or_not_at_all(
    memory: Memory,
) -> None:
    root = memory.tree.root()
    asked = questions(memory, random.Random(SEED))
    truth = {question: ask(memory, *question[:1], *question[1]) for question in asked}
    refused = 0
    for kind, question in asked:
        data = KINDS[kind][0](memory, *question).encode()
        for other, wanted in asked:
            try:
                answer = KINDS[other][1](root, data, *wanted)
            except InvalidProof:
                refused += 1
                assert (other, wanted) != (kind, question)
            else:
                assert answer == truth[other, wanted], (kind, question, other, wanted)
    assert refused > 0.9 * len(asked) ** 2


def test_a_proof_of_yesterday_fails_today_and_the_other_way_round() -> None:
    exchange = Exchange(SEED)
    memory = exchange.run(200)
    before = memory.tree.root()
    asked = questions(memory, random.Random(SEED))
    old = [KINDS[kind][0](memory, *question).encode() for kind, question in asked]
    exchange.run(1)
    after = memory.tree.root()
    for (kind, question), data in zip(asked, old, strict=True):
        prove, verify = KINDS[kind]
        verify(before, data, *question)
        assert number_of(verify, after, data, *question) == proofs.WRONG_ROOT
        new = prove(memory, *question).encode()
        assert number_of(verify, before, new, *question) == proofs.WRONG_ROOT


def test_every_damaged_byte_of_a_statement_is_refused(memory: Memory) -> None:
    rng, root = random.Random(SEED), memory.tree.root()
    for kind, question in questions(memory, rng)[::3]:
        prove, verify = KINDS[kind]
        data = prove(memory, *question).encode()
        for _ in range(60):
            at = rng.randrange(len(data))
            bad = data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :]
            number_of(verify, root, bad, *question)


def forged(memory: Memory, *leaves: int) -> bytes:
    """A true proof of leaves that a liar chose."""
    return proofs.prove(memory.tree, memory.view(), leaves).encode()


def test_an_unused_account_record_is_no_end_of_the_address_list(memory: Memory) -> None:
    at = memory.M[layout.AT_ACCOUNTS] >> 5
    unused = forged(memory, 0, at + memory.M[layout.ACCOUNTS])
    root = memory.tree.root()
    number = number_of(law.verify_account, root, unused, address(3))
    assert number == law.NOT_A_NEIGHBOUR


def test_neighbours_with_an_account_between_them_prove_no_absence(memory: Memory) -> None:
    at, root = memory.M[layout.AT_ACCOUNTS], memory.tree.root()
    first = memory.M[at + layout.ACCOUNT_NEXT]
    wide = forged(memory, 0, at >> 5, (at >> 5) + first)
    for name in range(1, 13):
        number_of(law.verify_account, root, wide, address(name))
    second = memory.M[at + 32 * first + layout.ACCOUNT_NEXT]
    apart = forged(memory, 0, at >> 5, (at >> 5) + second)
    for name in range(1, 13):
        if name + 1 != second:
            number_of(law.verify_account, root, apart, address(name))


def test_a_session_key_or_balance_leaf_is_never_read_as_an_account(memory: Memory) -> None:
    root = memory.tree.root()
    for part in (layout.AT_KEYS, layout.AT_BALANCES, layout.AT_TABLES):
        first = memory.M[part] >> 5
        for leaf in range(first, first + 40):
            data = forged(memory, 0, leaf)
            number_of(law.verify_account, root, data, address(3))


def test_a_leaf_too_many_and_a_leaf_too_few_are_refused(memory: Memory) -> None:
    root = memory.tree.root()
    for kind, question in questions(memory, random.Random(SEED))[::2]:
        prove, verify = KINDS[kind]
        honest = prove(memory, *question).indexes
        extra = max(honest) - 1
        while extra in honest:
            extra -= 1
        more = forged(memory, *honest, extra)
        assert number_of(verify, root, more, *question) in (
            law.SURPLUS_LEAVES, law.NOT_A_NEIGHBOUR,
        )  # fmt: skip
        for missing in honest if len(honest) > 1 else ():
            less = forged(memory, *(leaf for leaf in honest if leaf != missing))
            assert number_of(verify, root, less, *question) in (
                proofs.NOT_IN_PROOF, law.NOT_A_NEIGHBOUR,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "question", "number"),
    [
        ("account", (bytes(20),), law.BAD_QUESTION),
        ("balance", (address(3), 3), law.UNKNOWN_ASSET),
        ("balance", (address(3), -1), law.UNKNOWN_ASSET),
        ("balance", (address(77), 0), law.ACCOUNT_ABSENT),
        ("order", (2, 1 << 24 | 1), law.UNKNOWN_MARKET),
        ("order", (-1, 1 << 24 | 1), law.UNKNOWN_MARKET),
        ("order", (0, 0), law.BAD_QUESTION),
        ("client", (address(3), 1 << 53), law.BAD_QUESTION),
        ("client", (address(3), -1), law.BAD_QUESTION),
        ("client", (address(77), 1), law.ACCOUNT_ABSENT),
        ("level", (0, 2, 100), law.BAD_QUESTION),
        ("level", (0, 0, 0), law.BAD_QUESTION),
        ("level", (0, 0, (1 << 13) - 1), law.BAD_QUESTION),
        ("level", (9, 0, 100), law.UNKNOWN_MARKET),
    ],
)
def test_a_question_without_an_answer_is_refused_by_number(
    memory: Memory, kind: str, question: Question, number: int
) -> None:
    assert number_of(ask, memory, kind, *question) == number


def test_a_verifier_refuses_the_next_asset_which_is_the_next_accounts_balance(
    memory: Memory,
) -> None:
    """Asset 4 of account n stands where asset 0 of account n + 1 does."""
    data = law.prove_balance(memory, address(3), 0)
    at = memory.M[layout.AT_BALANCES] + 8 * (5 * 4)
    more = forged(memory, *(leaf for leaf in data.indexes if leaf < at >> 5 and leaf != at >> 5))
    root = memory.tree.root()
    assert number_of(law.verify_balance, root, more, address(3), 4) == law.UNKNOWN_ASSET


def test_a_state_of_another_layout_is_not_read(memory: Memory) -> None:
    tree = StateTree(memory.tree.regions, 2)
    tree.rebuild(memory.view())
    leaves = law.prove_account(memory, address(3)).indexes
    data = proofs.prove(tree, memory.view(), leaves).encode()
    number = number_of(law.verify_account, tree.root(), data, address(3))
    assert number == law.UNKNOWN_LAYOUT


def test_statements_are_small(memory: Memory) -> None:
    """16,384 accounts; a single leaf is within 1.3 kB, an account within 2 kB."""
    sizes = Sizes(assets_max=8, markets_max=8, accounts_max=1 << 14, table_slots=64)
    parameters = [5000, 40_000, 100, 100, 8][: layout.PARAMETER_COUNT]
    large = Memory(empty_ledger(sizes, parameters, (0, 0, 1), (5, 5, 5), 1000))
    fee = address_from_words(5, 5, 5)
    assert len(forged(large, large.M[layout.AT_BALANCES] >> 5)) <= 1300
    assert len(law.prove_account(large, fee).encode()) <= 2000
    market, order = orders_of(memory)[0]
    k = market_at(memory.M, market)
    assert len(forged(memory, order_at(memory.M, k, order.slot) >> 5)) <= 1300
    assert len(law.prove_order(memory, market, handle_of(order)).encode()) <= 1600
