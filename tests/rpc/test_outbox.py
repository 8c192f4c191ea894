"""What may wait for a client: answers it asked for, and pushes it did not, each with its limit."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from node.rpc.outbox import ANSWERS_BYTES_MAX, UNREAD_BYTES_MAX, Flusher, Outbox

PIECE = bytes(30_000)


def outbox() -> tuple[Outbox, list[bool]]:
    dropped: list[bool] = []
    stream = trio.testing.memory_stream_one_way_pair()[0]
    return Outbox(stream, lambda: dropped.append(True), Flusher()), dropped


async def test_the_answers_to_a_pipeline_may_come_all_at_once() -> None:
    """Nobody can read between two of them, so a mebibyte of them makes no slow reader."""
    made, dropped = outbox()
    for _ in range(ANSWERS_BYTES_MAX // len(PIECE)):
        made.push(PIECE, asked=True)
    assert not dropped
    made.push(PIECE)  # a notification among them is nobody's fault either
    assert not dropped
    made.push(PIECE, asked=True)
    assert dropped == [True]


async def test_a_mebibyte_of_pushes_drops_the_client_whatever_it_asked() -> None:
    made, dropped = outbox()
    made.push(PIECE, asked=True)
    for _ in range(UNREAD_BYTES_MAX // len(PIECE) + 1):
        made.push(PIECE)
    assert not dropped
    made.push(PIECE)
    assert dropped == [True]


@asynccontextmanager
async def sockets() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Both ends of a real connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()
    async with (
        listener,
        await trio.open_tcp_stream(*address[:2]) as ours,
        await listener.accept() as theirs,
    ):
        yield ours, theirs


async def read_all(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


def unexpected() -> None:
    pytest.fail("nobody is to be dropped")


async def test_what_is_held_leaves_with_the_flush_and_needs_no_writer() -> None:
    async with sockets() as (ours, theirs):
        made = Outbox(ours, unexpected, Flusher())
        made.hold()
        made.push(b"one", asked=True)
        made.push(b"two")
        with trio.move_on_after(0.05) as nothing:
            await theirs.receive_some()
        assert nothing.cancelled_caught
        made.flush()
        assert made.size == 0
        assert await theirs.receive_some() == b"onetwo"


async def test_what_the_socket_does_not_take_is_left_to_the_writer_in_order() -> None:
    """Pieces of every kind, held and not, more than any socket takes at once."""
    chance = random.Random(4)
    sent = bytearray()
    async with sockets() as (ours, theirs), trio.open_nursery() as nursery:
        flusher = Flusher()
        made = Outbox(ours, unexpected, flusher)
        nursery.start_soon(flusher.run)
        nursery.start_soon(made.run)
        for n in range(200):
            if chance.random() < 0.7:
                made.hold()
            for _ in range(chance.randrange(4)):
                piece = bytes((n,)) * chance.randrange(1, 12_000)
                made.push(piece, asked=True)
                sent += piece
            if chance.random() < 0.8:
                made.flush()
            if chance.random() < 0.2:
                await trio.lowlevel.checkpoint()
        made.flush()
        heard = bytearray()
        with trio.fail_after(10):
            while len(heard) < len(sent):
                heard += await theirs.receive_some()
        assert heard == sent
        await trio.testing.wait_all_tasks_blocked()
        assert made.size == 0
        nursery.cancel_scope.cancel()


async def test_a_held_client_that_has_no_room_is_still_served() -> None:
    """Whoever reads its calls may wait for room before it comes to the flush."""
    async with sockets() as (ours, theirs), trio.open_nursery() as nursery:
        flusher = Flusher()
        made = Outbox(ours, unexpected, flusher)
        nursery.start_soon(flusher.run)
        nursery.start_soon(made.run)
        made.hold()
        for _ in range(UNREAD_BYTES_MAX // len(PIECE)):
            made.push(PIECE, asked=True)
        assert made.is_full
        nursery.start_soon(read_all, theirs)
        with trio.fail_after(10):
            await made.room()
        made.close()
        nursery.cancel_scope.cancel()


async def test_one_task_sends_for_many_and_leaves_out_who_is_held() -> None:
    async with sockets() as (a, to_a), sockets() as (b, to_b), trio.open_nursery() as nursery:
        flusher = Flusher()
        first, second = (Outbox(stream, unexpected, flusher) for stream in (a, b))
        nursery.start_soon(flusher.run)
        first.push(b"one")
        second.push(b"two")
        first.push(b", one")
        second.hold()
        assert await to_a.receive_some() == b"one, one"
        assert (first.size, second.size) == (0, 3)
        second.flush()
        assert await to_b.receive_some() == b"two"
        nursery.cancel_scope.cancel()


async def test_whoever_waits_for_room_gets_it_from_the_flusher_too() -> None:
    """It may have sent everything before the writer has its turn."""
    async with sockets() as (ours, theirs), trio.open_nursery() as nursery:
        made = Outbox(ours, unexpected, Flusher())
        made.hold()
        for _ in range(UNREAD_BYTES_MAX // len(PIECE)):
            made.push(PIECE, asked=True)
        nursery.start_soon(read_all, theirs)
        nursery.start_soon(made.room)
        with trio.fail_after(10):
            while made.is_full:
                await trio.sleep(0.01)
                made.flush()
            while len(nursery.child_tasks) > 1:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_broken_socket_is_found_by_the_writer() -> None:
    async with sockets() as (ours, theirs):
        made = Outbox(ours, unexpected, Flusher())
        await trio.aclose_forcefully(theirs)
        made.hold()
        made.push(PIECE, asked=True)
        made.flush()  # the other side answers it with a reset
        await trio.sleep(0.1)
        made.hold()
        made.push(PIECE, asked=True)
        made.flush()
        assert made.size == len(PIECE)
        with pytest.raises(trio.BrokenResourceError):
            await made.run()


async def test_a_client_that_takes_nothing_for_half_a_minute_is_too_slow(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stream, _ = trio.testing.lockstep_stream_pair()
    made = Outbox(stream, unexpected, Flusher())
    made.push(PIECE, asked=True)
    began = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await made.run()
    assert trio.current_time() - began == pytest.approx(30)
