"""A leader that lies about L1: followers compare with their own L1, name the rule, do not vote.

The followers are whole nodes on an embedded L1; the leader is a peer with the leader's key.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import pytest
import trio
from fleet import START_MS, SimulatedMachine, secret, until
from hand_leader import HandChain, HandPeer, settings, spoiled
from l1_fleet import DEADLINE_S, USD, L1Place, l1_place

from consensus import commands
from consensus.block import Block
from consensus.commands import deposit_group
from consensus.finality import bls
from consensus.proposal import Opening, Proposal
from consensus.rollup import origin as rule
from consensus.rollup.origin import AddressOrder, Item, Origin, place_messages
from consensus.transition import DRIFT, ORIGIN
from node.app import Keys, Node, ValidatorKey
from node.l1.client import Client
from node.l1.origin import DEADLINE_GRACE_MS
from node.signer import signs_with
from p2p.memory import World
from storage.disk import MemoryDisk

ITEMS: Final = 3
HOUR_MS: Final = 3_600_000


class BridgedChain(HandChain):
    """Blocks with origins and messages as its maker likes them. `items`: all of the queue."""

    def __init__(self, place: L1Place) -> None:
        super().__init__(place.genesis)
        self.place = place
        self.items: list[Item] = []

    async def read_items(self) -> None:
        client = Client(self.place.l1, self.genesis.contract)
        told = await client.told_between(0, self.place.l1.chain.head.block_number)
        self.items = [one for one in told if isinstance(one, Item)]

    def origin(self, number: int | None = None) -> Origin:
        """The L1 block of this number, or the finalized one."""
        chain = self.place.l1.chain
        header = chain.block_at(chain.finalized_number if number is None else number).header
        return Origin(int(header.block_number), bytes(header.hash), int(header.timestamp))

    def block(
        self,
        items: Sequence[Item] = (),
        origin: Origin | None = None,
        *,
        time: int = 0,
        orders: int = 0,
    ) -> Block:
        """The next block with these items as its messages; it becomes the head here."""
        head = self.state.head
        where = origin or Origin(head.l1_number, head.l1_hash, head.l1_time)
        when = time or max(START_MS, head.time) + 250
        messages = place_messages(self.state, when, where, items, AddressOrder())
        opening = Opening(when, where.number, where.hash, where.time)
        proposal = Proposal(self.state, opening, messages)
        for n in range(orders):
            proposal.add(self.order(n % 4, 0, 100))
        block, _ = proposal.seal()
        return block


@dataclass
class Scene:
    place: L1Place
    chain: BridgedChain
    leader: HandPeer
    followers: list[Node]

    async def lie(self, block: Block) -> None:
        await self.leader.publish(self.chain.sealed(block))

    async def refused(self, block: Block, number: int) -> None:
        """Every follower names this rule, stays where it is and does not vote."""
        heights = [one.chain.state.head.height for one in self.followers]
        sealed = self.chain.sealed(block)
        await self.leader.publish(sealed)
        nodes = [one.follower for one in self.followers if one.follower]
        await until(lambda: all(sealed.subject.hash in one.breaches for one in nodes))
        assert {one.breaches[sealed.subject.hash].number for one in nodes} == {number}
        assert [one.chain.state.head.height for one in self.followers] == heights
        assert sealed.subject.hash not in self.leader.votes

    async def accepted(self, block: Block) -> None:
        sealed = self.chain.keep(block)
        await self.leader.publish(sealed)
        await until(
            lambda: all(one.chain.state.head == block.header for one in self.followers)
        )
        await until(lambda: sealed.subject.hash in self.leader.votes)


@asynccontextmanager
async def scene(followers: int = 2) -> AsyncIterator[Scene]:
    """A leader by hand, validators on an L1 with three final deposits, no block yet."""
    place = l1_place(validators=4)
    world, chain = World(1), BridgedChain(place)
    for n in range(ITEMS):
        place.deposit(chain.wallets[n], USD, 10**9 + n)
    place.finalize()
    await chain.read_items()
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        network = await stack.enter_async_context(
            world.network("leader", settings(world, place.genesis, "leader"))
        )
        leader = HandPeer(network, chain.blocks)
        nursery.start_soon(leader.listen)
        nodes = []
        for number in range(1, 1 + followers):
            name = f"follower {number}"
            network = await stack.enter_async_context(
                world.network(name, settings(world, place.genesis, name, ["leader"]))
            )
            machine, key = SimulatedMachine(), secret(f"validator {number}")
            keys = Keys(ValidatorKey(bls.public_key_of(key), signs_with(key, machine)))
            node = Node(
                place.genesis, MemoryDisk(), network, machine, keys, leads=False, link=place.link
            )
            await nursery.start(node.run)
            nodes.append(node)
        await until(lambda: all(one.bridge and one.bridge.facts.finalized for one in nodes))
        await trio.sleep(1)
        yield Scene(place, chain, leader, nodes)
        nursery.cancel_scope.cancel()


def renumbered(item: Item, index: int) -> Item:
    """An item that pretends to be another one of the queue."""
    rows = item.rows[:16] + index.to_bytes(8, "little") + item.rows[24:]
    return replace(item, index=index, rows=rows)


def invented(chain: BridgedChain, index: int, atoms: int = 10**12) -> Item:
    rows = deposit_group(0, index, chain.wallets[3].owner, USD, atoms).rows
    return Item(index, 0, 0, bytes(32), rows)


Lie = Callable[[BridgedChain], Block]
LIES: Final[dict[str, tuple[int, Lie]]] = {
    "skips the last item": (
        rule.ITEM_SKIPPED, lambda c: c.block(c.items[:2], c.origin())),
    "skips all items": (
        rule.ITEM_SKIPPED, lambda c: c.block((), c.origin())),
    "skips the first item": (
        rule.QUEUE_OTHER, lambda c: c.block(
            [renumbered(one, n) for n, one in enumerate(c.items[1:])], c.origin())),
    "swaps two items": (
        rule.QUEUE_OTHER, lambda c: c.block(
            [renumbered(c.items[n], at) for at, n in enumerate((1, 0, 2))], c.origin())),
    "puts another deposit in an item's place": (
        rule.QUEUE_OTHER, lambda c: c.block(
            [*c.items[:2], invented(c, 2)], c.origin())),
    "invents one more": (
        rule.ITEM_EARLY, lambda c: c.block([*c.items, invented(c, 3)], c.origin())),
    "credits deposits without their origin": (
        rule.ITEM_EARLY, lambda c: c.block(c.items)),
    "names an origin that brought only some of its messages": (
        rule.ITEM_EARLY, lambda c: c.block(c.items, c.origin(c.items[1].l1_number))),
    "names an L1 block that is none": (
        rule.ORIGIN_OTHER, lambda c: c.block(c.items, replace(c.origin(), hash=bytes([7] * 32)))),
    "gives its origin another time": (
        rule.ORIGIN_OTHER, lambda c: c.block(
            c.items, replace(c.origin(), time=c.origin().time + 1))),
    "hides a credited deposit from the header": (
        rule.QUEUE_OTHER, lambda c: spoiled(c.block(c.items, c.origin()), l1_messages=0)),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
async def test_a_leader_that_lies_about_l1_is_refused_by_number(
    name: str, autojump_clock: object
) -> None:
    number, lie = LIES[name]
    async with scene() as found:
        await found.refused(lie(found.chain), number)


async def test_after_a_lie_an_honest_block_is_taken(autojump_clock: object) -> None:
    async with scene() as found:
        liar = BridgedChain(found.place)
        liar.items = found.chain.items
        await found.refused(liar.block(liar.items[:1], liar.origin()), rule.ITEM_SKIPPED)
        await found.accepted(found.chain.block(found.chain.items, found.chain.origin()))


async def test_an_origin_that_is_not_final_here_is_waited_for_and_not_refused(
    autojump_clock: object,
) -> None:
    async with scene() as found:
        chain, l1 = found.chain, found.place.l1.chain
        head = int(l1.head.block_number)
        block = chain.block(chain.items, chain.origin(head))
        sealed = chain.keep(block)
        await found.leader.publish(sealed)
        await trio.sleep(30)
        for node in found.followers:
            assert node.follower and not node.follower.breaches
            assert node.bridge and node.bridge.origins.behind() == head
            assert node.chain.state.head.height == 0
        assert sealed.subject.hash not in found.leader.votes
        found.place.finalize()
        await until(lambda: all(one.chain.state.head == block.header for one in found.followers))
        await until(lambda: sealed.subject.hash in found.leader.votes)


async def test_an_origin_that_never_comes_holds_up_nothing_but_its_own_block(
    autojump_clock: object,
) -> None:
    async with scene() as found:
        chain, liar = found.chain, BridgedChain(found.place)
        liar.items = chain.items
        never = Origin(1 << 40, bytes(32), START_MS // 1000)
        await found.leader.publish(liar.sealed(liar.block((), never)))
        await trio.sleep(5)
        await found.accepted(chain.block(chain.items, chain.origin()))
        chain.keep(chain.block())  # not gossiped: asked for
        found.leader.announce(2)
        await until(lambda: all(one.chain.state.head.height == 2 for one in found.followers))


async def test_an_origin_goes_back_never(autojump_clock: object) -> None:
    async with scene() as found:
        chain = found.chain
        await found.accepted(chain.block(chain.items, chain.origin()))
        await found.refused(spoiled(chain.block(), l1_number=1), ORIGIN)


async def test_a_frozen_origin_costs_the_leader_its_trade(autojump_clock: object) -> None:
    async with scene() as found:
        chain = found.chain
        await found.accepted(chain.block(chain.items, chain.origin()))
        chain.state.chain = replace(chain.state.chain, drift_max_ms=0)  # its own rule is off
        late = 1000 * chain.state.head.l1_time + HOUR_MS + 1
        await found.refused(chain.block(time=late, orders=1), DRIFT)


async def test_an_expired_item_that_everybody_knows_costs_the_leader_its_votes(
    autojump_clock: object,
) -> None:
    async with scene() as found:
        chain = found.chain
        await found.accepted(chain.block(chain.items, chain.origin()))
        place = found.place
        place.force(chain.wallets[0], commands.cancel_all())
        place.finalize()
        await chain.read_items()
        forced = chain.items[ITEMS]
        await trio.sleep(5)
        expires = 1000 * (forced.time + DEADLINE_S)
        await found.accepted(chain.block(time=expires))  # to the second
        await found.refused(chain.block(time=expires + 1), rule.ITEM_EXPIRED)


async def test_a_node_that_just_learnt_of_an_expired_item_lets_the_chain_go_on(
    autojump_clock: object,
) -> None:
    async with scene() as found:
        chain = found.chain
        await found.accepted(chain.block(chain.items, chain.origin()))
        place = found.place
        place.force(chain.wallets[0], commands.cancel_all())
        await chain.read_items()
        forced = chain.items[ITEMS]
        await trio.sleep(DEADLINE_S - 60)  # L1 makes no block, so nothing is final
        place.finalize()
        await trio.sleep(5)
        expires = 1000 * (forced.time + DEADLINE_S)
        assert expires + 60_000 < START_MS + 1000 * trio.current_time() + DEADLINE_GRACE_MS
        await found.accepted(chain.block(time=expires + 60_000))
