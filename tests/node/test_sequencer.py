"""The leader's answers: when they come, and that none is lost when it stops."""

import trio
from fleet import START_MS, Fleet, SimulatedMachine, Wallet, fleet_genesis, running, until

from consensus.transition import DRIFT
from node.roles.sequencer import UNCERTIFIED, UNCERTIFIED_BLOCKS_AGAIN, UNCERTIFIED_BLOCKS_MAX
from node.submission import Answer


async def test_after_an_idle_time_a_promise_does_not_wait_for_the_seal(
    autojump_clock: object,
) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    wallet = Wallet(0)
    async with running(fleet) as (leader,):
        await until(lambda: leader.chain.state.head.height >= 3)
        began = trio.current_time()
        assert (await leader.submits.submit(wallet.order(leader.chain.state, 0, 50))).number == 0
        assert trio.current_time() - began < 0.02


async def test_a_leader_that_stops_answers_everything_that_it_took(autojump_clock: object) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    wallets = [Wallet(number) for number in range(4)]
    answers: list[Answer] = []
    async with running(fleet) as (leader,):
        for n in range(200):
            wallet = wallets[n % 4]
            leader.submits.submit_then(wallet.order(leader.chain.state, 0, 50), answers.append)
        await leader.stop()
        assert [answer.number for answer in answers] == [0] * 200
        last = max(answer.height for answer in answers)
        assert leader.chain.blocks.head().height >= last


async def test_an_idle_chain_goes_on_when_the_leaders_clock_stepped_back(
    autojump_clock: object,
) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    async with running(fleet) as (leader,):
        await trio.sleep(10)
        machine = fleet.machines[0]
        assert isinstance(machine, SimulatedMachine)
        machine.skew_ms = -3_600_000
        height, time = leader.chain.state.head.height, leader.chain.state.head.time
        await trio.sleep(30)
        assert leader.chain.state.head.height >= height + 14
        assert leader.chain.state.head.time > time


async def test_a_command_that_the_next_block_cannot_hold_either_seals_no_block(
    autojump_clock: object,
) -> None:
    fleet = Fleet(fleet_genesis(validators=1, drift_max_ms=1000))
    wallet = Wallet(0)
    async with running(fleet) as (leader,):
        await until(lambda: leader.chain.state.head.time > START_MS)
        height = leader.chain.state.head.height
        for _ in range(20):
            order = wallet.order(leader.chain.state, 0, 50)
            assert (await leader.submits.submit(order)).number == DRIFT
        assert leader.chain.state.head.height <= height + 2


async def test_a_leader_far_ahead_of_the_validators_takes_nothing_until_half_is_made_up(
    autojump_clock: object,
) -> None:
    """An order at each distance, on the way up and down again; nobody else votes."""
    fleet = Fleet(fleet_genesis(validators=4))
    wallet = Wallet(0)
    highest = UNCERTIFIED_BLOCKS_MAX + 1
    refused: list[int] = []
    async with running(fleet) as (leader,):
        await until(lambda: leader.chain.state.head.height > highest)
        for ahead in (*range(highest + 1), *range(highest, -1, -1)):
            leader.chain.certified = leader.chain.state.head.height - ahead
            answers: list[Answer] = []
            leader.submits.submit_then(wallet.order(leader.chain.state, 0, 50), answers.append)
            if [answer.number for answer in answers] == [UNCERTIFIED]:
                refused.append(ahead)
    assert refused == [highest, *range(highest, UNCERTIFIED_BLOCKS_AGAIN, -1)]
