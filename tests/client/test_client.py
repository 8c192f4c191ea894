"""The client library against a real `rialto dev`: orders, fills, feeds, broken connections."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from dev_process import DevProcess, dev_process
from relay import Relay
from traders import trader

from consensus import commands, layout
from node.client.client import Client, Placed, open_client
from node.client.exceptions import ClientError, NotProven, Refused, Unanswered
from node.client.feed import Gap, Update
from node.client.signing import SignedCommand, Signer, sign_group
from node.wallet.dev_accounts import dev_accounts

BUY, SELL = layout.BUY, layout.SELL
PRICE = itertools.count(6_400_000)
"""Every test has a price of its own, so that orders of others are not in its way."""


@pytest.fixture(scope="module")
def dev() -> Iterator[DevProcess]:
    """One chain in memory for all tests that only add to it."""
    with dev_process() as process:
        yield process


async def test_an_order_that_fills_is_proven_from_promise_to_certificate(dev: DevProcess) -> None:
    async with open_client(dev.url) as client:
        maker, taker = await trader(client, 0), await trader(client, 1)
        price = next(PRICE)
        resting = await client.submit(maker.order(BUY, price))
        assert [event["event"] for event in resting.events] == ["rested"]
        taken = await client.submit(taker.order(SELL, price))
        assert taken.promise is not None
        proven = await client.certified(taken)
        assert [event["event"] for event in proven.shown] == ["trade", "taken"]
        assert proven.shown == taken.events
        assert not await client.open_orders(maker.signer.account)


async def test_http_does_what_websocket_does_but_for_feeds(dev: DevProcess) -> None:
    async with open_client(dev.url.replace("ws:", "http:")) as client:
        one = await trader(client, 0)
        placed = await client.submit(one.order(BUY, next(PRICE)))
        orders = await client.open_orders(one.signer.account)
        await client.submit(one.sign(commands.cancel(0, int(orders[-1].handle))))
        assert (await client.certified(placed)).height == placed.height
        with pytest.raises(ClientError) as refused:
            async with client.follow("blocks"):
                pass
        assert refused.value.number == 7808


async def test_refusals_have_the_nodes_numbers_and_what_it_recovered(dev: DevProcess) -> None:
    async with open_client(dev.url) as client:
        one = await trader(client, 0)
        command = one.order(BUY, next(PRICE))
        await client.submit(command)
        with pytest.raises(Refused) as again:
            await client.submit(command)
        assert again.value.number == layout.NONCE_USED
        stranger = Signer(dev_accounts(2)[1].secret, one.signer.account)
        row = command.group.operations
        wrong = sign_group(client.domain, one.names, stranger, row, 99, one.expires)
        with pytest.raises(Refused) as refused:
            await client.submit(wrong)
        assert refused.value.number == layout.SIGNER
        assert refused.value.data["recovered"] == "0x" + stranger.address.hex()


async def test_a_session_key_places_orders_until_it_is_revoked(dev: DevProcess) -> None:
    async with open_client(dev.url) as client:
        owner = await trader(client, 2)
        secret = b"\x42" * 32
        key = Signer(secret, owner.signer.account, 1)
        grant = commands.grant(
            1, key.address, expires=owner.expires, cap=10**12, markets=1, quote=0
        )
        await client.certified(await client.submit(owner.sign(grant)))
        facts = await client.account(owner.signer.account)
        assert [one.slot for one in facts.keys] == [1]
        key = Signer(secret, owner.signer.account, 1, facts.keys[0].epoch)
        row = commands.place(0, BUY, 7, next(PRICE), 1000)
        placed = await client.submit(
            sign_group(client.domain, owner.names, key, row, 1, owner.expires)
        )
        assert [event["event"] for event in placed.events] == ["rested"]
        await client.certified(await client.submit(owner.sign(commands.revoke(1))))
        with pytest.raises(Refused):
            await client.submit(
                sign_group(client.domain, owner.names, key, row, 2, owner.expires)
            )


@pytest.fixture
def cut_every() -> list[float]:
    return [0.3, 0.01, 0.5, 0.05, 0.2]


async def test_feeds_go_on_without_a_gap_when_the_socket_is_cut(
    dev: DevProcess, cut_every: list[float]
) -> None:
    """Every order of an account is told exactly once, in order, over cut connections."""
    relay = Relay(dev.port)
    orders = 60
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        async with open_client(dev.url) as sender, open_client(relay.url) as client:
            one = await trader(sender, 3)
            price = next(PRICE)

            async def place() -> None:
                for _ in range(orders // 2):
                    placed = await sender.submit(one.order(BUY, price))
                    handle = int(placed.events[0]["handle"])
                    await sender.submit(one.sign(commands.cancel(0, handle)))
                    await trio.sleep(0.02)

            async def cut() -> None:
                for pause in cut_every:
                    await trio.sleep(pause)
                    relay.cut()

            async with (
                client.follow("orders", account=one.signer.account) as feed,
                client.follow_book(0) as book,
            ):
                await client.status()
                nursery.start_soon(place)
                nursery.start_soon(cut)

                async def follow_book() -> None:
                    async for _ in book.changes():
                        pass

                nursery.start_soon(follow_book)
                with trio.fail_after(60):
                    while len(seen) < orders:
                        for item in await feed.read():
                            assert isinstance(item, Update)
                            seen.append(item.operation)
                assert seen == sorted(set(seen))
                assert feed.gaps == 0
                assert client.connections > 2
                told = await sender.read("clob_book", {"market": 0, "depth": 1000}, dict)
                with trio.fail_after(10):
                    while [list(level) for level in book.book(1000).bids] != told["bids"]:
                        await trio.sleep(0.05)
                assert book.checked > 2
        nursery.cancel_scope.cancel()


async def test_a_command_whose_answer_is_lost_is_found_at_its_place(dev: DevProcess) -> None:
    relay = Relay(dev.port)
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        async with (
            open_client(dev.url) as direct,
            open_client(relay.url, answer_s=2, patience_s=20) as client,
        ):
            one = await trader(direct, 4)
            await client.status()
            command = one.order(BUY, next(PRICE))
            found: list[Placed] = []

            async def submit() -> None:
                found.append(await client.submit(command))

            async with trio.open_nursery() as sending:
                relay.deaf = True
                sending.start_soon(submit)
                with trio.fail_after(10):
                    while not await direct.open_orders(one.signer.account):
                        await trio.sleep(0.02)
                relay.cut()
                relay.deaf = False
            orders = await direct.open_orders(one.signer.account)
            assert [order.sequence for order in orders] == [found[0].sequence]
            assert found[0].promise is None
            proven = await client.certified(found[0])
            assert [event["event"] for event in proven.shown] == ["rested"]
        nursery.cancel_scope.cancel()


async def test_a_nonce_that_another_command_took_is_not_taken_for_ours(dev: DevProcess) -> None:
    async with open_client(dev.url) as client:
        one = await trader(client, 5)
        first = one.order(BUY, next(PRICE))
        one.nonce -= 1
        second = one.order(BUY, next(PRICE))
        await client.certified(await client.submit(first))
        with pytest.raises(Refused, match="another command"):
            await client._find(second)


async def test_a_node_that_is_gone_is_said_in_time() -> None:
    with pytest.raises(Unanswered) as gone:
        async with open_client("ws://127.0.0.1:1", patience_s=0.5):
            pass
    assert gone.value.number == 7800


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "ws://", "ws://a:b", "ws://user:word@a", "ws://a/path", "http://[::1"]
)
async def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ClientError) as refused:
        async with open_client(url):
            pass
    assert refused.value.number == 7801


async def test_a_promise_for_another_command_is_not_believed(dev: DevProcess) -> None:
    async with open_client(dev.url) as client:
        one = await trader(client, 6)
        command = one.order(BUY, next(PRICE))
        placed = await client.submit(command)
        reply = await client._link.call(
            "clob_submit", one.order(BUY, next(PRICE)).params() | {"events": True}
        )
        with pytest.raises(NotProven):
            await client._placed(placed.command, reply)


async def test_a_restarted_node_is_found_again_and_feeds_say_what_they_missed(
    tmp_path: Path,
) -> None:
    """kill -9 under the client: books come back whole, other channels name the gap."""
    with dev_process(tmp_path / "dev") as dev:
        async with open_client(dev.url) as client:
            one = await trader(client, 0)
            command = await _rest_one(client, one.order(BUY, next(PRICE)))
            async with (
                client.follow_book(0) as book,
                client.follow("orders", account=one.signer.account) as feed,
            ):
                changes = book.changes()
                await anext(changes)
                await client.submit(one.order(BUY, next(PRICE)))
                assert isinstance((await feed.read())[0], Update)
                await trio.to_thread.run_sync(dev.stop, signal.SIGKILL)
                await trio.to_thread.run_sync(dev.start)
                with trio.fail_after(30):
                    assert isinstance((await feed.read())[0], Gap)
                    while book.snapshots < 2:
                        await anext(changes)
                assert len(book.book(10).bids) == 2
                placed = await client.submit(one.order(BUY, next(PRICE)))
                assert (await client.certified(placed)).height > command.height
                assert client.connections == 2


async def _rest_one(client: Client, command: SignedCommand) -> Placed:
    placed = await client.submit(command)
    await client.certified(placed)
    return placed


async def test_an_idle_http_connection_that_was_closed_is_replaced_unseen(dev: DevProcess) -> None:
    relay = Relay(dev.port)
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        url = relay.url.replace("ws:", "http:")
        async with open_client(url, patience_s=0) as client:
            relay.cut()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert (await client.status()).chain_id == 1337
            assert relay.connections == 2
        nursery.cancel_scope.cancel()
