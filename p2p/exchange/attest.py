"""Requests for the signature of a validator under a batch that is to be posted to L1.

What lives here: the request and the answer. What must never live here: what is signed, and whether
it is true; that is `node/l1/attesting.py`.

    request    u64 committee epoch | 65 the asker's own signature | u16 length | batch, RLP
               | the compressed payload, at least one byte
    answer     one chunk: 65 bytes, the signature of whoever answers
"""

import struct
from typing import Final, NamedTuple

from .packed import PACKED_LENGTH, Malformed, require

SIGNATURE_BYTES: Final = 65
BATCH_BYTES_MAX: Final = 1024
CARRIED_BYTES_MAX: Final = 9 * 126_976
"""Nine blobs, 31 bytes of each of their elements (docs/protocol/settlement.md)."""

HEAD: Final = struct.Struct(f"<Q{SIGNATURE_BYTES}sH")
ATTEST_BYTES_MAX: Final = HEAD.size + BATCH_BYTES_MAX + CARRIED_BYTES_MAX


class AttestRequest(NamedTuple):
    epoch: int
    signature: bytes  # of the asker
    batch: bytes
    carried: bytes


def encode_attest(request: AttestRequest) -> bytes:
    head = HEAD.pack(request.epoch, request.signature, len(request.batch))
    return head + request.batch + request.carried


def decode_attest(data: bytes) -> AttestRequest:
    """Errors: 7613, 7614."""
    if len(data) < HEAD.size:
        raise Malformed(PACKED_LENGTH, f"a request to attest of {len(data)} bytes")
    epoch, signature, length = HEAD.unpack_from(data)
    require(1 <= length <= BATCH_BYTES_MAX, f"a batch of {length} bytes: 1 to {BATCH_BYTES_MAX}")
    batch, carried = data[HEAD.size : HEAD.size + length], data[HEAD.size + length :]
    require(1 <= len(carried) <= CARRIED_BYTES_MAX, f"a payload of {len(carried)} bytes")
    return AttestRequest(epoch, signature, batch, carried)
