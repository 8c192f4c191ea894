"""What a key signs: EIP-712 for owners' wallets, packed rows for session keys.

What lives here: the EIP-712 engine, Rialto's two struct types, the digests, and the JSON a wallet
is handed. What must never live here: how a command row becomes words (`commands` renders it), who
signed (`signatures`), or whether a command is allowed.

Theory. An owner's wallet shows `Commands` to a person. Each `Operation` carries words (action,
market, side, price, quantity, terms) *and* the 64-byte command row they were rendered from, split
into two `bytes32`. The node executes only the row, and renders the words from it again before
hashing, so words that differ from the row give another digest, another address and a refusal: what
was shown is what is executed. Words are printable ASCII, because a wallet's screen obeys direction
marks and control characters.

Session keys act for programs, that show nothing to anybody: they sign the SHA-256 of the rows in
a fixed layout, which costs 1 us where the words of one operation cost 17 to 32. Both forms name
the chain by its genesis hash; a session digest also names the grant epoch, so that revoking a key
and granting it again revives nothing.

The engine (`hash_struct`) works from type definitions and is the reference; `digest` is the same
function with the layout written out. It knows uintN, intN, address, bool, bytes32, string, bytes,
T[] and structs. Definitions are constants of ours, so values are guarded and definitions are not;
recursive types do not occur.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from consensus.exceptions import InvalidSignature
from consensus.keccak import keccak256

Types: TypeAlias = Mapping[str, tuple[tuple[str, str], ...]]
"""Struct name -> its members as (type, name), in order."""

UNKNOWN_TYPE: Final = 2101
VALUE_KIND: Final = 2102
VALUE_RANGE: Final = 2103
VALUE_LENGTH: Final = 2104
MEMBERS: Final = 2105
TEXT: Final = 2106
OPERATION_COUNT: Final = 2107
CHAIN_ID: Final = 2108
SESSION_FIELD: Final = 2109

TEXT_BYTES_MAX: Final = 256
OPERATIONS_MAX: Final = 64
"""Operations under one signature."""
ROW_BYTES: Final = 64
HASH_BYTES: Final = 32
ADDRESS_BYTES: Final = 20
CHAIN_ID_MAX: Final = (1 << 53) - 1
"""Wallets compare the chain id as a JavaScript number."""

INTEGER_TYPES: Final = {
    f"{stem}{bits}": (stem, bits) for stem in ("uint", "int") for bits in range(8, 257, 8)
}

DOMAIN_NAME: Final = "Rialto"
DOMAIN_VERSION: Final = "1"
SESSION_TAG: Final = b"rialto/session/1"

DOMAIN_TYPES: Final[Types] = {
    "EIP712Domain": (
        ("string", "name"),
        ("string", "version"),
        ("uint256", "chainId"),
        ("address", "verifyingContract"),
        ("bytes32", "salt"),
    )
}
COMMAND_TYPES: Final[Types] = {
    "Commands": (
        ("address", "owner"),
        ("uint64", "nonce"),
        ("uint64", "expires"),
        ("Operation[]", "operations"),
    ),
    "Operation": (
        ("string", "action"),
        ("string", "market"),
        ("string", "side"),
        ("uint64", "price"),
        ("uint64", "quantity"),
        ("string", "terms"),
        ("bytes32", "row1"),
        ("bytes32", "row2"),
    ),
}


class Domain(NamedTuple):
    """Where a signature counts: L1 chain id, settlement contract (20 bytes), genesis hash (32)."""

    chain_id: int
    contract: bytes
    genesis_hash: bytes


class Operation(NamedTuple):
    """One operation as shown (words; price in ticks, quantity in lots or atoms) and as run (row).

    `row` is the 64-byte packed command row; the words are its canonical rendering.
    """

    action: str
    market: str
    side: str
    price: int
    quantity: int
    terms: str
    row: bytes


def encode_type(primary: str, types: Types) -> str:
    """Return EIP-712 `encodeType`: the primary struct, then the structs it uses by name."""
    used: list[str] = []
    _collect(primary, types, used)
    return "".join(
        f"{name}({','.join(f'{kind} {member}' for kind, member in types[name])})"
        for name in [primary, *sorted(used[1:])]
    )


def _collect(kind: str, types: Types, used: list[str]) -> None:
    name = kind.partition("[")[0]
    if name in types and name not in used:
        used.append(name)
        for member_kind, _ in types[name]:
            _collect(member_kind, types, used)


def type_hash(primary: str, types: Types) -> bytes:
    """Return the 32-byte Keccak-256 of `encode_type`."""
    return keccak256(encode_type(primary, types).encode())


def hash_struct(primary: str, types: Types, value: object) -> bytes:
    """Return EIP-712 `hashStruct` of a mapping from member name to value, 32 bytes.

    Raises `InvalidSignature` 2101 .. 2105.
    """
    members = types[primary]
    if not isinstance(value, Mapping):
        raise _bad_kind(primary, value)
    if sorted(map(str, value)) != sorted(name for _, name in members):
        raise InvalidSignature(
            MEMBERS, f"give {primary} exactly the members of its type", struct=primary
        )
    parts = [type_hash(primary, types)]
    parts.extend(encode_value(kind, value[name], types) for kind, name in members)
    return keccak256(b"".join(parts))


def encode_value(kind: str, value: object, types: Types) -> bytes:
    """Return the 32 bytes that stand for `value` of type `kind` inside a struct (`encodeData`)."""
    if kind.endswith("[]"):
        if not isinstance(value, (list, tuple)):
            raise _bad_kind(kind, value)
        return keccak256(b"".join([encode_value(kind[:-2], item, types) for item in value]))
    if kind in types:
        return hash_struct(kind, types, value)
    if kind in ("bytes", "bytes32", "address"):
        if not isinstance(value, bytes):
            raise _bad_kind(kind, value)
        if kind == "bytes":
            return keccak256(value)
        _check_length(kind, value, ADDRESS_BYTES if kind == "address" else HASH_BYTES)
        return value.rjust(HASH_BYTES, b"\0")
    if kind == "string":
        if not isinstance(value, str):
            raise _bad_kind(kind, value)
        return keccak256(value.encode())
    if kind == "bool":
        if not isinstance(value, bool):
            raise _bad_kind(kind, value)
        return value.to_bytes(HASH_BYTES, "big")
    return _encode_integer(kind, value)


def _encode_integer(kind: str, value: object) -> bytes:
    stem, bits = INTEGER_TYPES.get(kind, ("", 0))
    if not stem:
        raise InvalidSignature(
            UNKNOWN_TYPE, f"{kind!r} is neither a type of this engine nor a struct", type=kind
        )
    if not isinstance(value, int) or isinstance(value, bool):
        raise _bad_kind(kind, value)
    signed = stem == "int"
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    if not low <= value < high:
        raise _out_of_range(kind)
    return value.to_bytes(HASH_BYTES, "big", signed=signed)


COMMANDS_HASH: Final = type_hash("Commands", COMMAND_TYPES)
OPERATION_HASH: Final = type_hash("Operation", COMMAND_TYPES)


def domain_separator(domain: Domain) -> bytes:
    """Return the 32-byte EIP-712 domain separator, or raise `CHAIN_ID` or `VALUE_LENGTH`."""
    if not 1 <= domain.chain_id <= CHAIN_ID_MAX:
        raise InvalidSignature(
            CHAIN_ID, f"the chain id must be 1 .. {CHAIN_ID_MAX}", chain_id=domain.chain_id
        )
    message = {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": domain.chain_id,
        "verifyingContract": domain.contract,
        "salt": domain.genesis_hash,
    }
    return hash_struct("EIP712Domain", DOMAIN_TYPES, message)


def digest(
    separator: bytes, owner: bytes, nonce: int, expires_ms: int, operations: Sequence[Operation]
) -> bytes:
    """Return the 32 bytes an owner's wallet signs for one group of 1 .. 64 operations.

    `separator` is `domain_separator`'s, `owner` an address, `expires_ms` Unix milliseconds. Raises
    `InvalidSignature` 2103 .. 2107.
    """
    _check_length("separator", separator, HASH_BYTES)
    _check_length("owner", owner, ADDRESS_BYTES)
    _check_count(len(operations))
    rows = b"".join([_hash_operation(operation) for operation in operations])
    commands = keccak256(
        COMMANDS_HASH
        + owner.rjust(HASH_BYTES, b"\0")
        + _uint64_word("nonce", nonce)
        + _uint64_word("expires", expires_ms)
        + keccak256(rows)
    )
    return keccak256(b"\x19\x01" + separator + commands)


def _hash_operation(operation: Operation) -> bytes:
    _check_length("row", operation.row, ROW_BYTES)
    return keccak256(
        OPERATION_HASH
        + _hash_text(operation.action)
        + _hash_text(operation.market)
        + _hash_text(operation.side)
        + _uint64_word("price", operation.price)
        + _uint64_word("quantity", operation.quantity)
        + _hash_text(operation.terms)
        + operation.row
    )


@lru_cache(maxsize=4096)
def _hash_text(text: str) -> bytes:
    """Return the hash of a shown string. Remembered: actions, markets and sides are few."""
    if len(text) > TEXT_BYTES_MAX or not (text.isascii() and text.isprintable()):
        raise InvalidSignature(
            TEXT, f"text in an operation is printable ASCII of at most {TEXT_BYTES_MAX} characters"
        )
    return keccak256(text.encode())


def _uint64_word(name: str, value: int) -> bytes:
    if not 0 <= value < 1 << 64:
        raise _out_of_range(name)
    return value.to_bytes(HASH_BYTES, "big")


def as_json(
    domain: Domain, owner: bytes, nonce: int, expires_ms: int, operations: Sequence[Operation]
) -> dict[str, object]:
    """Return the `eth_signTypedData_v4` object whose signature `digest` is checked against.

    64-bit integers are decimal strings (JavaScript numbers end at 2^53), bytes are 0x and lower
    case. Raises what `domain_separator` and `digest` raise.
    """
    digest(domain_separator(domain), owner, nonce, expires_ms, operations)
    types = {**DOMAIN_TYPES, **COMMAND_TYPES}
    return {
        "types": {
            struct: [{"name": name, "type": kind} for kind, name in members]
            for struct, members in types.items()
        },
        "primaryType": "Commands",
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": _hex(domain.contract),
            "salt": _hex(domain.genesis_hash),
        },
        "message": {
            "owner": _hex(owner),
            "nonce": str(nonce),
            "expires": str(expires_ms),
            "operations": [_operation_json(operation) for operation in operations],
        },
    }


def _operation_json(operation: Operation) -> dict[str, str]:
    return {
        "action": operation.action,
        "market": operation.market,
        "side": operation.side,
        "price": str(operation.price),
        "quantity": str(operation.quantity),
        "terms": operation.terms,
        "row1": _hex(operation.row[:HASH_BYTES]),
        "row2": _hex(operation.row[HASH_BYTES:]),
    }


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def session_digest(
    genesis_hash: bytes,
    account: int,
    key_slot: int,
    grant_epoch: int,
    nonce: int,
    expires_ms: int,
    ops: bytes,
) -> bytes:
    """Return the 32-byte SHA-256 a session key signs for the rows `ops` (64 bytes each, 1 .. 64).

        tag (16) || genesis_hash (32) || account u32 || key_slot u8 || grant_epoch u32
        || nonce u64 || expires_ms u64 || count u8 || ops           integers little-endian

    Every field has a fixed width and the count precedes the rows, so no two groups share bytes.
    Raises `InvalidSignature` 2104, 2107 or 2109.
    """
    _check_length("genesis_hash", genesis_hash, HASH_BYTES)
    if len(ops) % ROW_BYTES:
        raise _bad_length("ops", len(ops))
    count = len(ops) // ROW_BYTES
    _check_count(count)
    head = (
        _session_uint("account", account, 4)
        + _session_uint("key_slot", key_slot, 1)
        + _session_uint("grant_epoch", grant_epoch, 4)
        + _session_uint("nonce", nonce, 8)
        + _session_uint("expires_ms", expires_ms, 8)
        + bytes((count,))
    )
    return hashlib.sha256(SESSION_TAG + genesis_hash + head + ops).digest()


def _session_uint(name: str, value: int, width: int) -> bytes:
    if not 0 <= value < 1 << (8 * width):
        raise InvalidSignature(
            SESSION_FIELD, f"{name} must be at least 0 and fit into {width} bytes", field=name
        )
    return value.to_bytes(width, "little")


def _check_length(name: str, data: bytes, length: int) -> None:
    if len(data) != length:
        raise _bad_length(name, len(data))


def _check_count(count: int) -> None:
    if not 1 <= count <= OPERATIONS_MAX:
        raise InvalidSignature(
            OPERATION_COUNT,
            f"{count} operations under one signature; sign 1 .. {OPERATIONS_MAX}",
            count=count,
        )


def _bad_kind(kind: str, value: object) -> InvalidSignature:
    return InvalidSignature(
        VALUE_KIND, f"a {type(value).__name__} was given for a member of type {kind}", type=kind
    )


def _out_of_range(name: str) -> InvalidSignature:
    return InvalidSignature(VALUE_RANGE, f"{name} is outside the range of its type", member=name)


def _bad_length(name: str, length: int) -> InvalidSignature:
    return InvalidSignature(
        VALUE_LENGTH, f"{name} has {length} bytes or items, not what its type says", member=name
    )
