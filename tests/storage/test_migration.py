"""A database of schema 1 becomes one of schema 2, from wherever a crash left it."""

from pathlib import Path

import pytest
from small_chain import GENESIS, Chain

from consensus import codec
from consensus.commands import read_groups
from storage import schema
from storage.blocks import Blocks
from storage.database import Database, after
from storage.faults import Crashed, Faults
from storage.leveldb import LevelDatabase
from storage.memory import MemoryDatabase
from storage.migration import INDEXED, migrate
from storage.recovery import identity_of

CHAIN = Chain(seed=11).grow(6)
IDENTITY = identity_of(GENESIS)


def kept(database: Database) -> Database:
    """The chain as this version keeps it."""
    schema.claim(database, IDENTITY)
    blocks = Blocks(database)
    blocks.begin(CHAIN.genesis_header)
    for sealed in CHAIN.blocks:
        blocks.append(sealed.block, sealed.events)
    return database


def of_schema_1(database: Database, indexed: int) -> Database:
    """The same as schema 1 had it: an entry per command up to block `indexed`."""
    kept(database)
    old = codec.encode((1, IDENTITY.chain_id, IDENTITY.genesis_hash))
    batch = [(key, None) for key, _ in database.scan(schema.COMMAND, after(schema.COMMAND))]
    database.write([*batch, (schema.IDENTITY, old)], sync=True)
    for height, sealed in enumerate(CHAIN.blocks[:indexed], 1):
        sequence = sealed.block.header.sequence - sealed.block.header.commands + 1
        for group in read_groups(sealed.block.commands):
            start = schema.COMMAND + schema.number(group.account) + schema.number(group.key, 1)
            key = start + schema.number(group.nonce) + schema.number(height)
            database.write([(key, schema.number(sequence))], sync=True)
            sequence += group.size
    database.write([(INDEXED, schema.number(indexed))], sync=True)
    return database


def all_of(database: Database) -> list[tuple[bytes, bytes]]:
    return list(database.scan(b"", b"\xff"))


WANTED = all_of(kept(MemoryDatabase()))


@pytest.mark.parametrize("indexed", [0, 4, 6])
def test_it_is_what_this_version_would_have_written(indexed: int, tmp_path: Path) -> None:
    for database in (MemoryDatabase(), LevelDatabase(tmp_path / "database")):
        of_schema_1(database, indexed)
        assert all_of(database) != WANTED
        schema.claim(database, IDENTITY)
        migrate(database)
        assert all_of(database) == WANTED
        migrate(database)
        assert all_of(database) == WANTED
        database.close()


def test_a_crash_at_every_write_leaves_one_that_can_be_migrated() -> None:
    for crash_at in range(1, 12):
        for survived in range(10):
            database = MemoryDatabase()
            of_schema_1(database, 4)
            database.faults = Faults(crash_at=crash_at)
            try:
                migrate(database)
            except Crashed:
                pass
            else:
                assert crash_at > 8
            database.crash(survived)
            again = database.reopen()
            schema.claim(again, IDENTITY)
            migrate(again)
            assert all_of(again) == WANTED
