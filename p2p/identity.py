"""The key that a node is known by.

What lives here: an ed25519 key pair in a file of mode 0600, in libp2p's own encoding. What must
never live here: any other key of the node; this one signs gossip and nothing else, so losing it
costs a name, not funds or votes.
"""

import os
import stat
from pathlib import Path
from typing import Final

from libp2p.crypto.ed25519 import Ed25519PrivateKey, create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.identity_utils import load_identity
from libp2p.peer.id import ID

from .exceptions import NetworkMisuse

IDENTITY_UNUSABLE: Final = 7603
IDENTITY_EXPOSED: Final = 7604


def peer_of(keys: KeyPair) -> str:
    """The peer id of a key pair, as text."""
    return str(ID.from_pubkey(keys.public_key))


def load_or_create_identity(path: Path) -> KeyPair:
    """The key pair in `path`; a new one is made there when there is none. Errors: 7603, 7604."""
    if not path.exists():
        return create_identity(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        text = f"others may read {path}: chmod 600 it, or delete it to get a new peer id"
        raise NetworkMisuse(IDENTITY_EXPOSED, text, path=str(path))
    try:
        keys = load_identity(path)
    except ValueError as fault:
        text = f"{path} holds no libp2p key: restore it, or delete it to get a new peer id"
        raise NetworkMisuse(IDENTITY_UNUSABLE, text, path=str(path)) from fault
    if not isinstance(keys.private_key, Ed25519PrivateKey):
        text = f"{path} holds a key that is not ed25519: delete it to get a new peer id"
        raise NetworkMisuse(IDENTITY_UNUSABLE, text, path=str(path))
    return keys


def create_identity(path: Path) -> KeyPair:
    """A new key pair, on the disk before it is used. The file must not exist."""
    keys = create_new_key_pair()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(keys.private_key.serialize())
        file.flush()
        os.fsync(file.fileno())
    return keys
