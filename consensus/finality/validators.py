"""The validator set: which keys certify blocks, and how many of them are enough.

What lives here: a set of keys with proven possession, its hash, its quorum. What must never live
here: secrets, votes in flight, or who leads.

Theory. Every validator has weight 1. With n of them, more than 2/3 are a quorum; any two quorums
share more than a third of the set, so two different blocks of one height can only both be certified
if at least n // 3 + 1 validators voted for both, and their signatures name them.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from consensus.exceptions import InvalidVote
from consensus.finality.bls import PublicKey, possesses
from consensus.genesis import Validator

NOT_POSSESSED: Final = 4501
KEY_TWICE: Final = 4502


class ValidatorSet:
    """Keys by index; `hash` is what the state and every header call this set."""

    def __init__(self, validators: Sequence[Validator]) -> None:
        """Raises `InvalidSignature` 22xx, `InvalidVote` 4501 or 4502."""
        if len({validator.key for validator in validators}) < len(validators):
            raise InvalidVote(KEY_TWICE, "a validator key stands twice in the set; remove one")
        keys = [PublicKey(validator.key) for validator in validators]
        for index, (key, validator) in enumerate(zip(keys, validators, strict=True)):
            if not possesses(key, validator.proof):
                text = f"validator {index} does not prove that it has the secret of its key"
                raise InvalidVote(NOT_POSSESSED, text, index=index)
        self.keys: Final = tuple(keys)
        self.hash: Final = sha256(b"".join(validator.key for validator in validators)).digest()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def quorum(self) -> int:
        """How many votes certify: more than two thirds."""
        return len(self.keys) * 2 // 3 + 1

    def index_of(self, key: bytes) -> int | None:
        """The index of a 48-byte key, None if it is no validator's."""
        return next((n for n, known in enumerate(self.keys) if known.data == key), None)
