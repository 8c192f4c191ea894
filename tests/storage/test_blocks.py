"""Blocks in a database: found every way, checked at start, pruned; refused when they do not fit."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from small_chain import Chain, Sealed

from consensus.block import Block, block_hash, encode_block
from consensus.commands import Group, cancel
from storage import schema
from storage.blocks import (
    BLOCK_DAMAGED,
    NO_FOUNDATION,
    NONCE_AT,
    NOT_NEXT,
    UNKNOWN_BLOCK,
    Blocks,
    Head,
    Place,
    command_entries,
)
from storage.database import Database
from storage.exceptions import StorageDamaged, StorageRefused
from storage.faults import Crashed, Faults
from storage.memory import MemoryDatabase

CHAIN = Chain(seed=7).grow(12)


def kept(database: Database, chain: Chain = CHAIN) -> Blocks:
    blocks = Blocks(database)
    blocks.begin(chain.genesis_header)
    for sealed in chain.blocks:
        blocks.append(sealed.block, sealed.events)
    return blocks


def commands_of(sealed: Sealed) -> Iterator[tuple[tuple[int, int, int], int]]:
    """((account, key, nonce), first sequence) of each group, from its maker's own list."""
    header = sealed.block.header
    sequence = header.sequence - header.commands + 1
    for group, _ in sealed.groups:
        yield (group.account, group.key, group.nonce), sequence
        sequence += group.size


def test_a_block_is_found_by_height_hash_range_and_sequence(database: Database) -> None:
    blocks = kept(database)
    assert blocks.head() == Head(12, CHAIN.state.head_hash)
    for height, sealed in enumerate(CHAIN.blocks, 1):
        header = sealed.block.header
        assert blocks.block(height) == sealed.block
        assert blocks.raw(height) == encode_block(sealed.block)
        assert blocks.header(height) == header
        assert blocks.events(height) == sealed.events
        assert blocks.height_of(block_hash(header)) == height
        for sequence in range(header.sequence - header.commands + 1, header.sequence + 1):
            assert blocks.find_sequence(sequence) == height
    assert blocks.header(0) == CHAIN.genesis_header
    assert blocks.height_of(bytes(32)) is None
    assert blocks.find_sequence(CHAIN.state.head.sequence + 1) is None
    assert blocks.find_sequence(CHAIN.genesis_header.sequence) is None
    assert blocks.walk() == blocks.head()


def test_a_range_ends_at_its_count_its_bytes_and_the_head(database: Database) -> None:
    blocks = kept(database)
    raw = [encode_block(sealed.block) for sealed in CHAIN.blocks]
    assert blocks.range(1, 5, 1 << 20) == raw[:5]
    assert blocks.range(10, 50, 1 << 20) == raw[9:]
    assert blocks.range(3, 5, len(raw[2]) + len(raw[3])) == raw[2:4]
    assert blocks.range(3, 5, 1) == raw[2:3]
    assert blocks.range(13, 5, 1 << 20) == []
    assert blocks.range(0, 5, 1 << 20) == []


def test_a_command_is_found_by_its_nonce(database: Database) -> None:
    blocks = kept(database)
    wanted = [
        (command, Place(height, sequence))
        for height, sealed in enumerate(CHAIN.blocks, 1)
        for command, sequence in commands_of(sealed)
    ]
    assert len(wanted) > 12
    assert [blocks.find_command(*command) for command, _ in wanted] == [p for _, p in wanted]
    spent = {command for command, _ in wanted}
    for account, key, nonce in spent:
        for other in ((account, key, nonce ^ 256), (account, key + 1, nonce), (account, key, 255)):
            assert other in spent or blocks.find_command(*other) is None


def test_the_newest_group_with_a_nonce_is_found(database: Database) -> None:
    """A key slot that was granted anew begins with its nonces again."""
    blocks = kept(database)
    (account, key, nonce), sequence = next(commands_of(CHAIN.blocks[0]))
    prefix = schema.nonces_key(account, key, nonce)
    assert blocks.find_command(account, key, nonce) == Place(1, sequence)
    later = [
        (prefix + schema.number(20), NONCE_AT.pack(nonce & 255, 700)),
        (prefix + schema.number(21), NONCE_AT.pack(nonce + 1 & 255, 800)),
    ]
    database.write(later, sync=True)
    assert blocks.find_command(account, key, nonce) == Place(20, 700)
    database.write([(prefix + schema.number(22), b"torn")], sync=True)
    with pytest.raises(StorageDamaged) as caught:
        blocks.find_command(account, key, nonce)
    assert caught.value.number == schema.BAD_VALUE


def test_a_block_has_an_entry_for_each_256_nonces_of_a_key() -> None:
    """Not one for each command: the index would cost more than the block."""
    rows = b"".join(
        Group(0, 1 + n % 2, 200 + n // 2, 1, (0, 0, 0), cancel(1, 1)).rows for n in range(200)
    )
    header = replace(CHAIN.genesis_header, height=1, commands=200, sequence=200)
    entries = dict(command_entries(Block(header, b"", rows, b"")))
    assert len(entries) == 4
    assert sum(map(len, entries.values())) == 200 * NONCE_AT.size


def test_a_block_that_does_not_follow_is_refused_and_changes_nothing(database: Database) -> None:
    blocks = Blocks(database)
    first, second = CHAIN.blocks[0], CHAIN.blocks[1]
    with pytest.raises(StorageRefused) as caught:
        blocks.append(first.block, first.events)
    assert caught.value.number == NO_FOUNDATION
    blocks.begin(CHAIN.genesis_header)
    before = list(database.scan(b"", b"\xff"))
    orphan = replace(first.block, header=replace(first.block.header, parent=bytes(32)))
    for block in (second.block, orphan):
        with pytest.raises(StorageRefused) as caught:
            blocks.append(block, b"")
        assert caught.value.number == NOT_NEXT
    with pytest.raises(StorageRefused):
        blocks.begin(CHAIN.genesis_header)
    assert list(database.scan(b"", b"\xff")) == before


def test_a_certificate_belongs_to_a_kept_block(database: Database) -> None:
    blocks = kept(database)
    assert blocks.certificate(3) is None
    blocks.certify(3, b"two thirds")
    assert blocks.certificate(3) == b"two thirds"
    with pytest.raises(StorageRefused) as caught:
        blocks.certify(13, b"two thirds")
    assert caught.value.number == UNKNOWN_BLOCK


def test_the_walk_names_the_first_damaged_height(database: Database) -> None:
    blocks = kept(database)
    other = Chain(seed=8).grow(12)
    record = schema.at_height(schema.BLOCK, 5)
    good = database.get(record)
    assert good is not None
    swapped = other.blocks[4].block
    damages: list[tuple[bytes, bytes | None]] = [
        (record, None),
        (record, good[:-1]),
        (record, good[:50] + bytes((good[50] ^ 1,)) + good[51:]),
        (record, good[:-1] + bytes((good[-1] ^ 1,))),
        (record, block_hash(swapped.header) + encode_block(swapped)),
        (schema.at_height(schema.EVENTS, 5), None),
        (schema.at_height(schema.EVENTS, 5), CHAIN.blocks[5].events),
        (schema.HEIGHT + good[:32], None),
    ]
    for key, value in damages:
        before = database.get(key)
        database.write([(key, value), (schema.at_height(schema.BLOCK, 9), None)], sync=True)
        for first in (0, 3, 5):
            with pytest.raises(StorageDamaged) as caught:
                blocks.walk(first)
            assert caught.value.number == BLOCK_DAMAGED
            assert caught.value.facts["height"] == 5
        database.write([(key, before)], sync=True)


def test_pruned_blocks_leave_nothing_behind_and_the_rest_still_walks(database: Database) -> None:
    blocks = kept(database)
    blocks.certify(2, b"certificate")
    with pytest.raises(StorageRefused):
        blocks.prune(13)
    assert blocks.prune(7) == 7
    assert blocks.prune(7) == 0
    assert blocks.foundation() == blocks.header(7) == CHAIN.blocks[6].block.header
    assert blocks.walk() == Head(12, CHAIN.state.head_hash)
    with pytest.raises(StorageRefused) as caught:
        blocks.block(7)
    assert caught.value.number == UNKNOWN_BLOCK
    alone = MemoryDatabase()
    fresh = Blocks(alone)
    fresh.begin(CHAIN.blocks[6].block.header)
    for sealed in CHAIN.blocks[7:]:
        fresh.append(sealed.block, sealed.events)
    assert list(database.scan(b"", b"\xff")) == list(alone.scan(b"", b"\xff"))


def test_a_chain_may_begin_at_a_snapshot(database: Database) -> None:
    blocks = Blocks(database)
    blocks.begin(CHAIN.blocks[4].block.header)
    for sealed in CHAIN.blocks[5:]:
        blocks.append(sealed.block, sealed.events)
    assert blocks.walk().height == 12
    assert blocks.header(5) == CHAIN.blocks[4].block.header
    with pytest.raises(StorageRefused):
        blocks.header(4)


def test_a_crash_at_every_write_leaves_a_whole_chain() -> None:
    for crash_at in range(1, 9):
        for survived in (0, 1):
            database = MemoryDatabase(Faults(crash_at=crash_at))
            acknowledged = -1
            try:
                blocks = Blocks(database)
                blocks.begin(CHAIN.genesis_header)
                acknowledged = 0
                for sealed in CHAIN.blocks:
                    blocks.append(sealed.block, sealed.events)
                    acknowledged += 1
            except Crashed:
                pass
            database.crash(survived)
            again = Blocks(database.reopen())
            if acknowledged + survived < 0:
                assert list(database.reopen().scan(b"", b"\xff")) == []
            else:
                assert again.walk().height == acknowledged + survived
