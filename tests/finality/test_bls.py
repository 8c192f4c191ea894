"""The BLS suite: the bytes of the reference implementation, and no identity anywhere."""

import random

import pytest
from eth_typing import BLSPubkey, BLSSignature
from py_ecc.bls.ciphersuites import G2ProofOfPossession as Oracle

from consensus.exceptions import InvalidSignature
from consensus.finality import bls

SECRETS = [random.Random(n).randrange(1, bls.ORDER).to_bytes(32, "big") for n in range(4)]
KEYS = [bls.PublicKey(bls.public_key_of(secret)) for secret in SECRETS]
IDENTITY_KEY = b"\xc0" + bytes(47)
IDENTITY_SIGNATURE = b"\xc0" + bytes(95)


def number_of(act: object, *arguments: object) -> int:
    assert callable(act)
    with pytest.raises(InvalidSignature) as caught:
        act(*arguments)
    return caught.value.number


def test_keys_signatures_and_possession_are_the_bytes_of_the_reference() -> None:
    secret = SECRETS[0]
    number = int.from_bytes(secret, "big")
    assert bls.public_key_of(secret) == Oracle.SkToPk(number)
    assert bls.sign(secret, b"a block") == Oracle.Sign(number, b"a block")
    assert bls.prove_possession(secret) == Oracle.PopProve(number)


def test_the_reference_accepts_our_aggregate() -> None:
    message = b"\x07" * 32
    total = bls.aggregate([bls.sign(secret, message) for secret in SECRETS[:2]])
    assert Oracle.FastAggregateVerify(
        [BLSPubkey(key.data) for key in KEYS[:2]], message, BLSSignature(total)
    )


def test_a_signature_holds_for_its_key_and_message_only() -> None:
    signature = bls.sign(SECRETS[0], b"one")
    assert bls.verify(KEYS[0], b"one", signature)
    assert not bls.verify(KEYS[0], b"two", signature)
    assert not bls.verify(KEYS[1], b"one", signature)
    assert not bls.verify(KEYS[0], b"one", bls.sign(SECRETS[1], b"one"))


def test_possession_is_not_a_signature_and_a_signature_is_no_possession() -> None:
    proof = bls.prove_possession(SECRETS[0])
    assert bls.possesses(KEYS[0], proof)
    assert not bls.possesses(KEYS[1], proof)
    assert not bls.verify(KEYS[0], KEYS[0].data, proof)
    assert not bls.possesses(KEYS[0], bls.sign(SECRETS[0], KEYS[0].data))


def test_an_aggregate_needs_exactly_its_signers() -> None:
    message = b"block"
    total = bls.aggregate([bls.sign(secret, message) for secret in SECRETS[:3]])
    assert bls.verify_aggregate(KEYS[:3], message, total)
    assert not bls.verify_aggregate(KEYS[:2], message, total)
    assert not bls.verify_aggregate(KEYS, message, total)
    assert not bls.verify_aggregate(KEYS[:3], b"other", total)


def test_the_identity_is_neither_key_nor_signature() -> None:
    assert number_of(bls.PublicKey, IDENTITY_KEY) == bls.PUBLIC_KEY
    assert number_of(bls.verify, KEYS[0], b"", IDENTITY_SIGNATURE) == bls.SIGNATURE
    assert number_of(bls.aggregate, [IDENTITY_SIGNATURE]) == bls.SIGNATURE


def test_keys_that_cancel_out_sign_nothing() -> None:
    """x and r - x: the sum of the keys is the identity, for which everything would verify."""
    secret = int.from_bytes(SECRETS[0], "big")
    other = bls.PublicKey(bls.public_key_of((bls.ORDER - secret).to_bytes(32, "big")))
    assert not bls.verify_aggregate([KEYS[0], other], b"x", bls.sign(SECRETS[1], b"x"))


@pytest.mark.parametrize("secret", [bytes(32), bls.ORDER.to_bytes(32, "big"), b"\1" * 31, b""])
def test_a_secret_outside_the_order_is_refused(secret: bytes) -> None:
    assert number_of(bls.public_key_of, secret) == bls.SECRET_KEY
    assert number_of(bls.sign, secret, b"") == bls.SECRET_KEY


@pytest.mark.parametrize("data", [b"", bytes(48), b"\x80" + bytes(47), b"\xff" * 48, bytes(96)])
def test_bytes_that_are_no_key_are_refused(data: bytes) -> None:
    assert number_of(bls.PublicKey, data) == bls.PUBLIC_KEY


def test_a_point_outside_the_subgroup_is_no_key() -> None:
    """Most x on the curve give a point whose order is not r; find one and see it refused."""
    refused = 0
    for x in range(2, 40):
        data = bytearray(x.to_bytes(48, "big"))
        data[0] |= 0x80
        refused += number_of(bls.PublicKey, bytes(data)) == bls.PUBLIC_KEY
    assert refused == 38


@pytest.mark.parametrize("data", [b"", bytes(96), b"\xff" * 96, bytes(95)])
def test_bytes_that_are_no_signature_are_refused(data: bytes) -> None:
    assert number_of(bls.verify, KEYS[0], b"", data) == bls.SIGNATURE


def test_a_signature_of_nobody_is_refused() -> None:
    assert number_of(bls.aggregate, []) == bls.NO_SIGNERS
    signature = bls.sign(SECRETS[0], b"")
    assert number_of(bls.verify_aggregate, [], b"", signature) == bls.NO_SIGNERS
