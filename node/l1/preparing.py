"""A batch made ready for L1: drafted, committed to, signed by a quorum, its blobs kept.

What lives here: the order of these, off the loop. What must never live here: whether a batch is
due, or a transaction.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from consensus.da.kzg import Extended
from consensus.exceptions import InvalidPayload
from consensus.rollup.batch import Batch
from node.chain import LiveChain
from node.l1.attesting import Collector, Committee
from node.l1.backlog import Backlog, Cut
from node.l1.batches import Draft, draft, read_range
from node.l1.contract import Signatures
from node.l1.surface import L1, L1Error
from node.l1.transactions import Sidecar
from node.machine import Machine

BEFORE_OSAKA, OSAKA = 0, 1
"""Versions of sidecars (EIP-7594)."""
OSAKA_PRECOMPILE: Final = "P256VERIFY"
"""EIP-7910 lists precompiles by name; this one came with Osaka (EIP-7951)."""

Keep = Callable[[int, Sequence[bytes], Sequence[bytes]], None]
"""Keeps a batch's blobs by its number: `BatchArchive.keep`. It may block for the disk."""


class Kzg(Protocol):
    """`KzgProcess`."""

    async def prove(self, blobs: Sequence[bytes]) -> tuple[tuple[bytes, bytes], ...]: ...

    async def extend(self, blobs: Sequence[bytes]) -> tuple[Extended, ...]: ...


class Prepared(NamedTuple):
    """What a commit needs, but for where the contract stands."""

    batch: Batch
    sidecar: Sidecar
    signatures: Signatures
    payload_bytes: int


class Preparation:
    """Makes batches of one chain."""

    def __init__(
        self,
        l1: L1,
        chain: LiveChain,
        machine: Machine,
        backlog: Backlog,
        collector: Collector,
        committee: Callable[[], Awaitable[Committee]],
        kzg: Kzg,
        keep: Keep,
    ) -> None:
        self._l1 = l1
        self._chain = chain
        self._machine = machine
        self._backlog = backlog
        self._collector = collector
        self._committee = committee
        self._kzg = kzg
        self._keep = keep
        self._version: int | None = None

    async def prepare(self, number: int, cut: Cut) -> Prepared:
        """Batch `number` of the blocks up to the cut, or fewer if they are too many.

        Raises `NodeError` 7760, 7765, 7766, 7702 .. 7704, `StorageStopped`.
        """
        made = await self._drafted(number, cut)
        sidecar = await self._sidecar(made.blobs)
        batch = made.with_commitments(sidecar.commitments)
        signatures = await self._collector.collect(batch, made.carried, await self._committee())
        await self._machine.disk(lambda: self._keep(number, sidecar.hashes, sidecar.blobs))
        return Prepared(batch, sidecar, signatures, len(made.carried))

    async def _drafted(self, number: int, cut: Cut) -> Draft:
        """The draft; where the estimate was too low, of half the blocks."""
        first, last = self._backlog.posted + 1, cut.last
        while True:
            try:
                made = await self._draft(number, first, last)
            except InvalidPayload:
                if first == last:
                    raise
            else:
                if last == cut.last:
                    self._backlog.learn(cut, len(made.carried))
                if len(made.blobs) <= self._backlog.batching.blobs_max or first == last:
                    return made
            last = first + (last - first) // 2

    async def _draft(self, number: int, first: int, last: int) -> Draft:
        chain = self._chain
        taken = await self._machine.disk(lambda: read_range(chain.blocks, first, last))
        settlement = chain.genesis.settlement
        return await self._machine.compute(lambda: draft(number, taken, settlement))

    async def _sidecar(self, blobs: tuple[bytes, ...]) -> Sidecar:
        if self._version is None:
            self._version = await sidecar_version(self._l1)
        if self._version == BEFORE_OSAKA:
            pairs = await self._kzg.prove(blobs)
            return Sidecar(0, blobs, tuple(c for c, _ in pairs), tuple(p for _, p in pairs))
        extended = await self._kzg.extend(blobs)
        commitments = tuple(one.commitment for one in extended)
        proofs = tuple(proof for one in extended for proof in one.proofs)
        return Sidecar(1, blobs, commitments, proofs)


async def sidecar_version(l1: L1) -> int:
    """Which sidecars the L1's fork wants; Osaka's if it does not say."""
    try:
        config: Any = await l1.request("eth_config")
        current = config["current"]
        named = str(current.get("forkName", "osaka")).lower()
        known = current.get("precompiles")
    except (L1Error, KeyError, TypeError, AttributeError):
        return OSAKA
    if known is not None:
        return OSAKA if OSAKA_PRECOMPILE in known else BEFORE_OSAKA
    return BEFORE_OSAKA if named in ("cancun", "prague") else OSAKA
