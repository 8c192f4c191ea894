"""A leader answers with the next sync of its journal, not with the next block."""

import trio
from fleet import Fleet, Wallet, fleet_genesis, running


async def test_an_answer_does_not_wait_for_the_block(autojump_clock: object) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    wallet = Wallet(0)
    async with running(fleet) as (leader,):
        for round_ in range(4):
            await trio.sleep(1.0 + round_)  # idle blocks are sealed meanwhile
            begun = trio.current_time()
            answer = await leader.submits.submit(wallet.order(leader.chain.state, 0, 90 + round_))
            assert answer.number == 0, answer
            assert trio.current_time() - begun < 0.01
            assert leader.is_ahead
