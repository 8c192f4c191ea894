"""The whole run: make a chain, start nodes, replay, compare, and leave nothing behind.

What lives here: the order of these steps. What must never live here: a step, or where results are
printed.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from node.build_check import compiled_state
from node.devnet import verdict
from node.devnet.chain import make_validators, write_genesis
from node.devnet.connection import Connection, connected
from node.devnet.grants import grant
from node.devnet.orders import SignedFlow, wallets_of
from node.devnet.processes import NodeProcess, memory_mb, nodes_of
from node.devnet.replay import Replay
from node.devnet.verdict import Standing
from node.exceptions import NodeError
from node.flow.bitstamp import Flow, fills_digest
from node.flow.wallets import Signatures
from node.machine import RealMachine
from node.progress import progress

FOLLOWERS: Final = 3
Report = dict[str, object]


@dataclass(frozen=True)
class Plan:
    """`messages` None: the whole flow, whose fills are then compared with the venue's."""

    folder: Path
    messages: int | None
    wallets: int
    serve: bool
    quiet: bool


@dataclass
class Outcome:
    """What a run found. `faults` empty: everything agrees."""

    report: Report = field(default_factory=dict)
    table: str = ""
    faults: list[str] = field(default_factory=list)
    interrupted: bool = False


Say = Callable[[Outcome, Sequence[NodeProcess]], None]


async def devnet(plan: Plan, flow: Flow, say: Say) -> Outcome:
    """Run it all; the processes are gone on return. `say` is called once the verdict is there."""
    outcome = Outcome()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_asked, nursery.cancel_scope, outcome)
            await _whole(plan, flow, outcome, say)
            nursery.cancel_scope.cancel()
    except* NodeError as group:
        outcome.faults += [str(error) for error in leaves(group)]
    return outcome


async def _end_asked(scope: trio.CancelScope, outcome: Outcome) -> None:
    """Ctrl-C or SIGTERM ends the run; what was started is still stopped."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            outcome.interrupted = True
            scope.cancel()


def leaves(group: BaseExceptionGroup[NodeError]) -> Iterator[NodeError]:
    """The errors of a group, out of all nurseries."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def _whole(plan: Plan, flow: Flow, outcome: Outcome, say: Say) -> None:
    machine = RealMachine()
    wallets = wallets_of(plan.wallets)
    keys = make_validators(plan.folder, 1 + FOLLOWERS)
    path, genesis = write_genesis(plan.folder, keys, wallets, machine.now_ms())
    messages = flow.messages[: plan.messages]
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(nodes_of(plan.folder, path, keys, FOLLOWERS))
        doors = [await stack.enter_async_context(connected(node.rpc)) for node in nodes]
        signatures = stack.enter_context(Signatures())
        signed = SignedFlow(genesis, wallets, signatures)
        await grant(signed, doors, machine)
        replay = Replay(signed, messages, doors)
        standings = [
            Standing(node.name, await door.call("chain_status"))
            for node, door in zip(nodes, doors, strict=True)
        ]
        await _replay(plan, replay, standings, doors)
        if not await verdict.settle(standings, doors, replay.sent.height):
            text = f"not every node is certified at one height {verdict.AGREE_S_MAX} s after"
            outcome.faults.append(f"{text} the last order")
        await replay.complete()
        outcome.faults += await verdict.differences(standings, doors, genesis, replay.fills)
        trades = replay.fills.trades()
        whole = len(messages) == len(flow.messages)
        fault = verdict.venue_fault(trades, flow.trades) if whole else None
        if fault:
            outcome.faults.append(f"the fills are not the venue's: {fault}")
        outcome.table = verdict.table(standings, len(messages))
        outcome.report = _report(replay, standings, nodes) | {
            "fills_digest": fills_digest(trades),
            "fills_match_venue": fault is None if whole else None,
        }
        say(outcome, nodes)
        if plan.serve and not outcome.faults:
            await trio.sleep_forever()


async def _replay(
    plan: Plan, replay: Replay, nodes: Sequence[Standing], doors: Sequence[Connection]
) -> None:
    """Send everything, and note when each node has it."""
    machine = RealMachine()
    total = len(replay.messages)
    with progress(total, "messages", quiet=plan.quiet) as advance:
        await replay.run(machine, advance)
    sent = replay.sent
    with trio.move_on_after(verdict.AGREE_S_MAX):
        async with trio.open_nursery() as nursery:
            for node, door in zip(nodes, doors, strict=True):
                nursery.start_soon(verdict.watch, node, door, sent.height, sent.began)


def _report(replay: Replay, nodes: Sequence[Standing], run: Sequence[NodeProcess]) -> Report:
    sent, took = replay.sent, replay.sent.ended - replay.sent.began
    return {
        "messages": sent.operations,
        "signatures": sent.commands,
        "seconds": round(took, 1),
        "orders_per_s": round(sent.operations / took),
        "blocks": sent.height,
        "fills": len(replay.fills),
        "refused": dict(replay.fills.refused),
        "nodes": [
            {
                "node": node.name,
                "height": node.status["height"],
                "state_root": node.status["state_root"],
                "certified": node.status["certified"],
                "peers": node.peers,
                "orders_per_s": round(sent.operations / node.reached) if node.reached else None,
                "memory_mb": memory_mb(process.pid),
            }
            for node, process in zip(nodes, run, strict=True)
        ],
        "core": compiled_state(),
    }
