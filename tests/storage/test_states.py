"""The stored state: a whole state of an earlier height, never a mixture; damage is refused."""

import contextlib
from dataclasses import replace

import pytest
from small_chain import GENESIS, Chain

from consensus.chain import State, genesis_state
from consensus.transition import apply_block
from storage import schema
from storage.database import Database
from storage.exceptions import StorageDamaged, StorageRefused
from storage.faults import Crashed, Faults
from storage.memory import MemoryDatabase
from storage.states import (
    FLUSH_BLOCKS,
    STATE_DAMAGED,
    STATE_FOREIGN_LAYOUT,
    STATE_OF_ANOTHER_BLOCK,
    STATE_TOO_LARGE,
    States,
    load,
    resume,
    stored_height,
)

CHAIN = Chain(seed=3).grow(4).list_market().grow(5)


def follow(state: State, states: States, first: int, last: int) -> None:
    for sealed in CHAIN.blocks[first:last]:
        outcome = apply_block(state, sealed.block)
        states.note(state.memory, outcome.leaves)


def resumed(database: Database) -> State:
    restored = load(database, GENESIS.hash)
    assert restored is not None
    height = restored.facts.height
    headers = [CHAIN.genesis_header, *(sealed.block.header for sealed in CHAIN.blocks)]
    header = headers[min(height, len(CHAIN.blocks))]
    return resume(CHAIN.state.chain, restored, header)


def test_a_flushed_state_resumes_and_reaches_the_same_head(database: Database) -> None:
    """Flushed at 3 and 7, with a market listed at 5 in between, that is, a region more."""
    state, states = genesis_state(GENESIS), States(database)
    assert load(database, GENESIS.hash) is None
    states.begin(state)
    assert resumed(database).head == CHAIN.genesis_header
    done = 0
    for height in (3, 7):
        follow(state, states, done, height)
        states.write(states.take(state))
        assert stored_height(database) == height
        again = resumed(database)
        assert again.memory.view() == state.memory.view()
        assert again.memory.tree.root() == CHAIN.roots[height]
        assert len(again.memory.tree.regions) == (2 if height < 5 else 3)
        for sealed in CHAIN.blocks[height:]:
            apply_block(again, sealed.block)
        assert again.head == CHAIN.state.head
        done = height


def test_a_leaf_that_becomes_zero_is_not_kept(database: Database) -> None:
    state, states = genesis_state(GENESIS), States(database)
    states.begin(state)
    follow(state, states, 0, 10)
    leaf = next(iter(states._changed))
    states._changed[leaf] = bytes(256)
    states.write(states.take(state))
    assert database.get(schema.leaf_key(leaf)) is None


def test_what_is_not_flushed_yet_does_not_show(database: Database) -> None:
    state, states = genesis_state(GENESIS), States(database)
    states.begin(state)
    follow(state, states, 0, 3)
    flush = states.take(state)
    follow(state, states, 3, 6)
    states.write(flush)
    assert resumed(database).memory.tree.root() == CHAIN.roots[3]


def test_a_flush_is_due_after_so_many_blocks_or_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    state, states = genesis_state(GENESIS), States(MemoryDatabase())
    for _ in range(FLUSH_BLOCKS):
        assert not states.is_due()
        states.note(state.memory, [])
    assert states.is_due()
    states.take(state)
    assert not states.is_due()
    monkeypatch.setattr("storage.states.FLUSH_LEAVES", 3)
    states.note(state.memory, range(3))
    assert states.is_due()


def test_beginning_again_leaves_nothing_of_the_old_state(database: Database) -> None:
    states = States(database)
    states.begin(CHAIN.state)
    states.begin(genesis_state(GENESIS))
    fresh = MemoryDatabase()
    States(fresh).begin(genesis_state(GENESIS))
    assert list(database.scan(b"", b"\xff")) == list(fresh.scan(b"", b"\xff"))


def test_a_crash_at_every_write_leaves_a_whole_state_or_none() -> None:
    for crash_at in range(1, 12):
        for kept in range(3):
            database = MemoryDatabase(Faults(crash_at=crash_at))
            state, states = genesis_state(GENESIS), States(database)
            with contextlib.suppress(Crashed):
                states.begin(state)
                for height in range(1, 8):
                    follow(state, states, height - 1, height)
                    states.write(states.take(state))
            database.crash(kept)
            again = database.reopen()
            if stored_height(again) is None:
                assert crash_at <= 4
            else:
                assert resumed(again).memory.tree.root() in CHAIN.roots


def test_every_changed_leaf_is_noticed() -> None:
    """Each stored leaf in turn: one bit flipped, the leaf gone, the leaf of its neighbour."""
    database = MemoryDatabase()
    States(database).begin(CHAIN.state)
    leaves = list(database.scan(schema.LEAF, b"M"))
    assert len(leaves) > 30
    for (key, leaf), (_, other) in zip(leaves, leaves[1:] + leaves[:1], strict=True):
        for value in (bytes((leaf[0] ^ 1,)) + leaf[1:], None, other, leaf[:-8]):
            if value == leaf:
                continue
            database.write([(key, value)], sync=True)
            with pytest.raises(StorageDamaged) as caught:
                load(database, GENESIS.hash)
            assert caught.value.number == STATE_DAMAGED
        database.write([(key, leaf)], sync=True)
    assert resumed(database).head == CHAIN.state.head


def test_a_leaf_outside_of_the_state_is_damage() -> None:
    database = MemoryDatabase()
    States(database).begin(CHAIN.state)
    database.write([(schema.leaf_key(0xFFFFFFFF), bytes(256))], sync=True)
    with pytest.raises(StorageDamaged):
        load(database, GENESIS.hash)


def test_every_changed_byte_of_the_record_is_noticed() -> None:
    database = MemoryDatabase()
    States(database).begin(CHAIN.state)
    good = database.get(schema.STATE)
    assert good is not None
    for at in range(len(good)):
        damaged = good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]
        database.write([(schema.STATE, damaged)], sync=True)
        with pytest.raises((StorageDamaged, StorageRefused)):
            resumed(database)


def test_a_foreign_layout_size_or_block_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    database = MemoryDatabase()
    States(database).begin(CHAIN.state)
    with pytest.raises(StorageRefused) as caught:
        load(database, GENESIS.hash, words_max=1000)
    assert caught.value.number == STATE_TOO_LARGE
    restored = load(database, GENESIS.hash)
    assert restored is not None
    for header in (CHAIN.genesis_header, replace(CHAIN.state.head, time=1)):
        with pytest.raises(StorageRefused) as caught:
            resume(CHAIN.state.chain, restored, header)
        assert caught.value.number == STATE_OF_ANOTHER_BLOCK
    monkeypatch.setattr("storage.states.LAYOUT_VERSION", 99)
    with pytest.raises(StorageRefused) as caught:
        load(database, GENESIS.hash)
    assert caught.value.number == STATE_FOREIGN_LAYOUT
