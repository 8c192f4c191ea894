"""A chain for a local network: fresh validator keys, funded wallets, born now.

What lives here: the genesis file and the key files. What must never live here: a process.

The market's terms are those of `genesis/replay.json`, whose units are the recorded flow's. The
wallets of the flow are funded, and so are the accounts of `genesis/devnet.json`, whose keys every
Ethereum tool knows (mnemonic "test test ... junk"): by the genesis file, or, where that names a
contract, by their deposits on L1. Nothing of it is worth anything.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Final

from consensus.genesis import Genesis, parse
from node.flow.replay import FUNDS, GENESIS
from node.flow.wallets import Wallet
from node.key_files import make_validator

NAME: Final = "devnet"
KNOWN: Final = "devnet.json"
GENESIS_FILE: Final = "genesis.json"
DRIFT_MAX_MS: Final = 600_000
"""How far blocks may be ahead of the last final L1 block; that of a busy machine comes late."""


def make_validators(folder: Path, count: int) -> list[Path]:
    """New key files `validator-N.json`, mode 0600."""
    files = [folder / f"validator-{number}.json" for number in range(count)]
    for file in files:
        make_validator(file)
    return files


def known_owners() -> list[str]:
    """The owners whom `genesis/devnet.json` funds."""
    value = json.loads(resources.files("genesis").joinpath(KNOWN).read_text("ascii"))
    return list(dict.fromkeys(deposit["owner"] for deposit in value["deposits"]))


def share_of(owners: int) -> int:
    """Atoms of each asset for each of so many owners."""
    return FUNDS // owners


def write_genesis(
    folder: Path,
    keys: list[Path],
    wallets: list[Wallet],
    now_ms: int,
    contract: bytes | None = None,
    chain_id: int | None = None,
) -> tuple[Path, Genesis]:
    """`folder/genesis.json`, and what it says; with a contract nobody has funds in it.

    `chain_id`: the L1's, if it is not that of our own.
    """
    value = json.loads(resources.files("genesis").joinpath(GENESIS).read_text("ascii"))
    value["name"] = NAME
    value["time"] = now_ms // 1000 * 1000
    value["chain_id"] = value["chain_id"] if chain_id is None else chain_id
    value["validators"] = [_public(file) for file in keys]
    if contract is None:
        symbols = [asset["symbol"] for asset in value["assets"]]
        owners = ["0x" + who.owner.hex() for who in wallets] + known_owners()
        value["deposits"] = [
            {"owner": owner, "asset": symbol, "amount": str(share_of(len(owners)))}
            for owner in owners
            for symbol in symbols
        ]
    else:
        value["contract"] = "0x" + contract.hex()
        value["drift_max_ms"] = DRIFT_MAX_MS
        value["deposits"] = []
    text = json.dumps(value, indent=1).encode("ascii") + b"\n"
    genesis = parse(text)
    path = folder / GENESIS_FILE
    path.write_bytes(text)
    return path, genesis


def _public(file: Path) -> dict[str, str]:
    value = json.loads(file.read_text("ascii"))
    return {"key": "0x" + value["key"], "proof": "0x" + value["proof"]}
