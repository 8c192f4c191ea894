"""`rialto bench NAME`: measure one part and print its figures beside what they must reach.

Exit code 0 also when a bar is missed: the table says MISSED. Bars hold for the workload they were
set for: with another `--messages` or an interpreted core none are printed. What each figure means
is in docs/benchmarks.md.
"""

import argparse
import importlib
import time
from typing import Final

from node.bench.figures import judge, table
from node.bench.machine import machine, require_compiled
from node.commands import add_json_argument, print_report
from node.exceptions import NodeError
from node.progress import progress

BENCHES: Final = {
    "matcher": ("matcher", "orders per second and time per order, against C of the same source"),
    "transition": ("transition", "blocks of commands through the core, with and without roots"),
    "replay": ("recorded", "the recorded order flow through apply_block"),
    "rpc": ("rpc", "orders through HTTP and WebSocket, idle connections"),
    "state": ("tree", "state root after a block, rebuild, size of proofs"),
    "node": ("node", "orders through a leader and two followers, everything on"),
    "da": ("blobs", "bytes per command, KZG of one blob to six, the event loop beside it"),
    "l1": ("settlement", "gas of every call of the settlement contract"),
}
"""Module of node/bench/ and summary, by name."""
ADVERSARIAL: Final = "adversarial"

BENCH_NUMBER: Final = 7304
MESSAGES_MIN: Final = 1000
MESSAGES_MAX: Final = 20_000_000
ROUNDS_MAX: Final = 1000
SEED: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = parser.add_subparsers(metavar="NAME", required=True, dest="name")
    for name, (_, summary) in BENCHES.items():
        bench = names.add_parser(name, help=summary, description=summary)
        if name == "matcher":
            bench.add_argument(
                "--adversarial", action="store_true", help="loads made to hurt, instead"
            )
        bench.add_argument("--messages", type=int, metavar="N", help="size of the workload")
        bench.add_argument("--rounds", type=int, metavar="R", help="rounds, of which medians")
        bench.add_argument("--seed", type=int, default=SEED, metavar="S")
        bench.add_argument(
            "--interpreted", action="store_true", help="measure the core even if not compiled"
        )
        add_json_argument(bench)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.interpreted:
        require_compiled()
    adversarial = getattr(arguments, "adversarial", False)
    bench = importlib.import_module(
        f"node.bench.{ADVERSARIAL if adversarial else BENCHES[arguments.name][0]}"
    )
    messages = arguments.messages if arguments.messages is not None else bench.MESSAGES
    rounds = arguments.rounds if arguments.rounds is not None else bench.ROUNDS
    within("--messages", messages, MESSAGES_MIN, MESSAGES_MAX)
    within("--rounds", rounds, 1, ROUNDS_MAX)
    within("--seed", arguments.seed, 0, (1 << 32) - 1)
    on = machine()  # first, for the load that the bench itself does not make
    wall, cpu = time.perf_counter(), time.process_time()
    with progress(bench.STEPS, "parts", quiet=arguments.json) as advance:
        report = dict(bench.bench(messages, arguments.seed, rounds, advance))
    apart = (time.perf_counter() - wall) / (time.process_time() - cpu)
    on["wall_over_cpu"] = round(apart, 2)
    workload = report.pop("workload")
    if messages == bench.MESSAGES and on["core"] == "compiled":
        report["bars"] = judge(report, bench.BARS)
    report |= {"machine": on, "workload": workload}
    if arguments.json:
        print_report(report, as_json=True)
    else:
        print(table(report))
    return 0


def within(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise NodeError(BENCH_NUMBER, f"{option} {value}: give {low} to {high}")
