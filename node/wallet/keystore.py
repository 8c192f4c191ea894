"""Keys at rest: one encrypted file for each wallet, in the format that Ethereum's tools read.

What lives here: names, files, passwords against files. What must never live here: asking a person,
or a decrypted key for longer than its caller holds it.

    <keystore>/<name>.json    Web3 Secret Storage, version 3 (scrypt, AES-128-CTR, Keccak MAC), 0600

Theory. A file may come from somewhere else, and the cost of opening one is written in it. So what
its key derivation may cost is bounded before it is begun: a gibibyte, or ten million rounds.
"""

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from eth_keyfile.exceptions import EthKeyfileValueError
from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json

from consensus.exceptions import InvalidSignature
from consensus.signatures import address_of, public_key_of
from node.exceptions import NodeError
from node.key_files import read_secret, write_secret

NO_WALLET: Final = 7840
WALLET_NAME: Final = 7841
WRONG_PASSWORD: Final = 7842
KEYSTORE_UNUSABLE: Final = 7843

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
FILE_BYTES_MAX: Final = 16 << 10
SCRYPT_BYTES_MAX: Final = 1 << 30
PBKDF2_ROUNDS_MAX: Final = 10_000_000


class Wallet(NamedTuple):
    """A wallet by name; its address stands in the file unencrypted."""

    name: str
    address: bytes


class Keystore:
    """The wallets in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory: Final = directory

    def path(self, name: str) -> Path:
        """The file of a wallet. Raises `NodeError` 7841."""
        if not NAME.fullmatch(name) or name.endswith(".json"):
            text = f"{name[:80]!r} cannot be a wallet's name: up to 64 letters, digits, - _ ."
            raise NodeError(WALLET_NAME, text)
        return self.directory / f"{name}.json"

    def wallets(self) -> list[Wallet]:
        """All of them, by name. Raises `NodeError` 7843 for a file that is no wallet."""
        paths = sorted(self.directory.glob("*.json"))
        return [Wallet(path.stem, _address_in(path, _read(path))) for path in paths]

    def add(self, name: str, secret: bytes, password: str) -> Wallet:
        """Encrypt a secret into a new file. Raises `NodeError` 7362, 7841."""
        path = self.path(name)
        made = create_keyfile_json(secret, password.encode(), kdf="scrypt")
        write_secret(path, json.dumps(made, indent=1) + "\n")
        return Wallet(name, address_of(public_key_of(secret)))

    def unlock(self, name: str, password: str) -> bytes:
        """The secret. Raises `NodeError` 7360, 7840 .. 7843."""
        path = self.path(name)
        if not path.exists():
            known = ", ".join(one.stem for one in sorted(self.directory.glob("*.json"))) or "none"
            text = f"no wallet {name} in {self.directory}; there are: {known}"
            raise NodeError(NO_WALLET, text)
        return decrypt(path, password)


def decrypt(path: Path, password: str) -> bytes:
    """The secret in a version 3 file. Raises `NodeError` 7360, 7842, 7843."""
    value = _read(path)
    _check_cost(path, value)
    try:
        secret = decode_keyfile_json(value, password.encode())
        address = address_of(public_key_of(secret))
    except EthKeyfileValueError as error:
        text = f"the password does not open {path}"
        raise NodeError(WRONG_PASSWORD, f"{text}; give the one that it was made with") from error
    except (KeyError, TypeError, ValueError, InvalidSignature) as error:
        raise _unusable(path, str(error)) from error
    if address != _address_in(path, value):
        raise _unusable(path, "its address is not that of its key")
    return secret


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise _unusable(path, f"it has more than {FILE_BYTES_MAX} bytes")
    try:
        value = json.loads(read_secret(path))
        if value["version"] != 3 or not isinstance(value["crypto"], dict):
            raise ValueError("its version is not 3")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _unusable(path, f"not Web3 Secret Storage: {error}") from error
    found: dict[str, Any] = value
    return found


def _address_in(path: Path, value: dict[str, Any]) -> bytes:
    try:
        address = bytes.fromhex(str(value["address"]).removeprefix("0x"))
    except (KeyError, ValueError) as error:
        raise _unusable(path, "it names no address") from error
    return address


def _check_cost(path: Path, value: dict[str, Any]) -> None:
    parameters = value["crypto"].get("kdfparams")
    try:
        n, r, p = (int(parameters.get(name, 1)) for name in ("n", "r", "p"))
        rounds = int(parameters.get("c", 1))
    except (AttributeError, TypeError, ValueError) as error:
        raise _unusable(path, "its key derivation has no parameters") from error
    if not (0 < 128 * n * r * p <= SCRYPT_BYTES_MAX and 0 < rounds <= PBKDF2_ROUNDS_MAX):
        raise _unusable(path, "its key derivation costs more than is allowed")


def _unusable(path: Path, why: str) -> NodeError:
    text = f"{path} cannot be used ({why}); restore it from a copy"
    return NodeError(KEYSTORE_UNUSABLE, text, path=str(path))
