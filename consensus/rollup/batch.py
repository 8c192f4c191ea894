"""Batches: a contiguous range of blocks as L1 stores it, and what a proof says in public.

What lives here: the batch's bytes and hash, the points at which its blobs are opened, the public
values. What must never live here: the payload's coding, KZG, L1 transactions.

Theory. The contract keeps the batch hash and, of the last batch, the fields that the next must
continue. A validity proof is bound to the posted blobs without a commitment in the guest: z is
drawn from the blob's versioned hash and the payload's hash, the guest evaluates its own payload's
polynomial there, the contract opens the commitment there (EIP-4844, point evaluation), and equal y
means equal polynomials but for a chance of degree / modulus. The contract builds the public values
from its own storage, so nothing in them is the prover's word but y.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Final

from consensus import codec
from consensus.block import COUNT_BITS, HASH_BYTES, VERSION_BITS
from consensus.exceptions import InvalidBlock

BATCH_VERSION: Final = 1
BLOBS_MAX: Final = 9
"""Blobs of one L1 block, hence of one transaction (EIP-7691)."""
BATCH_BYTES_MAX: Final = 1024
VERSIONED_HASH_KZG: Final = 0x01  # EIP-4844: VERSIONED_HASH_VERSION_KZG
BLS_MODULUS: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Order of the scalar field of BLS12-381 (EIP-4844)."""
ADDRESS_BYTES: Final = 20

BATCH_TAG: Final = b"rialto/batch/1"
POINT_TAG: Final = b"rialto/point/1"

UNKNOWN_VERSION: Final = 3201
BATCH_RANGE: Final = 3202
BLOBS: Final = 3203
PUBLIC_INPUTS: Final = 3204


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks `first_height` to `last_height`; docs/protocol/blocks.md explains each field."""

    version: int
    number: int
    first_height: int
    last_height: int
    parent_hash: bytes
    last_hash: bytes
    pre_state_root: bytes
    post_state_root: bytes
    payload_hash: bytes
    blob_hashes: tuple[bytes, ...]
    l1_number: int
    l1_hash: bytes
    l1_messages: int
    l1_queue_hash: bytes
    withdrawals_root: bytes
    validators_hash: bytes


_FIELDS: Final = tuple(field.name for field in fields(Batch))


def encode_batch(batch: Batch) -> bytes:
    """The RLP of `batch`; what `decode_batch` would refuse is refused here, by that number."""
    data = codec.encode([getattr(batch, name) for name in _FIELDS])
    decode_batch(data)
    return data


def decode_batch(data: bytes) -> Batch:
    """The batch whose one encoding is `data`.

    Raises `InvalidEncoding`, or `InvalidBlock` 3201 .. 3203 for a batch that none can be.
    """
    parts = codec.read_record(codec.decode(data, limit_bytes=BATCH_BYTES_MAX), len(_FIELDS))
    batch = Batch(
        version=codec.read_uint(parts[0], VERSION_BITS),
        number=codec.read_uint(parts[1], COUNT_BITS),
        first_height=codec.read_uint(parts[2], COUNT_BITS),
        last_height=codec.read_uint(parts[3], COUNT_BITS),
        parent_hash=codec.read_bytes(parts[4], HASH_BYTES),
        last_hash=codec.read_bytes(parts[5], HASH_BYTES),
        pre_state_root=codec.read_bytes(parts[6], HASH_BYTES),
        post_state_root=codec.read_bytes(parts[7], HASH_BYTES),
        payload_hash=codec.read_bytes(parts[8], HASH_BYTES),
        blob_hashes=tuple(
            codec.read_bytes(item, HASH_BYTES) for item in codec.read_list(parts[9], BLOBS_MAX)
        ),
        l1_number=codec.read_uint(parts[10], COUNT_BITS),
        l1_hash=codec.read_bytes(parts[11], HASH_BYTES),
        l1_messages=codec.read_uint(parts[12], COUNT_BITS),
        l1_queue_hash=codec.read_bytes(parts[13], HASH_BYTES),
        withdrawals_root=codec.read_bytes(parts[14], HASH_BYTES),
        validators_hash=codec.read_bytes(parts[15], HASH_BYTES),
    )
    _check(batch)
    return batch


def _check(batch: Batch) -> None:
    if batch.version != BATCH_VERSION:
        raise InvalidBlock(UNKNOWN_VERSION, f"batch version {batch.version} is unknown; update")
    if batch.number < 1 or not 1 <= batch.first_height <= batch.last_height:
        text = f"batch {batch.number} of blocks {batch.first_height} to {batch.last_height}"
        raise InvalidBlock(BATCH_RANGE, f"{text}: numbers and heights start at 1 and ascend")
    if not batch.blob_hashes or any(
        versioned[0] != VERSIONED_HASH_KZG for versioned in batch.blob_hashes
    ):
        raise InvalidBlock(BLOBS, "a batch has blobs, whose versioned hashes start with 01")


def batch_hash(batch: Batch) -> bytes:
    """SHA-256("rialto/batch/1" | words | blob hashes), 32 bytes.

    Words are the fields in order but `blob_hashes`, 32 bytes each, big-endian: what a contract has
    in its hands. What `decode_batch` would refuse is refused here, by that number.
    """
    encode_batch(batch)
    values = [getattr(batch, name) for name in _FIELDS if name != "blob_hashes"]
    words = [value if isinstance(value, bytes) else _word(value) for value in values]
    return sha256(BATCH_TAG + b"".join(words) + b"".join(batch.blob_hashes)).digest()


def evaluation_point(versioned_hash: bytes, payload_hash: bytes) -> int:
    """z: the digest, read big-endian, modulo the BLS scalar field."""
    digest = sha256(POINT_TAG + versioned_hash + payload_hash).digest()
    return int.from_bytes(digest, "big") % BLS_MODULUS


def public_values(
    batch: Batch, *, chain_id: int, contract: bytes, evaluations: Sequence[int]
) -> bytes:
    """The public values of the batch's proof: 10 words of 32 bytes, and three for each blob.

    `evaluations` are the y of each blob at its point, in order. Raises `InvalidBlock`
    `PUBLIC_INPUTS`, or what `encode_batch` raises.
    """
    if len(evaluations) != len(batch.blob_hashes):
        text = f"{len(evaluations)} evaluations of {len(batch.blob_hashes)} blobs"
        raise InvalidBlock(PUBLIC_INPUTS, f"{text}: give one for each")
    if not all(0 <= y < BLS_MODULUS for y in evaluations):
        raise InvalidBlock(PUBLIC_INPUTS, "an evaluation is no element of the BLS scalar field")
    if len(contract) != ADDRESS_BYTES:
        raise InvalidBlock(PUBLIC_INPUTS, f"a contract address has {ADDRESS_BYTES} bytes")
    words = [
        _word(chain_id),
        contract.rjust(HASH_BYTES, b"\0"),
        batch_hash(batch),
        batch.pre_state_root,
        batch.post_state_root,
        batch.payload_hash,
        batch.withdrawals_root,
        _word(batch.l1_messages),
        batch.l1_queue_hash,
        batch.validators_hash,
    ]
    for versioned, y in zip(batch.blob_hashes, evaluations, strict=True):
        words += [versioned, _word(evaluation_point(versioned, batch.payload_hash)), _word(y)]
    return b"".join(words)


def _word(value: int) -> bytes:
    return value.to_bytes(HASH_BYTES, "big")
