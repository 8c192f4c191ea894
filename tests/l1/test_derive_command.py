"""`rialto derive` over HTTP: the chain's own roots, or exit code 2 and the batch that is wrong."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from bridge_chain import ETH, OWNERS, WINDOW
from derived_chain import PostingBridge
from signed_chain import genesis_value

from consensus.genesis import parse
from node import cli
from node.config import Address
from node.l1.archive import Archive, file_name
from node.l1.deployment import encode_deployment
from node.l1.embedded.service import l1_server
from node.state_file import read_snapshot
from storage.files import DirectoryFiles

ALICE = OWNERS[0]
Derive = Callable[..., Any]


@pytest.fixture
def bridge() -> PostingBridge:
    """Two batches, of which one is final."""
    made = PostingBridge()
    made.deposit(ALICE, ETH, 1000)
    made.block()
    made.block()
    made.post()
    made.later(WINDOW)
    made.finalize()
    made.deposit(ALICE, ETH, 7)
    made.block()
    made.post()
    return made


@asynccontextmanager
async def served(
    bridge: PostingBridge, folder: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Derive]:
    """`derive(*more, fails=0)`: the command against this bridge's L1 and files."""
    genesis, deployment, blobs = folder / "g.json", folder / "d.json", folder / "blobs"
    value = genesis_value(deposits=[], contract="0x" + bridge.address.hex())
    genesis.write_text(json.dumps(value))
    assert parse(genesis.read_bytes()).hash == bridge.genesis.hash
    deployment.write_bytes(encode_deployment(bridge.deployment))
    files = DirectoryFiles(blobs)
    Archive(files).keep(list(bridge.kept.blobs), list(bridge.kept.blobs.values()))
    server = l1_server(bridge.l1, Address("127.0.0.1", 0))

    async def derive(*more: str, blobs: Path | str = blobs, fails: int = 0) -> Any:
        arguments = ["derive", "--l1", f"http://127.0.0.1:{server.port}", "--json"]
        arguments += ["--genesis", str(genesis), "--deployment", str(deployment)]
        arguments += ["--blobs", str(blobs), *more]
        code = await trio.to_thread.run_sync(partial(cli.main, arguments))
        seen = capsys.readouterr()
        if fails:
            assert code == 2 and f"error E{fails}" in seen.err, seen.err
            return seen.err
        assert code == 0, seen.err
        return json.loads(seen.out)

    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield derive
        server.stop()
        await server.ended.wait()
        nursery.cancel_scope.cancel()
    files.close()


async def test_every_root_is_that_of_the_chain_and_the_state_can_be_opened(
    bridge: PostingBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roots, state = tmp_path / "roots", tmp_path / "state"
    async with served(bridge, tmp_path, capsys) as derive:
        report = await derive("--roots", str(roots), "--state", str(state))
    blocks = bridge.chain.blocks
    lines = [line.split() for line in roots.read_text().splitlines()]
    assert [(int(n), root) for n, _, root in lines] == [
        (one.header.height, one.header.state_root.hex()) for one in blocks
    ]
    head = bridge.chain.leader
    assert lines[-1][1] == report["block_hash"] == head.head_hash.hex()
    assert (report["height"], report["state_root"]) == (3, head.head.state_root.hex())
    assert (report["batches"], report["batches_final"], report["blobs"]) == (2, 1, 2)
    assert report["commands"] == 2
    assert report["gas_per_command"] > 0 and report["blob_gas"] == 2 << 17
    facts, memory = read_snapshot(state)
    assert (facts.height, facts.state_root) == (3, head.head.state_root)
    assert memory.view() == head.memory.view()


async def test_only_final_batches_on_request(
    bridge: PostingBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(bridge, tmp_path, capsys) as derive:
        report = await derive("--final")
    assert (report["height"], report["batches"], report["batches_final"]) == (2, 1, 1)
    assert report["state_root"] == bridge.summaries[1].post_state_root.hex()


async def test_a_flipped_byte_is_refused_and_a_second_archive_helps(
    bridge: PostingBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, blob = list(bridge.kept.blobs.items())[1]
    good, own = tmp_path / "good", tmp_path / "own"
    good.mkdir()
    (good / file_name(name)).write_bytes(blob)
    async with served(bridge, tmp_path, capsys) as derive:
        bad = tmp_path / "blobs" / file_name(name)
        bad.write_bytes(blob[:100] + bytes([blob[100] ^ 4]) + blob[101:])
        said = await derive(fails=7781)
        assert "batch 2 (blocks 3 to 3): " in said and name.hex() in said
        report = await derive("--blobs", str(good), "--keep", str(own))
        assert report["height"] == 3
        assert await derive(blobs=own) | {"derive_s": 0} == report | {"derive_s": 0}
        bad.unlink()
        assert "batch 2 (blocks 3 to 3): " in await derive(fails=7780)
    assert sorted(one.name for one in own.glob("*.blob")) == sorted(
        map(file_name, bridge.kept.blobs)
    )


async def test_files_and_addresses_that_are_none_have_numbers(
    bridge: PostingBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(bridge, tmp_path, capsys) as derive:
        await derive("--l1", "ftp://x", fails=7723)
        await derive("--l1", "http://127.0.0.1:1", fails=7721)
        await derive("--genesis", str(tmp_path / "absent"), fails=7003)
        await derive("--deployment", str(tmp_path / "g.json"), fails=7790)
        await derive("--until", "yesterday", fails=7000)
