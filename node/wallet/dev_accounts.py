"""The accounts of the test mnemonic that development tools ship with. Everybody has their keys.

What lives here: the phrase and the path from it to secrets. What must never live here: a way to use
another phrase: words that a person owns need their checksum checked and a place to be kept.

BIP-39 makes 64 bytes of the phrase; BIP-32 makes keys of those, along BIP-44's path for Ethereum:
m / 44' / 60' / 0' / 0 / index. A step is HMAC-SHA512 under the chain code, its left half added to
the secret modulo the order of the curve.
"""

import hmac
from dataclasses import dataclass
from hashlib import pbkdf2_hmac
from typing import Final

from coincurve import PrivateKey

from consensus.signatures import ORDER, address_of, public_key_of

PHRASE: Final = "test test test test test test test test test test test junk"
HARDENED: Final = 1 << 31
PATH: Final = (44 | HARDENED, 60 | HARDENED, HARDENED, 0)
SEED_ROUNDS: Final = 2048


@dataclass(frozen=True, slots=True)
class DevAccount:
    """One key that is no secret."""

    secret: bytes
    address: bytes


def dev_accounts(count: int) -> list[DevAccount]:
    """The first accounts of the phrase, in order."""
    seed = pbkdf2_hmac("sha512", PHRASE.encode(), b"mnemonic", SEED_ROUNDS)
    node = hmac.digest(b"Bitcoin seed", seed, "sha512")
    for index in PATH:
        node = _child(node, index)
    secrets = [_child(node, index)[:32] for index in range(count)]
    return [DevAccount(secret, address_of(public_key_of(secret))) for secret in secrets]


def _child(node: bytes, index: int) -> bytes:
    """BIP-32's CKDpriv: 32 bytes of secret, 32 of chain code."""
    secret, code = node[:32], node[32:]
    if index & HARDENED:
        data = b"\0" + secret
    else:
        data = PrivateKey(secret).public_key.format(compressed=True)
    made = hmac.digest(code, data + index.to_bytes(4, "big"), "sha512")
    number = (int.from_bytes(made[:32], "big") + int.from_bytes(secret, "big")) % ORDER
    return number.to_bytes(32, "big") + made[32:]
