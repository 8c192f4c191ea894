"""The chain of `rialto dev`: one validator, funded accounts whose keys all have, time from now.

What lives here: the genesis that it makes, its keys, and what it finds again in a directory. What
must never live here: a way to any other genesis. Its accounts' keys are published, so a node that
runs it must not be able to run another chain, and a directory that holds anything else is refused.

    <dir>/genesis.json    made at the first start; is what this module makes of its time, its key,
                          and the contract of its L1, if it has one (`dev_l1.py`)
    <dir>/validator.json  the one validator's key
    <dir>/promiser.key    signs the promises
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from consensus.genesis import Genesis, parse
from node.exceptions import NodeError
from node.key_files import (
    ValidatorFile,
    make_validator,
    new_promiser,
    new_validator,
    read_or_make_promiser,
    read_validator,
)
from node.wallet.dev_accounts import dev_accounts

NOT_DEV: Final = 7870
CHANGED: Final = 7871

NAME: Final = "dev"
GENESIS_NAME: Final = "genesis.json"
ACCOUNTS: Final = 10
FUNDS: Final = (("USD", 10**13), ("BTC", 10**10), ("ETH", 10**12), ("SOL", 10**13))
"""Atoms for each account: 10,000,000 USD, 100 BTC, 1,000 ETH, 10,000 SOL."""
NO_CONTRACT: Final = bytes(20)
DRIFT_MAX_MS: Final = 600_000
"""How far blocks may be ahead of the last final L1 block: a laptop may sleep."""
TEMPLATE: Final = Path(__file__).parents[1] / "genesis" / "devnet.json"


@dataclass(frozen=True)
class DevChain:
    """A genesis and the secrets of its only validator."""

    genesis: Genesis
    validator: ValidatorFile
    promiser: bytes
    data: bytes  # of the genesis file


def new_dev_chain(now_ms: int, contract: bytes = NO_CONTRACT) -> DevChain:
    """A chain that nobody keeps."""
    validator = new_validator()
    data = genesis_bytes(now_ms, validator, contract)
    return DevChain(parse(data), validator, new_promiser(), data)


def open_dev_chain(directory: Path, now_ms: int, contract: bytes = NO_CONTRACT) -> DevChain:
    """The chain kept in the directory, made if that is new; with the contract if it is made.

    Raises `NodeError` 7870, 7871.
    """
    path = directory / GENESIS_NAME
    if not path.exists():
        if directory.exists() and any(directory.iterdir()):
            text = f"{directory} is not empty and holds no dev chain"
            raise NodeError(NOT_DEV, f"{text}; name a new directory, or run `rialto node` on it")
        validator = make_validator(directory / "validator.json")
        path.write_bytes(genesis_bytes(now_ms, validator, contract))
    data = path.read_bytes()
    genesis = parse(data)
    validator = read_validator(directory / "validator.json")
    if data != genesis_bytes(genesis.time, validator, genesis.contract):
        text = f"{path} is not the genesis of this version's dev chain and of this validator"
        raise NodeError(CHANGED, f"{text}; `rialto dev` runs no other: name a new directory")
    return DevChain(genesis, validator, read_or_make_promiser(directory / "promiser.key"), data)


def genesis_bytes(
    time_ms: int, validator: ValidatorFile, contract: bytes = NO_CONTRACT
) -> bytes:
    """The genesis file: the devnet's markets, one validator, the accounts of the test phrase.

    With a contract their funds come from L1, as deposits.
    """
    value: dict[str, Any] = json.loads(TEMPLATE.read_bytes())
    value["name"] = NAME
    value["time"] = time_ms
    value["validators"] = [
        {"key": "0x" + validator.key.hex(), "proof": "0x" + validator.proof.hex()}
    ]
    if any(contract):
        value["contract"] = "0x" + contract.hex()
        value["drift_max_ms"] = DRIFT_MAX_MS
        value["deposits"] = []
        return (json.dumps(value, indent=2) + "\n").encode()
    value["deposits"] = [
        {"owner": "0x" + account.address.hex(), "asset": symbol, "amount": amount}
        for account in dev_accounts(ACCOUNTS)
        for symbol, amount in FUNDS
    ]
    return (json.dumps(value, indent=2) + "\n").encode()
