"""A validator's key in another process: asking it, and what to make of its answers.

What lives here: the call, its deadlines, the check of what comes back. What must never live here:
a secret. The other end is `node/signer_service.py`, or a program that speaks the same
(docs/wallets.md, "A validator's key in another process").

Theory. A validator without its key is none. A signer that is slow or away is asked again: signing
the same thing twice is no fault. After a minute the node stops with a number, because one that
seems to run and signs nothing is worse. A refusal stops it at once: the signer knows of another
block at this height, and asking again cannot change that. What comes back is verified, so a signer
with another key is found here and not by the peers.
"""

import logging
from typing import Final

import msgspec
import trio

from consensus.exceptions import ConsensusError
from consensus.finality import bls
from node.client.calls import result_of
from node.client.endpoint import read_endpoint
from node.client.exceptions import ClientError, Refused, Unanswered
from node.client.http_link import HttpLink
from node.exceptions import NodeError
from node.machine import Machine
from node.signing_request import SigningRequest

SIGNER_AWAY: Final = 7880
SIGNER_REFUSED: Final = 7881
SIGNER_WRONG: Final = 7882

ANSWER_S_MAX: Final = 2.0
PATIENCE_S: Final = 60.0
PAUSE_S: Final = 0.5
log: Final = logging.getLogger(__name__)


class Signed(msgspec.Struct):
    """What `validator_sign` answers."""

    signature: str


class RemoteSigner:
    """`sign` is a `Sign` for the key with this public half."""

    def __init__(
        self,
        url: str,
        public_key: bytes,
        machine: Machine,
        *,
        answer_s: float = ANSWER_S_MAX,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Raises `ClientError` 7801, `InvalidSignature` 2202."""
        self._url = url
        self._link = HttpLink(read_endpoint(url), answer_s=answer_s)
        self._key = bls.PublicKey(public_key)
        self._machine = machine
        self._patience_s = patience_s

    async def sign(self, request: SigningRequest) -> bytes:
        """Raises `NodeError` 7880 when nobody answers, 7881 for a refusal, 7882 for nonsense."""
        deadline = trio.current_time() + self._patience_s
        while True:
            try:
                return await self._ask(request)
            except Unanswered as error:
                if trio.current_time() >= deadline:
                    text = f"the signer at {self._url} has not answered for {self._patience_s} s"
                    sentence = f"{text}: start it, then this node again; nothing was signed"
                    raise NodeError(SIGNER_AWAY, sentence) from error
                log.warning("the signer does not answer, asking again: %s", error)
                await trio.sleep(PAUSE_S)

    async def _ask(self, request: SigningRequest) -> bytes:
        try:
            reply = await self._link.call("validator_sign", request.as_json())
            signature = bytes.fromhex(result_of(reply, Signed).signature.removeprefix("0x"))
            good = await self._machine.compute(
                lambda: bls.verify(self._key, request.text, signature)
            )
        except Unanswered:
            raise
        except Refused as refused:
            text = f"the signer refuses the {request.kind}: {refused}"
            raise NodeError(SIGNER_REFUSED, f"{text}; find out who asked it before") from refused
        except (ClientError, ConsensusError, ValueError) as error:
            raise self._wrong(str(error)) from error
        if not good:
            raise self._wrong("its signature is not of this validator's key")
        return signature

    def _wrong(self, why: str) -> NodeError:
        text = f"what answers at {self._url} is not this validator's signer ({why})"
        return NodeError(SIGNER_WRONG, f"{text}; check --remote-signer and its key file")
