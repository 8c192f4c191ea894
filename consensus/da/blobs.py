"""Blobs: the carriage of a batch's compressed payload on L1.

What lives here: cutting bytes into blobs of field elements, and back. What must never live here:
commitments (`kzg`), what the bytes mean (`payload`), or where blobs are posted.

Theory. A blob is 4,096 elements of the scalar field of BLS12-381, each 32 bytes big-endian and less
than the modulus. Such an element holds 254 bits; we use 31 whole bytes and keep the highest zero,
which costs 2.4 % and is how ethrex packs too, so its tools read our blobs. Zeros at the end do not
delimit themselves, so the carriage begins with its length:

    0      4          5           6        8              12
    | RLTO | version 1 | blobs u8 | zeros  | length u32 LE | compressed payload ... | zeros |

`unpack` accepts exactly the image of `pack`: another number of blobs than needed, a set highest
byte, or anything but zeros behind the end is refused. So bytes have one form as blobs, and a blob
that a batch names is wholly determined by what it carries.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from consensus.exceptions import InvalidPayload
from consensus.rollup.batch import BLOBS_MAX

FIELD_ELEMENTS_PER_BLOB: Final = 4096  # EIP-4844
ELEMENT_BYTES: Final = 32
CARRIED_BYTES: Final = ELEMENT_BYTES - 1
BLOB_BYTES: Final = FIELD_ELEMENTS_PER_BLOB * ELEMENT_BYTES
BLOB_CARRIES_BYTES: Final = FIELD_ELEMENTS_PER_BLOB * CARRIED_BYTES
"""126,976: what one blob carries, the prefix of the first included."""

MAGIC: Final = b"RLTO"
VERSION: Final = 1
PREFIX: Final = Struct("<4sBBHI")

CARRIAGE_LENGTH: Final = 8101
BLOB_COUNT: Final = 8102
BLOB_LENGTH: Final = 8103
ELEMENT_HIGH: Final = 8104
CARRIAGE_PREFIX: Final = 8105
CARRIAGE_PADDING: Final = 8106


def blobs_needed(length: int) -> int:
    """How many blobs carry `length` bytes; 1 to `BLOBS_MAX`, or `InvalidPayload` 8101."""
    count = -(-(PREFIX.size + length) // BLOB_CARRIES_BYTES)
    if not length or count > BLOBS_MAX:
        room = BLOBS_MAX * BLOB_CARRIES_BYTES - PREFIX.size
        text = f"{length} bytes cannot be carried: give 1 to {room}, or a shorter batch"
        raise InvalidPayload(CARRIAGE_LENGTH, text, length=length)
    return count


def pack(data: bytes) -> tuple[bytes, ...]:
    """The blobs, 131,072 bytes each, that carry `data`; `InvalidPayload` 8101."""
    count = blobs_needed(len(data))
    carriage = PREFIX.pack(MAGIC, VERSION, count, 0, len(data)) + data
    carriage = carriage.ljust(count * BLOB_CARRIES_BYTES, b"\0")
    return tuple(
        _spread(carriage[at : at + BLOB_CARRIES_BYTES])
        for at in range(0, len(carriage), BLOB_CARRIES_BYTES)
    )


def unpack(blobs: Sequence[bytes]) -> bytes:
    """What `blobs` carry. Raises `InvalidPayload` 8102 .. 8106 for all that `pack` does not make.

    The whole carriage is needed: a batch names all its blobs, in order.
    """
    if not 1 <= len(blobs) <= BLOBS_MAX:
        text = f"{len(blobs)} blobs: a batch has 1 to {BLOBS_MAX}"
        raise InvalidPayload(BLOB_COUNT, text, count=len(blobs))
    carriage = b"".join(_gather(number, blob) for number, blob in enumerate(blobs))
    magic, version, count, zeros, length = PREFIX.unpack_from(carriage)
    if (magic, version, zeros) != (MAGIC, VERSION, 0):
        text = "the first blob does not begin as a carriage of version 1; is it of another chain?"
        raise InvalidPayload(CARRIAGE_PREFIX, text)
    if count != len(blobs) or count != blobs_needed(length):
        text = f"{length} bytes said to be in {count} blobs, and {len(blobs)} are here"
        raise InvalidPayload(BLOB_COUNT, text, count=len(blobs))
    end = PREFIX.size + length
    if any(carriage[end:]):
        text = "bytes other than zero behind the end of the carriage; the blob was not packed by us"
        raise InvalidPayload(CARRIAGE_PADDING, text)
    return carriage[PREFIX.size : end]


def _spread(data: bytes) -> bytes:
    """31 bytes to an element. One slice per byte of an element, not one per element: 0.2 ms."""
    blob = bytearray(BLOB_BYTES)
    for i in range(CARRIED_BYTES):
        blob[i + 1 :: ELEMENT_BYTES] = data[i::CARRIED_BYTES]
    return bytes(blob)


def _gather(number: int, blob: bytes) -> bytes:
    if len(blob) != BLOB_BYTES:
        text = f"blob {number} has {len(blob)} bytes, not {BLOB_BYTES}"
        raise InvalidPayload(BLOB_LENGTH, text, blob=number)
    if any(blob[::ELEMENT_BYTES]):
        text = f"blob {number} has an element whose highest byte is not zero"
        raise InvalidPayload(ELEMENT_HIGH, text, blob=number)
    data = bytearray(BLOB_CARRIES_BYTES)
    for i in range(CARRIED_BYTES):
        data[i::CARRIED_BYTES] = blob[i + 1 :: ELEMENT_BYTES]
    return bytes(data)
