"""After every block one root, however it is found, and no funds made or lost; and the scrub.

The short form runs 60 random blocks in each of five venues, the long form 2,000: ten thousand.
"""

import random
from concurrent.futures import ProcessPoolExecutor

import pytest
from agreement import Run
from venues import PAGES, VENUES

from consensus.layout import LEAF_SHIFT, LEAF_WORDS

PROCESSES = 2
SEED = 7_770_001


def blocks_with_every_root(name: str, seed: int, blocks: int) -> int:
    """Blocks that were run. Each is compared by `Run`: images, funds, and the root four ways."""
    run = Run(VENUES[name], seed, every_root=True)
    run.start()
    while run.blocks < blocks:
        run.block()
    return run.blocks


@pytest.mark.slow
def test_incremental_rebuilt_imported_and_naive_roots_are_one_after_every_block(
    long_run: bool, core_is_compiled: bool
) -> None:
    print("seed", SEED)
    each = 2_000 if long_run and core_is_compiled else 60
    with ProcessPoolExecutor(PROCESSES) as pool:
        count = len(VENUES)
        done = pool.map(blocks_with_every_root, VENUES, [SEED] * count, [each] * count)
        assert sum(done) == each * count


@pytest.fixture(scope="module")
def run() -> Run:
    run = Run(PAGES, SEED, with_twin=False)
    run.start()
    for _ in range(30):
        run.block()
    return run


def test_a_scrub_in_rotating_shares_finds_nothing_in_a_running_exchange(run: Run) -> None:
    memory, share = run.core.memory, 97
    at = 0
    for _ in range(60):
        run.block()
        assert memory.tree.rotating_check(memory.view(), at, share) == -1
        at = at + share if at + share < len(memory.view()) >> 3 + LEAF_SHIFT else 0
    assert memory.tree.rotating_check(memory.view(), 0, len(memory.view())) == -1


def test_a_scrub_names_the_leaf_of_any_flipped_bit(run: Run) -> None:
    memory, chance = run.core.memory, random.Random(SEED)
    leaves = len(memory.view()) >> 3 + LEAF_SHIFT
    for _ in range(200):
        word, bit = chance.randrange(leaves * LEAF_WORDS), 1 << chance.randrange(62)
        memory.M[word] ^= bit
        leaf = word >> LEAF_SHIFT
        first = max(0, leaf - chance.randrange(20))
        assert memory.tree.rotating_check(memory.view(), first, 20) == leaf
        memory.M[word] ^= bit
    assert memory.tree.rotating_check(memory.view(), 0, leaves) == -1


def test_a_store_without_its_mark_survives_the_seal_and_is_found_by_the_scrub(run: Run) -> None:
    memory = run.core.memory
    word = len(memory.view()) // 8 - 3
    before = memory.tree.root()
    memory.M[word] += 1
    assert memory.seal() == before
    assert memory.tree.rotating_check(memory.view(), 0, len(memory.view())) == word >> LEAF_SHIFT
    memory.M[word] -= 1
