"""Whatever L1 does below finality, whoever restarts: L2 has what the contract holds, to the atom.

Random deposits, forced transfers, trades, reorganisations, outages and restarts, from a seed.
"""

import random
from typing import Final

import pytest
import trio
from fleet import Fleet, until
from l1_fleet import BTC, USD, L1Place, l1_place

from consensus import commands, layout
from consensus.chain import State
from node.app import Node
from node.simulation.wallets import Wallet

NODES: Final = 3
STEPS: Final = 25
WALLETS: Final = 4


def supply(state: State, asset: int) -> int:
    """Available and locked atoms of all accounts, the fee account's included."""
    M = state.memory.M
    total = 0
    for account in range(M[layout.ACCOUNTS]):
        at = M[layout.AT_BALANCES] + ((account * M[layout.ASSETS_MAX] + asset) << 3)
        total += int(M[at + layout.BALANCE_AVAILABLE] + M[at + layout.BALANCE_LOCKED])
    return total


class Run:
    """One random run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.place: L1Place = l1_place(validators=NODES, epoch_blocks=6)
        self.place.finalize()  # the contract stays
        self.fleet = Fleet(self.place.genesis, seed, links=lambda number: self.place.link)
        self.wallets = [Wallet(n) for n in range(WALLETS)]

    async def step(self, nursery: trio.Nursery) -> None:
        chance, l1 = self.chance, self.place.l1
        kind = chance.randrange(10)
        wallet = chance.choice(self.wallets)
        if l1.is_down and kind < 8:
            l1.is_down = chance.random() < 0.5
        elif kind < 3:
            self.place.deposit(wallet, chance.choice((USD, BTC)), chance.randrange(1, 10**9))
        elif kind == 3:
            rows = [commands.place(0, chance.randrange(2), 1, chance.randrange(95, 105), 10)]
            self.place.force(wallet, *rows)
        elif kind < 6:
            l1.chain.mine(chance.randrange(1, 7))
        elif kind < 8:
            head, final = int(l1.chain.head.block_number), l1.chain.finalized_number
            if head > final:
                depth = chance.randrange(1, min(10, head - final) + 1)
                l1.chain.reorganise(depth, keep_dropped=chance.random() < 0.5)
        elif kind == 8:
            l1.is_down = True
        else:
            await self.restart(nursery, chance.randrange(NODES))
        await trio.sleep(chance.uniform(0, 4))

    async def restart(self, nursery: trio.Nursery, number: int) -> None:
        """As after a power cut."""
        await self.fleet.end(number)
        self.fleet.disks[number].crash()
        await self.fleet.start(nursery, number)

    def nodes(self) -> list[Node]:
        return [self.fleet.nodes[number] for number in range(NODES)]

    async def settle(self) -> None:
        """L1 comes back and finalizes all; every node has consumed it."""
        self.place.l1.is_down = False
        self.place.l1.chain.mine()
        self.place.finalize()
        items = self.place.view("queue_length")
        await until(
            lambda: all(one.chain.state.head.l1_messages == items for one in self.nodes()), 120
        )
        height = max(one.chain.state.head.height for one in self.nodes())
        await until(lambda: all(one.chain.certified >= height for one in self.nodes()), 120)


@pytest.mark.parametrize("seed", range(4))
async def test_l2_has_what_the_contract_holds_to_the_atom(
    seed: int, long_run: bool, autojump_clock: object
) -> None:
    run = Run(seed)
    async with trio.open_nursery() as nursery:
        for number in range(NODES):
            await run.fleet.start(nursery, number)
        for _ in range(STEPS * (8 if long_run else 1)):
            await run.step(nursery)
        await run.settle()
        for one in run.nodes():
            for asset in (USD, BTC):
                assert supply(one.chain.state, asset) == run.place.held(asset)
            assert not one.chain.alarms and not (one.follower and one.follower.breaches)
        height = min(one.chain.blocks.head().height for one in run.nodes())
        assert len({one.chain.blocks.header(height).state_root for one in run.nodes()}) == 1
        nursery.cancel_scope.cancel()
