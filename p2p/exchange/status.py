"""Status: which chain a node is on, and how far it has come.

What lives here: the message and the comparison. What must never live here: whose fault it is.
The request is our status, the answer is the peer's, both in the same form:

    u8 version = 1 | u64 chain | u32 fork | 32 genesis hash | u64 height | 32 block hash
    | u64 certified height
"""

import struct
from typing import Final, NamedTuple

from ..network import Head
from .packed import PACKED_VERSION, Malformed, require, unpack

VERSION: Final = 1
FORM: Final = struct.Struct("<BQI32sQ32sQ")


class Chain(NamedTuple):
    """What two nodes must share."""

    chain: int
    fork: int
    genesis_hash: bytes  # 32 bytes


class Status(NamedTuple):
    chain: Chain
    head: Head


def encode_status(status: Status) -> bytes:
    head = status.head
    return FORM.pack(VERSION, *status.chain, head.height, head.block_hash, head.certified_height)


def decode_status(data: bytes) -> Status:
    """Errors: 7613, 7614, 7615."""
    if data[:1] != bytes([VERSION]):
        text = f"a status of version {data[0] if data else 'none'}: this node reads {VERSION}"
        raise Malformed(PACKED_VERSION, text)
    _, chain, fork, genesis_hash, height, block_hash, certified = unpack(FORM, data, "a status")
    require(certified <= height, "a certified height above the head", height=height)
    return Status(Chain(chain, fork, genesis_hash), Head(height, block_hash, certified))


def difference(ours: Chain, theirs: Chain) -> str | None:
    """In what two chains differ, in one sentence; None when they are the same."""
    if ours.chain != theirs.chain:
        return f"another chain: {theirs.chain}, ours is {ours.chain}"
    if ours.genesis_hash != theirs.genesis_hash:
        return f"another genesis: {theirs.genesis_hash.hex()}, ours is {ours.genesis_hash.hex()}"
    if ours.fork != theirs.fork:
        return f"another fork: {theirs.fork}, ours is {ours.fork}"
    return None
