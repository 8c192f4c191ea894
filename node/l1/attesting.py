"""Attesting: more than two thirds of the committee sign a batch before it is posted.

What lives here: both ends of the protocol, and what a validator looks at before it signs. What must
never live here: a batch's bytes (`batches.py`), or when one is due (`committer.py`).

Theory. L1 believes signatures of the committee and nothing else, so a validator signs only what it
has replayed, and only blobs that it has decoded: a root whose data nobody has would be worse than
no root. Making sure costs a second, which a stranger must not be able to ask for; so a request
carries the asker's own signature over the same text, and only members are answered. A member that
signs a batch which contradicts the certified blocks has proved its own fault.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol

import trio

from consensus.exceptions import ConsensusError, InvalidSignature
from consensus.genesis import SETTLEMENTS
from consensus.rollup.batch import Batch, batch_hash, decode_batch, encode_batch
from consensus.signatures import address_of, public_key_of, recover, sign
from node.chain import LiveChain
from node.exceptions import NodeError
from node.l1 import contract
from node.l1.batches import BATCH_BLOCKS, check_commitments, checked_blobs, read_range
from node.l1.contract import Signatures, compact
from node.machine import Machine
from p2p.exceptions import PeerFault
from p2p.exchange.attest import AttestRequest, decode_attest, encode_attest
from p2p.network import Network, Refused
from p2p.penalties import FALSE_RESPONSE, INVALID_BATCH
from p2p.topics import ATTEST

ASKER: Final = 7764
NOT_A_MEMBER: Final = 7765
QUORUM_SHORT: Final = 7766

ASKED_AT_ONCE_MAX: Final = 8
COLLECT_S_MAX: Final = 120.0
"""For one attempt: a few rounds of at most 30 s (`p2p/topics.py`)."""

log: Final = logging.getLogger(__name__)


class Committee(NamedTuple):
    """Who signs for L1: addresses in the contract's order, and how often they changed."""

    epoch: int
    members: tuple[bytes, ...]

    def has_quorum(self, signatures: int) -> bool:
        return 3 * signatures > 2 * len(self.members)


class Commits(Protocol):
    """What commits to blobs without stopping the loop: `KzgProcess`."""

    async def commit(self, blobs: Sequence[bytes]) -> tuple[bytes, ...]: ...


def digest_of(chain: LiveChain, epoch: int, batch: Batch) -> bytes:
    """What is signed for this chain's contract."""
    genesis = chain.genesis
    mode = SETTLEMENTS.index(genesis.settlement) + 1
    return contract.attestation(
        genesis.chain_id, genesis.contract, mode, epoch, batch_hash(batch)
    )


class Attester:
    """A validator's end: answers members of the committee. Making it is enough."""

    def __init__(
        self,
        chain: LiveChain,
        machine: Machine,
        network: Network,
        kzg: Commits,
        secret: bytes,
        committee: Callable[[], Committee],
    ) -> None:
        self._chain = chain
        self._machine = machine
        self._network = network
        self._kzg = kzg
        self._secret = secret
        self._committee = committee
        self._one_at_a_time = trio.Lock()  # a batch in hand is tens of megabytes
        self.address: Final = address_of(public_key_of(secret))
        self.signed = 0
        network.serve(ATTEST, self._answer)

    async def _answer(self, peer: str, request: bytes) -> AsyncIterator[bytes]:
        asked = decode_attest(request)
        try:
            batch = decode_batch(asked.batch)
            self._check_asker(asked, batch)
            async with self._one_at_a_time:
                await self._check(batch, asked.carried)
        except NodeError as error:
            if error.number not in (BATCH_BLOCKS, ASKER, NOT_A_MEMBER):
                self._network.offend(peer, INVALID_BATCH)
                self._chain.alarm(f"a member of the committee signed a false batch: {error}")
            raise Refused(error.number, error.text) from error
        except ConsensusError as error:
            self._network.offend(peer, INVALID_BATCH)
            raise Refused(error.number, error.text) from error
        self.signed += 1
        yield sign(self._secret, digest_of(self._chain, asked.epoch, batch))

    def _check_asker(self, asked: AttestRequest, batch: Batch) -> None:
        committee = self._committee()
        if self.address not in committee.members:
            text = f"{self.address.hex()} is no member of the committee; ask its governor"
            raise NodeError(NOT_A_MEMBER, text)
        if asked.epoch != committee.epoch:
            text = f"committee {asked.epoch} is asked, this node knows number {committee.epoch}"
            raise NodeError(ASKER, f"{text}; ask again once both have seen the same L1 block")
        try:
            asker = recover(digest_of(self._chain, asked.epoch, batch), asked.signature)
        except InvalidSignature as error:
            raise NodeError(ASKER, f"the asker's signature: {error.text}") from error
        if asker not in committee.members:
            raise NodeError(ASKER, f"{asker.hex()} asks, who is no member of the committee")

    async def _check(self, batch: Batch, carried: bytes) -> None:
        """Raises `NodeError` 7760 .. 7763."""
        chain, settlement = self._chain, self._chain.genesis.settlement
        if batch.last_height > chain.certified:
            text = f"block {batch.last_height} is not certified here, {chain.certified} is"
            raise NodeError(BATCH_BLOCKS, f"{text}; ask again in a second")
        own = await self._machine.disk(
            lambda: read_range(chain.blocks, batch.first_height, batch.last_height)
        )
        blobs = await self._machine.compute(lambda: checked_blobs(batch, carried, own, settlement))
        check_commitments(batch, await self._kzg.commit(blobs))


class Collector:
    """The committer's end: asks validators until enough have signed."""

    def __init__(self, chain: LiveChain, network: Network | None, secret: bytes) -> None:
        self._chain = chain
        self._network = network
        self._secret = secret
        self._known: set[str] = set()  # peers that answered as members
        self.address: Final = address_of(public_key_of(secret))

    async def collect(self, batch: Batch, carried: bytes, committee: Committee) -> Signatures:
        """Signatures of a quorum. Raises `NodeError` 7765, 7766."""
        if self.address not in committee.members:
            text = f"{self.address.hex()} is no member of the committee: give another attester key"
            raise NodeError(NOT_A_MEMBER, text)
        digest = digest_of(self._chain, committee.epoch, batch)
        own = sign(self._secret, digest)
        found = {self.address: own}
        if self._network is not None and not committee.has_quorum(1):
            request = encode_attest(
                AttestRequest(committee.epoch, own, encode_batch(batch), carried)
            )
            round_ = _Round(self._network, request, digest, committee, found, self._known)
            with trio.move_on_after(COLLECT_S_MAX):
                await round_.run()
        if not committee.has_quorum(len(found)):
            text = f"{len(found)} of {len(committee.members)} members signed batch {batch.number}"
            raise NodeError(QUORUM_SHORT, f"{text}, more than two thirds must; are they connected?")
        return _signatures(committee, found)


class _Round:
    """One request to many peers, those known as members first."""

    def __init__(
        self,
        network: Network,
        request: bytes,
        digest: bytes,
        committee: Committee,
        found: dict[bytes, bytes],
        known: set[str],
    ) -> None:
        self._network = network
        self._request = request
        self._digest = digest
        self._committee = committee
        self._found = found
        self._known = known
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Until a quorum has signed, or everybody was asked."""
        ready = [one.peer for one in self._network.peers() if one.ready]
        first = [peer for peer in ready if peer in self._known]
        rest = [peer for peer in ready if peer not in self._known]
        with self._scope:
            for peers in (first, rest):
                await self._ask_all(peers)

    async def _ask_all(self, peers: Sequence[str]) -> None:
        room = trio.CapacityLimiter(ASKED_AT_ONCE_MAX)
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(self._with, room, self._ask, peer)

    async def _with(
        self, room: trio.CapacityLimiter, work: Callable[[str], Awaitable[None]], peer: str
    ) -> None:
        async with room:
            await work(peer)

    async def _ask(self, peer: str) -> None:
        try:
            async for chunk in self._network.request(peer, ATTEST, self._request):
                self._take(peer, chunk)
        except Refused as refused:
            log.info("peer %s does not attest: %s", peer, refused)
        except PeerFault as fault:
            self._known.discard(peer)
            log.debug("peer %s does not attest: %s", peer, fault)

    def _take(self, peer: str, signature: bytes) -> None:
        try:
            member = recover(self._digest, signature)
        except InvalidSignature:
            member = b""
        if member not in self._committee.members:
            self._network.offend(peer, FALSE_RESPONSE)
            return
        self._known.add(peer)
        if self._scope.cancel_called:
            return  # it came with the one that made the quorum, and costs gas
        self._found[member] = signature
        if self._committee.has_quorum(len(self._found)):
            self._scope.cancel()


def _signatures(committee: Committee, found: dict[bytes, bytes]) -> Signatures:
    bitmap = sum(1 << place for place, one in enumerate(committee.members) if one in found)
    signed = [compact(found[one]) for one in committee.members if one in found]
    return Signatures(committee.members, bitmap, tuple(signed))
