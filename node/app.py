"""One node, put together: disk, network, machine and keys become a leader or a follower.

What lives here: the order in which the parts are made and stopped. What must never live here: what
any of them does, or where a path, an address or a key came from (`node/config.py`).

    async with trio.open_nursery() as nursery:
        node = Node(genesis, disk, network, machine, keys)
        await nursery.start(node.run)
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from consensus.authority import Recover
from consensus.finality.promises import Appointment
from consensus.finality.validators import ValidatorSet
from consensus.genesis import Genesis
from consensus.signatures import address_of, public_key_of, recover_many
from node import snapshots as taken
from node.certifier import Certifier
from node.chain import LiveChain
from node.divergence import Examiner
from node.engine import Engine
from node.exceptions import NodeError
from node.l1.archive import Archive, BatchArchive
from node.l1.bridge import Bridge, L1Link
from node.l1.origin import NoL1, Origins
from node.l1.settling import Settles, Settling
from node.l1.stages import Stages
from node.machine import Machine
from node.reads import Reads
from node.roles.follower import Follower
from node.roles.ingest import Forwarder, Intake
from node.roles.publisher import Publisher
from node.roles.sequencer import Sequencer
from node.serving import BlockService
from node.signer import Sign, Signer
from node.submission import Submits
from node.tape import Happened, Tape
from p2p.network import Head, Network
from storage.batch_blobs import BatchBlobs
from storage.disk import BLOBS, JOURNAL, SIGNED, SNAPSHOTS, Disk
from storage.journal import Journal
from storage.last_signed import LastSigned
from storage.recovery import recover_chain
from storage.snapshots import Snapshots

LEADER_NEEDS_KEY: Final = 7350
ALONE: Final = 7351


@dataclass(frozen=True)
class ValidatorKey:
    """A validator's public key, and what signs for it."""

    public: bytes
    sign: Sign


@dataclass(frozen=True)
class Keys:
    """`promiser` is the secp256k1 secret that a leader signs its promises with."""

    validator: ValidatorKey | None = None
    promiser: bytes | None = None


Task = Callable[[], Awaitable[None]]


class Node:
    """One node on one chain. `network` None: the one node of its chain. `link`: its L1, if any;
    `settles`: its keys for batches, with one.

    Making it is recovery and may take long; it blocks. `leads` asks for the leader's role, which
    needs the key of validator 0.
    """

    def __init__(
        self,
        genesis: Genesis,
        disk: Disk,
        network: Network | None,
        machine: Machine,
        keys: Keys,
        *,
        leads: bool,
        retention: taken.Retention | None = None,
        recover: Recover = recover_many,
        link: L1Link | None = None,
        settles: Settles | None = None,
    ) -> None:
        validators = ValidatorSet(genesis.validators)
        self.tape: Final = Tape()
        self.network: Final = network
        self.snapshots: Final = Snapshots(disk.files(SNAPSHOTS))
        database = disk.database()
        stored = recover_chain(genesis, database, self.snapshots, recover=recover)
        self.chain: Final = LiveChain(genesis, validators, stored, machine, self.tape, recover)
        self._machine = machine
        self._signer = self._make_signer(disk, keys.validator)
        self._certifier = Certifier(self.chain, machine, self._signer, network)
        self.appointment: Appointment | None = None
        self._examiner = Examiner(self.chain, database, machine, recover)
        kept = retention or taken.Retention(every_blocks=0)
        self.snapshot_keeper: Final = taken.SnapshotKeeper(
            self.chain, database, self.snapshots, machine, kept
        )
        self._tasks: list[Task] = [self._certifier.run, self.snapshot_keeper.run]
        self.bridge: Bridge | None = None
        self._origins: Origins = NoL1()
        if link is not None:
            self.bridge = Bridge(self.chain, link, database, machine)
            self._origins = self.bridge.origins
            self._tasks.append(self.bridge.run)
        self.settling: Settling | None = None
        if link is not None and self.bridge is not None and settles is not None:
            archive = BatchArchive(Archive(disk.files(BLOBS)), BatchBlobs(database))
            self.settling = Settling(
                self.chain, link, self.bridge, database, machine, network, settles, archive
            )
            self._tasks.append(self.settling.run)
        self.stages: Final = self.bridge.stages if self.bridge else Stages(self.chain, None)
        self._sequencer: Sequencer | None = None
        self._engine: Engine | None = None
        self.follower: Follower | None = None
        if network is not None:
            BlockService(self.chain, network)
            keeper = self.snapshot_keeper
            taken.SnapshotService(self.chain, keeper, self.snapshots, machine, network)
        if leads:
            self.submits: Submits = self._lead(disk, keys, recover)
        else:
            self.submits = self._follow()
        told = self._sequencer.when_durable if self._sequencer else _at_once
        self.reads: Final = Reads(self.chain.lock, told)
        self._tasks.append(self.reads.run)

    @property
    def leads(self) -> bool:
        return self._sequencer is not None

    @property
    def is_ahead(self) -> bool:
        """Whether the state is ahead of the last sealed block."""
        return self._engine is not None and self._engine.is_open

    def _make_signer(self, disk: Disk, key: ValidatorKey | None) -> Signer | None:
        if key is None:
            return None
        last = LastSigned(disk.files(SIGNED), self.chain.genesis.hash)
        last.check_head(self.chain.state.head.height)
        genesis_hash, validators = self.chain.genesis.hash, self.chain.validators
        return Signer(genesis_hash, validators, key.public, key.sign, last, self._machine)

    def _lead(self, disk: Disk, keys: Keys, recover: Recover) -> Submits:
        chain, machine = self.chain, self._machine
        signer, secret = self._signer, keys.promiser
        if signer is None or signer.index != chain.leader or secret is None:
            text = f"a leader needs the key of validator {chain.leader} and a promiser key"
            raise NodeError(LEADER_NEEDS_KEY, f"{text}; run as a follower without them")
        self._promiser = address_of(public_key_of(secret))
        journal = Journal(disk.files(JOURNAL), chain.blocks.head().height, machine.entropy)
        engine = self._engine = Engine(chain.state, journal, recover)
        self._publisher = Publisher(chain, journal, machine, signer, self._certifier, self.network)
        again = engine.repeat(journal.recovered, chain.note)
        self._again = again
        sequencer = Sequencer(
            chain, engine, journal, machine, self.tape, secret, recover,
            self._examiner.share_unstored, self._publisher.publish, self._origins,
            self.settling.is_full if self.settling else _never,
        )  # fmt: skip
        if engine.is_open:
            self.tape.put(Happened(engine.height, engine.time, engine.events))
        self._sequencer = sequencer
        self._tasks += [self._publisher.run, sequencer.run]
        if self.network is not None:
            self._tasks.append(Intake(sequencer, self.network).run)
        return sequencer

    def _follow(self) -> Submits:
        if self.network is None:
            raise NodeError(ALONE, "a follower needs a network; run a leader, or name peers")
        self._again = []
        self.follower = Follower(
            self.chain, self._machine, self._certifier, self.network, self._examiner,
            self._origins,
        )  # fmt: skip
        forwarder = Forwarder(self.network)
        self._tasks += [self.follower.run, forwarder.run]
        return forwarder

    async def run(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; started once what the journal held is published."""
        if self.network is not None:
            head = self.chain.state.head
            self.network.announce(
                Head(head.height, self.chain.state.head_hash, self.chain.certified)
            )
        if self._sequencer is not None:
            assert self._signer is not None
            self.appointment = await self._signer.appoint(self._promiser)
            for sealed, flush in self._again:
                await self._publisher.out(sealed, flush)
        async with trio.open_nursery() as nursery:
            for task in self._tasks:
                nursery.start_soon(task)
            task_status.started()

    async def stop(self) -> None:
        """Refuse new commands, answer what came, seal and publish the open block."""
        if self._sequencer is not None:
            await self._sequencer.stop()
            await self._publisher.drained()


def _never() -> bool:
    """A chain that does not commit has no backlog."""
    return False


def _at_once(done: Callable[[], None]) -> None:
    """A follower tells nothing that another node does not have."""
    done()
