"""The one place for keys, values and versions of the database.

What lives here: the prefix of every kind of key, how keys are built, the identity of a database.
What must never live here: a read or write of anything but the identity. docs/protocol/storage.md
has the same table for a person.

Keys are one prefix byte and fixed-width big-endian numbers, so that the order of keys is the order
of heights and leaves.
"""

from typing import Final, NamedTuple

from consensus import codec
from consensus.exceptions import InvalidEncoding
from storage.database import Database
from storage.exceptions import StorageDamaged, StorageRefused

SCHEMA_VERSION: Final = 2
MIGRATED: Final = (1,)
"""Schemas that `storage.migration` brings to this one."""

BATCH_BLOB: Final = b"A"  # batch number, versioned hash -> nothing: what the blob was made for
BLOCK: Final = b"B"  # height -> block hash, block bytes
CERTIFICATE: Final = b"C"  # height -> certificate
EVENTS: Final = b"E"  # height -> events
HEIGHT: Final = b"H"  # block hash -> height
L1_ITEM: Final = b"I"  # index -> RLP: L1 number, L1 time, queue hash, rows
LEAF: Final = b"L"  # leaf number (4 bytes) -> 256 bytes; absent: zeros
META: Final = b"M"  # name -> value, below
COMMAND: Final = b"N"  # account (8), key (1), nonce without its last byte (7), height -> places
OUTBOX: Final = b"O"  # sender (20), nonce (8) -> RLP: an intent and its attempts
L1_BATCH: Final = b"P"  # number -> RLP: L1 numbers of commit and finalize, the summary
SEQUENCE: Final = b"Q"  # last operation of a block that has any -> height
OUTBOX_RAW: Final = b"R"  # sender, nonce -> the newest attempt's bytes, blobs included
SEAL: Final = b"S"  # height -> the proposer's seal
WITHDRAWAL: Final = b"W"  # index of a withdrawal -> height, its event; never pruned

IDENTITY: Final = META + b"identity"  # RLP: schema version, chain id, genesis hash
FOUNDATION: Final = META + b"foundation"  # header below the lowest block kept, RLP
HEAD: Final = META + b"head"  # height, block hash
L1_TIP: Final = META + b"l1"  # RLP: contract, L1 block (number, hash, time), the contract's figures
STATE: Final = META + b"state"  # RLP: height, state root, (region id, leaves)*

FOREIGN_SCHEMA: Final = 7512
FOREIGN_CHAIN: Final = 7513
FOREIGN_GENESIS: Final = 7514
BAD_VALUE: Final = 7515

HEIGHT_BYTES: Final = 8
LEAF_NUMBER_BYTES: Final = 4
NONCES_MASK: Final = 255
_IDENTITY_BYTES_MAX: Final = 64


class Identity(NamedTuple):
    """Which chain a directory belongs to. `genesis_hash` is 32 bytes."""

    chain_id: int
    genesis_hash: bytes


def number(value: int, size: int = HEIGHT_BYTES) -> bytes:
    return value.to_bytes(size, "big")


def at_height(prefix: bytes, height: int) -> bytes:
    return prefix + number(height)


def leaf_key(leaf: int) -> bytes:
    return LEAF + number(leaf, LEAF_NUMBER_BYTES)


def nonces_key(account: int, key: int, nonce: int) -> bytes:
    """The start of the keys of all groups whose nonce was this but for its last byte; the height
    follows."""
    return COMMAND + number(account) + number(key, 1) + number(nonce)[:-1]


def bad_value(what: str) -> StorageDamaged:
    text = f"{what} in the database cannot be read; restore a backup or synchronise anew"
    return StorageDamaged(BAD_VALUE, text)


def claim(database: Database, identity: Identity) -> None:
    """Make an empty database this chain's, or check that it is; migrate it then.

    Raises `StorageRefused` 7512, 7513 or 7514; nothing is changed then.
    """
    found = read_identity(database)
    if found is None:
        database.write([identity_entry(identity)], sync=True)
        return
    version, kept = found
    if version not in (SCHEMA_VERSION, *MIGRATED):
        text = f"the database has schema {version}, this version reads {SCHEMA_VERSION}"
        raise StorageRefused(FOREIGN_SCHEMA, f"{text}; use the version that wrote it")
    if kept.chain_id != identity.chain_id:
        text = f"the database is of chain {kept.chain_id}, not {identity.chain_id}"
        raise StorageRefused(FOREIGN_CHAIN, f"{text}; give each chain its own directory")
    if kept.genesis_hash != identity.genesis_hash:
        text = f"the database grew from genesis {kept.genesis_hash.hex()}"
        raise StorageRefused(FOREIGN_GENESIS, f"{text}; use that genesis file, or a new directory")


def identity_entry(identity: Identity) -> tuple[bytes, bytes]:
    """Key and value that make a database this chain's, in this schema."""
    return IDENTITY, codec.encode((SCHEMA_VERSION, identity.chain_id, identity.genesis_hash))


def read_identity(database: Database) -> tuple[int, Identity] | None:
    """Schema version and identity, None if the database is empty; `StorageDamaged` 7515."""
    data = database.get(IDENTITY)
    if data is None:
        if next(iter(database.scan(b"", b"\xff")), None) is not None:
            raise bad_value("the identity")
        return None
    try:
        item = codec.decode(data, limit_bytes=_IDENTITY_BYTES_MAX)
        version, chain_id, genesis_hash = codec.read_record(item, 3)
        identity = Identity(codec.read_uint(chain_id, 64), codec.read_bytes(genesis_hash, 32))
        return codec.read_uint(version, 32), identity
    except InvalidEncoding as error:
        raise bad_value("the identity") from error
