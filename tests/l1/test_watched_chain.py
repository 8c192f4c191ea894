"""Deposits on L1 become balances on every node, from finalized L1 blocks only."""


import trio
from fleet import Fleet, until
from l1_fleet import BTC, USD, l1_place

from consensus.chain import State
from node.simulation.wallets import Wallet


def balance(state: State, wallet: Wallet, asset: int) -> int:
    """Available atoms of a wallet; 0 without an account."""
    from consensus import layout

    M = state.memory.M
    try:
        account = wallet.account(state)
    except StopIteration:
        return 0
    at = M[layout.AT_BALANCES] + ((account * M[layout.ASSETS_MAX] + asset) << 3)
    return int(M[at + layout.BALANCE_AVAILABLE])


async def test_a_finalized_deposit_is_a_balance_on_leader_and_follower(
    autojump_clock: object,
) -> None:
    place = l1_place(validators=2)
    fleet = Fleet(place.genesis, links=lambda number: place.link)
    wallet = Wallet(0)
    async with trio.open_nursery() as nursery:
        leader = await fleet.start(nursery, 0)
        follower = await fleet.start(nursery, 1)
        place.deposit(wallet, USD, 1000)
        place.deposit(wallet, BTC, 5)
        await trio.sleep(10)
        assert balance(leader.chain.state, wallet, USD) == 0
        place.finalize()
        await until(lambda: balance(follower.chain.state, wallet, BTC) == 5)
        assert balance(leader.chain.state, wallet, USD) == 1000
        await until(lambda: follower.chain.state.head.l1_messages == 2)
        height = follower.chain.state.head.height
        assert leader.chain.blocks.header(height) == follower.chain.blocks.header(height)
        await until(lambda: leader.chain.certified >= height)
        assert not follower.chain.alarms
        nursery.cancel_scope.cancel()
