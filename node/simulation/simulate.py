"""One simulated chain under faults: run it, watch it, and tell what happened.

What lives here: the phases of a run, its traffic and the invariants of progress. What must never
live here: a fault (`trouble`) or an invariant of safety (`witness`).

Theory. A run alternates: trouble for some minutes, then calm. In calm, within `RECOVERY_S`, every
node must be alive, at the leader's head and have certified it, and a wallet must get a promise;
else something has stalled for good. Then each state is walked (which finds any fund that was made
or lost), and the bounds of every queue are checked.
"""

import random
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final, NamedTuple

import trio

from consensus.signatures import address_of, public_key_of
from consensus.state.integrity import walk
from node.app import Node
from node.simulation.fleet import Fleet
from node.simulation.genesis import fleet_genesis
from node.simulation.scheduler import run_seeded
from node.simulation.signatures import cheap_signatures
from node.simulation.trouble import ALL, Trouble
from node.simulation.wallets import Wallet, secret
from node.simulation.witness import Broken, Witness
from node.submission import Answer, Submission

NODES: Final = 4
WALLETS: Final = 4
BLOCK_INTERVAL_MS: Final = 1000
TROUBLE_S: Final = (60.0, 900.0)
RECOVERY_S: Final = 120.0
BURSTS_S: Final = 10.0
UNANSWERED_MAX: Final = 2000
TASKS_MAX: Final = 1500
"""Of all nodes together, in calm: each has about 60."""


@dataclass(frozen=True)
class Plan:
    """What is simulated. `hours` of simulated time."""

    seed: int
    hours: float = 1.0
    faults: Collection[str] = ALL
    bursts_s: float = BURSTS_S  # from one burst of submissions to the next, on the average
    real_signatures: bool = False

    @property
    def command(self) -> str:
        """Repeats it."""
        real = " --real-signatures" if self.real_signatures else ""
        faults = "all" if set(self.faults) == set(ALL) else ",".join(self.faults) or "none"
        text = f"scripts/simulate --seed {self.seed} --hours {self.hours:g} --faults {faults}"
        bursts = f" --bursts-s {self.bursts_s:g}" if self.bursts_s != BURSTS_S else ""
        return text + bursts + real


class Report(NamedTuple):
    """What happened in one run."""

    seed: int
    hours: float
    height: int
    certified: int
    promises: int
    refusals: int
    signatures: int
    crashes: int
    calms: int
    recovery_s: float  # the longest
    trace: str


class Simulation:
    """One run. `Broken`, or whatever a node raised, ends it."""

    def __init__(self, plan: Plan) -> None:
        genesis = fleet_genesis(NODES, WALLETS, block_interval_ms=BLOCK_INTERVAL_MS)
        self._plan = plan
        promiser = address_of(public_key_of(secret("promiser")))
        self.witness: Final = Witness(genesis, promiser)
        self.fleet: Final = Fleet(genesis, plan.seed, ready=self.witness.ready)
        self.fleet.world.listeners.append(self.witness.overheard)
        self.trouble: Final = Trouble(self.fleet, NODES, plan.faults, plan.seed)
        self._chance = random.Random(f"{plan.seed}/wallets")
        self._wallets = [Wallet(number) for number in range(WALLETS)]
        self._unanswered = 0
        self._calms = 0
        self._recovery_s = 0.0

    async def run(self) -> Report:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.trouble.run, nursery)
            nursery.start_soon(self._trade)
            end_at = trio.current_time() + self._plan.hours * 3600
            await self._recover()
            while trio.current_time() < end_at:
                self.trouble.begin()
                await trio.sleep(self._chance.uniform(*TROUBLE_S))
                self.trouble.end()
                await self._recover()
            nursery.cancel_scope.cancel()
        return self._report()

    def _report(self) -> Report:
        witness = self.witness
        return Report(
            self._plan.seed,
            self._plan.hours,
            witness.height,
            witness.certified,
            witness.promises,
            witness.refusals,
            witness.signatures,
            self.trouble.crashes,
            self._calms,
            round(self._recovery_s, 1),
            witness.trace,
        )

    # -- traffic -------------------------------------------------------------------------------

    async def _trade(self) -> None:
        """Bursts of submissions to whatever node is there."""
        chance = self._chance
        while True:
            await trio.sleep(chance.expovariate(1 / self._plan.bursts_s))
            for _ in range(chance.randrange(12)):
                nodes = self.fleet.nodes
                if nodes and self._unanswered < UNANSWERED_MAX:
                    number = chance.choice(sorted(nodes))
                    wallet = chance.choice(self._wallets)
                    self._send(nodes[number], wallet.anything(nodes[number].chain.state, chance))
                await trio.sleep(chance.choice((0, 0, 0.001, 0.1)))

    def _send(self, node: Node, submission: Submission) -> None:
        life = next(life for life in self.fleet.lives.values() if life.node is node)
        self._unanswered += 1

        def done(answer: Answer) -> None:
            self._unanswered -= 1
            if not life.scope.cancel_called:  # else the answer never left the machine
                self.witness.answered(submission, answer)

        node.submits.submit_then(submission, done)

    # -- progress ------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """What must come back in calm."""
        began = trio.current_time()
        lives = self.fleet.lives
        with trio.move_on_after(RECOVERY_S) as patience:
            goal = self.witness.height + 2
            while not self._has_recovered(goal):
                await trio.sleep(0.1)
            await self._promised()
        if patience.cancelled_caught:
            heads = {n: life.node and _place(life.node) for n, life in lives.items()}
            raise Broken(f"no recovery in {RECOVERY_S} s; (head, kept, certified): {heads}")
        self._calms += 1
        self._recovery_s = max(self._recovery_s, trio.current_time() - began)
        self.witness.note("recovered")
        self.witness.settled()
        self._unanswered = 0  # what dead nodes took is not answered any more
        for number, node in self.fleet.nodes.items():
            self._check_node(number, node)
        tasks = trio.lowlevel.current_statistics().tasks_living
        if tasks > TASKS_MAX:
            raise Broken(f"{tasks} tasks live")

    def _has_recovered(self, goal: int) -> bool:
        nodes = self.fleet.nodes
        return len(nodes) == NODES and all(
            node.chain.certified >= goal and node.chain.blocks.head().height >= goal
            for node in nodes.values()
        )

    async def _promised(self) -> None:
        """A wallet gets a promise from each node: the ingest streams are back too."""
        before = self.witness.promises
        for number in range(NODES):
            while True:
                node = self.fleet.nodes[number]
                self._send(node, self._wallets[number].order(node.chain.state, 0, 90))
                await trio.sleep(1)
                if self.witness.promises > before:
                    before = self.witness.promises
                    break

    def _check_node(self, number: int, node: Node) -> None:
        if node.chain.alarms:
            raise Broken(f"node {number} raised an alarm: {node.chain.alarms[0]}")
        if node.follower is not None:
            findings = walk(node.chain.state.memory)
            if findings:
                raise Broken(f"the state of node {number} is not sound: {findings[:3]}")


def _place(node: Node) -> tuple[int, int, int]:
    chain = node.chain
    return chain.state.head.height, chain.blocks.head().height, chain.certified


def simulate(plan: Plan) -> Report:
    """Run the plan. Raises `Broken`, or what a node raised."""
    with nullcontext() if plan.real_signatures else cheap_signatures():
        return run_seeded(lambda: Simulation(plan).run(), plan.seed)
