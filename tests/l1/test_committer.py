"""The chain's blocks get to L1 as batches: each once, in order, and final; whatever the L1 does."""

from contextlib import AsyncExitStack

import trio
from bridge_chain import WINDOW
from networks import InMemory, until
from poster import Poster, bridge_of
from posting import Validator, traded

from consensus.rollup.batch import batch_hash, decode_batch
from storage.outbox import COMMIT


async def test_sealed_blocks_become_a_committed_and_then_a_final_batch() -> None:
    poster = Poster(bridge_of())
    await poster.until("committed", 1)
    (intent,) = [one for one in poster.committer.lane.intents if one.kind == COMMIT]
    batch = decode_batch(intent.batch)
    assert (batch.first_height, batch.last_height) == (1, len(poster.bridge.chain.blocks))
    assert batch_hash(batch) == intent.newest.batch_hash
    assert set(poster.blobs) == set(batch.blob_hashes)
    await poster.until("finalized", 1)
    assert poster.bridge.now() >= WINDOW


async def test_blocks_that_follow_are_posted_on_top(autojump_clock: object) -> None:
    poster = Poster(bridge_of())
    for number in (1, 2, 3):
        await poster.until("committed", number)
        traded(poster.bridge, 2)
    await poster.until("finalized", 3)
    assert poster.committer.counts["reverted"] == 0


async def mining(poster: Poster) -> None:
    while True:
        await trio.sleep(12)
        poster.bridge.later(12)
        poster.chain_l1.mine()


async def test_a_leader_and_three_validators_settle_by_themselves(
    autojump_clock: object,
) -> None:
    """The thin line: tasks, a network, a quorum, L1 blocks every 12 s, and nobody's help."""
    bridge = bridge_of(4)
    async with AsyncExitStack() as stack:
        kind = InMemory()
        leader = await stack.enter_async_context(kind.make("leader"))
        for place in (1, 2, 3):
            dial = leader.addresses()[:1]
            network = await stack.enter_async_context(kind.make(f"validator {place}", dial))
            await Validator(bridge, network, place).follow()
        await until(lambda: sum(one.ready for one in leader.peers()) == 3)
        poster = Poster(bridge, network=leader)
        await poster.turn(mines=False)
        nursery = await stack.enter_async_context(trio.open_nursery())
        for task in (poster.watcher.run, poster.committer.run):
            nursery.start_soon(task)
        nursery.start_soon(mining, poster)
        with trio.fail_after(3600):
            while poster.watcher.facts.final.finalized < 1:
                await trio.sleep(6)
        nursery.cancel_scope.cancel()

