"""`rialto doctor`: what is not as it should be with a node and its machine, and what to do.

One line per check: `ok`, `warn` or `FAIL`, what was seen, and for the last two what to do. Exit
code 1 if anything fails. With `--rpc` the running node is asked too.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from node.commands import add_json_argument, print_report
from node.telemetry import doctor_machine, doctor_node
from node.telemetry.finding import FAIL, OK, Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--genesis", type=Path, metavar="FILE", help="for its memory budget")
    parser.add_argument("--rpc", metavar="URL", help="of the running node, http://HOST:PORT")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    findings = list(examine(arguments.data_dir, arguments.genesis, arguments.rpc))
    if arguments.json:
        print_report({"findings": [one._asdict() for one in findings]}, as_json=True)
    else:
        width = max(len(one.name) for one in findings)
        for one in findings:
            advice = "" if one.level == OK else f"; {one.advice}"
            print(f"{one.level:<4}  {one.name:<{width}}  {one.seen}{advice}")
    return 1 if any(one.level == FAIL for one in findings) else 0


def examine(data_dir: Path, genesis: Path | None, rpc: str | None) -> Iterator[Finding]:
    """Every check, in the order of the page."""
    yield from doctor_machine.examine(data_dir, genesis)
    if rpc is not None:
        yield from doctor_node.examine(rpc)
