"""The committer's machine stops at any moment: no batch is lost, doubled or out of order.

Every write of the disk and every request to the L1 is such a moment, before it and after it. What
was not synced is lost. A restart goes on from the disk and the contract; in the end every block is
in one batch, batches follow each other, and all of them are final.
"""

from typing import Any

import pytest
import trio
from poster import Poster, bridge_of
from posting import traded
from test_committer_trouble import LONG_EPOCHS, check, drop, settle

from storage.faults import Crashed

BATCHES = 2


class Mortal:
    """An L1 whose `at`-th request is the last thing this process does."""

    def __init__(self, l1: Any, at: int, after: bool) -> None:
        self.l1, self.at, self.after, self.count = l1, at, after, 0

    async def request(self, method: str, *params: Any) -> Any:
        self.count += 1
        if self.count == self.at and not self.after:
            raise Crashed(method)
        try:
            return await self.l1.request(method, *params)
        finally:
            if self.count == self.at:
                raise Crashed(method)


async def story(poster: Poster) -> None:
    """Two batches, committed and final; the second's blocks appear once the first is committed."""
    bridge = poster.bridge
    for _ in range(40):
        await poster.turn()
        bridge.later(120)
        if bridge.read("committed") == 1 and len(bridge.chain.blocks) < 7:
            traded(bridge, 1)
        if bridge.read("finalized") == BATCHES:
            return
    raise AssertionError(f"no end: {poster.committer.phase}")


async def end_well(poster: Poster, kept: int) -> None:
    """The power comes back; `kept` unsynced writes were on the disk by chance."""
    poster.disk.crash(kept)
    poster.l1 = poster.bridge.wallets.l1
    poster.start()
    await story(poster)
    await settle(poster)
    bridge = poster.bridge
    assert bridge.read("committed") == bridge.read("finalized") == BATCHES
    assert bridge.wallets.nonce("committer") == 2 * BATCHES  # nothing was sent twice and mined
    assert not poster.chain.alarms


async def requests_of_a_story() -> int:
    poster = Poster(bridge_of())
    mortal = Mortal(poster.l1, 0, False)
    poster.l1 = mortal
    poster.disk.crash()
    poster.start()
    await story(poster)
    return mortal.count


@pytest.mark.parametrize("after", [False, True])
async def test_a_kill_at_any_request_to_the_l1(long_run: bool, after: bool) -> None:
    total = await requests_of_a_story()
    assert total > 60
    for at in range(1, total, 1 if long_run else 23):
        poster = Poster(bridge_of())
        poster.l1 = Mortal(poster.l1, at, after)
        poster.disk.crash()
        poster.start()
        with pytest.raises(Crashed):
            await story(poster)
        await end_well(poster, 0)


@pytest.mark.parametrize("kept", [0, 9])
async def test_a_kill_at_any_write_of_the_disk(long_run: bool, kept: int) -> None:
    """`kept` of the batches that were not synced survive by chance; those that were, all do."""
    at, step = 1, 1 if long_run else 3
    ended = False
    while not ended:
        poster = Poster(bridge_of())
        poster.disk.faults.crash_at = poster.disk.faults.count + at
        poster.machine.stepped = 0
        ended = await is_survived(poster)
        if not ended:
            await end_well(poster, kept)
        at += step
    assert at > 10  # a story has so many writes


async def is_survived(poster: Poster) -> bool:
    """Whether the story ended before its crash."""
    with trio.CancelScope() as scope:
        poster.machine._crashed = scope.cancel
        await story(poster)
    return not scope.cancelled_caught


@pytest.mark.parametrize("at", range(4))
async def test_a_kill_between_two_turns_with_a_reorganisation_meanwhile(at: int) -> None:
    """The process is gone while the L1 takes back what it saw, and drops what it sent."""
    poster = Poster(bridge_of(epoch_blocks=LONG_EPOCHS))
    for _ in range(at):
        await poster.turn()
    if at:
        poster.chain_l1.reorganise(at, keep_dropped=False)
    drop(poster)
    await end_well(poster, 0)
    check(poster)
