"""Deposits and forced commands on L1 become state on every node, whatever L1 does meanwhile."""

from typing import Any, Final

import pytest
import trio
from fleet import Fleet, until
from l1_fleet import BTC, USD, l1_place

from consensus import commands, layout
from consensus.chain import State
from consensus.layout import EVENT_REFUSED
from node.app import Node
from node.l1.bridge import L1Link
from node.l1.surface import L1
from node.simulation.wallets import Wallet

DEPTHS: Final = range(1, 11)


def balance(state: State, wallet: Wallet, asset: int) -> int:
    """Available atoms of a wallet; 0 without an account."""
    M = state.memory.M
    try:
        account = wallet.account(state)
    except StopIteration:
        return 0
    at = M[layout.AT_BALANCES] + ((account * M[layout.ASSETS_MAX] + asset) << 3)
    return int(M[at + layout.BALANCE_AVAILABLE])


async def agreed(nodes: list[Node]) -> None:
    """All nodes have one certified chain up to the leader's present head."""
    leader = nodes[0]
    height = leader.chain.state.head.height
    await until(lambda: all(one.chain.certified >= height for one in nodes))
    assert len({one.chain.blocks.header(height).state_root for one in nodes}) == 1


class LateL1:
    """An L1 whose server stopped synchronising at a block: it answers as of `until` (None: all)."""

    def __init__(self, l1: L1) -> None:
        self._l1 = l1
        self.until: int | None = None

    async def request(self, method: str, *params: Any) -> Any:
        if method == "eth_getBlockByNumber" and self.until is not None:
            answer = await self._l1.request(method, *params)
            if answer is None or int(answer["number"], 16) <= self.until:
                return answer
            is_tag = not params[0].startswith("0x")
            late = await self._l1.request(method, hex(self.until), False)
            return late if is_tag else None
        return await self._l1.request(method, *params)


async def test_a_deposit_is_credited_everywhere_once_it_is_final_and_not_before(
    autojump_clock: object,
) -> None:
    place = l1_place(validators=2)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    wallet = Wallet(0)
    async with trio.open_nursery() as nursery:
        nodes = [await fleet.start(nursery, number) for number in range(2)]
        place.deposit(wallet, USD, 1000)
        place.deposit(wallet, BTC, 5)
        await trio.sleep(10)
        assert balance(nodes[0].chain.state, wallet, USD) == 0
        assert nodes[0].bridge and nodes[0].bridge.facts.latest.items == 2
        place.finalize()
        await until(lambda: balance(nodes[1].chain.state, wallet, BTC) == 5)
        assert balance(nodes[0].chain.state, wallet, USD) == 1000
        await agreed(nodes)
        assert not nodes[1].chain.alarms
        nursery.cancel_scope.cancel()


async def test_deposited_money_trades(autojump_clock: object) -> None:
    place = l1_place(validators=2)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    buyer, seller = Wallet(0), Wallet(1)
    async with trio.open_nursery() as nursery:
        nodes = [await fleet.start(nursery, number) for number in range(2)]
        state = nodes[0].chain.state
        place.deposit(buyer, USD, 10**9)
        place.deposit(seller, BTC, 10**7)
        place.finalize()
        await until(lambda: balance(state, seller, BTC) > 0)
        assert (await nodes[0].submits.submit(seller.order(state, 1, 100))).number == 0
        assert (await nodes[0].submits.submit(buyer.order(state, 0, 100))).number == 0
        await agreed(nodes)
        assert balance(state, buyer, BTC) > 0 and balance(state, seller, USD) > 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "dropped"])
async def test_a_reorganisation_credits_nothing_twice_and_rolls_nothing_back(
    depth: int, keeps: bool, autojump_clock: object
) -> None:
    place = l1_place(validators=2, epoch_blocks=6)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    wallets, chain = [Wallet(n) for n in range(3)], place.l1.chain
    async with trio.open_nursery() as nursery:
        nodes = [await fleet.start(nursery, number) for number in range(2)]
        facts = nodes[1].bridge and nodes[1].bridge.facts
        assert facts
        chain.mine(20)
        place.deposit(wallets[0], USD, 1000)
        chain.mine(depth - 1)
        await until(lambda: facts.latest.items == 1)
        heights = [node.chain.state.head.height for node in nodes]
        chain.reorganise(depth, keep_dropped=keeps)
        await until(lambda: facts.latest.items == 0)
        place.deposit(wallets[1], USD, 30)  # takes the place of the first
        place.deposit(wallets[2], USD, 7)
        place.finalize()
        await until(lambda: balance(nodes[1].chain.state, wallets[2], USD) == 7)
        if keeps:
            await until(lambda: balance(nodes[1].chain.state, wallets[0], USD) == 1000)
        await agreed(nodes)
        total = sum(balance(nodes[1].chain.state, one, USD) for one in wallets)
        assert total == place.held(USD) == (1037 if keeps else 37)
        assert [node.chain.state.head.height > height
                for node, height in zip(nodes, heights, strict=True)] == [True, True]  # fmt: skip
        assert nodes[1].bridge and nodes[1].bridge.watcher.reorganisations >= 1
        assert not nodes[0].chain.alarms and not nodes[1].chain.alarms
        nursery.cancel_scope.cancel()


async def test_a_follower_whose_l1_lags_waits_and_refuses_nothing(autojump_clock: object) -> None:
    place = l1_place(validators=3)
    late = LateL1(place.l1)
    links = {2: L1Link(late, place.deployment)}
    fleet = Fleet(place.genesis, links=lambda number: links.get(number, place.link))
    wallet = Wallet(0)
    async with trio.open_nursery() as nursery:
        nodes = [await fleet.start(nursery, number) for number in range(3)]
        await until(lambda: nodes[2].chain.state.head.height > 2)
        late.until = int(place.l1.chain.head.block_number)
        place.deposit(wallet, USD, 1000)
        place.finalize()
        await until(lambda: balance(nodes[1].chain.state, wallet, USD) == 1000)
        await trio.sleep(20)
        stuck = nodes[2].chain.state.head.height
        assert stuck < nodes[1].chain.state.head.height
        assert nodes[2].follower and not nodes[2].follower.breaches
        assert nodes[2].bridge and nodes[2].bridge.origins.behind() > late.until
        late.until = None
        await until(lambda: balance(nodes[2].chain.state, wallet, USD) == 1000)
        await agreed(nodes)
        nursery.cancel_scope.cancel()


async def test_an_l1_outage_stops_deposits_and_nothing_else(autojump_clock: object) -> None:
    place = l1_place(validators=2)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    wallet = Wallet(0)
    async with trio.open_nursery() as nursery:
        nodes = [await fleet.start(nursery, number) for number in range(2)]
        state = nodes[0].chain.state
        place.deposit(wallet, USD, 10**9)
        place.finalize()
        await until(lambda: balance(state, wallet, USD) > 0)
        place.l1.is_down = True
        await trio.sleep(100)
        assert nodes[0].bridge and nodes[0].bridge.watcher.silent_s() > 90
        assert "down" in nodes[0].bridge.watcher.problem
        assert (await nodes[0].submits.submit(wallet.order(state, 0, 100))).number == 0
        await agreed(nodes)
        place.l1.is_down = False
        place.deposit(wallet, BTC, 5)
        place.finalize()
        await until(lambda: balance(nodes[1].chain.state, wallet, BTC) == 5)
        assert nodes[0].bridge.watcher.problem == ""
        nursery.cancel_scope.cancel()


async def test_a_long_time_without_l1_leaves_cancels_only_and_then_trade_comes_back(
    long_run: bool, autojump_clock: object
) -> None:
    place = l1_place(validators=1, drift_max_ms=60_000)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    wallet = Wallet(0)
    async with trio.open_nursery() as nursery:
        node = await fleet.start(nursery, 0)
        state = node.chain.state
        place.deposit(wallet, USD, 10**9)
        place.finalize()
        await until(lambda: balance(state, wallet, USD) > 0)
        assert (await node.submits.submit(wallet.order(state, 0, 100))).number == 0
        place.l1.is_down = True
        await trio.sleep(3600 if long_run else 90)
        order = await node.submits.submit(wallet.order(state, 0, 100))
        assert order.number == 3011
        cancel = wallet.signed(state, commands.cancel_all())
        assert (await node.submits.submit(cancel)).number == 0
        place.l1.is_down = False
        place.l1.chain.mine(12)
        await trio.sleep(5)
        assert (await node.submits.submit(wallet.order(state, 0, 100))).number == 0
        nursery.cancel_scope.cancel()


async def test_a_restarted_node_goes_on_from_what_it_kept(autojump_clock: object) -> None:
    place = l1_place(validators=2)
    asked = Asked(place.l1)
    fleet = Fleet(place.genesis, links=lambda number: L1Link(asked, place.deployment))
    wallet = Wallet(0)
    async with trio.open_nursery() as nursery:
        for number in range(2):
            await fleet.start(nursery, number)
        place.deposit(wallet, USD, 1000)
        place.finalize()
        await until(lambda: balance(fleet.nodes[1].chain.state, wallet, USD) == 1000)
        bridge = fleet.nodes[1].bridge
        assert bridge is not None
        point = bridge.facts.finalized
        assert point is not None
        for number in (1, 0):
            await fleet.end(number)
            fleet.disks[number].crash()
        place.l1.is_down = True
        asked.first_blocks.clear()
        nodes = [await fleet.start(nursery, number) for number in range(2)]
        height = nodes[0].chain.state.head.height
        await until(lambda: nodes[1].chain.state.head.height > height + 2)  # without the L1
        assert nodes[1].bridge and nodes[1].bridge.facts.final.items == 1
        place.l1.is_down = False
        place.deposit(wallet, USD, 1)
        place.finalize()
        await until(lambda: balance(nodes[1].chain.state, wallet, USD) == 1001)
        logs = [first for first in asked.first_blocks if first != place.deployment.block_number]
        assert all(first > point.number for first in logs)
        await agreed(nodes)
        nursery.cancel_scope.cancel()


class Asked:
    """Notes from which block on logs are asked for by number."""

    def __init__(self, l1: L1) -> None:
        self._l1 = l1
        self.first_blocks: list[int] = []

    async def request(self, method: str, *params: Any) -> Any:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            self.first_blocks.append(int(params[0]["fromBlock"], 16))
        return await self._l1.request(method, *params)


async def test_a_long_queue_is_spread_over_blocks_in_its_order(autojump_clock: object) -> None:
    place = l1_place(validators=2)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    wallets = [Wallet(n) for n in range(4)]
    async with trio.open_nursery() as nursery:
        nodes = [await fleet.start(nursery, number) for number in range(2)]
        for n in range(150):
            place.deposit(wallets[n % 4], USD, 1 + n, mines=n % 50 == 49)
        place.finalize()
        await until(lambda: nodes[1].chain.state.head.l1_messages == 150)
        await agreed(nodes)
        blocks = nodes[1].chain.blocks
        taken = [blocks.header(n).l1_messages for n in range(1, blocks.head().height + 1)]
        steps = [after - before for before, after in zip([0, *taken], taken, strict=False)]
        assert [step for step in steps if step] == [64, 64, 22]
        total = sum(balance(nodes[1].chain.state, one, USD) for one in wallets)
        assert total == sum(range(1, 151))
        nursery.cancel_scope.cancel()


async def test_messages_that_fill_a_block_go_on_in_the_next(autojump_clock: object) -> None:
    place = l1_place(validators=2, wallets=40, parameters={"leaves_max": 64})
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    async with trio.open_nursery() as nursery:
        nodes = [await fleet.start(nursery, number) for number in range(2)]
        for n in range(40):
            place.deposit(Wallet(n), USD, 1, mines=n == 39)
        place.finalize()
        await until(lambda: nodes[1].chain.state.head.l1_messages == 40)
        await agreed(nodes)
        blocks = nodes[1].chain.blocks
        carried = {blocks.header(n).l1_messages for n in range(blocks.head().height + 1)}
        assert len(carried) == 3  # none, those of the full block, all
        assert nodes[1].follower and not nodes[1].follower.breaches
        nursery.cancel_scope.cancel()


async def test_an_item_that_l2_refuses_is_consumed_and_told(autojump_clock: object) -> None:
    place = l1_place(validators=2)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    stranger, wallet = Wallet(0), Wallet(1)
    async with trio.open_nursery() as nursery:
        nodes = [await fleet.start(nursery, number) for number in range(2)]
        place.force(stranger, commands.cancel_all())  # has no account
        place.force(stranger, bytes([99]) + bytes(63))  # no operation
        place.deposit(wallet, USD, 5)
        place.finalize()
        await until(lambda: balance(nodes[1].chain.state, wallet, USD) == 5)
        await agreed(nodes)
        head = nodes[1].chain.blocks.head().height
        events = b"".join(nodes[1].chain.blocks.events(n) for n in range(1, head + 1))
        assert list(events[::64]).count(EVENT_REFUSED) == 2
        nursery.cancel_scope.cancel()


async def test_a_leader_on_a_new_directory_waits_for_what_its_origin_brought(
    autojump_clock: object,
) -> None:
    """Its database was restored without L1 facts: it must not propose before it has them again."""
    place = l1_place(validators=1)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    wallet = Wallet(0)
    async with trio.open_nursery() as nursery:
        node = await fleet.start(nursery, 0)
        place.deposit(wallet, USD, 1000)
        place.finalize()
        await until(lambda: stored_messages(node) == 1)
        await fleet.end(0)
        forget_facts(fleet, 0)
        place.l1.is_down = True
        node = await fleet.start(nursery, 0)
        height = node.chain.state.head.height
        await trio.sleep(30)
        assert node.chain.state.head.height <= height + 1
        place.l1.is_down = False
        await until(lambda: node.chain.state.head.height > height + 3)
        nursery.cancel_scope.cancel()


def stored_messages(node: Node) -> int:
    """In the last block on the disk; one that is sealed only may be lost."""
    blocks = node.chain.blocks
    return blocks.header(blocks.head().height).l1_messages


def forget_facts(fleet: Fleet, number: int) -> None:
    disk = fleet.disks[number]
    disk.close()
    database = disk.database()
    keys = [key for key, _ in database.scan(b"I", b"J")] + [b"Ml1"]
    database.write([(key, None) for key in keys], sync=True)
    disk.close()


