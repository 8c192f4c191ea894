"""Restarts, lost peers and long runs of a real host."""

import os
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

import pytest
import trio
from adversary import Victim, running_victim
from networks import CHAIN, LOOPBACK, OverSockets, keys_of, until, until_ready

from p2p.gossip import SEEN_MAX
from p2p.host import open_network
from p2p.identity import peer_of
from p2p.network import IngestSession
from p2p.outbox import OUTBOX_BYTES_MAX, Outbox
from p2p.peering import Peering
from p2p.penalties import INVALID_SNAPSHOT, FileBans
from p2p.settings import Settings
from p2p.topics import BLOCKS, VOTES
from p2p.transport import Stream


async def test_a_peer_that_is_killed_is_dialled_until_it_is_back() -> None:
    with running_victim() as first:
        address, port = first.address, str(first.port)
        async with OverSockets().make("bob", [address]) as bob:
            inbox = bob.subscribe(BLOCKS)
            await until_ready(bob)
            await inbox.receive()
            os.kill(first.process.pid, signal.SIGKILL)
            await until(lambda: not bob.peers(), seconds=5)
            while len(inbox):
                inbox.receive_nowait()
            with running_victim("", port) as second:
                assert second.address == address
                await until_ready(bob)
                with trio.fail_after(20):
                    assert (await inbox.receive()).data == b"beacon"


async def test_bans_survive_a_restart(tmp_path: Path) -> None:
    bans = FileBans(tmp_path / "bans.json")

    def alice() -> AbstractAsyncContextManager[Peering]:
        return open_network(Settings(CHAIN, bans=bans), keys_of("alice"), [LOOPBACK])

    async with alice() as before, OverSockets().make("bob", before.addresses()) as bob:
        await until_ready(before)
        before.offend(bob.peer, INVALID_SNAPSHOT)
        await until(lambda: not before.peers())
    async with alice() as after, OverSockets().make("bob", after.addresses()) as bob:
        await until(lambda: bob.counters().get("redials", 0) >= 2)
        assert not after.admits(peer_of(keys_of("bob")))
        assert not after.peers()


async def test_writers_that_give_up_leave_the_connection_to_the_others() -> None:
    """Given up at any moment, in the middle of a frame too: 200 of them, beside a busy stream."""
    chance = Random(1)

    async def drain(peer: str, stream: Stream) -> None:
        while await stream.receive():
            pass

    async def take(session: IngestSession) -> None:
        async for sequence, _ in session:
            await session.ack(sequence, bytes(20_000))

    async with (
        OverSockets().make("alice") as alice,
        OverSockets().make("bob", alice.addresses()) as bob,
    ):
        alice._transport.handle("/drain/1", drain)
        alice.serve_ingest(take)
        await until_ready(bob)
        busy = await bob.open_ingest(alice.peer)

        async def send() -> None:
            while True:
                await busy.send(bytes(30_000))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(send)
            for _ in range(200):
                stream = await bob._transport.open(alice.peer, "/drain/1")
                with trio.move_on_after(chance.random() * 0.01):
                    while True:
                        await stream.send(bytes(5000))
                await stream.reset()
            nursery.cancel_scope.cancel()
        assert not busy.ended.is_set()


@pytest.mark.slow
async def test_twenty_thousand_messages_leave_nothing_behind() -> None:
    async with (
        OverSockets().make("alice") as alice,
        OverSockets().make("bob", alice.addresses()) as bob,
    ):
        inbox = bob.subscribe(VOTES)
        alice.subscribe(VOTES)
        await until_ready(bob)
        await trio.sleep(1.5)  # a heartbeat: the mesh is there
        before = peak_free_mb()
        heard = 0
        for number in range(20_000):
            await alice.publish(VOTES, b"%d" % number)
            if number % 100 == 99:
                await trio.sleep(0.1)
            while len(inbox):
                inbox.receive_nowait()
                heard += 1
        assert heard > 300  # the rate of one peer: 100 a second, bursts of 400
        assert peak_free_mb() - before < 60
        for network in (alice, bob):
            pubsub = network._transport._pubsub  # type: ignore[attr-defined]
            assert pubsub.seen_messages.length() <= SEEN_MAX
            assert not pubsub.router.recent_message_deliveries
            assert not pubsub.router.equivocation_detection
            assert len(pubsub.router.mcache.msgs) < 10_000


def peak_free_mb() -> int:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


async def test_a_slow_neighbour_costs_a_bounded_outbox_and_loses_the_oldest() -> None:
    outbox = Outbox()
    for number in range(200):
        outbox.push(bytes([number]) * 100_000)
    assert outbox.size <= OUTBOX_BYTES_MAX
    assert outbox.dropped == 200 - OUTBOX_BYTES_MAX // 100_000
    assert (await outbox.pop())[0] == outbox.dropped
    outbox.push(b"control", control=True)
    assert await outbox.pop() == b"control"


async def test_what_waits_is_joined_into_one_frame_in_order() -> None:
    outbox = Outbox()
    for number in range(100):
        outbox.push(bytes([number]) * 1000)
    first = await outbox.pop()
    assert first[::1000] == bytes(range(64))
    assert (await outbox.pop())[::1000] == bytes(range(64, 100))


@pytest.mark.slow
async def test_a_stopped_neighbour_is_dropped_and_comes_back() -> None:
    """SIGSTOP: the peer lives for TCP, and answers nothing."""
    with running_victim() as victim:
        async with OverSockets().make("bob", [victim.address]) as bob:
            bob.subscribe(BLOCKS)
            await until_ready(bob)
            await flood_stopped(bob, victim)
            await until_ready(bob)


async def flood_stopped(bob: Peering, victim: Victim) -> None:
    os.kill(victim.process.pid, signal.SIGSTOP)
    try:
        with trio.fail_after(90):  # two status requests without an answer, and the close
            while bob.peers():
                await bob.publish(BLOCKS, bytes(200_000))
                await trio.sleep(0.02)
    finally:
        os.kill(victim.process.pid, signal.SIGCONT)
    counters = bob.counters()
    assert counters["gossip_outbox_dropped"]
    assert "offence_slow_reader" in counters or counters["status_missed"] >= 2


async def test_an_error_of_whoever_uses_the_network_comes_out_of_it() -> None:
    """A node that stops for a reason must be able to say it."""
    keys, settings = keys_of("carol"), Settings(chain=CHAIN)
    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_network(settings, keys, [LOOPBACK]):
            raise KeyError("the reason")
    assert raised.group_contains(KeyError, match="the reason")
