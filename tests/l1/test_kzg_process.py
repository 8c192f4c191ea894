"""The KZG worker: same results as in the process, a loop that goes on, a bounded queue."""

import subprocess
import sys
from random import Random

import pytest
import trio

from consensus.da import kzg
from consensus.da.blobs import BLOB_BYTES, pack
from consensus.exceptions import InvalidPayload
from node.exceptions import NodeError
from node.l1 import kzg_process, trusted_setup
from node.l1.kzg_process import KzgProcess, open_kzg

BLOBS = pack(Random(9).randbytes(150_000))


async def test_the_worker_computes_what_the_process_would() -> None:
    setup = trusted_setup.load()
    async with open_kzg(precompute=0) as worker:
        done = await worker.extend(BLOBS)
        assert done == tuple(kzg.extend(blob, setup) for blob in BLOBS)
        ((commitment, proof),) = await worker.prove(BLOBS[:1])
        kzg.verify_blob(BLOBS[0], commitment, proof, setup)
        assert await worker.commit(BLOBS) == tuple(kzg.commit(blob, setup) for blob in BLOBS)
        with pytest.raises(NodeError) as caught:
            await worker.extend([])
        assert caught.value.number == kzg_process.KZG_BLOBS
        with pytest.raises(InvalidPayload) as refused:
            await worker.extend([b"\xff" * BLOB_BYTES])
        assert refused.value.number == kzg.NOT_A_BLOB


def test_a_worker_whose_node_was_killed_ends_without_a_word() -> None:
    """Before the answer: its pipe breaks. A node's log is read for errors."""
    command = [sys.executable, "-m", "node.l1.kzg_process", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as worker:
        assert worker.stdin and worker.stdout and worker.stderr
        worker.stdout.close()
        worker.stdin.write(kzg_process.REQUEST.pack(kzg_process.EXTEND, 1) + BLOBS[0])
        worker.stdin.close()
        assert worker.stderr.read() == b""
        assert worker.wait(60) == 0


async def test_a_worker_that_was_killed_fails_its_caller_and_the_next_one_gets_another() -> None:
    async with open_kzg(precompute=0) as worker:
        await worker.prove(BLOBS[:1])
        child = await worker._running()
        child.kill()
        await child.wait()
        assert len(await worker.prove(BLOBS[:1])) == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_kill_when_busy, worker)
            with pytest.raises(NodeError) as caught:
                await worker.extend(BLOBS)
            assert caught.value.number == kzg_process.KZG_DIED
        assert len(await worker.prove(BLOBS[:1])) == 1


async def _kill_when_busy(worker: KzgProcess) -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)
    (await worker._running()).kill()


async def test_a_caller_that_gives_up_does_not_leave_its_answer_to_the_next() -> None:
    async with open_kzg(precompute=0) as worker:
        with trio.move_on_after(0.02):
            await worker.extend(BLOBS)
        first, second = await worker.prove(BLOBS[:1]), await worker.prove(BLOBS[1:])
        assert first != second and len(first) == len(second) == 1


async def test_the_queue_is_bounded() -> None:
    async with open_kzg(precompute=0) as worker, trio.open_nursery() as nursery:
        for _ in range(kzg_process.WAITING_MAX):
            nursery.start_soon(worker.prove, BLOBS[:1])
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(NodeError) as caught:
            await worker.prove(BLOBS[:1])
        assert caught.value.number == kzg_process.KZG_BUSY
        nursery.cancel_scope.cancel()
