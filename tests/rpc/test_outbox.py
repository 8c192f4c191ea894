"""What may wait for a client: answers it asked for, and pushes it did not, each with its limit."""

import trio.testing

from node.rpc.outbox import ANSWERS_BYTES_MAX, UNREAD_BYTES_MAX, Outbox

PIECE = bytes(30_000)


def outbox() -> tuple[Outbox, list[bool]]:
    dropped: list[bool] = []
    stream = trio.testing.memory_stream_one_way_pair()[0]
    return Outbox(stream, lambda: dropped.append(True)), dropped


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
