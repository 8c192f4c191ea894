"""Scores, bans and rates, on a clock of the test."""

from pathlib import Path

import pytest

from p2p.exceptions import NetworkMisuse
from p2p.identity import create_identity, load_or_create_identity, peer_of
from p2p.penalties import (
    BAN_S,
    INVALID_BLOCK,
    MALFORMED_RPC,
    SCORE_HALF_LIFE_S,
    SCORED_PEERS_MAX,
    FileBans,
    Ledger,
    MemoryBans,
    Sentence,
)
from p2p.rates import Budget, Meter, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_two_grave_offences_in_short_order_ban_and_an_old_one_is_forgotten() -> None:
    clock = Clock()
    ledger = Ledger(MemoryBans(), clock, clock)
    assert ledger.charge("p", MALFORMED_RPC) is Sentence.DISCONNECT
    clock.now += SCORE_HALF_LIFE_S
    assert ledger.score("p") == pytest.approx(25)
    assert ledger.charge("p", INVALID_BLOCK) is Sentence.DISCONNECT
    assert ledger.charge("p", INVALID_BLOCK) is Sentence.BAN
    assert ledger.banned("p")
    clock.now += BAN_S + 1
    assert not ledger.banned("p")


def test_scores_are_kept_for_a_bounded_number_of_peers() -> None:
    clock = Clock()
    ledger = Ledger(MemoryBans(), clock, clock)
    for number in range(SCORED_PEERS_MAX + 10):
        ledger.charge(f"p{number}", MALFORMED_RPC)
    assert ledger.score("p0") == 0
    assert ledger.score(f"p{SCORED_PEERS_MAX + 9}") == 50


def test_bans_survive_a_restart_and_end_in_time(tmp_path: Path) -> None:
    clock = Clock()
    bans = FileBans(tmp_path / "bans.json")
    Ledger(bans, clock, clock).ban("p", 60)
    again = Ledger(bans, clock, clock)
    assert again.banned("p")
    again.pardon("p")
    assert not Ledger(bans, clock, clock).banned("p")
    again.ban("q", 60)
    clock.now += 61
    assert list(Ledger(bans, clock, clock).bans()) == []


@pytest.mark.parametrize("content", ["", "[]", '{"p": "soon"}', '{"p": true}'])
def test_a_damaged_ban_list_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bans.json"
    path.write_text(content)
    with pytest.raises(NetworkMisuse, match=r"E7600.*delete it"):
        FileBans(path).load()


def test_an_identity_is_made_once_and_is_only_ours(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "peer.key"
    first = load_or_create_identity(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert peer_of(load_or_create_identity(path)) == peer_of(first)
    path.chmod(0o644)
    with pytest.raises(NetworkMisuse, match="E7604"):
        load_or_create_identity(path)
    path.chmod(0o600)
    path.write_bytes(b"junk")
    with pytest.raises(NetworkMisuse, match="E7603"):
        load_or_create_identity(path)
    with pytest.raises(FileExistsError):
        create_identity(path)


def test_a_peer_may_burst_then_has_its_pace_and_reconnecting_does_not_refill_it() -> None:
    clock = Clock()
    budget = Budget(Rate(2, 4), Rate(100, 1000), Rate(3, 6), Rate(1e9, 1e9))
    meter = Meter(budget, clock)
    assert [meter.within("p", 10) for _ in range(5)] == [True] * 4 + [False]
    clock.now += 0.5
    assert [meter.within("p", 10) for _ in range(2)] == [True, False]
    clock.now += 60
    assert [meter.within("p", 900), meter.within("p", 200)] == [True, False]
    assert meter.within("q", 10)
    assert [meter.within_all(1) for _ in range(7)] == [True] * 6 + [False]
