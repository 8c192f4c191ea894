"""Do all nodes have the same chain, certified, with the venue's fills?

What lives here: waiting for the end, every comparison, the table. What must never live here: a
repair, or a tolerance.

A certificate is not believed because a node says so: its signatures are checked here against the
validators of the genesis file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from consensus.exceptions import ConsensusError
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import check_certificate, decode_certificate
from consensus.genesis import Genesis
from node.devnet.connection import Connection
from node.devnet.fills import Fills, place_of
from node.flow.bitstamp import Trade, fills_digest

AGREE_S_MAX: Final = 60
POLL_S: Final = 0.1
TRADES_ASKED: Final = 1000


@dataclass
class Standing:
    """One node at the end."""

    name: str
    status: dict[str, Any]
    peers: int = 0
    reached: float = 0.0  # seconds from the first order until it had the last one in a block

    @property
    def place(self) -> tuple[object, ...]:
        return self.status["height"], self.status["hash"], self.status["state_root"]

    @property
    def is_certified(self) -> bool:
        return bool(self.status["certified"] == self.status["height"])


async def watch(node: Standing, door: Connection, height: int, began: float) -> None:
    """Note when the node has this height."""
    while node.status["height"] < height:
        await trio.sleep(POLL_S)
        node.status = await door.call("chain_status")
    node.reached = trio.current_time() - began


async def settle(nodes: Sequence[Standing], doors: Sequence[Connection], height: int) -> bool:
    """Wait until all are certified at one head, at `height` or above; whether they got there."""
    with trio.move_on_after(AGREE_S_MAX):
        while True:
            for node, door in zip(nodes, doors, strict=True):
                node.status = await door.call("chain_status")
                node.peers = len(await door.call("net_peers"))
            heads = {node.status["height"] for node in nodes}
            if len(heads) == 1 and min(heads) >= height and all(n.is_certified for n in nodes):
                return True
            await trio.sleep(POLL_S)
    return False


async def differences(
    nodes: Sequence[Standing], doors: Sequence[Connection], genesis: Genesis, fills: Fills
) -> list[str]:
    """What is not as it must be, one sentence each."""
    found = []
    first = nodes[0]
    validators = ValidatorSet(genesis.validators)
    for node, door in zip(nodes, doors, strict=True):
        if node.place != first.place:
            found.append(f"{node.name} is at {node.place}, {first.name} at {first.place}")
        if node.status["alarms"]:
            found.append(f"{node.name} raised an alarm: {node.status['alarms'][-1]}")
        header = await door.call("chain_getHeader", height=node.status["certified"])
        fault = certificate_fault(header, genesis, validators)
        if fault:
            found.append(f"{node.name} shows no good certificate: {fault}")
        trades = await door.call("clob_trades", market=0, depth=TRADES_ASKED)
        if [place_of(trade) for trade in trades] != fills.places()[-TRADES_ASKED:]:
            found.append(f"{node.name} tells other fills than the answers to the orders")
    return found


def certificate_fault(
    header: dict[str, Any], genesis: Genesis, validators: ValidatorSet
) -> str | None:
    """Why the header's certificate does not hold; None if it does."""
    if header["certificate"] is None:
        return f"none at height {header['height']}"
    try:
        certificate = decode_certificate(bytes.fromhex(header["certificate"][2:]))
        check_certificate(genesis.hash, validators, certificate)
    except ConsensusError as error:
        return error.text
    if certificate.subject.hash.hex() != header["hash"][2:]:
        return "it is another block's"
    return None


def venue_fault(trades: Sequence[Trade], venue: Sequence[Trade]) -> str | None:
    """Where the fills leave the venue's; None if they are the same."""
    if fills_digest(trades) == fills_digest(venue):
        return None
    pairs = zip(trades, venue, strict=False)
    at = next((n for n, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    if at is None:
        return f"{len(trades)} fills where the venue has {len(venue)}"
    return f"fill {at} is {trades[at]}, the venue's is {venue[at]}"


def table(nodes: Sequence[Standing], operations: int) -> str:
    """One line for each node."""
    lines = [f"{'node':<12} {'height':>7}  {'state root':<18} {'certified':>9} {'peers':>5} "
             f"{'orders/s':>9}"]  # fmt: skip
    for node in nodes:
        status = node.status
        rate = f"{operations / node.reached:,.0f}" if node.reached else "-"
        lines.append(
            f"{node.name:<12} {status['height']:>7}  {status['state_root'][:18]:<18} "
            f"{status['certified']:>9} {node.peers:>5} {rate:>9}"
        )
    return "\n".join(lines)
