"""Blocks and gossip: a leader under bulk load seals before a block outgrows a gossip message."""

from dataclasses import replace

import pytest
import trio
import zstandard
from fleet import Fleet, Wallet, fleet_genesis, running, until

from consensus import commands
from consensus.block import encode_block
from consensus.exceptions import InvalidPayload
from consensus.genesis import Genesis
from node.sealed_block import SEALED_BYTES_MAX, SealedBlock, decode_sealed, encode_sealed
from node.submission import Answer
from p2p.topics import BLOCKS, TOPICS


def unhurried(genesis: Genesis) -> Genesis:
    """The same with a rate that nobody exceeds."""
    visits, leaves, _, _, sweep = genesis.parameters
    return replace(genesis, parameters=(visits, leaves, 1_000_000, 1_000_000, sweep))


async def test_a_block_is_sealed_before_it_outgrows_gossip(autojump_clock: object) -> None:
    """A million bytes arrive at one moment, so no interval would have ended the block."""
    fleet = Fleet(unhurried(fleet_genesis(validators=4)))
    wallet = Wallet(0)
    unknown = b"".join(commands.cancel_client(256 + n) for n in range(64))
    async with trio.open_nursery() as nursery:
        leader = await fleet.start(nursery, 0)
        followers = [await fleet.start(nursery, number) for number in (1, 2, 3)]
        answers: list[Answer] = []
        for _ in range(300):
            leader.submits.submit_then(wallet.signed(leader.chain.state, unknown), answers.append)
        await until(lambda: len(answers) == 300)
        assert {answer.number for answer in answers} == {0}
        height = max(answer.height for answer in answers)
        await until(lambda: min(one.chain.certified for one in followers) >= height)
        blocks = leader.chain.blocks
        sizes = [len(encode_block(blocks.block(n))) for n in range(1, height + 1)]
        nursery.cancel_scope.cancel()
    assert sum(sizes) > TOPICS[BLOCKS].message_bytes_max
    assert max(sizes) <= TOPICS[BLOCKS].message_bytes_max


async def test_a_block_travels_as_one_bounded_frame(autojump_clock: object) -> None:
    fleet = Fleet(fleet_genesis(validators=1))
    async with running(fleet) as (leader,):
        answer = await leader.submits.submit(Wallet(0).order(leader.chain.state, 0, 50))
        await until(lambda: leader.chain.blocks.head().height >= answer.height)
        blocks = leader.chain.blocks
        sealed = SealedBlock(blocks.block(answer.height), blocks.seal(answer.height))
    frame = encode_sealed(sealed)
    assert decode_sealed(frame) == sealed
    bomb = zstandard.ZstdCompressor().compress(bytes(SEALED_BYTES_MAX + 1))
    assert len(bomb) < 1000
    for bad in (b"", frame[:-1], frame + b"\0", frame + frame, bomb):
        with pytest.raises(InvalidPayload):
            decode_sealed(bad)
