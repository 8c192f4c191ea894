"""The faults of the network in memory, and that time in it is the test's."""

import pytest
import trio
from networks import CHAIN, InMemory, until, until_ready
from trio.testing import MockClock

from p2p.inbox import BoundedInbox
from p2p.memory import Faults, World
from p2p.network import Message
from p2p.peering import Peering
from p2p.penalties import INVALID_SNAPSHOT
from p2p.settings import Settings
from p2p.topics import BLOCKS

PUBLISHED = 400


async def heard_through(faults: Faults, seed: int) -> list[int]:
    """What bob hears of the numbers that alice publishes, twenty a second."""
    world = World(seed, faults)
    async with (
        world.network("alice", Settings(CHAIN)) as alice,
        world.network("bob", Settings(CHAIN, dial=("memory:alice",))) as bob,
    ):
        inbox = bob.subscribe(BLOCKS)
        await until_ready(bob)
        for number in range(PUBLISHED):
            await alice.publish(BLOCKS, b"%d" % number)
            await trio.sleep(0.05)
        await trio.sleep(5)
        return [int(inbox.receive_nowait().data) for _ in range(len(inbox))]


async def test_without_faults_everything_arrives_in_order(autojump_clock: MockClock) -> None:
    assert await heard_through(Faults(), seed=1) == list(range(PUBLISHED))


async def test_loss_loses_about_its_share(autojump_clock: MockClock) -> None:
    heard = await heard_through(Faults(loss=0.25), seed=2)
    assert heard == sorted(heard)
    assert 0.65 * PUBLISHED < len(heard) < 0.85 * PUBLISHED


async def test_reordered_messages_arrive_late_but_arrive(autojump_clock: MockClock) -> None:
    heard = await heard_through(Faults(reordering=0.2), seed=3)
    assert heard != sorted(heard)
    assert sorted(heard) == list(range(PUBLISHED))


async def test_doubled_messages_are_delivered_once(autojump_clock: MockClock) -> None:
    heard = await heard_through(Faults(duplication=1.0), seed=4)
    assert heard == list(range(PUBLISHED))


async def test_the_same_seed_loses_the_same_messages(autojump_clock: MockClock) -> None:
    faults = Faults(loss=0.25)
    assert await heard_through(faults, seed=5) == await heard_through(faults, seed=5)
    assert await heard_through(faults, seed=5) != await heard_through(faults, seed=6)


async def test_a_partition_is_noticed_by_liveness_and_healed_by_redial(
    autojump_clock: MockClock,
) -> None:
    world = World(seed=7)
    async with (
        world.network("alice", Settings(CHAIN)) as alice,
        world.network("bob", Settings(CHAIN, dial=("memory:alice",))) as bob,
    ):
        inbox = bob.subscribe(BLOCKS)
        await until_ready(bob)
        world.partition({"alice"}, {"bob"})
        await alice.publish(BLOCKS, b"into the void")
        started = trio.current_time()
        await until(lambda: not alice.peers() and not bob.peers(), seconds=60)
        assert trio.current_time() - started < 45  # two status requests of 10 s, and their pause
        assert "no answer" in bob.farewells["alice"]
        world.heal()
        with trio.fail_after(60):
            while not bob.peers():
                await trio.sleep(0.1)
        await until_ready(bob)
        await alice.publish(BLOCKS, b"again")
        assert await inbox.receive() == Message("alice", b"again")
        assert len(inbox) == 0


async def test_a_killed_node_is_gone_at_once_and_its_name_can_be_used_again(
    autojump_clock: MockClock,
) -> None:
    kind = InMemory()
    async with kind.make("alice") as alice, trio.open_nursery() as nursery:

        async def bob(task_status: trio.TaskStatus[Peering]) -> None:
            async with kind.make("bob", alice.addresses()) as network:
                task_status.started(network)
                await trio.sleep_forever()

        first = await nursery.start(bob)
        await until_ready(alice)
        kind.world.kill("bob")
        nursery.cancel_scope.cancel()
        assert not alice.peers()
        assert first.peer not in alice.farewells  # it did not say goodbye
    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()):
        await until_ready(alice)


async def test_breaking_streams_break_requests_but_not_the_connection(
    autojump_clock: MockClock,
) -> None:
    world = World(8, Faults(breakage=0.3))
    async with (
        world.network("alice", Settings(CHAIN)) as alice,
        world.network("bob", Settings(CHAIN, dial=("memory:alice",))) as bob,
    ):
        await trio.sleep(600)
        assert bob.counters()["status_missed"] > 0
        with trio.fail_after(600):
            await until_ready(bob)
        assert alice.counters().get("faults", 0) == bob.counters().get("faults", 0) == 0


async def test_an_inbox_drops_the_oldest_by_number_and_by_bytes() -> None:
    inbox = BoundedInbox(messages_max=3, bytes_max=100)
    for number in range(5):
        inbox.put(Message("p", bytes([number])))
    assert inbox.dropped == 2
    assert inbox.put(Message("p", bytes(99))) == 2
    assert [len(inbox.receive_nowait().data) for _ in range(2)] == [1, 99]
    with pytest.raises(trio.WouldBlock):
        inbox.receive_nowait()
    assert inbox.size == 0


async def test_a_peer_that_restarts_ever_again_is_found_as_fast_each_time(
    autojump_clock: MockClock,
) -> None:
    world = World(seed=8)
    async with world.network("bob", Settings(CHAIN, dial=("memory:alice",))) as bob:
        for _ in range(20):
            async with world.network("alice", Settings(CHAIN)):
                await until_ready(bob)
                await trio.sleep(1)
            await trio.sleep(0.2)
            began = trio.current_time()
            async with world.network("alice", Settings(CHAIN)):
                await until_ready(bob, 1)
                assert trio.current_time() - began < 1.5


async def test_a_peer_that_throws_us_out_is_dialled_ever_less(autojump_clock: MockClock) -> None:
    world = World(seed=9)
    async with (
        world.network("alice", Settings(CHAIN)) as alice,
        world.network("bob", Settings(CHAIN, dial=("memory:alice",))) as bob,
    ):
        await until_ready(bob)
        alice.offend(bob.peer, INVALID_SNAPSHOT)
        await trio.sleep(60)
        assert 4 <= bob.counters()["redials"] <= 9  # 0.25 s doubled, times 0.5 to 1.5
