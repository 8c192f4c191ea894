"""`rialto`: find the command, run it, and turn every refusal into one line and an exit code.

Only the chosen command's module is imported: `rialto version` must start in an installation where
another command's libraries are broken, and start-up stays quick.

Exit codes: 0 done; 1 the command ran and its answer is "no"; 2 refused, with one line
`error E<number>: <sentence>` on standard error; 130 interrupted. A traceback is always a fault of
ours, never the answer to bad input.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final, NoReturn

import node
from consensus.exceptions import ConsensusError
from node.build_check import refuse_stale
from node.exceptions import NodeError
from storage.exceptions import StorageError

USAGE: Final = 7000
COMMAND_ABSENT: Final = 7002
FILE_UNUSABLE: Final = 7003

REFUSED: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it

COMMANDS: Final = {
    "replay": "run a recorded order flow through the core, block by block",
    "bench": "measure one part and print its numbers",
    "state": "verify, prove, snapshot, export or import a state",
    "genesis": "check a genesis file",
    "node": "run a leader or a follower",
    "dev": "run a chain of one node with funded accounts, for trying things out",
    "doctor": "check a node's machine, data directory and, if it runs, the node",
    "wallet": "keep keys, sign and send commands, show funds and orders",
    "l1": "the chain's contract on L1: deploy, deposit, force, be paid; or an L1 of your own",
    "validator": "make or show a validator's key",
    "devnet": "a leader and three followers here, with a recorded flow through them",
    "derive": "recompute a chain's every root from genesis, L1 and posted blobs",
    "db": "check, back up, restore or prune a node's data directory",
    "version": "print versions and whether the core is compiled",
}


OURS: Final = (NodeError, ConsensusError, StorageError)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group that is no group."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose complaints are numbered like all others."""

    def error(self, message: str) -> NoReturn:
        raise NodeError(USAGE, f"{message}; `{self.prog} --help` shows the usage")


def command_module(name: str) -> ModuleType:
    path = f"node.commands.{name}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        raise NodeError(
            COMMAND_ABSENT, f"this installation has no command `{name}`: install it again"
        ) from error


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse `argv`, importing only the module of the command it names.

    The result has `run`, the command's function. Raises `NodeError` 7000 or 7002; exits 0 after
    printing help or the version.
    """
    parser = Parser(prog="rialto", description=node.__doc__)
    parser.add_argument("--version", action="version", version=f"rialto {node.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = command_module(name)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        refuse_stale()
        arguments = parse(sys.argv[1:] if argv is None else argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except OURS as error:
        print(f"error {error}", file=sys.stderr)
        return REFUSED
    except BaseExceptionGroup as group:  # of a node's tasks
        ours, others = group.split(OURS)
        if ours is None or others is not None:
            raise
        print(f"error {first_of(ours)}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough (`| head`); keep the interpreter from flushing into the void.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        text = f"cannot use {error.filename}: {error.strerror}; check the path and its permissions"
        print(f"error E{FILE_UNUSABLE}: {text}", file=sys.stderr)
        return REFUSED


if __name__ == "__main__":
    sys.exit(main())
