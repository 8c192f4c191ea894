"""Fork schedules: which fork rules a height, what a node refuses to follow, the fork id."""

from hashlib import sha256

import pytest

from consensus import forks as law
from consensus.exceptions import InvalidGenesis
from consensus.forks import Fork, Schedule

CANAL = Fork("canal", 0, 2, 1)


def number_of(*forks: Fork) -> int:
    with pytest.raises(InvalidGenesis) as caught:
        Schedule(forks)
    return caught.value.number


def test_the_fork_at_a_height_is_the_last_one_that_has_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(law, "KNOWN", {"canal": (2, 1), "lagoon": (3, 1), "harbour": (3, 2)})
    lagoon, harbour = Fork("lagoon", 10, 3, 1), Fork("harbour", 11, 3, 2)
    schedule = Schedule((CANAL, lagoon, harbour))
    found = [schedule.at(height) for height in (0, 9, 10, 11, 1 << 52)]
    assert found == [CANAL, CANAL, lagoon, harbour, harbour]
    assert number_of(CANAL, Fork("lagoon", 0, 3, 1)) == law.FORK_ORDER
    assert number_of(CANAL, lagoon, Fork("harbour", 10, 3, 2)) == law.FORK_ORDER
    assert number_of(CANAL, Fork("harbour", 5, 3, 2), lagoon) == law.FORK_ORDER
    assert number_of(CANAL, Fork("lagoon", 1 << 53, 3, 1)) == law.FORK_ORDER
    assert Schedule((CANAL, Fork("lagoon", (1 << 53) - 1, 3, 1)))


def test_a_schedule_starts_at_height_zero_with_forks_that_are_known_and_come_once() -> None:
    assert number_of() == law.FORK_ORDER
    assert number_of(Fork("canal", 1, 2, 1)) == law.FORK_ORDER
    assert number_of(CANAL, Fork("canal", 5, 2, 1)) == law.FORK_ORDER
    assert number_of(CANAL, Fork("lagoon", 5, 2, 1)) == law.UNKNOWN_FORK
    assert number_of(Fork("canal", 0, 1, 1)) == law.FORK_RULES
    assert number_of(Fork("canal", 0, 2, 2)) == law.FORK_RULES


def test_the_fork_id_names_the_genesis_and_every_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(law, "KNOWN", {"canal": (2, 1), "lagoon": (3, 1)})
    lagoon = (CANAL, Fork("lagoon", 258, 3, 1))
    text = b"rialto/fork/1" + bytes(32) + b"canal\0" + bytes(8) + b"lagoon\0\2\1" + bytes(6)
    assert Schedule(lagoon).fork_id(bytes(32)) == sha256(text).digest()[:4]
    assert Schedule((CANAL,)).fork_id(bytes(32)) != Schedule(lagoon).fork_id(bytes(32))
    assert Schedule((CANAL,)).fork_id(bytes(32)) != Schedule((CANAL,)).fork_id(b"\1" * 32)
