"""Validators' signatures that cost nothing: for simulations of hundreds of hours.

What lives here: a stand-in for BLS while a simulation runs. What must never live here: anything
that a real node could reach.

Theory. A pairing takes a millisecond and a simulated hour has tens of thousands. What a simulation
is after is when nodes sign and count, not the curve. Here a signature is a hash of the public key
and the message, and an aggregate is the sum of its parts: as distinct as the real ones, and
forgeable by anyone, which nobody in a simulation does. Keys and their proofs of possession stay
real. `scripts/simulate --real-signatures` does without all this.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha512
from unittest.mock import patch

from consensus.finality import bls, promises, votes
from consensus.finality.bls import PublicKey

MODULUS = 1 << 768


def stand_in(public: bytes, message: bytes) -> bytes:
    """96 bytes."""
    first = sha512(public + message).digest()
    return first + sha512(first).digest()[:32]


def _verify(key: PublicKey, message: bytes, signature: bytes) -> bool:
    return stand_in(key.data, message) == signature


def _aggregate(signatures: Sequence[bytes]) -> bytes:
    return (sum(int.from_bytes(one, "big") for one in signatures) % MODULUS).to_bytes(96, "big")


def _verify_aggregate(keys: Sequence[PublicKey], message: bytes, signature: bytes) -> bool:
    return _aggregate([stand_in(key.data, message) for key in keys]) == signature


@contextmanager
def cheap_signatures() -> Iterator[None]:
    """Votes, seals and appointments are signed and checked with `stand_in` inside."""
    publics: dict[bytes, bytes] = {}

    def sign(secret: bytes, message: bytes) -> bytes:
        if secret not in publics:
            publics[secret] = bls.public_key_of(secret)
        return stand_in(publics[secret], message)

    with (
        patch.object(votes, "verify", _verify),
        patch.object(votes, "aggregate", _aggregate),
        patch.object(votes, "verify_aggregate", _verify_aggregate),
        patch.object(promises, "bls_verify", _verify),
        patch.object(bls, "sign", sign),
    ):
        yield
