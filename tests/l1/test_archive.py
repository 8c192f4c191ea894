"""The archive keeps blobs by name; what a reader takes from anywhere is the blob that was named."""

from functools import partial
from pathlib import Path

import pytest
from l1_wallets import sidecar_of

from consensus.da import kzg
from node.exceptions import NodeError
from node.l1 import trusted_setup
from node.l1.archive import (
    BLOB_MISSING,
    BLOB_OTHER,
    Archive,
    BatchArchive,
    BlobFolder,
    file_name,
    find_blob,
)
from storage.batch_blobs import BatchBlobs
from storage.files import DirectoryFiles
from storage.memory import MemoryDatabase
from storage.memory_files import MemoryFiles

SIDECAR = sidecar_of(b"what the archive keeps")
NAME, BLOB = SIDECAR.hashes[0], SIDECAR.blobs[0]
COMMIT = partial(kzg.commit, setup=trusted_setup.load())


def folder(path: Path, blob: bytes = BLOB, name: bytes = NAME) -> BlobFolder:
    path.mkdir()
    (path / file_name(name)).write_bytes(blob)
    return BlobFolder(path)


def test_what_was_kept_is_there_after_a_crash() -> None:
    files = MemoryFiles()
    archive = Archive(files)
    assert archive.read(NAME) is None
    archive.keep(SIDECAR.hashes, SIDECAR.blobs)
    files.crash()
    assert Archive(files.reopen()).read(NAME) == BLOB


def test_blobs_go_once_their_batch_is_final_and_none_that_another_batch_needs() -> None:
    """Also those made for a batch that was cut anew; an archive of before keeps what it had."""
    files, database = MemoryFiles(), MemoryDatabase()
    names = [bytes([1, n]) * 16 for n in range(5)]
    Archive(files).keep(names[4:], [BLOB])
    archive = BatchArchive(Archive(files), BatchBlobs(database))
    archive.keep(1, names[:2], [BLOB] * 2)
    archive.keep(1, names[2:3], [BLOB])
    archive.keep(2, names[1:2], [BLOB])
    archive.keep(2, names[3:4], [BLOB])

    def left() -> list[int]:
        return [n for n, name in enumerate(names) if Archive(files).read(name) == BLOB]

    archive.prune(0)
    assert left() == [0, 1, 2, 3, 4]
    archive.prune(1)
    assert left() == [1, 3, 4]
    archive.prune(1)
    archive = BatchArchive(Archive(files), BatchBlobs(database))
    archive.prune(2)
    assert left() == [4]


def test_a_blob_that_is_there_is_not_written_again_and_half_a_one_is() -> None:
    files = MemoryFiles()
    files.replace(file_name(NAME), [BLOB[:100]])
    archive = Archive(files)
    archive.keep(SIDECAR.hashes, SIDECAR.blobs)
    assert archive.read(NAME) == BLOB
    archive.keep(SIDECAR.hashes, [bytes(len(BLOB))])
    assert archive.read(NAME) == BLOB


async def test_another_process_reads_while_a_node_has_the_folder(tmp_path: Path) -> None:
    files = DirectoryFiles(tmp_path)
    Archive(files).keep(SIDECAR.hashes, SIDECAR.blobs)
    assert await find_blob([BlobFolder(tmp_path)], NAME, {}, COMMIT) == BLOB
    files.close()


@pytest.mark.parametrize("damage", ["flipped", "shorter", "longer", "no element", "another"])
async def test_a_damaged_copy_is_named_and_a_good_one_elsewhere_is_taken(
    damage: str, tmp_path: Path
) -> None:
    blob = {
        "flipped": BLOB[:70] + bytes([BLOB[70] ^ 1]) + BLOB[71:],
        "shorter": BLOB[:-1],
        "longer": BLOB + b"\0",
        "no element": b"\xff" + BLOB[1:],
        "another": sidecar_of(b"another").blobs[0],
    }[damage]
    bad = folder(tmp_path / "bad", blob)
    with pytest.raises(NodeError, match="another commitment") as caught:
        await find_blob([bad], NAME, {}, COMMIT)
    assert caught.value.number == BLOB_OTHER
    assert bad.where in caught.value.text
    good = folder(tmp_path / "good")
    assert await find_blob([bad, good], NAME, {}, COMMIT) == BLOB


async def test_a_blob_that_nobody_has_is_missing(tmp_path: Path) -> None:
    for sources in ([], [BlobFolder(tmp_path), BlobFolder(tmp_path / "absent")]):
        with pytest.raises(NodeError, match=NAME.hex()) as caught:
            await find_blob(sources, NAME, {}, COMMIT)
        assert caught.value.number == BLOB_MISSING
