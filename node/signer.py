"""A validator's signature, never twice for two things.

What lives here: signing seals, votes and the promiser's appointment, with the record on disk that
comes first. What must never live here: the decision what to sign, or where the secret comes from.

Theory. A restart must not sign another block or vote at a height and round where this validator
signed before: two such signatures are proof of its fault, whatever the reason was. So what is about
to be signed is kept on disk before the signature exists; the same again is signed again, anything
else is refused by `LastSigned` (7550 ...).
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from consensus.finality import bls
from consensus.finality.promises import Appointment
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import Subject, Vote
from node.exceptions import NodeError
from node.machine import Machine
from node.signing_request import APPOINTMENT, SEAL, SigningRequest
from node.signing_request import VOTE as SIGN_VOTE
from storage.last_signed import BLOCK, VOTE, LastSigned

NOT_A_VALIDATOR: Final = 7320

Sign: TypeAlias = Callable[[SigningRequest], Awaitable[bytes]]
"""To a 96-byte BLS signature: with a secret in this process, or by a remote signer."""


def signs_with(secret: bytes, machine: Machine) -> Sign:
    """Sign with a secret that this process holds."""

    async def sign(request: SigningRequest) -> bytes:
        return await machine.compute(lambda: bls.sign(secret, request.text))

    return sign


class Signer:
    """One validator of one chain. Errors of `LastSigned` pass through; nothing is signed then."""

    def __init__(
        self,
        genesis_hash: bytes,
        validators: ValidatorSet,
        public_key: bytes,
        sign: Sign,
        last: LastSigned,
        machine: Machine,
    ) -> None:
        """Raises `NodeError` 7320 if the key is none of the set."""
        index = validators.index_of(public_key)
        if index is None:
            text = f"the key {public_key.hex()} is none of the genesis validators"
            raise NodeError(NOT_A_VALIDATOR, f"{text}; use the right key file, or run a follower")
        self.index: Final = index
        self._genesis_hash = genesis_hash
        self._set_hash = validators.hash
        self._sign = sign
        self._last = last
        self._machine = machine

    async def seal(self, subject: Subject) -> bytes:
        """The proposer's signature over its block."""
        await self._machine.disk(lambda: self._last.allow(BLOCK, *_place(subject)))
        return await self._sign(self._request(SEAL, subject))

    async def vote(self, subject: Subject) -> Vote:
        """The vote for a block that was replayed."""
        await self._machine.disk(lambda: self._last.allow(VOTE, *_place(subject)))
        return Vote(subject, self.index, await self._sign(self._request(SIGN_VOTE, subject)))

    async def appoint(self, promiser: bytes) -> Appointment:
        """This validator's word that the address signs its promises."""
        hashes = self._genesis_hash, self._set_hash
        request = SigningRequest(APPOINTMENT, *hashes, promiser=promiser)
        return Appointment(promiser, self.index, await self._sign(request))

    def _request(self, kind: str, subject: Subject) -> SigningRequest:
        return SigningRequest(kind, self._genesis_hash, self._set_hash, subject)


def _place(subject: Subject) -> tuple[int, int, bytes]:
    return subject.height, subject.round, subject.hash
