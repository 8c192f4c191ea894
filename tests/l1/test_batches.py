"""A batch is a function of stored blocks, and a validator sees every difference."""

from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest
import zstandard
from bridge_chain import USD, Bridge
from l1_wallets import sidecar_of
from posting import LocalKzg, feed, live_chain, traded
from signed_chain import address

from consensus.commands import withdraw
from consensus.da import payload
from consensus.da.blobs import pack, unpack
from consensus.rollup.batch import Batch, batch_hash
from node.chain import LiveChain
from node.exceptions import NodeError
from node.l1 import batches
from node.l1.batches import checked_blobs, draft, read_range
from node.simulation.machine import SimulatedMachine
from storage.disk import MemoryDisk


async def stored(bridge: Bridge) -> LiveChain:
    chain = live_chain(bridge.chain.genesis, MemoryDisk(), SimulatedMachine())
    await feed(chain, bridge.chain.blocks)
    return chain


async def posted(bridge: Bridge) -> tuple[LiveChain, batches.Range, batches.Draft, Batch]:
    chain = await stored(bridge)
    taken = read_range(chain.blocks, 1, chain.state.head.height)
    made = draft(1, taken, "quorum")
    return chain, taken, made, made.with_commitments(await LocalKzg().commit(made.blobs))


@pytest.fixture
def bridge() -> Bridge:
    made = Bridge()
    traded(made)
    made.block(made.chain.group(2, [withdraw(USD, 10**3, address("owner 2"))]))
    return made


async def test_what_is_drafted_is_what_the_contract_takes_and_holds_every_block(
    bridge: Bridge,
) -> None:
    _, taken, made, batch = await posted(bridge)
    honest, withdrawals = bridge.batch(made.carried)
    assert withdrawals and taken.withdrawals == withdrawals
    assert batch == replace(honest, payload_hash=batch.payload_hash)
    bodies = payload.decode(payload.decompress(unpack(made.blobs)))
    assert [body.time for body in bodies] == [one.header.time for one in bridge.chain.blocks]
    assert [body.signatures for body in bodies] == [one.signatures for one in bridge.chain.blocks]
    bridge.commit(made.carried, batch=batch, sidecar=sidecar_of(made.carried))
    assert bridge.summaries[1].batch_hash == batch_hash(batch)


async def test_in_validity_mode_the_roots_of_the_signatures_are_posted(bridge: Bridge) -> None:
    _, taken, made, _ = await posted(bridge)
    data = batches.payload_of(taken.blocks, "validity")
    roots = [one.header.signatures_root for one in taken.blocks]
    assert [body.signatures for body in payload.decode(data)] == roots
    assert draft(1, taken, "validity").batch.payload_hash == sha256(data).digest()
    assert made.batch.payload_hash != sha256(data).digest()


async def test_a_validator_accepts_its_own_blocks_in_any_zstd_frame(bridge: Bridge) -> None:
    _, taken, made, batch = await posted(bridge)
    assert checked_blobs(batch, made.carried, taken, "quorum") == made.blobs
    again = zstandard.compress(payload.decompress(made.carried), level=1)
    assert again != made.carried
    assert checked_blobs(batch, again, taken, "quorum") == pack(again)


@pytest.mark.parametrize("name", [field.name for field in fields(Batch)])
async def test_every_field_that_differs_is_refused_by_name(bridge: Bridge, name: str) -> None:
    _, taken, made, batch = await posted(bridge)
    if name == "number":
        return  # the contract's to check: a validator may not have seen its head
    if name == "blob_hashes":
        with pytest.raises(NodeError) as caught:
            commitments = await LocalKzg().commit(pack(b"something else"))
            batches.check_commitments(batch, commitments)
        assert caught.value.number == batches.BLOBS_DIFFER
        return
    value = getattr(batch, name)
    other: Any = value + 1 if isinstance(value, int) else sha256(value).digest()
    with pytest.raises(NodeError) as caught:
        checked_blobs(replace(batch, **{name: other}), made.carried, taken, "quorum")
    assert caught.value.number == batches.BATCH_DIFFERS
    assert caught.value.facts["field"] == name


@pytest.mark.parametrize("how", ["another block", "not zstd", "a flipped byte", "too long"])
async def test_blobs_that_hold_anything_but_the_blocks_are_refused(
    bridge: Bridge, how: str
) -> None:
    _, taken, made, batch = await posted(bridge)
    data = payload.decompress(made.carried)
    carried = {
        "another block": payload.compress(batches.payload_of(taken.blocks[:-1], "quorum")),
        "not zstd": b"RLTO" + made.carried,
        "a flipped byte": zstandard.compress(data[:-1] + bytes([data[-1] ^ 1])),
        "too long": zstandard.compress(data + b"\0"),
    }[how]
    with pytest.raises(NodeError) as caught:
        checked_blobs(batch, carried, taken, "quorum")
    assert caught.value.number == batches.PAYLOAD_DIFFERS


@pytest.mark.parametrize("first, last", [(0, 1), (2, 1), (1, 99), (1, 1 << 15)])
async def test_blocks_that_are_not_kept_make_no_batch(
    bridge: Bridge, first: int, last: int
) -> None:
    chain = await stored(bridge)
    with pytest.raises(NodeError) as caught:
        read_range(chain.blocks, first, last)
    assert caught.value.number == batches.BATCH_BLOCKS
