"""KZG in a process of its own: ckzg holds the GIL for up to half a second per blob.

What lives here: the worker, its frames, and the bounded queue before it. What must never live here:
arithmetic (`consensus/da/kzg.py`), or trust in anything but our own child.

Theory of operation. One spawned interpreter runs `python -m node.l1.kzg_process` and answers frames
on its pipes, in order; ckzg is fast enough for one worker to fill a block's blobs each slot. A
caller waits for its turn; beyond `WAITING_MAX` callers are refused, because a queue of blobs that
grows is an outage that nobody sees. A worker that dies or goes silent fails the caller with 7703
and the next caller starts another.

    request  = operation u8 | blobs u8 | blobs x 131,072 bytes
    answer   = u32 length | for each blob: commitment 48, then
               operation 0: proof 48 | operation 1: 128 proofs of 48, 128 cells of 2,048
               | operation 2: nothing
               ... or length 0 | number u16 | text length u16 | text: a numbered error
"""

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from struct import Struct
from subprocess import PIPE
from typing import BinaryIO, Final

import trio

from consensus.da.blobs import BLOB_BYTES
from consensus.da.kzg import (
    CELL_BYTES,
    CELLS_PER_BLOB,
    COMMITMENT_BYTES,
    PROOF_BYTES,
    Extended,
    blob_proof,
    check_blob,
    commit,
    extend,
)
from consensus.exceptions import ConsensusError, InvalidPayload
from consensus.rollup.batch import BLOBS_MAX
from node.exceptions import NodeError

KZG_BUSY: Final = 7702
KZG_DIED: Final = 7703
KZG_BLOBS: Final = 7704

WAITING_MAX: Final = 8
"""Callers before one is refused: about ten seconds of work in two-blob batches."""
ANSWER_S: Final = 60
"""Longest one answer may take: nine blobs and the loading of the setup, on a slow machine."""
PRECOMPUTE: Final = 8
"""Doubles the speed of cell proofs for 100 MB (design measurement: 349 against 174 ms a blob)."""
PROVE: Final = 0
EXTEND: Final = 1
COMMIT: Final = 2

REQUEST: Final = Struct("<BB")
LENGTH: Final = Struct("<I")
FAULT: Final = Struct("<HH")
EXTENDED_BYTES: Final = COMMITMENT_BYTES + CELLS_PER_BLOB * (PROOF_BYTES + CELL_BYTES)


class KzgProcess:
    """Commitments and proofs that never stop the event loop; make one with `open_kzg`."""

    def __init__(self, precompute: int = PRECOMPUTE) -> None:
        self._precompute: Final = precompute
        self._turn: Final = trio.Lock()
        self._waiting = 0
        self._child: trio.Process | None = None

    async def extend(self, blobs: Sequence[bytes]) -> tuple[Extended, ...]:
        """Commitment, 128 cells and 128 proofs of each blob: 1 to 9 of them.

        Raises `InvalidPayload` `NOT_A_BLOB`, `NodeError` 7702 .. 7704.
        """
        data = await self._ask(EXTEND, blobs)
        return tuple(
            _read_extended(data[at : at + EXTENDED_BYTES])
            for at in range(0, len(data), EXTENDED_BYTES)
        )

    async def prove(self, blobs: Sequence[bytes]) -> tuple[tuple[bytes, bytes], ...]:
        """(commitment, blob proof) of each blob, for L1s before Osaka. Raises as `extend`."""
        data = await self._ask(PROVE, blobs)
        size = COMMITMENT_BYTES + PROOF_BYTES
        pairs = [data[at : at + size] for at in range(0, len(data), size)]
        return tuple((pair[:COMMITMENT_BYTES], pair[COMMITMENT_BYTES:]) for pair in pairs)

    async def commit(self, blobs: Sequence[bytes]) -> tuple[bytes, ...]:
        """The commitment of each blob, for who is shown one by others. Raises as `extend`."""
        data = await self._ask(COMMIT, blobs)
        size = COMMITMENT_BYTES
        return tuple(data[at : at + size] for at in range(0, len(data), size))

    async def _ask(self, operation: int, blobs: Sequence[bytes]) -> bytes:
        if not 1 <= len(blobs) <= BLOBS_MAX:
            raise NodeError(KZG_BLOBS, f"{len(blobs)} blobs in one request: 1 to {BLOBS_MAX}")
        for blob in blobs:
            check_blob(blob)
        if self._waiting >= WAITING_MAX:
            text = f"{self._waiting} requests wait for KZG; post later, or on a faster machine"
            raise NodeError(KZG_BUSY, text)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._exchange(REQUEST.pack(operation, len(blobs)) + b"".join(blobs))
        finally:
            self._waiting -= 1

    async def _exchange(self, request: bytes) -> bytes:
        """One request and its answer; a caller that gives up leaves no half-read pipe behind."""
        is_whole = False
        try:
            with trio.fail_after(ANSWER_S):
                answer = await self._talk(await self._running(), request)
            is_whole = True
            return answer
        except InvalidPayload:
            is_whole = True
            raise
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            text = "the KZG process died or fell silent; the request was not done, repeat it"
            raise NodeError(KZG_DIED, text) from error
        finally:
            if not is_whole:
                await self.close()

    async def _running(self) -> trio.Process:
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-m", "node.l1.kzg_process", str(self._precompute)]
            self._child = await trio.lowlevel.open_process(
                command,
                stdin=PIPE,
                stdout=PIPE,
                start_new_session=True,  # Ctrl-C is for us: we end the child, or its pipe does
            )
        return self._child

    async def _talk(self, child: trio.Process, request: bytes) -> bytes:
        assert child.stdin is not None and child.stdout is not None
        await child.stdin.send_all(request)
        (length,) = LENGTH.unpack(await _take(child.stdout, LENGTH.size))
        if length:
            return await _take(child.stdout, length)
        number, size = FAULT.unpack(await _take(child.stdout, FAULT.size))
        raise InvalidPayload(number, (await _take(child.stdout, size)).decode())

    async def close(self) -> None:
        """End the child; the next request starts another."""
        child, self._child = self._child, None
        if child is not None:
            with trio.CancelScope(shield=True):
                child.kill()
                await child.wait()
                for pipe in (child.stdin, child.stdout):
                    if pipe is not None:
                        await pipe.aclose()


@asynccontextmanager
async def open_kzg(precompute: int = PRECOMPUTE) -> AsyncIterator[KzgProcess]:
    """A worker that starts with its first request and ends with the block."""
    kzg = KzgProcess(precompute)
    try:
        yield kzg
    finally:
        await kzg.close()


async def _take(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    parts = []
    while count:
        part = await stream.receive_some(count)
        if not part:
            raise trio.BrokenResourceError("the pipe ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _read_extended(data: bytes) -> Extended:
    proofs_at = COMMITMENT_BYTES
    cells_at = proofs_at + CELLS_PER_BLOB * PROOF_BYTES
    return Extended(
        data[:proofs_at],
        tuple(data[at : at + CELL_BYTES] for at in range(cells_at, len(data), CELL_BYTES)),
        tuple(data[at : at + PROOF_BYTES] for at in range(proofs_at, cells_at, PROOF_BYTES)),
    )


def serve(precompute: int, requests: BinaryIO, answers: BinaryIO) -> None:
    """The worker: answer frames until the pipe ends."""
    from node.l1 import trusted_setup

    setup = trusted_setup.load(precompute)
    while head := requests.read(REQUEST.size):
        operation, count = REQUEST.unpack(head)
        blobs = [requests.read(BLOB_BYTES) for _ in range(count)]
        try:
            parts = []
            for blob in blobs:
                if operation == EXTEND:
                    done = extend(blob, setup)
                    parts += [done.commitment, *done.proofs, *done.cells]
                    continue
                commitment = commit(blob, setup)
                parts.append(commitment)
                if operation == PROVE:
                    parts.append(blob_proof(blob, commitment, setup))
            answer = b"".join(parts)
            answers.write(LENGTH.pack(len(answer)) + answer)
        except ConsensusError as error:
            text = error.text.encode()
            answers.write(LENGTH.pack(0) + FAULT.pack(error.number, len(text)) + text)
        answers.flush()


if __name__ == "__main__":
    try:
        serve(int(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(0)  # who asked was killed: nobody is left to answer, or to flush for
