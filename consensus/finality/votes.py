"""Votes and quorum certificates: what is signed, their bytes, when they hold.

What lives here: the values, their one encoding, their verification. What must never live here: the
decision to vote (a node replays first and keeps what it signed on disk), or gossip.

Theory. A vote says "at this height and round I replayed the block with this hash and every root was
right". The signed text names the chain by genesis hash and the set by its hash, so that it means
nothing elsewhere. A validator signs one hash for a height and round; two different ones are proof
of its fault. A certificate is the sum of at least a quorum of votes for one text, with a bitmap of
who they are; it needs no other data to be believed by whoever knows the set.

A proposal's seal is signed by the proposer under another tag, so a seal never counts as a vote.

      SHA-256( tag 16 | genesis hash 32 | set hash 32 | height u64 | round u64 | block hash 32 )
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final

from consensus import codec
from consensus.block import COUNT_BITS, HASH_BYTES, ROUND_BITS
from consensus.exceptions import InvalidVote
from consensus.finality.bls import SIGNATURE_BYTES, aggregate, verify, verify_aggregate
from consensus.finality.validators import ValidatorSet
from consensus.genesis import VALIDATORS_MAX

UNKNOWN_VALIDATOR: Final = 4510
WRONG_SIGNATURE: Final = 4511
BITMAP: Final = 4512
NO_QUORUM: Final = 4513
MIXED_VOTES: Final = 4514
VOTED_TWICE: Final = 4515

VOTE_TAG: Final = b"rialto/vote/1"
SEAL_TAG: Final = b"rialto/seal/1"
TAG_BYTES: Final = 16
NUMBERS: Final = Struct("<QQ")
INDEX_BITS: Final = 16
CERTIFICATE_BYTES_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Subject:
    """What a vote or seal is about, on one chain and under one set."""

    height: int
    round: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Vote:
    """A validator's signature over a subject."""

    subject: Subject
    validator: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """The sum of the votes of the validators in `bitmap` (bit i of byte i // 8 is validator i)."""

    subject: Subject
    bitmap: bytes
    signature: bytes


def text_of(tag: bytes, genesis_hash: bytes, set_hash: bytes, subject: Subject) -> bytes:
    """The 32 bytes that are signed under `VOTE_TAG` or `SEAL_TAG`."""
    numbers = NUMBERS.pack(subject.height, subject.round)
    parts = tag.ljust(TAG_BYTES, b"\0"), genesis_hash, set_hash, numbers, subject.hash
    return sha256(b"".join(parts)).digest()


def encode_vote(vote: Vote) -> bytes:
    """RLP list: height, round, hash, validator, signature."""
    subject = vote.subject
    about = (subject.height, subject.round, subject.hash)
    data = codec.encode([*about, vote.validator, vote.signature])
    decode_vote(data)
    return data


def decode_vote(data: bytes) -> Vote:
    """The vote whose one encoding is `data`, or `InvalidEncoding`; nothing is verified."""
    parts = codec.read_record(codec.decode(data, limit_bytes=CERTIFICATE_BYTES_MAX), 5)
    return Vote(
        subject=_read_subject(parts),
        validator=codec.read_uint(parts[3], INDEX_BITS),
        signature=codec.read_bytes(parts[4], SIGNATURE_BYTES),
    )


def encode_certificate(certificate: Certificate) -> bytes:
    """RLP list: height, round, hash, bitmap, signature."""
    subject = certificate.subject
    about = (subject.height, subject.round, subject.hash)
    data = codec.encode([*about, certificate.bitmap, certificate.signature])
    decode_certificate(data)
    return data


def decode_certificate(data: bytes) -> Certificate:
    """The certificate whose one encoding is `data`, or `InvalidEncoding`; nothing is verified."""
    parts = codec.read_record(codec.decode(data, limit_bytes=CERTIFICATE_BYTES_MAX), 5)
    return Certificate(
        subject=_read_subject(parts),
        bitmap=codec.read_string(parts[3], VALIDATORS_MAX // 8),
        signature=codec.read_bytes(parts[4], SIGNATURE_BYTES),
    )


def _read_subject(parts: Sequence[codec.Item]) -> Subject:
    return Subject(
        height=codec.read_uint(parts[0], COUNT_BITS),
        round=codec.read_uint(parts[1], ROUND_BITS),
        hash=codec.read_bytes(parts[2], HASH_BYTES),
    )


def check_vote(genesis_hash: bytes, validators: ValidatorSet, vote: Vote) -> None:
    """Raise `InvalidVote` 4510 or 4511, or `InvalidSignature`, unless the validator signed it."""
    if vote.validator >= len(validators):
        raise InvalidVote(UNKNOWN_VALIDATOR, f"validator {vote.validator} of {len(validators)}")
    text = text_of(VOTE_TAG, genesis_hash, validators.hash, vote.subject)
    if not verify(validators.keys[vote.validator], text, vote.signature):
        raise InvalidVote(WRONG_SIGNATURE, f"the vote is not by validator {vote.validator}")


def certify(validators: ValidatorSet, votes: Iterable[Vote]) -> Certificate:
    """The certificate of checked votes for one subject, or `InvalidVote` 4513 .. 4515."""
    by_index: dict[int, Vote] = {}
    for vote in votes:
        if by_index.setdefault(vote.validator, vote) != vote:
            raise InvalidVote(VOTED_TWICE, f"validator {vote.validator} stands here twice")
    subjects = {vote.subject for vote in by_index.values()}
    if len(by_index) < validators.quorum:
        raise InvalidVote(NO_QUORUM, f"{len(by_index)} votes, {validators.quorum} certify")
    if len(subjects) > 1:
        raise InvalidVote(MIXED_VOTES, "votes for different blocks make no certificate")
    bitmap = bytearray((len(validators) + 7) // 8)
    for index in by_index:
        bitmap[index >> 3] |= 1 << (index & 7)
    signatures = [by_index[index].signature for index in sorted(by_index)]
    return Certificate(subjects.pop(), bytes(bitmap), aggregate(signatures))


def check_certificate(
    genesis_hash: bytes, validators: ValidatorSet, certificate: Certificate
) -> list[int]:
    """The validators that signed. Raises `InvalidVote` 4511 .. 4513, or `InvalidSignature`."""
    bitmap = int.from_bytes(certificate.bitmap, "little")
    if len(certificate.bitmap) != (len(validators) + 7) // 8 or bitmap >> len(validators):
        raise InvalidVote(BITMAP, f"the bitmap is not one of {len(validators)} validators")
    signers = [index for index in range(len(validators)) if bitmap >> index & 1]
    if len(signers) < validators.quorum:
        raise InvalidVote(NO_QUORUM, f"{len(signers)} signers, {validators.quorum} certify")
    text = text_of(VOTE_TAG, genesis_hash, validators.hash, certificate.subject)
    keys = [validators.keys[index] for index in signers]
    if not verify_aggregate(keys, text, certificate.signature):
        raise InvalidVote(WRONG_SIGNATURE, "the certificate is not signed by those it names")
    return signers


def check_seal(
    genesis_hash: bytes, validators: ValidatorSet, proposer: int, subject: Subject, seal: bytes
) -> None:
    """Raise `InvalidVote` 4510 or 4511, or `InvalidSignature`, unless the proposer sealed it."""
    if proposer >= len(validators):
        raise InvalidVote(UNKNOWN_VALIDATOR, f"proposer {proposer} of {len(validators)}")
    text = text_of(SEAL_TAG, genesis_hash, validators.hash, subject)
    if not verify(validators.keys[proposer], text, seal):
        raise InvalidVote(WRONG_SIGNATURE, f"the block is not sealed by validator {proposer}")
