"""Votes and certificates: one meaning, one encoding, and a quorum or nothing."""

from dataclasses import replace
from hashlib import sha256

import pytest

from consensus.exceptions import ConsensusError, InvalidEncoding
from consensus.finality import bls, votes
from consensus.finality import validators as sets
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import Certificate, Subject, Vote
from consensus.genesis import Validator

CHAIN = sha256(b"chain").digest()
SUBJECT = Subject(7, 0, sha256(b"block").digest())
SECRETS = [(1000 + n).to_bytes(32, "big") for n in range(7)]


def validator(secret: bytes) -> Validator:
    return Validator(bls.public_key_of(secret), bls.prove_possession(secret))


VALIDATORS = ValidatorSet([validator(secret) for secret in SECRETS])


def vote(index: int, subject: Subject = SUBJECT, tag: bytes = votes.VOTE_TAG) -> Vote:
    text = votes.text_of(tag, CHAIN, VALIDATORS.hash, subject)
    return Vote(subject, index, bls.sign(SECRETS[index], text))


BALLOT = [vote(index) for index in range(7)]


def number_of(act: object, *arguments: object) -> int:
    assert callable(act)
    with pytest.raises(ConsensusError) as caught:
        act(*arguments)
    return caught.value.number


@pytest.mark.parametrize(
    ("size", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5)]
)
def test_a_quorum_is_more_than_two_thirds(size: int, quorum: int) -> None:
    assert 3 * quorum > 2 * size >= 3 * (quorum - 1)
    assert ValidatorSet([validator(secret) for secret in SECRETS[:size]]).quorum == quorum


def test_a_key_without_possession_or_twice_makes_no_set() -> None:
    good, other = validator(SECRETS[0]), validator(SECRETS[1])
    rogue = Validator(good.key, other.proof)
    assert number_of(ValidatorSet, [rogue]) == sets.NOT_POSSESSED
    assert number_of(ValidatorSet, [good, other, good]) == sets.KEY_TWICE


def test_the_set_hash_is_that_of_headers() -> None:
    keys = b"".join(key.data for key in VALIDATORS.keys)
    assert VALIDATORS.hash == sha256(keys).digest()
    assert VALIDATORS.index_of(VALIDATORS.keys[3].data) == 3
    assert VALIDATORS.index_of(bytes(48)) is None


def test_a_vote_is_for_one_chain_set_height_round_and_block() -> None:
    votes.check_vote(CHAIN, VALIDATORS, BALLOT[2])
    other_set = ValidatorSet([validator(secret) for secret in SECRETS[:4]])
    assert number_of(votes.check_vote, bytes(32), VALIDATORS, BALLOT[2]) == votes.WRONG_SIGNATURE
    assert number_of(votes.check_vote, CHAIN, other_set, BALLOT[2]) == votes.WRONG_SIGNATURE
    for subject in (
        replace(SUBJECT, height=8),
        replace(SUBJECT, round=1),
        replace(SUBJECT, hash=bytes(32)),
    ):
        moved = replace(BALLOT[2], subject=subject)
        assert number_of(votes.check_vote, CHAIN, VALIDATORS, moved) == votes.WRONG_SIGNATURE


def test_a_vote_of_another_validator_or_of_none_is_refused() -> None:
    stolen = replace(BALLOT[2], validator=3)
    assert number_of(votes.check_vote, CHAIN, VALIDATORS, stolen) == votes.WRONG_SIGNATURE
    beyond = replace(BALLOT[2], validator=7)
    assert number_of(votes.check_vote, CHAIN, VALIDATORS, beyond) == votes.UNKNOWN_VALIDATOR


def test_a_seal_is_no_vote_and_a_vote_no_seal() -> None:
    sealed = vote(1, tag=votes.SEAL_TAG)
    assert number_of(votes.check_vote, CHAIN, VALIDATORS, sealed) == votes.WRONG_SIGNATURE
    votes.check_seal(CHAIN, VALIDATORS, 1, SUBJECT, sealed.signature)
    bad = (CHAIN, VALIDATORS, 1, SUBJECT, BALLOT[1].signature)
    assert number_of(votes.check_seal, *bad) == votes.WRONG_SIGNATURE
    other = (CHAIN, VALIDATORS, 2, SUBJECT, sealed.signature)
    assert number_of(votes.check_seal, *other) == votes.WRONG_SIGNATURE
    none = (CHAIN, VALIDATORS, 7, SUBJECT, sealed.signature)
    assert number_of(votes.check_seal, *none) == votes.UNKNOWN_VALIDATOR


def test_a_quorum_certifies_and_names_its_signers() -> None:
    for chosen in ([0, 1, 2, 3, 4], [6, 2, 4, 1, 3], list(range(7))):
        certificate = votes.certify(VALIDATORS, [BALLOT[index] for index in chosen])
        assert votes.check_certificate(CHAIN, VALIDATORS, certificate) == sorted(chosen)


def test_less_than_a_quorum_certifies_nothing() -> None:
    assert number_of(votes.certify, VALIDATORS, BALLOT[:4]) == votes.NO_QUORUM
    assert number_of(votes.certify, VALIDATORS, [BALLOT[0]] * 7) == votes.NO_QUORUM
    four = bls.aggregate([one.signature for one in BALLOT[:4]])
    weak = Certificate(SUBJECT, b"\x0f", four)
    assert number_of(votes.check_certificate, CHAIN, VALIDATORS, weak) == votes.NO_QUORUM


def test_votes_for_two_blocks_or_two_votes_of_one_validator_make_no_certificate() -> None:
    other = vote(4, replace(SUBJECT, hash=bytes(32)))
    assert number_of(votes.certify, VALIDATORS, [*BALLOT[:4], other]) == votes.MIXED_VOTES
    assert number_of(votes.certify, VALIDATORS, [*BALLOT[:5], other]) == votes.VOTED_TWICE


def test_a_certificate_that_names_others_than_its_signers_is_refused() -> None:
    good = votes.certify(VALIDATORS, BALLOT[:5])
    for bitmap, number in (
        (b"\x3e", votes.WRONG_SIGNATURE),
        (b"\x3f", votes.WRONG_SIGNATURE),
        (b"\x9f", votes.BITMAP),
        (b"\x1f\x00", votes.BITMAP),
        (b"", votes.BITMAP),
        (b"\x00", votes.NO_QUORUM),
    ):
        bad = replace(good, bitmap=bitmap)
        assert number_of(votes.check_certificate, CHAIN, VALIDATORS, bad) == number


def test_votes_and_certificates_have_one_encoding() -> None:
    certificate = votes.certify(VALIDATORS, BALLOT[:5])
    assert votes.decode_vote(votes.encode_vote(BALLOT[3])) == BALLOT[3]
    data = votes.encode_certificate(certificate)
    assert votes.decode_certificate(data) == certificate
    for bad in (data + b"\0", data[:-1], b"\x00" + data, b""):
        with pytest.raises(InvalidEncoding):
            votes.decode_certificate(bad)


def test_every_flipped_bit_of_a_certificate_is_refused() -> None:
    data = votes.encode_certificate(votes.certify(VALIDATORS, BALLOT[:5]))
    for bit in range(0, 8 * len(data), 3):
        bad = bytearray(data)
        bad[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(ConsensusError):
            certificate = votes.decode_certificate(bytes(bad))
            votes.check_certificate(CHAIN, VALIDATORS, certificate)


def test_numbers_beyond_their_bounds_are_not_encoded() -> None:
    for subject in (replace(SUBJECT, height=1 << 53), replace(SUBJECT, round=1 << 32)):
        with pytest.raises(InvalidEncoding):
            votes.encode_vote(replace(BALLOT[0], subject=subject))
