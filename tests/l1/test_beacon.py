"""Blobs from a beacon node: the right block is asked, and what is no answer is refused."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from l1_wallets import sidecar_of

from node.exceptions import NodeError
from node.l1.beacon import BEACON_ANSWER, BeaconBlobs
from node.l1.surface import L1_UNREACHABLE

SIDECAR = sidecar_of(b"what the archive keeps")
NAME, BLOB = SIDECAR.hashes[0], SIDECAR.blobs[0]
ROOT = "0x" + "ab" * 32
BLOCK = {"number": "0x11", "parentBeaconBlockRoot": "0x" + "cd" * 32}
Answer = tuple[int, bytes]


class Child:
    """An L1 whose block 18, if there is one, says which beacon block brought block 17."""

    def __init__(self, is_there: bool = True) -> None:
        self.is_there = is_there

    async def request(self, method: str, *params: Any) -> Any:
        assert (method, params) == ("eth_getBlockByNumber", ("0x12", False))
        return {"number": "0x12", "parentBeaconBlockRoot": ROOT} if self.is_there else None


async def _serve(answer: Answer, asked: list[str], stream: trio.SocketStream) -> None:
    waiting = b""
    while data := await stream.receive_some():
        waiting += data
        if waiting.endswith(b"\r\n\r\n"):
            asked.append(waiting.split()[1].decode())
            waiting = b""
            head = f"HTTP/1.1 {answer[0]} x\r\nContent-Length: {len(answer[1])}\r\n\r\n"
            await stream.send_all(head.encode() + answer[1])


@asynccontextmanager
async def beacon(
    status: int, body: bytes, l1: Child | None = None
) -> AsyncIterator[tuple[BeaconBlobs, list[str]]]:
    """A server with one answer to everything, and the paths that it was asked for."""
    asked: list[str] = []
    async with trio.open_nursery() as nursery:
        serve = partial(_serve, (status, body), asked)
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        source = BeaconBlobs(f"http://127.0.0.1:{port}/node/", l1 or Child())
        yield source, asked
        await source.close()
        nursery.cancel_scope.cancel()


def found(*blobs: bytes) -> bytes:
    data = ["0x" + one.hex() for one in blobs]
    return json.dumps({"execution_optimistic": False, "finalized": True, "data": data}).encode()


async def test_the_beacon_block_that_the_next_l1_block_names_is_asked_for_the_blob() -> None:
    async with beacon(200, found(BLOB)) as (source, asked):
        assert await source.read(NAME, BLOCK) == BLOB
        assert await source.read(NAME, BLOCK) == BLOB
    path = f"/node/eth/v1/beacon/blobs/{ROOT}?versioned_hashes=0x{NAME.hex()}"
    assert asked == [path, path]


async def test_a_development_chain_is_asked_by_its_own_block_number() -> None:
    for block in ({"number": "0x11"}, {"number": "0x11", "parentBeaconBlockRoot": "0x" + "0" * 64}):
        async with beacon(200, found(BLOB)) as (source, asked):
            assert await source.read(NAME, block) == BLOB
        assert asked == [f"/node/eth/v1/beacon/blobs/17?versioned_hashes=0x{NAME.hex()}"]


async def test_what_it_does_not_have_is_nothing() -> None:
    for status, body in ((200, found()), (404, b'{"code":404,"message":"not found"}')):
        async with beacon(status, body) as (source, _):
            assert await source.read(NAME, BLOCK) is None
    async with beacon(200, found(BLOB), Child(is_there=False)) as (source, asked):
        assert await source.read(NAME, BLOCK) is None
    assert asked == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"not JSON"), (200, b"[]"), (200, b"{}"), (200, b'{"data":{}}'),
        (200, b'{"data":[5]}'), (200, b'{"data":["0xzz"]}'), (400, found(BLOB)), (500, b""),
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_an_error(status: int, body: bytes) -> None:
    async with beacon(status, body) as (source, _):
        with pytest.raises(NodeError) as caught:
            await source.read(NAME, BLOCK)
    assert caught.value.number == BEACON_ANSWER


async def test_nobody_listening_is_an_error() -> None:
    with pytest.raises(NodeError) as caught:
        await BeaconBlobs("http://127.0.0.1:1", Child()).read(NAME, BLOCK)
    assert caught.value.number == L1_UNREACHABLE
