"""Whatever an L1 and a machine do, in whatever order: once they rest, everything is posted and
final, each block in one batch, each batch once."""

from random import Random

import pytest
from poster import Poster, bridge_of, mined_at_once
from posting import traded
from test_committer_trouble import LONG_EPOCHS, check, drop, pool, settle

from node.exceptions import NodeError
from node.l1 import contract as law
from node.l1.fees import GWEI, Caps

STEPS = 60


class Walk:
    """A poster, chance, and what can happen to it."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.poster = Poster(bridge_of(epoch_blocks=LONG_EPOCHS), caps=Caps(blob_fee=40 * GWEI))
        self.poster.chain_l1.mine(LONG_EPOCHS)
        self.restarts = 0

    async def step(self) -> str:
        events = (
            self.blocks, self.mine, self.time, self.reorganise, self.forget, self.spike, self.calm,
            self.queue, self.crash, self.silence,
        )  # fmt: skip
        event = self.chance.choice(events)
        event()
        for _ in range(self.chance.randrange(3)):
            try:
                await self.poster.turn(mines=self.chance.random() < 0.6)
            except NodeError:
                continue  # `run` waits for the next look
        return event.__name__

    def blocks(self) -> None:
        traded(self.poster.bridge, self.chance.randrange(1, 3))

    def mine(self) -> None:
        self.poster.chain_l1.mine(self.chance.randrange(1, 4))

    def time(self) -> None:
        self.poster.bridge.later(self.chance.choice([1, 60, 700]))

    def reorganise(self) -> None:
        chain = self.poster.chain_l1
        room = min(10, int(chain.head.block_number) - chain.finalized_number)
        if room > 0:
            depth = self.chance.randint(1, room)
            chain.reorganise(depth, keep_dropped=self.chance.random() < 0.5)

    def forget(self) -> None:
        drop(self.poster)

    def spike(self) -> None:
        self.poster.chain_l1.blob_fee_floor = self.chance.choice([5, 30, 100]) * GWEI

    def calm(self) -> None:
        self.poster.chain_l1.blob_fee_floor = 1

    def queue(self) -> None:
        """A deposit that L2 does not bring yet: the first item left."""
        bridge = self.poster.bridge
        if not pool(self.poster) and not bridge.wallets.l1.is_down:
            with mined_at_once(bridge):
                bridge.wallets.do("owner 3", bridge.address, law.call("deposit", 1), 10**10)

    async def catch_up(self) -> None:
        """L2 brings what is final in the queue, as a leader must before the deadline."""
        poster, bridge = self.poster, self.poster.bridge
        poster.chain_l1.finalize()
        await poster.watcher.look()
        final = poster.watcher.facts.items(0, poster.watcher.facts.final.items)
        bridge.items = final
        bridge.block()

    def crash(self) -> None:
        self.poster.disk.crash(self.chance.randrange(3))
        self.poster.start()
        self.restarts += 1

    def silence(self) -> None:
        l1 = self.poster.bridge.wallets.l1
        l1.is_down = not l1.is_down and self.chance.random() < 0.3


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_everything_is_posted_once(seed: int, long_run: bool) -> None:
    for number in range(seed, 60 if long_run else seed + 1, 3):
        walk = Walk(number)
        said = []
        for _ in range(STEPS):
            walk.poster.bridge.wallets.l1.is_down &= walk.chance.random() < 0.5
            said.append(await walk.step())
        walk.poster.bridge.wallets.l1.is_down = False
        walk.calm()
        await walk.catch_up()
        try:
            await settle(walk.poster, 120)
        except AssertionError as error:
            raise AssertionError(f"seed {number}, {said}: {error}") from error
        check(walk.poster)
        assert not walk.poster.committer.halted, f"seed {number}"
