"""The names on the wire, and what each may carry.

What lives here: topics, protocols, their limits. What must never live here: who listens to them.

A name carries chain and fork, so that nodes of two chains or of two rule sets never exchange a
payload: /rialto/<chain>/<fork>/blocks/1. Two protocols carry neither, because they exist to tell
chains apart and to say so: /rialto/status/1 and /rialto/goodbye/1.
"""

from typing import Final, NamedTuple

from .exceptions import NetworkMisuse
from .exchange.attest import ATTEST_BYTES_MAX, SIGNATURE_BYTES
from .rates import Budget, Rate

NAME_UNKNOWN: Final = 7601

BLOCKS: Final = "blocks"
ORDERS: Final = "orders"
VOTES: Final = "votes"

STATUS: Final = "status"
GOODBYE: Final = "goodbye"
INGEST: Final = "ingest"
BLOCKS_BY_RANGE: Final = "blocks-by-range"
BLOCKS_BY_HASH: Final = "blocks-by-hash"
SNAPSHOT_LIST: Final = "snapshots"
SNAPSHOT_PROOF: Final = "snapshot-proof"
SNAPSHOT_CHUNKS: Final = "snapshot-chunks"
ATTEST: Final = "attest"

CHAINLESS: Final = (STATUS, GOODBYE)
MEBI: Final = 1 << 20
RPC_BYTES_MAX: Final = MEBI  # of one pubsub frame; larger ones reset the stream in go and js too


class TopicLimits(NamedTuple):
    """Of one topic: bytes of a payload, rates, and the queue of a subscriber."""

    message_bytes_max: int
    budget: Budget
    queue_messages_max: int
    queue_bytes_max: int


class ExchangeLimits(NamedTuple):
    """Of one request protocol: the request, the chunks of its answer, and its pace."""

    request_bytes_max: int
    chunk_bytes_max: int
    chunks_max: int
    response_bytes_max: int
    chunk_s_max: float  # between two chunks, and for the request itself
    peer_rate: Rate  # requests of one peer
    all_rate: Rate  # requests of all peers
    running_max: int  # answered at once


# A block is at most a million bytes, sealed four times a second; a neighbour may hand us the ones
# of the last seconds at once when we join, hence the burst.
BLOCK_BUDGET: Final = Budget(Rate(50, 200), Rate(16 * MEBI, 64 * MEBI), Rate(200, 800),
                             Rate(48 * MEBI, 192 * MEBI))  # fmt: skip
ORDER_BUDGET: Final = Budget(Rate(200, 400), Rate(8 * MEBI, 16 * MEBI), Rate(800, 1600),
                             Rate(24 * MEBI, 48 * MEBI))  # fmt: skip
VOTE_BUDGET: Final = Budget(Rate(100, 400), Rate(MEBI // 4, MEBI), Rate(1000, 4000),
                            Rate(2 * MEBI, 8 * MEBI))  # fmt: skip

TOPICS: Final = {
    BLOCKS: TopicLimits(1_000_000, BLOCK_BUDGET, 512, 64 * MEBI),
    ORDERS: TopicLimits(1 << 16, ORDER_BUDGET, 4096, 32 * MEBI),
    VOTES: TopicLimits(1 << 11, VOTE_BUDGET, 8192, 8 * MEBI),
}

EXCHANGES: Final = {
    STATUS: ExchangeLimits(256, 256, 1, 256, 10, Rate(1, 10), Rate(50, 200), 64),
    GOODBYE: ExchangeLimits(300, 0, 0, 0, 2, Rate(1, 4), Rate(50, 200), 64),
    BLOCKS_BY_RANGE: ExchangeLimits(64, 2 * MEBI, 256, 32 * MEBI, 10, Rate(5, 20), Rate(20, 80), 8),
    BLOCKS_BY_HASH: ExchangeLimits(
        2 + 32 * 64, 2 * MEBI, 64, 32 * MEBI, 10, Rate(5, 20), Rate(20, 80), 8
    ),
    SNAPSHOT_LIST: ExchangeLimits(16, 1 << 16, 1, 1 << 16, 10, Rate(1, 5), Rate(10, 40), 8),
    SNAPSHOT_PROOF: ExchangeLimits(64, 1 << 18, 1, 1 << 18, 10, Rate(1, 5), Rate(10, 40), 8),
    SNAPSHOT_CHUNKS: ExchangeLimits(64, MEBI, 64, 64 * MEBI, 20, Rate(2, 8), Rate(8, 32), 4),
    # An answer replays nothing, but encodes a batch and commits to its blobs: a second or two.
    ATTEST: ExchangeLimits(
        ATTEST_BYTES_MAX, SIGNATURE_BYTES, 1, SIGNATURE_BYTES, 30, Rate(0.5, 4), Rate(1, 8), 2
    ),
}


class Names(NamedTuple):
    """The full names of one chain and fork."""

    chain: int
    fork: int

    def topic(self, topic: str) -> str:
        """Errors: 7601."""
        if topic not in TOPICS:
            raise unknown(topic, TOPICS)
        return self._full(topic)

    def protocol(self, protocol: str) -> str:
        """Errors: 7601."""
        if protocol not in EXCHANGES and protocol != INGEST:
            raise unknown(protocol, (*EXCHANGES, INGEST))
        return f"/rialto/{protocol}/1" if protocol in CHAINLESS else self._full(protocol)

    def _full(self, name: str) -> str:
        return f"/rialto/{self.chain}/{self.fork}/{name}/1"


def unknown(name: str, known: object) -> NetworkMisuse:
    text = f"{name!r} is no name of p2p/topics.py: add it there with its limits, or use one of them"
    return NetworkMisuse(NAME_UNKNOWN, text, name=name, known=known)
