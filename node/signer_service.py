"""The reference signer: one validator's key behind one method, in a process of its own.

What lives here: what it refuses, and what it keeps on disk before it signs. What must never live
here: trust in the node that asks: a node that was taken over must not get a second block signed.

    <dir>/signed/last_signed   the last seal and vote, as a node keeps its own (storage/last_signed)
    <dir>/signed/promiser      the one address that this validator appointed

It is stricter than the node's own record: a second block at a height is refused in any round. One
request is answered after the other, each with its write to the disk; that is the whole of the
concurrency. There is no authentication: it listens on this machine only, and whoever wants it
elsewhere brings a tunnel that knows who is at its ends.
"""

from ipaddress import ip_address
from typing import Any, Final

import msgspec

from consensus.finality import bls
from consensus.finality.validators import ValidatorSet
from consensus.genesis import Genesis
from node.config import Address
from node.exceptions import NodeError
from node.key_files import ValidatorFile
from node.rpc.client import Client
from node.rpc.dispatch import Method
from node.signer import NOT_A_VALIDATOR
from node.signing_request import APPOINTMENT, SEAL, SigningRequest, read_request
from storage.files import Files
from storage.last_signed import BLOCK, VOTE, LastSigned

OTHER_CHAIN: Final = 7885
SECOND_BLOCK: Final = 7886
OTHER_PROMISER: Final = 7887
NOT_LOCAL: Final = 7888
NO_SECRET: Final = 7889

PROMISER: Final = "promiser"


class SignerService:
    """The methods of one validator's signer, on one chain."""

    def __init__(self, genesis: Genesis, validator: ValidatorFile, files: Files) -> None:
        """Raises `NodeError` 7320, 7889 and what `LastSigned` raises."""
        self._set = ValidatorSet(genesis.validators)
        if self._set.index_of(validator.key) is None:
            text = f"the key {validator.key.hex()} is none of the genesis validators"
            raise NodeError(NOT_A_VALIDATOR, f"{text}; use the right key file")
        if validator.secret is None:
            raise NodeError(NO_SECRET, "the key file has no secret; the signer needs the whole one")
        self._secret: Final = validator.secret
        self._key: Final = validator.key
        self._genesis_hash: Final = genesis.hash
        self._files = files
        self._last = LastSigned(files, genesis.hash)

    def sign(self, params: msgspec.Raw, client: Client) -> object:
        """The signature of a seal, a vote or an appointment, if it may exist."""
        request = read_request(msgspec.json.decode(params or b"{}", type=dict[str, Any]))
        self._allow(request)
        return {"signature": "0x" + bls.sign(self._secret, request.text).hex()}

    def status(self, params: msgspec.Raw, client: Client) -> object:
        """Whose signer this is, and what it signed last."""
        last = {"seal": self._last.last(BLOCK), "vote": self._last.last(VOTE)}
        return {
            "key": "0x" + self._key.hex(),
            "genesis_hash": "0x" + self._genesis_hash.hex(),
            "last": {kind: signed.height if signed else None for kind, signed in last.items()},
        }

    def methods(self) -> dict[str, Method]:
        return {"validator_sign": self.sign, "validator_status": self.status}

    def _allow(self, request: SigningRequest) -> None:
        """Return when the record of it is on the disk. Raises `NodeError`, `StorageError`."""
        if (request.genesis_hash, request.set_hash) != (self._genesis_hash, self._set.hash):
            text = f"this signer is for genesis 0x{self._genesis_hash.hex()} and its validators"
            raise NodeError(OTHER_CHAIN, f"{text}, not for 0x{request.genesis_hash.hex()}")
        if request.kind == APPOINTMENT:
            self._allow_promiser(request.promiser)
            return
        subject = request.subject
        assert subject is not None, "only an appointment has no subject"
        kind = BLOCK if request.kind == SEAL else VOTE
        last = self._last.last(kind)
        if last is not None and last.height == subject.height and last.hash != subject.hash:
            text = f"a {request.kind} at height {last.height} for {last.hash.hex()} was signed"
            raise NodeError(SECOND_BLOCK, f"{text}; another would prove this validator's fault")
        self._last.allow(kind, subject.height, subject.round, subject.hash)

    def _allow_promiser(self, promiser: bytes) -> None:
        known = self._files.read(PROMISER)
        if known is None:
            self._files.replace(PROMISER, [promiser])
        elif known != promiser:
            text = f"this validator appointed 0x{known.hex()}, not 0x{promiser.hex()}"
            raise NodeError(
                OTHER_PROMISER, f"{text}; if its key is truly lost, delete the signer's {PROMISER}"
            )


def check_local(address: Address) -> None:
    """Raise `NodeError` 7888 for an address that other machines reach."""
    try:
        local = address.host == "localhost" or ip_address(address.host).is_loopback
    except ValueError:
        local = False
    if not local:
        text = f"{address.host} may be reached from elsewhere, and a signer asks nobody's name"
        raise NodeError(NOT_LOCAL, f"{text}: listen on 127.0.0.1, and tunnel to it")
