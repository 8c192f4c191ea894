"""Which votes count, and what a validator's two votes are."""

import pytest
from fleet import fleet_genesis, secret

from consensus.exceptions import InvalidVote
from consensus.finality import bls
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import VOTE_TAG, Subject, Vote, text_of
from node.ballots import EQUIVOCATION, ROUNDS_MAX, WINDOW_HEIGHTS, Ballots

GENESIS = fleet_genesis(validators=4)
VALIDATORS = ValidatorSet(GENESIS.validators)


def vote(validator: int, height: int, fill: int = 7, round_: int = 0) -> Vote:
    subject = Subject(height, round_, bytes([fill]) * 32)
    text = text_of(VOTE_TAG, GENESIS.hash, VALIDATORS.hash, subject)
    return Vote(subject, validator, bls.sign(secret(f"validator {validator}"), text))


def test_the_window_follows_the_head_although_nothing_is_certified_for_long() -> None:
    ballots = Ballots(VALIDATORS, floor=5, head=1000)
    assert ballots.is_wanted(vote(0, 1000))
    assert ballots.is_wanted(vote(0, 1000 + WINDOW_HEIGHTS))
    assert not ballots.is_wanted(vote(0, 1001 + WINDOW_HEIGHTS))
    assert not ballots.is_wanted(vote(0, 1000 - WINDOW_HEIGHTS))
    assert not ballots.is_wanted(vote(0, 1000, round_=ROUNDS_MAX))
    ballots.move(floor=1000, head=1000)
    assert not ballots.is_wanted(vote(0, 1000))


def test_a_quorum_of_equal_votes_is_returned_and_one_less_is_not() -> None:
    ballots = Ballots(VALIDATORS, floor=0, head=1)
    assert ballots.add(vote(0, 1)) == []
    assert ballots.add(vote(3, 1, fill=8)) == []
    assert ballots.add(vote(1, 1)) == []
    assert ballots.add(vote(2, 1)) == [vote(n, 1) for n in (0, 1, 2)]


def test_two_votes_of_one_validator_for_one_height_are_kept_as_proof() -> None:
    ballots = Ballots(VALIDATORS, floor=0, head=1)
    ballots.add(vote(2, 1))
    for fill in range(8, 20):
        with pytest.raises(InvalidVote) as caught:
            ballots.add(vote(2, 1, fill))
        assert caught.value.number == EQUIVOCATION
    assert ballots.faults[0] == (vote(2, 1), vote(2, 1, 8))
    assert len(ballots.faults) <= len(VALIDATORS)


def test_memory_is_bounded_while_the_head_moves_and_nothing_is_certified() -> None:
    ballots = Ballots(VALIDATORS, floor=0, head=0)
    for height in range(1, 1000):
        ballots.move(0, height)
        for ahead in (0, WINDOW_HEIGHTS):
            ballots.add(Vote(Subject(height + ahead, 0, bytes(32)), 1, bytes(96)))
    assert len(ballots) <= 2 * WINDOW_HEIGHTS
