"""Posted blobs by versioned hash: where they are kept, and where else they may be found.

What lives here: the folder of an archive, its readers, and the check that a found blob is the one
that was asked for. What must never live here: what a blob carries.

Theory. L1 forgets blobs after about 18 days (EIP-4844), so whoever wants to replay a chain later
keeps them. A versioned hash names the content, so it does not matter where a copy comes from or who
wrote it: a blob counts only if its KZG commitment has that hash. The commitment is made anew for
every blob that is read; 60 ms, in which ckzg holds the GIL.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from consensus.da.blobs import BLOB_BYTES
from consensus.da.kzg import versioned_hash
from consensus.exceptions import InvalidPayload
from node.exceptions import NodeError
from storage.batch_blobs import BatchBlobs
from storage.files import Files

BLOB_MISSING: Final = 7780
BLOB_OTHER: Final = 7781

SUFFIX: Final = ".blob"

Commit = Callable[[bytes], bytes]
"""A blob's commitment, or `InvalidPayload` 8110: `kzg.commit` with the setup."""


def file_name(name: bytes) -> str:
    """The file of the blob with this versioned hash."""
    return name.hex() + SUFFIX


class Archive:
    """The blobs in one directory, 128 KiB each, under `file_name`. Calls block for the disk."""

    def __init__(self, files: Files) -> None:
        self._files: Final = files

    def keep(self, hashes: Sequence[bytes], blobs: Sequence[bytes]) -> None:
        """Keep each blob under its versioned hash; durable on return. What is there stays.

        The hashes are the caller's word: a wrong one is found by whoever reads. Raises
        `StorageStopped` 7501.
        """
        for name, blob in zip(hashes, blobs, strict=True):
            if self._files.size(file_name(name)) != BLOB_BYTES:
                self._files.replace(file_name(name), [blob])

    def read(self, name: bytes) -> bytes | None:
        """The blob as it was kept, not checked."""
        return self._files.read(file_name(name), 0, BLOB_BYTES + 1)

    def remove(self, name: bytes) -> None:
        """A crash may bring it back."""
        self._files.remove(file_name(name))


class BatchArchive:
    """The archive of a node that posts batches. Calls block for the disk, one at a time."""

    def __init__(self, archive: Archive, names: BatchBlobs) -> None:
        self._archive: Final = archive
        self._names: Final = names

    def keep(self, number: int, hashes: Sequence[bytes], blobs: Sequence[bytes]) -> None:
        """Those that batch `number` is to be posted in; durable on return."""
        self._names.note(number, hashes)
        self._archive.keep(hashes, blobs)

    def prune(self, final: int) -> None:
        """Drop what was made for batches up to `final`, which must be final on L1, and for no
        later one. Blobs that are not noted here stay."""
        for name in self._names.until(final):
            self._archive.remove(name)
        self._names.forget(final)


class BlobSource(Protocol):
    """Somebody who may have blobs. `where` names them in errors."""

    @property
    def where(self) -> str: ...

    async def read(self, name: bytes, block: Mapping[str, Any]) -> bytes | None:
        """What is there under this versioned hash, not checked; None if there is nothing.

        `block`: the L1 block that has the blob's transaction, as `eth_getBlockByHash` answers.
        """


class BlobFolder:
    """An archive's directory as a reader sees it, which a node may be writing at the same time."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path

    @property
    def where(self) -> str:
        return str(self._path)

    async def read(self, name: bytes, block: Mapping[str, Any]) -> bytes | None:
        try:
            with (self._path / file_name(name)).open("rb") as file:
                return file.read(BLOB_BYTES + 1)
        except FileNotFoundError:
            return None


async def find_blob(
    sources: Sequence[BlobSource], name: bytes, block: Mapping[str, Any], commit: Commit
) -> bytes:
    """The blob with this versioned hash, from the first source that has it undamaged.

    Raises `NodeError` `BLOB_MISSING` if nobody has any, `BLOB_OTHER` if what they have is not it.
    """
    other: list[str] = []
    for source in sources:
        blob = await source.read(name, block)
        if blob is None:
            continue
        if is_named(blob, name, commit):
            return blob
        other.append(source.where)
    if other:
        text = f"what {', '.join(other)} has as blob {name.hex()} has another commitment"
        raise NodeError(BLOB_OTHER, f"{text}: it is damaged; name another archive", blob=name)
    asked = ", ".join(source.where for source in sources) or "nobody"
    text = f"blob {name.hex()} is missing (asked: {asked}); name an archive that has it"
    raise NodeError(BLOB_MISSING, text, blob=name)


def is_named(blob: bytes, name: bytes, commit: Commit) -> bool:
    """Whether `name` is the versioned hash of `blob`."""
    try:
        return versioned_hash(commit(blob)) == name
    except InvalidPayload:
        return False
