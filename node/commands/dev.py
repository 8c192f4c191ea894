"""`rialto dev`: a whole chain in one process, for trying things out; never with real money.

The leader is the only validator, and the accounts' keys are those of the phrase that every
development tool ships with. In memory, unless a directory is named.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Final

import trio

from node import process
from node.app import Keys, ValidatorKey
from node.commands import add_json_argument
from node.config import LEADER, Config, read_address
from node.dev_chain import ACCOUNTS, DevChain, new_dev_chain, open_dev_chain
from node.interpreter import settle
from node.machine import RealMachine
from node.process import Running
from node.signer import signs_with
from node.wallet.dev_accounts import PHRASE, dev_accounts
from storage.disk import DirectoryDisk, Disk, MemoryDisk

NODE_DIRECTORY: Final = "node"
WARNING: Final = "everybody has these keys: never send anything of value to them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rpc", default="127.0.0.1:8545", metavar="HOST:PORT")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="keep the chain here (default: in memory)"
    )
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    machine = RealMachine()
    disk: Disk
    if arguments.data_dir is None:
        chain, disk = new_dev_chain(machine.now_ms()), MemoryDisk()
    else:
        chain = open_dev_chain(arguments.data_dir, machine.now_ms())
        disk = DirectoryDisk(arguments.data_dir / NODE_DIRECTORY)
    config = Config(
        role=LEADER,
        genesis=Path(),
        data_dir=arguments.data_dir or Path(),
        listen=(),
        peers=(),
        rpc=read_address("--rpc", arguments.rpc),
        admin=None,
        metrics=None,
        validator_key=None,
        remote_signer=None,
        tls_certificate=None,
        tls_key=None,
    )
    trio.run(_serve, chain, disk, machine, config, arguments.json)
    return 0


async def _serve(
    chain: DevChain, disk: Disk, machine: RealMachine, config: Config, as_json: bool
) -> None:
    secret = chain.validator.secret
    assert secret is not None, "a dev chain's validator file has its secret"
    signs = ValidatorKey(chain.validator.key, signs_with(secret, machine))
    keys = Keys(signs, chain.promiser)
    async with process.running(chain.genesis, disk, None, machine, keys, config) as started:
        settle()
        (_print_json if as_json else _print_text)(started, config)
        await process.end_asked(started.asked_to_end)
    disk.close()


def _print_json(started: Running, config: Config) -> None:
    report = {
        "rpc": started.rpc.port,
        "chain_id": started.node.chain.genesis.chain_id,
        "genesis_hash": "0x" + started.node.chain.genesis.hash.hex(),
        "height": started.node.chain.state.head.height,
        "accounts": [
            {"address": "0x" + one.address.hex(), "key": "0x" + one.secret.hex()}
            for one in dev_accounts(ACCOUNTS)
        ],
    }
    print(json.dumps(report), flush=True)


def _print_text(started: Running, config: Config) -> None:
    genesis = started.node.chain.genesis
    host = f"[{config.rpc.host}]" if ":" in config.rpc.host else config.rpc.host
    lines = [
        f"JSON-RPC   http://{host}:{started.rpc.port}   ws://{host}:{started.rpc.port}",
        f"chain      id {genesis.chain_id}, genesis 0x{genesis.hash.hex()}",
        f"markets    {', '.join(map(genesis.market_name, range(len(genesis.markets))))}",
        f"accounts   of the phrase `{PHRASE}`",
        *(
            f"  {n}  0x{one.address.hex()}  0x{one.secret.hex()}"
            for n, one in enumerate(dev_accounts(ACCOUNTS))
        ),
        f"warning    {WARNING}",
    ]
    print("\n".join(lines), flush=True)
