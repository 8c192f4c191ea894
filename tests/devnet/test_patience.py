"""The replay waits for nodes that can take no more at the moment, and for no longer than it says.

The leader is a script: it takes or refuses as a real one does, and its blocks are certified when
the test says so. Time is trio's, and jumps.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from consensus.genesis import Genesis
from node.devnet.chain import make_validators, write_genesis
from node.devnet.connection import Answer, Connection
from node.devnet.orders import Batch, SignedFlow, wallets_of
from node.devnet.patience import AHEAD_BLOCKS_MAX, WAIT_S_MAX
from node.devnet.replay import COMMANDS_IN_FLIGHT, Replay
from node.devnet.run import leaves
from node.exceptions import NodeError
from node.flow.bitstamp import Kind, Message
from node.flow.wallets import Signatures
from node.roles.sequencer import BUSY, UNCERTIFIED, UNCERTIFIED_BLOCKS_MAX
from node.simulation.machine import SimulatedMachine
from node.submission import read_batch

NOW_MS = 1_790_000_000_000
MESSAGES = 3000
BASE = 500
"""Where the flow begins on the scripted chain."""


class ScriptedLeader(Connection):
    """Takes commands in their order; `refuses` says when not, `ahead` how far blocks are: functions
    of the commands seen so far."""

    def __init__(self, refuses: Callable[[int], int], ahead: Callable[[int], int]) -> None:
        super().__init__("ws://scripted", None)  # type: ignore[arg-type]  # no stream: it is here
        self._refuses, self._ahead = refuses, ahead
        self.seen = 0  # commands looked at
        self.taken: list[bytes] = []
        self.sequence = BASE
        self.posts: list[float] = []

    def post(self, method: str, params: bytes, done: Callable[[Answer], None]) -> None:
        assert method == "clob_submitBatch"
        self.posts.append(trio.current_time())
        places = [self._place(one) for one in msgspec.json.decode(params)["commands"]]
        answer = Answer(1, msgspec.Raw(msgspec.json.encode(places)))
        trio.lowlevel.spawn_system_task(self._later, done, answer)

    async def _later(self, done: Callable[[Answer], None], answer: Answer) -> None:
        await trio.sleep(0.5)
        done(answer)

    def _place(self, command: dict[str, Any]) -> dict[str, Any]:
        self.seen += 1
        code = self._refuses(self.seen)
        if code:
            return {"error": {"code": code, "message": "as scripted"}}
        (found,) = read_batch(bytes.fromhex(command["group"][2:] + command["signature"][2:]))
        self.taken.append(found.data)
        place = {"height": 2, "sequence": self.sequence, "operations": found.group.size}
        self.sequence += found.group.size
        return place

    async def call(self, method: str, **params: object) -> Any:
        assert method == "chain_status"
        return {"height": 100, "certified": 100 - self._ahead(self.seen)}


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Genesis:
    folder = tmp_path_factory.mktemp("chain")
    return write_genesis(folder, make_validators(folder, 1), wallets_of(16), NOW_MS)[1]


@pytest.fixture(scope="module")
def signatures() -> Iterator[Signatures]:
    with Signatures() as found:
        yield found


class Run:
    """A replay to a scripted leader, and what was said meanwhile."""

    def __init__(
        self, genesis: Genesis, signatures: Signatures,
        refuses: Callable[[int], int] = lambda seen: 0,
        ahead: Callable[[int], int] = lambda seen: 0,
    ) -> None:  # fmt: skip
        self.messages = [
            Message(NOW_MS + n, Kind.LIMIT, n + 1, n % 2 == 0, 100 + n % 50, 1, post_only=False)
            for n in range(MESSAGES)
        ]
        self.leader = ScriptedLeader(refuses, ahead)
        self.done = 0
        self.said: list[str] = []
        flow = SignedFlow(genesis, wallets_of(16), signatures)
        self.replay = Replay(flow, self.messages, [self.leader], self._advance, self.said.append)

    def _advance(self, units: int) -> None:
        self.done += units

    async def whole(self) -> None:
        with trio.fail_after(10 * WAIT_S_MAX):
            await self.replay.run(SimulatedMachine())

    def check_all_taken_once_in_order(self) -> None:
        assert self.done == self.replay.sent.operations == MESSAGES
        assert self.leader.sequence == BASE + MESSAGES
        assert len(set(self.leader.taken)) == len(self.leader.taken) == self.replay.sent.commands


@pytest.mark.parametrize("code", [BUSY, UNCERTIFIED])
@pytest.mark.parametrize("first", [1, 37, 100, 1201])
async def test_refused_for_the_moment_it_waits_says_so_and_sends_the_same_again_in_order(
    genesis: Genesis, signatures: Signatures, autojump_clock: MockClock, code: int, first: int
) -> None:
    since: list[float] = []

    def refuses(seen: int) -> int:
        """Everything from the command `first` on, for two and a half seconds."""
        if seen == first:
            since.append(trio.current_time())
        return code if since and trio.current_time() < since[0] + 2.5 else 0

    run = Run(genesis, signatures, refuses)
    await run.whole()
    run.check_all_taken_once_in_order()
    assert any(f"waiting: {code} as scripted" in text for text in run.said)
    assert run.said[-1] == ""
    assert run.replay.patience.waited_s == pytest.approx(2)  # refused once more


async def test_it_stops_sending_before_the_leader_would_refuse(
    genesis: Genesis, signatures: Signatures, autojump_clock: MockClock
) -> None:
    assert AHEAD_BLOCKS_MAX < UNCERTIFIED_BLOCKS_MAX

    def ahead(seen: int) -> int:
        """Too far once 1,000 commands are there, for five seconds from the first look."""
        if seen >= 1000:
            since.append(trio.current_time())
        return AHEAD_BLOCKS_MAX + (bool(since) and trio.current_time() < since[0] + 5)

    since: list[float] = []
    run = Run(genesis, signatures, ahead=ahead)
    await run.whole()
    run.check_all_taken_once_in_order()
    assert run.said == [f"waiting: {AHEAD_BLOCKS_MAX + 1} blocks are not certified", ""]
    assert not [at for at in run.leader.posts if since[0] < at < since[0] + 5]
    assert run.leader.posts[-1] >= since[0] + 5
    assert 4 < run.replay.patience.waited_s < 6


async def test_a_leader_that_refuses_for_a_minute_ends_the_replay_with_its_own_words(
    genesis: Genesis, signatures: Signatures, autojump_clock: MockClock
) -> None:
    run = Run(genesis, signatures, lambda seen: UNCERTIFIED if seen > 150 else 0)
    began = trio.current_time()
    with trio.fail_after(2 * WAIT_S_MAX):
        error = await fault_of(run)
    assert error.number == 7119
    assert f"{WAIT_S_MAX} s ({UNCERTIFIED} as scripted)" in error.text
    assert WAIT_S_MAX <= trio.current_time() - began < WAIT_S_MAX + 5
    assert run.done == run.leader.sequence - BASE == run.replay.sent.operations > 0


@pytest.mark.parametrize("refused", [1, 50, 100])
async def test_a_command_taken_behind_a_refused_one_is_out_of_order_and_stops_the_replay(
    genesis: Genesis, signatures: Signatures, autojump_clock: MockClock, refused: int
) -> None:
    run = Run(genesis, signatures, lambda seen: UNCERTIFIED if seen == refused else 0)
    error = await fault_of(run)
    assert (error.number, "out of order" in error.text) == (7114, True)


async def test_any_other_refusal_still_stops_the_replay_at_once(
    genesis: Genesis, signatures: Signatures, autojump_clock: MockClock
) -> None:
    run = Run(genesis, signatures, lambda seen: 7332 if seen >= 200 else 0)
    error = await fault_of(run)
    assert error.number == 7113
    assert run.leader.seen <= COMMANDS_IN_FLIGHT + 200


async def fault_of(run: Run) -> NodeError:
    with pytest.RaisesGroup(NodeError, flatten_subgroups=True) as caught:
        await run.whole()
    (error,) = leaves(caught.value)
    return error


def test_a_batch_without_its_first_commands_is_the_rest_of_it() -> None:
    params = msgspec.json.encode({"commands": [{"group": n} for n in range(3)]})
    rest = Batch(params, 10, (1, 2, 3)).after(2)
    assert (rest.first, rest.sizes) == (13, (3,))
    assert msgspec.json.decode(rest.params) == {"commands": [{"group": 2}]}
