"""Commands through a follower: their order is kept, and a batch's answers always fit the reply."""

from collections.abc import Callable

import trio
from fleet import Fleet, Wallet, fleet_genesis, running, until

from consensus.finality.promises import Promise, Record, encode_promise
from consensus.streams import bytes_paths
from node.exceptions import NodeError
from node.roles.ingest import Forwarder
from node.submission import (
    ANSWERS_BYTES_MAX,
    BATCH_GROUPS_MAX,
    EVENTS_BYTES_MAX,
    Answer,
    decode_answers,
    encode_answers,
    read_batch,
    write_batch,
)


async def test_commands_pipelined_through_a_follower_are_executed_in_their_order(
    autojump_clock: object,
) -> None:
    """Of many wallets, whose nonces do not order each other."""
    genesis = fleet_genesis(validators=4)
    fleet = Fleet(genesis)
    wallets = [Wallet(number) for number in range(4)]
    places: list[int] = []
    async with running(fleet, 3) as (leader, follower, _):
        await trio.sleep(3)
        sent = [wallets[n % 4].order(leader.chain.state, 0, 50 + n % 7) for n in range(1000)]
        found: dict[int, Answer] = {}

        def keep(n: int) -> Callable[[Answer], None]:
            return lambda answer: found.update({n: answer})

        for n, submission in enumerate(sent):
            follower.submits.submit_then(submission, keep(n))
        await until(lambda: len(found) == len(sent))
        assert {answer.number for answer in found.values()} == {0}
        places = [found[n].sequence for n in range(len(sent))]
    assert places == list(range(places[0], places[0] + len(sent)))


def test_the_answers_to_the_largest_batch_fit_the_reply_and_keep_every_promise() -> None:
    hashed = b"\xff" * 32
    record = Record((1 << 53) - 1, (1 << 53) - 1, 64, hashed, hashed)
    path = bytes_paths(bytes(256) * 16384)[5]
    promise = encode_promise(Promise(record, 16383, 16384, hashed, path, hashed, b"\xff" * 65))
    answers = [Answer(0, "", 1 << 50, 1 << 50, promise, bytes(64 * 128))] * BATCH_GROUPS_MAX
    data = encode_answers(answers)
    assert len(data) <= ANSWERS_BYTES_MAX
    back = decode_answers(data, len(answers))
    assert [answer.promise for answer in back] == [promise] * BATCH_GROUPS_MAX
    assert sum(len(answer.events) for answer in back) == EVENTS_BYTES_MAX
    refused = [Answer(7333, "x" * 2000)] * BATCH_GROUPS_MAX
    assert len(encode_answers(refused)) <= ANSWERS_BYTES_MAX


async def test_a_stream_that_ends_while_nothing_is_sent_costs_no_command(
    autojump_clock: object,
) -> None:
    """The follower opens another at once, not when the next command finds out."""
    fleet = Fleet(fleet_genesis(validators=4))
    async with running(fleet, 3) as (leader, follower, _):
        await trio.sleep(3)
        forwarder = follower.submits
        assert isinstance(forwarder, Forwarder)
        before = forwarder._stream
        assert before is not None
        await before.aclose()
        await before.ended.wait()
        await trio.sleep(1)
        assert forwarder._stream not in (None, before)
        answer = await follower.submits.submit(Wallet(0).order(leader.chain.state, 0, 50))
        assert (answer.number, answer.text) == (0, "")


async def test_a_batch_of_too_many_groups_is_refused_whole(autojump_clock: object) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    async with running(fleet) as (leader,):
        submission = Wallet(0).order(leader.chain.state, 0, 50)
    full = write_batch([submission] * BATCH_GROUPS_MAX)
    assert sum(1 for _ in read_batch(full)) == BATCH_GROUPS_MAX
    try:
        list(read_batch(full + submission.data))
    except NodeError as error:
        assert error.number == 7301
    else:
        raise AssertionError("one group more was taken")
