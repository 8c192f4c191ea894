"""A directory belongs to one chain and one schema, and says so by number."""

import pytest

from storage import schema
from storage.exceptions import StorageDamaged, StorageRefused
from storage.memory import MemoryDatabase
from storage.schema import Identity, claim

OURS = Identity(1337, b"\x11" * 32)


def test_a_claimed_database_opens_again_for_its_own_chain() -> None:
    database = MemoryDatabase()
    claim(database, OURS)
    claim(database, OURS)
    assert schema.read_identity(database) == (schema.SCHEMA_VERSION, OURS)


@pytest.mark.parametrize(
    ("number", "identity"),
    [
        (schema.FOREIGN_CHAIN, Identity(1, OURS.genesis_hash)),
        (schema.FOREIGN_GENESIS, Identity(1337, b"\x22" * 32)),
    ],
)
def test_another_chain_or_genesis_is_refused(number: int, identity: Identity) -> None:
    database = MemoryDatabase()
    claim(database, OURS)
    with pytest.raises(StorageRefused) as caught:
        claim(database, identity)
    assert caught.value.number == number
    claim(database, OURS)


def test_another_schema_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    database = MemoryDatabase()
    claim(database, OURS)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 3)
    with pytest.raises(StorageRefused) as caught:
        claim(database, OURS)
    assert caught.value.number == schema.FOREIGN_SCHEMA


@pytest.mark.parametrize("value", [b"", b"\x80", b"\xc3\x01\x02\x03", b"\xff" * 65, None])
def test_an_identity_that_is_none_is_damage(value: bytes | None) -> None:
    database = MemoryDatabase()
    database.write([(schema.IDENTITY, value), (schema.HEAD, b"x")], sync=True)
    with pytest.raises(StorageDamaged) as caught:
        claim(database, OURS)
    assert caught.value.number == schema.BAD_VALUE


def test_prefixes_are_one_byte_and_differ() -> None:
    names = ("BLOCK", "CERTIFICATE", "EVENTS", "HEIGHT", "LEAF", "META", "COMMAND", "SEQUENCE")
    prefixes = [getattr(schema, name) for name in names]
    assert len(set(prefixes)) == len(prefixes)
    assert {len(prefix) for prefix in prefixes} == {1}
