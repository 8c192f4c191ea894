"""The stages `posted safe anchored final`, as the L1 goes on and back, and where they are told."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from fleet import Fleet, SimulatedMachine, fleet_genesis, running, until
from l1_fleet import USD, L1Place, l1_place
from msgspec import Raw

from node.app import Node
from node.l1.bridge import Bridge
from node.rpc.methods.chain import ChainMethods
from node.simulation.wallets import Wallet
from node.telemetry.health import L1_SILENT_S
from node.telemetry.watch import Telemetry


@dataclass
class Scene:
    place: L1Place
    fleet: Fleet
    nodes: list[Node]

    @property
    def bridges(self) -> list[Bridge]:
        return [one.bridge for one in self.nodes if one.bridge]

    async def stage(self, height: int, name: str) -> None:
        """Every node comes to say this of the block."""
        await until(lambda: all(one.stages.of(height) == name for one in self.nodes))


@asynccontextmanager
async def scene(nodes: int = 2, **settings: Any) -> AsyncIterator[Scene]:
    """A leader and a follower, a few blocks in."""
    place = l1_place(validators=nodes, **settings)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    async with trio.open_nursery() as nursery:
        running = [await fleet.start(nursery, number) for number in range(nodes)]
        await until(lambda: all(one.chain.certified > 5 for one in running))
        yield Scene(place, fleet, running)
        nursery.cancel_scope.cancel()


async def test_a_block_goes_through_every_stage(autojump_clock: object) -> None:
    async with scene() as found:
        place, blocks = found.place, found.nodes[0].chain.blocks
        await found.stage(5, "certified")
        place.commit(blocks, 5)
        await found.stage(5, "posted")
        assert found.nodes[1].stages.of(6) == "certified"
        place.l1.chain.mine(8 - int(place.l1.chain.head.block_number))  # an epoch is over
        await found.stage(5, "safe")
        place.finalize()
        await found.stage(5, "anchored")
        place.finalize_batch(1)
        await trio.sleep(5)
        assert [one.stages.of(5) for one in found.nodes] == ["anchored"] * 2
        place.finalize()
        await found.stage(5, "final")
        assert found.nodes[0].stages.of(1) == "final"
        assert found.nodes[0].stages.of(6) == "certified"


async def test_a_reorganisation_takes_a_stage_back_and_the_same_bytes_bring_it_again(
    autojump_clock: object,
) -> None:
    async with scene(epoch_blocks=8) as found:
        place, blocks = found.place, found.nodes[0].chain.blocks
        place.l1.chain.mine(16)
        place.commit(blocks, 5)
        await found.stage(5, "posted")
        place.l1.chain.reorganise(1)  # the transaction waits in the pool
        await found.stage(5, "certified")
        place.l1.chain.mine()
        await found.stage(5, "posted")
        place.finalize()
        await found.stage(5, "anchored")


async def test_a_foreign_batch_is_no_stage_and_an_alarm(autojump_clock: object) -> None:
    async with scene() as found:
        place, blocks = found.place, found.nodes[0].chain.blocks
        place.commit(blocks, 4)
        place.commit(blocks, 5, last_hash=bytes([7] * 32))
        await until(lambda: all(one.chain.alarms for one in found.nodes))
        assert "batch 2, whose block 5 is 0707" in found.nodes[0].chain.alarms[0]
        assert [one.stages.of(4) for one in found.nodes] == ["posted", "posted"]
        assert [one.stages.of(5) for one in found.nodes] == ["certified", "certified"]
        place.finalize()
        await found.stage(4, "anchored")
        assert [len(one.chain.alarms) for one in found.nodes] == [1, 1]


async def test_a_node_that_is_behind_the_contract_tells_stages_as_it_catches_up(
    autojump_clock: object,
) -> None:
    place = l1_place(validators=2)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    async with trio.open_nursery() as nursery:
        leader = await fleet.start(nursery, 0)
        await until(lambda: leader.chain.blocks.head().height > 6)
        place.commit(leader.chain.blocks, 3)
        place.commit(leader.chain.blocks, 6)
        place.finalize()
        follower = await fleet.start(nursery, 1)
        assert follower.stages.heights.anchored == 0
        await until(lambda: follower.stages.heights.anchored == 6)
        assert not follower.chain.alarms
        nursery.cancel_scope.cancel()


async def test_rpc_metrics_and_health_tell_the_l1_side(autojump_clock: object) -> None:
    async with scene() as found:
        place, node = found.place, found.nodes[1]
        telemetry, methods = Telemetry(node, SimulatedMachine()), ChainMethods(node)
        place.commit(found.nodes[0].chain.blocks, 5)
        place.deposit(Wallet(0), USD, 100)
        await found.stage(5, "posted")
        client: Any = None
        await until(lambda: found.bridges[1].facts.latest.items == 1)
        status: Any = methods.status(Raw(b"{}"), client)
        l1 = status["l1"]
        assert (l1["queued"], l1["consumed"], l1["committed"]) == (1, 0, 1)
        assert l1["heights"] == {"posted": 5, "safe": 0, "anchored": 0, "final": 0}
        assert l1["head"] == place.l1.chain.head.block_number and l1["problem"] == ""
        header: Any = methods.get_header(Raw(b'{"height": 5}'), client)
        assert header["stage"] == "posted"
        page = telemetry.pages()["/metrics"]().body.decode()
        assert 'rialto_stage_height_blocks{stage="posted"} 5.0' in page
        assert "rialto_l1_queue_items 1.0" in page
        assert telemetry.health.unready() == []
        place.l1.is_down = True
        await trio.sleep(L1_SILENT_S + 5)
        (problem,) = telemetry.health.unready()
        assert problem.startswith("no news from the L1 for 6") and "is down" in problem
        assert telemetry.health.problems() == []
        assert json.dumps(status)


async def test_a_chain_without_l1_has_three_stages(autojump_clock: object) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    async with running(fleet) as (node,):
        await until(lambda: node.chain.certified > 2)
        client: Any = None
        status: Any = ChainMethods(node).status(Raw(b"{}"), client)
        assert status["l1"] is None and node.stages.of(1) == "certified"
