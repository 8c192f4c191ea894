"""Fleets for tests: see `node/simulation/fleet.py`, which has everything but the waiting."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from node.app import Node
from node.simulation.fleet import Fleet
from node.simulation.genesis import fleet_genesis
from node.simulation.machine import START_MS, SimulatedMachine
from node.simulation.wallets import Wallet, secret

__all__ = [
    "START_MS", "Fleet", "SimulatedMachine", "Wallet", "fleet_genesis", "running", "secret",
    "until",
]  # fmt: skip


@asynccontextmanager
async def running(fleet: Fleet, count: int = 1) -> AsyncIterator[list[Node]]:
    """The first nodes of the fleet, the leader before all, until the block ends."""
    async with trio.open_nursery() as nursery:
        yield [await fleet.start(nursery, number) for number in range(count)]
        nursery.cancel_scope.cancel()


async def until(check: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait, in simulated time, until the check holds."""
    with trio.fail_after(seconds):
        while not check():
            await trio.sleep(0.02)
