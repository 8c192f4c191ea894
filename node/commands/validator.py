"""`rialto validator new|show|public|l1-key|serve`: a validator's keys, and a signer for one.

`public` writes the key file that a node with a remote signer needs: without the secret. `serve`
signs for such a node, and keeps its own record of what it signed. `l1-key` makes a key of the other
kind: an attester's, whose address goes into the contract's committee, or a committer's.
"""

import argparse
import json
from pathlib import Path

import trio

from consensus.genesis import parse
from consensus.signatures import address_of, public_key_of
from node.commands import add_json_argument, print_report
from node.config import read_address
from node.key_files import (
    ValidatorFile,
    make_l1_key,
    make_validator,
    read_validator,
    write_validator,
)
from node.process import end_asked
from node.rpc.dispatch import Dispatcher
from node.rpc.server import RpcServer
from node.signer_service import SignerService, check_local
from storage.disk import SIGNED, DirectoryDisk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    for action, summary in (
        ("new", "make a key"),
        ("show", "print what goes into a genesis"),
        ("public", "write a copy without the secret"),
        ("l1-key", "make an L1 key, an attester's or a committer's, and print its address"),
        ("serve", "sign for a node with --remote-signer"),
    ):
        one = actions.add_parser(action, help=summary, description=summary)
        one.add_argument("file", type=Path, metavar="FILE", help="the key file, mode 0600")
        add_json_argument(one)
        if action == "public":
            one.add_argument("copy", type=Path, metavar="COPY")
        if action == "serve":
            one.add_argument("--genesis", type=Path, required=True, metavar="FILE")
            one.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
            one.add_argument("--listen", default="127.0.0.1:9545", metavar="HOST:PORT")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "l1-key":
        address = address_of(public_key_of(make_l1_key(arguments.file)))
        print_report({"address": "0x" + address.hex()}, as_json=arguments.json)
        return 0
    made = make_validator if arguments.action == "new" else read_validator
    found = made(arguments.file)
    if arguments.action == "serve":
        trio.run(_serve, arguments, found)
        return 0
    if arguments.action == "public":
        write_validator(arguments.copy, ValidatorFile(found.key, found.proof, None))
    report = {"key": "0x" + found.key.hex(), "proof": "0x" + found.proof.hex()}
    print_report(report, as_json=arguments.json)
    return 0


async def _serve(arguments: argparse.Namespace, validator: ValidatorFile) -> None:
    """Until SIGINT or SIGTERM; the first line on standard output says where."""
    address = read_address("--listen", arguments.listen)
    check_local(address)
    disk = DirectoryDisk(arguments.data_dir)
    genesis = parse(arguments.genesis.read_bytes())
    service = SignerService(genesis, validator, disk.files(SIGNED))
    server = RpcServer(address, Dispatcher(service.methods()), {})
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        print(json.dumps({"signer": server.port, "key": "0x" + validator.key.hex()}), flush=True)
        await end_asked(trio.Event())
        server.stop()
    disk.close()
