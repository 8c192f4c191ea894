"""`scripts/simulate`: run plans from the command line, one line for each, and say what failed.

What lives here: arguments, output, exit code. What must never live here: a simulation.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from typing import Final

from node.simulation.simulate import BURSTS_S, Plan, Report, simulate
from node.simulation.trouble import ALL

HEADER: Final = (
    "  seed  hours  height  certified  promises  refusals  crashes  calms  recovery_s   mb    s"
    "  trace"
)


def faults_of(text: str) -> tuple[str, ...]:
    """`all`, `none`, or names with commas between them."""
    if text in ("all", "none"):
        return ALL if text == "all" else ()
    names = tuple(text.split(","))
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(ALL)}")
    return names


def seeds_of(text: str) -> range:
    """`A..B`, both included, or one number."""
    first, _, last = text.partition("..")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not A..B") from error


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__.split(":")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, default=1)
    which.add_argument("--seeds", type=seeds_of, metavar="A..B", help="one run for each")
    parser.add_argument("--hours", type=float, default=1.0, help="simulated, of each run")
    parser.add_argument(
        "--faults", type=faults_of, default=ALL, help=f"all, none, or some of {', '.join(ALL)}"
    )
    parser.add_argument(
        "--bursts-s", type=float, default=BURSTS_S, help="mean time between bursts of submissions"
    )
    parser.add_argument(
        "--real-signatures", action="store_true", help="validators sign with BLS; slower"
    )
    return parser.parse_args(arguments)


def line_of(report: Report, took_s: float) -> str:
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return (
        f"{report.seed:6d} {report.hours:6.2f} {report.height:7d} {report.certified:10d} "
        f"{report.promises:9d} {report.refusals:9d} {report.crashes:8d} {report.calms:6d} "
        f"{report.recovery_s:11.1f} {mb:4d} {took_s:4.0f}  {report.trace[:16]}"
    )


def main(arguments: Sequence[str]) -> int:
    chosen = parse(arguments)
    seeds = chosen.seeds if chosen.seeds is not None else range(chosen.seed, chosen.seed + 1)
    print(HEADER, flush=True)
    for seed in seeds:
        plan = Plan(
            seed, chosen.hours, chosen.faults, chosen.bursts_s, chosen.real_signatures
        )
        began = time.perf_counter()
        try:
            report = simulate(plan)
        except BaseException:
            print(f"FAILED; the same again: {plan.command}", flush=True)
            raise
        print(line_of(report, time.perf_counter() - began), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
