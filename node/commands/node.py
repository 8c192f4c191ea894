"""`rialto node`: run one leader or follower until it is told to end.

Standard output has one JSON line once the node serves: its ports, its peer id and addresses, the
height and root it starts from. The log goes to standard error.
"""

import argparse
import logging

import trio

from node import config, process


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("libp2p").setLevel(logging.ERROR)
    chosen = config.config_of(arguments)
    trio.run(process.serve, chosen, process.announce)
    return 0
