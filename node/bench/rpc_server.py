"""The node that the rpc bench talks to, in a process of its own.

What lives here: one leader on an in-memory disk behind the real server. What must never live here:
a measurement.

`is_signed` false: the submission is parsed and packed as always, and then accepted at once with a
fixed promise, so that what is measured is the way from the socket to the sequencer and back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple

import trio

from consensus.finality import bls
from consensus.genesis import parse
from node.app import Keys, Node, ValidatorKey
from node.bench.rpc_orders import secret
from node.config import Address
from node.feeds.feeds import Feeds
from node.interpreter import settle
from node.machine import RealMachine
from node.process import all_methods
from node.rpc.dispatch import Dispatcher
from node.rpc.server import RpcServer
from node.signer import signs_with
from node.submission import Answer, Submission
from storage.disk import MemoryDisk

PROMISE_BYTES = 240


class Accepting:
    """A leader that promises everything."""

    def __init__(self) -> None:
        self._sequence = 0

    async def submit(self, submission: Submission) -> Answer:
        self._sequence += submission.group.size
        return Answer(0, "", 1, self._sequence, bytes(PROMISE_BYTES))

    def submit_then(self, submission: Submission, done: Callable[[Answer], None]) -> None:
        self._sequence += submission.group.size
        done(Answer(0, "", 1, self._sequence, bytes(PROMISE_BYTES)))


class Server(NamedTuple):
    """The running process."""

    port: int
    pid: int


@contextmanager
def rpc_server(genesis: bytes, *, is_signed: bool) -> Iterator[Server]:
    """The server, until the block ends."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs, genesis, is_signed), daemon=True)
    process.start()
    try:
        theirs.close()
        yield Server(int(ours.recv()), process.pid or 0)
    finally:
        process.terminate()
        process.join()


def _main(pipe: Connection, genesis: bytes, is_signed: bool) -> None:
    trio.run(_serve, pipe, genesis, is_signed)


async def _serve(pipe: Connection, genesis: bytes, is_signed: bool) -> None:
    machine, key = RealMachine(), secret("validator")
    validator = ValidatorKey(bls.public_key_of(key), signs_with(key, machine))
    keys = Keys(validator, secret("promiser"))
    node = Node(parse(genesis), MemoryDisk(), None, machine, keys, leads=True)
    if not is_signed:
        node.submits = Accepting()
    feeds = Feeds(node.chain.state, node.tape, machine.now_ms())
    server = RpcServer(Address("127.0.0.1", 0), Dispatcher(all_methods(node, feeds)), {})
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        nursery.start_soon(feeds.run)
        await nursery.start(server.run)
        settle()
        pipe.send(server.port)
