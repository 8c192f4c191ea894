"""Nodes settle by themselves: a leader commits, validators attest, and blocks become final."""

from collections.abc import Callable

import pytest
import trio
from fleet import Fleet, until
from l1_fleet import USD, L1Place, l1_place
from l1_wallets import address, secret_of
from posting import LocalKzg

from consensus.commands import cancel_all
from node.app import Node
from node.l1.archive import file_name
from node.l1.backlog import BACKLOG_FULL, Batching
from node.l1.embedded.pool import is_blob
from node.l1.settling import Settles
from node.simulation.wallets import Wallet
from storage.disk import BLOBS

VALIDATORS = 4
L1_BLOCK_S = 12


class SimulatedKzg(LocalKzg):
    async def close(self) -> None:
        """There is no process to end."""


def settles_of(batching: Batching, drops: bool) -> Callable[[int], Settles]:
    members = sorted(address(f"member {n}") for n in range(VALIDATORS))
    secrets = {address(f"member {n}"): secret_of(f"member {n}") for n in range(VALIDATORS)}

    def settles(number: int) -> Settles:
        committer = secret_of("operator") if number == 0 else None
        secret = secrets[members[number]]
        return Settles(
            secret, committer, batching, kzg=SimulatedKzg, drops_final_blobs=drops and number == 0
        )

    return settles


async def mining(l1: L1Place) -> None:
    while True:
        await trio.sleep(L1_BLOCK_S)
        l1.l1.chain.mine()


async def started(
    nursery: trio.Nursery, l1: L1Place, batching: Batching, *, drops: bool = False
) -> tuple[Fleet, list[Node]]:
    fleet = Fleet(l1.genesis, links=lambda number: l1.link, settles=settles_of(batching, drops))
    nodes = [await fleet.start(nursery, number) for number in range(VALIDATORS)]
    l1.l1.automine = False
    nursery.start_soon(mining, l1)
    return fleet, nodes


@pytest.mark.slow
@pytest.mark.parametrize("drops", [False, True], ids=["keep", "final"])
async def test_a_deposit_and_an_order_become_final_on_every_node(
    autojump_clock: object, drops: bool
) -> None:
    """The leader's archive has every blob that was posted, or none of a final batch."""
    l1 = l1_place(VALIDATORS, block_interval_ms=2000)
    wallet = Wallet(0)
    l1.deposit(wallet, USD, 10**6)
    l1.finalize()
    async with trio.open_nursery() as nursery:
        fleet, nodes = await started(nursery, l1, Batching(deadline_s=60), drops=drops)
        leader = nodes[0]
        assert leader.settling is not None and leader.settling.committer is not None
        with trio.fail_after(3600):
            while min(node.stages.heights.final for node in nodes) < 1:
                await trio.sleep(30)
        assert [node.chain.alarms for node in nodes] == [[]] * VALIDATORS
        assert leader.settling.committer.counts["reverted"] == 0
        if drops:
            await until(lambda: not first_batch(leader, l1) & archived(fleet), 60)
            assert first_batch(leader, l1)
        else:
            assert posted(l1) and posted(l1) == archived(fleet)
        attesters = [node.settling.attester for node in nodes[1:] if node.settling]
        assert sum(one.signed for one in attesters if one) >= 2
        nursery.cancel_scope.cancel()


def archived(fleet: Fleet) -> set[str]:
    """The files of the leader's archive."""
    return set(fleet.disks[0]._files[BLOBS].names())


def posted(l1: L1Place, last: int | None = None) -> set[str]:
    """The files of every blob that the L1's pool ever had, or of those up to a block."""
    chain = l1.l1.chain
    had = chain.pool.ready() if last is None else []
    for number in range((chain.head.block_number if last is None else last) + 1):
        had += chain.block_at(number).transactions
    return {file_name(name) for one in had if is_blob(one) for name in one.blob_versioned_hashes}


def first_batch(leader: Node, l1: L1Place) -> set[str]:
    """The files of the first batch, which is final."""
    assert leader.bridge is not None
    batch = leader.bridge.facts.final_batch(1)
    assert batch is not None and batch.finalized_in
    return posted(l1, batch.committed_in)


async def test_above_the_cap_of_the_backlog_people_can_only_leave(
    autojump_clock: object,
) -> None:
    """The L1 is down and the backlog over its cap: orders are refused by number, cancels are not;
    the node says so, and once the L1 is back the backlog drains and orders are taken again."""
    l1 = l1_place(VALIDATORS, block_interval_ms=2000)
    wallet = Wallet(0)
    l1.deposit(wallet, USD, 10**6)
    l1.finalize()
    async with trio.open_nursery() as nursery:
        _, nodes = await started(nursery, l1, Batching(1, 60, 2))
        leader = nodes[0]
        assert leader.settling is not None and leader.settling.committer is not None
        backlog = leader.settling.committer.backlog
        await until(lambda: leader.chain.state.head.l1_messages == 1, 600)
        l1.l1.is_down = True
        backlog.ratio = 5000.0  # as if every block were that much larger
        with trio.fail_after(600):
            while not backlog.is_over:
                await trio.sleep(2)
        state = leader.chain.state
        answer = await leader.submits.submit(wallet.order(state, 0, 100))
        assert answer.number == BACKLOG_FULL
        answer = await leader.submits.submit(wallet.signed(state, cancel_all()))
        assert answer.number == 0
        l1.l1.is_down = False
        backlog.ratio = 1.0
        with trio.fail_after(3600):
            while leader.bridge is None or leader.bridge.facts.latest.committed < 1:
                await trio.sleep(5)
        answer = await leader.submits.submit(wallet.order(state, 0, 100))
        assert answer.number == 0
        nursery.cancel_scope.cancel()
