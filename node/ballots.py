"""Votes as they come in, until a quorum makes them a certificate.

What lives here: which votes are worth verifying, and the count. What must never live here: the
network, or the decision to vote.

Theory. Heights that matter are few: above the last certified one and not far above our head. In
that window every validator has one place per height and round; a second vote of the same validator
for another hash is proof of its fault, kept and reported. So memory is bounded by the window and
the size of the set, whoever sends what.
"""

from typing import Final

from consensus.exceptions import InvalidVote
from consensus.finality.validators import ValidatorSet
from consensus.finality.votes import Certificate, Subject, Vote, certify, check_vote

OUTSIDE_WINDOW: Final = 7340
EQUIVOCATION: Final = 7341
WINDOW_HEIGHTS: Final = 64
ROUNDS_MAX: Final = 4


class Ballots:
    """Votes by height and round. `floor` is the last certified height."""

    def __init__(self, genesis_hash: bytes, validators: ValidatorSet, floor: int) -> None:
        self._genesis_hash = genesis_hash
        self._validators = validators
        self.floor = floor
        self._votes: dict[tuple[int, int], dict[int, Vote]] = {}
        self.faults: list[tuple[Vote, Vote]] = []

    def is_wanted(self, vote: Vote) -> bool:
        """Whether the vote could still change anything; cheap."""
        place = (vote.subject.height, vote.subject.round)
        known = self._votes.get(place, {}).get(vote.validator)
        in_window = self.floor < vote.subject.height <= self.floor + WINDOW_HEIGHTS
        return in_window and vote.subject.round < ROUNDS_MAX and known != vote

    def add(self, vote: Vote) -> Certificate | None:
        """Verify and count; the certificate if this vote completes one.

        Raises `InvalidVote` 45xx or `InvalidSignature` for a vote that does not hold, and
        `InvalidVote` 7341 for a validator's second vote for another block, which is kept in
        `faults`.
        """
        check_vote(self._genesis_hash, self._validators, vote)
        place = self._votes.setdefault((vote.subject.height, vote.subject.round), {})
        first = place.setdefault(vote.validator, vote)
        if first != vote:
            if len(self.faults) < len(self._validators):
                self.faults.append((first, vote))
            text = f"validator {vote.validator} voted for two blocks at {vote.subject.height}"
            raise InvalidVote(EQUIVOCATION, f"{text}; keep both votes as proof")
        return self._complete(vote.subject)

    def _complete(self, subject: Subject) -> Certificate | None:
        place = self._votes[subject.height, subject.round]
        votes = [vote for vote in place.values() if vote.subject == subject]
        if len(votes) < self._validators.quorum:
            return None
        return certify(self._validators, votes)

    def certified(self, height: int) -> None:
        """Forget everything up to this height."""
        self.floor = max(self.floor, height)
        for place in [place for place in self._votes if place[0] <= self.floor]:
            del self._votes[place]
