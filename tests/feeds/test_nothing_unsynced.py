"""A leader whose disk is slow tells nothing of what its disk does not have: not by feeds, not by
answers, not by readings of the state."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import trio
from fleet import SimulatedMachine, Wallet, fleet_genesis, secret

from consensus import layout
from consensus.finality import bls
from node.app import Keys, Node, ValidatorKey
from node.feeds.feeds import Feeds
from node.process import all_methods
from node.rpc.client import Client
from node.rpc.dispatch import Dispatcher
from node.signer import signs_with
from node.submission import Answer
from storage.disk import MemoryDisk

Result = TypeVar("Result")


class SlowDisk(SimulatedMachine):
    """A machine whose journal does nothing while `is_stuck`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck = False
        self._free = trio.Event()

    async def journal(self, work: Callable[[], Result]) -> Result:
        if self.is_stuck:
            await self._free.wait()
        return await super().journal(work)

    def let_go(self) -> None:
        self.is_stuck = False
        self._free.set()


async def test_what_is_not_synced_is_not_told(autojump_clock: object) -> None:
    machine, key = SlowDisk(), secret("validator 0")
    voter = ValidatorKey(bls.public_key_of(key), signs_with(key, machine))
    keys = Keys(voter, secret("promiser"))
    node = Node(fleet_genesis(validators=1), MemoryDisk(), None, machine, keys, leads=True)
    feeds = Feeds(node.chain.state, node.tape, machine.now_ms())
    dispatcher = Dispatcher(all_methods(node, feeds))
    wallet = Wallet(0)
    told: list[Any] = []
    answers: list[Answer] = []

    def ask(method: str, params: dict[str, object]) -> list[Any]:
        """The answer, once it has come."""
        found: list[Any] = []
        message = msgspec.json.encode({"id": 1, "method": method, "params": params})
        client = Client("nobody", None)
        dispatcher.handle(message, client, lambda text: found.append(msgspec.json.decode(text)))
        return found

    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        for channel in (feeds.markets[0].book, feeds.markets[0].bbo, feeds.blocks):
            channel.listen(lambda body: told.append(msgspec.json.decode(body)), None)
        account = feeds.account(wallet.account(node.chain.state))
        assert account is not None
        account.listen(lambda body: told.append(msgspec.json.decode(body)), None)
        await trio.sleep(0.5)  # the block that an idle chain begins with
        quiet = len(told)

        machine.is_stuck = True
        node.submits.submit_then(wallet.order(node.chain.state, layout.BUY, 90), answers.append)
        await trio.sleep(1)
        assert wallet_orders(node, wallet) == 1, "the core has executed it"
        feeds.tick()
        asked = [
            ask("clob_openOrders", {"account": wallet.account(node.chain.state)}),
            ask("clob_account", {"account": wallet.account(node.chain.state)}),
            ask("clob_order", {"account": wallet.account(node.chain.state), "client": 1}),
            ask("chain_getProof", {"kind": "level", "market": 0, "price": 90}),
        ]
        (book,) = ask("clob_book", {"market": 0})
        await trio.sleep(1)
        assert book["result"]["bids"] == []
        assert answers == [] and told[quiet:] == [] and asked == [[], [], [], []]

        machine.let_go()
        await trio.sleep(1)
        feeds.tick()
        assert [answer.number for answer in answers] == [0]
        (orders,), (_,), (order,), (_,) = asked
        assert orders["result"] == [order["result"]]
        (book,) = ask("clob_book", {"market": 0})
        assert book["result"]["bids"] == [[90, 10, 1]]
        assert len(told) > quiet
        nursery.cancel_scope.cancel()


def wallet_orders(node: Node, wallet: Wallet) -> int:
    """Live orders in the state as it is, ahead of the disk or not."""
    M, account = node.chain.state.memory.M, wallet.account(node.chain.state)
    slots = range(M[layout.TABLE_SLOTS])
    at = M[layout.AT_TABLES]
    return sum(M[at + slot * M[layout.ACCOUNTS_MAX] + account] != 0 for slot in slots)


async def test_a_reading_waits_for_the_block_that_is_being_replayed(
    autojump_clock: object,
) -> None:
    machine, key = SlowDisk(), secret("validator 0")
    voter = ValidatorKey(bls.public_key_of(key), signs_with(key, machine))
    keys = Keys(voter, secret("promiser"))
    node = Node(fleet_genesis(validators=1), MemoryDisk(), None, machine, keys, leads=True)
    read: list[object] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        async with node.chain.lock:
            node.reads.read(lambda: "read", lambda make: read.append(make()))
            await trio.sleep(0.2)
            assert read == []
        await trio.sleep(0.2)
        assert read == ["read"]
        nursery.cancel_scope.cancel()
