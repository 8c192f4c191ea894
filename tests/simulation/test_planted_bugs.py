"""The simulator finds bugs that were planted: else its silence means nothing."""

import pytest
import trio

from consensus.block import Block
from node.certifier import Certifier
from node.roles.sequencer import Sequencer
from node.simulation.simulate import Plan, simulate
from storage.blocks import Blocks
from storage.journal import Journal
from storage.last_signed import LastSigned

SEEDS = range(1, 13)


def first_failure(hours: float = 0.05, *faults: str) -> str:
    """What the first seed that fails says, "" if none does."""
    for seed in SEEDS:
        try:
            simulate(Plan(seed, hours, faults or ("crash",), bursts_s=2.0))
        except BaseExceptionGroup as error:
            return "\n".join(texts_of(error))
    return ""


def texts_of(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [text for inner in error.exceptions for text in texts_of(inner)]
    return [f"{type(error).__name__}: {error}"]


@pytest.mark.slow
def test_a_promise_before_the_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sync(self: Sequencer) -> None:
        held, self._unsynced = self._unsynced, []
        to_tell, self._to_tell = self._to_tell, []
        self._answer([(one.executed, one.waiting) for one in held if one.executed])
        await self._machine.disk(self._journal.sync)
        for one in held:
            self._tape.put(one.happened)
        for tell in to_tell:
            tell()

    monkeypatch.setattr(Sequencer, "_sync", sync)
    assert "promise" in first_failure()


@pytest.mark.slow
def test_a_signature_that_last_signed_would_have_refused_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A journal that forgets, and nobody to say that the height was signed before."""

    def write(self: Journal, records: bytes, seed: int) -> None:
        pass

    def allow(self: LastSigned, kind: int, height: int, round_: int, hashed: bytes) -> None:
        pass

    def publish_first(
        self: Blocks, block: Block, events: bytes, certificate: bytes = b"", seal: bytes = b""
    ) -> None:
        kept(self, block, events, certificate, seal, sync=False)

    kept = Blocks.append
    monkeypatch.setattr(Journal, "_write", write)
    monkeypatch.setattr(LastSigned, "allow", allow)
    monkeypatch.setattr(Blocks, "append", publish_first)
    failure = first_failure()
    assert "signed two" in failure or "another has" in failure


def test_a_vote_for_a_block_that_is_not_on_the_disk_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = Blocks.append

    def unsynced(
        self: Blocks, block: Block, events: bytes, certificate: bytes = b"", seal: bytes = b""
    ) -> None:
        append(self, block, events, certificate, seal, sync=False)

    monkeypatch.setattr(Blocks, "append", unsynced)
    assert "was signed, the chain ends at" in first_failure()


def test_votes_that_nobody_counts_are_found_as_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Certifier, vote: object) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Certifier, "_count", never)
    assert "no recovery" in first_failure(0.05, "loss")
