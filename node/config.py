"""What an operator decides about one node, checked before anything starts.

What lives here: the values, their meaning, their errors. What must never live here: limits of the
protocol, which are the same for everybody, or an environment variable that changes a rule.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from node.exceptions import NodeError

BAD_ADDRESS: Final = 7363
HALF_TLS: Final = 7364
LEADER: Final = "leader"
FOLLOWER: Final = "follower"


class Address(NamedTuple):
    """Where a server listens. Port 0 takes a free one."""

    host: str
    port: int


@dataclass(frozen=True)
class Config:
    """One node. Paths are as given; `peers` are multiaddrs that end in /p2p/<peer id>."""

    role: str
    genesis: Path
    data_dir: Path
    listen: tuple[str, ...]
    peers: tuple[str, ...]
    rpc: Address
    admin: Address | None
    metrics: Address | None
    validator_key: Path | None
    remote_signer: str | None
    tls_certificate: Path | None
    tls_key: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `rialto node`."""
    parser.add_argument("--role", choices=(LEADER, FOLLOWER), required=True)
    parser.add_argument("--genesis", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--listen",
        action="append",
        metavar="MULTIADDR",
        help="where peers reach this node (default /ip4/127.0.0.1/tcp/30330); repeatable",
    )
    parser.add_argument(
        "--peer", action="append", default=[], metavar="MULTIADDR", help="a peer to stay with"
    )
    parser.add_argument("--rpc", default="127.0.0.1:8545", metavar="HOST:PORT")
    parser.add_argument("--admin", metavar="HOST:PORT", help="admin_* methods, by token")
    parser.add_argument("--metrics", metavar="HOST:PORT", help="/metrics, /health, /ready")
    parser.add_argument("--validator-key", type=Path, metavar="FILE")
    parser.add_argument("--remote-signer", metavar="URL", help="signs for the validator key")
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE")
    parser.add_argument("--tls-key", type=Path, metavar="FILE")


def config_of(arguments: argparse.Namespace) -> Config:
    """The configuration of a command line. Raises `NodeError` 7363, 7364."""
    if (arguments.tls_certificate is None) != (arguments.tls_key is None):
        raise NodeError(HALF_TLS, "--tls-certificate and --tls-key go together: give both")
    return Config(
        role=arguments.role,
        genesis=arguments.genesis,
        data_dir=arguments.data_dir,
        listen=tuple(arguments.listen or ("/ip4/127.0.0.1/tcp/30330",)),
        peers=tuple(arguments.peer),
        rpc=read_address("--rpc", arguments.rpc),
        admin=read_address("--admin", arguments.admin) if arguments.admin else None,
        metrics=read_address("--metrics", arguments.metrics) if arguments.metrics else None,
        validator_key=arguments.validator_key,
        remote_signer=arguments.remote_signer,
        tls_certificate=arguments.tls_certificate,
        tls_key=arguments.tls_key,
    )


def read_address(option: str, text: str) -> Address:
    """`HOST:PORT`; the host of IPv6 in brackets. Raises `NodeError` 7363."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535 or not host:
        raise NodeError(BAD_ADDRESS, f"{option} {text}: give HOST:PORT, the port up to 65535")
    return Address(host.strip("[]"), int(port))
