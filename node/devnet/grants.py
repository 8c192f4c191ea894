"""The first block of a flow: every owner lets its session key trade.

What lives here: the grants' way to the chain. What must never live here: the flow itself.

Each grant goes through another node, the followers' included: when all are in, every follower has
its stream to the leader.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import trio

from consensus.layout import NONCE_USED
from node.devnet.connection import Connection
from node.devnet.orders import SignedFlow, batch_params
from node.devnet.patience import PASSES
from node.exceptions import NodeError
from node.machine import Machine
from node.roles.ingest import GOSSIPED, UNANSWERED
from node.submission import Submission

REFUSED: Final = 7113
NO_GRANT: Final = 7115
GRANT_S_MAX: Final = 30
AGAIN: Final = (GOSSIPED, UNANSWERED, *PASSES)


async def grant(flow: SignedFlow, doors: Sequence[Connection], machine: Machine) -> None:
    """Return when a block of the leader, the first door, has them all. Raises `NodeError`."""
    height = 0
    for n, group in enumerate(flow.grants(machine.now_ms())):
        height = max(height, await _granted(doors, n % len(doors), group))
    with trio.fail_after(GRANT_S_MAX):
        while await _height(doors[0]) < height:
            await trio.sleep(0.05)


async def _granted(doors: Sequence[Connection], number: int, group: Submission) -> int:
    """Its height. Who is busy, or a follower without a stream to the leader yet, is asked again."""
    door = doors[number]
    params = msgspec.json.decode(batch_params([group]))
    with trio.move_on_after(GRANT_S_MAX):
        while True:
            place = (await door.call("clob_submitBatch", **params))[0]
            error = place.get("error")
            if error is None:
                return int(place["height"])
            if error["code"] == NONCE_USED:  # gossiped before, and in the open block by now
                return await _height(doors[0]) + 1
            if error["code"] not in AGAIN:
                raise refused(door, error)
            await trio.sleep(0.2)
    text = f"{door.url} took no grant for {GRANT_S_MAX} s; the logs of the nodes may say why"
    raise NodeError(NO_GRANT, text)


async def _height(door: Connection) -> int:
    return int((await door.call("chain_status"))["height"])


def refused(door: Connection, error: dict[str, Any]) -> NodeError:
    text = f"{door.url} refused a command: {error['code']} {error['message']}"
    return NodeError(REFUSED, text, code=error["code"])
