"""Nodes in one process: a genesis with validators, a memory network, disks that can crash.

What lives here: making nodes and wallets. What must never live here: an expectation.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import trio

from consensus import commands
from consensus.authority import context_of, group_digest
from consensus.commands import Group
from consensus.finality import bls
from consensus.genesis import Genesis, parse
from consensus.layout import AT_ACCOUNTS
from consensus.signatures import address_of, address_words, public_key_of, sign
from node.app import Keys, Node, ValidatorKey
from node.signer import signs_with
from node.submission import Submission
from p2p.exchange.status import Chain
from p2p.memory import Faults, World
from p2p.settings import Settings
from storage.disk import MemoryDisk

ROOT = Path(__file__).parents[2]
START_MS = 1_735_689_700_000
DAY_MS = 86_400_000
Result = TypeVar("Result")


def secret(name: str) -> bytes:
    return b"\0" + sha256(name.encode()).digest()[1:]


def validator(number: int) -> dict[str, str]:
    key = secret(f"validator {number}")
    return {
        "key": "0x" + bls.public_key_of(key).hex(),
        "proof": "0x" + bls.prove_possession(key).hex(),
    }


def fleet_genesis(validators: int, wallets: int = 4, **parameters: int) -> Genesis:
    return parse(genesis_file(validators, wallets, parameters))


def genesis_file(
    validators: int, wallets: int, parameters: Mapping[str, int], time_ms: int | None = None
) -> bytes:
    value = json.loads((ROOT / "genesis" / "minimal.json").read_text())
    value["parameters"] |= parameters
    value["validators"] = [validator(number) for number in range(validators)]
    value["deposits"] = [
        {"owner": "0x" + Wallet(number).owner.hex(), "asset": symbol, "amount": 1 << 50}
        for number in range(wallets)
        for symbol in ("USD", "BTC")
    ]
    value["markets"][0]["band_ppm"] = 0
    if time_ms is not None:
        value["time"] = time_ms
    return json.dumps(value).encode()


class SimulatedMachine:
    """Time is trio's, blocking work is done at once."""

    def __init__(self, skew_ms: int = 0) -> None:
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        return START_MS + self._skew_ms + round(trio.current_time() * 1000)

    async def disk(self, work: Callable[[], Result]) -> Result:
        await trio.sleep(0.001)
        return work()

    async def compute(self, work: Callable[[], Result]) -> Result:
        await trio.lowlevel.checkpoint()
        return work()


@dataclass
class Wallet:
    """A funded owner who signs with its own key."""

    number: int
    nonce: int = 0
    clients: int = 0
    owner_key: bytes = field(init=False)
    owner: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.owner_key = secret(f"wallet {self.number}")
        self.owner = address_of(public_key_of(self.owner_key))

    def account(self, node: Node) -> int:
        M = node.chain.state.memory.M
        words = address_words(self.owner)
        at = M[AT_ACCOUNTS]
        return next(n for n in range(64) if tuple(M[at + 32 * n + k] for k in range(3)) == words)

    def signed(self, node: Node, *rows: bytes) -> Submission:
        self.nonce += 1
        state = node.chain.state
        expires = state.memory.M[2] + DAY_MS // 2
        group = Group(
            0, self.account(node), self.nonce, expires, address_words(self.owner), b"".join(rows)
        )
        digest = group_digest(state.memory.M, context_of(state), group)
        return Submission(group, sign(self.owner_key, digest))

    def order(self, node: Node, side: int, price: int, lots: int = 10) -> Submission:
        self.clients += 1
        return self.signed(node, commands.place(0, side, self.clients, price, lots))


class Fleet:
    """A leader, number 0, and followers on one memory network."""

    def __init__(self, genesis: Genesis, seed: int = 1, faults: Faults | None = None) -> None:
        self.genesis = genesis
        self.world = World(seed, faults)
        self.disks: dict[int, MemoryDisk] = {}
        self.nodes: dict[int, Node] = {}
        self._scopes: dict[int, trio.CancelScope] = {}

    async def start(self, nursery: trio.Nursery, number: int, *, signs: bool = True) -> Node:
        """Start a node, on the disk that it had if it ran before."""
        node: Node = await nursery.start(self._run, number, signs)
        return node

    async def _run(
        self, number: int, signs: bool, task_status: trio.TaskStatus[Node]
    ) -> None:
        disk = self.disks.setdefault(number, MemoryDisk())
        machine = SimulatedMachine()
        others = tuple(f"memory:{n}" for n in self.nodes if n != number)
        settings = Settings(
            chain=Chain(self.genesis.chain_id, 1, self.genesis.hash),
            dial=others,
            wall=lambda: machine.now_ms() / 1000,
            chance=self.world.source("node", str(number), "").random,
        )
        key = secret(f"validator {number}")
        voter = ValidatorKey(bls.public_key_of(key), signs_with(key, machine)) if signs else None
        with trio.CancelScope() as scope:
            async with AsyncExitStack() as stack:
                network = await stack.enter_async_context(self.world.network(str(number), settings))
                keys = Keys(voter, secret("promiser"))
                node = Node(self.genesis, disk, network, machine, keys, leads=number == 0)
                self.nodes[number], self._scopes[number] = node, scope
                async with trio.open_nursery() as nursery:
                    await nursery.start(node.run)
                    task_status.started(node)

    def kill(self, number: int) -> None:
        """As kill -9: no goodbye, nothing flushed."""
        self.world.kill(str(number))
        self._scopes[number].cancel()
        del self.nodes[number]


async def until(check: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait, in simulated time, until the check holds."""
    with trio.fail_after(seconds):
        while not check():
            await trio.sleep(0.02)
