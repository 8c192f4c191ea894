"""The genesis of a simulated chain: small, with funded wallets and validators.

What lives here: values. What must never live here: a node.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from consensus.finality import bls
from consensus.genesis import Genesis, parse
from node.simulation.wallets import Wallet, secret

FUNDS: Final = 1 << 50
"""Quote atoms and lots of each wallet."""
MINIMAL: Final = Path(__file__).resolve().parents[2] / "genesis" / "minimal.json"


def validator(number: int) -> dict[str, str]:
    key = secret(f"validator {number}")
    return {
        "key": "0x" + bls.public_key_of(key).hex(),
        "proof": "0x" + bls.prove_possession(key).hex(),
    }


def fleet_genesis(
    validators: int,
    wallets: int = 4,
    drift_max_ms: int = 0,
    block_interval_ms: int = 250,
    **parameters: int,
) -> Genesis:
    """Funded wallets and `validators` keys; `parameters` replace those of the minimal chain."""
    changes: dict[str, object] = {
        "block_interval_ms": block_interval_ms,
        "drift_max_ms": drift_max_ms,
        "contract": "0x" + bytes([7 if drift_max_ms else 0] * 20).hex(),
    }
    return parse(genesis_file(validators, wallets, parameters, **changes))


def genesis_file(
    validators: int, wallets: int, parameters: Mapping[str, int], **changes: object
) -> bytes:
    """The file of such a chain; `changes` are members of it."""
    value = json.loads(MINIMAL.read_text())
    value["parameters"] |= parameters
    value["validators"] = [validator(number) for number in range(validators)]
    value["deposits"] = [
        {"owner": "0x" + Wallet(number).owner.hex(), "asset": symbol, "amount": FUNDS}
        for number in range(wallets)
        for symbol in ("USD", "BTC")
    ]
    return json.dumps(value | changes).encode()
