"""An embedded L1 in a directory: what it accepted and its blobs outlive the process, within limits.

A killed process leaves the writes that it made, in their order: a copy of the directory of a chain
that still runs, or the first so many writes of one.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from l1_wallets import FEES, Wallets, address, new_l1, sidecar_of

from node.l1.embedded import chain as law
from node.l1.embedded.kept import KeptDatabase
from node.l1.transactions import Fees

TO = address("somebody")
SIDECAR = sidecar_of(b"a payload", version=0)
DOUBLE = Fees(FEES.tip * 2, FEES.max_fee * 2, FEES.max_blob_fee * 2)
NAMES: Final = ("operator", "another")


@contextmanager
def opened(directory: Path) -> Iterator[Wallets]:
    """The chain of this directory, with wallets; it mines by hand."""
    database = KeptDatabase(directory)
    yield wallets_on(database)
    database.close()


def wallets_on(database: KeptDatabase) -> Wallets:
    return Wallets(new_l1(*NAMES, automine=False, sidecar_version=0, database=database))


@contextmanager
def killed(directory: Path) -> Iterator[Wallets]:
    """The chain of a directory whose process ends now."""
    image = directory.with_suffix(".image")
    shutil.copytree(directory, image)
    with opened(image) as wallets:
        yield wallets
    shutil.rmtree(image)


def has_blobs(wallets: Wallets, sent: str) -> bool:
    return wallets.l1.chain.pool.sidecar(bytes.fromhex(sent[2:])) == SIDECAR


def test_what_waits_and_the_blobs_of_mined_blocks_are_there_after_a_kill(tmp_path: Path) -> None:
    """A transfer, a replaced one and a blob transaction wait, another one is in a block."""
    with opened(tmp_path / "l1") as wallets:
        mined = wallets.send("another", TO, sidecar=SIDECAR)
        wallets.l1.chain.mine()
        plain = wallets.send("operator", TO, value=1)
        replaced = wallets.send("operator", TO, value=2, nonce=1)
        better = wallets.send("operator", TO, value=3, nonce=1, fees=DOUBLE)
        blobs = wallets.send("another", TO, sidecar=SIDECAR)
        waiting = wallets.l1.chain.pool.ready()
        with killed(tmp_path / "l1") as after:
            assert after.l1.chain.pool.ready() == waiting
            assert len(waiting) == 3 == after.nonce("operator") + after.nonce("another") - 1
            assert has_blobs(after, mined) and has_blobs(after, blobs)
            after.l1.chain.mine()
            assert after.receipt(plain) and after.receipt(better) and after.receipt(blobs)
            assert after.receipt(replaced) is None
            assert after.balance("somebody") == 4
        wallets.l1.chain.mine()
        wallets.l1.chain.reorganise(1)
        with killed(tmp_path / "l1") as after:
            assert after.l1.chain.pool.ready() == waiting
            after.l1.chain.mine()
            assert after.receipt(plain) and has_blobs(after, blobs)


class Recorded(KeptDatabase):
    """Notes each write."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.writes: list[dict[bytes, bytes | None]] = []

    def _write(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.writes.append(dict(changes))
        super()._write(changes)


def test_a_process_killed_between_any_two_writes_loses_nothing(tmp_path: Path) -> None:
    """What was accepted waits or is in a block, never both, and has its blobs."""
    database = Recorded(tmp_path / "l1")
    wallets = wallets_on(database)
    assert len(database.writes) == 1
    accepted: list[tuple[int, set[str]]] = []
    """After so many writes these are accepted."""

    def send(name: str, **more: Any) -> str:
        sent = wallets.send(name, TO, **more)
        accepted.append((len(database.writes), {sent} | (accepted[-1][1] if accepted else set())))
        return sent

    blobs = send("another", sidecar=SIDECAR)
    send("operator", value=1)
    wallets.l1.chain.mine()
    low = send("operator", value=2)
    accepted.append((len(database.writes), accepted[-1][1] - {low}))  # its replacement will do
    send("operator", value=3, nonce=1, fees=DOUBLE)
    wallets.l1.chain.mine()
    database.close()
    for count in range(accepted[0][0], len(database.writes) + 1):
        expected = [names for since, names in accepted if since <= count][-1]
        with written(database.writes[:count], tmp_path / "image") as after:
            waiting = {"0x" + one.hash.hex() for one in after.l1.chain.pool.ready()}
            mined = {one for one in expected if after.receipt(one)}
            assert expected <= waiting | mined and not waiting & mined, f"after {count} writes"
            assert has_blobs(after, blobs)
    assert len(database.writes) - accepted[0][0] > 8


@contextmanager
def written(writes: list[dict[bytes, bytes | None]], directory: Path) -> Iterator[Wallets]:
    """A chain of which there are these writes."""
    database = KeptDatabase(directory)
    for changes in writes:
        database._write(changes)
    database.close()
    with opened(directory) as wallets:
        yield wallets
    shutil.rmtree(directory)


def test_blobs_are_forgotten_with_the_age_of_their_block_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs of four blocks instead of 4096: twelve blocks later, in memory and on disk."""
    assert law.SIDECAR_EPOCHS_KEPT == 4096
    monkeypatch.setattr(law, "SIDECAR_EPOCHS_KEPT", 3)
    with opened(tmp_path / "l1") as kept:
        in_memory = Wallets(new_l1(*NAMES, automine=False, sidecar_version=0))
        for wallets in (kept, in_memory):
            chain = wallets.l1.chain
            old = wallets.send("operator", TO, sidecar=SIDECAR)
            chain.mine()
            young = wallets.send("operator", TO, sidecar=SIDECAR)
            chain.mine(2)
            chain.blob_fee_floor = FEES.max_blob_fee + 1
            waits = wallets.send("operator", TO, sidecar=SIDECAR)
            chain.mine(10)
            assert chain.head.block_number == 13
            assert [has_blobs(wallets, one) for one in (old, young, waits)] == [False, True, True]
            chain.mine()
            assert [has_blobs(wallets, one) for one in (old, young, waits)] == [False, False, True]
            assert wallets.receipt(old) and wallets.receipt(young)
        with killed(tmp_path / "l1") as after:
            assert [has_blobs(after, one) for one in (old, young, waits)] == [False, False, True]


def test_the_database_holds_no_form_of_what_is_in_a_block_or_was_replaced(tmp_path: Path) -> None:
    with opened(tmp_path / "l1") as wallets:
        wallets.send("operator", TO, value=1)
        wallets.send("operator", TO, value=1, fees=DOUBLE, nonce=0)
        wallets.send("another", TO, sidecar=SIDECAR)
        wallets.send("another", TO, sidecar=SIDECAR, fees=DOUBLE, nonce=0)
        pool = wallets.l1.chain.pool
        assert len(pool._sent) == len(pool._waiting) == 2
        wallets.l1.chain.mine()
        assert (len(pool._sent), len(pool._waiting)) == (1, 0)
        wallets.l1.chain.reorganise(1, keep_dropped=False)
        assert len(pool._sent) == 0
