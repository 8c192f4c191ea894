"""One suite over both implementations of `Network`: what a node may rely on."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest
import trio
from networks import CHAIN, InMemory, Kind, OverSockets, keys_of, until, until_ready

from p2p.exceptions import NetworkMisuse, PeerFault
from p2p.exchange.status import Chain
from p2p.identity import peer_of
from p2p.inbox import BoundedInbox
from p2p.network import Head, IngestSession, Refused, Verdict
from p2p.peering import Peering
from p2p.penalties import INVALID_BLOCK, INVALID_SNAPSHOT
from p2p.topics import BLOCKS, BLOCKS_BY_RANGE, ORDERS, SNAPSHOT_LIST


@pytest.fixture(params=["memory", "sockets"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return InMemory() if request.param == "memory" else OverSockets()


async def until_heard(publisher: Peering, inbox: BoundedInbox) -> None:
    """Publish markers until the mesh carries one; empties the inbox of them."""
    with trio.fail_after(20):
        while not len(inbox):
            await publisher.publish(BLOCKS, b"marker")
            await trio.sleep(0.05)
    await trio.sleep(0.1)
    while len(inbox):
        inbox.receive_nowait()


async def collect(chunks: AsyncIterator[bytes]) -> list[bytes]:
    with trio.fail_after(20):
        return [chunk async for chunk in chunks]


async def test_messages_reach_every_subscriber_in_order_with_their_origin(kind: Kind) -> None:
    async with (
        kind.make("alice") as alice,
        kind.make("bob", alice.addresses()) as bob,
        kind.make("carol", alice.addresses()) as carol,
    ):
        inboxes = [one.subscribe(BLOCKS) for one in (bob, carol)]
        own = alice.subscribe(BLOCKS)
        await until_ready(alice, 2)
        for inbox in inboxes:
            await until_heard(alice, inbox)
        blocks = [b"block %d" % number + bytes(30_000) for number in range(40)]
        for block in blocks:
            await alice.publish(BLOCKS, block)
        for inbox in inboxes:
            with trio.fail_after(20):
                heard = [await inbox.receive() for _ in blocks]
            assert [one.peer for one in heard] == [alice.peer] * len(blocks)
            assert [one.data for one in heard] == blocks
        assert len(own) == 0


async def test_a_message_is_forwarded_to_who_is_not_connected_with_its_origin(kind: Kind) -> None:
    async with (
        kind.make("alice") as alice,
        kind.make("bob", alice.addresses()) as bob,
        kind.make("carol", bob.addresses()) as carol,
    ):
        bob.subscribe(BLOCKS)
        inbox = carol.subscribe(BLOCKS)
        await until_ready(bob, 2)
        await until_heard(alice, inbox)
        await alice.publish(BLOCKS, b"from afar")
        with trio.fail_after(20):
            message = await inbox.receive()
        assert (message.peer, message.data) == (alice.peer, b"from afar")
        assert [one.peer for one in carol.peers()] == [bob.peer]


async def test_a_check_decides_what_is_delivered_and_an_offence_is_charged(kind: Kind) -> None:
    def check(peer: str, data: bytes) -> Verdict:
        if data == b"raise":
            raise ValueError("a check that breaks its promise")
        return {b"old": Verdict.IGNORE, b"bad": Verdict.OFFENCE}.get(data, Verdict.ACCEPT)

    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        inbox = bob.subscribe(BLOCKS)
        bob.validate(BLOCKS, check)
        await until_ready(bob)
        await until_heard(alice, inbox)
        for data in (b"raise", b"old", b"bad", b"good"):
            await alice.publish(BLOCKS, data)
        with trio.fail_after(20):
            assert (await inbox.receive()).data == b"good"
        assert len(inbox) == 0
        counters = bob.counters()
        assert counters["faults"] == 1
        assert counters["gossip_ignore"] == 2
        assert counters["offence_invalid_message"] == 1
        assert 19 < bob.peers()[0].score <= 20


async def numbers(peer: str, request: bytes) -> AsyncIterator[bytes]:
    for number in range(request[0]):
        yield b"%d" % number


async def test_a_request_is_answered_in_chunks(kind: Kind) -> None:
    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        alice.serve(BLOCKS_BY_RANGE, numbers)
        await until_ready(bob)
        chunks = await collect(bob.request(alice.peer, BLOCKS_BY_RANGE, b"\x03"))
        assert chunks == [b"0", b"1", b"2"]
        assert await collect(bob.request(alice.peer, BLOCKS_BY_RANGE, b"\0")) == []


async def test_large_chunks_arrive_whole(kind: Kind) -> None:
    async def serve(peer: str, request: bytes) -> AsyncIterator[bytes]:
        for number in range(12):
            yield bytes([number]) * 1_000_000

    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        alice.serve(BLOCKS_BY_RANGE, serve)
        await until_ready(bob)
        chunks = await collect(bob.request(alice.peer, BLOCKS_BY_RANGE, b"all"))
        assert [(chunk[0], len(chunk)) for chunk in chunks] == [(n, 1_000_000) for n in range(12)]


async def test_an_asker_may_leave_in_the_middle_of_an_answer(kind: Kind) -> None:
    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        alice.serve(BLOCKS_BY_RANGE, numbers)
        await until_ready(bob)
        async with aclosing(bob.request(alice.peer, BLOCKS_BY_RANGE, b"\xff")) as chunks:
            assert await anext(chunks) == b"0"
        assert await collect(bob.request(alice.peer, BLOCKS_BY_RANGE, b"\x01")) == [b"0"]


async def test_a_refusal_carries_code_and_reason(kind: Kind) -> None:
    async def refuse(peer: str, request: bytes) -> AsyncIterator[bytes]:
        yield b"before"
        raise Refused(7777, "pruned below 100")

    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        alice.serve(BLOCKS_BY_RANGE, refuse)
        await until_ready(bob)
        with pytest.raises(Refused, match="pruned below 100") as caught:
            await collect(bob.request(alice.peer, BLOCKS_BY_RANGE, b""))
        assert caught.value.code == 7777


async def test_a_handler_that_fails_is_contained_and_reported_as_internal(kind: Kind) -> None:
    async def fail(peer: str, request: bytes) -> AsyncIterator[bytes]:
        yield b"before"
        raise KeyError("a bug")

    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        alice.serve(BLOCKS_BY_RANGE, fail)
        alice.serve(SNAPSHOT_LIST, numbers)
        await until_ready(bob)
        with pytest.raises(Refused, match="failed here"):
            await collect(bob.request(alice.peer, BLOCKS_BY_RANGE, b""))
        assert alice.counters()["faults"] == 1
        assert await collect(bob.request(alice.peer, SNAPSHOT_LIST, b"\x01")) == [b"0"]


async def test_what_nobody_serves_is_an_error_at_the_asker(kind: Kind) -> None:
    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        await until_ready(bob)
        with pytest.raises(PeerFault, match="E7642"):
            await collect(bob.request(alice.peer, BLOCKS_BY_RANGE, b""))
        stranger = "nobody" if isinstance(kind, InMemory) else peer_of(keys_of("nobody"))
        with pytest.raises(PeerFault, match="E7640"):
            await collect(bob.request(stranger, BLOCKS_BY_RANGE, b""))


async def test_an_eager_asker_is_slowed_down_then_charged(kind: Kind) -> None:
    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        alice.serve(SNAPSHOT_LIST, numbers)
        await until_ready(bob)
        outcomes = []
        for _ in range(8):
            try:
                outcomes.append(await collect(bob.request(alice.peer, SNAPSHOT_LIST, b"\x01")))
            except Refused as refused:
                outcomes.append([b"refused"])
                assert refused.code == 2
        assert outcomes[:5] == [[b"0"]] * 5
        assert [b"refused"] in outcomes[5:]
        assert alice.counters()["offence_request_flood"] == outcomes.count([b"refused"])


async def test_batches_are_acknowledged_in_any_order_and_arrive_in_order(kind: Kind) -> None:
    arrived: list[bytes] = []

    async def lead(session: IngestSession) -> None:
        held: list[tuple[int, bytes]] = []
        async for sequence, batch in session:
            arrived.append(batch)
            held.append((sequence, batch))
            if len(held) == 10:
                for number, data in reversed(held):
                    await session.ack(number, b"receipt of " + data)
                held.clear()

    async with kind.make("leader") as leader, kind.make("bob", leader.addresses()) as bob:
        leader.serve_ingest(lead)
        await until_ready(bob)
        stream = await bob.open_ingest(leader.peer)
        replies: dict[int, bytes] = {}

        async def send(number: int) -> None:
            replies[number] = await stream.send(b"batch %d" % number)

        with trio.fail_after(20):
            for start in range(0, 200, 100):
                async with trio.open_nursery() as nursery:
                    for number in range(start, start + 100):
                        nursery.start_soon(send, number)
        assert replies == {number: b"receipt of batch %d" % number for number in range(200)}
        assert sorted(arrived) == sorted(b"batch %d" % number for number in range(200))
        await stream.aclose()


async def test_a_batch_on_the_way_fails_when_the_leader_goes(kind: Kind) -> None:
    async def lead(session: IngestSession) -> None:
        async for _ in session:
            return

    async with kind.make("leader") as leader, kind.make("bob", leader.addresses()) as bob:
        leader.serve_ingest(lead)
        await until_ready(bob)
        stream = await bob.open_ingest(leader.peer)
        for batch in (b"one", b"two"):
            with pytest.raises(PeerFault, match="E7641"), trio.fail_after(20):
                await stream.send(batch)
        again = await bob.open_ingest(leader.peer)
        await again.aclose()


async def test_a_peer_learns_the_head_that_the_other_announced(kind: Kind) -> None:
    head = Head(41, b"\x11" * 32, 40)
    async with kind.make("alice") as alice:
        alice.announce(head)
        async with kind.make("bob", alice.addresses()) as bob:
            await until_ready(bob)
            await until(lambda: bob.peers()[0].rtt_ms is not None)
            facts = bob.peers()[0]
            assert (facts.head, facts.outbound, facts.peer) == (head, True, alice.peer)
            await until_ready(alice)
            assert not alice.peers()[0].outbound


@pytest.mark.parametrize(
    ("foreign", "words"),
    [
        (CHAIN._replace(chain=8), "another chain: 8, ours is 7"),
        (CHAIN._replace(genesis_hash=b"\x08" * 32), "another genesis: 0808"),
        (CHAIN._replace(fork=2), "another fork: 2, ours is 1"),
    ],
)
async def test_a_peer_of_another_chain_is_told_so_and_disconnected(
    kind: Kind, foreign: Chain, words: str
) -> None:
    async with (
        kind.make("alice") as alice,
        kind.make("bob", alice.addresses(), chain=foreign) as bob,
    ):
        farewells = alice.farewells
        await until(lambda: bob.peer in farewells and not alice.peers())
        said = farewells[bob.peer]  # what was noticed first: by us, or by the other in its words
        assert words in said or "it left: another" in said
        await until(lambda: alice.peer in bob.farewells)
        assert "another" in bob.farewells[alice.peer]


async def test_one_grave_offence_bans_and_the_banned_cannot_return(kind: Kind) -> None:
    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        await until_ready(bob)
        alice.offend(bob.peer, INVALID_SNAPSHOT)
        await until(lambda: not alice.peers())
        await until(lambda: bob.counters().get("redials", 0) >= 2)
        assert not alice.peers()
        assert alice.counters()["expelled"] == 1


async def test_a_lesser_offence_disconnects_and_the_peer_may_return(kind: Kind) -> None:
    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        await until_ready(bob)
        alice.offend(bob.peer, INVALID_BLOCK)
        await until(lambda: "penalty: invalid_block" in alice.farewells.get(bob.peer, ""))
        await until(lambda: bob.counters().get("redials", 0) >= 1)
        await until_ready(bob)


async def test_a_full_node_lets_nobody_else_in(kind: Kind) -> None:
    async with (
        kind.make("alice", peers_max=1) as alice,
        kind.make("bob", alice.addresses()) as bob,
    ):
        await until_ready(alice)
        async with kind.make("carol", alice.addresses()) as carol:
            await until(lambda: carol.counters().get("redials", 0) >= 2)
            assert [one.peer for one in alice.peers()] == [bob.peer]


async def test_peers_that_dial_each_other_end_with_one_connection(kind: Kind) -> None:
    async with kind.make("alice") as alice, kind.make("bob", alice.addresses()) as bob:
        await until_ready(bob)
        await alice.dial(bob.addresses()[0])
        await until(lambda: len(alice.peers()) == 1 and len(bob.peers()) == 1)


async def test_a_node_that_leaves_says_so(kind: Kind) -> None:
    async with kind.make("alice") as alice:
        async with kind.make("bob", alice.addresses()) as bob:
            await until_ready(alice)
        await until(lambda: not alice.peers(), seconds=2)
        assert "this node stops" in alice.farewells[bob.peer]


async def test_an_address_that_is_none_or_nobody_is_unreachable(kind: Kind) -> None:
    nobody = f"/ip4/127.0.0.1/tcp/1/p2p/{peer_of(keys_of('nobody'))}"
    async with kind.make("alice", dial=["nonsense", nobody]) as alice:
        for address in ("nonsense", "/ip4/127.0.0.1/tcp/1", nobody):
            with pytest.raises(PeerFault, match="E7640"):
                await alice.dial(address)
        await until(lambda: alice.counters().get("redials", 0) >= 2)


async def test_wrong_names_and_sizes_are_refused_before_anything_is_sent(kind: Kind) -> None:
    async with kind.make("alice") as alice:
        attempts: list[tuple[str, Callable[[], object]]] = [
            ("E7601", lambda: alice.publish("gossip", b"")),
            ("E7602", lambda: alice.publish(ORDERS, bytes(1 << 16) + b"1")),
            ("E7601", lambda: anext(alice.request("x", "sync", b""))),
            ("E7602", lambda: anext(alice.request("x", BLOCKS_BY_RANGE, bytes(65)))),
        ]
        for number, attempt in attempts:
            with pytest.raises(NetworkMisuse, match=number):
                await attempt()  # type: ignore[misc]
        with pytest.raises(NetworkMisuse, match="E7601"):
            alice.subscribe("gossip")
