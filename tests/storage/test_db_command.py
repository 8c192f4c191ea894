"""`rialto db`: a stopped node's directory is checked, backed up, restored and pruned."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_chain import GENESIS, Chain, genesis_file

from consensus.transition import apply_block
from node.cli import main
from storage.disk import JOURNAL, SIGNED, SNAPSHOTS, DirectoryDisk
from storage.files import FILE_LOCKED
from storage.journal import Journal
from storage.last_signed import VOTE, LastSigned
from storage.leveldb import LOCKED
from storage.recovery import keep_block, recover_chain
from storage.snapshots import Snapshots

CHAIN = Chain(seed=31).grow(12)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A data directory at height 12 with snapshots at 4 and 8, and the genesis file beside it."""
    (tmp_path / "genesis.json").write_bytes(genesis_file())
    disk = DirectoryDisk(tmp_path / "node")
    database, snapshots = disk.database(), Snapshots(disk.files(SNAPSHOTS))
    chain = recover_chain(GENESIS, database, snapshots)
    for sealed in CHAIN.blocks:
        keep_block(chain, sealed.block, apply_block(chain.state, sealed.block))
        if sealed.block.header.height in (4, 8):
            chain.states.write(chain.states.take(chain.state))
            snapshots.take(database, GENESIS.hash)
    signed = LastSigned(disk.files(SIGNED), GENESIS.hash)
    signed.allow(VOTE, 12, 0, CHAIN.state.head_hash)
    Journal(disk.files(JOURNAL), 12).close()
    disk.close()
    return tmp_path / "node"


def rialto(*words: object) -> int:
    return main(["db", *map(str, words)])


def places(node: Path) -> tuple[object, ...]:
    return ("--genesis", node.parent / "genesis.json", "--data-dir", node)


def reported(capsys: pytest.CaptureFixture[str], node: Path, *words: object) -> dict[str, object]:
    assert rialto(*words, *places(node), "--json") == 0
    report: dict[str, object] = json.loads(capsys.readouterr().out)
    return report


def root_at(height: int) -> str:
    return "0x" + CHAIN.roots[height].hex()


def test_check_reads_everything_and_says_what_is_there(
    node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        report = reported(capsys, node, "check")
        assert (report["height"], report["state_root"]) == (12, root_at(12))
        assert (report["snapshots"], report["lowest_block"]) == ([4, 8], 1)
        assert report["journal_blocks"] == 0


@pytest.mark.parametrize("height", [None, 12, 9, 8, 3, 0])
def test_a_backup_is_restored_to_any_height(
    node: Path, height: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = node.parent / "backup"
    assert reported(capsys, node, "backup", "--out", backup)["height"] == 12
    words = () if height is None else ("--height", height)
    report = reported(capsys, node.parent / "again", "restore", backup, *words)
    wanted = 12 if height is None else height
    assert (report["height"], report["state_root"]) == (wanted, root_at(wanted))
    assert reported(capsys, node.parent / "again", "check")["state_root"] == root_at(wanted)


def test_prune_keeps_snapshots_and_the_blocks_above_the_oldest(
    node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = reported(capsys, node, "prune", "--keep", 2)
    assert (report["snapshots_removed"], report["blocks_removed"]) == (1, 8)
    assert report["lowest_block"] == 9
    assert reported(capsys, node, "check")["state_root"] == root_at(12)


def refused(capsys: pytest.CaptureFixture[str], number: int, *words: object) -> None:
    assert rialto(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error E{number}: ")
    assert captured.err.count("\n") == 1


def test_bad_input_is_refused_in_one_line(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = node.parent / "nowhere"
    for words in (("check",), ("backup", "--out", nowhere), ("prune",)):
        refused(capsys, 7580, *words, *places(nowhere))
    refused(capsys, 7580, "restore", nowhere, *places(node))
    assert not nowhere.exists()
    empty = node.parent / "empty"
    empty.mkdir()
    refused(capsys, 7572, "restore", empty, *places(node))
    assert rialto("backup", *places(node), "--out", node.parent / "backup") == 0
    capsys.readouterr()
    refused(capsys, 7570, "backup", *places(node), "--out", node.parent / "backup")
    refused(capsys, 7570, "restore", node.parent / "backup", *places(node))
    (node.parent / "genesis.json").write_bytes(genesis_file(chain_id=5))
    refused(capsys, 7513, "check", *places(node))
    refused(capsys, 7573, "restore", node.parent / "backup", *places(nowhere))
    assert not nowhere.exists()


def test_damage_is_named(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A snapshot, last_signed and a journal segment with one wrong byte; a chain that ends below
    what was signed."""
    good = node.with_name("good")
    shutil.copytree(node, good)
    for part, number in (("snapshots/*8-*.snapshot", 7562), ("signed/last_signed", 7550)):
        (path,) = node.glob(part)
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
        refused(capsys, number, "check", *places(node))
        path.write_bytes(data)
    (node / "journal" / "000000000001.journal").write_bytes(b"x" * 99)
    refused(capsys, 7540, "check", *places(node))
    shutil.rmtree(node / "journal")
    backup = node.parent / "backup"
    assert rialto("backup", *places(node), "--out", backup) == 0
    again = node.parent / "again"
    assert rialto("restore", backup, "--height", 11, *places(again)) == 0
    shutil.copytree(node / "signed", again / "signed")
    capsys.readouterr()
    refused(capsys, 7554, "check", *places(again))


def test_two_processes_cannot_have_one_directory(node: Path) -> None:
    words = [sys.executable, "-m", "node.cli", "db", "check", *map(str, places(node))]
    disk = DirectoryDisk(node)
    for part, number in (("database", LOCKED), ("snapshots", FILE_LOCKED), ("signed", FILE_LOCKED)):
        _ = disk.database() if part == "database" else disk.files(part)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error E{number}: ")
        disk.close()
