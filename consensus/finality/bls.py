"""BLS signatures over BLS12-381: the IETF ciphersuite with proof of possession, short public keys.

What lives here: the suite's operations on bytes. What must never live here: what was signed, who
may sign, or where a secret key is kept.

Source: draft-irtf-cfrg-bls-signature-05, section 3.3 (proof of possession) and its ciphersuite
BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_; the same bytes as Ethereum's consensus layer.

Theory. A certificate is one signature for many signers, so verification adds up public keys. That
is only sound for keys whose holders proved that they know the secret (else a rogue key cancels
others), and only if no key and no sum is the identity: e(identity, anything) is 1, and the library
takes the identity for a point like any other. Decoding checks the curve and the subgroup; it is the
dear part (0.06 ms a key), so a decoded key is kept as a value.

Of the library only the pairing (1 ms) releases the interpreter lock, so callers verify in threads.
Hashing to the curve (0.33 ms), multiplying (0.32) and decoding a signature (0.1) hold it: whatever
else the process does stands still. All votes for a block sign one text, so hashes are kept.
"""

from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import add
from typing import Final

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from consensus.exceptions import InvalidSignature

SECRET_KEY: Final = 2201
PUBLIC_KEY: Final = 2202
SIGNATURE: Final = 2203
NO_SIGNERS: Final = 2204

SECRET_BYTES: Final = 32
PUBLIC_BYTES: Final = 48
SIGNATURE_BYTES: Final = 96
HASHES_KEPT: Final = 16
"""Texts with their points: the votes for the last blocks."""
ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""r, the order of both groups."""

SIGN_TAG: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
POSSESSION_TAG: Final = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"

GENERATOR: Final = G1Point()
MINUS_GENERATOR: Final = -GENERATOR


class PublicKey:
    """A key that is a point of the group and not the identity (KeyValidate, section 2.5)."""

    __slots__ = ("data", "point")

    def __init__(self, data: bytes) -> None:
        """Raises `InvalidSignature` 2202."""
        try:
            point = G1Point.from_compressed_bytes(data)
        except ValueError as error:
            raise InvalidSignature(PUBLIC_KEY, f"{data.hex()} is no BLS public key") from error
        if len(data) != PUBLIC_BYTES or point == G1Point.identity():
            raise InvalidSignature(PUBLIC_KEY, f"{data.hex()} is the identity, which is no key")
        self.data: Final = data
        self.point: Final = point


def public_key_of(secret: bytes) -> bytes:
    """The 48-byte public key of a 32-byte secret, or `InvalidSignature` 2201."""
    return _bytes(GENERATOR * _scalar(secret))


def sign(secret: bytes, message: bytes) -> bytes:
    """The 96-byte signature, or `InvalidSignature` 2201."""
    return _bytes(_hashed(message, SIGN_TAG) * _scalar(secret))


def verify(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether the key's holder signed the message. `InvalidSignature` 2203: not even a point."""
    return _holds(key.point, message, SIGN_TAG, _signature(signature))


def prove_possession(secret: bytes) -> bytes:
    """The 96-byte proof that its maker knows the secret of the public key."""
    return _bytes(_hashed(public_key_of(secret), POSSESSION_TAG) * _scalar(secret))


def possesses(key: PublicKey, proof: bytes) -> bool:
    """Whether the proof is by the key's holder. `InvalidSignature` 2203: not even a point."""
    return _holds(key.point, key.data, POSSESSION_TAG, _signature(proof))


def aggregate(signatures: Sequence[bytes]) -> bytes:
    """The sum of the signatures, 96 bytes, or `InvalidSignature` 2203, 2204."""
    if not signatures:
        raise InvalidSignature(NO_SIGNERS, "no signatures to aggregate")
    return _bytes(reduce(add, [_signature(one) for one in signatures]))


def verify_aggregate(keys: Sequence[PublicKey], message: bytes, signature: bytes) -> bool:
    """Whether all keys' holders signed this one message (FastAggregateVerify, section 3.3.4).

    Each key's possession must have been proven. `InvalidSignature` 2203, 2204.
    """
    if not keys:
        raise InvalidSignature(NO_SIGNERS, "a signature of nobody")
    total = reduce(add, [key.point for key in keys])
    point = _signature(signature)
    return total != G1Point.identity() and _holds(total, message, SIGN_TAG, point)


def _holds(key: G1Point, message: bytes, tag: bytes, signature: G2Point) -> bool:
    return bool(GT.pairing_check([key, MINUS_GENERATOR], [_hashed(message, tag), signature]))


@lru_cache(HASHES_KEPT)
def _hashed(message: bytes, tag: bytes) -> G2Point:
    return G2Point.hash_to_curve(message, tag)


def _scalar(secret: bytes) -> Scalar:
    number = int.from_bytes(secret, "big")
    if len(secret) != SECRET_BYTES or not 0 < number < ORDER:
        raise InvalidSignature(SECRET_KEY, "a BLS secret is 32 bytes, from 1 to the order less 1")
    return Scalar.from_be_bytes(secret)


def _signature(data: bytes) -> G2Point:
    if len(data) != SIGNATURE_BYTES:
        text = f"{len(data)} bytes are no BLS signature, which has {SIGNATURE_BYTES}"
        raise InvalidSignature(SIGNATURE, text)
    try:
        point = G2Point.from_compressed_bytes(data)
    except ValueError as error:
        raise InvalidSignature(SIGNATURE, "these 96 bytes are no point of the group") from error
    if point == G2Point.identity():
        raise InvalidSignature(SIGNATURE, "the identity is nobody's signature")
    return point


def _bytes(point: G1Point | G2Point) -> bytes:
    return bytes(point.to_compressed_bytes())
