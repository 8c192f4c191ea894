"""Blobs from a beacon node, as long as it has them.

What lives here: which beacon block holds a blob, the question, the answer. What must never live
here: whether the answer is the blob (`archive.find_blob` checks).

Theory. Beacon nodes file blobs under their own blocks. The root of the beacon block that brought an
execution block is in the header of the next one (EIP-4788), so no clock and no slot is needed. A
development L1 without a beacon chain has zeros there and, like anvil, files blobs under its own
block numbers. Beacon nodes keep blobs for 4,096 epochs, about 18 days (EIP-4844).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from node.exceptions import NodeError
from node.l1.http_connection import HttpConnection
from node.l1.surface import L1

BEACON_ANSWER: Final = 7786

OK: Final = 200
NOT_FOUND: Final = 404


class _Answer(msgspec.Struct):
    data: list[str]


class BeaconBlobs:
    """A `BlobSource`: `/eth/v1/beacon/blobs/{block}` (Beacon API 4.0) of the server at `url`."""

    def __init__(self, url: str, l1: L1) -> None:
        """`l1` says which beacon block. Raises `NodeError` 7723."""
        self._connection: Final = HttpConnection(url)
        self._l1: Final = l1

    @property
    def where(self) -> str:
        return self._connection.where

    async def read(self, name: bytes, block: Mapping[str, Any]) -> bytes | None:
        """Raises `NodeError` 7721, 7786."""
        place = await self._place(block)
        if place is None:
            return None
        path = f"/eth/v1/beacon/blobs/{place}?versioned_hashes=0x{name.hex()}"
        status, body = await self._connection.get(path)
        if status == NOT_FOUND:
            return None
        try:
            if status != OK:
                raise ValueError(f"HTTP status {status}")
            blobs: list[str] = msgspec.json.decode(body, type=_Answer).data
            return bytes.fromhex(blobs[0].removeprefix("0x")) if blobs else None
        except ValueError as error:
            text = f"{self.where} has no answer to a request for blobs ({error})"
            raise NodeError(BEACON_ANSWER, f"{text}; is it a beacon node?") from error

    async def _place(self, block: Mapping[str, Any]) -> str | None:
        """The root of the beacon block that brought the L1 block; None if nothing follows it."""
        number = int(block["number"], 16)
        if not _root(block):
            return str(number)
        child = await self._l1.request("eth_getBlockByNumber", hex(number + 1), False)
        return f"0x{_root(child):064x}" if child else None

    async def close(self) -> None:
        await self._connection.close()


def _root(block: Mapping[str, Any]) -> int:
    return int(block.get("parentBeaconBlockRoot") or "0x0", 16)
