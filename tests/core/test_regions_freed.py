"""A state that nobody holds any more is freed, whatever the core did with it."""

import subprocess
import sys

CALLS = """
import resource
from librt.vecs import vec
from mypy_extensions import i64
from consensus.scratch import forget
from consensus.execute import open_block
from consensus.state.memory import Memory, Sizes, empty_ledger

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def one():
    M = empty_ledger(Sizes(4, 4, 64, 64), (16, 64, 1, 64, 4), (7, 7, 7), (1, 0, 5), 1)
    memory = Memory(M)
    open_block(memory.M, memory.S, 1, 2, 0)
    memory.seal()
    return len(memory.S) * 8

one()
before = peak()
for _ in range(20):
    words = one()
print(words // 1024, peak() - before)
"""


def test_twenty_states_one_after_the_other_take_the_memory_of_one() -> None:
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    each_kb, grown_kb = map(int, done.stdout.split())
    assert each_kb > 1024
    assert grown_kb < 3 * each_kb
