"""What this node's keys have signed last: written before a signature leaves, in a file of its own.

What lives here: one append-only file, and the refusal to sign a second thing in a place. What must
never live here: keys, signatures, or the database: LevelDB can lose its end and open without a
word, and a node that then signed another block for the same height would be a cheat.

    file     record ...                       64 bytes each
    record   kind u8 | 0 u24 | round u32 | height u64 | hash 32 | check 16

Numbers are little-endian; check = the first half of SHA-256(check before | the 48 bytes), before
the first record 16 zero bytes. The first record is kind 0 with the genesis hash. Kinds: 1 block,
2 vote. When the file has 4,096 records it is replaced by one with the last of each kind.

A record that is not whole is the torn end of a write that was never acknowledged, and is cut off. A
whole record with a bad check is damage and refused, whoever wrote it: it may have been the last.
"""

from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

from storage.exceptions import StorageDamaged, StorageRefused
from storage.files import Appender, Files

SIGNED_DAMAGED: Final = 7550
SIGNED_OTHERWISE: Final = 7551
SIGNED_FOREIGN: Final = 7552
SIGNED_RANGE: Final = 7553
HEAD_MOVED_BACK: Final = 7554

BLOCK: Final = 1
VOTE: Final = 2
KINDS: Final = {BLOCK: "block", VOTE: "vote"}
NAME: Final = "last_signed"
RECORDS_MAX: Final = 4096

_GENESIS: Final = 0
_RECORD: Final = Struct("<B3xIQ32s")
_CHECK_BYTES: Final = 16
RECORD_BYTES: Final = _RECORD.size + _CHECK_BYTES


class Signed(NamedTuple):
    """A thing that was signed. `hash` is 32 bytes."""

    height: int
    round: int
    hash: bytes


class LastSigned:
    """Ask `allow` before every signature; it returns when the answer is on the disk."""

    def __init__(self, files: Files, genesis_hash: bytes) -> None:
        """Read or begin the file. Raises `StorageDamaged` 7550, `StorageRefused` 7552."""
        self._files = files
        self._genesis_hash = genesis_hash
        self._last: dict[int, Signed] = {}
        self._check = bytes(_CHECK_BYTES)
        self._count = 0
        self._read_back()
        if self._count == 0:
            self._replace()
        self._appender: Appender = files.append_to(NAME)

    def last(self, kind: int) -> Signed | None:
        return self._last.get(kind)

    def allow(self, kind: int, height: int, round: int, hashed: bytes) -> None:
        """Return if this may be signed: it is later than the last, or the same again.

        Raises `StorageRefused` 7551 for anything else, 7553 for what cannot be a block's place;
        `StorageStopped` if it cannot be written: then nothing may be signed.
        """
        wanted = Signed(height, round, hashed)
        if kind not in KINDS or len(hashed) != 32 or not _fits(height, round):
            raise StorageRefused(SIGNED_RANGE, f"kind {kind} at {wanted[:2]} cannot be signed")
        last = self._last.get(kind)
        if last == wanted:
            return
        if last is not None and (height, round) <= last[:2]:
            text = f"a {KINDS[kind]} at height {last.height} round {last.round} was signed"
            sentence = f"{text}; another at {height}, {round} would be equivocation"
            raise StorageRefused(SIGNED_OTHERWISE, sentence, last=last, wanted=wanted)
        self._appender.append(self._encoded(kind, wanted))
        self._appender.sync()
        self._last[kind] = wanted
        if self._count >= RECORDS_MAX:
            self._appender.close()
            self._replace()
            self._appender = self._files.append_to(NAME)

    def check_head(self, height: int) -> None:
        """Raise `StorageDamaged` 7554 if the chain that was found at start ends too low.

        A block is in the database before its vote is signed; a proposal, which is in the journal
        first, may be one above the head.
        """
        floors = {BLOCK: 1, VOTE: 0}
        for kind, signed in self._last.items():
            if signed.height > height + floors[kind]:
                text = f"a {KINDS[kind]} at height {signed.height} was signed, the chain ends at"
                sentence = f"{text} {height}; fetch what is missing before signing anything"
                raise StorageDamaged(HEAD_MOVED_BACK, sentence, height=height)

    def close(self) -> None:
        self._appender.close()

    def _encoded(self, kind: int, signed: Signed) -> bytes:
        body = _RECORD.pack(kind, signed.round, signed.height, signed.hash)
        self._check = sha256(self._check + body).digest()[:_CHECK_BYTES]
        self._count += 1
        return body + self._check

    def _replace(self) -> None:
        self._check, self._count = bytes(_CHECK_BYTES), 0
        records = [self._encoded(_GENESIS, Signed(0, 0, self._genesis_hash))]
        records += [self._encoded(kind, signed) for kind, signed in sorted(self._last.items())]
        self._files.replace(NAME, records)

    def _read_back(self) -> None:
        data = self._files.read(NAME)
        if data is None:
            return
        whole = len(data) - len(data) % RECORD_BYTES
        for at in range(0, whole, RECORD_BYTES):
            body, check = data[at : at + _RECORD.size], data[at + _RECORD.size : at + RECORD_BYTES]
            kind, round_, height, hashed = _RECORD.unpack(body)
            signed = Signed(height, round_, hashed)
            if self._encoded(kind, signed) != body + check or (kind == _GENESIS) != (at == 0):
                raise _damaged(f"record {at // RECORD_BYTES} is not as written")
            if kind == _GENESIS:
                self._check_genesis(hashed)
            elif kind in KINDS and (kind not in self._last or signed[:2] > self._last[kind][:2]):
                self._last[kind] = signed
            else:
                raise _damaged(f"record {at // RECORD_BYTES} does not follow the one before")
        if whole == 0:
            raise _damaged("it has no whole record")
        if whole < len(data):
            self._files.cut(NAME, whole)

    def _check_genesis(self, found: bytes) -> None:
        if found != self._genesis_hash:
            text = f"{NAME} belongs to the chain of genesis {found.hex()}"
            raise StorageRefused(SIGNED_FOREIGN, f"{text}; give each chain its own directory")


def _fits(height: int, round_: int) -> bool:
    return 0 < height < 1 << 53 and 0 <= round_ < 1 << 32


def _damaged(why: str) -> StorageDamaged:
    text = f"{NAME} is damaged: {why}; signing could contradict an earlier signature"
    sentence = f"{text}: wait until the chain is past it, then start with a new file and key"
    return StorageDamaged(SIGNED_DAMAGED, sentence)
