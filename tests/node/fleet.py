"""Fleets for tests: see `node/simulation/fleet.py`, which has everything but the waiting."""

from collections.abc import Callable

import trio

from node.simulation.fleet import Fleet
from node.simulation.genesis import fleet_genesis
from node.simulation.machine import START_MS, SimulatedMachine
from node.simulation.wallets import Wallet, secret

__all__ = ["START_MS", "Fleet", "SimulatedMachine", "Wallet", "fleet_genesis", "secret", "until"]


async def until(check: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait, in simulated time, until the check holds."""
    with trio.fail_after(seconds):
        while not check():
            await trio.sleep(0.02)
