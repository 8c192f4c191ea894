"""`rialto validator new|show FILE`: a validator's key file, and what of it goes into a genesis."""

import argparse
from pathlib import Path

from node.commands import add_json_argument, print_report
from node.key_files import make_validator, read_validator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("new", "show"))
    parser.add_argument("file", type=Path, metavar="FILE", help="the key file, mode 0600")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    made = make_validator if arguments.action == "new" else read_validator
    found = made(arguments.file)
    report = {"key": "0x" + found.key.hex(), "proof": "0x" + found.proof.hex()}
    print_report(report, as_json=arguments.json)
    return 0
