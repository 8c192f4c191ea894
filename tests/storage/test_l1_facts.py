"""L1 facts: kept step by step, whole after a crash, refused when they are not what was written."""

from dataclasses import replace

import pytest

from consensus.rollup.origin import Item, Origin
from storage import schema
from storage.database import Database
from storage.disk import MemoryDisk
from storage.exceptions import StorageDamaged, StorageRefused
from storage.l1_facts import FOREIGN_CONTRACT, L1Facts, PostedBatch, Tip
from storage.memory import MemoryDatabase

CONTRACT = bytes([5] * 20)
POINT = Origin(9, bytes([9] * 32), 1_700_000_000)
BATCH = PostedBatch(1, 8, 0, bytes([1] * 32), 7, bytes([2] * 32), 40, bytes(32), 2, bytes(32))


def item(index: int) -> Item:
    return Item(index, 3 + index, 1000 + index, bytes([index] * 32), bytes([index] * 128))


def stepped(database: Database) -> L1Facts:
    facts = L1Facts(database, CONTRACT)
    tip = Tip(3, bytes([2] * 32), 1, 0, False)
    facts.step(POINT, tip, [item(n) for n in range(3)], {1: BATCH})
    return facts


def test_what_a_step_kept_is_there_again(database: Database) -> None:
    stepped(database)
    facts = L1Facts(database, CONTRACT)
    assert facts.point == POINT
    assert facts.tip == Tip(3, bytes([2] * 32), 1, 0, False)
    assert facts.items(0, 9) == [item(0), item(1), item(2)]
    assert facts.items(1, 1) == [item(1)]
    assert facts.items(3, 9) == facts.items(0, 0) == []
    assert facts.batch(1) == BATCH and facts.batch(2) is None


def test_a_later_step_changes_and_deletes_batches(database: Database) -> None:
    facts = stepped(database)
    final = replace(BATCH, finalized_in=12)
    later = Origin(12, bytes([12] * 32), 1_700_000_036)
    tip = Tip(4, bytes([3] * 32), 1, 1, True)
    facts.step(later, tip, [item(3)], {1: final, 2: replace(BATCH, number=2)})
    facts.step(later, tip, [], {2: None})
    facts = L1Facts(database, CONTRACT)
    assert facts.batch(1) == final and facts.batch(2) is None
    assert facts.tip == tip and facts.items(2, 9) == [item(2), item(3)]


def test_a_step_is_durable_on_return() -> None:
    disk = MemoryDisk()
    stepped(disk.database())
    disk.crash()
    assert L1Facts(disk.database(), CONTRACT).items(0, 9) == [item(0), item(1), item(2)]


def test_another_contracts_facts_are_refused(database: Database) -> None:
    stepped(database)
    with pytest.raises(StorageRefused) as caught:
        L1Facts(database, bytes(20))
    assert caught.value.number == FOREIGN_CONTRACT


@pytest.mark.parametrize("damage", [b"", b"\xc0", b"\x01", bytes(40)])
def test_damaged_facts_are_refused_by_number(damage: bytes) -> None:
    database = MemoryDatabase()
    facts = stepped(database)
    database.write([(schema.at_height(schema.L1_ITEM, 1), damage)], sync=True)
    database.write([(schema.at_height(schema.L1_BATCH, 1), damage)], sync=True)
    database.write([(schema.L1_TIP, damage)], sync=True)
    for read in (
        lambda: facts.items(0, 9),
        lambda: facts.batch(1),
        lambda: L1Facts(database, CONTRACT),
    ):
        with pytest.raises(StorageDamaged) as caught:
            read()
        assert caught.value.number == schema.BAD_VALUE
