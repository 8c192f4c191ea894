"""A leader and followers: one order of commands, one root, certified by a quorum."""

from hashlib import sha256

import trio
from fleet import Fleet, Wallet, fleet_genesis, running, until

from consensus.finality import promises
from consensus.finality.promises import Record


async def test_followers_reach_the_leaders_root_and_certify_it(autojump_clock: object) -> None:
    genesis = fleet_genesis(validators=4)
    fleet = Fleet(genesis)
    wallets = [Wallet(number) for number in range(4)]
    async with trio.open_nursery() as nursery:
        leader = await fleet.start(nursery, 0)
        followers = [await fleet.start(nursery, number) for number in (1, 2, 3)]
        for round_ in range(5):
            for n, wallet in enumerate(wallets):
                answer = await leader.submits.submit(
                    wallet.order(leader.chain.state, n % 2, 100 + round_ - 2 * (n % 2))
                )
                assert answer.number == 0, answer
        height = leader.chain.state.head.height + 1
        await until(lambda: leader.chain.certified >= height)
        await until(lambda: all(one.chain.certified >= height for one in followers))
        for one in followers:
            assert one.chain.blocks.header(height) == leader.chain.blocks.header(height)
            assert not one.chain.alarms
        nursery.cancel_scope.cancel()


async def test_a_command_sent_to_a_follower_is_answered_by_the_leader(
    autojump_clock: object,
) -> None:
    genesis = fleet_genesis(validators=4)
    fleet = Fleet(genesis)
    wallet = Wallet(0)
    async with running(fleet, 3) as (leader, follower, _):
        await trio.sleep(3)
        answer = await follower.submits.submit(wallet.order(follower.chain.state, 0, 100))
        assert answer.number == 0, answer
        appointment = leader.appointment
        assert appointment is not None
        promises.check_appointment(genesis.hash, leader.chain.validators, appointment)
        promise = promises.decode_promise(answer.promise)
        record = promises.verify(promise, genesis.hash, appointment.promiser)
        assert record.sequence == answer.sequence == leader.chain.state.memory.M[3]


async def test_an_order_is_promised_at_once_whatever_was_sealed_before(
    autojump_clock: object,
) -> None:
    """A promise waits for the journal's sync, not for the end of its block."""
    fleet = Fleet(fleet_genesis(validators=1))
    wallet = Wallet(0)
    async with running(fleet) as (leader,):
        await until(lambda: leader.chain.state.head.height >= 2)
        for _ in range(5):
            begun = trio.current_time()
            answer = await leader.submits.submit(wallet.order(leader.chain.state, 0, 50))
            assert answer.number == 0, answer
            assert trio.current_time() - begun < 0.02


async def test_what_a_killed_leader_promised_is_in_the_chain_at_its_place(
    autojump_clock: object,
) -> None:
    genesis = fleet_genesis(validators=4)
    fleet = Fleet(genesis)
    wallet = Wallet(0)
    records: list[Record] = []
    async with trio.open_nursery() as nursery:
        for number in range(4):
            await fleet.start(nursery, number)
        for life in range(6):
            leader = fleet.nodes[0]
            for n in range(3):
                answer = await leader.submits.submit(wallet.order(leader.chain.state, 0, 50 + life))
                assert answer.number == 0, answer
                records.append(promises.decode_promise(answer.promise).record)
                await trio.sleep(0.07 * n)
            await fleet.end(0)
            fleet.disks[0].crash()
            await fleet.start(nursery, 0)
        leader = fleet.nodes[0]
        last = records[-1].height
        await until(lambda: min(one.chain.certified for one in fleet.nodes.values()) >= last)
        for one in fleet.nodes.values():
            assert not one.chain.alarms
            blocks = one.chain.blocks
            for record in records:
                events = blocks.events(record.height)
                found = b"".join(
                    events[i : i + 64]
                    for i in range(0, len(events), 64)
                    if record.sequence
                    <= int.from_bytes(events[i + 8 : i + 16], "little")
                    < record.sequence + record.operations
                )
                assert sha256(found).digest() == record.result
        nursery.cancel_scope.cancel()


async def test_what_was_made_during_a_long_partition_is_certified_after_it(
    autojump_clock: object,
) -> None:
    """More blocks than the window of votes; then votes for the head are enough."""
    fleet = Fleet(fleet_genesis(validators=4))
    async with running(fleet, 4) as (leader, *_):
        await until(lambda: leader.chain.certified > 0)
        fleet.world.partition(["0"])
        await trio.sleep(180)
        fleet.world.heal()
        height = leader.chain.state.head.height
        assert height > leader.chain.certified + 80
        nodes = list(fleet.nodes.values())
        await until(lambda: min(node.chain.certified for node in nodes) > height, 90)
        assert not any(node.chain.alarms for node in nodes)
