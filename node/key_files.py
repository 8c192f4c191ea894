"""Secrets of a node in files that only its user can read.

What lives here: the files that are neither a wallet's nor the network's: a validator's BLS
secret and the secret that signs promises. What must never live here: what is signed with them.

    validator.json   {"kind": "rialto-validator", "version": 1, "secret": hex 32,
                      "key": hex 48, "proof": hex 96}       key and proof go into the genesis file
    promiser.key     hex 32, made at the leader's first start; the validator appoints its address
    L1 keys          hex 32: an attester's, whose address is in the contract's committee, and a
                     committer's, whose account pays for batches

They are not encrypted: a validator must be able to restart alone. Whoever wants more keeps the
validator's secret in a remote signer (`--remote-signer`) and the file without it.
"""

import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.finality import bls
from consensus.signatures import ORDER
from node.exceptions import NodeError

KEY_EXPOSED: Final = 7360
KEY_UNUSABLE: Final = 7361
KEY_EXISTS: Final = 7362
KIND: Final = "rialto-validator"


@dataclass(frozen=True)
class ValidatorFile:
    """`secret` None: a remote signer has it."""

    key: bytes
    proof: bytes
    secret: bytes | None


def new_validator() -> ValidatorFile:
    """A new validator key, kept nowhere."""
    secret = (1 + secrets.randbelow(bls.ORDER - 1)).to_bytes(32, "big")
    return ValidatorFile(bls.public_key_of(secret), bls.prove_possession(secret), secret)


def make_validator(path: Path) -> ValidatorFile:
    """A new validator key in a new file. Raises `NodeError` 7362."""
    made = new_validator()
    write_validator(path, made)
    return made


def write_validator(path: Path, validator: ValidatorFile) -> None:
    """Into a new file; without its secret, that of a node whose remote signer has it."""
    value: dict[str, object] = {"kind": KIND, "version": 1}
    if validator.secret is not None:
        value["secret"] = validator.secret.hex()
    value |= {"key": validator.key.hex(), "proof": validator.proof.hex()}
    write_secret(path, json.dumps(value, indent=1) + "\n")


def read_validator(path: Path) -> ValidatorFile:
    """Raises `NodeError` 7360 or 7361."""
    text = read_secret(path)
    try:
        value = json.loads(text)
        if (value["kind"], value["version"]) != (KIND, 1):
            raise ValueError("another kind or version of file")
        key, proof = bytes.fromhex(value["key"]), bytes.fromhex(value["proof"])
        secret = bytes.fromhex(value["secret"]) if value.get("secret") else None
        if secret is not None and bls.public_key_of(secret) != key:
            raise ValueError("the key is not that of the secret")
    except (ValueError, KeyError, TypeError) as error:
        raise _unusable(path, str(error)) from error
    return ValidatorFile(key, proof, secret)


def new_promiser() -> bytes:
    """A new secp256k1 secret, kept nowhere."""
    return (1 + secrets.randbelow(ORDER - 1)).to_bytes(32, "big")


def read_or_make_promiser(path: Path) -> bytes:
    """The secp256k1 secret in the file, made if there is none. Raises `NodeError` 7360, 7361."""
    return read_l1_key(path) if path.exists() else make_l1_key(path)


def make_l1_key(path: Path) -> bytes:
    """A new secp256k1 secret in a new file: an attester's or a committer's. `NodeError` 7362."""
    secret = new_promiser()
    write_secret(path, secret.hex() + "\n")
    return secret


def read_l1_key(path: Path) -> bytes:
    """The secp256k1 secret in the file. Raises `NodeError` 7360, 7361."""
    try:
        secret = bytes.fromhex(read_secret(path).strip().removeprefix("0x"))
    except ValueError as error:
        raise _unusable(path, str(error)) from error
    if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < ORDER:
        raise _unusable(path, "it is not a secret of 32 bytes in hexadecimal")
    return secret


def read_secret(path: Path) -> str:
    """A file that nobody else may read. Raises `NodeError` 7360."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise NodeError(KEY_EXPOSED, f"others may read {path}: chmod 600 it", path=str(path))
    return path.read_text("ascii")


def write_secret(path: Path, text: str) -> None:
    """A new file, mode 0600, on the disk when this returns. Raises `NodeError` 7362."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        text = f"{path} exists; move it away, a key is never replaced"
        raise NodeError(KEY_EXISTS, text) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _unusable(path: Path, why: str) -> NodeError:
    text = f"{path} cannot be used ({why}); restore it, or make a new key"
    return NodeError(KEY_UNUSABLE, text, path=str(path))
