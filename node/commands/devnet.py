"""`rialto devnet`: a leader and three followers on this machine, and a recorded flow through them.

The report is described in docs/devnet.md. Exit code 1 if any root, fill or certificate differs; the
folder with data, keys and logs is then kept and named.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from node.bench.machine import require_compiled
from node.commands import add_json_argument, print_report
from node.devnet.chain import GENESIS_FILE, known_owners
from node.devnet.processes import NodeProcess
from node.devnet.run import Outcome, Plan, devnet
from node.exceptions import NodeError
from node.flow.bitstamp import read_flow
from node.flow.fetch import fetch_sample
from node.flow.orders import check_wallets
from node.l1.http import HttpL1

MESSAGES: Final = 7116
FOLDER_USED: Final = 7117
WALLETS: Final = 64
INTERRUPTED: Final = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, metavar="N", help="replay the first N only")
    parser.add_argument("--wallets", type=int, default=WALLETS, metavar="W", help="who sends them")
    parser.add_argument("--l1", metavar="URL", help="use this execution client, not an own L1")
    parser.add_argument("--serve", action="store_true", help="keep the network running afterwards")
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="keep data and logs here (else only if it fails)"
    )
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    require_compiled()
    check_wallets(arguments.wallets)
    if arguments.messages is not None and arguments.messages < 1:
        text = f"--messages {arguments.messages}: give 1 or more, or leave it out"
        raise NodeError(MESSAGES, text)
    if arguments.l1 is not None:
        HttpL1(arguments.l1)  # refuses what is no URL, before anything is made
    flow = read_flow(fetch_sample())
    folder = make_folder(arguments.dir)
    plan = Plan(
        folder, arguments.messages, arguments.wallets, arguments.serve, arguments.json, arguments.l1
    )

    def say(outcome: Outcome, nodes: Sequence[NodeProcess]) -> None:
        show(plan, outcome, nodes)

    ended_well = False
    try:
        outcome = trio.run(devnet, plan, flow, say)
        ended_well = not outcome.faults
    finally:
        if ended_well and arguments.dir is None:
            shutil.rmtree(folder)
        else:
            print(f"devnet: data, keys and logs are in {folder}", file=sys.stderr)
    for fault in outcome.faults:
        print(f"devnet: {fault}", file=sys.stderr)
    if outcome.faults:
        return 1
    return INTERRUPTED if outcome.interrupted and not outcome.report else 0


def make_folder(asked: Path | None) -> Path:
    """An empty folder. Raises `NodeError` 7117."""
    if asked is None:
        return Path(tempfile.mkdtemp(prefix="rialto-devnet-"))
    asked.mkdir(parents=True, exist_ok=True)
    if any(asked.iterdir()):
        raise NodeError(FOLDER_USED, f"{asked} is not empty: name a new folder, keys are made anew")
    return asked


def show(plan: Plan, outcome: Outcome, nodes: Sequence[NodeProcess]) -> None:
    """The verdict, before the nodes are stopped; with --serve, how to reach them."""
    if plan.quiet:
        print_report(outcome.report | {"faults": outcome.faults}, as_json=True)
        sys.stdout.flush()
        return
    named = {key: value for key, value in outcome.report.items() if key != "nodes"}
    print_report({key: _shown(value) for key, value in named.items()}, as_json=False)
    print(f"\n{outcome.table}\n\n{outcome.stages}\n")
    if plan.serve and not outcome.faults:
        print(f"serving until Ctrl-C; the chain is {plan.folder / GENESIS_FILE}")
        for node in nodes:
            print(f"  {node.name:<11} {node.url}  http://127.0.0.1:{node.rpc}  pid {node.pid}")
        print("funded accounts, whose keys every Ethereum tool knows (mnemonic: test ... junk):")
        for owner in known_owners():
            print(f"  {owner}")
    sys.stdout.flush()


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count:,}" for key, count in value.items()) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "not compared" if value is None else str(value)
