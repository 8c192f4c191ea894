"""Nodes without a sequencer, for batches: live chains that were fed the bridge's blocks, a network,
KZG in this process, and validators that attest.

What lives here: making and feeding. What must never live here: an expectation.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

from bridge_chain import Bridge
from signed_chain import Signed

from consensus.block import Block
from consensus.commands import place
from consensus.da import kzg
from consensus.da.kzg import Extended
from consensus.finality.validators import ValidatorSet
from consensus.genesis import Genesis
from consensus.signatures import recover_many
from node.chain import LiveChain
from node.l1 import trusted_setup
from node.l1.attesting import Attester, Committee
from node.sealed_block import SealedBlock
from node.simulation.machine import SimulatedMachine
from node.tape import Tape
from p2p.network import Network
from storage.disk import SNAPSHOTS, MemoryDisk
from storage.recovery import recover_chain
from storage.snapshots import Snapshots


@cache
def _commitment(blob: bytes) -> bytes:
    return kzg.commit(blob, trusted_setup.load())


@cache
def _proof(blob: bytes) -> bytes:
    return kzg.blob_proof(blob, _commitment(blob), trusted_setup.load())


@cache
def _extended(blob: bytes) -> Extended:
    return kzg.extend(blob, trusted_setup.load())


class LocalKzg:
    """`KzgProcess` without the process: a test's clock does not wait for children."""

    async def commit(self, blobs: Sequence[bytes]) -> tuple[bytes, ...]:
        return tuple(map(_commitment, blobs))

    async def prove(self, blobs: Sequence[bytes]) -> tuple[tuple[bytes, bytes], ...]:
        return tuple((_commitment(blob), _proof(blob)) for blob in blobs)

    async def extend(self, blobs: Sequence[bytes]) -> tuple[Extended, ...]:
        return tuple(map(_extended, blobs))


def live_chain(genesis: Genesis, disk: MemoryDisk, machine: SimulatedMachine) -> LiveChain:
    """The chain on this disk, begun or recovered."""
    stored = recover_chain(genesis, disk.database(), Snapshots(disk.files(SNAPSHOTS)))
    validators = ValidatorSet(genesis.validators)
    return LiveChain(genesis, validators, stored, machine, Tape(), recover_many)


async def feed(chain: LiveChain, blocks: Sequence[Block]) -> None:
    """Replay those blocks that the chain lacks; all are certified then."""
    for block in blocks[chain.state.head.height :]:
        await chain.apply(SealedBlock(block, b""))
    chain.certified = chain.state.head.height


def committee_of(bridge: Bridge) -> Committee:
    return Committee(bridge.epoch, tuple(bridge.members))


def secret_of_member(bridge: Bridge, place: int) -> bytes:
    return list(bridge.members.values())[place]


class Validator:
    """One member of the committee, on its own disk and its own network."""

    def __init__(self, bridge: Bridge, network: Network, member: int | bytes) -> None:
        self.bridge: Final = bridge
        self.network: Final = network
        self.machine: Final = SimulatedMachine()
        self.chain: Final = live_chain(bridge.chain.genesis, MemoryDisk(), self.machine)
        secret = secret_of_member(bridge, member) if isinstance(member, int) else member
        self.attester: Final = Attester(
            self.chain, self.machine, network, LocalKzg(), secret, lambda: committee_of(bridge)
        )

    async def follow(self) -> None:
        await feed(self.chain, self.bridge.chain.blocks)


def traded(bridge: Bridge, blocks: int = 3) -> None:
    """Deposits, and blocks with resting orders."""
    if not bridge.items:
        bridge.deposit("owner 2", 0, 10**9)
        bridge.block()
    for _ in range(blocks):
        number = len(bridge.chain.blocks)
        rows = [place(0, 0, 1, 20_000 + number, 10 + number)]
        bridge.block(order(bridge, rows))


def order(bridge: Bridge, rows: Sequence[bytes]) -> Signed:
    return bridge.chain.group(2, rows)


