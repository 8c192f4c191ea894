"""What is wrong with a gossip message before its topic's check sees it.

What lives here: total functions: for any message they return, and never raise. What must never
live here: the meaning of the payload, or what follows from a flaw.
"""

from collections.abc import Mapping
from typing import Final

from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX

from .penalties import MALFORMED_MESSAGE, Offence

SEQUENCE_BYTES: Final = 8
ORIGIN_BYTES_MAX: Final = 64
SIGNATURE_BYTES_MAX: Final = 128
PREFIX: Final = PUBSUB_SIGNING_PREFIX.encode()


def flaw(message: rpc_pb2.Message, topics: Mapping[str, int]) -> Offence | None:
    """What is wrong with the form; `topics` gives the most bytes of a payload by full name."""
    if len(message.topicIDs) != 1 or message.topicIDs[0] not in topics:
        return MALFORMED_MESSAGE
    if len(message.data) > topics[message.topicIDs[0]]:
        return MALFORMED_MESSAGE
    if len(message.seqno) != SEQUENCE_BYTES or not 0 < len(message.from_id) <= ORIGIN_BYTES_MAX:
        return MALFORMED_MESSAGE
    if not 0 < len(message.signature) <= SIGNATURE_BYTES_MAX:
        return MALFORMED_MESSAGE
    return None


def is_signed_by_origin(message: rpc_pb2.Message) -> bool:
    """Whether the origin signed topic, data and number (pubsub spec, StrictSign).

    The key is taken from the origin's id, as ed25519 and secp256k1 ids hold it; an id that is only
    a hash of its key, or a key sent along, is not accepted. (libp2p 0.8.1 parses the key sent
    along and dies of junk in it.)
    """
    key = ID(message.from_id).extract_public_key()
    if key is None:
        return False
    unsigned = rpc_pb2.Message(
        data=message.data,
        topicIDs=message.topicIDs,
        from_id=message.from_id,
        seqno=message.seqno,
    )
    try:
        return key.verify(PREFIX + unsigned.SerializeToString(), message.signature)
    except (ValueError, TypeError):  # a signature of the wrong length or form
        return False
