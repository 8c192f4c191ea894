"""Goodbye: why a connection is about to be closed.

What lives here: the reasons and the message. What must never live here: the closing.

    u16 code | UTF-8 text, at most 200 bytes
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from .packed import PACKED_LENGTH, PACKED_VALUE, Malformed

TEXT_BYTES_MAX: Final = 200
CODE: Final = struct.Struct("<H")


class Reason(IntEnum):
    """Codes that this version sends; a reader accepts others."""

    LEAVING = 1  # the node shuts down
    FULL = 2  # no room for another peer
    FOREIGN = 3  # another chain, genesis or fork
    PENALTY = 4  # the score reached its limit
    SILENT = 5  # no answer to two status requests


class Goodbye(NamedTuple):
    code: int
    text: str


def encode_goodbye(goodbye: Goodbye) -> bytes:
    text = goodbye.text.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")
    return CODE.pack(goodbye.code) + text.encode()


def decode_goodbye(data: bytes) -> Goodbye:
    """Errors: 7613, 7614."""
    if not CODE.size <= len(data) <= CODE.size + TEXT_BYTES_MAX:
        raise Malformed(PACKED_LENGTH, f"a goodbye of {len(data)} bytes", length=len(data))
    (code,) = CODE.unpack_from(data)
    try:
        return Goodbye(code, data[CODE.size :].decode())
    except UnicodeDecodeError as fault:
        raise Malformed(PACKED_VALUE, "a goodbye whose text is not UTF-8") from fault
