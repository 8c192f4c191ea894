"""The whole run: make a chain, start nodes, replay, compare, and leave nothing behind.

What lives here: the order of these steps. What must never live here: a step, or where results are
printed.
"""

import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from node.build_check import compiled_state
from node.config import LEADER
from node.devnet import settlement, stages, verdict
from node.devnet.bridge import (
    LocalChain,
    Owner,
    credited,
    deploy_chain,
    fund,
    l1_options,
    make_keys,
    owners_of,
)
from node.devnet.chain import make_validators
from node.devnet.connection import Connection, connected
from node.devnet.ether import endow, needs_of
from node.devnet.grants import grant
from node.devnet.orders import SignedFlow, wallets_of
from node.devnet.processes import NodeProcess, l1_of, memory_mb, nodes_of
from node.devnet.replay import Replay
from node.devnet.settlement import Leaver
from node.devnet.stages import Track
from node.devnet.verdict import Standing
from node.exceptions import NodeError
from node.flow.bitstamp import Flow, Message, fills_digest
from node.flow.wallets import Signatures
from node.l1.http import HttpL1
from node.machine import RealMachine
from node.progress import progress
from storage.disk import BLOBS

FOLLOWERS: Final = 3
Report = dict[str, object]


@dataclass(frozen=True)
class Plan:
    """`messages` None: the whole flow, whose fills are then compared with the venue's. `l1`: the
    URL of an execution client; None: an L1 of our own."""

    folder: Path
    messages: int | None
    wallets: int
    serve: bool
    quiet: bool
    l1: str | None = None


@dataclass
class Outcome:
    """What a run found. `faults` empty: everything agrees."""

    report: Report = field(default_factory=dict)
    table: str = ""
    stages: str = ""
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
    machine, note = RealMachine(), _teller(plan)
    wallets = wallets_of(plan.wallets)
    owners = owners_of(wallets)
    keys = make_validators(plan.folder, 1 + FOLLOWERS)
    l1_keys = make_keys(plan.folder, 1 + FOLLOWERS)
    messages = flow.messages[: plan.messages]
    async with AsyncExitStack() as stack:
        note("an L1, its tokens, the contract, deposits for every wallet")
        url = await stack.enter_async_context(_l1(plan, l1_keys[0], owners))
        chain = await deploy_chain(plan.folder, url, keys, l1_keys, wallets, machine.now_ms())
        accounts = await fund(chain, owners)
        note("four nodes; they wait until the deposits are final on L1")
        nodes = await stack.enter_async_context(
            nodes_of(plan.folder, chain.genesis_file, keys, FOLLOWERS, chain.options)
        )
        doors = [await stack.enter_async_context(connected(node.rpc)) for node in nodes]
        await credited(doors, len(owners) * len(chain.deployment.assets))
        signatures = stack.enter_context(Signatures())
        numbers = [accounts[who.owner] for who in wallets]
        signed = SignedFlow(chain.genesis, wallets, signatures, numbers)
        await grant(signed, doors, machine)
        standings = [
            Standing(node.name, await door.call("chain_status"))
            for node, door in zip(nodes, doors, strict=True)
        ]
        replay = await _replay(plan, signed, messages, standings, doors)
        await _compare(flow, chain, replay, standings, doors, nodes, outcome)
        note("a withdrawal, followed until it is final and paid; then the chain out of L1 alone")
        await _settle(plan, chain, owners[0], standings, doors, nodes, outcome)
        say(outcome, nodes)
        if plan.serve and not outcome.faults:
            await trio.sleep_forever()


@asynccontextmanager
async def _l1(plan: Plan, committer: Path, owners: Sequence[Owner]) -> AsyncIterator[str]:
    """The URL of an L1 on which everybody who pays for gas has ether."""
    if plan.l1 is not None:
        l1 = HttpL1(plan.l1)
        try:
            await endow(l1, plan.l1, needs_of(committer, owners))
        finally:
            await l1.close()
        yield plan.l1
        return
    async with l1_of(plan.folder, l1_options(committer, owners)) as process:
        yield f"http://127.0.0.1:{process.rpc}"


def _teller(plan: Plan) -> Callable[[str], None]:
    """What is going on, for a person who waits."""

    def note(text: str) -> None:
        if not plan.quiet:
            print(f"devnet: {text}", file=sys.stderr, flush=True)

    return note


async def _compare(
    flow: Flow,
    chain: LocalChain,
    replay: Replay,
    standings: Sequence[Standing],
    doors: Sequence[Connection],
    nodes: Sequence[NodeProcess],
    outcome: Outcome,
) -> None:
    """Once all have the whole flow: are they at one head, with the venue's fills?"""
    if not await verdict.settle(standings, doors, replay.sent.height):
        text = f"not every node is certified at one height {verdict.AGREE_S_MAX} s after"
        outcome.faults.append(f"{text} the last order")
    await replay.complete()
    outcome.faults += await verdict.differences(standings, doors, chain.genesis, replay.fills)
    trades = replay.fills.trades()
    whole = len(replay.messages) == len(flow.messages)
    fault = verdict.venue_fault(trades, flow.trades) if whole else None
    if fault:
        outcome.faults.append(f"the fills are not the venue's: {fault}")
    outcome.table = verdict.table(standings, len(replay.messages))
    outcome.report = _report(replay, standings, nodes) | {
        "fills_digest": fills_digest(trades),
        "fills_match_venue": fault is None if whole else None,
    }


async def _settle(
    plan: Plan,
    chain: LocalChain,
    owner: Owner,
    standings: Sequence[Standing],
    doors: Sequence[Connection],
    nodes: Sequence[NodeProcess],
    outcome: Outcome,
) -> None:
    """The way out: from a signed withdrawal to money on L1, and the chain derived from L1."""
    leaver = Leaver(plan.folder, chain, owner)
    left = await leaver.withdraw(nodes[0].url)
    tracks = [Track(node.name) for node in standings]
    if not await stages.follow(tracks, doors, left.height, left.promised):
        text = f"block {left.height} is not final for every node after {stages.STAGES_S_MAX} s"
        outcome.faults.append(text)
        outcome.stages = stages.table(tracks)
        return
    outcome.stages = stages.table(tracks)
    outcome.faults += await leaver.claim(nodes[-1].url, left)
    outcome.faults += await settlement.differences(chain, doors, left.height)
    blobs = chain.url if plan.l1 is None else str(plan.folder / LEADER / BLOBS)
    derived = await settlement.derive(chain, blobs)
    outcome.faults += await settlement.derived_differences(derived, doors)
    outcome.report |= settlement.described(chain, derived)


async def _replay(
    plan: Plan,
    flow: SignedFlow,
    messages: Sequence[Message],
    nodes: Sequence[Standing],
    doors: Sequence[Connection],
) -> Replay:
    """Send everything, and note when each node has it."""
    note = _teller(plan)
    with progress(len(messages), "messages", quiet=plan.quiet) as bar:

        def tell(text: str) -> None:
            bar.say(text)
            if text and not sys.stderr.isatty():
                note(text)

        replay = Replay(flow, messages, doors, bar, tell)
        await replay.run(RealMachine())
    sent = replay.sent
    with trio.move_on_after(verdict.AGREE_S_MAX):
        async with trio.open_nursery() as nursery:
            for node, door in zip(nodes, doors, strict=True):
                nursery.start_soon(verdict.watch, node, door, sent.height, sent.began)
    return replay


def _report(replay: Replay, nodes: Sequence[Standing], run: Sequence[NodeProcess]) -> Report:
    sent, took = replay.sent, replay.sent.ended - replay.sent.began
    return {
        "messages": sent.operations,
        "signatures": sent.commands,
        "seconds": round(took, 1),
        "waited_s": round(replay.patience.waited_s, 1),
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
