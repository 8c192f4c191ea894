"""What a validator's key is asked to sign: not 32 bytes, but what they stand for.

What lives here: the three things that are signed, their text, their JSON. What must never live
here: a key, or whether it may be signed.

Theory. A signer that is given a hash can only obey. So it is given the parts and hashes them
itself; then it knows height and block, and can refuse a second block at one height. The text goes
along and must agree: if it does not, the two programs are of different versions, and one that
signed would sign what the other does not mean.
"""

from dataclasses import dataclass
from typing import Final

from consensus.block import COUNT_BITS, ROUND_BITS
from consensus.finality.promises import appoint
from consensus.finality.votes import SEAL_TAG, VOTE_TAG, Subject, text_of
from node.exceptions import NodeError

BAD_REQUEST: Final = 7884

SEAL: Final = "seal"
VOTE: Final = "vote"
APPOINTMENT: Final = "appointment"
TAGS: Final = {SEAL: SEAL_TAG, VOTE: VOTE_TAG}


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """`subject` for a seal or vote, `promiser` (20 bytes) for an appointment."""

    kind: str
    genesis_hash: bytes
    set_hash: bytes
    subject: Subject | None = None
    promiser: bytes = b""

    @property
    def text(self) -> bytes:
        """The 32 bytes that are signed."""
        if self.subject is None:
            return appoint(self.genesis_hash, self.promiser)
        return text_of(TAGS[self.kind], self.genesis_hash, self.set_hash, self.subject)

    def as_json(self) -> dict[str, object]:
        """The parameters of `validator_sign`."""
        value: dict[str, object] = {
            "kind": self.kind,
            "genesis_hash": "0x" + self.genesis_hash.hex(),
            "set_hash": "0x" + self.set_hash.hex(),
            "text": "0x" + self.text.hex(),
        }
        if self.subject is None:
            return value | {"promiser": "0x" + self.promiser.hex()}
        subject = self.subject
        place = {"height": subject.height, "round": subject.round}
        return value | place | {"hash": "0x" + subject.hash.hex()}


def read_request(value: dict[str, object]) -> SigningRequest:
    """The request in this JSON object. Raises `NodeError` 7884 for anything but its one form."""
    try:
        kind = str(value["kind"])
        genesis_hash, set_hash = _bytes(value["genesis_hash"], 32), _bytes(value["set_hash"], 32)
        if kind in TAGS:
            height, round_ = _whole(value["height"], COUNT_BITS), _whole(value["round"], ROUND_BITS)
            subject = Subject(height, round_, _bytes(value["hash"], 32))
            request = SigningRequest(kind, genesis_hash, set_hash, subject)
        elif kind == APPOINTMENT:
            promiser = _bytes(value["promiser"], 20)
            request = SigningRequest(kind, genesis_hash, set_hash, promiser=promiser)
        else:
            raise ValueError(f"nobody signs a {kind[:32]!r}")
    except (KeyError, ValueError) as error:
        raise NodeError(BAD_REQUEST, f"not a request to sign: {error}") from error
    if value != request.as_json():
        text = "the text, or another member, is not that of the thing to sign"
        raise NodeError(BAD_REQUEST, f"{text}; node and signer are of different versions")
    return request


def _bytes(value: object, size: int) -> bytes:
    if not isinstance(value, str) or value[:2] != "0x" or len(value) != 2 + 2 * size:
        raise ValueError(f"{size} bytes as 0x and hexadecimal are expected")
    return bytes.fromhex(value[2:])


def _whole(value: object, bits: int) -> int:
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise ValueError(f"an integer of {bits} bits is expected")
    return value
