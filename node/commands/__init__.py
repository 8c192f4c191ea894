"""The subcommands of `rialto`, one module each, imported only when asked for.

A command module has two functions:

    add_arguments(parser: argparse.ArgumentParser) -> None
    run(arguments: argparse.Namespace) -> int          # the exit code

Conventions that every command keeps:

- standard output carries the result and nothing else; progress goes to standard error;
- with `--json` the result is exactly one JSON object, keys in a fixed order, no floats in state;
- a refusal is raised as `NodeError` or `ConsensusError`; the command line prints it as
  `error E7xxx: sentence` on standard error and exits 2, with or without `--json`.
"""

import argparse
import json
from collections.abc import Mapping


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, no progress")


def print_report(report: Mapping[str, object], *, as_json: bool) -> None:
    """Print a command's result: one JSON object, or one aligned `key  value` line per entry."""
    if as_json:
        print(json.dumps(report))
        return
    width = max(map(len, report), default=0)
    for key, value in report.items():
        print(f"{key:<{width}}  {value}")
