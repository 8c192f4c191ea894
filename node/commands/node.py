"""`rialto node`: run one leader or follower until it is told to end.

Standard output has one JSON line once the node serves: its ports, its peer id and addresses, the
height and root it starts from. The log goes to standard error.
"""

import argparse

import trio

from node import config, process
from node.telemetry import logs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    chosen = config.config_of(arguments)
    logs.configure(chosen.log_format)
    trio.run(process.serve, chosen, process.announce)
    return 0
