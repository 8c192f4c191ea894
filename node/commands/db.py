"""`rialto db ...`: check, back up, restore and prune the data directory of a node that is stopped.

A running node has its directory locked (E7503): ask it for a backup over its admin port instead.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from consensus.genesis import Genesis, parse
from node.commands import add_json_argument, print_report
from node.exceptions import NodeError
from node.progress import progress
from storage import backup
from storage.blocks import Blocks
from storage.database import Database
from storage.disk import JOURNAL, SIGNED, SNAPSHOTS, DirectoryDisk
from storage.files import DirectoryFiles
from storage.journal import Journal
from storage.last_signed import NAME, LastSigned
from storage.recovery import Chain, identity_of, recover_chain
from storage.snapshots import Snapshots
from storage.states import stored_height

NO_DATABASE: Final = 7580


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    check_ = actions.add_parser("check", help="read every byte, replay to the head, name damage")
    _add_directory(check_)
    check_.set_defaults(act=check)
    backup_ = actions.add_parser("backup", help="copy blocks and states into a new directory")
    backup_.add_argument("--out", metavar="BACKUP", type=Path, required=True)
    _add_directory(backup_)
    backup_.set_defaults(act=back_up)
    restore_ = actions.add_parser("restore", help="a new data directory from a backup")
    restore_.add_argument("backup", metavar="BACKUP", type=Path)
    restore_.add_argument("--height", metavar="N", type=int, help="stop there; default: all")
    _add_directory(restore_)
    restore_.set_defaults(act=restore)
    prune_ = actions.add_parser("prune", help="drop old snapshots and the blocks below the rest")
    prune_.add_argument("--keep", metavar="N", type=int, default=2, help="snapshots; default 2")
    _add_directory(prune_)
    prune_.set_defaults(act=prune)


def _add_directory(action: argparse.ArgumentParser) -> None:
    action.add_argument("--genesis", metavar="GENESIS", type=Path, required=True)
    action.add_argument("--data-dir", metavar="DIR", type=Path, required=True)
    add_json_argument(action)


def run(arguments: argparse.Namespace) -> int:
    act: Callable[[argparse.Namespace], int] = arguments.act
    return act(arguments)


def check(arguments: argparse.Namespace) -> int:
    """Everything that is stored is read and compared, then replayed like at a start."""
    genesis = _genesis(arguments)
    with _opened(arguments.data_dir) as (disk, database):
        rows = sum(1 for _ in database.scan(b"", b"\xff"))
        snapshots = _snapshots(disk)
        for manifest in snapshots.kept():
            snapshots.read(manifest)
        if not Blocks(database).is_empty():
            Blocks(database).walk()
        chain = _replayed(genesis, database, snapshots, arguments)
        head = chain.blocks.head()
        waiting = _check_leader_files(disk, arguments.data_dir, genesis, head.height)
        report = _described(chain) | {
            "rows": rows,
            "snapshots": [manifest.height for manifest in snapshots.kept()],
            "journal_blocks": waiting,
        }
    print_report(report, as_json=arguments.json)
    return 0


def back_up(arguments: argparse.Namespace) -> int:
    genesis = _genesis(arguments)
    with _opened(arguments.data_dir) as (disk, database):
        snapshots = _snapshots(disk)
        chain = _replayed(genesis, database, snapshots, arguments)
        chain.states.write(chain.states.take(chain.state))
        with closing(DirectoryFiles(arguments.out)) as destination:
            index = backup.back_up(database, snapshots, identity_of(genesis), destination)
        report = _described(chain) | {"parts": len(index.parts), "backup": str(arguments.out)}
    print_report(report, as_json=arguments.json)
    return 0


def restore(arguments: argparse.Namespace) -> int:
    genesis = _genesis(arguments)
    if not arguments.backup.is_dir():
        raise NodeError(NO_DATABASE, f"there is no directory {arguments.backup}")
    with ExitStack() as stack:
        source = stack.enter_context(closing(DirectoryFiles(arguments.backup)))
        backup.check_index(source, identity_of(genesis))
        disk = stack.enter_context(closing(DirectoryDisk(arguments.data_dir)))
        database, snapshots = disk.database(), _snapshots(disk)
        identity = identity_of(genesis)
        backup.restore(source, database, snapshots, identity, arguments.height)
        chain = _replayed(genesis, database, snapshots, arguments)
        chain.states.write(chain.states.take(chain.state))
        report = _described(chain)
    print_report(report, as_json=arguments.json)
    return 0


def prune(arguments: argparse.Namespace) -> int:
    genesis = _genesis(arguments)
    with _opened(arguments.data_dir) as (disk, database):
        snapshots = _snapshots(disk)
        chain = _replayed(genesis, database, snapshots, arguments)
        chain.states.write(chain.states.take(chain.state))
        snapshots.take(database, genesis.hash)
        removed, blocks = backup.prune(chain.blocks, database, snapshots, arguments.keep)
        report = _described(chain) | {"snapshots_removed": removed, "blocks_removed": blocks}
    print_report(report, as_json=arguments.json)
    return 0


def _genesis(arguments: argparse.Namespace) -> Genesis:
    return parse(arguments.genesis.read_bytes())


@contextmanager
def _opened(path: Path) -> Iterator[tuple[DirectoryDisk, Database]]:
    if not (path / "database").is_dir():
        text = f"{path} holds no database; give the --data-dir of a node that has run"
        raise NodeError(NO_DATABASE, text)
    with closing(DirectoryDisk(path)) as disk:
        yield disk, disk.database()


def _snapshots(disk: DirectoryDisk) -> Snapshots:
    return Snapshots(disk.files(SNAPSHOTS))


def _replayed(
    genesis: Genesis, database: Database, snapshots: Snapshots, arguments: argparse.Namespace
) -> Chain:
    """The chain, its state at the head; like a start of the node."""
    blocks = Blocks(database)
    stored = stored_height(database)
    above = 0 if blocks.is_empty() else blocks.head().height - (stored or 0)
    with progress(above, "blocks", quiet=arguments.json) as advance:
        return recover_chain(genesis, database, snapshots, progress=lambda *_: advance(1))


def _check_leader_files(disk: DirectoryDisk, path: Path, genesis: Genesis, head: int) -> int:
    """Read journal and last_signed where there are any; the sealed blocks above the head."""
    waiting = 0
    if (path / JOURNAL).is_dir():
        journal = Journal(disk.files(JOURNAL), head)
        waiting = sum(1 for segment in journal.recovered if segment.seal is not None)
        journal.close()
    if (path / SIGNED / NAME).is_file():
        signed = LastSigned(disk.files(SIGNED), genesis.hash)
        signed.check_head(head + waiting)
        signed.close()
    return waiting


def _described(chain: Chain) -> dict[str, object]:
    head = chain.blocks.head()
    return {
        "height": head.height,
        "block_hash": "0x" + head.hash.hex(),
        "state_root": "0x" + chain.state.head.state_root.hex(),
        "lowest_block": chain.blocks.foundation().height + 1,
    }
