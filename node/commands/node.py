"""`rialto node`: run one leader or follower until it is told to end.

Standard output has one JSON line once the node serves: its ports, its peer id and addresses, the
height and root it starts from. The log goes to standard error.
"""

import argparse

import trio

from consensus.exceptions import ConsensusError
from node import config, process
from node.exceptions import NodeError
from node.telemetry import logs
from storage.exceptions import StorageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    config.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    chosen = config.config_of(arguments)
    logs.configure(chosen.log_format)
    try:
        trio.run(process.serve, chosen, process.announce)
    except BaseExceptionGroup as group:
        fault = first_numbered(group)
        if fault is None:
            raise
        raise fault from group
    return 0


def first_numbered(error: BaseException) -> Exception | None:
    """The refusal that ended a task, out of the groups that trio makes of it."""
    if isinstance(error, BaseExceptionGroup):
        return next((one for part in error.exceptions if (one := first_numbered(part))), None)
    return error if isinstance(error, NodeError | ConsensusError | StorageError) else None
