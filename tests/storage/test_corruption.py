"""One flipped bit anywhere in LevelDB's own files: refused, harmless, or reported; never wrong."""

import random
import shutil
from pathlib import Path

import pytest
from small_chain import GENESIS, IDENTITY, Chain

from storage.blocks import Blocks
from storage.exceptions import StorageDamaged, StorageError
from storage.last_signed import HEAD_MOVED_BACK, VOTE, LastSigned
from storage.leveldb import DATABASE_DAMAGED, LevelDatabase
from storage.memory_files import MemoryFiles
from storage.schema import claim
from storage.states import States

SEED = 77
FLIPS, FLIPS_LONG = 240, 6000
EVERYTHING = (b"", b"\xff")
Items = list[tuple[bytes, bytes]]


def written(path: Path) -> list[Items]:
    """A database with tables, a log and a second log; what it held after each write."""
    chain = Chain(seed=5).grow(10)
    database = LevelDatabase(path)
    claim(database, IDENTITY)
    blocks, states = Blocks(database), States(database)
    blocks.begin(chain.genesis_header)
    states.begin(chain.state)
    history = []
    for number, sealed in enumerate(chain.blocks):
        if number == 4:
            database._db.compact_range()
        if number == 7:
            database.close()
            database = LevelDatabase(path)
            blocks = Blocks(database)
        blocks.append(sealed.block, sealed.events)
        history.append(list(database.scan(*EVERYTHING)))
    database.close()
    return history


def signed_up_to(height: int) -> LastSigned:
    signed = LastSigned(MemoryFiles(), GENESIS.hash)
    signed.allow(VOTE, height, 0, bytes(32))
    return signed


def test_a_flipped_bit_is_never_silently_wrong(tmp_path: Path, long_run: bool) -> None:
    """LevelDB may lose the end of its log and say nothing; then the head is an earlier one, whole,
    and last_signed knows better."""
    rng = random.Random(SEED)
    history = written(tmp_path / "good")
    signed = signed_up_to(10)
    files = [p for p in sorted((tmp_path / "good").iterdir()) if p.name not in ("LOG", "LOCK")]
    assert {".ldb", ".log"} <= {path.suffix for path in files}
    answers = {"refused": 0, "harmless": 0, "reported": 0}
    for number in range(FLIPS_LONG if long_run else FLIPS):
        path = files[number % len(files)]
        bit = rng.randrange(8 * path.stat().st_size) if path.stat().st_size else None
        if bit is None:
            continue
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "good", copy)
        data = bytearray(path.read_bytes())
        data[bit // 8] ^= 1 << bit % 8
        (copy / path.name).write_bytes(data)
        answers[answer(copy, history, signed)] += 1
        shutil.rmtree(copy)
    assert answers["refused"] > 100, answers


def test_a_flipped_bit_in_the_log_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    """Before anybody could read around the hole."""
    written(tmp_path)
    log = max(tmp_path.glob("*.log"), key=lambda path: path.stat().st_size)
    data = bytearray(log.read_bytes())
    for at in range(20, 400, 20):
        log.write_bytes(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
        with pytest.raises(StorageDamaged) as caught:
            LevelDatabase(tmp_path)
        assert caught.value.number == DATABASE_DAMAGED
    log.write_bytes(data)
    LevelDatabase(tmp_path).close()


def answer(path: Path, history: list[Items], signed: LastSigned) -> str:
    try:
        database = LevelDatabase(path)
    except StorageError:
        return "refused"
    try:
        found = list(database.scan(*EVERYTHING))
        height = Blocks(database).walk().height
    except StorageError:
        return "refused"
    finally:
        database.close()
    assert found in history, f"{path} reads differently"
    if found == history[-1]:
        return "harmless"
    try:
        signed.check_head(height)
    except StorageDamaged as error:
        assert error.number == HEAD_MOVED_BACK
        return "reported"
    raise AssertionError(f"the head is {height} and nobody says so")
