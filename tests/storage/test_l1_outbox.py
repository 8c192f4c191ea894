"""The outbox keeps every attempt through a crash, and reads back what was put."""

from dataclasses import replace

import pytest

from storage import schema
from storage.exceptions import StorageDamaged
from storage.memory import MemoryDatabase
from storage.outbox import ATTEMPTS_MAX, COMMIT, FINALIZE, Attempt, Intent, Outbox

SENDER = b"\x0a" * 20
ATTEMPT = Attempt(b"h" * 32, b"c" * 32, b"b" * 32, 1, 1 << 100, 3, 77)
INTENT = Intent(
    SENDER, 5, COMMIT, 2, (ATTEMPT,), b"batch", (b"m" * 20, b"n" * 20), 2, ((b"r" * 32, b"s" * 32),)
)


def test_what_was_put_survives_a_crash_with_its_bytes() -> None:
    database = MemoryDatabase()
    later = Intent(SENDER, 6, FINALIZE, 2, (ATTEMPT._replace(batch_hash=b""),))
    Outbox(database).put(INTENT, b"raw")
    Outbox(database).put(later, b"other")
    database.crash()
    outbox = Outbox(database.reopen())
    assert outbox.intents() == [INTENT, later]
    assert outbox.raw(INTENT) == b"raw"
    outbox.forget([INTENT])
    assert outbox.intents() == [later]


def test_another_attempt_takes_the_place_of_the_bytes_and_keeps_the_hashes() -> None:
    outbox = Outbox(MemoryDatabase())
    outbox.put(INTENT, b"raw")
    more = replace(INTENT, attempts=(ATTEMPT, ATTEMPT._replace(hash=b"i" * 32)))
    outbox.put(more, b"dearer")
    assert outbox.intents() == [more]
    assert outbox.raw(more) == b"dearer"
    assert more.newest.hash == b"i" * 32


def test_a_full_intent_fits_and_the_oldest_attempts_give_way() -> None:
    """64 members, all of whom signed, a batch of the largest size, more attempts than are kept."""
    attempts = tuple(ATTEMPT._replace(sent_in=n) for n in range(ATTEMPTS_MAX + 3))
    members = tuple(bytes([n]) * 20 for n in range(64))
    signed = tuple((bytes([n]) * 32, b"s" * 32) for n in range(64))
    full = Intent(SENDER, 1, COMMIT, 9, attempts, b"x" * 1024, members, (1 << 64) - 1, signed)
    outbox = Outbox(MemoryDatabase())
    outbox.put(full, b"raw")
    assert outbox.intents() == [replace(full, attempts=attempts[3:])]


@pytest.mark.parametrize("value", [b"", b"\xc0", b"\xff" * 40])
def test_bytes_that_are_no_intent_are_damage(value: bytes) -> None:
    database = MemoryDatabase()
    database.write([(schema.OUTBOX + SENDER + bytes(8), value)], sync=True)
    with pytest.raises(StorageDamaged):
        Outbox(database).intents()
    with pytest.raises(StorageDamaged):
        Outbox(database).raw(INTENT)
