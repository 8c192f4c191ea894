"""What a client does with each answer to a command, and with none."""

from collections.abc import Iterator
from typing import cast

import msgspec
import pytest
import trio

from consensus import commands, layout
from consensus.commands import Group
from consensus.signatures import address_words
from node.client.calls import Fault, Reply
from node.client.client import Client
from node.client.exceptions import ClientError, Refused, Unanswered
from node.client.http_link import HttpLink
from node.client.signing import SignedCommand
from node.roles.ingest import GOSSIPED, UNANSWERED
from node.roles.sequencer import BUSY, UNCERTIFIED
from node.rpc.methods.chain import UNKNOWN_COMMAND

GROUP = Group(0, 2, 9, 1, address_words(b"\x11" * 20), commands.cancel_all())
COMMAND = SignedCommand(GROUP, bytes(65))
AWAY = Unanswered(7800, "gone")


def refusal(number: int) -> Reply:
    return Reply(error=Fault(number, "no"))


def result(value: object) -> Reply:
    return Reply(result=msgspec.Raw(msgspec.json.encode(value)))


TAKEN = result(
    {"height": 5, "sequence": 70, "operations": 1, "command": "0x00", "promise": "0x"}
)


class Script:
    """A link whose answers to `clob_submit` are written down; the last one is repeated."""

    def __init__(self, *answers: Reply | Unanswered, sealed: Group | None = None) -> None:
        self._answers: Iterator[Reply | Unanswered] = iter(answers)
        self._last: Reply | Unanswered = AWAY
        self._sealed = sealed
        self.submitted = 0
        self.height = 4

    async def call(self, method: str, params: object) -> Reply:
        await trio.sleep(0.01)
        if method == "clob_submit":
            self.submitted += 1
            self._last = next(self._answers, self._last)
            if isinstance(self._last, Unanswered):
                raise self._last
            return self._last
        if method == "chain_status":
            self.height += 1
            return result(
                {"name": "x", "chain_id": 1, "genesis_hash": "0x", "contract": "0x", "role": "f",
                 "height": self.height, "hash": "0x", "time": 1, "certified": 1,
                 "appointment": None}
            )  # fmt: skip
        if self._sealed is None:
            return refusal(UNKNOWN_COMMAND)
        if method == "chain_getReceipt":
            return result({"height": 5, "hash": "0x", "sequence": 70, "stage": "sealed",
                           "receipt": "0x", "events": []})  # fmt: skip
        rows = "0x" + self._sealed.rows.hex()
        return result({"height": 5, "commands": rows, "signatures": "0x"})


def client_of(script: Script) -> Client:
    return Client(cast(HttpLink, script), None, 30.0)


@pytest.mark.parametrize("number", [BUSY, UNCERTIFIED])
async def test_a_busy_node_is_asked_again_and_its_refusal_told_in_the_end(
    autojump_clock: object, number: int
) -> None:
    script = Script(refusal(number))
    with pytest.raises(Refused) as refused:
        await client_of(script).submit(COMMAND)
    assert refused.value.number == number
    assert script.submitted > 10


async def test_a_command_is_taken_once_the_node_has_room(autojump_clock: object) -> None:
    script = Script(refusal(BUSY), refusal(BUSY), TAKEN)
    placed = await client_of(script).submit(COMMAND)
    assert (placed.sequence, placed.promise, script.submitted) == (70, None, 3)


async def test_without_any_answer_the_outcome_is_unknown_and_said_so(
    autojump_clock: object,
) -> None:
    with pytest.raises(ClientError) as unknown:
        await client_of(Script(AWAY)).submit(COMMAND)
    assert unknown.value.number == 7803
    assert unknown.value.facts["command"] == COMMAND


@pytest.mark.parametrize("first", [AWAY, refusal(GOSSIPED), refusal(UNANSWERED)])
@pytest.mark.parametrize("second", [layout.NONCE_USED, layout.SIGNER])
async def test_after_a_lost_answer_a_refusal_is_checked_against_the_chain(
    autojump_clock: object, first: Reply | Unanswered, second: int
) -> None:
    script = Script(first, refusal(second), sealed=GROUP)
    placed = await client_of(script).submit(COMMAND)
    assert (placed.height, placed.sequence) == (5, 70)


async def test_after_a_lost_answer_a_refusal_holds_once_blocks_have_passed_without_the_command(
    autojump_clock: object,
) -> None:
    script = Script(AWAY, refusal(layout.SIGNER))
    with pytest.raises(Refused) as refused:
        await client_of(script).submit(COMMAND)
    assert refused.value.number == layout.SIGNER
    assert script.height >= 7


async def test_a_first_refusal_needs_no_look_at_the_chain(autojump_clock: object) -> None:
    script = Script(refusal(layout.NONCE_USED), sealed=GROUP)
    with pytest.raises(Refused):
        await client_of(script).submit(COMMAND)
    assert script.submitted == 1
