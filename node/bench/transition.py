"""`rialto bench transition`: blocks of signed commands through the real path, signatures apart.

What lives here: the clock around whole blocks, and around single groups. Blocks: `signed_flow`.

Four passes over the same blocks take turns, each from the same sealed state. Inside the clock, for
every block:

- `core_commands_per_s`: open it, schedules and sweep, execute all groups, take the events, forget
  the marks;
- `commands_per_s`: the same, and the body's shape and the roots of its rows and signatures, of the
  events and of the withdrawals;
- `commands_per_s_with_root`: the same, and the state root;
- `apply_block_commands_per_s`: `apply_block` as a follower calls it, which also makes the digest of
  every group; only the recovery of the signer is replaced by the header row's claim.

All are with guards, budgets, dirty marks with their images, locks and settlement on. Every root is
compared with the leader's. p50, p99 and p99.9 are those of one call of `execute` with one group of
one command, header row included.
"""

from array import array
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from consensus.block import Block, check_body, check_body_roots
from consensus.commands import read_groups
from consensus.execute import PHASE_COMMANDS, execute
from consensus.sealing import commit, withdrawals_in
from consensus.state.memory import Memory
from consensus.streams import bytes_root
from consensus.transition import apply_block, begin, run, run_messages
from node.bench import Advance
from node.bench.figures import AT_LEAST, AT_MOST, Bar, percentiles, rate, rounded
from node.bench.machine import cpu_ns, quiet
from node.bench.signed_flow import SignedFlow, believed, make
from node.bench.timer import Timer
from node.exceptions import NodeError

ROOT_DIFFERS: Final = 7302
ROWS_PER_COMMAND: Final = 2
ROW_BYTES: Final = 64
MESSAGES: Final = 200_000
ROUNDS: Final = 5
STEPS: Final = 1

BARS: Final[dict[str, Bar]] = {
    "commands_per_s": (AT_LEAST, 1_500_000),
    "commands_per_s_with_root": (AT_LEAST, 150_000),
    "p99_ns": (AT_MOST, 2000),
}


def core_block(memory: Memory, block: Block) -> int:
    """Nanoseconds of execution alone."""
    header = block.header
    begun = cpu_ns()
    begin(memory, header.height, header.time, header.l1_number)
    run_messages(memory, block.messages)
    run(memory, block.commands, PHASE_COMMANDS)
    commit(memory)
    return cpu_ns() - begun


def streamed_block(memory: Memory, block: Block, *, with_root: bool) -> int:
    """Nanoseconds of execution with the roots of all streams, and perhaps of the state.

    Raises `NodeError` 7302 if a root is not the leader's.
    """
    header = block.header
    begun = cpu_ns()
    check_body(block)
    check_body_roots(block)
    begin(memory, header.height, header.time, header.l1_number)
    _, events = run_messages(memory, block.messages)
    events += run(memory, block.commands, PHASE_COMMANDS)
    roots = [bytes_root("events", events), bytes_root("withdrawals", withdrawals_in(events))]
    if with_root:
        memory.tree.update(memory.view(), memory.dirty_leaves())
        roots.append(memory.tree.root())
    commit(memory)
    spent = cpu_ns() - begun
    expected = [header.events_root, header.withdrawals_root, header.state_root]
    if roots != expected[: len(roots)]:
        text = f"block {header.height} has another root here than the leader gave it"
        raise NodeError(ROOT_DIFFERS, f"{text}; run the tests of the core")
    return spent


def passes(flow: SignedFlow) -> dict[str, int]:
    """Nanoseconds of each kind of pass over all blocks."""
    spent: dict[str, int] = {}
    memory = flow.state().memory
    with quiet():
        spent["core_commands_per_s"] = sum(core_block(memory, block) for block in flow.blocks)
    for key, with_root in (("commands_per_s", False), ("commands_per_s_with_root", True)):
        memory = flow.state().memory
        with quiet():
            times = [streamed_block(memory, block, with_root=with_root) for block in flow.blocks]
        spent[key] = sum(times)
    spent["apply_block_commands_per_s"] = apply_all(flow)
    return spent


def apply_all(flow: SignedFlow) -> int:
    """Nanoseconds of `apply_block` over all blocks."""
    state, spent = flow.state(), 0
    recoveries = [believed(list(read_groups(block.commands))) for block in flow.blocks]
    with quiet():
        for block, recovery in zip(flow.blocks, recoveries, strict=True):
            begun = cpu_ns()
            apply_block(state, block, recovery)
            spent += cpu_ns() - begun
    return spent


def latency(flow: SignedFlow, timer: Timer) -> dict[str, int]:
    """Time of single calls: one group of one command."""
    samples = array("q")
    memory, step = flow.state().memory, ROWS_PER_COMMAND * ROW_BYTES
    with quiet():
        for block in flow.blocks:
            header = block.header
            begin(memory, header.height, header.time, header.l1_number)
            run_messages(memory, block.messages)
            M, S, rows = memory.M, memory.S, block.commands
            samples.extend(timer.calls(execute, M, S, rows, step, PHASE_COMMANDS))
            commit(memory)
    return percentiles(samples)


def bench(messages: int, seed: int, rounds: int, advance: Advance) -> dict[str, object]:
    """A report without `machine` and `bars`."""
    flow = make(messages, seed)
    times: dict[str, list[int]] = {}
    for _ in range(rounds):
        for key, spent in passes(flow).items():
            times.setdefault(key, []).append(spent)
    report: dict[str, object] = {
        key: rounded(rate(flow.commands, spent).median) for key, spent in times.items()
    }
    with TemporaryDirectory() as folder:
        timer = Timer(Path(folder))
        report |= latency(flow, timer)
    advance(STEPS)
    how = f"latency: {timer.how}, {timer.overhead} ns of clock taken off"
    report["workload"] = f"seed {seed}, {rounds} rounds, medians; {flow.describe()}; {how}"
    return report
