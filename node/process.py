"""A node as a process: configuration in, servers up, and a clean end on SIGTERM.

What lives here: opening everything that a configuration names, in order, and closing it in the
reverse. What must never live here: what the parts do.
"""

import json
import logging
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from consensus.genesis import Genesis, parse
from node.app import Keys, Node, ValidatorKey
from node.config import FINAL, LEADER, Address, Config
from node.exceptions import NodeError
from node.feeds.feeds import Feeds
from node.fitness import require_validator_fitness
from node.interpreter import settle
from node.key_files import read_l1_key, read_or_make_promiser, read_validator
from node.l1.bridge import L1Link
from node.l1.deployment import read_deployment
from node.l1.http import HttpL1
from node.l1.kzg_process import PRECOMPUTE, KzgProcess
from node.l1.settling import Settles
from node.machine import Machine, RealMachine
from node.remote_signer import RemoteSigner
from node.rpc.dispatch import Dispatcher, Method
from node.rpc.http import Page
from node.rpc.methods.chain import ChainMethods
from node.rpc.methods.clob import Clob
from node.rpc.methods.eth import eth_methods
from node.rpc.methods.net import admin_methods, net_methods
from node.rpc.methods.withdrawals import WithdrawalMethods
from node.rpc.openrpc import with_discovery
from node.rpc.server import GRACE_S, RpcServer, tls_context
from node.signer import signs_with
from node.snapshots_fetch import start_from_peers
from node.telemetry.logs import HEIGHTS
from node.telemetry.watch import Telemetry
from node.wire import wire_chain
from p2p.host import open_network
from p2p.identity import load_or_create_identity
from p2p.network import Network
from p2p.penalties import FileBans
from p2p.settings import Settings
from storage.disk import DirectoryDisk, Disk

NO_SECRET: Final = 7352
L1_NEEDED: Final = 7751
TOKEN_NAME: Final = "admin.token"
log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """A node that serves, for whoever started it."""

    node: Node
    feeds: Feeds
    rpc: RpcServer
    admin: RpcServer | None
    metrics: RpcServer | None
    addresses: tuple[str, ...]
    asked_to_end: trio.Event


async def serve(config: Config, ready: Callable[[Running], None]) -> None:
    """Run one node until SIGINT or SIGTERM; `ready` is called once it serves."""
    genesis = parse(config.genesis.read_bytes())
    machine = RealMachine()
    keys = read_keys(config, machine)
    link = read_link(config, genesis)
    settles = read_settles(config)
    config.data_dir.mkdir(parents=True, exist_ok=True)
    if keys.validator is not None:
        require_validator_fitness(config.data_dir)
    identity = load_or_create_identity(config.data_dir / "network.key")
    settings = Settings(
        chain=wire_chain(genesis),
        dial=config.peers,
        bans=FileBans(config.data_dir / "bans.json"),
    )
    async with open_network(settings, identity, config.listen) as network:
        disk = DirectoryDisk(config.data_dir)
        if config.role != LEADER and config.peers and not config.replay:
            height = await start_from_peers(genesis, disk, network, machine)
            if height is not None:
                log.info("starting from a certified snapshot of height %d", height)
        async with running(
            genesis, disk, network, machine, keys, config, link, settles
        ) as started:
            settle()
            ready(started)
            await end_asked(started.asked_to_end)
            log.info("stopping: answering what came, sealing the open block")


@asynccontextmanager
async def running(
    genesis: Genesis,
    disk: Disk,
    network: Network | None,
    machine: Machine,
    keys: Keys,
    config: Config,
    link: L1Link | None = None,
    settles: Settles | None = None,
) -> AsyncIterator[Running]:
    """A node with its feeds and servers; leaving stops it in order."""
    node = Node(
        genesis,
        disk,
        network,
        machine,
        keys,
        leads=config.role == LEADER,
        retention=config.retention,
        link=link,
        settles=settles,
    )
    feeds = Feeds(node.chain.state, node.tape, machine.now_ms())
    telemetry = Telemetry(node, machine)
    HEIGHTS.read = lambda: node.chain.state.head.height
    withdrawals = WithdrawalMethods(node.chain.blocks, machine)
    methods = all_methods(node, feeds) | withdrawals.methods() | telemetry.methods()
    tls = None
    if config.tls_certificate and config.tls_key:
        tls = tls_context(str(config.tls_certificate), str(config.tls_key))
    rpc = RpcServer(config.rpc, Dispatcher(with_discovery(methods)), {"/": front_page}, tls)
    asked = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        nursery.start_soon(feeds.run)
        nursery.start_soon(withdrawals.run)
        nursery.start_soon(telemetry.run)
        await nursery.start(rpc.run)
        telemetry.servers["rpc"] = rpc
        admin = None
        if config.admin is not None:
            admin = admin_server(node, config.admin, config.data_dir, asked.set)
            await nursery.start(admin.run)
        metrics = None
        if config.metrics is not None:
            metrics = RpcServer(config.metrics, Dispatcher({}), telemetry.pages())
            await nursery.start(metrics.run)
        addresses = tuple(getattr(network, "addresses", tuple)())
        try:
            yield Running(node, feeds, rpc, admin, metrics, addresses, asked)
        finally:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + 10
                await node.stop()
                await _ended(*[server for server in (rpc, admin) if server is not None])
            nursery.cancel_scope.cancel()


async def _ended(*servers: RpcServer) -> None:
    """Stop these servers: their clients are told, and have two seconds."""
    for server in servers:
        server.stop()
    with trio.move_on_after(GRACE_S):
        for server in servers:
            await server.ended.wait()


def all_methods(node: Node, feeds: Feeds) -> dict[str, Method]:
    """Everything that the public port answers."""
    return {
        **Clob(node, feeds).methods(),
        **ChainMethods(node).methods(),
        **net_methods(node),
        **eth_methods(node),
    }


def read_keys(config: Config, machine: Machine) -> Keys:
    """The keys that the configuration names. Errors of `key_files`."""
    if config.validator_key is None:
        return Keys()
    found = read_validator(config.validator_key)
    if (found.secret is None) != (config.remote_signer is not None):
        text = f"{config.validator_key} must have its secret, or --remote-signer be given, not both"
        raise NodeError(NO_SECRET, f"{text}; `rialto validator public` makes a file without")
    promiser = None
    if config.role == LEADER:
        promiser = read_or_make_promiser(config.data_dir / "promiser.key")
    if found.secret is not None:
        sign = signs_with(found.secret, machine)
    else:
        assert config.remote_signer is not None, "checked above"
        sign = RemoteSigner(config.remote_signer, found.key, machine).sign
    return Keys(ValidatorKey(found.key, sign), promiser)


def read_link(config: Config, genesis: Genesis) -> L1Link | None:
    """The L1 that the configuration names. Raises `NodeError` 7751, and those of the file and URL.

    Whoever proposes or votes must see the L1 with its own eyes; a follower without a validator's
    key may do without, and then believes the validators about it.
    """
    has_bridge = any(genesis.contract)
    if config.l1 is None or config.deployment is None:
        if has_bridge and (config.role == LEADER or config.validator_key is not None):
            text = "this chain has a bridge, so a leader or validator follows its L1"
            raise NodeError(L1_NEEDED, f"{text}: give --l1 URL and --deployment FILE")
        return None
    if not has_bridge:
        text = "the genesis file names no contract, so this chain has no L1"
        raise NodeError(L1_NEEDED, f"{text}: leave out --l1 and --deployment")
    return L1Link(HttpL1(config.l1), read_deployment(config.deployment))


def read_settles(config: Config) -> Settles | None:
    """The keys for batches that the configuration names. Errors of `key_files`."""
    if config.attester_key is None:
        return None
    committer = read_l1_key(config.committer_key) if config.committer_key else None
    precompute = PRECOMPUTE if committer else 0
    return Settles(
        read_l1_key(config.attester_key),
        committer,
        config.batching,
        config.caps,
        lambda: KzgProcess(precompute),
        config.blob_archive == FINAL,
    )


def admin_server(
    node: Node, address: Address, data_dir: Path, stop: Callable[[], None]
) -> RpcServer:
    """The operator's port; its token is in the data directory, made at the first start."""
    path = data_dir / TOKEN_NAME
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32) + "\n", "ascii")
    methods = admin_methods(node, path.read_text("ascii").strip(), stop)
    return RpcServer(address, Dispatcher(with_discovery(methods)), {})


def front_page() -> Page:
    text = b"Rialto node. JSON-RPC 2.0 by POST or WebSocket; rpc.discover describes it.\n"
    return Page(b"text/plain; charset=utf-8", text)


async def end_asked(asked: trio.Event) -> None:
    """Return on SIGINT, on SIGTERM, or when `asked` is set."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_by_signal, signals, asked)
            await asked.wait()
            nursery.cancel_scope.cancel()


async def _set_by_signal(signals: AsyncIterator[int], asked: trio.Event) -> None:
    async for _ in signals:
        asked.set()


def announce(started: Running) -> None:
    """One JSON line on standard output that says where the node is reached."""
    chain = started.node.chain
    line = {
        "rpc": started.rpc.port,
        "admin": started.admin.port if started.admin else None,
        "metrics": started.metrics.port if started.metrics else None,
        "peer": started.node.network.peer if started.node.network else None,
        "addresses": started.addresses,
        "height": chain.state.head.height,
        "state_root": chain.state.head.state_root.hex(),
    }
    print(json.dumps(line), flush=True)
    sys.stdout.flush()
