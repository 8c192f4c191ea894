"""What peers may ask of this node: blocks by range and by hash.

What lives here: answers from what is kept. What must never live here: pace and size, which the
network bounds (`p2p/topics.py`), or trust in the asker.

A range that begins below the lowest block kept is refused with `PRUNED`: an answer like any other,
and the asker learns that it needs a snapshot. A range above the head is an empty answer.
"""

from collections.abc import AsyncIterator
from typing import Final

import trio

from node.chain import LiveChain
from node.sealed_block import SealedBlock, encode_sealed
from p2p.exchange.blocks import decode_hashes, decode_range
from p2p.network import Network, Refused
from p2p.topics import BLOCKS_BY_HASH, BLOCKS_BY_RANGE, EXCHANGES

PRUNED: Final = 100
"""Refusal of a range: the blocks were pruned here."""


class BlockService:
    """Serves the kept blocks, each with its seal and, if there is one, its certificate."""

    def __init__(self, chain: LiveChain, network: Network) -> None:
        self._chain = chain
        network.serve(BLOCKS_BY_RANGE, self._by_range)
        network.serve(BLOCKS_BY_HASH, self._by_hash)

    async def _by_range(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        wanted = decode_range(request)
        lowest = self._lowest()
        if wanted.first < lowest:
            raise Refused(PRUNED, f"blocks below {lowest} are not kept here; fetch a snapshot")
        limits = EXCHANGES[BLOCKS_BY_RANGE]
        left = limits.response_bytes_max
        last = min(wanted.first + wanted.blocks - 1, self._chain.blocks.head().height)
        for height in range(wanted.first, last + 1):
            sealed = self._sealed(height)
            left -= len(sealed)
            if left < 0:
                return  # the asker asks again
            yield sealed
            await trio.lowlevel.checkpoint()

    async def _by_hash(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        left = EXCHANGES[BLOCKS_BY_HASH].response_bytes_max
        for hashed in decode_hashes(request):
            height = self._chain.blocks.height_of(hashed)
            if height is None or height < self._lowest():
                return  # the asker counts
            sealed = self._sealed(height)
            left -= len(sealed)
            if left < 0:
                return
            yield sealed
            await trio.lowlevel.checkpoint()

    def _lowest(self) -> int:
        return self._chain.blocks.foundation().height + 1

    def _sealed(self, height: int) -> bytes:
        blocks = self._chain.blocks
        seal, certificate = blocks.seal(height), blocks.certificate(height) or b""
        return encode_sealed(SealedBlock(blocks.block(height), seal, certificate))
