"""Blocks by range: far behind, from peers that stop, lie about order, or have pruned."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import trio
from fleet import SimulatedMachine, fleet_genesis, until
from hand_leader import HandChain, HandPeer, settings

from node.app import Keys, Node
from node.roles.catch_up import RANGE_BLOCKS
from node.serving import PRUNED
from p2p.exchange.blocks import BlockRange, encode_range
from p2p.memory import World
from p2p.network import Network, Refused
from p2p.topics import BLOCKS_BY_RANGE
from storage.disk import MemoryDisk

BLOCKS_MADE = 30


@asynccontextmanager
async def peers(
    *names: str, blocks: int = BLOCKS_MADE
) -> AsyncIterator[tuple[HandChain, list[HandPeer], Node]]:
    """Peers with the same chain and one empty follower, which is not running yet."""
    genesis = fleet_genesis(validators=4)
    world, chain = World(1), HandChain(genesis)
    chain.grow(blocks, orders=1)
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        made = []
        for name in names:
            network = await stack.enter_async_context(
                world.network(name, settings(world, genesis, name))
            )
            made.append(HandPeer(network, dict(chain.blocks)))
            made[-1].announce(blocks)
        network = await stack.enter_async_context(
            world.network("new", settings(world, genesis, "new", names))
        )
        node = Node(genesis, MemoryDisk(), network, SimulatedMachine(), Keys(), leads=False)
        nursery.start_soon(run_later, node)
        yield chain, made, node
        nursery.cancel_scope.cancel()


async def run_later(node: Node) -> None:
    """Let the test arrange its peers first."""
    await trio.sleep(1)
    await node.run()


def charges(network: Network | None) -> dict[str, int]:
    assert network is not None
    return {
        name.removeprefix("offence_"): count
        for name, count in network.counters().items()
        if name.startswith("offence_")
    }


async def test_many_blocks_behind(autojump_clock: object) -> None:
    """More than one range is asked for, without a pause between them."""
    blocks = RANGE_BLOCKS + 20
    async with peers("a", blocks=blocks) as (chain, (peer,), node):
        await until(lambda: node.chain.state.head.height == blocks, seconds=20)
        assert node.chain.state.head.state_root == chain.state.head.state_root
        assert [first for first, _ in peer.asked] == [1, RANGE_BLOCKS + 1]
        assert node.chain.certified == blocks
        assert charges(node.network) == {}


async def test_what_a_peer_does_not_finish_another_does(autojump_clock: object) -> None:
    async with peers("a", "b") as (_, (stops, honest), node):
        stops.spoil = lambda blocks: blocks[:5]
        honest.spoil = lambda blocks: blocks[:20]
        await until(lambda: node.chain.state.head.height == BLOCKS_MADE)
        assert charges(node.network) == {}


async def test_blocks_out_of_order_cost_the_peer_and_not_the_node(
    autojump_clock: object,
) -> None:
    async with peers("a", "b") as (_, (liar, honest), node):
        honest.announce(BLOCKS_MADE - 1)  # so that the liar is asked first
        liar.spoil = lambda blocks: [blocks[0], *reversed(blocks[1:])]
        await until(lambda: node.chain.state.head.height == BLOCKS_MADE)
        assert charges(node.network) == {"false_response": 1}


async def test_blocks_that_are_not_the_leaders_cost_the_peer(autojump_clock: object) -> None:
    async with peers("a", "b") as (_, (liar, honest), node):
        honest.announce(BLOCKS_MADE - 1)
        liar.spoil = lambda blocks: [
            *blocks[:3], replace(blocks[3], seal=bytes(96), certificate=b""), *blocks[4:]
        ]  # fmt: skip
        await until(lambda: node.chain.state.head.height == BLOCKS_MADE)
        assert charges(node.network) == {"invalid_block": 1}


async def test_pruned_is_an_answer_and_not_an_offence(autojump_clock: object) -> None:
    async with peers("a", "b") as (_, (pruned, archive), node):
        archive.announce(BLOCKS_MADE - 1)
        pruned.refuses = Refused(PRUNED, "blocks below 20 are not kept here")
        await until(lambda: node.chain.state.head.height == BLOCKS_MADE)
        assert charges(node.network) == {}
        assert not node.chain.alarms


async def test_a_range_that_nobody_keeps_is_an_alarm(autojump_clock: object) -> None:
    async with peers("a") as (_, (pruned,), node):
        pruned.refuses = Refused(PRUNED, "blocks below 20 are not kept here")
        await until(lambda: bool(node.chain.alarms))
        await trio.sleep(5)
        assert len(node.chain.alarms) == 1 and "snapshot" in node.chain.alarms[0]
        assert charges(node.network) == {}


async def test_a_node_refuses_what_it_pruned(autojump_clock: object) -> None:
    """With the code that says so; what it kept it serves."""
    async with peers("a") as (_, (peer,), node):
        await until(lambda: node.chain.state.head.height == BLOCKS_MADE)
        node.chain.blocks.prune(10)
        async def ask(first: int) -> list[bytes]:
            request = encode_range(BlockRange(first, 64))
            return [c async for c in peer.network.request("new", BLOCKS_BY_RANGE, request)]

        assert len(await ask(11)) == BLOCKS_MADE - 10
        try:
            await ask(10)
        except Refused as refused:
            assert refused.code == PRUNED
        else:
            raise AssertionError("a pruned block was served")


async def test_a_lost_block_is_asked_for_although_later_ones_come(
    autojump_clock: object,
) -> None:
    """Gossip goes on every 250 ms; the missing block must not wait until it pauses."""
    async with peers("a") as (chain, (peer,), node):
        await until(lambda: node.chain.state.head.height == BLOCKS_MADE)
        chain.grow(8, orders=0)
        peer.announce(BLOCKS_MADE + 8)
        peer.blocks.update(chain.blocks)
        for height in range(BLOCKS_MADE + 2, BLOCKS_MADE + 9):
            await peer.publish(chain.blocks[height])
            await trio.sleep(0.25)
        assert node.chain.state.head.height > BLOCKS_MADE
