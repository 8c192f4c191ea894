"""The watcher: follow the L1 by hash, keep what it finalized, forget what it took back.

What lives here: one look at the L1 after the other, and what is done when answers do not fit. What
must never live here: what facts mean to the chain (`origin.py`, `stages.py`).

Theory. A look asks for three blocks: latest, safe, finalized. From the latest it walks back by
parent hashes to a block that it knows, or to the finalized one; what lies above the common ancestor
in the window is dropped, with all that was told in it. Logs are asked for by block hash, because by
number they would be those of whatever chain the L1 is on by then. What became final is folded and
stored in one synced write.

A server may leave logs out. Queue items carry a hash chain, so a hole between them is seen; the end
of a list is compared with the contract's own figures after the newest block, before anything is
stored or shown. What does not fit is thrown away and asked for again.

Nothing here stops the node but a contract that is not the chain's: while the L1 is silent or talks
nonsense, facts stay as they are, and `problem` says why.
"""

import logging
from collections.abc import Callable
from typing import Final

import trio

from consensus.genesis import Genesis
from consensus.rollup.origin import Origin
from node.exceptions import NodeError
from node.l1.client import (
    FINALIZED,
    FORMLESS,
    L1_MALFORMED,
    LATEST,
    SAFE,
    Client,
    L1Block,
    Told,
    in_spans,
)
from node.l1.deployment import DEPLOYMENT_OTHER, Deployment, check_deployment
from node.l1.facts import L1_INCONSISTENT, Change, Facts, Seen, fold
from node.l1.surface import L1
from node.machine import Machine
from storage.l1_facts import L1Facts

L1_REWOUND: Final = 7754
L1_UNFINAL: Final = 7755
L1_MOVED: Final = 7756

POLL_S: Final = 1.0
RANGE_BLOCKS: Final = 1000
"""Blocks of one request for logs of final blocks; halved while the L1 refuses."""
WINDOW_BLOCKS_MAX: Final = 16_384
"""Blocks above the finalized one: 55 hours of 12 s without finality."""
INCONSISTENT_S: Final = 60.0
"""Servers behind one URL that are not in step give logs that do not fit, for a while."""
log: Final = logging.getLogger(__name__)


class Watcher:
    """Run `run` in a nursery. `facts` is the read side; `changed` waits for something new."""

    def __init__(
        self,
        l1: L1,
        deployment: Deployment,
        genesis: Genesis,
        store: L1Facts,
        machine: Machine,
        alarm: Callable[[str], None],
    ) -> None:
        self.client: Final = Client(l1, deployment.contract)
        self.facts: Final = Facts(store, machine.now_ms())
        self.problem = "the L1 was not asked yet"
        """Why the last look failed; empty if it did not."""
        self._answered_at: float | None = None
        self.reorganisations = 0
        self.dropped_blocks = 0
        self._l1 = l1
        self._deployment = deployment
        self._genesis = genesis
        self._store = store
        self._machine = machine
        self._alarm = alarm
        self._alarmed = 0
        self._is_checked = False
        self._news = trio.Event()
        self._hurry = trio.Event()

    async def changed(self) -> None:
        """Return after the next look that found something new."""
        await self._news.wait()

    def silent_s(self) -> float:
        """Since a look succeeded, or since the start."""
        if self._answered_at is None:
            return 0.0
        return trio.current_time() - self._answered_at

    def hurry(self) -> None:
        """Look now: somebody waits."""
        self._hurry.set()

    async def run(self) -> None:
        self._answered_at = trio.current_time()
        while True:
            try:
                if await self.look():
                    self._tell()
                self.problem, self._alarmed = "", 0
                self._answered_at = trio.current_time()
            except NodeError as error:
                if error.number == DEPLOYMENT_OTHER:
                    raise
                self._failed(error)
            with trio.move_on_after(POLL_S):
                await self._hurry.wait()
            self._hurry = trio.Event()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    def _failed(self, error: NodeError) -> None:
        if self.problem != error.text:
            log.warning("no news from the L1: %s", error)
        self.problem = error.text
        lasts = error.number == L1_INCONSISTENT and self.silent_s() > INCONSISTENT_S
        is_grave = error.number in (L1_REWOUND, L1_UNFINAL) or lasts
        if is_grave and self._alarmed != error.number:
            self._alarmed = error.number
            self._alarm(f"the L1 cannot be followed: {error}")

    async def look(self) -> bool:
        """One look; whether anything is new. Raises `NodeError`; nothing is changed then."""
        head = await self.client.block(LATEST)
        final = await self.client.block(FINALIZED)
        safe = await self.client.block(SAFE)
        point = self.facts.finalized
        if head is None or (point is not None and head.number < point.number):
            return False  # the L1 is behind what it said before: it is catching up
        if not self._is_checked:
            await self._check_contract()
        base = point.number if point else self._deployment.block_number - 1
        step = None
        if final is not None and final.number > base:
            step = Seen(final, await self._told_since(point, base, final))
            point, base = final.origin, final.number
        window = await self._window(head, base, point)
        safe_number = safe.number if safe else 0
        is_new = step is not None or safe_number != self.facts.safe or window != self.facts.window
        if is_new:
            await self._put(head, step, window)
            self.facts.safe = safe_number
        return is_new

    async def _check_contract(self) -> None:
        try:
            await check_deployment(self._l1, self._deployment, self._genesis)
        except FORMLESS as error:
            text = f"the L1's answers about the contract are none ({error!r})"
            raise NodeError(L1_MALFORMED, f"{text}; is the URL an execution client's?") from error
        self._is_checked = True

    async def _put(self, head: L1Block, step: Seen | None, window: list[Seen]) -> None:
        """Fold, compare with the contract, store, show."""
        final = Change(self.facts.final)
        if step is not None:
            final = fold(final.tip, step.told, self._store.batch)
        told = [one for seen in window for one in seen.told]
        latest = fold(final.tip, told, lambda n: final.batches.get(n) or self._store.batch(n))
        await self._compare(head, latest)
        if step is not None:
            origin = step.block.origin
            self.facts.note_final(final.tip.items, self._machine.now_ms())
            await self._machine.disk(
                lambda: self._store.step(origin, final.tip, final.items, final.batches)
            )
        self._count_dropped(window, step.block.number if step else 0)
        self.facts.put_window(window, latest)

    def _count_dropped(self, window: list[Seen], final: int) -> None:
        kept = {seen.block.hash for seen in window}
        dropped = [
            seen.block.hash
            for seen in self.facts.window
            if seen.block.number > final and seen.block.hash not in kept
        ]
        if dropped:
            self.reorganisations += 1
            self.dropped_blocks += len(dropped)
            log.info("the L1 took back %d blocks", len(dropped))

    async def _told_since(self, point: Origin | None, base: int, final: L1Block) -> list[Told]:
        """What was told in blocks above `base` up to `final`, which are final now."""
        known = [seen for seen in self.facts.window if seen.block.number <= final.number]
        if known and known[-1].block == final and known[0].block.number == base + 1:
            return [one for seen in known for one in seen.told]
        if point is not None:
            await self._check_point(point)
        return await in_spans(self.client.told_between, base + 1, final.number, RANGE_BLOCKS)

    async def _check_point(self, point: Origin) -> None:
        """7754: the L1 has another block where this node saw one finalized."""
        block = await self.client.block(point.number)
        if block is not None and block.hash != point.hash:
            text = f"L1 block {point.number} was final as {point.hash.hex()}, is {block.hash.hex()}"
            raise NodeError(L1_REWOUND, f"{text}: another L1, or a failure of its consensus")

    async def _window(self, head: L1Block, base: int, point: Origin | None) -> list[Seen]:
        """The blocks above `base` up to `head`: known ones up to the common ancestor, new ones."""
        known = {seen.block.hash: at for at, seen in enumerate(self.facts.window)}
        fresh: list[L1Block] = []
        block = head
        while block.number > base and block.hash not in known:
            if len(fresh) == WINDOW_BLOCKS_MAX:
                text = f"more than {WINDOW_BLOCKS_MAX} L1 blocks are not final"
                raise NodeError(L1_UNFINAL, f"{text}: its consensus fails, or the URL is wrong")
            fresh.append(block)
            parent = await self.client.block_with(block.parent)
            if parent is None:
                raise _moved(f"block {block.number} has no parent")
            block = parent
        if block.number <= base and point is not None and block.hash != point.hash:
            await self._check_point(point)
            raise _moved(f"block {block.number} is not the finalized one")
        kept = self.facts.window[: known[block.hash] + 1] if block.hash in known else []
        window = [seen for seen in kept if seen.block.number > base]
        for one in reversed(fresh):
            window.append(Seen(one, await self.client.told_in(one)))
        return window

    async def _compare(self, head: L1Block, latest: Change) -> None:
        """7753: the contract counts otherwise than its logs do."""
        says = await self.client.figures(head.number)
        seen = latest.tip
        if (says.items, says.committed, says.finalized, says.frozen) == (
            seen.items, seen.committed, seen.finalized, seen.frozen,
        ):  # fmt: skip
            return
        again = await self.client.block(head.number)
        if again != head:
            raise _moved("the head changed meanwhile")
        self.facts.put_window([], Change(self.facts.final))
        text = f"the contract has {says}, its logs give {seen}: the L1 left logs out"
        raise NodeError(L1_INCONSISTENT, f"{text}; asked again until they fit")


def _moved(why: str) -> NodeError:
    """The L1 changed between two requests, or several servers answer under one URL."""
    return NodeError(L1_MOVED, f"the L1 changed while it was read: {why}; read again")
