"""`rialto derive`: a chain's every root from its genesis file, L1 and posted blobs alone.

No node is asked. What is printed at the end has been computed here and is what the contract on L1
holds; the first difference ends the run with exit code 2, its batch and its height.
"""

import argparse
from pathlib import Path
from time import perf_counter
from typing import Final

import trio

from consensus.block import Header
from consensus.da import kzg
from consensus.genesis import parse
from node.commands import add_json_argument, print_report
from node.flow.wallets import Signatures
from node.l1 import trusted_setup
from node.l1.archive import Archive, BlobFolder, BlobSource
from node.l1.beacon import BeaconBlobs
from node.l1.client import FINALIZED, LATEST, SAFE
from node.l1.deployment import read_deployment
from node.l1.derive import Blobs, Derivation
from node.l1.history import History
from node.l1.http import HttpL1
from node.l1.withdrawn import write_withdrawals
from node.progress import progress
from node.state_file import facts_of, write_snapshot, write_whole
from storage.files import DirectoryFiles

URL: Final = "http://127.0.0.1:8645"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--l1", default=URL, metavar="URL", help="an execution client")
    parser.add_argument("--genesis", type=Path, required=True, metavar="FILE")
    parser.add_argument("--deployment", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--blobs", action="append", default=[], metavar="DIR|URL",
        help="an archive's folder or a beacon node, asked in this order; repeatable",
    )  # fmt: skip
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep found blobs here")
    parser.add_argument(
        "--until", choices=(LATEST, SAFE, FINALIZED), default=LATEST, help="L1 block to read up to"
    )
    parser.add_argument(
        "--final", action="store_true", help="only batches that the contract has finalized"
    )
    parser.add_argument(
        "--roots", type=Path, metavar="FILE", help="write height, hash and state root of each block"
    )
    parser.add_argument("--state", type=Path, metavar="FILE", help="write the last state there")
    parser.add_argument(
        "--withdrawals", type=Path, metavar="FILE",
        help="write every withdrawal there: `rialto l1 withdraw` takes it in a node's place",
    )  # fmt: skip
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    report = trio.run(_derive, arguments)
    print_report(report, as_json=arguments.json)
    return 0


async def _derive(arguments: argparse.Namespace) -> dict[str, object]:
    genesis = parse(arguments.genesis.read_bytes())
    deployment = read_deployment(arguments.deployment)
    l1 = HttpL1(arguments.l1)
    sources = [_source(one, l1) for one in arguments.blobs]
    setup = trusted_setup.load()
    files = DirectoryFiles(arguments.keep) if arguments.keep else None
    archive = Archive(files) if files else None
    blobs = Blobs(sources, lambda blob: kzg.commit(blob, setup), archive)
    began = perf_counter()
    roots: list[str] = []
    try:
        with Signatures() as signatures:
            derivation = Derivation(l1, genesis, deployment, blobs, signatures.recover)
            posted = await derivation.read(arguments.until)
            batches = posted.final if arguments.final else len(posted.batches)
            last = posted.batches[batches - 1].last_height if batches else 0
            with progress(last, "blocks", quiet=arguments.json) as advance:

                def kept(header: Header, hashed: bytes) -> None:
                    roots.append(f"{header.height} {hashed.hex()} {header.state_root.hex()}\n")
                    advance(1)

                await derivation.run(posted, batches, kept)
    finally:
        await l1.close()
        for source in sources:
            if isinstance(source, BeaconBlobs):
                await source.close()
        if files is not None:
            files.close()
    spent = perf_counter() - began
    if arguments.roots:
        write_whole(arguments.roots, [line.encode() for line in roots])
    if arguments.withdrawals:
        write_withdrawals(derivation.withdrawn, arguments.withdrawals)
    if arguments.state:
        _write_state(derivation, arguments.state)
    return _report(derivation, posted, spent)


def _source(text: str, l1: HttpL1) -> BlobSource:
    return BeaconBlobs(text, l1) if "://" in text else BlobFolder(Path(text))


def _write_state(derivation: Derivation, path: Path) -> None:
    state = derivation.state
    facts = facts_of(state.memory, state.head.height, state.chain.genesis_hash, state.head_hash)
    write_snapshot(state.memory, facts, path)


def _report(derivation: Derivation, posted: History, spent: float) -> dict[str, object]:
    state, sizes = derivation.state, derivation.sizes
    commands = max(1, sizes.commands)
    return {
        "height": state.head.height,
        "block_hash": state.head_hash.hex(),
        "state_root": state.head.state_root.hex(),
        "l1_block": posted.tip.number,
        "batches": sizes.batches,
        "batches_final": min(posted.final, sizes.batches),
        "commands": sizes.commands,
        "blobs": sizes.blobs,
        "bytes_per_command": round(sizes.bare / commands, 2),
        "bytes_per_command_signed": round(sizes.carried / commands, 2),
        "gas": sizes.gas,
        "blob_gas": sizes.blob_gas,
        "gas_per_command": round(sizes.gas / commands, 2),
        "derive_s": round(spent, 3),
    }
