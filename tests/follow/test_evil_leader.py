"""A leader that seals what breaks a rule: followers name it, do not vote, serve, and go on after.

One case for each rule that a leader can break alone. The followers are whole nodes; the leader is a
peer with the leader's key.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import pytest
import trio
from fleet import SimulatedMachine, fleet_genesis, secret, until
from hand_leader import HandChain, HandPeer, settings, spoiled

from consensus import authority, block, commands, layout, transition
from consensus.block import Block
from consensus.finality import bls
from consensus.streams import bytes_root
from node.app import Keys, Node, ValidatorKey
from node.roles.follower import BREACHES_MAX, DOUBLE_SEAL
from node.signer import signs_with
from p2p.exchange.blocks import BlockRange, encode_range
from p2p.memory import World
from p2p.topics import BLOCKS_BY_RANGE
from storage.disk import MemoryDisk

FOLLOWERS: Final = ("one", "two")
GOOD_BLOCKS: Final = 3


@dataclass
class Scene:
    chain: HandChain
    leader: HandPeer
    followers: list[Node]

    def height(self) -> int:
        return min(one.chain.state.head.height for one in self.followers)


@asynccontextmanager
async def scene(
    good_blocks: int = GOOD_BLOCKS, **parameters: int
) -> AsyncIterator[Scene]:
    """A leader by hand and two validators that follow it, some good blocks in."""
    genesis = fleet_genesis(validators=4, **parameters)
    world, chain = World(1), HandChain(genesis)
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        network = await stack.enter_async_context(
            world.network("leader", settings(world, genesis, "leader"))
        )
        leader = HandPeer(network, chain.blocks)
        nursery.start_soon(leader.listen)
        followers = []
        for number, name in enumerate(FOLLOWERS, 1):
            network = await stack.enter_async_context(
                world.network(name, settings(world, genesis, name, ["leader"]))
            )
            machine, key = SimulatedMachine(), secret(f"validator {number}")
            voter = ValidatorKey(bls.public_key_of(key), signs_with(key, machine))
            node = Node(genesis, MemoryDisk(), network, machine, Keys(voter), leads=False)
            await nursery.start(node.run)
            followers.append(node)
        found = Scene(chain, leader, followers)
        chain.grow(good_blocks)
        leader.announce(good_blocks)
        await until(lambda: found.height() == good_blocks)
        yield found
        nursery.cancel_scope.cancel()


def roots(body: Block, **fields: object) -> Block:
    """The block with the roots of its body put right, so that only what is in it is wrong."""
    return spoiled(
        body,
        commands_root=bytes_root("commands", body.messages + body.commands),
        signatures_root=bytes_root("signatures", body.signatures),
        **fields,
    )


def bulk(chain: HandChain) -> Block:
    wallet = chain.wallets[0]
    rows = [commands.place(0, 0, 900 + n, 90 + n, 10) for n in range(2)]
    return chain.make([chain.group(wallet, *rows)])


def reordered(good: Block) -> Block:
    """The two operations of a bulk in the other order."""
    rows = good.commands
    header, one, other = rows[:64], rows[64:128], rows[128:192]
    assert len(rows) == 3 * block.ROW_BYTES == 192
    return roots(replace(good, commands=header + other + one))


def unsigned(good: Block) -> Block:
    return roots(replace(good, signatures=bytes(len(good.signatures))))


def twice(good: Block) -> Block:
    """One group included twice."""
    return roots(
        replace(good, commands=good.commands * 2, signatures=good.signatures * 2),
        commands=2 * good.header.commands,
    )


Spoil = Callable[[Block], Block]
HEADERS: Final[dict[str, tuple[int, Spoil]]] = {
    "another version": (transition.VERSION, lambda b: spoiled(b, version=77)),
    "another parent": (transition.PARENT, lambda b: spoiled(b, parent=bytes(32))),
    "no later than its parent": (
        transition.TIME, lambda b: spoiled(b, time=b.header.time - 250)),
    "a day and more ahead": (
        transition.TIME, lambda b: spoiled(b, time=b.header.time + transition.AHEAD_MAX_MS)),
    "another validator set": (
        transition.VALIDATORS, lambda b: spoiled(b, validators_hash=bytes(32))),
    "one L1 block with two times": (transition.ORIGIN, lambda b: spoiled(b, l1_time=9)),
    "an L1 message too many": (transition.L1_MESSAGES, lambda b: spoiled(b, l1_messages=1)),
    "another queue hash": (
        transition.QUEUE_HASH, lambda b: spoiled(b, l1_queue_hash=bytes([1] * 32))),
    "a wrong state root": (transition.STATE_ROOT, lambda b: spoiled(b, state_root=bytes(32))),
    "wrong events": (transition.EVENTS_ROOT, lambda b: spoiled(b, events_root=bytes(32))),
    "wrong withdrawals": (
        transition.WITHDRAWALS_ROOT, lambda b: spoiled(b, withdrawals_root=bytes(32))),
    "a wrong count": (transition.COMMANDS, lambda b: spoiled(b, commands=99)),
    "a wrong sequence": (
        transition.SEQUENCE, lambda b: spoiled(b, sequence=b.header.sequence + 1)),
    "another body": (block.COMMANDS_ROOT, lambda b: spoiled(b, commands_root=bytes(32))),
    "other signatures": (block.SIGNATURES_ROOT, lambda b: spoiled(b, signatures_root=bytes(32))),
    "a torn group": (block.BODY_SHAPE, lambda b: roots(replace(b, commands=b.commands[:64]))),
    "a reordered bulk": (authority.SIGNATURE, reordered),
    "a bad signature": (authority.SIGNATURE, unsigned),
    "a command twice": (layout.NONCE_USED, twice),
    "an expired command": (
        layout.GROUP_EXPIRED, lambda b: spoiled(b, time=b.header.time + 700_000)),
}  # fmt: skip


async def test_each_broken_rule_is_named_not_voted_for_and_survived(
    autojump_clock: object,
) -> None:
    """All the lies at one height, one after the other; then the block that holds."""
    async with scene() as found:
        good = bulk(found.chain)
        height = good.header.height
        for name, (number, spoil) in HEADERS.items():
            bad = found.chain.sealed(spoil(good))
            hashed = bad.subject.hash
            await found.leader.publish(bad)
            await until(lambda at=hashed: all(  # type: ignore[misc]
                at in one.follower.breaches for one in found.followers if one.follower
            ))  # fmt: skip
            for one in found.followers:
                assert one.follower is not None
                breach = one.follower.breaches[hashed]
                assert (breach.number, breach.height) == (number, height), (name, breach)
                assert str(number) in one.chain.alarms[-1] and hashed.hex() in one.chain.alarms[-1]
                assert one.chain.state.head.height == height - 1
            await trio.sleep(2)
            assert hashed not in found.leader.votes, name
        assert await served(found) == GOOD_BLOCKS
        await found.leader.publish(found.chain.sealed(good))
        await until(lambda: found.height() == height)
        hashed = found.chain.sealed(good).subject.hash
        await until(lambda: hashed in found.leader.votes)


async def served(found: Scene) -> int:
    """How many blocks a follower gives to who asks."""
    peer = found.followers[0].network
    assert peer is not None
    request = encode_range(BlockRange(1, 64))
    answers = found.leader.network.request(peer.peer, BLOCKS_BY_RANGE, request)
    return len([chunk async for chunk in answers])


async def test_a_block_over_its_budget_is_refused(autojump_clock: object) -> None:
    """The leader goes on where every honest one seals: the block has touched its leaves."""
    async with scene(1, leaves_max=64) as found:
        chain = found.chain
        bad = chain.sealed(over_budget(chain))
        await found.leader.publish(bad)
        await until(lambda: all(
            one.follower is not None and bad.subject.hash in one.follower.breaches
            for one in found.followers
        ))  # fmt: skip
        for one in found.followers:
            assert one.follower is not None
            assert one.follower.breaches[bad.subject.hash].number == layout.BLOCK_FULL
        assert bad.subject.hash not in found.leader.votes


def over_budget(chain: HandChain) -> Block:
    """Groups of one order each, all of them good, up to some too many."""
    groups = [chain.order(n % 4, 1, 100 + 15 * n) for n in range(60)]
    body = Block(
        chain.make().header,
        b"",
        b"".join(one.group.rows for one in groups),
        b"".join(one.signature for one in groups),
    )
    return roots(body)


async def test_two_sealed_blocks_of_one_height_are_proof_and_get_one_vote(
    autojump_clock: object,
) -> None:
    """Both hold by themselves: the first that came is followed, the second is reported."""
    async with scene() as found:
        good = found.chain.make([found.chain.order(0, 0, 90)])
        other = found.chain.sealed(spoiled(good, state_root=bytes(32)))
        first = found.chain.sealed(good)
        await found.leader.publish(first)
        await until(lambda: found.height() == good.header.height)
        await found.leader.publish(other)
        await until(lambda: all(
            one.follower is not None and other.subject.hash in one.follower.breaches
            for one in found.followers
        ))  # fmt: skip
        for one in found.followers:
            assert one.follower is not None
            breach = one.follower.breaches[other.subject.hash]
            assert breach.number == DOUBLE_SEAL
            assert first.subject.hash.hex() in breach.text
            assert other.subject.hash.hex() in breach.text
        await trio.sleep(2)
        assert other.subject.hash not in found.leader.votes
        assert first.subject.hash in found.leader.votes


async def test_a_block_that_another_validator_sealed_costs_the_peer(
    autojump_clock: object,
) -> None:
    """It is the neighbour's offence: an honest one checks the seal before it hands a block on."""
    async with scene() as found:
        good = found.chain.make([found.chain.order(0, 0, 90)])
        for bad in (
            found.chain.sealed(spoiled(good, proposer=1)),
            replace(found.chain.sealed(good), seal=bytes(96)),
        ):
            await found.leader.publish(bad)
            await trio.sleep(2)
            for one in found.followers:
                assert one.follower is not None and one.network is not None
                assert bad.subject.hash not in one.follower.breaches
                assert one.network.counters()["offence_invalid_message"] >= 1
        assert found.height() == GOOD_BLOCKS


@pytest.mark.slow
async def test_breaches_are_bounded(autojump_clock: object) -> None:
    """A leader that seals lies for ever fills no memory."""
    async with scene() as found:
        good = found.chain.make([found.chain.order(0, 0, 90)])
        for n in range(BREACHES_MAX + 20):
            bad = found.chain.sealed(spoiled(good, state_root=n.to_bytes(32, "big")))
            await found.leader.publish(bad)
            await trio.sleep(0.1)
        for one in found.followers:
            assert one.follower is not None
            assert 0 < len(one.follower.breaches) <= BREACHES_MAX
