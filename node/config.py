"""What an operator decides about one node, checked before anything starts.

What lives here: the values, their meaning, their errors. What must never live here: limits of the
protocol, which are the same for everybody, or an environment variable that changes a rule.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from node.exceptions import NodeError
from node.l1.backlog import COMMITTER_SETTING, Batching
from node.l1.fees import GWEI, MILLIETHER, Caps
from node.snapshots import EVERY_BLOCKS, KEPT, Retention
from node.telemetry.logs import FORMATS, TEXT

BAD_ADDRESS: Final = 7363
HALF_TLS: Final = 7364
BAD_RETENTION: Final = 7365
HALF_L1: Final = 7750
SNAPSHOTS_KEPT_MAX: Final = 64
LEADER: Final = "leader"
FOLLOWER: Final = "follower"
KEEP, FINAL = "keep", "final"
"""How long the blobs of a batch are kept: for ever, or until it is final on L1."""


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
    retention: Retention = field(default_factory=Retention)
    replay: bool = False
    log_format: str = TEXT
    l1: str | None = None  # URL of an execution client
    deployment: Path | None = None
    attester_key: Path | None = None
    committer_key: Path | None = None
    batching: Batching = field(default_factory=Batching)
    caps: Caps = field(default_factory=Caps)
    blob_archive: str = KEEP


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
    parser.add_argument("--l1", metavar="URL", help="an execution client of the chain's L1")
    parser.add_argument(
        "--deployment", type=Path, metavar="FILE", help="the settlement contract, with --l1"
    )
    _add_settling(parser)
    parser.add_argument(
        "--snapshot-every",
        type=int,
        metavar="BLOCKS",
        help=f"take a snapshot this often (default {EVERY_BLOCKS}, a leader none); 0: never",
    )
    parser.add_argument(
        "--snapshots-kept", type=int, default=KEPT, metavar="N", help=f"default {KEPT}"
    )
    parser.add_argument(
        "--prune", action="store_true", help="forget the blocks below the oldest snapshot kept"
    )
    parser.add_argument("--log-format", choices=FORMATS, default=TEXT)
    parser.add_argument(
        "--replay", action="store_true", help="start from genesis, not from a snapshot of a peer"
    )


def _add_settling(parser: argparse.ArgumentParser) -> None:
    """A member of the committee attests batches; a leader posts them."""
    parser.add_argument("--attester-key", type=Path, metavar="FILE", help="signs batches for L1")
    parser.add_argument("--committer-key", type=Path, metavar="FILE", help="pays for them on L1")
    for option, default, what in (
        ("batch-blobs", Batching.blobs_max, "blobs of a batch, at most"),
        ("batch-deadline", Batching.deadline_s, "seconds that a block waits for a batch, at most"),
        ("backlog-blobs", Batching.backlog_blobs, "blobs' worth of blocks that may wait for L1"),
        ("fee-cap", Caps().fee // GWEI, "gwei for a gas, the most that is offered"),
        ("blob-fee-cap", Caps().blob_fee // GWEI, "gwei for a blob gas, the most that is offered"),
        ("fee-total-cap", Caps().total // MILLIETHER, "thousandths of an ether for the gas of one "
         "transaction, the most that is offered"),
    ):
        parser.add_argument(
            f"--{option}", type=int, default=default, metavar="N", help=f"{what} ({default})"
        )
    parser.add_argument(
        "--blob-archive", choices=(KEEP, FINAL), default=KEEP,
        help="posted blobs are kept for ever (default), or until their batch is final on L1",
    )  # fmt: skip


def config_of(arguments: argparse.Namespace) -> Config:
    """The configuration of a command line. Raises `NodeError` 7363 .. 7365, 7750, 7771."""
    if (arguments.tls_certificate is None) != (arguments.tls_key is None):
        raise NodeError(HALF_TLS, "--tls-certificate and --tls-key go together: give both")
    if (arguments.l1 is None) != (arguments.deployment is None):
        raise NodeError(HALF_L1, "--l1 and --deployment go together: give both")
    check_settling(arguments)
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
        retention=read_retention(arguments),
        replay=arguments.replay,
        log_format=arguments.log_format,
        l1=arguments.l1,
        deployment=arguments.deployment,
        attester_key=arguments.attester_key,
        committer_key=arguments.committer_key,
        batching=Batching(
            arguments.batch_blobs, arguments.batch_deadline, arguments.backlog_blobs
        ),
        caps=Caps(
            GWEI * arguments.fee_cap,
            GWEI * arguments.blob_fee_cap,
            MILLIETHER * arguments.fee_total_cap,
        ),
        blob_archive=arguments.blob_archive,
    )


def check_settling(arguments: argparse.Namespace) -> None:
    """Raises `NodeError` 7771."""
    attester, committer = arguments.attester_key, arguments.committer_key
    if attester is not None and arguments.l1 is None:
        text = "--attester-key signs what L1 will believe: give --l1 and --deployment too"
        raise NodeError(COMMITTER_SETTING, text)
    if committer is not None and (attester is None or arguments.role != LEADER):
        text = "--committer-key is for a leader that is a member of the committee"
        raise NodeError(COMMITTER_SETTING, f"{text}: give --role leader and --attester-key too")
    if arguments.blob_archive == FINAL and committer is None:
        text = "--blob-archive is about the blobs of batches that this node posts"
        raise NodeError(COMMITTER_SETTING, f"{text}: give --committer-key too, or leave it out")
    if min(arguments.fee_cap, arguments.blob_fee_cap, arguments.fee_total_cap) < 1:
        text = "fee caps are at least 1: gwei, and thousandths of an ether in all"
        raise NodeError(COMMITTER_SETTING, text)


def read_retention(arguments: argparse.Namespace) -> Retention:
    """Raises `NodeError` 7365."""
    every, kept = arguments.snapshot_every, arguments.snapshots_kept
    if every is None:
        every = 0 if arguments.role == LEADER else EVERY_BLOCKS
    if every < 0 or not 1 <= kept <= SNAPSHOTS_KEPT_MAX:
        text = f"--snapshot-every {every} --snapshots-kept {kept}: give 0 or more blocks"
        raise NodeError(BAD_RETENTION, f"{text}, and 1 to {SNAPSHOTS_KEPT_MAX} snapshots")
    if arguments.prune and not every:
        text = "--prune keeps the blocks above the oldest snapshot"
        raise NodeError(BAD_RETENTION, f"{text}: give --snapshot-every too")
    return Retention(every, kept, arguments.prune)


def read_address(option: str, text: str) -> Address:
    """`HOST:PORT`; the host of IPv6 in brackets. Raises `NodeError` 7363."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535 or not host:
        raise NodeError(BAD_ADDRESS, f"{option} {text}: give HOST:PORT, the port up to 65535")
    return Address(host.strip("[]"), int(port))
