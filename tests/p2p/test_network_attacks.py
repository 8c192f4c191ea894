"""Attacks on a real host in a process of its own.

After each: the process lives, an honest peer keeps hearing its beacons, and the offender has paid
the stated price. The first four are the frames that end the process of an unhardened libp2p 0.8.1.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

import pytest
import trio
from adversary import (
    MESHSUB,
    NAMES,
    TOPIC,
    Victim,
    evil_host,
    rpc,
    running_victim,
    signed,
)
from libp2p.abc import IHost
from libp2p.crypto.keys import KeyPair
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IOException
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_varint_prefixed
from networks import OverSockets, keys_of, until, until_ready

from p2p import penalties
from p2p.identity import peer_of
from p2p.penalties import BAN_POINTS, DISCONNECT_POINTS, Offence
from p2p.router import relevant
from p2p.topics import BLOCKS, BLOCKS_BY_HASH, BLOCKS_BY_RANGE, INGEST, SNAPSHOT_CHUNKS, STATUS

HALF_OPEN: Final = 150

Frame = Callable[[KeyPair], bytes]


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with running_victim() as running:
        yield running


def junk_key(keys: KeyPair) -> bytes:
    message = signed(keys, b"x")
    message.from_id = b"\x12\x20" + os.urandom(32)
    message.key = b"\xff\xff\xffgarbage"
    return rpc(publish=[message])


def tampered(keys: KeyPair, **fields: bytes) -> bytes:
    message = signed(keys, b"x")
    for name, value in fields.items():
        setattr(message, name, value)
    return rpc(publish=[message])


def forged_origin(keys: KeyPair) -> bytes:
    return tampered(keys, from_id=ID.from_pubkey(keys_of("victim").public_key).to_bytes())


def two_topics(keys: KeyPair) -> bytes:
    message = signed(keys, b"x")
    message.topicIDs.append(NAMES.topic(BLOCKS))
    return rpc(publish=[message])


def many_controls(keys: KeyPair) -> bytes:
    control = rpc_pb2.ControlMessage()
    control.ihave.add(topicID=TOPIC, messageIDs=[os.urandom(36) for _ in range(5000)])
    control.prune.add(topicID=TOPIC, backoff=2**63)
    control.graft.add(topicID="nowhere")
    return rpc(control=control)


def many_subscriptions(keys: KeyPair) -> bytes:
    wanted = [rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"x{n}") for n in range(4000)]
    return rpc(subscriptions=wanted)


FRAMES: Final[dict[str, tuple[Frame, Offence]]] = {
    "no protobuf": (lambda _: encode_varint_prefixed(b"\xff" * 50), penalties.MALFORMED_RPC),
    "a junk key": (junk_key, penalties.BAD_SIGNATURE),
    "no length": (lambda _: b"\xff" * 500, penalties.OVERSIZED_RPC),
    "two megabytes": (lambda _: b"\x80\x89\x7a" + bytes(9999), penalties.OVERSIZED_RPC),
    "a bad signature": (lambda k: tampered(k, signature=bytes(64)), penalties.BAD_SIGNATURE),
    "a short signature": (lambda k: tampered(k, signature=b"x"), penalties.BAD_SIGNATURE),
    "no signature": (lambda k: tampered(k, signature=b""), penalties.MALFORMED_MESSAGE),
    "a junk origin": (lambda k: tampered(k, from_id=b"\0\1"), penalties.BAD_SIGNATURE),
    "no origin": (lambda k: tampered(k, from_id=b""), penalties.MALFORMED_MESSAGE),
    "a forged origin": (forged_origin, penalties.BAD_SIGNATURE),
    "two topics": (two_topics, penalties.MALFORMED_MESSAGE),
    "an unknown topic": (
        lambda k: rpc(publish=[signed(k, b"x", "/other")]),
        penalties.MALFORMED_MESSAGE,
    ),
    "an oversized payload": (
        lambda k: rpc(publish=[signed(k, bytes(70_000))]),
        penalties.MALFORMED_MESSAGE,
    ),
    "what the check rejects": (
        lambda k: rpc(publish=[signed(k, b"bad")]),
        penalties.INVALID_MESSAGE,
    ),
    "a thousand messages": (
        lambda k: rpc(publish=[signed(k, b"%d" % n) for n in range(1000)]),
        penalties.TOO_MANY_PUBLISHES,
    ),
    "five thousand ids": (many_controls, penalties.TOO_MANY_CONTROLS),
    "four thousand subscriptions": (many_subscriptions, penalties.TOO_MANY_CONTROLS),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_a_hostile_gossip_frame_costs_its_price(victim: Victim, name: str) -> None:
    make, offence = FRAMES[name]
    before = victim.count(f"offence_{offence.name}")
    async with evil_host(victim) as (host, keys):
        stream = await host.new_stream(victim.info.peer_id, [MESHSUB])
        await stream.write(make(keys))
        await until(lambda: victim.count(f"offence_{offence.name}") == before + 1)
        await until_paid(victim, peer_of(keys), offence)
    await must_be_well(victim)


async def until_paid(victim: Victim, offender: str, offence: Offence) -> None:
    """The offender was disconnected, or its score is the price."""
    if offence.price >= DISCONNECT_POINTS:
        await until(lambda: offence.name in victim.state["farewells"].get(offender, ""))
        await until(lambda: offender not in victim.state["peers"])
    else:
        await until(lambda: offence.price - 1 < victim.state["scores"].get(offender, 0))
    assert (offender in victim.state["banned"]) == (offence.price >= BAN_POINTS)


async def must_be_well(victim: Victim) -> None:
    """An honest peer joins and hears two beacons; the process lives."""
    async with OverSockets().make("honest", [victim.address]) as honest:
        inbox = honest.subscribe(BLOCKS)
        await until_ready(honest)
        with trio.fail_after(20):
            for _ in range(2):
                assert (await inbox.receive()).data == b"beacon"
        assert honest.peers()[0].score == 0
    assert victim.process.poll() is None


async def test_a_check_that_raises_is_contained(victim: Victim) -> None:
    before = victim.count("faults")
    async with evil_host(victim) as (host, keys):
        stream = await host.new_stream(victim.info.peer_id, [MESHSUB])
        await stream.write(rpc(publish=[signed(keys, b"raise")]))
        await until(lambda: victim.count("faults") == before + 1)
        assert peer_of(keys) in victim.state["peers"]
    await must_be_well(victim)


async def test_a_handler_that_raises_is_contained(victim: Victim) -> None:
    before = victim.count("faults")
    async with evil_host(victim) as (host, _):
        stream = await open_protocol(host, victim, BLOCKS_BY_HASH)
        await stream.write(struct.pack("<I", 1) + b"x")
        await until(lambda: victim.count("faults") == before + 1)
    await must_be_well(victim)


async def open_protocol(host: IHost, victim: Victim, protocol: str):  # type: ignore[no-untyped-def]
    return await host.new_stream(victim.info.peer_id, [TProtocol(NAMES.protocol(protocol))])


@pytest.mark.parametrize(
    ("protocol", "data", "offence"),
    [
        (BLOCKS_BY_RANGE, struct.pack("<I", 1 << 31), penalties.OVERSIZED_FRAME),
        (INGEST, struct.pack("<I", 1 << 31), penalties.OVERSIZED_FRAME),
        (INGEST, (struct.pack("<I", 1) + b"x") * 70, penalties.CREDIT_OVERRUN),
        (STATUS, struct.pack("<I", 2) + b"\1\2", penalties.MALFORMED_FRAME),
        (STATUS, struct.pack("<I", 0), penalties.MALFORMED_FRAME),
    ],
)
async def test_a_hostile_frame_on_a_stream_costs_its_price(
    victim: Victim, protocol: str, data: bytes, offence: Offence
) -> None:
    before = victim.count(f"offence_{offence.name}")
    async with evil_host(victim) as (host, keys):
        stream = await open_protocol(host, victim, protocol)
        await stream.write(data)
        await until(lambda: victim.count(f"offence_{offence.name}") == before + 1)
        await until_paid(victim, peer_of(keys), offence)
    await must_be_well(victim)


async def test_a_truncated_request_costs_its_price(victim: Victim) -> None:
    before = victim.count("offence_malformed_frame")
    async with evil_host(victim) as (host, _):
        stream = await open_protocol(host, victim, BLOCKS_BY_RANGE)
        await stream.write(struct.pack("<I", 60) + b"half")
        await stream.close()
        await until(lambda: victim.count("offence_malformed_frame") == before + 1)
    await must_be_well(victim)


async def test_a_flood_of_valid_messages_is_cut_and_its_sender_expelled(victim: Victim) -> None:
    async with evil_host(victim) as (host, keys):
        stream = await host.new_stream(victim.info.peer_id, [MESHSUB])
        with pytest.raises(StreamError):
            for _ in range(200):
                batch = [signed(keys, os.urandom(100)) for _ in range(100)]
                await stream.write(rpc(publish=batch))
        await until(lambda: "flood" in victim.state["farewells"].get(peer_of(keys), ""))
        await until(lambda: peer_of(keys) not in victim.state["peers"])
    await must_be_well(victim)


async def test_a_flood_of_subscriptions_is_cut_and_its_sender_expelled(victim: Victim) -> None:
    """Each new subscription would replay the last blocks."""
    toggles = [rpc_pb2.RPC.SubOpts(subscribe=n % 2 == 0, topicid=TOPIC) for n in range(60)]
    async with evil_host(victim) as (host, keys):
        stream = await host.new_stream(victim.info.peer_id, [MESHSUB])
        for _ in range(30):
            await stream.write(rpc(subscriptions=toggles))
        await until(lambda: "flood" in victim.state["farewells"].get(peer_of(keys), ""))
    await must_be_well(victim)


def test_a_message_that_is_wanted_many_times_is_sent_once() -> None:
    control = rpc_pb2.ControlMessage()
    control.iwant.add(messageIDs=[b"same"] * 900)
    control.iwant.add(messageIDs=[b"%d" % n for n in range(90)])
    wanted = relevant(control, {TOPIC}).iwant
    assert [list(one.messageIDs) for one in wanted] == [[b"same", *(b"%d" % n for n in range(63))]]


async def test_too_many_streams_cost_their_price(victim: Victim) -> None:
    before = victim.count("offence_too_many_streams")
    async with evil_host(victim) as (host, _):
        with trio.move_on_after(10):
            for _ in range(40):
                stream = await host.get_network().new_stream(victim.info.peer_id)
                await stream.write(b"\x13/multistream/1.0.0\n")
        await until(lambda: victim.count("offence_too_many_streams") > before)
    await must_be_well(victim)


@pytest.mark.slow
async def test_who_sends_beyond_the_window_loses_the_connection(victim: Victim) -> None:
    async with evil_host(victim) as (host, keys):
        stream = await open_protocol(host, victim, BLOCKS_BY_RANGE)
        await stream.write(struct.pack("<I", 1) + b"x")
        muxed = stream.muxed_stream
        frame = struct.pack("!BBHII", 0, 0, 0, muxed.stream_id, 1 << 15) + bytes(1 << 15)
        with pytest.raises((IOException, RawConnError)), trio.fail_after(60):
            while True:  # it has to buffer 8 MB, the kernel takes some more
                await muxed.conn._write_frame(frame)
        await until(lambda: peer_of(keys) not in victim.state["peers"], 2)
    await must_be_well(victim)


async def test_a_slow_reader_of_an_answer_pays_and_costs_no_memory(victim: Victim) -> None:
    before = victim.count("offence_slow_reader")
    async with evil_host(victim) as (host, _):
        stream = await open_protocol(host, victim, SNAPSHOT_CHUNKS)
        await stream.write(struct.pack("<I", 1) + b"x")
        await until(lambda: victim.count("offence_slow_reader") == before + 1)
    assert victim.state["peak_mb"] < 300
    await must_be_well(victim)


async def test_half_open_connections_do_not_keep_an_honest_peer_out(victim: Victim) -> None:
    sockets = [socket.create_connection(("127.0.0.1", victim.port)) for _ in range(HALF_OPEN)]
    try:
        for number, one in enumerate(sockets):
            one.send((b"", os.urandom(50), b"\x13/multistream/1.0.0\n")[number % 3])
        await must_be_well(victim)
        await until(lambda: victim.state["descriptors"] < 100)
        assert victim.count("half_open_evicted") >= HALF_OPEN - 64
    finally:
        for one in sockets:
            one.close()


async def test_plaintext_is_refused_so_nobody_can_take_a_name(victim: Victim) -> None:
    honest = keys_of("honest")
    async with evil_host(victim, keys=honest, plaintext=True) as (host, _):
        with pytest.raises(SwarmException):
            await host.connect(victim.info)
    assert peer_of(honest) not in victim.state["peers"]
    await must_be_well(victim)


async def test_slots_of_ended_connections_are_free_again(victim: Victim) -> None:
    """An unhardened swarm refuses everybody after as many inbound connections as it has slots."""
    for number in range(12):
        async with OverSockets().make(f"guest {number}", [victim.address]) as guest:
            await until_ready(guest)
    await until(lambda: victim.state["descriptors"] < 60 and victim.state["peers"] == [])
