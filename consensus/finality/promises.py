"""What a leader promises for a command before any block exists, signed once for a whole group.

What lives here: the promise, its bytes, making and verifying it. What must never live here: the
journal whose hash it carries, or when it may leave (after the write that covers it is on disk).

Theory. A wallet wants an answer in milliseconds; a block comes later. The leader answers "my disk
holds your command at this place, with this result" and signs it. Many commands share one disk
write, so they share one signature: their records are the leaves of a stream
(`consensus/streams.py`), the leader signs its root together with the running hash of its journal,
and each wallet gets its record with the path. If a certified block at that height has something
else in that place, the promise is proof of the leader's fault.

BLS would cost 0.9 ms for every group of 2 ms, secp256k1 0.03 ms. So the leader signs with a
secp256k1 key which its validator key appointed: the appointment goes with the chain's status, once.

      record, a leaf of 256 bytes: height u64 | first sequence u64 | operations u64 |
                                   command hash 32 | result hash 32 | zeros
      text = SHA-256("rialto/promise/1" | genesis hash | root of the records | running hash)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

from consensus import codec
from consensus.exceptions import InvalidVote
from consensus.finality.bls import SIGNATURE_BYTES as BLS_SIGNATURE_BYTES
from consensus.finality.bls import verify as bls_verify
from consensus.finality.validators import ValidatorSet
from consensus.signatures import ADDRESS_BYTES, SIGNATURE_BYTES, recover_many, sign
from consensus.streams import LEAF_BYTES, bytes_paths, bytes_root, verify_bytes_proof

WRONG_PROMISER: Final = 4520
WRONG_APPOINTMENT: Final = 4521

TAG: Final = b"rialto/promise/1"
COMMAND_TAG: Final = b"rialto/command/1"
APPOINTMENT_TAG: Final = b"rialto/appoint/1"
DOMAIN: Final = "promises"
RECORD: Final = Struct("<QQQ32s32s")
PROMISE_BYTES_MAX: Final = 4096


class Record(NamedTuple):
    """One command's place and result."""

    height: int  # of the block that will hold it
    sequence: int  # of its first operation
    operations: int
    command: bytes  # `command_hash`
    result: bytes  # SHA-256 of its events, 64 bytes each


class Promise(NamedTuple):
    """A record under a leader's signature. Only `verify` says whether it holds."""

    record: Record
    place: int  # of the record among those signed together
    records: int
    root: bytes  # of the records
    path: bytes
    running: bytes  # the journal's running hash behind the last of them
    signature: bytes


@dataclass(frozen=True, slots=True)
class Appointment:
    """A validator's statement that this address signs its promises."""

    promiser: bytes
    validator: int
    signature: bytes  # BLS, by the validator


def command_hash(rows: bytes, signature: bytes) -> bytes:
    """The hash of a signed group: header row and operations, then its 65-byte signature."""
    return sha256(COMMAND_TAG + rows + signature).digest()


def promise_all(
    secret: bytes, genesis_hash: bytes, records: Sequence[Record], running: bytes
) -> list[Promise]:
    """The promises of commands that one write made durable, with one signature."""
    leaves = b"".join(_leaf(record) for record in records)
    root = bytes_root(DOMAIN, leaves)
    signature = sign(secret, _text(genesis_hash, root, running))
    return [
        Promise(record, n, len(records), root, path, running, signature)
        for n, (record, path) in enumerate(zip(records, bytes_paths(leaves), strict=True))
    ]


def verify(promise: Promise, genesis_hash: bytes, promiser: bytes) -> Record:
    """The record that the promiser's address signed, or `InvalidVote` 4520, `InvalidProof` 540x."""
    text = _text(genesis_hash, promise.root, promise.running)
    signer = recover_many([(text, promise.signature)])[0]
    if signer != promiser:
        why = f"0x{promiser.hex()} did not sign this promise; ask for the appointment"
        raise InvalidVote(WRONG_PROMISER, why, signer=signer)
    length = promise.records * LEAF_BYTES
    leaf = _leaf(promise.record)
    verify_bytes_proof(promise.root, DOMAIN, length, promise.place, leaf, promise.path)
    return promise.record


def appoint(genesis_hash: bytes, promiser: bytes) -> bytes:
    """The 32 bytes that a validator signs to appoint a promiser."""
    return sha256(APPOINTMENT_TAG + genesis_hash + promiser).digest()


def check_appointment(
    genesis_hash: bytes, validators: ValidatorSet, appointment: Appointment
) -> None:
    """Raise `InvalidVote` 4521, or `InvalidSignature`, unless the validator appointed it."""
    text = appoint(genesis_hash, appointment.promiser)
    known = appointment.validator < len(validators)
    if not known or not bls_verify(
        validators.keys[appointment.validator], text, appointment.signature
    ):
        text_of = f"validator {appointment.validator} did not appoint this promiser"
        raise InvalidVote(WRONG_APPOINTMENT, text_of)


def encode_promise(promise: Promise) -> bytes:
    """RLP list: the record's five fields, place, records, root, path, running, signature."""
    record = promise.record
    place = (record.height, record.sequence, record.operations, record.command, record.result)
    proof = (promise.place, promise.records, promise.root, promise.path, promise.running)
    return codec.encode([*place, *proof, promise.signature])


def decode_promise(data: bytes) -> Promise:
    """The promise whose one encoding is `data`, or `InvalidEncoding`; nothing is verified."""
    parts = codec.read_record(codec.decode(data, limit_bytes=PROMISE_BYTES_MAX), 11)
    place = [codec.read_uint(part, 53) for part in parts[:3]]
    command, result = [codec.read_bytes(part, 32) for part in parts[3:5]]
    return Promise(
        record=Record(place[0], place[1], place[2], command, result),
        place=codec.read_uint(parts[5], 16),
        records=codec.read_uint(parts[6], 16),
        root=codec.read_bytes(parts[7], 32),
        path=codec.read_string(parts[8], PROMISE_BYTES_MAX),
        running=codec.read_bytes(parts[9], 32),
        signature=codec.read_bytes(parts[10], SIGNATURE_BYTES),
    )


def encode_appointment(appointment: Appointment) -> bytes:
    """RLP list: promiser, validator, signature."""
    return codec.encode([appointment.promiser, appointment.validator, appointment.signature])


def decode_appointment(data: bytes) -> Appointment:
    """The appointment whose one encoding is `data`, or `InvalidEncoding`; nothing is verified."""
    parts = codec.read_record(codec.decode(data, limit_bytes=256), 3)
    return Appointment(
        promiser=codec.read_bytes(parts[0], ADDRESS_BYTES),
        validator=codec.read_uint(parts[1], 16),
        signature=codec.read_bytes(parts[2], BLS_SIGNATURE_BYTES),
    )


def _leaf(record: Record) -> bytes:
    fields = record.height, record.sequence, record.operations, record.command, record.result
    return RECORD.pack(*fields).ljust(LEAF_BYTES, b"\0")


def _text(genesis_hash: bytes, root: bytes, running: bytes) -> bytes:
    return sha256(TAG + genesis_hash + root + running).digest()
