"""`rialto bench state`: the state root after a block, a rebuild, and the size of proofs.

What lives here: an exchange whose accounts, balances and resting orders fill a million lines of 64
bytes, and the clock around its tree. What must never live here: how a leaf is hashed.

Inside the clock: `Memory.seal`, which takes the list of dirty leaves, rehashes them up to the root
and forgets the marks. Outside: the writes. A line is made dirty by the core's own `touch` and a
change of its last word. One line in a hundred is dirty.

`root_ms_random`: lines drawn from all that are in use. `root_ms_local`: consecutive lines of order
records, as a burst of placed orders leaves them (slots are taken lowest first).
`root_ms_local_leaves` has no bar: as many consecutive *leaves*, four lines each. `rebuild_s`: the
tree of the whole memory from nothing. `proof_bytes`: one leaf; a statement proves the leaves of its
indexes too.
"""

import random
from collections.abc import Sequence
from statistics import median
from typing import Final

from consensus import layout
from consensus.execute import run_book
from consensus.scratch import touch
from consensus.signatures import address_from_words
from consensus.state import statements
from consensus.state.memory import Memory
from consensus.state.proof import Proof, prove
from node.bench import Advance
from node.bench.exchange import FIRST_TRADER, address, exchange, next_block
from node.bench.figures import AT_MOST, Bar, rounded
from node.bench.flows import MIDDLE, ROW
from node.bench.machine import cpu_ns, quiet

MESSAGES: Final = 1_000_000  # lines
ROUNDS: Final = 9
STEPS: Final = 1
LINE_WORDS: Final = 8
LINES_PER_DIRTY: Final = 100
LINES_PER_ACCOUNT: Final = 6  # four of the record, two balances
LINES_PER_ORDER: Final = 2
ORDERS_PER_ACCOUNT: Final = 5
TABLE_SLOTS: Final = 32
SPREAD: Final = 2000
"""Price levels on each side."""
ORDERS_PER_SEAL: Final = 1000

BARS: Final[dict[str, Bar]] = {
    "root_ms_random": (AT_MOST, 40),
    "root_ms_local": (AT_MOST, 6),
    "proof_bytes": (AT_MOST, 1300),
}


def filled(lines: int) -> tuple[Memory, list[range]]:
    """A sealed exchange with about `lines` lines in use, and their first words part by part."""
    accounts = lines // (LINES_PER_ACCOUNT + ORDERS_PER_ACCOUNT * LINES_PER_ORDER)
    orders = accounts * ORDERS_PER_ACCOUNT
    bits = 24, orders.bit_length(), 12
    memory = exchange(accounts, bits, TABLE_SLOTS)
    for n in range(orders):
        turn, trader = divmod(n, accounts)
        side, away = n & 1, 1 + n // 2 % SPREAD
        price = MIDDLE - away if side == layout.BUY else MIDDLE + away
        row = ROW.pack(FIRST_TRADER + trader, layout.OP_PLACE | side << 8, turn, price, 1, *[0] * 4)
        run_book(memory.M, memory.S, row, 0, len(row))
        if n % ORDERS_PER_SEAL == 0:
            memory.take_events()
            memory.seal()
            next_block(memory.M, memory.S)
    memory.take_events()
    memory.seal()
    M = memory.M
    k = M[M[layout.AT_MARKETS] + layout.MARKET_REGION]
    first = M[layout.AT_ACCOUNTS] + 32 * FIRST_TRADER
    pool = k + M[k + layout.BOOK_AT_POOL] + layout.ORDER_WORDS
    each = LINE_WORDS * M[layout.ASSETS_MAX]
    funds = M[layout.AT_BALANCES] + each * FIRST_TRADER
    return memory, [
        range(first, first + 32 * accounts, LINE_WORDS),
        range(funds, funds + each * accounts, each),
        range(funds + LINE_WORDS, funds + LINE_WORDS + each * accounts, each),
        range(pool, pool + layout.ORDER_WORDS * orders, LINE_WORDS),
    ]


def seal_ms(memory: Memory, lines: Sequence[int]) -> float:
    """Milliseconds of sealing after a change in each of these lines."""
    M, S = memory.M, memory.S
    for line in lines:
        touch(M, S, line)
        M[line + LINE_WORDS - 1] ^= 1
    with quiet():
        begun = cpu_ns()
        memory.seal()
        return (cpu_ns() - begun) / 1e6


def rebuild_s(memory: Memory) -> float:
    begun = cpu_ns()
    memory.tree.rebuild(memory.view())
    return (cpu_ns() - begun) / 1e9


def proofs(memory: Memory, order_line: int) -> dict[str, int]:
    """Bytes of the proof of one leaf, and of each kind of statement."""
    trader, M = address_from_words(*address(FIRST_TRADER)), memory.M
    slot = 1
    handle = (
        M[order_line + layout.ORDER_TAG] >> layout.TAG_GENERATION_SHIFT
    ) << layout.HANDLE_SHIFT
    made: dict[str, Proof] = {
        "proof_bytes": prove(memory.tree, memory.view(), [order_line >> layout.LEAF_SHIFT]),
        "order_proof_bytes": statements.prove_order(memory, 0, handle | slot),
        "level_proof_bytes": statements.prove_level(memory, 0, layout.BUY, MIDDLE - 1),
        "account_proof_bytes": statements.prove_account(memory, trader),
        "balance_proof_bytes": statements.prove_balance(memory, trader, 0),
    }
    return {key: len(proof.encode()) for key, proof in made.items()}


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """`messages` lines in use. A report without `machine` and `bars`."""
    memory, parts = filled(messages)
    lines = [line for part in parts for line in part]
    pool, dirty = parts[-1], max(1, messages // LINES_PER_DIRTY)
    rng = random.Random(seed)
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        start = rng.randrange(len(pool) - 4 * dirty)
        chosen = {
            "root_ms_random": rng.sample(lines, dirty),
            "root_ms_local": pool[start : start + dirty],
            "root_ms_local_leaves": pool[start : start + 4 * dirty],
        }
        for key, touched in chosen.items():
            times.setdefault(key, []).append(seal_ms(memory, touched))
    report: dict[str, object] = {key: rounded(median(found)) for key, found in times.items()}
    report |= proofs(memory, pool[0])
    report["rebuild_s"] = rounded(min(rebuild_s(memory) for _ in range(3)))
    advance(STEPS)
    report["workload"] = (
        f"seed {seed}, {rounds} rounds, medians; {len(lines):,} lines in use of "
        f"{len(memory.M) // LINE_WORDS:,}: accounts, balances in two assets, resting orders; "
        f"{dirty:,} lines dirty, {dirty * 4:,} in `root_ms_local_leaves`; rebuild: best of 3"
    )
    return report
