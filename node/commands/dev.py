"""`rialto dev`: a whole chain in one process, for trying things out; never with real money.

The leader is the only validator, and the accounts' keys are those of the phrase that every
development tool ships with. An L1 runs beside it, where the accounts' deposits are and where
batches of blocks are posted; `--no-l1` leaves it out. In memory, unless a directory is named.
"""

import argparse
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from node import process
from node.app import Keys, ValidatorKey
from node.commands import add_json_argument
from node.config import LEADER, Address, Config, read_address
from node.dev_chain import (
    ACCOUNTS,
    FUNDS,
    GENESIS_NAME,
    NO_CONTRACT,
    DevChain,
    new_dev_chain,
    open_dev_chain,
)
from node.exceptions import NodeError
from node.interpreter import settle
from node.machine import RealMachine
from node.process import Running
from node.signer import signs_with
from node.wallet.dev_accounts import PHRASE, dev_accounts
from storage.disk import DirectoryDisk, Disk, MemoryDisk

if TYPE_CHECKING:
    from node.dev_l1 import DevL1

NO_EVM: Final = 7872
HAS_L1: Final = 7873
NOT_CREDITED: Final = 7874

NODE_DIRECTORY: Final = "node"
CREDIT_S_MAX: Final = 60
WARNING: Final = "everybody has these keys: never send anything of value to them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rpc", default="127.0.0.1:8545", metavar="HOST:PORT")
    parser.add_argument(
        "--l1-rpc", default="127.0.0.1:8645", metavar="HOST:PORT", help="where the L1 answers"
    )
    parser.add_argument(
        "--no-l1", action="store_true", help="no L1: funds in genesis, nothing is ever final"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="keep the chain here (default: in memory)"
    )
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    l1_rpc = None if arguments.no_l1 else read_address("--l1-rpc", arguments.l1_rpc)
    machine = RealMachine()
    with _directory(arguments.data_dir) as directory:
        contract = _contract() if l1_rpc else NO_CONTRACT
        disk: Disk
        if arguments.data_dir is None:
            chain, disk = new_dev_chain(machine.now_ms(), contract), MemoryDisk()
            (directory / GENESIS_NAME).write_bytes(chain.data)
        else:
            chain = open_dev_chain(directory, machine.now_ms(), contract)
            disk = DirectoryDisk(directory / NODE_DIRECTORY)
        config = Config(
            role=LEADER,
            genesis=directory / GENESIS_NAME,
            data_dir=directory,
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
        is_kept = arguments.data_dir is not None
        trio.run(_serve, chain, disk, machine, config, l1_rpc, is_kept, arguments.json)
    return 0


@contextmanager
def _directory(named: Path | None) -> Iterator[Path]:
    """Where the files of the chain are: as long as this process, if none is named."""
    if named is not None:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="rialto-dev-") as made:
        yield Path(made)


def _contract() -> bytes:
    """The contract's address. Raises `NodeError` 7872 where the L1's machine is not installed."""
    if find_spec("eth") is None:
        text = "the L1 of `rialto dev` runs in py-evm, which is not installed"
        raise NodeError(NO_EVM, f"{text}: install the extra `l1`, or give --no-l1")
    from node.dev_l1 import contract_place

    return contract_place()


async def _serve(
    chain: DevChain,
    disk: Disk,
    machine: RealMachine,
    config: Config,
    l1_rpc: Address | None,
    is_kept: bool,
    as_json: bool,
) -> None:
    secret = chain.validator.secret
    assert secret is not None, "a dev chain's validator file has its secret"
    signs = ValidatorKey(chain.validator.key, signs_with(secret, machine))
    keys = Keys(signs, chain.promiser)
    async with _l1_of(chain, config.data_dir, l1_rpc, is_kept) as (l1, port):
        link, settles = (l1.link, l1.settles) if l1 else (None, None)
        async with process.running(
            chain.genesis, disk, None, machine, keys, config, link, settles
        ) as started:
            if l1:
                await _credited(started)
            settle()
            (_print_json if as_json else _print_text)(started, config, port)
            await process.end_asked(started.asked_to_end)
    disk.close()


@asynccontextmanager
async def _l1_of(
    chain: DevChain, directory: Path, address: Address | None, is_kept: bool
) -> "AsyncIterator[tuple[DevL1 | None, int]]":
    """The chain's L1, its blocks being made, and the port on which it answers; None without one."""
    if not any(chain.genesis.contract):
        yield None, 0
        return
    if address is None:
        text = f"the chain in {directory} has an L1 and needs it"
        raise NodeError(HAS_L1, f"{text}: leave out --no-l1, or name a new directory")
    from node.dev_l1 import BLOCK_S, open_dev_l1
    from node.l1.embedded.service import l1_server, make_blocks

    l1 = await open_dev_l1(chain.genesis, directory, dict(FUNDS), is_kept=is_kept)
    server = l1_server(l1.l1, address)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            nursery.start_soon(partial(make_blocks, l1.l1, BLOCK_S))
            yield l1, server.port
            server.stop()
            await server.ended.wait()
            nursery.cancel_scope.cancel()
    finally:
        l1.close()


async def _credited(started: Running) -> None:
    """Return when every account has its deposits."""
    head, items = started.node.chain.state, ACCOUNTS * len(FUNDS)
    with trio.move_on_after(CREDIT_S_MAX):
        while head.head.l1_messages < items:
            await trio.sleep(0.02)
        return
    text = f"the {items} deposits on the L1 are not credited after {CREDIT_S_MAX} s"
    raise NodeError(NOT_CREDITED, f"{text}; the log may say why")


def _print_json(started: Running, config: Config, l1_port: int) -> None:
    genesis = started.node.chain.genesis
    report = {
        "rpc": started.rpc.port,
        "l1": l1_port or None,
        "contract": "0x" + genesis.contract.hex() if l1_port else None,
        "directory": str(config.data_dir),
        "chain_id": genesis.chain_id,
        "genesis_hash": "0x" + genesis.hash.hex(),
        "height": started.node.chain.state.head.height,
        "accounts": [
            {"address": "0x" + one.address.hex(), "key": "0x" + one.secret.hex()}
            for one in dev_accounts(ACCOUNTS)
        ],
    }
    print(json.dumps(report), flush=True)


def _print_text(started: Running, config: Config, l1_port: int) -> None:
    genesis = started.node.chain.genesis
    host = f"[{config.rpc.host}]" if ":" in config.rpc.host else config.rpc.host
    lines = [
        f"JSON-RPC   http://{host}:{started.rpc.port}   ws://{host}:{started.rpc.port}",
        *(_about_l1(genesis.contract, config.data_dir, l1_port) if l1_port else ()),
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


def _about_l1(contract: bytes, directory: Path, port: int) -> list[str]:
    from node.dev_l1 import DEPLOYMENT_FILE

    files = f"--genesis {directory / GENESIS_NAME} --deployment {directory / DEPLOYMENT_FILE}"
    return [
        f"L1         http://127.0.0.1:{port}   contract 0x{contract.hex()}",
        f"rialto l1  {files}",
    ]
