"""A leader's answer waits for its disk, never for the block."""

import trio
from fleet import Fleet, Wallet, fleet_genesis, running

PROMPT_S = 0.05


async def test_answers_do_not_wait_for_the_seal_of_the_block(autojump_clock: object) -> None:
    """Also behind blocks that were sealed while nothing waited for the disk."""
    fleet = Fleet(fleet_genesis(validators=1))
    wallet = Wallet(0)
    async with running(fleet) as (leader,):
        for n in range(40):
            began = trio.current_time()
            answer = await leader.submits.submit(wallet.order(leader.chain.state, n % 2, 100))
            assert answer.number == 0, answer
            assert trio.current_time() - began < PROMPT_S, n
            await trio.sleep(0.06)
