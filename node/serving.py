"""What peers may ask of this node: blocks by range and by hash.

What lives here: answers from what is kept. What must never live here: pace and size, which the
network bounds (`p2p/topics.py`), or trust in the asker.
"""

from collections.abc import AsyncIterator

import trio

from node.chain import LiveChain
from node.sealed_block import SealedBlock, encode_sealed
from p2p.exchange.blocks import decode_hashes, decode_range
from p2p.network import Network
from p2p.topics import BLOCKS_BY_HASH, BLOCKS_BY_RANGE


class BlockService:
    """Serves the kept blocks, each with its seal and, if there is one, its certificate."""

    def __init__(self, chain: LiveChain, network: Network) -> None:
        self._chain = chain
        network.serve(BLOCKS_BY_RANGE, self._by_range)
        network.serve(BLOCKS_BY_HASH, self._by_hash)

    async def _by_range(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        wanted = decode_range(request)
        last = min(wanted.first + wanted.blocks - 1, self._chain.blocks.head().height)
        for height in range(max(wanted.first, self._lowest()), last + 1):
            yield self._sealed(height)
            await trio.lowlevel.checkpoint()

    async def _by_hash(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        for hashed in decode_hashes(request):
            height = self._chain.blocks.height_of(hashed)
            if height is None or height < self._lowest():
                return  # the asker counts
            yield self._sealed(height)
            await trio.lowlevel.checkpoint()

    def _lowest(self) -> int:
        return self._chain.blocks.foundation().height + 1

    def _sealed(self, height: int) -> bytes:
        blocks = self._chain.blocks
        seal, certificate = blocks.seal(height), blocks.certificate(height) or b""
        return encode_sealed(SealedBlock(blocks.block(height), seal, certificate))
