"""The contract's committee as L1 tells it.

What lives here: reading epoch and members. What must never live here: who signs what.

The members of the first epoch are in the deployment file, those of later ones in an event whose
epoch is indexed; the contract keeps their hash, which is compared.
"""

from typing import Final

from eth_abi import encode

from consensus.keccak import keccak256
from node.exceptions import NodeError
from node.l1.attesting import Committee
from node.l1.client import Client
from node.l1.contract import read_event, topic
from node.l1.deployment import Deployment
from node.l1.surface import L1, as_hex

COMMITTEE_UNKNOWN: Final = 7768

FIRST_EPOCH: Final = 1
RANGE_BLOCKS: Final = 1000
"""Of one request for logs: what every client and provider answers."""


class Committees:
    """`current` is what was read last: at first, that of the deployment."""

    def __init__(self, l1: L1, deployment: Deployment) -> None:
        self._l1 = l1
        self._deployment = deployment
        self._client = Client(l1, deployment.contract)
        self.current = Committee(FIRST_EPOCH, deployment.members)

    async def refresh(self) -> Committee:
        """Read the epoch, and its members if it is new. Raises 7768, what `request` raises."""
        epoch = await self._client.number("epoch")
        if epoch != self.current.epoch:
            members = await self._members(epoch)
            if await self._client.word("committee") != hash_of(members):
                raise _unknown(epoch)
            self.current = Committee(epoch, members)
        return self.current

    async def _members(self, epoch: int) -> tuple[bytes, ...]:
        """Walk back from the head: changes are rare, and the last one is asked for."""
        if epoch == FIRST_EPOCH:
            return self._deployment.members
        topics = ["0x" + topic("CommitteeChanged").hex(), "0x" + epoch.to_bytes(32, "big").hex()]
        last = int(await self._l1.request("eth_blockNumber"), 16)
        while last >= self._deployment.block_number:
            first = max(self._deployment.block_number, last - RANGE_BLOCKS + 1)
            query = {
                "address": as_hex(self._deployment.contract), "topics": topics,
                "fromBlock": hex(first), "toBlock": hex(last),
            }  # fmt: skip
            for log in await self._l1.request("eth_getLogs", query):
                members = read_event("CommitteeChanged", log)["members"]
                return tuple(bytes.fromhex(one[2:]) for one in members)
            last = first - 1
        raise _unknown(epoch)


def hash_of(members: tuple[bytes, ...]) -> bytes:
    """What the contract keeps of them."""
    return keccak256(encode(["address[]"], [list(members)]))


def _unknown(epoch: int) -> NodeError:
    text = f"the L1 does not say who is in committee {epoch}; ask another execution client"
    return NodeError(COMMITTEE_UNKNOWN, text)
