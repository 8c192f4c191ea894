"""What a node says, held against signatures: promises, blocks, receipts.

What lives here: checks with a genesis hash and a validator set. What must never live here: asking
for the proofs.

Theory. A promise holds if the address that a validator appointed signed it; then that validator's
disk held the command, at that place with that result. A receipt holds if its block is certified:
itself, or by a later block that names it through its parents. If both hold and differ, the promise
is evidence against the leader, and `NotProven` carries it.
"""

from collections.abc import Sequence
from hashlib import sha256

from consensus import receipts
from consensus.block import block_hash, decode_header
from consensus.exceptions import ConsensusError
from consensus.finality.promises import (
    Promise,
    Record,
    check_appointment,
    decode_appointment,
    decode_promise,
)
from consensus.finality.promises import verify as verify_promise
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import check_certificate, decode_certificate
from node.client.exceptions import NotProven
from node.client.signing import SignedCommand


class Proofs:
    """Checks on one chain. Every refusal is `NotProven` 7804."""

    def __init__(self, genesis_hash: bytes, validators: ValidatorSet) -> None:
        self.genesis_hash = genesis_hash
        self.validators = validators

    def promiser(self, appointment: bytes) -> bytes:
        """The address that a validator appointed."""
        try:
            found = decode_appointment(appointment)
            check_appointment(self.genesis_hash, self.validators, found)
        except ConsensusError as error:
            raise NotProven(f"nobody appointed the promiser: {error.text}") from error
        return found.promiser

    def promise(self, data: bytes, promiser: bytes, command: SignedCommand) -> Promise:
        """The promise for this command."""
        try:
            promise = decode_promise(data)
            record = verify_promise(promise, self.genesis_hash, promiser)
        except ConsensusError as error:
            raise NotProven(f"the promise does not hold: {error.text}") from error
        if record.command != command.hash or record.operations != command.group.size:
            raise NotProven("the promise is for another command", record=record)
        return promise

    def block(self, height: int, headers: Sequence[bytes], certificate: bytes) -> bytes:
        """The hash of the block at `height`, which the last of the headers certifies.

        `headers` are encoded, from that height upwards without a hole.
        """
        try:
            decoded = [decode_header(data) for data in headers]
            found = decode_certificate(certificate)
            check_certificate(self.genesis_hash, self.validators, found)
        except ConsensusError as error:
            raise NotProven(f"block {height} is not certified: {error.text}") from error
        hashes = [block_hash(header) for header in decoded]
        for n, header in enumerate(decoded):
            is_next = header.height == height + n and (n == 0 or header.parent == hashes[n - 1])
            if not is_next:
                raise NotProven(f"the headers above block {height} are no chain")
        if not hashes or found.subject.hash != hashes[-1]:
            raise NotProven(f"the certificate is not for the chain of block {height}")
        return hashes[0]

    def receipt(self, data: bytes, certified_hash: bytes, sequence: int) -> bytes:
        """The events of one operation in a block that is certified."""
        try:
            receipt = receipts.decode_receipt(data)
            events = receipts.verify(receipt, certified_hash)
        except ConsensusError as error:
            raise NotProven(f"the receipt does not hold: {error.text}") from error
        if receipt.sequence != sequence:
            raise NotProven(f"the receipt is for operation {receipt.sequence}, not {sequence}")
        return events


def check_kept(promised: Record, height: int, events: bytes) -> None:
    """Raise `NotProven` if a certified block has something else than was promised."""
    result = sha256(events).digest()
    if (promised.height, promised.result) != (height, result):
        text = f"the leader promised operation {promised.sequence} another place or result"
        seen = {"promised": promised, "height": height, "result": result}
        raise NotProven(f"{text} than block {height} has: keep the promise, it is evidence", **seen)
