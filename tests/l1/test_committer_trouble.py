"""An L1 that reorganises, forgets, gets dear, goes silent or does what others want: every block is
posted once, in order, and without help."""

from dataclasses import replace
from typing import Any

import pytest
import trio
from bridge_chain import DEADLINE, Bridge
from l1_wallets import address, sidecar_of
from poster import Poster, bridge_of, mined_at_once
from posting import feed, traded

from consensus.block import block_hash
from node.exceptions import NodeError
from node.l1 import contract as law
from node.l1.backlog import Batching
from node.l1.committees import Committees
from node.l1.committer import Committer
from node.l1.contract import Summary
from node.l1.fees import GWEI, Caps
from node.l1.transactions import Fees
from storage.outbox import COMMIT, FINALIZE, Intent

LONG_EPOCHS = 16
"""Reorganisations of ten blocks must not reach what is final."""


def check(poster: Poster) -> None:
    """Batches in the contract continue each other, and end with this chain's blocks."""
    facts, blocks = poster.watcher.facts, poster.bridge.chain.blocks
    height = 0
    for number in range(1, facts.latest.committed + 1):
        posted = facts.batch(number)
        assert posted is not None and posted.last_height > height
        assert posted.last_hash == block_hash(blocks[posted.last_height - 1].header)
        height = posted.last_height


async def settle(poster: Poster, turns: int = 60) -> None:
    """Turns until every block is in a batch and every batch is final on L1."""
    for _ in range(turns):
        await poster.turn()
        poster.bridge.later(120)
        facts = poster.watcher.facts
        last = facts.batch(facts.latest.committed)
        is_all = last is not None and last.last_height == len(poster.bridge.chain.blocks)
        if is_all and facts.final.finalized == facts.latest.committed:
            check(poster)
            return
    raise AssertionError(f"not settled: {poster.committer.phase}, {poster.watcher.facts.latest}")


def intents(poster: Poster, kind: int = COMMIT) -> list[Intent]:
    return [one for one in poster.committer.lane.intents if one.kind == kind]


def pool(poster: Poster) -> list[Any]:
    waiting: list[Any] = poster.chain_l1.pool.ready()
    return waiting


def drop(poster: Poster) -> None:
    """The pool forgets everything, sidecars too."""
    for one in pool(poster):
        poster.chain_l1.pool.remove(one)


@pytest.mark.parametrize("depth", range(1, 11))
async def test_a_reorganisation_takes_nothing_from_what_is_posted(
    depth: int, long_run: bool
) -> None:
    """Commit, finality and another commit are all above the common ancestor, or some of them; the
    pool has them again, or has lost them."""
    for keeps in (True, False) if long_run else (depth % 2 == 0,):
        await survive(depth, keeps)


async def survive(depth: int, keeps: bool) -> None:
    poster = Poster(bridge_of(epoch_blocks=LONG_EPOCHS))
    await poster.until("committed", 1)
    poster.bridge.later(700)
    await poster.until("finalized", 1)
    traded(poster.bridge, 1)
    await poster.until("committed", 2)
    poster.chain_l1.mine()
    before = {one.nonce: one.newest.hash for one in poster.committer.lane.intents}
    poster.chain_l1.reorganise(depth, keep_dropped=keeps)
    await settle(poster)
    facts = poster.watcher.facts
    assert facts.latest.committed == 2
    assert poster.bridge.read("committed") == poster.bridge.read("finalized") == 2
    assert len(before) == 3
    assert not poster.chain.alarms


async def test_the_same_bytes_are_sent_after_a_reorganisation_that_lost_them() -> None:
    poster = Poster(bridge_of())
    await poster.until("committed", 1)
    (intent,) = intents(poster)
    poster.chain_l1.reorganise(2, keep_dropped=False)
    assert poster.bridge.read("committed") == 0
    await poster.turn()
    assert poster.bridge.read("committed") == 1
    assert intents(poster) == [intent]
    assert poster.committer.counts["resent"] == 1


async def test_a_batch_on_one_whose_l1_time_changed_is_signed_anew_and_not_made_anew() -> None:
    """The summary of batch 1 has the L1 time of its block; batch 2 brings it along."""
    poster = Poster(bridge_of(epoch_blocks=LONG_EPOCHS))
    await poster.until("committed", 1)
    traded(poster.bridge, 1)
    await poster.turn()
    assert poster.bridge.read("committed") == 2
    batches = [one.batch for one in intents(poster)]
    poster.bridge.later(30)
    poster.chain_l1.reorganise(3, keep_dropped=False)
    await poster.until("committed", 2)
    assert [one.batch for one in intents(poster)] == batches
    assert [len(one.attempts) for one in intents(poster)] == [1, 2]
    await settle(poster)


async def test_a_dropped_transaction_is_sent_again() -> None:
    poster = Poster(bridge_of())
    await poster.turn(mines=False)
    (intent,) = intents(poster)
    drop(poster)
    poster.chain_l1.mine()
    await poster.turn()
    assert poster.bridge.read("committed") == 1
    assert intents(poster) == [intent]


async def test_what_a_pool_threw_out_for_its_fees_is_replaced_at_once() -> None:
    """Sent again as it is, such a pool refuses it for as long as the fees stay."""
    poster = Poster(bridge_of())
    await poster.turn(mines=False)
    (before,) = intents(poster)
    drop(poster)
    poster.chain_l1.blob_fee_floor = before.newest.max_blob_fee + 1
    poster.chain_l1.mine()
    await poster.turn(mines=False)
    (after,) = intents(poster)
    assert after.attempts[0] == before.newest
    assert after.newest.max_blob_fee > poster.chain_l1.blob_fee_floor
    assert [one.hash for one in pool(poster)] == [after.newest.hash]
    await poster.until("committed", 1)
    assert (poster.committer.counts["replaced"], poster.committer.counts["resent"]) == (1, 0)


async def test_a_stuck_transaction_is_replaced_at_twice_every_fee() -> None:
    poster = Poster(bridge_of())
    await poster.turn(mines=False)
    (before,) = intents(poster)
    poster.chain_l1.blob_fee_floor = before.newest.max_blob_fee + 1
    for _ in range(3):
        poster.chain_l1.mine()
        await poster.turn(mines=False)
    (after,) = intents(poster)
    first, second = after.attempts
    assert second.tip >= 2 * first.tip
    assert second.max_fee >= 2 * first.max_fee
    assert second.max_blob_fee >= 2 * first.max_blob_fee
    assert [one.hash for one in pool(poster)] == [second.hash]
    await poster.until("committed", 1)
    assert poster.committer.counts["replaced"] == 1


async def test_in_a_fee_spike_nothing_is_offered_above_the_caps_and_then_it_goes_on() -> None:
    poster = Poster(bridge_of(), caps=Caps(blob_fee=40 * GWEI))
    poster.chain_l1.blob_fee_floor = 41 * GWEI
    for _ in range(4):
        traded(poster.bridge, 1)
        await poster.turn()
    assert not poster.committer.lane.intents
    assert "E7775" in poster.committer.phase and "--blob-fee-cap" in poster.committer.phase
    assert poster.committer.is_over_caps and not poster.chain.alarms
    assert not poster.blobs  # a spike of hours makes no batches to throw away
    poster.chain_l1.blob_fee_floor = 1
    await settle(poster)
    assert poster.bridge.read("committed") == 1
    assert not poster.committer.is_over_caps


async def test_the_gas_of_a_transaction_waits_for_its_own_cap() -> None:
    """A client that passes on an ether at most refuses the rest, whatever a gas may cost."""
    poster = Poster(bridge_of(), caps=Caps(total=120_000 * GWEI))
    poster.chain_l1.tip_floor = 2 * GWEI
    await poster.turn()
    assert not poster.committer.lane.intents
    assert "--fee-total-cap" in poster.committer.phase
    poster.chain_l1.tip_floor = 1
    poster.committer._caps = Caps()
    await settle(poster)


async def test_a_spike_that_catches_a_sent_transaction_does_not_cross_the_caps() -> None:
    poster = Poster(bridge_of(), caps=Caps(blob_fee=4 * GWEI))
    await poster.turn(mines=False)
    poster.chain_l1.blob_fee_floor = 100 * GWEI
    for _ in range(12):
        await poster.turn()
    (intent,) = intents(poster)
    assert intent.newest.max_blob_fee <= 4 * GWEI
    assert "E7775" in poster.committer.phase
    poster.chain_l1.blob_fee_floor = 1
    await poster.until("committed", 1)
    await poster.turn()
    assert not poster.committer.is_over_caps
    await settle(poster)


async def test_a_deposit_that_comes_first_makes_the_same_batch_be_signed_anew() -> None:
    """The commit says which item of the queue is the first left; a new item changes that."""
    bridge = bridge_of()
    poster = Poster(bridge)
    await poster.turn(mines=False)
    (before,) = intents(poster)
    drop(poster)
    with mined_at_once(bridge):
        bridge.deposit("owner 3", 0, 10**6)
    await poster.turn()
    (after,) = intents(poster)
    assert (after.batch, len(after.attempts)) == (before.batch, 2)
    await poster.turn()
    assert bridge.read("committed") == 1


async def test_a_batch_that_leaves_a_due_item_behind_gives_way_to_a_larger_one() -> None:
    """Its nonce is used again: L1 can take one of the two."""
    bridge = bridge_of()
    poster = Poster(bridge)
    await poster.turn(mines=False)
    (before,) = intents(poster)
    drop(poster)
    with mined_at_once(bridge):
        bridge.deposit("owner 3", 0, 10**6)
    bridge.later(DEADLINE + 60)
    poster.chain_l1.mine()
    with pytest.raises(NodeError, match="expired item"):
        await poster.turn()
    bridge.block()
    await settle(poster)
    assert bridge.read("committed") == 1
    assert before.nonce == 0
    assert bridge.wallets.nonce("committer") == 2  # one commit, one finality


async def test_a_stranger_may_finalize_first() -> None:
    bridge = bridge_of()
    poster = Poster(bridge)
    await poster.until("committed", 1)
    bridge.later(700)
    await poster.turn()
    await poster.turn(mines=False)
    assert intents(poster, FINALIZE)
    summary = posted_summary(poster, 1)
    fees = Fees(tip=10**10, max_fee=10**12)
    bridge.wallets.send("stranger", bridge.address, law.call("finalize", 1, summary), fees=fees)
    poster.chain_l1.mine()
    traded(bridge, 1)
    await settle(poster)
    assert bridge.read("finalized") == 2
    assert poster.committer.counts["reverted"] <= 1


def posted_summary(poster: Poster, number: int) -> Summary:
    posted = poster.watcher.facts.batch(number)
    assert posted is not None
    return Summary(
        posted.batch_hash, posted.time, posted.last_hash, posted.last_height,
        posted.post_state_root, posted.l1_messages, posted.withdrawals_root,
    )  # fmt: skip


async def test_a_commitment_that_is_not_ours_stops_the_committer_with_an_alarm() -> None:
    bridge = bridge_of()
    poster = Poster(bridge)
    foreign(bridge)
    await poster.turn()
    assert poster.committer.halted.startswith("E7767")
    assert "another block" in poster.chain.alarms[-1]
    assert not poster.committer.lane.intents
    await poster.committer.run()  # returns at once


async def test_a_second_signer_is_noticed_even_if_it_posts_our_own_blocks() -> None:
    """What this node signed as batch 1 is not what the contract holds as batch 1."""
    bridge = bridge_of()
    poster = Poster(bridge)
    await poster.turn(mines=False)
    drop(poster)
    with mined_at_once(bridge):
        bridge.commit(b"x", **carried_by(bridge))
    await poster.turn()
    assert poster.committer.halted.startswith("E7767")
    assert "somebody else commits" in poster.chain.alarms[-1]


def carried_by(bridge: Bridge) -> dict[str, Any]:
    data = b"somebody else's carriage"
    made = sidecar_of(data, 0)
    batch, _ = bridge.batch(data)
    changed = replace(batch, blob_hashes=made.hashes)
    return {"sidecar": made, "batch": changed, "signed": bridge.attested(changed, 1)}


def foreign(bridge: Bridge) -> None:
    """A quorum signs a batch that ends with a block that nobody has."""
    how = carried_by(bridge)
    batch = replace(how["batch"], last_hash=b"\x0f" * 32)
    with mined_at_once(bridge):
        how |= {"batch": batch, "signed": bridge.attested(batch, 1)}
        bridge.commit(b"x", **how)


async def test_after_the_loss_of_a_disk_what_was_posted_is_taken_over() -> None:
    """The outbox is gone; the batch in the contract ends with our block, and the next follows."""
    poster = Poster(bridge_of())
    await poster.until("committed", 1)
    other = Poster(poster.bridge)
    traded(poster.bridge, 1)
    await settle(other)
    assert poster.bridge.read("committed") == 2
    assert not other.chain.alarms


async def test_a_chain_that_is_behind_what_it_posted_does_not_post_a_fork() -> None:
    poster = Poster(bridge_of())
    await poster.until("committed", 1)
    other = Poster(poster.bridge)
    await other.watcher.look()
    other.chain.certified = 0
    await other.committer.step()
    assert "above this node's head" in other.committer.halted


async def test_a_batch_that_the_guardian_took_back_is_posted_again_once_that_is_final() -> None:
    bridge = bridge_of()
    poster = Poster(bridge)
    await poster.until("committed", 1)
    await poster.turn()
    with mined_at_once(bridge):
        bridge.do("guardian", "revert_by_guardian", 1, posted_summary(poster, 1))
    await poster.turn()
    assert "taken back" in poster.committer.phase
    assert bridge.read("committed") == 0
    await settle(poster)
    assert bridge.read("committed") == 1
    assert "E7773" in poster.chain.alarms[-1]


async def test_a_nonce_that_somebody_else_used_is_given_up() -> None:
    bridge = bridge_of()
    poster = Poster(bridge)
    await poster.turn(mines=False)
    drop(poster)
    bridge.wallets.send("committer", bytes(19) + b"\1", value=1, gas=21_000)
    poster.chain_l1.mine()
    await settle(poster)
    assert bridge.read("committed") == 1
    assert bridge.wallets.nonce("committer") == 3


async def test_another_key_goes_on_where_the_old_one_was() -> None:
    bridge = bridge_of()
    poster = Poster(bridge)
    await poster.turn(mines=False)
    drop(poster)
    poster.sender = "stranger"
    poster.disk.crash()
    poster.start()
    await settle(poster)
    assert bridge.read("committed") == 1
    assert bridge.wallets.nonce("committer") == 0
    await settle(poster)
    assert not [one for one in poster.committer.lane.intents if one.nonce == 0]


async def test_a_committer_without_ether_calls_a_person_and_goes_on_when_it_has_some() -> None:
    bridge = bridge_of()
    poster = Poster(bridge, sender="a pauper")
    await poster.turn()
    assert "E7772" in poster.chain.alarms[-1]
    assert not pool(poster)
    bridge.wallets.send("stranger", address("a pauper"), value=10**18, gas=21_000)
    poster.chain_l1.mine()
    await settle(poster)


async def test_an_outage_of_an_hour_ends_with_everything_posted(autojump_clock: object) -> None:
    bridge = bridge_of()
    poster = Poster(bridge, batching=Batching(deadline_s=60))
    l1 = bridge.wallets.l1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poster.watcher.run)
        await trio.sleep(2)
        nursery.start_soon(committing, poster, nursery)
        nursery.start_soon(mining, poster)
        await trio.sleep(60)
        l1.is_down = True
        for _ in range(6):
            await trio.sleep(600)
            traded(bridge, 1)
            await feed_all(poster)
        assert l1.is_down and "no answer" in poster.committer.phase
        l1.is_down = False
        with trio.fail_after(7200):
            while poster.watcher.facts.final.finalized < 1 or not posted_all(poster):
                await trio.sleep(10)
        check(poster)
        assert not poster.chain.alarms
        nursery.cancel_scope.cancel()


async def committing(poster: Poster, nursery: trio.Nursery) -> None:
    await feed_all(poster)
    committer: Committer = poster.committer
    nursery.start_soon(committer.run)


async def feed_all(poster: Poster) -> None:
    await feed(poster.chain, poster.bridge.chain.blocks)


def posted_all(poster: Poster) -> bool:
    last = poster.watcher.facts.batch(poster.watcher.facts.latest.committed)
    return last is not None and last.last_height == len(poster.bridge.chain.blocks)


async def mining(poster: Poster) -> None:
    while True:
        await trio.sleep(12)
        poster.bridge.later(12)
        poster.chain_l1.mine()



async def test_a_committee_that_changed_meanwhile_signs_the_batch_again() -> None:
    """Signatures are of an epoch: the old ones are useless, the nonce is used again; and the node
    reads the new members off L1."""
    bridge = bridge_of()
    poster = Poster(bridge)
    committees = Committees(poster.l1, bridge.deployment)
    assert await committees.refresh() == (1, tuple(bridge.members))
    await poster.turn(mines=False)
    drop(poster)
    members = list(bridge.members)
    text = law.succession(bridge.wallets.l1.chain.chain_id, bridge.address, 1, members)
    signed = law.signed_by(text, members, bridge.members)
    with mined_at_once(bridge):
        bridge.do("stranger", "change_committee", members, signed)
    assert await committees.refresh() == (2, tuple(members))
    bridge.epoch = 2
    await settle(poster)
    assert bridge.read("committed") == 1
    assert bridge.wallets.nonce("committer") == 2
