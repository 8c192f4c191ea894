"""Health fails when the height stalls, an alarm stands, the loop is late; readiness earlier."""

import json

import trio
from fleet import Fleet, SimulatedMachine, fleet_genesis, running, until

from node.app import Node
from node.roles.sequencer import UNCERTIFIED_BLOCKS_MAX
from node.telemetry.health import LAG_S_MAX, STALL_S
from node.telemetry.metrics import NodeCollector, metrics_page, registry_of
from node.telemetry.watch import Telemetry


def watched(node: Node) -> Telemetry:
    return Telemetry(node, SimulatedMachine())


async def test_a_moving_certified_chain_is_healthy_and_ready(autojump_clock: object) -> None:
    fleet = Fleet(fleet_genesis(validators=4))
    async with running(fleet, 3) as nodes:
        seen = [watched(node).health for node in nodes]
        await until(lambda: all(node.chain.certified >= 3 for node in nodes))
        for health in seen:
            assert health.problems() == [] and health.unready() == []
            page = health.ready_page()
            assert page.status == 200 and json.loads(page.body)["ok"] is True


async def test_a_follower_whose_leader_is_gone_is_unhealthy_and_well_again(
    autojump_clock: object,
) -> None:
    fleet = Fleet(fleet_genesis(validators=4))
    async with trio.open_nursery() as nursery:
        for number in range(4):
            await fleet.start(nursery, number)
        follower = fleet.nodes[1]
        health = watched(follower).health
        await until(lambda: follower.chain.certified >= 2)
        fleet.kill(0)
        await trio.sleep(STALL_S - 3)
        assert health.problems() == []
        await trio.sleep(4)
        (problem,) = health.problems()
        assert problem.startswith("no block for ") and "leader" in problem
        assert health.health_page().status == 503
        fleet.disks[0].crash()
        await fleet.start(nursery, 0)
        height = follower.chain.state.head.height
        await until(lambda: follower.chain.state.head.height > height)
        assert health.problems() == []
        nursery.cancel_scope.cancel()


async def test_an_alarm_stands_until_the_restart(autojump_clock: object) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    async with running(fleet) as (node,):
        health = watched(node).health
        await until(lambda: node.chain.state.head.height >= 2)
        node.chain.alarm("first")
        node.chain.alarm("the leader sealed block 7, which breaks rule 3014")
        (problem,) = health.problems()
        assert "rule 3014" in problem and "1 before it" in problem
        await trio.sleep(30)
        assert health.health_page().status == 503 and health.ready_page().status == 503


async def test_a_late_loop_is_unhealthy(autojump_clock: object) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    async with running(fleet) as (node,):
        telemetry = watched(node)
        await until(lambda: node.chain.state.head.height >= 1)
        for _ in range(100):
            telemetry.lag.note(LAG_S_MAX / 2)
        assert telemetry.health.problems() == []
        for _ in range(100):
            telemetry.lag.note(2 * LAG_S_MAX)
        (problem,) = telemetry.health.problems()
        assert "1000 ms late" in problem


async def test_blocks_without_certificates_and_missing_peers_are_not_ready(
    autojump_clock: object,
) -> None:
    """Two of four validators make no quorum; a follower alone has nobody to follow."""
    fleet = Fleet(fleet_genesis(validators=4))
    async with running(fleet, 2) as (leader, follower):
        health = watched(leader).health
        alone = watched(follower).health
        await until(
            lambda: leader.chain.state.head.height > UNCERTIFIED_BLOCKS_MAX + 1, seconds=120
        )
        assert health.problems() == []
        (problem,) = health.unready()
        assert "fewer than 3 validators vote" in problem
        fleet.kill(0)
        await trio.sleep(1)
        assert any("no peer is connected" in text for text in alone.unready())


async def test_the_metrics_page_has_units_and_the_values_of_the_node(
    autojump_clock: object,
) -> None:
    fleet = Fleet(fleet_genesis(validators=4))
    async with running(fleet, 3) as (leader, *_):
        registry = registry_of(NodeCollector(leader, SimulatedMachine(), {}))
        await until(lambda: leader.chain.certified >= 3)
        lines = metrics_page(registry).body.decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        assert float(values["rialto_head_height_blocks"]) == leader.chain.state.head.height
        assert float(values["rialto_certified_height_blocks"]) == leader.chain.certified
        assert float(values['rialto_peers{ready="yes"}']) == 2
        assert float(values["rialto_operations_total"]) == leader.chain.state.head.sequence
        assert float(values["rialto_blocks_kept_total"]) == leader.chain.state.head.height
        assert 0 <= float(values["rialto_head_age_seconds"]) < 3
        helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
        typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
        assert helped == typed


async def test_loop_lag_is_what_held_the_loop(autojump_clock: object) -> None:
    """Nothing holds a simulated loop; a real hold is as long as it was."""
    fleet = Fleet(fleet_genesis(validators=1))
    async with trio.open_nursery() as nursery:
        node = await fleet.start(nursery, 0)
        telemetry = watched(node)
        nursery.start_soon(telemetry.run)
        await trio.sleep(5)
        assert telemetry.lag.worst < 0.001
        telemetry.lag.note(0.25)
        assert telemetry.lag.worst == 0.25 and telemetry.lag.quantile(0.5) < 0.001
        nursery.cancel_scope.cancel()
